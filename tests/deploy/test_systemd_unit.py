"""The systemd unit: accepted by systemd's own checker, as confined as promised, and of one mind with the program.

What it does when it runs is tested by `make test-systemd`.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from controller.app import DRAIN_EXTRA_S
from controller.cli import RUNTIME
from controller.devices import SOCKETS_BESIDE, SOCKETS_PER_MINER

DEPLOY = Path(__file__).parents[2] / "deploy"
UNIT = DEPLOY / "systemd/curtaild@.service"
EXPOSURE_MAX = 1.5
MINERS = 5_000  # what one instance must have sockets for
# What systemd counts as open, and how much: the network it lives by, users it tells apart, /proc for /metrics.
LEFT_OPEN = {
    "RootDirectory=/RootImage=": "0.1",
    "RestrictAddressFamilies=~AF_UNIX": "0.1",
    "RestrictAddressFamilies=~AF_(INET|INET6)": "0.3",
    "ProcSubset=": "0.1",
    "PrivateNetwork=": "0.5",
    "PrivateUsers=": "0.2",
    "DeviceAllow=": "0.1",  # the clock, to be read: ProtectClock= asks for it
    "IPAddressDeny=": "0.1",  # denied but for a list; 0.2 were no list
}

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CURTAILD_REQUIRE_DEPLOY_TOOLS"),
    reason="systemd-analyze is not installed: apt-get install systemd",
)


def setting(name: str) -> str:
    found = re.findall(rf"^{name}=(.*)$", UNIT.read_text(), re.M)
    assert len(found) == 1, f"{name} stands there {len(found)} times"
    return str(found[0])


@needs_systemd
def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    # Its own checker looks whether what is to be started is there.
    text = re.sub(r"/opt/curtaild/current/(bin|share/curtaild)/[a-z.]+", str(program), UNIT.read_text())
    (tmp_path / "curtaild@.service").write_text(text)
    command = ["systemd-analyze", "verify", "--man=no", tmp_path / "curtaild@site-a.service"]
    shutil.copy(tmp_path / "curtaild@.service", tmp_path / "curtaild@site-a.service")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    # Of this unit alone: the machine's own units may have faults of their own.
    said = [line for line in (done.stdout + done.stderr).splitlines() if "curtaild" in line]
    assert (done.returncode, said) == (0, [])


@needs_systemd
def test_it_is_as_confined_as_promised() -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE_MAX * 10:.0f}", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout
    exposure = re.search(r"Overall exposure level for .*: ([0-9.]+)", done.stdout)
    assert exposure is not None, done.stdout
    assert float(exposure[1]) <= EXPOSURE_MAX


@needs_systemd
def test_nothing_is_left_open_but_what_it_needs() -> None:
    """The promise above has room for an option that gets lost; this has none."""
    command = ["systemd-analyze", "security", "--offline=true", "--json=short", UNIT]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    checks = json.loads(done.stdout)
    assert len(checks) > 70
    assert {check["name"]: check["exposure"] for check in checks if check["set"] is not True} == LEFT_OPEN


def test_it_never_gives_up() -> None:
    assert setting("Restart") == "always"
    assert setting("StartLimitIntervalSec") == "0"
    assert "RestartPreventExitStatus" not in UNIT.read_text()


def test_the_stop_waits_for_the_way_down_at_the_default_ramp() -> None:
    assert int(setting("TimeoutStopSec")) >= 60 / 0.20 + DRAIN_EXTRA_S  # ramp.down is 20 % of rated in a minute


def test_there_are_sockets_for_a_large_fleet() -> None:
    assert int(setting("LimitNOFILE")) >= SOCKETS_PER_MINER * MINERS + SOCKETS_BESIDE


def test_the_command_line_looks_where_the_unit_puts_the_socket() -> None:
    assert f"RUNTIME_DIRECTORY={RUNTIME}/%i" in UNIT.read_text()


def test_the_setup_script_checks_sites_against_the_units_watchdog() -> None:
    script = (DEPLOY / "install.sh").read_text()
    watchdog = re.search(r"^WATCHDOG_USEC=([0-9]+)", script, re.M)
    assert watchdog is not None
    assert int(watchdog[1]) == int(setting("WatchdogSec")) * 1_000_000


def test_its_group_is_the_one_that_is_made() -> None:
    made = (DEPLOY / "systemd/curtaild.conf").read_text()
    assert f"\ng {setting('Group')} -\n" in made
