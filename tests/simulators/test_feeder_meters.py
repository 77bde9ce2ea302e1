"""Meters at the heads of feeders: what they show, and how they are served."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.modbus_meter import PanelMeterSpec, Quantity
from simulators.plant import Plant
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import DEMO, DEMO_INSTRUMENTS, DEMO_PLANT

ANYWHERE = ("127.0.0.1", 0)
EXACT = PanelMeterSpec(
    quantity=Quantity.FEEDER_LOAD,
    installed_sign=1,
    voltage_ratio=1.0,
    refresh_s=0.01,
    noise_fraction=0.0,
    gain_error_fraction=0.0,
    resolution_w=1.0,
)
LOADS_W = (100e3, 40e3)


def host_with(meter: PanelMeterSpec | None, places: int) -> PlantHost:
    return PlantHost(
        plant=Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1),
        instruments=replace(DEMO_INSTRUMENTS, feeder=meter),
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE, (ANYWHERE,) * places),
        miner_w_by_feeder=lambda: LOADS_W,
        tick_s=0.01,
        change_w=5e3,
        record_limit=None,
    )


async def test_each_meter_shows_what_flows_into_its_own_feeder() -> None:
    host = host_with(EXACT, 2)
    await host.start()
    shown_w = []
    try:
        for host_name, port in host.endpoints.feeders:
            client = AsyncModbusTcpClient(host_name, port=port)
            assert await client.connect()
            reply = await client.read_holding_registers(65, count=2, device_id=1)
            shown_w.append(client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32))
            client.close()
    finally:
        await host.stop()
    losses = [feeder.loss_fraction for feeder in DEMO_PLANT.site.feeders]
    assert shown_w == pytest.approx([w * (1.0 + loss) for w, loss in zip(LOADS_W, losses, strict=True)], abs=1.0)


def test_a_plant_without_places_for_them_has_none() -> None:
    assert host_with(EXACT, 0).feeders == ()


@pytest.mark.parametrize(("meter", "places"), [(EXACT, 1), (EXACT, 3), (None, 2)])
def test_meters_for_some_of_the_feeders_are_refused(meter: PanelMeterSpec | None, places: int) -> None:
    with pytest.raises(ValueError, match="2 feeders"):
        host_with(meter, places)


def test_the_noise_of_two_meters_does_not_march_in_step() -> None:
    noisy = replace(EXACT, noise_fraction=0.001)
    host = host_with(noisy, 2)
    truth = replace(host.truth, load=replace(host.truth.load, feeders_w=(50e3, 50e3)))
    words = []
    for meter in host.feeders:
        meter.step(1.0, truth)
        words.append(meter.bank.read(65, 2))
    assert words[0] != words[1]
