"""The contract with the simulated SunSpec meter over sockets: both sides wrote the models down for themselves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from controller.domain.metering import MeterError, MeterFault, Point, Quality
from simulators.meter_reading import DeviceFault
from simulators.modbus_meter import PanelMeter, PanelMeterSpec, Quantity
from simulators.modbus_server import WireFault, WireKind
from simulators.sunspec_meter import FLOAT_METERS, INTEGER_METERS, SunSpecSpec
from tests.drivers.modbus.bench import TRUTH, WIRE_FAULTS
from tests.drivers.modbus.sunspec_bench import SunSpecBench, device, until

PHASE_V = 132e3 / 3**0.5
WORDS_S = 5.0  # where words are the matter, a busy machine has time for the whole walk


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[SunSpecBench]:
    async with SunSpecBench() as made:
        yield made


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
@pytest.mark.parametrize("model", [*INTEGER_METERS, *FLOAT_METERS])
async def test_every_model_reads_the_truth_at_every_base(model: int, base: int, bench: SunSpecBench) -> None:
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
async def test_the_meter_is_found_wherever_it_stands_in_the_chain(chain: dict, bench: SunSpecBench) -> None:
    assert (await bench.read(device(SunSpecSpec(203, **chain)))).value == 3e6


@pytest.mark.parametrize(("sign", "direction"), [(1, 1), (-1, -1)])
@pytest.mark.parametrize("model", [203, 213])
async def test_the_installation_decides_the_sign(model: int, sign: int, direction: int, bench: SunSpecBench) -> None:
    sample = await bench.read(device(SunSpecSpec(model), sign=sign), direction)
    assert sample.value == pytest.approx(3e6)


@pytest.mark.parametrize(("load_w", "scale"), [(12_345.0, 0), (12_345_000.0, 3), (123_456.0, 1), (21.5, -1)])
async def test_a_scale_factor_that_follows_the_power_is_read_with_it(
    load_w: float, scale: int, bench: SunSpecBench
) -> None:
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
    spec: SunSpecSpec, fault: DeviceFault | None, why: str, bench: SunSpecBench
) -> None:
    server = await bench.serve(device(spec, fault).bank)
    readings = await bench.meter(server.address[1]).read()
    power = readings[Point.SITE_LOAD_W]
    assert (power.value, power.quality) == (None, Quality.BAD)
    assert why in power.source
    assert readings[Point.FREQUENCY_HZ].quality is Quality.GOOD


async def test_power_beyond_the_range_in_the_other_direction_is_bad_too(bench: SunSpecBench) -> None:
    sample = await bench.read(device(SunSpecSpec(203, power_scale=1), sign=-1), -1)
    assert sample.quality is Quality.BAD
    assert "0x8001" in sample.source


@pytest.mark.parametrize(("wire_fault", "fault"), WIRE_FAULTS, ids=[str(each.kind) for each, _ in WIRE_FAULTS])
@pytest.mark.parametrize("known", [True, False], ids=["found before", "still to be found"])
async def test_every_fault_of_the_wire_has_its_name_and_passes(
    wire_fault: WireFault, fault: MeterFault, known: bool, bench: SunSpecBench
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
    name: str, other: SunSpecSpec, bench: SunSpecBench
) -> None:
    server = await bench.serve(device(SunSpecSpec(203)).bank)
    meter = bench.meter(server.address[1])
    await meter.read()
    server.bank = device(other, load_w=7e6).bank
    readings = await meter.read()
    assert readings[Point.SITE_LOAD_W].value == 7e6
    shown_v = 132e3 if other.model == 204 else PHASE_V
    assert readings[Point.VOLTAGE_V].value == pytest.approx(shown_v, rel=1e-3)


async def test_every_connection_is_walked_anew_and_a_standing_one_is_not(bench: SunSpecBench) -> None:
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


async def test_a_device_without_a_meter_says_what_it_has_and_what_to_do(bench: SunSpecBench) -> None:
    spec = SunSpecSpec(203, before=(1, 103), after=(160,))
    inverter = device(spec)
    inverter.bank.put_u16(40_000 + 2 + 68 + 52, 64002)  # the meter's id
    server = await bench.serve(inverter.bank)
    with pytest.raises(MeterError) as raised:
        await bench.meter(server.address[1], deadline_s=WORDS_S).read()
    assert raised.value.fault is MeterFault.CONFIGURATION
    assert "m at 127.0.0.1" in raised.value.detail
    assert (
        "SunSpec device at 40000 without a meter: it has the chain of models 1, 103, 64002, 160" in raised.value.detail
    )
    assert "give the unit_id of the meter" in raised.value.detail


async def test_a_meter_that_speaks_no_sunspec_says_so(bench: SunSpecBench) -> None:
    plain = PanelMeter(PanelMeterSpec(Quantity.SITE_LOAD, 1, 1.0, 1.0, 0.0, 0.0, 1.0), seed=1)
    plain.step(1.0, TRUTH)
    server = await bench.serve(plain.bank)
    with pytest.raises(MeterError, match=r"no SunSpec marker 'SunS'.*nothing at 40000, 0x0000 0x4794 at 0") as raised:
        await bench.meter(server.address[1], deadline_s=WORDS_S).read()
    assert raised.value.fault is MeterFault.CONFIGURATION


async def test_of_two_meters_the_sites_own_map_says_which(bench: SunSpecBench, tmp_path: Path) -> None:
    shipped = Path("drivers/modbus/maps/sunspec_meter.toml")
    text = (Path(__file__).parents[3] / shipped).read_text(encoding="utf-8")
    own = tmp_path / "second.toml"
    own.write_text(text.replace("# nth = 1", "nth = 2"), encoding="utf-8")
    server = await bench.serve(device(SunSpecSpec(203, before=(1, 201))).bank)
    with pytest.raises(MeterError, match="2 meters: model 201 at 40070, model 203 at 40177"):
        await bench.meter(server.address[1], deadline_s=WORDS_S).read()
    readings = await bench.meter(server.address[1], deadline_s=WORDS_S, model=own).read()
    assert readings[Point.SITE_LOAD_W].value == 3e6
