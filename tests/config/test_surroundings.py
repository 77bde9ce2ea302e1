"""What a good site file says of what lies outside: meters, the fleet, secrets, the broker, places on disk."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from controller.config import direction_sign
from controller.domain.metering import Point

if TYPE_CHECKING:
    from tests.config.conftest import Disk


def test_points_come_from_the_meter_that_feeds_them(disk: Disk) -> None:
    policy = disk.load().policy()
    assert policy.meter_of_point[Point.POI_EXPORT_W] == "poi"
    assert policy.meter_of_point[Point.FREQUENCY_HZ] == "poi"
    assert policy.meter_of_point[Point.SITE_LOAD_W] == "load"
    assert policy.meter_of_point[Point.DESPATCH_EXPORT_W] == "dcs"
    assert set(policy.meter_of_point) == set(Point) - {Point.FEEDER_LOAD_W}
    assert policy.required_points <= set(policy.meter_of_point)


FEEDER_METER = """[[meter]]
id = "fa"
feeds = "feeder"
feeder = "a"
map = "siemens_pac2200"
host = "10.0.0.9"
direction = "export"
resolution = "5 kW"
[dispatch]
"""


def test_a_feeders_meter_changes_nothing_of_what_the_surplus_is_followed_by(disk: Disk) -> None:
    without = disk.load()
    disk.edit(disk.site, "[dispatch]\n", FEEDER_METER)
    config = disk.load()
    assert config.policy() == without.policy()
    assert [(meter.feeds, meter.feeder) for meter in config.meters][-1] == ("feeder", "a")
    assert direction_sign(config.meters[-1]) == -1


@pytest.mark.parametrize(("meter", "direction", "sign"), [("export", "import", -1), ("import", "export", -1)])
def test_a_meter_mounted_the_other_way_round_turns_the_sign(disk: Disk, meter: str, direction: str, sign: int) -> None:
    assert [direction_sign(entry) for entry in disk.load().meters] == [1, 1, 1]
    disk.edit(disk.site, f'direction = "{meter}"', f'direction = "{direction}"')
    assert sorted(direction_sign(entry) for entry in disk.load().meters) == [sign, 1, 1]


def test_the_fleet_holds_the_enabled_miners_in_the_inventorys_order(disk: Disk) -> None:
    config = disk.load()
    fleet = config.fleet()
    assert fleet.miner_ids == tuple(miner.miner_id for miner in config.miners) == ("m-1", "m-2")
    assert config.disabled == ("m-3",)
    assert fleet.cap_level.tolist() == [1, 0], "the nameplate, which is not the top; and what the inventory says"
    assert fleet.feeder_names == ("a",)
    assert {unit.family for unit in fleet.units} == {"LuxOS"}
    assert config.floor_w == 1_000 + 2 * 25


def test_a_ladder_without_a_default_has_its_nameplate_too_and_a_web_port_of_its_own(disk: Disk) -> None:
    disk.edit(disk.fleet, "m-1,Big,LuxOS", "m-1,Odd,Other")
    disk.edit(disk.fleet, "host,port", "host,web_port,port")
    disk.edit(disk.fleet, "10.0.1.1,4028", "10.0.1.1,,4028")
    disk.edit(disk.fleet, "10.0.1.2,4028", "10.0.1.2,8080,4028")
    disk.edit(disk.fleet, "10.0.1.3,4028", "10.0.1.3,,4028")
    first, second = disk.load().miners
    assert (first.cap_level, first.port, first.web_port) == (1, 4028, 80)
    assert (second.port, second.web_port) == (4028, 8080)


def test_a_byte_order_mark_comments_and_empty_lines_do_no_harm(disk: Disk) -> None:
    text = disk.fleet.read_text()
    disk.fleet.write_text("\ufeff" + text.replace("m-2", "# moved on Monday\n\nm-2"), encoding="utf-8")
    assert [miner.line for miner in disk.load().miners] == [2, 5]


def test_secrets_come_from_the_credentials_directory_before_the_environment(disk: Disk, tmp_path: Path) -> None:
    disk.edit(disk.site, "[dispatch]\n", '[dispatch]\nhost = "127.0.0.1"\nusername = "u"\npassword_secret = "mqtt"\n')
    env = {"CURTAILD_SECRET_MQTT": "from-environment"}
    broker = disk.load(env).broker
    assert broker is not None
    assert broker.password is not None
    assert broker.password.get_secret_value() == "from-environment"
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "mqtt").write_text("from-directory\n")
    broker = disk.load({**env, "CREDENTIALS_DIRECTORY": str(credentials)}).broker
    assert broker is not None
    assert broker.password is not None
    assert broker.password.get_secret_value() == "from-directory"
    assert "from-directory" not in repr(broker)
    (credentials / "secrets_mqtt").write_text("from-folder\n")  # as LoadCredential=secrets:FOLDER names a file of it
    assert disk.load({"CREDENTIALS_DIRECTORY": str(credentials)}).secrets["mqtt"].get_secret_value() == "from-directory"
    (credentials / "mqtt").unlink()
    assert (
        disk.load({**env, "CREDENTIALS_DIRECTORY": str(credentials)}).secrets["mqtt"].get_secret_value()
        == "from-folder"
    )


def test_a_secret_that_cannot_be_read_is_said_so_without_showing_it(disk: Disk, tmp_path: Path) -> None:
    disk.edit(disk.site, "[dispatch]\n", '[dispatch]\nusername = "u"\npassword_secret = "mqtt"\n')
    (tmp_path / "mqtt").write_bytes(b"\xff\xfe secret")
    error = str(disk.refused({"CREDENTIALS_DIRECTORY": str(tmp_path)}))
    assert "cannot be read: UnicodeDecodeError" in error
    assert "secret\n" not in error


def test_a_miners_secret_may_hold_a_user_and_a_password_or_the_password_alone(disk: Disk) -> None:
    disk.edit(disk.fleet, "4028,a,,,", "4028,a,one,,")
    disk.edit(disk.fleet, ",a,,low", ",a,two,low")
    config = disk.load({"CURTAILD_SECRET_ONE": "root:pa:ss", "CURTAILD_SECRET_TWO": "pass"})
    one, two = (config.credential_of(miner) for miner in config.miners)
    assert one is not None
    assert two is not None
    assert (one.username, one.password.get_secret_value()) == ("root", "pa:ss")
    assert (two.username, two.password.get_secret_value()) == (None, "pass")


def test_without_a_host_there_is_no_broker(disk: Disk) -> None:
    assert disk.load().broker is None


def test_certificates_are_looked_for_beside_the_site_file(disk: Disk) -> None:
    lines = 'host = "b"\ntls = true\nca_file = "ca.pem"\ncertificate_file = "c.pem"\nkey_file = "/etc/k.pem"\n'
    disk.edit(disk.site, "[dispatch]\n", f"[dispatch]\n{lines}")
    broker = disk.load().broker
    assert broker is not None
    base = disk.site.parent
    assert (broker.ca_file, broker.certificate_file, broker.key_file) == (
        base / "ca.pem",
        base / "c.pem",
        Path("/etc/k.pem"),
    )


def test_certificates_that_are_not_there_are_a_warning_each(disk: Disk) -> None:
    lines = 'host = "b"\ntls = true\nca_file = "ca.pem"\ncertificate_file = "c.pem"\nkey_file = "k.pem"\n'
    disk.edit(disk.site, "[dispatch]\n", f"[dispatch]\n{lines}")
    (disk.site.parent / "ca.pem").write_text("")
    warned = [problem for problem in disk.load().warnings if "broker cannot be reached" in problem.reason]
    assert [(problem.key, problem.line is not None) for problem in warned] == [
        ("dispatch.certificate_file", True),
        ("dispatch.key_file", True),
    ]


def test_systemds_directories_come_before_our_own_and_the_file_before_both(disk: Disk) -> None:
    base = disk.site.parent
    config = disk.load()
    assert config.journal_directory == base / "state" / "hill"
    assert config.console_socket == base / "state" / "hill" / "control.sock"
    env = {"STATE_DIRECTORY": "/var/lib/curtaild", "RUNTIME_DIRECTORY": "/run/curtaild"}
    config = disk.load(env)
    assert config.journal_directory == Path("/var/lib/curtaild")
    assert config.console_socket == Path("/run/curtaild/control.sock")
    disk.edit(disk.site, "[metrics]", '[journal]\ndirectory = "j"\n[console]\nsocket = "/tmp/c.sock"\n[metrics]')
    config = disk.load(env)
    assert (config.journal_directory, config.console_socket) == (base / "j", Path("/tmp/c.sock"))  # noqa: S108  # a name only
    assert config.metrics_address == ("127.0.0.1", 9464)
