"""The example sites: complete, accepted without a warning, and inside what the shipped unit may speak to."""

from __future__ import annotations

import csv
import io
import ipaddress
import re
import shutil
import tomllib
from pathlib import Path

import pytest

from controller.commands.check import check

DEPLOY = Path(__file__).parents[2] / "deploy"
SITES = sorted((DEPLOY / "examples").glob("site-*.toml"))
SECRETS = {
    "CURTAILD_SECRET_WHATSMINER": "admin",
    "CURTAILD_SECRET_ANTMINER": "root:root",
    "CURTAILD_SECRET_MQTT_PASSWORD": "secret",
}


def rows(site: Path) -> list[dict[str, str]]:
    fleet = site.parent / tomllib.loads(site.read_text())["fleet"]["inventory"]
    return list(csv.DictReader(line for line in fleet.read_text().splitlines() if not line.startswith("#")))


def test_there_are_the_three_that_the_documents_speak_of() -> None:
    assert [site.name for site in SITES] == ["site-demo.toml", "site-plant.toml", "site-small.toml"]
    assert [len(rows(site)) for site in SITES] == [120, 800, 200]


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.stem)
def test_it_is_accepted_without_a_warning(site: Path, tmp_path: Path) -> None:
    out, err = io.StringIO(), io.StringIO()
    for file in (site, *site.parent.glob("*.csv")):
        shutil.copy(file, tmp_path)
    (tmp_path / "ca.pem").touch()  # the broker's certificate, which every plant has from somewhere else
    # As under the unit: systemd's watchdog is one more thing the cycle is held against.
    env = {**SECRETS, "WATCHDOG_USEC": "10000000", "STATE_DIRECTORY": "/var/lib/curtaild/x"}
    assert check(tmp_path / site.name, env=env, out=out, err=err) == 0, err.getvalue()
    assert out.getvalue().rstrip().endswith("# no warnings")


@pytest.mark.parametrize("site", SITES, ids=lambda site: site.stem)
def test_the_unit_lets_it_speak_to_all_its_devices(site: Path) -> None:
    unit = (DEPLOY / "systemd/curtaild@.service").read_text()
    words = " ".join(re.findall(r"^IPAddressAllow=(.*)$", unit, re.M)).split()
    allowed = [ipaddress.ip_network(word) for word in words if word != "localhost"]
    allowed.append(ipaddress.ip_network("127.0.0.0/8"))
    hosts = [row["host"] for row in rows(site)] + [meter["host"] for meter in tomllib.loads(site.read_text())["meter"]]
    outside = [host for host in hosts if not any(ipaddress.ip_address(host) in network for network in allowed)]
    assert outside == []
