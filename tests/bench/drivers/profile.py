"""Where our drivers spend their CPU: the same warm shed and sweep under cProfile, which itself costs about as much."""

from __future__ import annotations

import asyncio
import cProfile
import pstats
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from tests.bench.drivers.contestants import Contestant, Ours
from tests.bench.drivers.farm_link import FarmLink
from tests.bench.drivers.raw import Raw

TOP = 20
PLACES = {
    "system calls": ("_socket.socket", "select.epoll", "socket.close"),
    "event loop": ("/asyncio/", "selectors.py", "socket.py", "_asyncio", "_contextvars", "heapq"),
    "JSON": ("/json/", "_json"),
    "encryption, digest, base64": ("cryptography", "pyasic", "base64", "binascii", "_hashlib", "hashlib.py"),
    "drivers": ("/drivers/asic/", "/controller/domain/"),
    "the bench": ("/tests/bench/",),
}
"""Marks in a function's file or name; the first that fits."""


def show(farm: FarmLink, blocks: Mapping[str, list[str]]) -> None:
    """Print where the CPU of a warm shed and of a sweep goes, ours and, for comparison, by hand."""
    for title, families in blocks.items():
        for make in (Ours, Raw):
            contestant = make()
            shed, sweep = asyncio.run(_phases(contestant, farm, families))
            for phase, profiler in (("warm shed", shed), ("sweep", sweep)):
                stats: Any = pstats.Stats(profiler)
                print(f"\n=== {title}, {len(families)} miners, {phase}, {type(contestant).__name__}")
                for place, seconds in by_place(stats).most_common():
                    print(f"{seconds / stats.total_tt:7.0%}  {place}")
                stats.strip_dirs().sort_stats("tottime").print_stats(TOP)


def by_place(stats: Any) -> Counter[str]:
    """CPU seconds by what they were spent on."""
    found: Counter[str] = Counter()
    for (file, _, name), (_, _, own_s, _, _) in stats.stats.items():
        text = f"{file}:{name}"
        place = next((place for place, marks in PLACES.items() if any(mark in text for mark in marks)), "the rest")
        found[place] += own_s
    return found


async def _phases(contestant: Contestant, farm: FarmLink, families: list[str]) -> tuple[Any, Any]:
    await contestant.prepare(farm.fresh(families))
    await contestant.shed()
    farm.wake()
    shed = await _profiled(contestant.shed)
    await contestant.start_anew(farm.fresh(families))
    await contestant.sweep()
    sweep = await _profiled(contestant.sweep)
    await contestant.close()
    return shed, sweep


async def _profiled(phase: Callable[[], Awaitable[int]]) -> cProfile.Profile:
    profiler = cProfile.Profile(time.process_time)
    profiler.enable()
    try:
        await phase()
    finally:
        profiler.disable()
    return profiler
