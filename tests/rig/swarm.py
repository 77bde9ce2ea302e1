"""Many sites, one a seed: `python -m tests.rig.swarm --seeds 50 [--first-seed 1] [--minutes 10]`.

Prints every seed that breaks a rule with the command that replays it, then a summary; writes build/swarm.json; exits 1
when anything was broken.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tests.rig.breaches import Breach, first_cycle
from tests.rig.check_load import raw_violation_s
from tests.rig.checkers import CHECKERS, HARSH, judge
from tests.rig.demo_like import print_trace
from tests.rig.large import large_site_ms
from tests.rig.random_site import random_setup
from tests.rig.site import Site

REPORT = Path("build/swarm.json")


@dataclass(frozen=True, slots=True)
class Result:
    """One seed: what was broken, and what it cost."""

    seed: int
    miners: int
    hours: float
    breaches: tuple[Breach, ...]
    bad_cycle: str
    raw_s: float
    commands: int
    digest: str
    step_ms: tuple[float, float]


def run_seed(seed: int, minutes: float, harsh: bool = False) -> Result:
    """One site from start to end, judged."""
    setup = random_setup(seed, minutes, harsh)
    record = Site(setup).run()
    breaches = tuple(judge(setup, record, harsh))
    row = first_cycle(record, breaches[0].at_s) if breaches else None
    shown = (
        ""
        if row is None
        else (
            f"cycle at {row.at_s:.1f} s: set-point {row.setpoint_w / 1e3:.1f} kW by {row.bound}, "
            f"inputs {row.fail_safe}, {len(row.commands)} commands"
        )
    )
    times = [cycle.step_ms for cycle in record.cycles]
    return Result(
        seed=seed,
        miners=len(setup.facts),
        hours=setup.duration_s / 3600.0,
        breaches=breaches,
        bad_cycle=shown,
        raw_s=raw_violation_s(setup, record),
        commands=sum(len(cycle.commands) for cycle in record.cycles),
        digest=record.digest,
        step_ms=(float(np.percentile(times, 50)), float(np.percentile(times, 99))),
    )


def _job(given: tuple[int, float, bool]) -> Result:
    return run_seed(*given)


def summary(results: Sequence[Result], large_ms: tuple[float, float]) -> dict[str, object]:
    """The report of a swarm as plain values."""
    broken = {
        name: sum(any(b.checker == name for b in result.breaches) for result in results)
        for name in {**CHECKERS, **HARSH}
    }
    return {
        "seeds": len(results),
        "site_hours": round(sum(result.hours for result in results), 3),
        "violations": broken,
        "raw_violation_s": round(sum(result.raw_s for result in results), 1),
        "commands_per_miner_hour": round(
            sum(result.commands for result in results) / sum(result.miners * result.hours for result in results), 2
        ),
        "step_ms": {
            "p50": round(float(np.median([result.step_ms[0] for result in results])), 3),
            "p99_worst_seed": round(max(result.step_ms[1] for result in results), 3),
        },
        "step_ms_5000_miners": {"p50": round(large_ms[0], 2), "p99": round(large_ms[1], 2)},
    }


def main() -> int:
    """Run the seeds on every core; 1 when a checker found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--harsh", action="store_true", help="with crashes, stepped clocks, invented machines, lying meters"
    )
    parser.add_argument("--trace", action="store_true", help="one seed only: print every cycle")
    given = parser.parse_args()
    if given.trace:
        setup = random_setup(given.first_seed, given.minutes, given.harsh)
        record = Site(setup).run()
        print_trace(record)
        for breach in judge(setup, record, given.harsh):
            print(breach)
        return 0
    began = time.monotonic()
    jobs = [(seed, given.minutes, given.harsh) for seed in range(given.first_seed, given.first_seed + given.seeds)]
    results: list[Result] = []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for result in pool.imap(_job, jobs):
            results.append(result)
            if result.breaches:
                _print_breaches(result, given.minutes, given.harsh)
    report = summary(results, large_site_ms())
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(report, indent=2))
    print(f"{len(results)} sites in {time.monotonic() - began:.0f} s; {REPORT}")
    return 1 if any(result.breaches for result in results) else 0


def _print_breaches(result: Result, minutes: float, harsh: bool) -> None:
    names = sorted({breach.checker for breach in result.breaches})
    first = result.breaches[0]
    replay = f"python -m tests.rig.swarm --trace --first-seed {result.seed} --minutes {minutes:g}"
    print(
        f"seed {result.seed} ({result.miners} miners): {', '.join(names)}; first at {first.at_s:.1f} s: "
        f"{first.checker}: {first.text}; {result.bad_cycle}\n"
        f"    {replay}{' --harsh' if harsh else ''}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
