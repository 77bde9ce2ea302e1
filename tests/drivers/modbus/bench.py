"""What the simulated instruments show, how their wire fails, and a bench to read them on over sockets."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from controller.domain.metering import MeterFault, Point
from drivers.modbus.client import Backoff
from drivers.modbus.maps.load import load_map
from drivers.modbus.meter import ModbusMeter, build_meter
from drivers.modbus.sunspec_meter import SunSpecMeter
from simulators.feeder import SiteLoad
from simulators.modbus_server import ModbusServer, RegisterBank, WireFault, WireKind
from simulators.plant import PlantFlags, PlantTruth, UnitTruth

HEALTHY = PlantFlags(grid_emergency=False, trip_underfrequency=False, trip_stop_button=False, permit=True)
TRUTH = PlantTruth(
    t_s=0.0,
    units=(UnitTruth(True, 9e6, 12e6, 5e6, 4e3), UnitTruth(True, 7e6, 11e6, 5e6, 4e3)),
    gross_w=16e6,
    auxiliary_w=1e6,
    despatch_w=11.5e6,
    despatch_seq=3,
    reserve_up_w=2e6,
    surplus_w=3.5e6,
    cap_follow_w=3.5e6,
    load=SiteLoad(2.9e6, 0.05e6, 0.05e6),
    poi_export_w=12e6,
    frequency_hz=49.9375,
    poi_line_v=132e3,
    flags=HEALTHY,
)
WIRE_FAULTS = [
    (WireFault(WireKind.EXCEPTION, code=2), MeterFault.CONFIGURATION),
    (WireFault(WireKind.EXCEPTION, code=11), MeterFault.DEVICE_EXCEPTION),
    (WireFault(WireKind.WRONG_UNIT), MeterFault.TIMEOUT),
    (WireFault(WireKind.WRONG_FUNCTION), MeterFault.WRONG_REPLY),
    (WireFault(WireKind.SHORT_REPLY), MeterFault.WRONG_REPLY),
    (WireFault(WireKind.GARBAGE), MeterFault.WRONG_REPLY),
    (WireFault(WireKind.HALF_FRAME), MeterFault.TIMEOUT),
    (WireFault(WireKind.RESET), MeterFault.DISCONNECTED),
    (WireFault(WireKind.SILENT), MeterFault.TIMEOUT),
    (WireFault(WireKind.DELAY, delay_s=0.6), MeterFault.TIMEOUT),
    (WireFault(WireKind.REFUSED), MeterFault.REFUSED),
]


class Bench:
    """Simulated instruments on ephemeral ports and the meters that read them; all of it ends with `async with`."""

    def __init__(self) -> None:
        self._servers: list[ModbusServer] = []
        self._meters: list[ModbusMeter | SunSpecMeter] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for meter in self._meters:
            await meter.close()
        for server in self._servers:
            await server.stop()

    async def serve(self, bank: RegisterBank) -> ModbusServer:
        server = ModbusServer(bank, 1, "127.0.0.1", 0)
        await server.start()
        self._servers.append(server)
        return server

    def meter_of(
        self, port: int, model: str | Path, power: Point | None, direction: int, deadline_s: float = 0.25
    ) -> ModbusMeter | SunSpecMeter:
        meter = build_meter(
            meter_id="m",
            host="127.0.0.1",
            port=port,
            unit_id=1,
            register_map=load_map(model),
            points={} if power is None else {"active_power": power},
            direction=direction,
            rated_w=30e6,
            deadline_s=deadline_s,
            connect_deadline_s=5.0,
            backoff=Backoff(0.01, 0.05),
        )
        self._meters.append(meter)
        return meter
