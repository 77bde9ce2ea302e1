"""The commands a person runs: a farm of miners, and faults for it, as processes."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from simulators.miners_cli import fault_command, miners_command

RUN_MINERS = "from simulators.miners_cli import miners_command; miners_command()"


class Farm:
    def __init__(self, control: Path, *options: str) -> None:
        self.control = control
        self.process = subprocess.Popen(
            [sys.executable, "-c", RUN_MINERS, "--control-socket", str(control), "--seconds", "60", *options],
            stdout=subprocess.PIPE,
            text=True,
        )

    def lines(self, count: int) -> list[str]:
        assert self.process.stdout is not None
        return [self.process.stdout.readline() for _ in range(count)]


@pytest.fixture
def farm(tmp_path: Path) -> Iterator[Farm]:
    running = Farm(tmp_path / "farm.sock", "--count", "3", "--asleep", "1", "--refusers", "1", "--model", "s19xp")
    yield running
    if running.process.poll() is None:
        running.process.kill()
    running.process.communicate(timeout=10)


def version_of(host: str, port: int) -> str:
    with socket.create_connection((host, port), timeout=5) as client:
        client.sendall(b'{"command": "version"}')
        with client.makefile("rb") as stream:
            return str(json.loads(stream.read())["VERSION"][0]["Type"])


def test_a_farm_says_where_its_miners_are_takes_faults_and_ends_on_sigterm(farm: Farm) -> None:
    lines = farm.lines(3)
    found = [re.search(r"(127\.0\.0\.1):(\d+) ", line) for line in lines]
    addresses = [(match[1], int(match[2])) for match in found if match is not None]
    assert len(set(addresses)) == 3
    assert sum("asleep" in line for line in lines) == 1
    assert sum("refuses" in line for line in lines) == 1
    assert all("Antminer S19 XP" in line for line in lines)
    assert version_of(*addresses[1]) == "Antminer S19 XP"

    cli = CliRunner()
    base = ["--socket", str(farm.control), "--miner", "1", "refuse"]
    result = cli.invoke(fault_command, [*base, "on"])
    assert (result.exit_code, result.output) == (0, "miner 1: refuse on\n")
    with pytest.raises(ConnectionRefusedError):
        version_of(*addresses[1])
    assert version_of(*addresses[0])
    assert cli.invoke(fault_command, [*base, "off"]).exit_code == 0
    assert version_of(*addresses[1])

    writes = ["--socket", str(farm.control), "--miner", "1", "--writes-only"]
    assert cli.invoke(fault_command, [*writes, "reset", "on"]).exit_code == 0
    assert version_of(*addresses[1])  # a read
    unfit = cli.invoke(fault_command, [*writes, "refuse", "on"])
    assert unfit.exit_code == 1
    assert "refuse cannot be kept to the answers to writes" in unfit.output

    missing = cli.invoke(fault_command, ["--socket", str(farm.control), "--miner", "9", "hang", "on"])
    assert missing.exit_code == 1
    assert "there is no miner 9" in missing.output

    farm.process.send_signal(signal.SIGTERM)
    assert farm.process.wait(timeout=10) == 0
    assert not farm.control.exists()


def test_a_second_farm_does_not_take_over_the_socket_of_a_running_one_but_that_of_a_dead_one(
    farm: Farm, tmp_path: Path
) -> None:
    farm.lines(3)
    second = CliRunner().invoke(
        miners_command, ["--count", "1", "--seconds", "0.1", "--control-socket", str(farm.control)]
    )
    assert second.exit_code == 1
    assert "belongs to a running farm" in second.output

    farm.process.kill()
    farm.process.wait(timeout=10)
    assert farm.control.exists()
    third = CliRunner().invoke(
        miners_command, ["--count", "1", "--seconds", "0.1", "--control-socket", str(farm.control)]
    )
    assert third.exit_code == 0, third.output


def test_a_file_in_the_place_of_the_socket_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("keep me")
    result = CliRunner().invoke(miners_command, ["--count", "1", "--seconds", "0.1", "--control-socket", str(precious)])
    assert result.exit_code == 1
    assert precious.read_text() == "keep me"


def test_seconds_end_a_farm_by_themselves() -> None:
    started_s = time.monotonic()
    result = CliRunner().invoke(miners_command, ["--count", "2", "--seconds", "0.2"])
    assert result.exit_code == 0
    assert time.monotonic() - started_s >= 0.2
    assert len(result.output.splitlines()) == 2


def test_fault_without_a_farm_says_so(tmp_path: Path) -> None:
    result = CliRunner().invoke(fault_command, ["--socket", str(tmp_path / "none"), "--miner", "0", "hang", "on"])
    assert result.exit_code == 1
    assert "no farm answers" in result.output


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--vendor-ports", "10.0.0.0/24"], "outside 127.0.0.0/8"),
        (["--vendor-ports", "127.9.0.0/30", "--count", "3"], "2 addresses for 3 miners"),
        (["--vendor-ports", "nonsense"], "nonsense"),
        (["--count", "2", "--liars", "3"], "do not fit"),
    ],
)
def test_impossible_farms_are_refused_with_a_reason(options: list[str], message: str) -> None:
    result = CliRunner().invoke(miners_command, options)
    assert result.exit_code == 2
    assert message in result.output
