"""The whole daemon as a process beside simulated miners, plant and meters on real sockets: does it keep up, how fast is
a shed?

    make bench-site MINERS=2000 MINUTES=10

First the site follows its surplus: cycles, overruns, from a change in a register to the first command at a miner, CPU
and memory of the daemon. Then a fleet of half the size, all of it hashing, is shed by the plant's trip contact: from
the sample that shows it to the first and to the last command, and what the site draws 10 and 30 s after the contact;
again with one miner in twenty that does not obey at first: its port is closed, it says yes and does nothing, or it
refuses the order. The simulators run on the same cores. Exits 1 when a cycle overran, or when in a shed in which
everybody listens the last command came more than a second after the sample, or not all were told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from controller.domain.metering import Point
from simulators.demo.figures import latency_of
from simulators.demo.metrics import scrape
from simulators.demo.processes import Child, command_beside, run_to_end
from simulators.demo.recording import Change, CommandRecord, Truth
from simulators.demo.site_files import Wiring, environment_of, write_site
from simulators.demo.world import World, open_world
from simulators.faults import Fault
from simulators.plant import PlantFlags
from simulators.scenario import Scenario
from tests.bench.soak import plain_series
from tests.bench.soak import scenario_for as demo_site
from tests.rig.report import write_report
from tests.runtime.conftest import Broker, find_mosquitto

REPORT = Path("build/bench-site.json")
READY_WITHIN_S = 120.0
SETTLE_S = 20.0  # the first sweeps, and what was in flight
QUIET = PlantFlags(grid_emergency=False, trip_underfrequency=False, trip_stop_button=False, permit=True)
TRIPPED = replace(QUIET, trip_stop_button=True)
DEAF_SHARE, DEAF_S = 0.05, 5.0
OVERRUNS_MAX = 0
LAST_COMMAND_WITHIN_S = 1.0
ROUNDS: tuple[tuple[str, Fault | None], ...] = (
    ("everybody listens", None),
    ("everybody listens", None),
    ("everybody listens", None),
    ("1 in 20 has its port closed for 5 s", Fault.REFUSE),
    ("1 in 20 says yes and does nothing for 5 s", Fault.IGNORE),
    ("1 in 20 refuses its first order", Fault.REFUSE_SLEEP),
)


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon at work in its world."""

    world: World
    child: Child
    scenario: Scenario
    folder: Path
    site_file: Path

    async def status(self) -> Mapping[str, object]:
        """What `curtaild status --json` says."""
        command = [command_beside("curtaild"), "status", "--config", str(self.site_file), "--json"]
        said = await run_to_end("status", command, self.folder, 20.0, environment_of(self.folder))
        found: Mapping[str, object] = json.loads(said)
        return found


def scenario_for(miners: int, *, hashing: bool) -> Scenario:
    """The demo's site at another size, its miners honest; `hashing`: all of them at the start, and surplus for all."""
    scenario = demo_site(miners)
    fleet = replace(scenario.fleet, liars=(), refusers=(), never_wakers=())
    if not hashing:
        return replace(scenario, fleet=fleet)
    trace = replace(scenario.trace, base_fraction=1.4, capacity_fraction=0.0)
    return replace(scenario, fleet=replace(fleet, hashing=fleet.size), trace=trace)


@asynccontextmanager
async def at_work(scenario: Scenario, folder: Path) -> AsyncIterator[Daemon]:
    """The site's hardware and broker, and the daemon once it has begun to control."""
    folder.mkdir(parents=True)
    broker = Broker("mosquitto" if find_mosquitto() else "nats", folder)
    await asyncio.to_thread(broker.start)
    try:
        async with open_world(scenario) as world:
            site_file = write_site(
                folder, scenario, Wiring(world.farm.addresses, world.host.endpoints, broker.port), ()
            )
            command = [command_beside("curtaild"), "run", "--config", str(site_file)]
            child = await Child.start("daemon", command, folder / "daemon.log", environment=environment_of(folder))
            try:
                async with asyncio.timeout(READY_WITHIN_S):
                    while '"event": "ready"' not in child.log_text():
                        child.must_run()
                        await asyncio.sleep(0.2)
                await asyncio.sleep(SETTLE_S)
                yield Daemon(world, child, scenario, folder, site_file)
            finally:
                await child.stop()
    finally:
        await asyncio.to_thread(broker.stop)


async def follow(daemon: Daemon, seconds: float) -> dict[str, object]:
    """The recorded surplus for so long."""
    world, child = daemon.world, daemon.child
    before, used_before = plain_series(await scrape(child.log_text())), child.usage()
    began_s = time.monotonic()
    world.commands.clear()
    world.host.changes.clear()
    world.trace.release()
    await asyncio.sleep(seconds)
    child.must_run()
    after, used = plain_series(await scrape(child.log_text())), child.usage()
    lasted_s = time.monotonic() - began_s
    status = await daemon.status()
    assert used is not None and used_before is not None, "the daemon runs"
    rows = [row for row in world.host.record if row.at_s >= began_s]
    truth = Truth(
        *(np.array([getattr(row, name) for row in rows]) for name in ("at_s", "site_load_w", "surplus_w")),
        np.array([row.cap_follow_w for row in rows]),
    )
    commands = [CommandRecord(seen.at_s, seen.raises) for seen in world.commands]
    changes = [Change(change.at_s, change.from_w, change.to_w) for change in world.host.changes]
    latency = latency_of(changes, commands, truth, (), daemon.scenario)
    figures = latency.latency_ms
    return {
        "seconds": round(lasted_s, 1),
        "cycles": after["curtaild_cycles_total"] - before["curtaild_cycles_total"],
        "overruns": after["curtaild_cycle_overruns_total"] - before["curtaild_cycle_overruns_total"],
        "cycle_ms": status.get("cycle_ms"),
        "commands": len(commands),
        "signal_to_command_ms": None
        if figures is None
        else {name: round(getattr(figures, name), 1) for name in ("p50", "p95", "p99", "max")},
        "signals": {"answered": 0 if figures is None else figures.count, "unanswered": latency.unanswered},
        "cpu_of_a_core": round((used.cpu_s - used_before.cpu_s) / lasted_s, 3),
        "rss_mb": round(used.rss_mb, 1),
    }


async def shed(daemon: Daemon, what: str, fault: Fault | None) -> dict[str, object]:
    """Trip the site and watch; then give it back and wait until all hash again."""
    world, fleet, faults = daemon.world, daemon.scenario.fleet, daemon.world.farm.faults
    rated_w = fleet.rated_w()
    await _until(lambda: world.host.truth.site_load_w > 0.97 * rated_w, 600.0)
    await asyncio.sleep(SETTLE_S)
    hashing = int((world.farm.bank.true_power_w > 0.5 * rated_w / fleet.size).sum())
    deaf = np.random.default_rng(7).choice(fleet.size, size=int(DEAF_SHARE * fleet.size), replace=False).tolist()
    if fault is not None:
        for miner in deaf:
            faults[miner].on(fault)
    start_w = world.host.truth.site_load_w
    least_w = sum(model.sleep_power_w for model in fleet.miners()) + daemon.scenario.plant.site.auxiliary_w
    world.commands.clear()
    began_s = time.monotonic()
    world.host.plant.set_flags(TRIPPED)
    if fault is Fault.REFUSE_SLEEP:
        await _refuse_once(daemon, set(deaf))
    await asyncio.sleep(DEAF_S - (time.monotonic() - began_s))
    if fault is not None:
        for miner in deaf:
            faults[miner].off(fault)
    await asyncio.sleep(10.0 - (time.monotonic() - began_s))
    after_10_w = world.host.truth.site_load_w
    await asyncio.sleep(30.0 - (time.monotonic() - began_s))
    after_30_w = world.host.truth.site_load_w
    first: dict[int, float] = {}
    for seen in world.commands:
        if not seen.raises:
            first.setdefault(seen.miner, seen.at_s)
    sample_s = await asyncio.to_thread(_sampled_at, daemon.folder, began_s)
    times = np.array(sorted(first.values())) - sample_s
    world.host.plant.set_flags(QUIET)
    sheddable_w = start_w - least_w
    return {
        "what": what,
        "hashing": hashing,
        "told": len(times),
        "contact_to_sample_s": round(sample_s - began_s, 3),
        "sample_to_first_command_s": round(float(times[0]), 3),
        "sample_to_command_p99_s": round(float(np.percentile(times, 99)), 3),
        "sample_to_last_command_s": round(float(times[-1]), 3),
        "shed_after_10_s": round((start_w - after_10_w) / sheddable_w, 4),
        "shed_after_30_s": round((start_w - after_30_w) / sheddable_w, 4),
    }


async def _refuse_once(daemon: Daemon, deaf: set[int]) -> None:
    """Let each of them refuse one order: what a miner has logged it has answered as well."""
    world = daemon.world
    with suppress(TimeoutError):
        async with asyncio.timeout(DEAF_S):
            while deaf:
                for miner in deaf & {seen.miner for seen in world.commands if not seen.raises}:
                    world.farm.faults[miner].off(Fault.REFUSE_SLEEP)
                    deaf.discard(miner)
                await asyncio.sleep(0.02)


def _sampled_at(folder: Path, since_s: float) -> float:
    """When the daemon began the read that showed it the trip contact, by its journal: the clock is this machine's."""
    shown_at = math.inf
    with closing(sqlite3.connect(f"file:{folder / 'journal' / 'journal.sqlite'}?mode=ro", uri=True)) as journal:
        for (body,) in journal.execute("SELECT body FROM rows WHERE kind = 'readings' ORDER BY id DESC"):
            value, taken_at, *_ = json.loads(body).get("samples", {}).get(Point.TRIP.value, (0, since_s))
            if taken_at < since_s:
                break
            if value:
                shown_at = float(taken_at)
    return shown_at


async def _until(holds: Callable[[], bool], within_s: float) -> None:
    async with asyncio.timeout(within_s):
        while not holds():  # noqa: ASYNC110  # what the simulators' clocks change raises no event
            await asyncio.sleep(0.5)


async def measure(folder: Path, miners: int, minutes: float) -> dict[str, object]:
    """Both parts, one after the other."""
    async with at_work(scenario_for(miners, hashing=False), folder / "follow") as daemon:
        following = await follow(daemon, 60.0 * minutes)
    print(json.dumps(following), flush=True)
    sheds = []
    async with at_work(scenario_for(miners // 2, hashing=True), folder / "shed") as daemon:
        for what, fault in ROUNDS:
            sheds.append(await shed(daemon, what, fault))
            print(json.dumps(sheds[-1]), flush=True)
    return {"miners": miners, "follow": following, "shed": {"miners": miners // 2, "rounds": sheds}}


def verdict(found: Mapping[str, Any]) -> dict[str, object]:
    """What is held to a limit, and whether all of it holds."""
    listening = [one for one in found["shed"]["rounds"] if one["what"] == ROUNDS[0][0]]
    overruns = found["follow"]["overruns"]
    last_s = max(one["sample_to_last_command_s"] for one in listening)
    told = all(one["told"] == one["hashing"] for one in listening)
    return {
        "overruns": {"is": overruns, "at_most": OVERRUNS_MAX},
        "sample_to_last_command_s": {"is": last_s, "at_most": LAST_COMMAND_WITHIN_S},
        "everybody_told": told,
        "holds": bool(overruns <= OVERRUNS_MAX and last_s <= LAST_COMMAND_WITHIN_S and told),
    }


def main() -> int:
    """Measure, print and write build/bench-site.json; 0 when the limits hold."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--miners", type=int, default=2000)
    parser.add_argument("--minutes", type=float, default=10.0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="curtaild-bench-") as folder:
        found = asyncio.run(measure(Path(folder), given.miners, given.minutes))
    found["verdict"] = judged = verdict(found)
    print(json.dumps(judged))
    write_report(REPORT, found)
    return 0 if judged["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
