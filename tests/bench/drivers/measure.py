"""One contestant, one round: all to sleep cold, all to sleep warm, one sweep; each with its clocks."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tests.bench.drivers.contestants import Contestant
from tests.bench.drivers.farm_link import FarmLink, Told

BEAT_S = 0.001
ARRIVES_WITHIN_S = 1.0
"""A miner that answers before it acts has acted by then."""


@dataclass(slots=True)
class Cost:
    """What one phase took. `failed` says what was not carried out; times of a failed phase mean nothing."""

    wall_s: float
    cpu_s: float
    block_ms: float
    failed: str = ""
    commands: dict[str, int] = field(default_factory=dict)
    connections: int = 0


@dataclass(slots=True)
class Run:
    """One contestant in one round; None where it does not take part."""

    cold: Cost
    warm: Cost
    sweep: Cost | None


class Heartbeat:
    """How late a timer of 1 ms comes at worst: as long the loop did nothing else."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._worst_s = 0.0
        self._due = self._loop.time() + BEAT_S
        self._timer = self._loop.call_at(self._due, self._beat)

    def _beat(self) -> None:
        now = self._loop.time()
        self._worst_s = max(self._worst_s, now - self._due)
        self._due = now + BEAT_S
        self._timer = self._loop.call_at(self._due, self._beat)

    def stop(self) -> float:
        """End it; milliseconds of the latest beat, one that is overdue now included."""
        self._timer.cancel()
        return max(self._worst_s, self._loop.time() - self._due) * 1e3


def run(contestant: Contestant, farm: FarmLink, families: list[str]) -> Run:
    """All phases on a farm that knows nobody, in an event loop of their own."""
    sites = farm.fresh(families)

    async def phases() -> Run:
        await contestant.prepare(sites)
        farm.wake()
        farm.told()
        try:
            cold = await _shed(contestant, farm)
            farm.wake()
            warm = await _shed(contestant, farm)
            farm.wake()
            sweep = await _sweep(contestant, farm) if contestant.can_sweep else None
        finally:
            await contestant.close()
        return Run(cold, warm, sweep)

    return asyncio.run(phases())


async def _shed(contestant: Contestant, farm: FarmLink) -> Cost:
    said_yes, cost = await timed(contestant.shed)
    told = farm.told()
    patience_ends = time.monotonic() + ARRIVES_WITHIN_S
    while told.asleep < len(contestant.sites) and time.monotonic() < patience_ends:
        await asyncio.sleep(0.05)
        later = farm.told()
        told = Told(later.asleep, told.commands, told.connections)
    count = len(contestant.sites)
    if told.asleep < count:
        cost.failed = f"{told.asleep} of {count} miners were told to sleep, {said_yes} called acknowledged"
    elif said_yes < count:
        cost.failed = f"{said_yes} of {count} called acknowledged, all were told to sleep"
    cost.commands, cost.connections = told.commands, told.connections
    return cost


async def _sweep(contestant: Contestant, farm: FarmLink) -> Cost:
    told_something, cost = await timed(contestant.sweep)
    told = farm.told()
    if told_something < len(contestant.sites):
        cost.failed = f"{told_something} of {len(contestant.sites)} reads told something"
    cost.commands, cost.connections = told.commands, told.connections
    return cost


async def timed(phase: Callable[[], Awaitable[int]]) -> tuple[int, Cost]:
    """Run `phase` with the collector as the daemon leaves it once it is ready: collected and frozen."""
    gc.collect()
    gc.freeze()
    try:
        heartbeat = Heartbeat()
        cpu = time.process_time()
        began = time.perf_counter()
        count = await phase()
        wall_s = time.perf_counter() - began
        cpu_s = time.process_time() - cpu
        return count, Cost(wall_s, cpu_s, heartbeat.stop())
    finally:
        gc.unfreeze()
