"""Faults in the device: what happens to a write, and to the session it needs."""

from collections.abc import AsyncIterator

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from tests.simulators.luxos_client import answers, ask, exchange, is_error


@pytest.fixture
async def farm() -> AsyncIterator[MinerFarm]:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as running:
        yield running


async def test_session_error_rejects_writes_and_leaves_reads_alone(farm: MinerFarm) -> None:
    session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.SESSION_ERROR)
    assert is_error(await ask(farm, "curtail", f"{session_id},sleep"))
    assert await answers(farm)
    assert farm.bank.mode[0] == Mode.HASH
    farm.faults[0].off(Fault.SESSION_ERROR)
    assert not is_error(await ask(farm, "curtail", f"{session_id},sleep"))


async def test_a_stale_session_is_gone_and_a_new_logon_works(farm: MinerFarm) -> None:
    session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.STALE_SESSION)
    assert is_error(await ask(farm, "curtail", f"{session_id},sleep"))
    fresh_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    assert not is_error(await ask(farm, "curtail", f"{fresh_id},sleep"))


async def test_an_ignored_write_is_acknowledged_and_changes_nothing(farm: MinerFarm) -> None:
    session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.IGNORE)
    for command, argument in (
        ("curtail", "sleep"),
        ("profileset", "190MHz"),
        ("atmset", "enabled=false"),
        ("rebootdevice", ""),
    ):
        assert not is_error(await ask(farm, command, f"{session_id},{argument}"))
    config = (await ask(farm, "config"))["CONFIG"][0]
    assert (config["CurtailMode"], config["Profile"], config["IsAtmEnabled"]) == ("None", "default", True)
    assert not farm.bank.is_rebooting[0]


async def test_a_write_can_be_carried_out_and_answered_with_an_error(farm: MinerFarm) -> None:
    session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.OBEY_WITH_ERROR)
    assert is_error(await ask(farm, "curtail", f"{session_id},sleep"))
    assert farm.bank.mode[0] == Mode.SLEEP
    assert await answers(farm)


async def test_a_device_that_reboots_as_a_write_arrives_resets_and_loses_it(farm: MinerFarm) -> None:
    session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.REBOOT_ON_WRITE)
    assert await answers(farm)  # a read does not do it
    with pytest.raises(ConnectionResetError):
        await ask(farm, "curtail", f"{session_id},sleep")
    assert farm.bank.is_rebooting[0]
    assert farm.bank.mode[0] == Mode.HASH
    with pytest.raises(ConnectionResetError):
        await exchange(farm)


async def test_another_tool_holds_the_session_takes_it_back_and_lets_go_of_it(farm: MinerFarm) -> None:
    ours = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    farm.faults[0].on(Fault.FOREIGN_SESSION)
    theirs = (await ask(farm, "session"))["SESSION"][0]["SessionID"]
    assert theirs not in ("", ours)
    assert is_error(await ask(farm, "logon"))
    assert is_error(await ask(farm, "curtail", f"{ours},sleep"))
    assert not is_error(await ask(farm, "kill"))
    assert (await ask(farm, "session"))["SESSION"][0]["SessionID"] not in ("", ours, theirs)
    assert farm.bank.mode[0] == Mode.HASH
    farm.faults[0].off(Fault.FOREIGN_SESSION)
    fresh = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
    assert not is_error(await ask(farm, "curtail", f"{fresh},sleep"))


async def test_device_error_answers_everything_with_an_error(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.DEVICE_ERROR)
    assert is_error(await ask(farm, "version"))
    assert is_error(await ask(farm, "logon"))
