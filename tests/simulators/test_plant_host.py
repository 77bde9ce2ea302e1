"""Plant, instruments and sockets together: the moment of a change, the record of the truth, and a loud end."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.modbus_meter import (
    DcsAddress,
    Quantity,
)
from simulators.plant import Plant
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import DEMO, DEMO_INSTRUMENTS, DEMO_PLANT
from tests.simulators.modbus_truth import EXACT, EXACT_SITE, Steady
from tests.simulators.test_modbus_wire import ANYWHERE


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def host_with(source: Steady, clock: Clock, record_limit: int | None = None) -> PlantHost:
    return PlantHost(
        plant=Plant(DEMO_PLANT, source, seed=1),
        instruments=replace(DEMO_INSTRUMENTS, poi=EXACT, site=EXACT_SITE),
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: (100e3, 100e3),
        tick_s=0.05,
        change_w=5e3,
        record_limit=record_limit,
        clock=clock,
        wall_s=lambda: 1.8e9,
    )


def test_a_change_is_stamped_when_the_registers_show_it() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock)
    host.tick()
    source.now_w = 200e3
    clock.now_s += 0.15  # the block refreshes every 0.2 s: the plant has moved, the registers have not
    host.tick()
    assert host.changes == []
    clock.now_s += 0.05
    host.tick()
    (change,) = host.changes
    assert change.at_s == pytest.approx(100.2)
    assert change.from_w == pytest.approx(250e3, abs=500.0)
    assert change.to_w == pytest.approx(200e3, abs=500.0)
    data = host.dcs.bank.read(DcsAddress.DESPATCH_KW, 2)
    assert data is not None
    assert struct.unpack(">i", data)[0] == round(host.truth.despatch_w / 1000)


def test_changes_too_small_to_act_on_are_not_counted() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock)
    for step in range(10):
        source.now_w = 250e3 + (4e3 if step % 2 else 0.0)
        clock.now_s += 0.2
        host.tick()
    assert host.changes == []


def test_the_record_is_the_truth_and_keeps_to_its_limit() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock, record_limit=3)
    for _ in range(5):
        clock.now_s += 1.0
        truth = host.tick()
    assert [row.at_s for row in host.record] == [103.0, 104.0, 105.0]
    last = host.record[-1]
    assert (last.site_load_w, last.cap_follow_w) == (truth.site_load_w, truth.cap_follow_w)


async def test_a_running_plant_shows_a_consistent_balance_to_a_stock_client() -> None:
    host = PlantHost(
        plant=Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1),
        instruments=DEMO_INSTRUMENTS,
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: (100e3, 100e3),
        tick_s=0.01,
        change_w=5e3,
        record_limit=None,
    )
    await host.start()
    try:
        shown_w = []
        for address in (host.endpoints.poi, host.endpoints.site):
            client = AsyncModbusTcpClient(address[0], port=address[1])
            assert await client.connect()
            reply = await client.read_holding_registers(65, count=2, device_id=1)
            value = client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32)
            assert isinstance(value, float)
            shown_w.append(value)
            client.close()
    finally:
        await host.stop()
    export_w, load_w = -shown_w[0], shown_w[1]
    truth = host.truth
    assert load_w == pytest.approx(truth.site_load_w, rel=0.01)
    assert truth.gross_w - truth.auxiliary_w - load_w - export_w == pytest.approx(0.0, abs=0.01 * truth.gross_w)


async def test_a_broken_simulation_ends_loudly() -> None:
    powers = iter([(1e5, 1e5), (1e5, 1e5)])

    host = PlantHost(
        plant=Plant(DEMO_PLANT, Steady(1e5), seed=1),
        instruments=DEMO_INSTRUMENTS,
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: next(powers, (-1.0, 0.0)),
        tick_s=0.001,
        change_w=5e3,
        record_limit=None,
    )
    await host.start()
    await asyncio.sleep(0.05)
    with pytest.raises(ValueError, match="do not generate"):
        await host.stop()


def test_quantities_are_named_by_their_direction() -> None:
    assert {quantity.value for quantity in Quantity} == {"poi_export", "site_load", "feeder_load"}
