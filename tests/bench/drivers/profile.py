"""Where our drivers spend their CPU: the same warm shed and sweep under cProfile, which itself costs about as much."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
from collections.abc import Awaitable, Callable, Mapping

from tests.bench.drivers.contestants import Contestant, Ours
from tests.bench.drivers.farm_link import FarmLink
from tests.bench.drivers.raw import Raw

TOP = 25


def show(farm: FarmLink, blocks: Mapping[str, list[str]]) -> None:
    """Print the dearest functions of a warm shed and of a sweep, ours and, for comparison, by hand."""
    for title, families in blocks.items():
        for make in (Ours, Raw):
            contestant = make()
            shed, sweep = asyncio.run(_phases(contestant, farm, families))
            for phase, stats in (("warm shed", shed), ("sweep", sweep)):
                print(f"\n=== {title}, {len(families)} miners, {phase}, {type(contestant).__name__}")
                stats.strip_dirs().sort_stats("tottime").print_stats(TOP)


async def _phases(contestant: Contestant, farm: FarmLink, families: list[str]) -> tuple[pstats.Stats, pstats.Stats]:
    await contestant.prepare(farm.fresh(families))
    await contestant.shed()
    farm.wake()
    shed = await _profiled(contestant.shed)
    farm.wake()
    sweep = await _profiled(contestant.sweep)
    await contestant.close()
    return shed, sweep


async def _profiled(phase: Callable[[], Awaitable[int]]) -> pstats.Stats:
    profiler = cProfile.Profile()
    profiler.enable()
    try:
        await phase()
    finally:
        profiler.disable()
    return pstats.Stats(profiler)
