"""A bench for meters that are found by walking the models of a simulated SunSpec device."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

from controller.domain.metering import MeterError, MeterFault, Point, Sample
from drivers.modbus.sunspec_meter import SunSpecMeter
from simulators.meter_reading import DeviceFault
from simulators.modbus_meter import PanelMeter, PanelMeterSpec, Quantity
from simulators.sunspec_meter import SunSpecSpec
from tests.drivers.modbus.bench import TRUTH, Bench


class SunSpecBench(Bench):
    """A bench whose meters are found by walking, and feed the site's load."""

    def meter(
        self, port: int, direction: int = 1, deadline_s: float = 0.25, model: str | Path = "sunspec_meter"
    ) -> SunSpecMeter:
        meter = self.meter_of(port, model, Point.SITE_LOAD_W, direction, deadline_s)
        assert isinstance(meter, SunSpecMeter)
        return meter

    async def read(self, device: PanelMeter, direction: int = 1) -> Sample:
        """The power that a meter of its own reads."""
        server = await self.serve(device.bank)
        return (await self.meter(server.address[1], direction).read())[Point.SITE_LOAD_W]


def device(sunspec: SunSpecSpec, fault: DeviceFault | None = None, load_w: float = 3e6, sign: int = 1) -> PanelMeter:
    """A site meter that has measured `load_w` once."""
    made = PanelMeter(PanelMeterSpec(Quantity.SITE_LOAD, sign, 1.0, 1.0, 0.0, 0.0, 1.0, sunspec), seed=1)
    made.fault = fault
    made.step(1.0, replace(TRUTH, load=replace(TRUTH.load, miners_w=load_w - 0.1e6)))
    return made


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
