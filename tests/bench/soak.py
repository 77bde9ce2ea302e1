"""An hour and more of the daemon as a process beside everything it talks to, faults on: does it stay as it is?

    make soak HOURS=1

300 simulated miners of three families, plant and meters on real sockets, a broker that is killed now and then, orders,
scrapes. Every ten seconds memory, sockets, tasks and journal are written down; in the end each must be flat after the
warm-up. The samples, the verdict and the picture stand in build/soak.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import json
import signal
import sys
import time
import urllib.request
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from prometheus_client.parser import text_string_to_metric_families

from simulators.asic.farm import MinerFarm
from simulators.demo.processes import Child, command_beside
from simulators.demo.settings import DemoSettings, scenario_of
from simulators.demo.site_files import Wiring, environment_of, feeder_of, write_site
from simulators.faults import Fault, FaultSchedule
from simulators.feeder import feeder_sums_w
from simulators.modbus_server import ModbusServer
from simulators.plant import Plant, SurplusSource
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import Scenario
from tests.bench.soak_report import Sample, write_report
from tests.runtime.conftest import Broker, find_mosquitto

SAMPLE_EVERY_S = 10.0
SCRAPE_EVERY_S, SCRAPE_MINERS_EVERY_S = 5.0, 30.0
# So often that what is remembered of each miner's last commands is full within the warm-up.
ORDER_EVERY_S, ORDER_FOR_S = 60.0, 30
METER_AWAY_EVERY_S, METER_AWAY_S = 420.0, 25.0
BROKER_AWAY_EVERY_S, BROKER_AWAY_S = 900.0, 20.0
FAULTS_PER_MINER_HOUR, FAULT_S = 1.5, 40.0
# At the end of every ten minutes no miner has a fault: what is open at the end of that is open always.
QUIET_EVERY_S, QUIET_S, QUIET_COUNTS_S = 600.0, 90.0, 40.0
# The sorts that hold something of ours while they last, or come back half done.
KINDS = (Fault.REFUSE, Fault.RESET, Fault.HANG, Fault.GARBAGE, Fault.TRUNCATE, Fault.SLOW_LORIS, Fault.STALE_SESSION)
JOURNAL_MAX = "8 MB"  # reached within the warm-up, so that its bound is what is seen
RECORDED_S = 1700.0  # of the demo's stretch of the day from its start second on; after it comes a night
FREE = ("127.0.0.1", 0)


@dataclass(slots=True)
class Site:
    """What the tasks of the soak share."""

    name: str
    scenario: Scenario
    farm: MinerFarm
    host: PlantHost
    broker: Broker
    daemon: Child
    folder: Path

    @property
    def metrics_url(self) -> str:
        """As the daemon said in its log."""
        for line in self.daemon.log_text().splitlines():
            if '"metrics_listening"' in line:
                return f"http://127.0.0.1:{json.loads(line)['port']}"
        raise LookupError("the daemon has not said where its metrics are")


@dataclass(frozen=True, slots=True)
class Again:
    """The recorded set-points, hours of them, from their beginning when they end."""

    source: SurplusSource

    def surplus_w(self, t_s: float) -> float:
        """simulators.plant.SurplusSource."""
        return self.source.surplus_w(t_s % RECORDED_S)


def scenario_for(miners: int) -> Scenario:
    """The demo's site at another size."""
    return scenario_of(
        DemoSettings(
            seconds=3600.0,
            report=Path("unused"),
            day=None,
            start_second=None,
            trace=None,
            seed=4,
            miners=miners,
            without=(),
            keep=False,
            page=False,
        )
    )


async def soak(folder: Path, name: str, miners: int, seconds: float, every_s: float) -> list[Sample]:
    """Run a site of this name; returns samples, one every `every_s`."""
    scenario = scenario_for(miners)
    schedule = with_quiet_times(
        FaultSchedule.random(
            seed=5,
            targets=miners,
            span_s=seconds,
            faults_per_target_hour=FAULTS_PER_MINER_HOUR,
            kinds=KINDS,
            mean_duration_s=FAULT_S,
        )
    )
    async with AsyncExitStack() as stack:
        farm = await stack.enter_async_context(
            MinerFarm(scenario.fleet.spec(), tick_s=scenario.tick_s, schedule=schedule)
        )
        host = _host(scenario, farm)
        await host.start()
        stack.push_async_callback(host.stop)
        broker = Broker("mosquitto" if find_mosquitto() else "nats", folder)
        await asyncio.to_thread(broker.start)
        stack.callback(broker.stop)
        config = _write(folder, name, scenario, Wiring(farm.addresses, host.endpoints, broker.port))
        command = [command_beside("curtaild"), "run", "--config", str(config)]
        daemon = await Child.start("daemon", command, folder / "daemon.log", environment=environment_of(folder))
        stack.push_async_callback(daemon.stop)
        site = Site(name, scenario, farm, host, broker, daemon, folder)
        await _until_ready(site)
        return await _measure(site, seconds, every_s)


def with_quiet_times(schedule: FaultSchedule) -> FaultSchedule:
    """The same without what begins in a quiet time, and nothing lasting into one."""
    kept = []
    for event in schedule.events:
        left_s = QUIET_EVERY_S - QUIET_S - event.at_s % QUIET_EVERY_S
        if left_s > 0.0:
            kept.append(replace(event, duration_s=min(event.duration_s, left_s)))
    return FaultSchedule(kept)


def _host(scenario: Scenario, farm: MinerFarm) -> PlantHost:
    feeders = len(scenario.plant.site.feeders)
    feeder_of_miner = np.array([feeder_of(index, scenario) for index in range(scenario.fleet.size)])
    return PlantHost(
        plant=Plant(scenario.plant, Again(scenario.surplus_trace()), scenario.plant_seed),
        instruments=scenario.instruments,
        endpoints=Endpoints(FREE, FREE, FREE, (FREE,) * feeders),
        miner_w_by_feeder=lambda: feeder_sums_w(farm.bank.true_power_w, feeder_of_miner, feeders),
        tick_s=scenario.tick_s,
        change_w=scenario.signal_fraction * scenario.fleet.rated_w(),
        record_limit=1000,
    )


def _write(folder: Path, name: str, scenario: Scenario, wiring: Wiring) -> Path:
    path = write_site(folder, scenario, wiring, ())
    text = path.read_text()
    text = text.replace('id = "demo"', f'id = "{name}"', 1).replace(
        "[journal]", f'[journal]\nsize_max = "{JOURNAL_MAX}"'
    )
    path.write_text(text)
    return path


async def _until_ready(site: Site) -> None:
    async with asyncio.timeout(60.0):
        while '"event": "ready"' not in site.daemon.log_text():
            site.daemon.must_run()
            await asyncio.sleep(0.2)


async def _measure(site: Site, seconds: float, every_s: float) -> list[Sample]:
    samples: list[Sample] = []
    began = time.monotonic()
    events = (
        _every(SCRAPE_EVERY_S, lambda: asyncio.to_thread(_get, f"{site.metrics_url}/metrics")),
        _every(SCRAPE_MINERS_EVERY_S, lambda: asyncio.to_thread(_get, f"{site.metrics_url}/metrics/miners")),
        _every(ORDER_EVERY_S, lambda: _order(site)),
        _every(METER_AWAY_EVERY_S, lambda: _meter_away(site)),
        _every(BROKER_AWAY_EVERY_S, lambda: _broker_away(site)),
    )
    async with asyncio.TaskGroup() as group:
        around = [group.create_task(event) for event in events]
        while time.monotonic() - began < seconds:
            site.daemon.must_run()
            samples.append(await asyncio.to_thread(_sample, site, time.monotonic() - began))
            if len(samples) % 30 == 0:
                sys.stdout.write(f"{samples[-1]}\n")
                sys.stdout.flush()
            await asyncio.sleep(every_s)
        for task in around:
            task.cancel()
    return samples


async def _every(period_s: float, what: Callable[[], Awaitable[object]]) -> None:
    while True:
        await asyncio.sleep(period_s)
        await what()


def _get(url: str) -> str:
    with urllib.request.urlopen(url, timeout=60) as reply:  # noqa: S310  # our own daemon; the machine may be busy
        return str(reply.read().decode())


async def _order(site: Site) -> None:
    """A cap below the middle, as a dispatcher sends it, who may find the broker away."""
    power_kw = 0.4 * site.scenario.fleet.rated_w() / 1e3
    where = f"dispatch --site {site.name} --broker 127.0.0.1:{site.broker.port}"
    how = f"--wait accepted --within 20s --for {ORDER_FOR_S}s cap {power_kw:.0f}kW"
    command = [command_beside("curtaild"), *where.split(), *how.split()]
    child = await Child.start("order", command, site.folder / "order.log")
    await child.wait(40.0)
    await child.stop()


async def _meter_away(site: Site) -> None:
    """One of the meters, in turn, as if its cable were pulled."""
    servers: tuple[ModbusServer, ...] = (site.host.poi_server, site.host.site_server, site.host.dcs_server)
    server = servers[int(time.monotonic() / METER_AWAY_EVERY_S) % len(servers)]
    await server.stop()
    await asyncio.sleep(METER_AWAY_S)
    await server.start()


async def _broker_away(site: Site) -> None:
    await asyncio.to_thread(site.broker.stop, signal.SIGKILL)
    await asyncio.sleep(BROKER_AWAY_S)
    await asyncio.to_thread(site.broker.start)


def _sample(site: Site, at_s: float) -> Sample:
    process = Path(f"/proc/{site.daemon.pid}")
    status = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines() if ":" in line)
    links = []
    for entry in (process / "fd").iterdir():
        with suppress(OSError):
            links.append(str(entry.readlink()))
    metrics = plain_series(_get(f"{site.metrics_url}/metrics"))
    usage = site.daemon.usage()
    return Sample(
        at_s=at_s,
        rss_mb=int(status["VmRSS"].split()[0]) / 1024,
        threads=int(status["Threads"]),
        files=len(links),
        sockets=sum(link.startswith("socket:") for link in links),
        tasks=metrics["curtaild_asyncio_tasks"],
        journal_mb=sum(path.stat().st_size for path in (site.folder / "journal").iterdir()) / 1e6,
        log_mb=site.daemon.log.stat().st_size / 1e6,
        cpu_s=0.0 if usage is None else usage.cpu_s,
        cycles=metrics["curtaild_cycles_total"],
        overruns=metrics["curtaild_cycle_overruns_total"],
        load_kw=site.host.truth.site_load_w / 1e3,
        surplus_kw=site.host.truth.surplus_w / 1e3,
        fail_safe=metrics["curtaild_fail_safe_state"],
        quiet=at_s % QUIET_EVERY_S >= QUIET_EVERY_S - QUIET_COUNTS_S,
    )


def plain_series(page: str) -> dict[str, float]:
    """The series of a /metrics page that have no labels, by name."""
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if not sample.labels
    }


def main() -> int:
    """0 when everything stayed flat after the warm-up."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--miners", type=int, default=300)
    parser.add_argument("--every", type=float, default=SAMPLE_EVERY_S, help="seconds between two samples")
    parser.add_argument("--site", default="soak", help="its name; two of one name refuse each other")
    parser.add_argument("--out", type=Path, default=Path("build/soak"))
    given = parser.parse_args()
    run_dir = given.out.absolute() / time.strftime("%Y%m%dT%H%M%S")
    run_dir.mkdir(parents=True)
    samples = asyncio.run(soak(run_dir, given.site, given.miners, given.hours * 3600.0, given.every))
    with (run_dir / "samples.csv").open("w", newline="") as stream:
        table = csv.DictWriter(stream, asdict(samples[0]).keys())
        table.writeheader()
        table.writerows(asdict(sample) for sample in samples)
    return write_report(samples, given.miners, run_dir)


if __name__ == "__main__":
    sys.exit(main())
