"""What a client of a simulated miner sees under each fault."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault, FaultEvent, FaultSchedule
from tests.simulators.luxos_client import VERSION, answers, exchange


@pytest.fixture
async def farm() -> AsyncIterator[MinerFarm]:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as running:
        yield running


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def test_refuse_closes_the_port_and_opens_it_again_at_the_same_number(farm: MinerFarm) -> None:
    before = farm.addresses[0]
    farm.faults[0].on(Fault.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await exchange(farm)
    farm.faults[0].off(Fault.REFUSE)
    assert await answers(farm)
    assert farm.addresses[0] == before


async def test_refuse_switched_to_and_fro_ends_as_switched_last(farm: MinerFarm) -> None:
    faults = farm.faults[0]
    for _ in range(3):
        faults.on(Fault.REFUSE)
        faults.off(Fault.REFUSE)
    faults.on(Fault.REFUSE)
    await asyncio.sleep(0.01)
    with pytest.raises(ConnectionRefusedError):
        await exchange(farm)


async def test_reset_accepts_and_resets(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.RESET)
    with pytest.raises(ConnectionResetError):
        await exchange(farm)
    farm.faults[0].off(Fault.RESET)
    assert await answers(farm)


async def test_hang_accepts_and_says_nothing(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.HANG)
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.15)
    writer.close()
    assert farm.miners[0].log.counts == {}


async def test_keep_open_answers_and_does_not_close(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.KEEP_OPEN)
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    answer = await asyncio.wait_for(reader.readuntil(b'"id":1}'), 5)
    assert json.loads(answer)["VERSION"]
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.15)
    writer.close()


@pytest.mark.parametrize("fault", [Fault.KEEP_OPEN, Fault.SLOW_LORIS])
async def test_a_client_that_leaves_when_the_fault_is_over_costs_no_socket(farm: MinerFarm, fault: Fault) -> None:
    before = open_files()
    farm.faults[0].on(fault, 0.0)
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    await asyncio.wait_for(reader.readuntil(b'"id":1'), 5)
    await asyncio.sleep(0.05)
    farm.faults[0].off(fault)
    writer.close()
    async with asyncio.timeout(5):
        while open_files() > before:  # noqa: ASYNC110  # sockets tell nobody when they are gone
            await asyncio.sleep(0.01)


async def test_a_client_that_leaves_in_the_moment_of_the_answer_costs_no_complaint(farm: MinerFarm) -> None:
    complaints: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _, context: complaints.append(str(context)))
    farm.faults[0].on(Fault.DELAY, 0.02)
    _, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    await asyncio.sleep(0.01)
    writer.transport.abort()
    time.sleep(0.03)  # noqa: ASYNC251  # the answer is due: the loop closes the one end and writes to the other in one turn
    await asyncio.sleep(0.05)
    assert complaints == []


async def test_garbage_is_no_json(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.GARBAGE)
    data = await exchange(farm)
    assert data
    with pytest.raises(ValueError, match=r"codec|Expecting|Extra|Invalid"):
        json.loads(data)


async def test_truncate_ends_in_the_middle(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.TRUNCATE)
    data = await exchange(farm)
    assert data.startswith(b'{"')
    with pytest.raises(json.JSONDecodeError):
        json.loads(data)


async def test_drip_sends_the_whole_answer_byte_by_byte(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.DRIP, 0.0005)
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    pieces = []
    async with asyncio.timeout(10):
        while piece := await reader.read(1_000):
            pieces.append(piece)
    writer.close()
    assert len(pieces) > 20
    assert json.loads(b"".join(pieces))["VERSION"]


async def test_slow_loris_begins_and_never_ends_until_the_client_leaves(farm: MinerFarm) -> None:
    whole = await exchange(farm)
    farm.faults[0].on(Fault.SLOW_LORIS, 0.0005)
    reader, writer = await asyncio.open_connection(*farm.addresses[0])
    writer.write(VERSION)
    begun = await asyncio.wait_for(reader.readexactly(len(whole) - 1), 10)
    assert begun.startswith(b'{"VERSION"')
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.15)
    writer.write_eof()
    assert await asyncio.wait_for(reader.read(), 5) == b""
    writer.close()


async def is_swallowed(host: str, port: int) -> bool:
    """Whether a connection is neither made nor refused; the kernel repeats a lost SYN after a second."""
    try:
        async with asyncio.timeout(0.3):
            _, writer = await asyncio.open_connection(host, port)
    except TimeoutError:
        return True
    except ConnectionRefusedError:
        return False
    writer.close()
    return False


async def test_black_hole_neither_takes_nor_refuses_a_connection_and_heals_at_the_same_port(farm: MinerFarm) -> None:
    before, faults = farm.addresses[0], farm.faults[0]
    reader, writer = await asyncio.open_connection(*before)
    faults.on(Fault.BLACK_HOLE)
    assert [await is_swallowed(*before) for _ in range(3)] == [True] * 3
    writer.write(VERSION)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()
    faults.off(Fault.BLACK_HOLE)
    assert await answers(farm)
    assert farm.addresses[0] == before


async def test_a_refused_port_is_refused_whatever_else_is_wrong_with_it(farm: MinerFarm) -> None:
    faults = farm.faults[0]
    faults.on(Fault.BLACK_HOLE)
    faults.on(Fault.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await exchange(farm)
    faults.off(Fault.REFUSE)
    assert await is_swallowed(*farm.addresses[0])
    faults.on(Fault.BLACK_HOLE)
    faults.clear()
    assert await answers(farm)


async def test_a_farm_that_ends_in_a_black_hole_leaves_its_port_closed() -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        farm.faults[0].on(Fault.BLACK_HOLE)
    farm.faults[0].off(Fault.BLACK_HOLE)  # too late to open anything
    await asyncio.sleep(0)
    with pytest.raises(ConnectionRefusedError):
        await exchange(farm)


async def test_a_fault_from_before_the_start_holds_from_the_start() -> None:
    farm = MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2))
    farm.faults[0].on(Fault.REFUSE)
    async with farm:
        with pytest.raises(ConnectionRefusedError):
            await exchange(farm)
        farm.faults[0].off(Fault.REFUSE)
        assert await answers(farm)


async def test_an_empty_answer_is_json_without_content(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.EMPTY_BODY)
    assert await exchange(farm) == b"{}"


async def test_delay_answers_late_and_does_not_hold_up_others(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.DELAY, 0.2)
    late = asyncio.create_task(exchange(farm))
    started_s = time.monotonic()
    async with asyncio.timeout(5):
        reply = await late
    assert time.monotonic() - started_s >= 0.19
    assert json.loads(reply)["VERSION"]


async def test_delay_and_truncate_combine(farm: MinerFarm) -> None:
    farm.faults[0].on(Fault.DELAY, 0.05)
    farm.faults[0].on(Fault.TRUNCATE)
    with pytest.raises(json.JSONDecodeError):
        json.loads(await exchange(farm))


async def test_a_farm_ends_cleanly_with_clients_still_hanging() -> None:
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2)) as farm:
        farm.faults[0].on(Fault.HANG)
        reader, writer = await asyncio.open_connection(*farm.addresses[0])
        writer.write(VERSION)
        await asyncio.sleep(0.02)
    async with asyncio.timeout(5):
        assert await reader.read() == b""
    writer.close()


async def test_a_farm_follows_its_schedule() -> None:
    schedule = FaultSchedule([FaultEvent(0.0, 0, Fault.DEVICE_ERROR, 0.3)])
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=2), tick_s=0.01, schedule=schedule) as farm:
        heard: list[bool] = []
        changed = asyncio.Event()

        def note(_fault: Fault, is_on: bool) -> None:
            heard.append(is_on)
            changed.set()

        farm.faults[0].listen(note)
        async with asyncio.timeout(5):
            while heard != [True, False]:
                await changed.wait()
                changed.clear()
        assert await answers(farm)
