"""How long one step of the core takes, from 100 to 20,000 miners, and what it remembers of each.

    python -m tests.bench.bench_core [--sizes 100,1000] [--seconds 240] [--json build/bench-core.json]

A site of three families in virtual time, with real physics: a surplus that goes up and down, some miners that lie,
refuse or never wake, some that start again or cannot be reached, caps, an emergency and a release by a dispatcher, a
meter that falls silent, a feeder that trips. Beside it the least that a core without arrays would have to do in each
cycle: one pass over the miners as frozen dataclasses that adds up what each is expected to draw. Wall time on a busy
machine is the others' as well, so the thread's own processor time stands beside it. Nothing is asserted: a time on a
shared machine is a number to read, not a limit.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import statistics
import time
import tracemalloc
from dataclasses import dataclass, field, replace
from pathlib import Path

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import build_fleet
from controller.domain.plan import Decision, Snapshot
from tests.bench.plain_site import Bench
from tests.rig.large import large_setup
from tests.rig.setup import WALL_AT_START, FeederTrip, InputFault, InputFaultKind, Message, Outage, Setup
from tests.rig.site import Site

SIZES = (100, 500, 1_000, 2_000, 5_000, 10_000, 20_000)
# (at this share of the run, kind, class, share of the rating, seconds)
ORDERS = (
    (0.2, DispatchKind.CAP, DispatchClass.NORMAL, 0.5, 20.0),
    (0.4, DispatchKind.CAP, DispatchClass.EMERGENCY, 0.1, 15.0),
    (0.6, DispatchKind.CAP, DispatchClass.ECONOMIC, 0.4, 60.0),
    (0.7, DispatchKind.RELEASE, DispatchClass.NORMAL, None, 60.0),
)


@dataclass(frozen=True, slots=True)
class TimedEngine(Engine):
    """The core, and how long each of its steps took, milliseconds by the wall and of this thread's processor time."""

    wall_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def step(self, state: State, snapshot: Snapshot, now: float) -> tuple[State, Decision]:
        wall, cpu = time.perf_counter(), time.thread_time()
        done = Engine.step(self, state, snapshot, now)
        self.cpu_ms.append((time.thread_time() - cpu) * 1e3)
        self.wall_ms.append((time.perf_counter() - wall) * 1e3)
        return done


def busy_setup(miners: int, seconds: float) -> Setup:
    """A stretch of a bad day on a site of so many miners."""
    calm = large_setup(miners, seconds)
    some = range(0, miners, 50)
    return replace(
        calm,
        messages=tuple(_order(number, calm.policy.rated_w, seconds) for number in range(len(ORDERS))),
        outages=tuple(Outage(miner, 0.3 * seconds, 0.5 * seconds) for miner in some),
        reboots=tuple((seconds * (0.1 + 0.8 * miner / miners), miner) for miner in range(7, miners, 50)),
        input_faults=(InputFault("poi", InputFaultKind.STALE, 0.5 * seconds, 0.5 * seconds + 8.0),),
        trips=(FeederTrip(0, 0.8 * seconds, 0.85 * seconds),),
    )


def _order(number: int, rated_w: int, seconds: float) -> Message:
    share_of_run, kind, dispatch_class, share, lasts_s = ORDERS[number]
    at_s = share_of_run * seconds
    power_w = None if share is None else round(share * rated_w)
    wall = WALL_AT_START + at_s
    order = Dispatch(f"bench-{number}", "bench", number + 1, wall, wall + lasts_s, dispatch_class, kind, power_w, 0)
    return Message(at_s, Received(order, wall), obeyed=True)


@dataclass(frozen=True, slots=True)
class PlainMiner:
    """The ledger of one miner without arrays."""

    from_w: float
    to_w: float
    sent_at: float
    dead_s: float
    to_90_s: float

    def expected_w(self, at: float) -> float:
        running = max(at - self.sent_at - self.dead_s, 0.0)
        return self.to_w + (self.from_w - self.to_w) * 10.0 ** -min(running / self.to_90_s, 12.0)


def plain_loop_ms(size: int, rounds: int = 20) -> float:
    """Processor milliseconds of one pass over `size` plain miners, the middle of some."""
    miners = [PlainMiner(3_500.0, 50.0, index % 7, 1.0, 3.0) for index in range(size)]
    spent = []
    for number in range(rounds):
        begun = time.thread_time()
        total = sum(miner.expected_w(8.0 + number) for miner in miners)
        spent.append((time.thread_time() - begun) * 1e3)
        if not total > 0.0:
            raise AssertionError("the baseline lost its sum")
    return statistics.median(spent)


def first_sight_ms(size: int) -> float:
    """Processor milliseconds of the step that sees everybody for the first time."""
    site = Bench(size)
    engine = TimedEngine(site.facts, site.policy)
    engine.step(site.state, site.snapshot(everybody=True), 1.0)
    return engine.cpu_ms[0]


def bytes_per_miner(site: Site) -> float:
    """Of the fixed facts and of the two states that are there during a step: the one before and the one after."""
    facts = site.setup.facts
    tracemalloc.start()
    kept = (build_fleet(facts.units, facts.feeder_names, (1,) * len(facts.feeder_names)), site.state.copy())
    kept_too = site.state.copy()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    del kept, kept_too
    return round(used / len(facts), 1)


@dataclass(frozen=True, slots=True)
class Measured:
    """One size."""

    miners: int
    wall_ms: dict[str, float]
    cpu_ms: dict[str, float]
    first_ms: float
    plain_ms: float
    commands: int
    bytes_each: float


def measure(size: int, seconds: float) -> Measured:
    site = Site(busy_setup(size, seconds))
    engine = TimedEngine(site.engine.facts, site.engine.policy)
    site.engine = engine
    gc.collect()
    gc.freeze()  # as the daemon does after its start
    record = site.run()
    gc.unfreeze()
    return Measured(
        miners=size,
        wall_ms=_percentiles(engine.wall_ms),
        cpu_ms=_percentiles(engine.cpu_ms),
        first_ms=round(first_sight_ms(size), 2),
        plain_ms=round(plain_loop_ms(size), 2),
        commands=sum(len(row.commands) for row in record.cycles),
        bytes_each=bytes_per_miner(site),
    )


def _percentiles(values: list[float]) -> dict[str, float]:
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {"p50": round(cuts[49], 2), "p99": round(cuts[98], 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)), help="miners, separated by commas")
    parser.add_argument("--seconds", type=float, default=240.0, help="virtual seconds per size, at least 60")
    parser.add_argument("--json", type=Path, default=Path("build/bench-core.json"), help="where to write the figures")
    wish = parser.parse_args()
    print(
        "| miners | cpu p50 ms | cpu p99 ms | wall p50 ms | wall p99 ms | first sight ms | plain loop ms | commands |"
    )
    print("|---:|---:|---:|---:|---:|---:|---:|---:|")
    found: list[Measured] = []
    for size in map(int, wish.sizes.split(",")):
        one = measure(size, wish.seconds)
        found.append(one)
        print(
            f"| {size} | {one.cpu_ms['p50']} | {one.cpu_ms['p99']} | {one.wall_ms['p50']} | {one.wall_ms['p99']} "
            f"| {one.first_ms} | {one.plain_ms} | {one.commands} |",
            flush=True,
        )
    report = {
        "step_ms": {one.miners: one.wall_ms for one in found},
        "step_cpu_ms": {one.miners: one.cpu_ms for one in found},
        "first_sight_cpu_ms": {one.miners: one.first_ms for one in found},
        "plain_loop_cpu_ms": {one.miners: one.plain_ms for one in found},
        "commands": {one.miners: one.commands for one in found},
        "bytes_per_miner": found[-1].bytes_each,
        "load_average": os.getloadavg()[0],
    }
    wish.json.parent.mkdir(parents=True, exist_ok=True)
    wish.json.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(f"{found[-1].bytes_each} bytes per miner; {wish.json}")


if __name__ == "__main__":
    main()
