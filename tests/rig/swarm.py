"""Many sites, one a seed: `python -m tests.rig.swarm --seeds 50 [--first-seed 1] [--minutes 10] [--harsh]`.

Every processor works on seeds of its own. Prints every seed that breaks a rule with the command that replays it, then a
summary; exits 1 when anything was broken. Each seed is a line of build/swarm-seeds.jsonl as soon as it is through, and
build/swarm.json sums them up: with --continue those of earlier runs, of the same minutes and kind, as well, and their
seeds are not run again. So a long run can be cut off and taken up, or grown by the next seeds.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.rig.breaches import Breach, first_cycle
from tests.rig.check_load import raw_violation_s
from tests.rig.checkers import CHECKERS, HARSH, judge
from tests.rig.demo_like import print_trace
from tests.rig.large import large_site_ms
from tests.rig.random_site import random_setup
from tests.rig.report import write_report
from tests.rig.site import Site

REPORT, ROWS = Path("build/swarm.json"), Path("build/swarm-seeds.jsonl")
SUM_UP_EVERY = 50  # seeds


@dataclass(frozen=True, slots=True)
class Result:
    """One seed: what was broken, and what it cost. breaches, bad_cycle: for people, and not kept."""

    seed: int
    minutes: float
    harsh: bool
    miners: int
    hours: float
    broken: tuple[str, ...]
    raw_s: float
    commands: int
    digest: str
    step_ms: tuple[float, float]
    cpu_s: float
    breaches: tuple[Breach, ...] = ()
    bad_cycle: str = ""

    def line(self) -> str:
        """As it is kept."""
        kept = asdict(self)
        del kept["breaches"], kept["bad_cycle"]
        return json.dumps(kept) + "\n"

    @classmethod
    def of_line(cls, line: str) -> Result:
        kept = json.loads(line)
        return cls(**{**kept, "broken": tuple(kept["broken"]), "step_ms": tuple(kept["step_ms"])})


def run_seed(seed: int, minutes: float, harsh: bool = False) -> Result:
    """One site from start to end, judged."""
    began = time.process_time()
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
        minutes=minutes,
        harsh=harsh,
        miners=len(setup.facts),
        hours=setup.duration_s / 3600.0,
        broken=tuple(sorted({breach.checker for breach in breaches})),
        raw_s=raw_violation_s(setup, record),
        commands=sum(len(cycle.commands) for cycle in record.cycles),
        digest=record.digest,
        step_ms=(float(np.percentile(times, 50)), float(np.percentile(times, 99))),
        cpu_s=round(time.process_time() - began, 3),
        breaches=breaches,
        bad_cycle=shown,
    )


def _job(given: tuple[int, float, bool]) -> Result:
    return run_seed(*given)


def summary(results: Sequence[Result], large_ms: tuple[float, float] | None = None) -> dict[str, object]:
    """The report of a swarm as plain values. large_ms: of a large site's step, None when it was not timed."""
    hours, miners = sum(result.hours for result in results), [result.miners for result in results]
    timed = {} if large_ms is None else {"p50": round(large_ms[0], 2), "p99": round(large_ms[1], 2)}
    return {
        "seeds": len(results),
        "site_hours": round(hours, 3),
        "violations": {name: sum(name in result.broken for result in results) for name in {**CHECKERS, **HARSH}},
        "broken_seeds": {str(result.seed): list(result.broken) for result in results if result.broken},
        "first_seed": min(result.seed for result in results),
        "last_seed": max(result.seed for result in results),
        "miners": {"least": min(miners), "median": float(np.median(miners)), "most": max(miners)},
        "cpu_s_per_site_hour": round(sum(result.cpu_s for result in results) / hours, 2),
        "raw_violation_s": round(sum(result.raw_s for result in results), 1),
        "commands_per_miner_hour": round(
            sum(result.commands for result in results) / sum(result.miners * result.hours for result in results), 2
        ),
        "step_ms": {
            "p50": round(float(np.median([result.step_ms[0] for result in results])), 3),
            "p99_worst_seed": round(max(result.step_ms[1] for result in results), 3),
        },
        "step_ms_5000_miners": timed,
    }


def kept_results(minutes: float, harsh: bool) -> list[Result]:
    """The seeds of earlier runs of this kind."""
    if not ROWS.exists():
        return []
    found = [Result.of_line(line) for line in ROWS.read_text(encoding="utf-8").splitlines()]
    return [result for result in found if (result.minutes, result.harsh) == (minutes, harsh)]


def _sum_up(results: Sequence[Result], large_ms: tuple[float, float] | None = None) -> None:
    write_report(REPORT, summary(results, large_ms))


def main() -> int:
    """Run the seeds on every core; 1 when a checker found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument(
        "--harsh", action="store_true", help="with crashes, stepped clocks, invented machines, lying meters"
    )
    parser.add_argument("--continue", dest="goes_on", action="store_true", help="count earlier seeds of this kind in")
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
    results = kept_results(given.minutes, given.harsh) if given.goes_on else []
    there = {result.seed for result in results}
    seeds = range(given.first_seed, given.first_seed + given.seeds)
    jobs = [(seed, given.minutes, given.harsh) for seed in seeds if seed not in there]
    ROWS.parent.mkdir(exist_ok=True)
    # As the daemon does after its start: what is there by then need not be looked at for garbage again.
    with (
        ROWS.open("a" if given.goes_on else "w", encoding="utf-8") as rows,
        multiprocessing.get_context("spawn").Pool(initializer=gc.freeze) as pool,
    ):
        for result in pool.imap_unordered(_job, jobs):
            results.append(result)
            rows.write(result.line())
            rows.flush()
            if result.breaches:
                _print_breaches(result, given.minutes, given.harsh)
            if len(results) % SUM_UP_EVERY == 0:
                _sum_up(results)
    _sum_up(results, large_site_ms())
    print(REPORT.read_text(encoding="utf-8"), end="")
    print(f"{len(jobs)} sites in {time.monotonic() - began:.0f} s, {len(there)} from before; {REPORT}")
    return 1 if any(result.broken for result in results) else 0


def _print_breaches(result: Result, minutes: float, harsh: bool) -> None:
    first = result.breaches[0]
    replay = f"python -m tests.rig.swarm --trace --first-seed {result.seed} --minutes {minutes:g}"
    print(
        f"seed {result.seed} ({result.miners} miners): {', '.join(result.broken)}; first at {first.at_s:.1f} s: "
        f"{first.checker}: {first.text}; {result.bad_cycle}\n"
        f"    {replay}{' --harsh' if harsh else ''}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
