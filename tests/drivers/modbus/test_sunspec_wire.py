"""What a SunSpec device does that the simulated one does not, byte by byte: slow, silent, moving, refusing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from controller.domain.metering import MeterError, MeterFault, Point
from simulators.modbus_server import RegisterBank
from simulators.sunspec_meter import SunSpecSpec
from tests.drivers.modbus.modbus_peer import Peer, Request
from tests.drivers.modbus.sunspec_bench import SunSpecBench, device, until


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[SunSpecBench]:
    async with SunSpecBench() as made:
        yield made


def serving(bank: RegisterBank, slow_s: float = 0.0, silent: Sequence[int] = ()):
    """Answers from `bank`, each answer `slow_s` late; says nothing where a read begins at an address of `silent`."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.address in silent:
            return
        await asyncio.sleep(slow_s)
        data = bank.read(request.address, request.count)
        pdu = bytes((0x83, 2)) if data is None else bytes((3, len(data))) + data
        writer.write(request.frame(pdu))

    return respond


async def test_a_walk_that_is_longer_than_the_deadline_goes_on_with_the_next_read(
    peer: Peer, bench: SunSpecBench
) -> None:
    peer.respond = serving(device(SunSpecSpec(203, before=(1, 160, 64900, 160, 64900))).bank, slow_s=0.04)
    meter = bench.meter(peer.port)
    loop = asyncio.get_running_loop()
    reads = 0
    async with asyncio.timeout(10.0):
        while True:
            began = loop.time()
            reads += 1
            try:
                assert (await meter.read())[Point.SITE_LOAD_W].value == 3e6
                break
            except MeterError as error:
                assert error.fault is MeterFault.TIMEOUT
                assert "the next read goes on from there" in error.detail
                assert loop.time() - began < 0.25
    assert reads >= 3  # nine requests of 0.04 s, of which a read of 0.25 s begins four
    assert peer.connections == 1
    headers = [request.address for request in peer.requests if request.address != 40_000]
    assert len(headers) == len(set(headers)) + 1  # each model once; the meter's id again with its values


@pytest.mark.parametrize("silent", [(40_000,), (40_000, 0), (0,)])
async def test_a_device_that_is_silent_where_it_has_nothing_is_found_all_the_same(
    silent: tuple[int, ...], peer: Peer, bench: SunSpecBench
) -> None:
    peer.respond = serving(device(SunSpecSpec(203, base=50_000)).bank, silent=silent)
    await until(bench.meter(peer.port), None)


async def test_a_read_that_falls_silent_half_way_ends_at_its_one_deadline(peer: Peer, bench: SunSpecBench) -> None:
    answered = serving(device(SunSpecSpec(203, before=(1,))).bank, slow_s=0.4)

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        if len(peer.requests) == 1:
            await answered(request, writer)

    peer.respond = respond
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(MeterError) as raised:
        await bench.meter(peer.port, deadline_s=1.0).read()
    assert raised.value.fault is MeterFault.TIMEOUT
    assert len(peer.requests) == 2
    assert loop.time() - began < 1.3  # a deadline of its own for the second request would end at 1.4


async def test_registers_that_move_with_every_read_never_become_power(peer: Peer, bench: SunSpecBench) -> None:
    banks = [device(SunSpecSpec(203, before=(1, *[160] * number))).bank for number in (0, 1)]

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        at_block = request.count > 2
        await serving(banks[1] if at_block else banks[0])(request, writer)

    peer.respond = respond
    meter = bench.meter(peer.port)
    for _ in range(3):
        with pytest.raises(MeterError) as raised:
            await meter.read()
        assert raised.value.fault is MeterFault.WRONG_REPLY
        assert "model 203 at 40070 turned into model 160 of 48 registers" in raised.value.detail


async def test_a_block_that_is_refused_is_said_as_the_device_said_it(peer: Peer, bench: SunSpecBench) -> None:
    bank = device(SunSpecSpec(203)).bank

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        if request.count > 10:
            writer.write(request.frame(bytes((0x83, 3))))
        else:
            await serving(bank)(request, writer)

    peer.respond = respond
    with pytest.raises(MeterError, match="exception 3") as raised:
        await bench.meter(peer.port).read()
    assert raised.value.fault is MeterFault.CONFIGURATION


async def test_the_time_of_a_sample_is_before_its_own_request_and_after_the_walk(
    peer: Peer, bench: SunSpecBench
) -> None:
    peer.respond = serving(device(SunSpecSpec(203, before=(1,))).bank, slow_s=0.02)
    meter = bench.meter(peer.port, deadline_s=5.0)
    began = asyncio.get_running_loop().time()
    sample = (await meter.read())[Point.SITE_LOAD_W]
    assert sample.taken_at - began >= 4 * 0.019  # marker, common, meter, end
    assert asyncio.get_running_loop().time() - sample.taken_at >= 0.019


async def test_closing_leaves_nothing_behind(peer: Peer, bench: SunSpecBench) -> None:
    peer.respond = serving(device(SunSpecSpec(203)).bank)
    meter = bench.meter(peer.port)
    await meter.read()
    assert meter.points == {Point.SITE_LOAD_W, Point.FREQUENCY_HZ, Point.VOLTAGE_V}
    await meter.close()
    with pytest.raises(MeterError) as raised:
        await meter.read()
    assert raised.value.fault is MeterFault.DISCONNECTED
