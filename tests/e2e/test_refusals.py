"""Starts that must not happen: each ends with code 2, clear words, and nothing moved."""

from __future__ import annotations

import shutil
import socket
import subprocess

import pytest

from tests.e2e.conftest import MakeSite
from tests.e2e.processes import CURTAILD, Ran, curtaild
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until


@pytest.fixture(scope="module")
def site(make_module_site: MakeSite) -> SmallSite:
    """A site whose daemon runs."""
    made = make_module_site("refused", surplus_kw=45)
    made.configure()
    made.daemon.start()
    return made


def start(site: SmallSite, old: str, new: str) -> Ran:
    """Start a daemon with an id, an inventory and a journal of its own, and one text of its site file replaced."""
    text = site.config.read_text().replace(f'id = "{site.id}"', 'id = "another"', 1)
    assert old in text
    folder = site.folder / "other"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.copy(site.folder / "fleet.csv", folder)
    (folder / "site.toml").write_text(text.replace(old, new))
    return curtaild("run", "--config", str(folder / "site.toml"), within_s=20)


@pytest.mark.parametrize("shared", ["site id", "inventory", "journal"])
def test_a_second_daemon_on_one_fleet_is_refused_and_the_first_goes_on(site: SmallSite, shared: str) -> None:
    """Whichever of the three a copied site file leaves in common."""
    pid, text = site.daemon.process.pid, site.config.read_text()
    beside = site.folder / "second"
    beside.mkdir(exist_ok=True)
    shutil.copy(site.folder / "fleet.csv", beside)
    if shared != "site id":
        text = text.replace(f'id = "{site.id}"', 'id = "second"', 1)
    if shared == "inventory":
        text = text.replace("[fleet]", f'[fleet]\ninventory = "{site.folder}/fleet.csv"')
    if shared == "journal":
        text += f'\n[journal]\ndirectory = "{site.journal.parent}"\n'
    (beside / "site.toml").write_text(text)
    ran = curtaild("run", "--config", str(beside / "site.toml"), within_s=20)
    assert ran.code == 2
    words = {
        "site id": f"site {site.id} is controlled by process {pid} on this machine",
        "inventory": "are controlled by another process",
        "journal": f"in use by process {pid}",
    }
    assert words[shared] in ran.errors
    assert "one daemon per fleet" in ran.errors
    assert "nothing was started, nothing was moved" in ran.errors
    beats = site.daemon.told.count("WATCHDOG=1")
    until(lambda: site.daemon.told.count("WATCHDOG=1") > beats + 1, 5, "the first daemon's watchdog")
    assert site.status()["fail_safe"] == "good"


def test_one_that_only_observes_may_look_on_beside_the_one_that_commands(site: SmallSite) -> None:
    other = SmallSite(site.folder / "observer", "observer", site.sim)
    other.folder.mkdir()
    other.configure(control={"mode": "observe"}, fleet={"inventory": str(site.folder / "fleet.csv")})
    other.daemon.start()
    until(lambda: other.status()["fail_safe"] == "good", 10, "an observer that sees")
    assert other.daemon.end() == 0


def test_a_broken_site_file_is_refused_with_every_problem_at_once(site: SmallSite) -> None:
    ran = start(site, 'auxiliary = "1 kW"', 'auxiliary = "1 furlong"\ncolour = "blue"')
    assert ran.code == 2
    assert "furlong" in ran.errors
    assert "colour" in ran.errors
    assert "nothing was started" in ran.errors
    assert "Traceback" not in ran.errors
    missing = curtaild("run", "--config", str(site.folder / "no-such.toml"))
    assert (missing.code, "does not exist" in missing.errors) == (2, True)


def test_an_unknown_register_map_is_refused_by_name(site: SmallSite) -> None:
    ran = start(site, 'map = "plant_dcs"', 'map = "plant_xyz"')
    assert ran.code == 2
    assert "plant_xyz" in ran.errors
    assert "Traceback" not in ran.errors


def test_a_metrics_port_that_is_taken_is_refused(site: SmallSite) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ran = start(site, 'listen = "127.0.0.1:0"', f'listen = "127.0.0.1:{port}"')
    assert ran.code == 2
    assert str(port) in ran.errors
    assert "Traceback" not in ran.errors
    assert not list((site.folder / "other" / "state").rglob("control.sock")), "the console socket was left behind"


def test_too_few_open_files_are_refused_with_the_number_needed(site: SmallSite) -> None:
    command = f"ulimit -n 100; exec {CURTAILD} run --config {site.config}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert "16 miners need up to" in done.stderr
    assert "100" in done.stderr
