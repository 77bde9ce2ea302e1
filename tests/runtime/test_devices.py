"""What the configuration says is what talks to the world: a feeder's meter on real registers."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controller.config import SiteConfig, load_site
from controller.devices import build_pollers
from controller.domain.metering import MeterError, Quality, Readings, Sample
from drivers.catalog import known_models
from simulators.meter_reading import MeterReading
from simulators.modbus_meter import PANEL_RANGES
from simulators.modbus_server import ModbusServer, RegisterBank
from simulators.sunspec_meter import SunSpecRegisters, SunSpecSpec

SITE = """
[site]
id = "hill"
rated = "20 kW"
auxiliary = "1 kW"
power_span = "150 kW"
[[feeder]]
name = "north"
rating = "20 kW"
[[feeder]]
name = "south"
rating = "20 kW"
"""
METER = """
[[meter]]
id = "{id}"
feeds = "{feeds}"
map = "{map}"
host = "127.0.0.1"
port = {port}
unit_id = {unit}
{more}
"""
FLEET = "id,model,firmware,host,port,feeder\nm-1,Antminer S21,LuxOS,127.0.0.1,4028,south\n"


def site_with(folder: Path, feeder_map: str, feeder_port: int) -> SiteConfig:
    meters = (
        ("poi", "poi_export", "siemens_pac2200", 1, 1, 'direction = "export"'),
        ("load", "site_load", "siemens_pac2200", 1, 2, 'direction = "import"'),
        ("dcs", "plant", "plant_dcs", 1, 3, ""),
        ("south-head", "feeder", feeder_map, feeder_port, 1, 'feeder = "south"\ndirection = "import"'),
    )
    text = SITE + "".join(
        METER.format(id=name, feeds=feeds, map=kind, port=port, unit=unit, more=more)
        for name, feeds, kind, port, unit, more in meters
    )
    (folder / "site.toml").write_text(text, encoding="utf-8")
    (folder / "fleet.csv").write_text(FLEET, encoding="utf-8")
    return load_site(folder / "site.toml", known_models(), {})


def panel_meter() -> RegisterBank:
    registers = RegisterBank(PANEL_RANGES)
    registers.put_f32(65, 12_345.0)
    return registers


def sunspec_meter() -> RegisterBank:
    registers = SunSpecRegisters(SunSpecSpec(203))
    registers.show(MeterReading(12_345.0, 230.0, 50.0, 0.0, 0.0), None)
    return registers.bank


@pytest.mark.parametrize(
    ("name", "registers"), [("siemens_pac2200", panel_meter()), ("sunspec_meter", sunspec_meter())]
)
async def test_a_feeders_load_arrives_under_its_feeder_and_nowhere_else(
    name: str, registers: RegisterBank, tmp_path: Path
) -> None:
    server = ModbusServer(registers, 1, "127.0.0.1", 0)
    await server.start()
    readings: list[Readings] = []
    feeders: list[tuple[int, Sample]] = []
    failures: list[MeterError] = []
    seen = asyncio.Event()

    def put_feeder(feeder: int, sample: Sample) -> None:
        feeders.append((feeder, sample))
        seen.set()

    config = site_with(tmp_path, name, server.address[1])
    *_, poller = build_pollers(config, readings.append, put_feeder, lambda name, error: failures.append(error))
    assert poller.meter_id == "south-head"
    task = asyncio.create_task(poller.run())
    try:
        async with asyncio.timeout(20.0):
            await seen.wait()
    finally:
        task.cancel()
        await asyncio.wait({task})
        await server.stop()
    feeder, sample = feeders[0]
    assert (feeder, sample.value, sample.quality) == (1, 12_345.0, Quality.GOOD)
    assert sample.source.startswith("south-head")
    assert (readings, failures) == ([], [])
