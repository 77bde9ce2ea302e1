"""One contestant, one round: all to sleep cold, all to sleep warm, one sweep of a fleet that hashes; with clocks."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from tests.bench.drivers.contestants import Contestant
from tests.bench.drivers.farm_link import FarmLink

BEAT_S = 0.001
ARRIVES_WITHIN_S = 1.0
"""A miner that answers before it acts has acted by then."""


@dataclass(slots=True)
class Cost:
    """What one phase took.

    block_ms: the latest a timer came, as the daemon would see it; on a machine that others use too it says something
    about them. busy_ms: the most CPU spent between two turns of the timer, which is ours alone. failed: what was not
    carried out; times of a failed phase mean nothing.
    """

    wall_s: float
    cpu_s: float
    block_ms: float
    busy_ms: float
    failed: str = ""
    commands: dict[str, int] = field(default_factory=dict)
    connections: int = 0
    said: str = ""


@dataclass(slots=True)
class Run:
    """One contestant in one round; None where it does not take part."""

    cold: Cost
    warm: Cost
    sweep: Cost | None


class Heartbeat:
    """A timer of 1 ms: how late it comes at worst, and how much CPU went by meanwhile."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst_s = self._busiest_s = 0.0
        self._cpu_s = time.process_time()
        self._due = self._loop.time() + BEAT_S
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._note()
        self._due = now + BEAT_S
        self._timer = self._loop.call_at(self._due, self._beat)

    def _note(self) -> float:
        now, cpu_s = self._loop.time(), time.process_time()
        self._worst_s = max(self._worst_s, now - self._due)
        self._busiest_s = max(self._busiest_s, cpu_s - self._cpu_s)
        self._cpu_s = cpu_s
        return now

    def stop(self) -> tuple[float, float]:
        """End it; milliseconds late and milliseconds busy at worst, a beat that is overdue now included."""
        self._timer.cancel()
        self._note()
        return self._worst_s * 1e3, self._busiest_s * 1e3


def run(contestant: Contestant, farm: FarmLink, families: list[str]) -> Run:
    """All phases in an event loop of their own: the sheds on miners that know nobody, the sweep on such that run."""

    async def phases() -> Run:
        try:
            await contestant.prepare(farm.fresh(families))
            farm.told()
            cold = await _shed(contestant, farm)
            farm.wake()
            warm = await _shed(contestant, farm)
            if not contestant.can_sweep:
                return Run(cold, warm, None)
            await contestant.start_anew(farm.fresh(families))
            # The first read of a miner is not like the others: it asks who the miner is and brings a token along.
            await contestant.sweep()
            farm.told()
            return Run(cold, warm, await _sweep(contestant, farm))
        finally:
            await contestant.close()

    try:
        return asyncio.run(phases())
    finally:
        gc.unfreeze()


async def _shed(contestant: Contestant, farm: FarmLink) -> Cost:
    said_yes, cost = await timed(contestant.shed)
    told = farm.told()
    patience_ends = time.monotonic() + ARRIVES_WITHIN_S
    while told.asleep < len(contestant.sites) and time.monotonic() < patience_ends:
        await asyncio.sleep(0.05)
        later = farm.told()
        told = replace(told, asleep=later.asleep)
    count = len(contestant.sites)
    if told.asleep < count:
        cost.failed = f"{told.asleep} of {count} miners were told to sleep, {said_yes} called acknowledged"
    elif said_yes < count:
        cost.failed = f"{said_yes} of {count} called acknowledged, all were told to sleep"
    cost.commands, cost.connections, cost.said = told.commands, told.connections, told.said
    return cost


async def _sweep(contestant: Contestant, farm: FarmLink) -> Cost:
    told_something, cost = await timed(contestant.sweep)
    told = farm.told()
    if told_something < len(contestant.sites):
        cost.failed = f"{told_something} of {len(contestant.sites)} reads told something"
    cost.commands, cost.connections, cost.said = told.commands, told.connections, told.said
    return cost


async def timed(phase: Callable[[], Awaitable[int]]) -> tuple[int, Cost]:
    """Run `phase` with the collector as the daemon leaves it once it is ready: collected and frozen."""
    gc.collect()
    gc.freeze()
    heartbeat = Heartbeat()
    cpu = time.process_time()
    began = time.perf_counter()
    count = await phase()
    wall_s = time.perf_counter() - began
    cpu_s = time.process_time() - cpu
    block_ms, busy_ms = heartbeat.stop()
    return count, Cost(wall_s, cpu_s, block_ms, busy_ms)
