"""Map, installation and client put together as one meter: what may be built, and what it answers."""

from __future__ import annotations

import asyncio
import struct

import pytest

from controller.domain.metering import MeterError, MeterFault, Point, Quality
from controller.ports import Meter
from drivers.modbus.client import Backoff
from drivers.modbus.maps.load import load_map
from drivers.modbus.meter import ModbusMeter, build_meter
from tests.drivers.modbus.modbus_peer import Peer, Request, stay_silent


def build(port: int = 1, **changed) -> ModbusMeter:
    settings = {
        "meter_id": "poi",
        "host": "127.0.0.1",
        "port": port,
        "unit_id": 1,
        "register_map": load_map("siemens_pac2200"),
        "points": {"active_power": Point.POI_EXPORT_W},
        "direction": -1,
        "rated_w": 20e6,
        "deadline_s": 5.0,
        "connect_deadline_s": 5.0,
        "backoff": Backoff(0.01, 0.05),
    }
    return build_meter(**(settings | changed))


def a_pac2200(power_w: float, imported_wh: float, exported_wh: float):
    """Answers as a PAC2200 does at the addresses of its manual, and 0 elsewhere."""
    memory = bytearray(2 * 900)
    for address, layout, value in (
        (1, ">f", 230.0),
        (55, ">f", 49.75),
        (65, ">f", power_w),
        (801, ">d", imported_wh),
        (809, ">d", exported_wh),
    ):
        struct.pack_into(layout, memory, 2 * address, value)

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        data = bytes(memory[2 * request.address : 2 * (request.address + request.count)])
        writer.write(request.frame(bytes((request.function, len(data))) + data))

    return respond


async def test_one_read_answers_every_point_with_one_time_from_before_the_request(peer: Peer) -> None:
    peer.respond = a_pac2200(-500_000.0, 0.0, 0.0)
    meter: Meter = build(peer.port)
    before = asyncio.get_running_loop().time()
    readings = await meter.read()
    assert {point: sample.value for point, sample in readings.items()} == {
        Point.POI_EXPORT_W: 500_000.0,
        Point.FREQUENCY_HZ: 49.75,
        Point.VOLTAGE_V: 230.0,
    }
    assert readings.keys() == meter.points
    assert len({sample.taken_at for sample in readings.values()}) == 1
    assert before <= readings[Point.POI_EXPORT_W].taken_at <= asyncio.get_running_loop().time()
    assert len(peer.requests) == 1
    await meter.close()


async def test_the_time_of_a_sample_is_when_the_read_began_and_not_when_the_answer_came(peer: Peer) -> None:
    respond = a_pac2200(1.0, 0.0, 0.0)

    async def slowly(request: Request, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        await respond(request, writer)

    peer.respond = slowly
    meter = build(peer.port)
    sample = (await meter.read())[Point.POI_EXPORT_W]
    assert asyncio.get_running_loop().time() - sample.taken_at >= 0.09
    await meter.close()


@pytest.mark.parametrize(
    ("point", "direction", "energy_point", "energy_wh"),
    [
        (Point.POI_EXPORT_W, -1, Point.POI_EXPORT_ENERGY_WH, 7_000.0),
        (Point.POI_EXPORT_W, 1, Point.POI_EXPORT_ENERGY_WH, 1_000.0),
        (Point.SITE_LOAD_W, 1, Point.SITE_ENERGY_WH, 1_000.0),
        (Point.SITE_LOAD_W, -1, Point.SITE_ENERGY_WH, 7_000.0),
    ],
)
async def test_energy_is_a_read_of_its_own_and_counts_the_way_the_power_points(
    point: Point, direction: int, energy_point: Point, energy_wh: float, peer: Peer
) -> None:
    peer.respond = a_pac2200(0.0, 1_000.0, 7_000.0)
    meter = build(peer.port, points={"active_power": point}, direction=direction)
    assert meter.energy_point is energy_point
    readings = await meter.read_energy()
    assert {key: (sample.value, sample.quality) for key, sample in readings.items()} == {
        energy_point: (energy_wh, Quality.GOOD)
    }
    assert [(request.address, request.count) for request in peer.requests] == [(801, 12)]
    await meter.close()


async def test_a_meter_without_counters_says_so(peer: Peer) -> None:
    meter = build(peer.port, register_map=load_map("plant_dcs"), points={}, direction=1)
    assert meter.energy_point is None
    with pytest.raises(MeterError) as raised:
        await meter.read_energy()
    assert raised.value.fault is MeterFault.CONFIGURATION


async def test_a_silent_meter_raises_a_meter_error_at_its_deadline(peer: Peer) -> None:
    peer.respond = stay_silent
    meter = build(peer.port, deadline_s=0.05)
    with pytest.raises(MeterError) as raised:
        await meter.read()
    assert raised.value.fault is MeterFault.TIMEOUT
    await meter.close()


def test_building_a_meter_needs_no_loop_and_opens_nothing() -> None:
    assert build().meter_id == "poi"


def test_a_site_may_leave_values_out_and_assign_those_without_default() -> None:
    poi = build(points={"active_power": Point.POI_EXPORT_W, "voltage": None})
    assert poi.points == {Point.POI_EXPORT_W, Point.FREQUENCY_HZ}
    dcs = build(register_map=load_map("plant_dcs"), points={"frequency": Point.FREQUENCY_HZ}, direction=1)
    assert Point.FREQUENCY_HZ in dcs.points
    assert Point.VOLTAGE_V not in dcs.points
    assert {Point.GROSS_W, Point.AVAILABLE_W, Point.SYNCHRONISED_UNITS, Point.PERMIT} <= dcs.points


@pytest.mark.parametrize(
    ("changed", "complaint"),
    [
        ({"points": {}}, "say what 'active_power' of map siemens_pac2200 measures here"),
        ({"points": {"power": Point.SITE_LOAD_W}}, "no value 'power'; it has voltage, frequency, active_power"),
        ({"points": {"active_power": Point.VOLTAGE_V}}, "'active_power' is in W, but voltage_v is in V"),
        ({"direction": 0}, "direction is 0"),
        ({"points": {"active_power": None}}, "direction is -1 but it feeds neither"),
        ({"points": {"active_power": None, "frequency": None, "voltage": None}}, "feeds no point at all"),
        ({"register_map": load_map("plant_dcs"), "points": {}}, "direction is -1 but it feeds neither"),
        (
            {
                "register_map": load_map("plant_dcs"),
                "points": {"poi_power": Point.POI_EXPORT_W, "despatch": Point.SITE_LOAD_W},
            },
            "one meter measures one of them",
        ),
        (
            {"register_map": load_map("plant_dcs"), "points": {"poi_power": Point.GROSS_W}, "direction": 1},
            "two values feed gross_w",
        ),
        ({"unit_id": 300}, "unit_id 300 is outside"),
    ],
)
def test_what_cannot_work_is_refused_at_once_and_names_the_meter(changed: dict, complaint: str) -> None:
    with pytest.raises(ValueError, match="poi: ") as raised:
        build(**changed)
    assert complaint in str(raised.value)


def test_a_rating_beyond_the_registers_is_refused() -> None:
    with pytest.raises(ValueError, match="of its range"):
        build(register_map=load_map("plant_dcs"), points={}, direction=1, rated_w=2e12)
