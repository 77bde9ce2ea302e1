"""`make targets`: every kind of run on 20 seeds (*surplus* on 4), a process for each processor.

Writes build/targets.json; exit code 1 when a line does not hold.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path

from tests.rig.report import write_report
from tests.rig.targets.report import as_json, lines
from tests.rig.targets.runs import KINDS, SURPLUS_SEEDS, Figures
from tests.rig.targets.site import MINERS


def _run(kind: str, seed: int, miners: int) -> Figures:
    return {"seed": seed} | KINDS[kind](seed, miners)


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.rig.targets", description=__doc__)
    parser.add_argument(
        "--seeds", type=int, default=20, help=f"of *surplus*, which is long, the first {SURPLUS_SEEDS} only"
    )
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--miners", type=int, default=MINERS)
    parser.add_argument("--only", help="kinds of run, separated by commas: " + ",".join(KINDS))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("build"))
    given = parser.parse_args(arguments)
    kinds = tuple(KINDS) if given.only is None else tuple(name.strip() for name in given.only.split(","))
    unknown = [name for name in kinds if name not in KINDS]
    if unknown:
        print(f"targets: no kind of run {', '.join(unknown)}; there are {', '.join(KINDS)}", file=sys.stderr)
        return 2
    if given.seeds < 1:
        print(f"targets: --seeds is {given.seeds}: one at least", file=sys.stderr)
        return 2
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    jobs = [(kind, seed) for kind in kinds for seed in (seeds[:SURPLUS_SEEDS] if kind == "surplus" else seeds)]
    found: dict[str, list[Figures]] = defaultdict(list)
    with ProcessPoolExecutor(given.processes) as pool:
        pending = {pool.submit(_run, kind, seed, given.miners): (kind, seed) for kind, seed in jobs}
        for done, future in enumerate(as_completed(pending), start=1):
            kind, seed = pending[future]
            found[kind].append(future.result())
            print(f"{done:>4}/{len(jobs)} {kind} {seed}", file=sys.stderr, flush=True)
    held = lines(found)
    write_report(given.out / "targets.json", as_json(found, held))
    for line in held:
        print(f"{'holds' if line.holds else 'FAILS'}  {line.text}: {line.measured} (to reach: {line.limit})")
    return 0 if all(line.holds for line in held) else 1


if __name__ == "__main__":
    sys.exit(main())
