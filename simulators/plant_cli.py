"""`curtaild-sim plant`: the plant and its instruments on their own, for anybody with a Modbus client."""

import asyncio
import contextlib
import ipaddress
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click

from simulators.feeder import spread_evenly
from simulators.plant import Plant
from simulators.plant_host import DCS_UNIT_ID, PANEL_UNIT_ID, Endpoints, PlantHost
from simulators.scenario import DEMO, Scenario, TraceScenario
from simulators.sunspec_meter import SunSpecSpec
from simulators.trace import TraceError

_RECORD_ROWS = 1_000  # nobody reads the record here; a plant left running must not grow
_METERS = {"pac2200": None, "sunspec-integer": SunSpecSpec(203), "sunspec-float": SunSpecSpec(213)}


def endpoints_at(host: str, port_base: int) -> Endpoints:
    """Return three ports in a row on one host; port base 0 takes free ones."""
    offsets = (0, 0, 0) if port_base == 0 else (0, 1, 2)
    poi, site, dcs = ((host, port_base + offset) for offset in offsets)
    return Endpoints(poi, site, dcs)


def vendor_endpoints(first: str) -> Endpoints:
    """Return three addresses in a row with one port, from `127.x.y.z:502`.

    Raises:
        click.BadParameter: not such an address, or not on loopback.
    """
    host, separator, port = first.rpartition(":")
    try:
        address = ipaddress.IPv4Address(host)
        number = int(port)
        hosts = [address + offset for offset in range(3)]
    except ValueError as error:
        raise click.BadParameter(f"'{first}' is not like 127.0.1.1:502 ({error})") from error
    if not separator or not all(each.is_loopback for each in hosts) or not 0 < number < 65_536:
        raise click.BadParameter(f"'{first}': give a loopback address and a port, like 127.0.1.1:502")
    poi, site, dcs = ((str(each), number) for each in hosts)
    return Endpoints(poi, site, dcs)


@click.command("plant")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port-base", default=5020, show_default=True, help="POI meter here, site meter +1, DCS +2. 0: free ones."
)
@click.option("--vendor-ports", metavar="127.X.Y.Z:502", help="One address each instead, in a row; may need root.")
@click.option(
    "--trace", "trace_path", type=click.Path(path_type=Path), help="CSV of signals; default: the bundled one."
)
@click.option("--day", help="Column of the CSV; default: the demo's day, or the first of your own file.")
@click.option("--start-second", type=float, help="Second of the day to start at.")
@click.option("--base-kw", type=click.FloatRange(min=0), help="Surplus at signal 0.")
@click.option("--capacity-kw", type=click.FloatRange(min=0), help="Change of surplus per 100 MW of signal.")
@click.option("--linear", is_flag=True, help="Join the samples of the signal instead of holding each.")
@click.option("--meters", type=click.Choice(list(_METERS)), default="pac2200", show_default=True, help="Their make.")
@click.option("--miners-kw", type=click.FloatRange(min=0), default=200.0, show_default=True, help="True miner power.")
@click.option("--seconds", type=click.FloatRange(min=0, min_open=True), help="Stop after so long; default: on SIGINT.")
@click.option("--seed", type=int, default=DEMO.plant_seed, show_default=True, help="Seed of noise and wander.")
def plant_command(
    host: str,
    port_base: int,
    vendor_ports: str | None,
    trace_path: Path | None,
    day: str | None,
    start_second: float | None,
    base_kw: float | None,
    capacity_kw: float | None,
    linear: bool,
    meters: str,
    miners_kw: float,
    seconds: float | None,
    seed: int,
) -> None:
    """Run a simulated power plant: two panel meters and a DCS block over Modbus TCP."""
    demo = DEMO.trace
    rated_kw = DEMO.fleet.rated_w() / 1000.0
    trace = TraceScenario(
        path=trace_path,
        day=day if day is not None or trace_path is not None else demo.day,
        start_second_of_day=demo.start_second_of_day if start_second is None else start_second,
        base_fraction=demo.base_fraction if base_kw is None else base_kw / rated_kw,
        capacity_fraction=demo.capacity_fraction if capacity_kw is None else capacity_kw / rated_kw,
        interpolation="linear" if linear else "hold",
    )
    make = _METERS[meters]
    instruments = replace(
        DEMO.instruments,
        poi=replace(DEMO.instruments.poi, sunspec=make),
        site=replace(DEMO.instruments.site, sunspec=make),
    )
    scenario = replace(DEMO, name="plant", trace=trace, plant_seed=seed, instruments=instruments)
    endpoints = endpoints_at(host, port_base) if vendor_ports is None else vendor_endpoints(vendor_ports)
    try:
        asyncio.run(run_plant(scenario, endpoints, miners_kw * 1000.0, seconds))
    except (TraceError, OSError) as error:
        raise click.ClickException(str(error)) from error


async def run_plant(scenario: Scenario, endpoints: Endpoints, miners_w: float, seconds: float | None) -> None:
    """Run a scenario's plant with a constant miner power, W, until `seconds` have passed or SIGINT or SIGTERM comes.

    Raises:
        TraceError: the signal cannot be used.
        OSError: an address cannot be bound.
    """

    def load() -> Sequence[float]:
        return spread_evenly(scenario.plant.site, miners_w)

    host = PlantHost(
        plant=Plant(scenario.plant, scenario.surplus_trace(), scenario.plant_seed),
        instruments=scenario.instruments,
        endpoints=endpoints,
        miner_w_by_feeder=load,
        tick_s=scenario.tick_s,
        change_w=scenario.signal_fraction * scenario.fleet.rated_w(),
        record_limit=_RECORD_ROWS,
    )
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopped.set)
    await host.start()
    try:
        _print_addresses(host)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), seconds)
    finally:
        await host.stop()
    truth = host.truth
    click.echo(
        f"stopped after {truth.t_s:.1f} s: surplus {truth.surplus_w / 1000:.1f} kW, "
        f"site load {truth.site_load_w / 1000:.1f} kW, export {truth.poi_export_w / 1000:.1f} kW"
    )


def _print_addresses(host: PlantHost) -> None:
    listening = host.endpoints
    for label, (name, port), unit, make in (
        ("POI meter ", listening.poi, PANEL_UNIT_ID, host.poi.spec.sunspec),
        ("site meter", listening.site, PANEL_UNIT_ID, host.site.spec.sunspec),
        ("plant DCS ", listening.dcs, DCS_UNIT_ID, None),
    ):
        sunspec = "" if make is None else f"  SunSpec model {make.model} at {make.base}"
        click.echo(f"{label}  {name}:{port}  unit {unit}{sunspec}")
