"""The contract with the simulated SunSpec meter over sockets: both sides wrote the models down for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import pytest_asyncio

from controller.domain.metering import MeterError, MeterFault, Point, Quality, Sample
from drivers.modbus.client import Backoff
from drivers.modbus.maps.load import load_map
from drivers.modbus.meter import build_meter
from drivers.modbus.sunspec_meter import SunSpecMeter
from simulators.meter_reading import DeviceFault
from simulators.modbus_meter import PanelMeter, PanelMeterSpec, Quantity
from simulators.modbus_server import ModbusServer, RegisterBank, WireFault, WireKind
from simulators.sunspec_meter import FLOAT_METERS, INTEGER_METERS, SunSpecSpec
from tests.drivers.modbus.modbus_peer import Peer, Request
from tests.drivers.modbus.test_against_simulator import TRUTH, WIRE_FAULTS

PHASE_V = 132e3 / 3**0.5


class Bench:
    """Simulated meters on ephemeral ports and the drivers that read them."""

    def __init__(self) -> None:
        self._servers: list[ModbusServer] = []
        self._meters: list[SunSpecMeter] = []

    async def serve(self, bank: RegisterBank) -> ModbusServer:
        server = ModbusServer(bank, 1, "127.0.0.1", 0)
        await server.start()
        self._servers.append(server)
        return server

    def meter(self, port: int, direction: int = 1, deadline_s: float = 0.25, model: str | Path = "sunspec_meter"):
        meter = build_meter(
            meter_id="m",
            host="127.0.0.1",
            port=port,
            unit_id=1,
            register_map=load_map(model),
            points={"active_power": Point.SITE_LOAD_W},
            direction=direction,
            rated_w=30e6,
            deadline_s=deadline_s,
            connect_deadline_s=5.0,
            backoff=Backoff(0.01, 0.05),
        )
        self._meters.append(meter)
        return meter

    async def read(self, device: PanelMeter, direction: int = 1) -> Sample:
        """The power that a meter of its own reads."""
        server = await self.serve(device.bank)
        return (await self.meter(server.address[1], direction).read())[Point.SITE_LOAD_W]

    async def end(self) -> None:
        for meter in self._meters:
            await meter.close()
        for server in self._servers:
            await server.stop()


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    yield made
    await made.end()


def device(sunspec: SunSpecSpec, fault: DeviceFault | None = None, load_w: float = 3e6, sign: int = 1) -> PanelMeter:
    """A site meter that has measured `load_w` once."""
    made = PanelMeter(PanelMeterSpec(Quantity.SITE_LOAD, sign, 1.0, 1.0, 0.0, 0.0, 1.0, sunspec), seed=1)
    made.fault = fault
    made.step(1.0, replace(TRUTH, load=replace(TRUTH.load, miners_w=load_w - 0.1e6)))
    return made


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
@pytest.mark.parametrize("model", [*INTEGER_METERS, *FLOAT_METERS])
async def test_every_model_reads_the_truth_at_every_base(model: int, base: int, bench: Bench) -> None:
    server = await bench.serve(device(SunSpecSpec(model, base)).bank)
    readings = await bench.meter(server.address[1]).read()
    assert {sample.quality for sample in readings.values()} == {Quality.GOOD}
    assert readings[Point.SITE_LOAD_W].value == pytest.approx(3e6, rel=1e-6)
    assert readings[Point.FREQUENCY_HZ].value == pytest.approx(49.9375, abs=0.005)
    shown_v = 132e3 if model % 10 == 4 else PHASE_V  # delta has no neutral
    assert readings[Point.VOLTAGE_V].value == pytest.approx(shown_v, rel=1e-3)
    assert len({sample.taken_at for sample in readings.values()}) == 1


@pytest.mark.parametrize(
    "chain",
    [
        {"before": (1,)},
        {"before": (1,), "common_length": 65},
        {"before": (1, 103, 1), "common_length": 65},
        {"before": (1, 64900, 160, 64900), "after": (64900, 160)},
        {"after": (64900,), "end_with_length": False},
        {"before": (), "end_with_length": False},
    ],
    ids=str,
)
async def test_the_meter_is_found_wherever_it_stands_in_the_chain(chain: dict, bench: Bench) -> None:
    assert (await bench.read(device(SunSpecSpec(203, **chain)))).value == 3e6


@pytest.mark.parametrize(("sign", "direction"), [(1, 1), (-1, -1)])
@pytest.mark.parametrize("model", [203, 213])
async def test_the_installation_decides_the_sign(model: int, sign: int, direction: int, bench: Bench) -> None:
    sample = await bench.read(device(SunSpecSpec(model), sign=sign), direction)
    assert sample.value == pytest.approx(3e6)


@pytest.mark.parametrize(("load_w", "scale"), [(12_345.0, 0), (12_345_000.0, 3), (123_456.0, 1), (21.5, -1)])
async def test_a_scale_factor_that_follows_the_power_is_read_with_it(load_w: float, scale: int, bench: Bench) -> None:
    server = await bench.serve(device(SunSpecSpec(203)).bank)
    meter = bench.meter(server.address[1])
    await meter.read()
    server.bank = device(SunSpecSpec(203, power_scale=scale), load_w=load_w).bank
    value = (await meter.read())[Point.SITE_LOAD_W].value
    assert value == pytest.approx(load_w, abs=10.0**scale / 2 + 0.5)


NO_MEASUREMENT = [
    (SunSpecSpec(203), DeviceFault.NOT_A_NUMBER, "not available or saturated (0x8000)"),
    (SunSpecSpec(213), DeviceFault.NOT_A_NUMBER, "not available (nan)"),
    (SunSpecSpec(203), DeviceFault.SCALE_FACTOR_MISSING, "scale factor -32768 at 40184 is outside -10..10"),
    (SunSpecSpec(203), DeviceFault.SCALE_FACTOR_WILD, "scale factor 11 at 40184 is outside -10..10"),
    (SunSpecSpec(203, power_scale=1), None, "not available or saturated (0x7FFF)"),  # 3 MW in steps of 10 W
]


@pytest.mark.parametrize(("spec", "fault", "why"), NO_MEASUREMENT, ids=[why for *_, why in NO_MEASUREMENT])
async def test_what_is_no_measurement_is_bad_and_never_zero(
    spec: SunSpecSpec, fault: DeviceFault | None, why: str, bench: Bench
) -> None:
    server = await bench.serve(device(spec, fault).bank)
    readings = await bench.meter(server.address[1]).read()
    power = readings[Point.SITE_LOAD_W]
    assert (power.value, power.quality) == (None, Quality.BAD)
    assert why in power.source
    assert readings[Point.FREQUENCY_HZ].quality is Quality.GOOD


async def test_power_beyond_the_range_in_the_other_direction_is_bad_too(bench: Bench) -> None:
    sample = await bench.read(device(SunSpecSpec(203, power_scale=1), sign=-1), -1)
    assert sample.quality is Quality.BAD
    assert "0x8001" in sample.source


@pytest.mark.parametrize(("wire_fault", "fault"), WIRE_FAULTS, ids=[str(each.kind) for each, _ in WIRE_FAULTS])
@pytest.mark.parametrize("known", [True, False], ids=["found before", "still to be found"])
async def test_every_fault_of_the_wire_has_its_name_and_passes(
    wire_fault: WireFault, fault: MeterFault, known: bool, bench: Bench
) -> None:
    server = await bench.serve(device(SunSpecSpec(203)).bank)
    meter = bench.meter(server.address[1])
    if known:
        await meter.read()
    await server.set_fault(wire_fault)
    await until(meter, fault)
    await server.set_fault(None)
    await until(meter, None)


OTHERS = [
    ("a float meter", SunSpecSpec(213)),
    ("the same meter behind other models", SunSpecSpec(203, before=(1, 103, 160))),
    ("a meter at another base", SunSpecSpec(211, base=50_000)),
    ("the same place and length, another model", SunSpecSpec(204)),
]


@pytest.mark.parametrize(("name", "other"), OTHERS, ids=[name for name, _ in OTHERS])
async def test_a_meter_exchanged_behind_a_gateway_is_found_anew_within_the_same_read(
    name: str, other: SunSpecSpec, bench: Bench
) -> None:
    server = await bench.serve(device(SunSpecSpec(203)).bank)
    meter = bench.meter(server.address[1])
    await meter.read()
    server.bank = device(other, load_w=7e6).bank
    readings = await meter.read()
    assert readings[Point.SITE_LOAD_W].value == 7e6
    shown_v = 132e3 if other.model == 204 else PHASE_V
    assert readings[Point.VOLTAGE_V].value == pytest.approx(shown_v, rel=1e-3)


async def test_every_connection_is_walked_anew_and_a_standing_one_is_not(bench: Bench) -> None:
    server = await bench.serve(device(SunSpecSpec(203, before=(1,))).bank)
    meter = bench.meter(server.address[1])
    await meter.read()
    before = server.requests
    for _ in range(5):
        await meter.read()
    assert server.requests - before == 5
    await server.set_fault(WireFault(WireKind.RESET))
    await until(meter, MeterFault.DISCONNECTED)
    await server.set_fault(None)
    await until(meter, None)
    assert server.requests - before >= 5 + 1 + 5  # marker, common, meter, end, block


async def test_a_device_without_a_meter_says_what_it_has_and_what_to_do(bench: Bench) -> None:
    spec = SunSpecSpec(203, before=(1, 103), after=(160,))
    inverter = device(spec)
    inverter.bank.put_u16(40_000 + 2 + 68 + 52, 64002)  # the meter's id
    server = await bench.serve(inverter.bank)
    with pytest.raises(MeterError) as raised:
        await bench.meter(server.address[1]).read()
    assert raised.value.fault is MeterFault.CONFIGURATION
    assert "m at 127.0.0.1" in raised.value.detail
    assert (
        "SunSpec device at 40000 without a meter: it has the chain of models 1, 103, 64002, 160" in raised.value.detail
    )
    assert "give the unit_id of the meter" in raised.value.detail


async def test_a_meter_that_speaks_no_sunspec_says_so(bench: Bench) -> None:
    plain = PanelMeter(PanelMeterSpec(Quantity.SITE_LOAD, 1, 1.0, 1.0, 0.0, 0.0, 1.0), seed=1)
    plain.step(1.0, TRUTH)
    server = await bench.serve(plain.bank)
    with pytest.raises(MeterError, match=r"no SunSpec marker 'SunS'.*nothing at 40000, 0x0000 0x4794 at 0") as raised:
        await bench.meter(server.address[1]).read()
    assert raised.value.fault is MeterFault.CONFIGURATION


async def test_of_two_meters_the_sites_own_map_says_which(bench: Bench, tmp_path: Path) -> None:
    shipped = Path("drivers/modbus/maps/sunspec_meter.toml")
    text = (Path(__file__).parents[3] / shipped).read_text(encoding="utf-8")
    own = tmp_path / "second.toml"
    own.write_text(text.replace("# nth = 1", "nth = 2"), encoding="utf-8")
    server = await bench.serve(device(SunSpecSpec(203, before=(1, 201))).bank)
    with pytest.raises(MeterError, match="2 meters: model 201 at 40070, model 203 at 40177"):
        await bench.meter(server.address[1]).read()
    readings = await bench.meter(server.address[1], model=own).read()
    assert readings[Point.SITE_LOAD_W].value == 3e6


async def until(meter: SunSpecMeter, fault: MeterFault | None) -> None:
    """Read until a read ends in `fault`, None for a good one. No read may outlast its deadline."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(10.0):
        while True:
            began = loop.time()
            try:
                await meter.read()
            except MeterError as error:
                seen: MeterFault | None = error.fault
            else:
                seen = None
            assert loop.time() - began < 0.25 + 0.2
            if seen is fault:
                return
            await asyncio.sleep(0.005)


# --- what the simulator does not do, byte by byte ---


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


async def test_a_walk_that_is_longer_than_the_deadline_goes_on_with_the_next_read(peer: Peer, bench: Bench) -> None:
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
    silent: tuple[int, ...], peer: Peer, bench: Bench
) -> None:
    peer.respond = serving(device(SunSpecSpec(203, base=50_000)).bank, silent=silent)
    await until(bench.meter(peer.port), None)


async def test_a_read_that_falls_silent_half_way_ends_at_its_one_deadline(peer: Peer, bench: Bench) -> None:
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


async def test_registers_that_move_with_every_read_never_become_power(peer: Peer, bench: Bench) -> None:
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


async def test_a_block_that_is_refused_is_said_as_the_device_said_it(peer: Peer, bench: Bench) -> None:
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


async def test_the_time_of_a_sample_is_before_its_own_request_and_after_the_walk(peer: Peer, bench: Bench) -> None:
    peer.respond = serving(device(SunSpecSpec(203, before=(1,))).bank, slow_s=0.02)
    meter = bench.meter(peer.port, deadline_s=5.0)
    began = asyncio.get_running_loop().time()
    sample = (await meter.read())[Point.SITE_LOAD_W]
    assert sample.taken_at - began >= 4 * 0.019  # marker, common, meter, end
    assert asyncio.get_running_loop().time() - sample.taken_at >= 0.019


async def test_closing_leaves_nothing_behind(peer: Peer, bench: Bench) -> None:
    peer.respond = serving(device(SunSpecSpec(203)).bank)
    meter = bench.meter(peer.port)
    await meter.read()
    assert meter.points == {Point.SITE_LOAD_W, Point.FREQUENCY_HZ, Point.VOLTAGE_V}
    await meter.close()
    with pytest.raises(MeterError) as raised:
        await meter.read()
    assert raised.value.fault is MeterFault.DISCONNECTED
