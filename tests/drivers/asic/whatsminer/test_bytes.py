"""What stock pyasic and our driver put on the wire of a WhatsMiner for the same request, byte for byte.

Stock pyasic's own calls are made wherever it has one that lets the request through. Its client turns away 100 percent,
which the wire takes: that request goes through the layer below.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.command import Command
from drivers.asic.rpc import RpcWire
from tests.drivers.asic.whatsminer.script import SHED, SLEEP, WAKE, Script, running, summary, trim

pytestmark = pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning")  # stock's own

PLAIN = ["summary", "status", "get_token", "get_version", "devdetails"]
PERCENTS = [int(level) for level in range(40, 101, 5)]


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A scripted miner, its token request always answered alike, so that both clients hold the same token."""
    async with running() as scripted:
        grant = {"time": "5626", "salt": scripted.salt, "newsalt": "KrTFM3PY"}
        scripted.answers["get_token"] = {"STATUS": "S", "When": 1, "Code": 134, "Msg": grant, "Description": ""}
        yes = {"STATUS": "S", "Code": 131, "Msg": "API command OK"}
        scripted.answers |= {"power_off": yes, "power_on": yes, "set_power_pct": yes}
        yield scripted


@pytest.mark.parametrize("command", PLAIN)
async def test_a_read_is_that_of_stock_pyasic(script: Script, command: str) -> None:
    await script.stock().rpc.send_command(command)
    await RpcWire(host="127.0.0.1", port=script.port).send(command, deadline_s=3.0)
    assert len(script.raw) == 2
    assert script.raw[0] == script.raw[1]


async def by_stock(miner: Any, command: Command, percent: int) -> object:
    """The same order in stock pyasic's words."""
    if command in (SLEEP, SHED):
        return await miner.stop_mining()
    if command is WAKE:
        return await miner.resume_mining()
    if percent == 100:
        return await miner.rpc.send_privileged_command("set_power_pct", percent="100")
    return await miner.rpc.set_power_pct(percent)


ORDERS = [(SLEEP, 0), (SHED, 0), (WAKE, 0), *((trim(rung), percent) for rung, percent in enumerate(PERCENTS))]
NAMES = ["sleep", "shed", "wake", *map(str, PERCENTS)]


@pytest.mark.parametrize(("command", "percent"), ORDERS, ids=NAMES)
async def test_a_write_is_that_of_stock_pyasic_for_the_same_token(
    script: Script, command: Command, percent: int
) -> None:
    assert await by_stock(script.stock(), command, percent)
    await script.ours().perform(command)
    who = ("get_version", "devdetails", "status")  # ours asks more, before a wake and after an ordinary command
    heard = [entry for entry in zip(script.asked, script.raw, strict=True) if entry[0] not in who]
    assert [name.split()[0] for name, _ in heard] == ["get_token", "enc"] * 2
    assert heard[:2] == heard[2:]


async def test_every_request_of_our_driver_is_among_the_compared_ones(script: Script) -> None:
    miner = script.ours()
    await miner.read()
    for command in (SLEEP, SHED, WAKE, *(trim(rung) for rung in range(13))):
        await miner.perform(command)
    script.answers["summary"] = summary(20, 0.0)
    await miner.read()
    await miner.restore("60")
    await miner.read_ladder()
    await miner.close()
    compared = {*PLAIN, "enc power_off respbefore=true", "enc power_on"}
    compared |= {f"enc set_power_pct percent={percent}" for percent in PERCENTS}
    assert set(script.asked) == compared


async def test_nothing_restarts_a_miner_or_touches_what_its_owner_set(script: Script) -> None:
    """`adjust_power_limit` reboots, power modes and pools are the owner's, and no API is opened for anybody."""
    miner = script.ours()
    for command in (SLEEP, SHED, WAKE, *(trim(rung) for rung in range(13))):
        await miner.perform(command)
    for prior in ("100", "60", "37"):
        await miner.restore(prior)
    written = {name.split()[1] for name in script.asked if name.startswith("enc")}
    assert written == {"power_off", "power_on", "set_power_pct"}
