"""Faults kept to the answers to writes: the write is carried out, reads are sound, the client hears something else."""

import asyncio
import json

import httpx
import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.faults import OF_ANSWERS, Fault, FaultSet
from tests.simulators.antminer_client import SLEEP, stock
from tests.simulators.luxos_client import answers, ask, exchange
from tests.simulators.whatsminer_client import stand

UNHEARD = [Fault.RESET, Fault.HANG, Fault.GARBAGE, Fault.TRUNCATE, Fault.SLOW_LORIS, Fault.EMPTY_BODY]


def is_sound(answer: bytes) -> bool:
    try:
        return json.loads(answer) != {}
    except ValueError:
        return False


@pytest.mark.parametrize("fault", UNHEARD)
async def test_a_write_is_carried_out_and_only_its_answer_is_spoiled(fault: Fault) -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        farm.faults[0].on(fault, writes_only=True)
        session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
        request = json.dumps({"command": "curtail", "parameter": f"{session_id},sleep"}).encode()
        with pytest.raises((TimeoutError, ConnectionResetError, AssertionError)):
            async with asyncio.timeout(0.3):
                assert is_sound(await exchange(farm, request))
        assert farm.bank.mode[0] == Mode.SLEEP
        assert await answers(farm)
        farm.faults[0].off(fault)
        assert is_sound(await exchange(farm, request))


async def test_a_late_answer_to_a_write_is_late_alone() -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        farm.faults[0].on(Fault.DELAY, 0.2, writes_only=True)
        loop = asyncio.get_running_loop()
        session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
        asked_at = loop.time()
        await ask(farm, "curtail", f"{session_id},sleep")
        assert loop.time() - asked_at >= 0.19


async def test_with_ignore_beside_it_the_write_is_lost_as_well() -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
        farm.faults[0].on(Fault.RESET, writes_only=True)
        farm.faults[0].on(Fault.IGNORE)
        with pytest.raises(ConnectionResetError):
            await ask(farm, "curtail", f"{session_id},sleep")
        assert farm.bank.mode[0] == Mode.HASH


async def test_an_encrypted_write_is_a_write_and_a_token_is_none() -> None:
    async with stand() as miner:
        miner.faults.on(Fault.RESET, writes_only=True)
        tool = miner.tool()
        assert (await tool.log_on())["Code"] == 134
        with pytest.raises(ConnectionResetError):
            await tool.write("power_off")
        assert miner.bank.mode[0] == Mode.SLEEP
        assert (await tool.read("status"))["Code"] == 131


@pytest.mark.parametrize(
    ("fault", "status"),
    [(Fault.HTTP_401, 401), (Fault.HTTP_403, 403), (Fault.HTTP_500, 500), (Fault.EMPTY_BODY, 200)],
)
async def test_a_status_in_place_of_the_answer_to_a_configuration(fault: Fault, status: int) -> None:
    async with stock() as miner:
        miner.faults.on(fault, writes_only=True)
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        written = await miner.script("set_miner_conf", {"miner-mode": 1})
        assert written.status_code == status
        assert b"M000" not in written.content
        assert (miner.mode, miner.miner.config_writes) == (SLEEP, 1)
        assert (await miner.conf())["bitmain-work-mode"] == "1"


@pytest.mark.parametrize("fault", [Fault.RESET, Fault.HANG, Fault.GARBAGE, Fault.TRUNCATE, Fault.SLOW_LORIS])
async def test_a_configuration_is_written_and_its_answer_does_not_come(fault: Fault) -> None:
    async with stock() as miner:
        miner.faults.on(fault, writes_only=True)
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        with pytest.raises((httpx.TransportError, TimeoutError)):
            async with asyncio.timeout(0.5):
                await miner.script("set_miner_conf", {"miner-mode": 1})
        assert (miner.mode, miner.miner.config_writes) == (SLEEP, 1)
        assert (await miner.conf())["bitmain-work-mode"] == "1"


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.KEEP_OPEN, Fault.SLOW_LORIS])
async def test_a_client_that_leaves_before_a_spoiled_answer_costs_no_socket(fault: Fault) -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        session_id = (await ask(farm, "logon"))["SESSION"][0]["SessionID"]
        farm.faults[0].on(fault, 0.0, writes_only=True)
        reader, writer = await asyncio.open_connection(*farm.addresses[0])
        writer.write(json.dumps({"command": "curtail", "parameter": f"{session_id},sleep"}).encode())
        await asyncio.sleep(0.1)  # by now the answer has come as far as it will
        writer.write_eof()
        async with asyncio.timeout(5):
            await reader.read()  # the miner has closed
        writer.close()
        assert farm.bank.mode[0] == Mode.SLEEP


def test_the_scope_of_a_fault_is_the_one_given_last() -> None:
    faults = FaultSet()
    faults.on(Fault.RESET, writes_only=True)
    assert Fault.RESET not in faults
    assert [faults.spoils(Fault.RESET, write=write) for write in (True, False)] == [True, False]
    faults.on(Fault.RESET)
    assert Fault.RESET in faults
    assert [faults.spoils(Fault.RESET, write=write) for write in (True, False)] == [True, True]
    faults.on(Fault.RESET, writes_only=True)
    faults.clear()
    assert not faults.spoils(Fault.RESET, write=True)
    faults.on(Fault.RESET)
    assert Fault.RESET in faults


@pytest.mark.parametrize("fault", sorted(set(Fault) - OF_ANSWERS))
def test_what_is_no_fault_of_an_answer_cannot_be_kept_to_answers(fault: Fault) -> None:
    faults = FaultSet()
    with pytest.raises(ValueError, match="cannot be kept to the answers to writes"):
        faults.on(fault, writes_only=True)
    assert len(faults) == 0
