"""What it takes to put a mixed fleet to sleep: our drivers beside pyasic, pyasic_rs and the least that is possible.

    python -m tests.bench.bench_drivers [--miners 1000] [--rounds 5] [--json build/bench-drivers.json] [--profile]

Simulated miners run in a process of their own on the same machine. Every contestant starts each round on miners that
know nobody: all to sleep cold, all awake again behind its back, all to sleep warm, one telemetry sweep. The order turns
from round to round. A command counts when the miner itself says so. Nothing is asserted about time: the lines to reach
are printed, and a shared machine decides a good deal of them.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

from drivers.asic.pyasic_miner import import_factory
from tests.bench.drivers import profile, report
from tests.bench.drivers.contestants import Contestant, Ours, PyasicRs, StockPyasic, ThroughActuator
from tests.bench.drivers.farm_link import FarmLink
from tests.bench.drivers.limits import allow_files
from tests.bench.drivers.measure import Run, run
from tests.bench.drivers.raw import Raw

SHARES = {"WhatsMiner V2": 0.40, "Antminer stock": 0.35, "LuxOS": 0.25}
CONTESTANTS: Mapping[str, Callable[[], Contestant]] = {
    report.GATHER: partial(StockPyasic, None),
    **{name: partial(StockPyasic, at_once) for at_once, name in report.SEMAPHORES.items()},
    report.OURS: Ours,
    report.ACTUATOR: ThroughActuator,
    report.RAW: Raw,
    report.RS: PyasicRs,
}
SHUFFLED = 7


def dealt(miners: int) -> dict[str, int]:
    """How many of each family; the last takes what rounding leaves."""
    counts = {family: round(share * miners) for family, share in SHARES.items()}
    last = list(counts)[-1]
    counts[last] += miners - sum(counts.values())
    return counts


def shuffled(counts: Mapping[str, int]) -> list[str]:
    """The families of the miners in the order of their index, well mixed and always the same."""
    families = [family for family, count in counts.items() for _ in range(count)]
    random.Random(SHUFFLED).shuffle(families)
    return families


def measure_all(farm: FarmLink, counts: Mapping[str, int], rounds: int) -> tuple[report.Block, dict[str, report.Block]]:
    """Every contestant on the mix and on each family alone, round by round."""
    mixed: dict[str, list[Run]] = defaultdict(list)
    families: dict[str, dict[str, list[Run]]] = {family: defaultdict(list) for family in counts}
    names = list(CONTESTANTS)
    for number in range(rounds):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            make = CONTESTANTS[name]
            if all(make().knows(family, farm.vendor_ports) for family in counts):
                mixed[name].append(run(make(), farm, shuffled(counts)))
            for family, count in counts.items():
                if name != report.ACTUATOR and make().knows(family, farm.vendor_ports):
                    families[family][name].append(run(make(), farm, [family] * count))
            print(f"round {number + 1} of {rounds}: {name}", file=sys.stderr)
    return mixed, dict(families)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--miners", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, default=Path("build/bench-drivers.json"), help="where the figures go")
    parser.add_argument("--profile", action="store_true", help="say instead where our drivers spend their CPU")
    wish = parser.parse_args()
    allow_files()
    import_factory()  # three quarters of a second that are nobody's
    counts = dealt(wish.miners)
    with FarmLink() as farm:
        if wish.profile:
            profile.show(farm, {"mixed": shuffled(counts), **{name: [name] * count for name, count in counts.items()}})
            return
        mixed, families = measure_all(farm, counts, wish.rounds)
    found = report.document(mixed, families, counts, wish.rounds)
    wish.json.parent.mkdir(parents=True, exist_ok=True)
    wish.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print("\n".join(report.lines(found)))
    print(f"\nwritten to {wish.json}")


if __name__ == "__main__":
    main()
