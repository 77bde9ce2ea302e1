"""A farm of several families: who listens where, and that each answers in its own language."""

import asyncio
import ipaddress
import json
import os
from typing import Any

import pytest
from click.testing import CliRunner

from simulators.asic.farm import FIRMWARES, MinerAddress, MinerFarm, VendorPorts
from simulators.asic.fleet import keys_by_share, mixed_fleet
from simulators.asic.models import MODELS, Family
from simulators.asic.spec import FleetSpec
from simulators.asic.wirelog import WireRecord
from simulators.miners_cli import miners_command
from tests.rig.web_port import has_web_port

PROCESS_NET = f"127.{64 + os.getpid() % 128}"
ONE_OF_EACH = [MODELS["s21"], MODELS["m50s"], MODELS["s19pro"]]


async def version(address: MinerAddress) -> dict[str, Any]:
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b'{"command": "version"}')
        data = await reader.read()
        writer.close()
        reply: dict[str, Any] = json.loads(data.rstrip(b"\0"))
        return reply


def test_every_family_has_a_firmware() -> None:
    assert set(FIRMWARES) == set(Family)


def test_an_address_is_host_and_port_and_knows_its_web_port_beside() -> None:
    host, port = address = MinerAddress("127.0.0.1", 4028, 80)
    assert (host, port, address.web_port) == ("127.0.0.1", 4028, 80)
    assert MinerAddress("127.0.0.1", 4028).web_port is None


async def test_a_mixed_farm_answers_for_each_miner_as_its_family_does() -> None:
    heard: list[tuple[int, str]] = []

    def note(miner: int, record: WireRecord) -> None:
        heard.append((miner, record.command))

    async with MinerFarm(FleetSpec(models=ONE_OF_EACH, seed=1), on_record=note) as farm:
        luxos, whatsminer, antminer = [await version(address) for address in farm.addresses]
        web_ports = [address.web_port for address in farm.addresses]
    assert "LUXminer" in luxos["VERSION"][0]
    assert "BMMiner" in antminer["VERSION"][0]
    assert "VERSION" not in whatsminer
    assert heard == [(0, "version"), (1, "version"), (2, "version")]
    assert web_ports[:2] == [None, None]
    assert web_ports[2], "a stock Antminer is commanded over its web port"


async def test_on_vendor_ports_only_who_needs_the_web_has_it_when_it_is_left_out() -> None:
    if not has_web_port(f"{PROCESS_NET}.20.1"):
        pytest.skip("port 80 is not ours to bind")
    ports = VendorPorts(ipaddress.IPv4Network(f"{PROCESS_NET}.20.0/28"), web=False)
    async with MinerFarm(FleetSpec(models=ONE_OF_EACH, seed=1), ports=ports) as farm:
        assert [address.port for address in farm.addresses] == [4028] * 3
        assert [address.web_port for address in farm.addresses] == [None, None, 80]


async def test_a_large_mixed_farm_serves_everybody() -> None:
    keys = keys_by_share(150, {Family.WHATSMINER: 40, Family.ANTMINER: 35, Family.LUXOS: 25})
    async with MinerFarm(mixed_fleet(150, seed=1, model_keys=keys, asleep=50), tick_s=0.5) as farm:
        replies = await asyncio.gather(*(version(address) for address in farm.addresses))
    assert all("STATUS" in reply for reply in replies)


def test_the_command_serves_families_by_share_and_says_who_is_who() -> None:
    shares = ["--family", "whatsminer=2", "--family", "antminer"]
    result = CliRunner().invoke(miners_command, ["--count", "3", "--seconds", "0.1", "--revivers", "1", *shares])
    assert result.exit_code == 0, result.output
    lines = result.output.splitlines()
    assert sum("WhatsMiner V2" in line for line in lines) == 2
    assert ["web " in line for line in lines] == ["Antminer stock" in line for line in lines]
    assert sum("revives" in line for line in lines) == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--family", "avalon"], "there are luxos, whatsminer, antminer"),
        (["--family", "luxos=some"], "some"),
        (["--family", "luxos=-1"], "must not be negative"),
        (["--family", "luxos", "--family", "luxos=3"], "twice"),
        (["--family", "luxos", "--model", "s21"], "not both"),
    ],
)
def test_a_mix_without_sense_is_refused_with_a_reason(options: list[str], message: str) -> None:
    result = CliRunner().invoke(miners_command, ["--count", "2", *options])
    assert result.exit_code == 2
    assert message in result.output
