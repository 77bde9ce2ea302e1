"""The contract with the simulated instruments: both sides wrote the register tables down for themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from controller.domain.metering import MeterError, MeterFault, Point, Quality
from drivers.modbus.meter import ModbusMeter
from simulators.modbus_meter import DcsBlock, DcsSpec, DeviceFault, PanelMeter, PanelMeterSpec, QualityBit, Quantity
from simulators.modbus_server import WireFault
from simulators.plant import PlantTruth
from tests.drivers.modbus.bench import HEALTHY, TRUTH, WIRE_FAULTS, Bench


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with Bench() as made:
        yield made


def panel(quantity: Quantity, installed_sign: int) -> PanelMeter:
    return PanelMeter(PanelMeterSpec(quantity, installed_sign, 1.0, 1.0, 0.0, 0.0, 1.0), seed=1)


@pytest.mark.parametrize("installed", [1, -1])
@pytest.mark.parametrize(
    ("quantity", "point", "true_w"),
    [(Quantity.POI_EXPORT, Point.POI_EXPORT_W, 12e6), (Quantity.SITE_LOAD, Point.SITE_LOAD_W, 3e6)],
)
async def test_a_panel_meter_reads_the_truth_whichever_way_it_is_installed(
    quantity: Quantity, point: Point, true_w: float, installed: int, bench: Bench
) -> None:
    device = panel(quantity, installed)
    device.step(3600.0, TRUTH)
    meter = bench.meter_of((await bench.serve(device.bank)).address[1], "siemens_pac2200", point, installed)
    readings = await meter.read()
    assert readings[point].value == pytest.approx(true_w, rel=1e-6)
    assert readings[Point.FREQUENCY_HZ].value == pytest.approx(49.9375)
    assert readings[Point.VOLTAGE_V].value == pytest.approx(132e3 / 3**0.5, rel=1e-6)
    assert {sample.quality for sample in readings.values()} == {Quality.GOOD}
    counted = (await meter.read_energy())[meter.energy_point]
    assert counted.value == pytest.approx(true_w)


async def test_a_panel_meter_turned_round_after_commissioning_shows_the_opposite_sign(bench: Bench) -> None:
    device = panel(Quantity.SITE_LOAD, 1)
    device.flip_installation()
    device.step(1.0, TRUTH)
    meter = bench.meter_of((await bench.serve(device.bank)).address[1], "siemens_pac2200", Point.SITE_LOAD_W, 1)
    assert (await meter.read())[Point.SITE_LOAD_W].value == pytest.approx(-3e6)


async def test_a_panel_meter_without_a_power_reading_is_bad_not_zero(bench: Bench) -> None:
    device = panel(Quantity.SITE_LOAD, 1)
    device.fault = DeviceFault.NOT_A_NUMBER
    device.step(1.0, TRUTH)
    meter = bench.meter_of((await bench.serve(device.bank)).address[1], "siemens_pac2200", Point.SITE_LOAD_W, 1)
    sample = (await meter.read())[Point.SITE_LOAD_W]
    assert (sample.value, sample.quality) == (None, Quality.BAD)


async def read_plant(bench: Bench, truth: PlantTruth, model: str = "plant_dcs_2units", **of_device):
    device = DcsBlock(DcsSpec(refresh_s=1.0, heartbeat_s=1.0))
    for name, value in of_device.items():
        setattr(device, name, value)
    device.step(5.0, truth, 1_700_000_000)
    meter = bench.meter_of((await bench.serve(device.bank)).address[1], model, None, 1)
    readings = await meter.read()
    assert readings.keys() == meter.points
    return readings


async def test_the_plant_of_two_units_reads_its_sums_and_signals_in_watts(bench: Bench) -> None:
    readings = await read_plant(bench, TRUTH)
    assert {point: sample.value for point, sample in readings.items()} == {
        Point.DCS_HEARTBEAT: 5.0,
        Point.SYNCHRONISED_UNITS: 2.0,
        Point.GROSS_W: 16e6,
        Point.AVAILABLE_W: 23e6,
        Point.AUXILIARY_W: 1e6,
        Point.DCS_POI_EXPORT_W: 12e6,
        Point.DESPATCH_EXPORT_W: 11.5e6,
        Point.RESERVE_UP_W: 2e6,
        Point.TRIP: 0.0,
        Point.GRID_EMERGENCY: 0.0,
        Point.PERMIT: 1.0,
    }
    assert {sample.quality for sample in readings.values()} == {Quality.GOOD}


async def test_the_plant_of_one_unit_has_the_same_table(bench: Bench) -> None:
    readings = await read_plant(bench, replace(TRUTH, units=TRUTH.units[:1]), "plant_dcs")
    assert (readings[Point.GROSS_W].value, readings[Point.AVAILABLE_W].value) == (9e6, 12e6)
    assert readings[Point.SYNCHRONISED_UNITS].value == 1.0


async def test_a_unit_off_the_bars_leaves_the_sums(bench: Bench) -> None:
    units = (TRUTH.units[0], replace(TRUTH.units[1], synchronised=False))
    readings = await read_plant(bench, replace(TRUTH, units=units))
    assert (readings[Point.GROSS_W].value, readings[Point.SYNCHRONISED_UNITS].value) == (9e6, 1.0)


@pytest.mark.parametrize(
    ("changed", "point", "value"),
    [
        ({"trip_underfrequency": True}, Point.TRIP, 1.0),
        ({"trip_stop_button": True}, Point.TRIP, 1.0),
        ({"grid_emergency": True}, Point.GRID_EMERGENCY, 1.0),
        ({"permit": False}, Point.PERMIT, 0.0),
    ],
)
async def test_each_contact_of_the_plant_moves_its_point_and_no_other(
    changed: dict[str, bool], point: Point, value: float, bench: Bench
) -> None:
    readings = await read_plant(bench, replace(TRUTH, flags=replace(HEALTHY, **changed)))
    healthy = {Point.TRIP: 0.0, Point.GRID_EMERGENCY: 0.0, Point.PERMIT: 1.0}
    assert {each: readings[each].value for each in healthy} == healthy | {point: value}


@pytest.mark.parametrize(
    ("bit", "points"),
    [
        (QualityBit.UNITS, {Point.GROSS_W, Point.AVAILABLE_W, Point.SYNCHRONISED_UNITS}),
        (QualityBit.DESPATCH, {Point.DESPATCH_EXPORT_W}),
        (QualityBit.RESERVE, {Point.RESERVE_UP_W}),
    ],
)
async def test_what_the_plant_doubts_is_uncertain(bit: QualityBit, points: set[Point], bench: Bench) -> None:
    readings = await read_plant(bench, TRUTH, quality=bit)
    assert {point for point, sample in readings.items() if sample.quality is Quality.UNCERTAIN} == points


async def test_powers_the_plant_does_not_know_are_bad_and_the_contacts_still_read(bench: Bench) -> None:
    readings = await read_plant(bench, TRUTH, fault=DeviceFault.NOT_A_NUMBER)
    bad = {point for point, sample in readings.items() if sample.quality is Quality.BAD}
    assert bad == {
        Point.GROSS_W,
        Point.AVAILABLE_W,
        Point.AUXILIARY_W,
        Point.DCS_POI_EXPORT_W,
        Point.DESPATCH_EXPORT_W,
        Point.RESERVE_UP_W,
    }
    assert readings[Point.PERMIT].value == 1.0


@pytest.mark.parametrize(("wire_fault", "fault"), WIRE_FAULTS, ids=[str(each.kind) for each, _ in WIRE_FAULTS])
async def test_every_fault_of_the_simulated_wire_has_its_name_and_passes(
    wire_fault: WireFault, fault: MeterFault, bench: Bench
) -> None:
    device = panel(Quantity.SITE_LOAD, 1)
    device.step(1.0, TRUTH)
    server = await bench.serve(device.bank)
    meter = bench.meter_of(server.address[1], "siemens_pac2200", Point.SITE_LOAD_W, 1)
    await meter.read()
    await server.set_fault(wire_fault)
    await until(meter, fault)
    await server.set_fault(None)
    await until(meter, None)


async def until(meter: ModbusMeter, fault: MeterFault | None) -> None:
    """Read until a read ends in `fault`, None for a good one."""
    async with asyncio.timeout(10.0):
        while True:
            try:
                await meter.read()
            except MeterError as error:
                if error.fault is fault:
                    return
            else:
                if fault is None:
                    return
            await asyncio.sleep(0.005)
