"""`make score`: every day and every contestant, two processes side by side."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from controller.domain.fleet import FloatArray
from controller.domain.policy import Feedback
from simulators.trace import Trace, TraceError, bundled_trace_path, days_of, load_trace
from tests.rig.score import foresight, managers, wear
from tests.rig.score.judge import Day, figures
from tests.rig.score.orders import Orders, five_minute, regulation
from tests.rig.score.picture import picture
from tests.rig.score.plant_site import RATED_W, build_site
from tests.rig.score.report import CONTESTANTS, summary, write
from tests.rig.score.runs import Run, ours

FIVE_MINUTE, WEAR = "five_minute", "wear"
WARM_UP_S = 900.0
HOURS = 4.0
SEED = 1


@dataclass(frozen=True, slots=True)
class Job:
    """One contestant on one day; a trace of none is the five-minute dispatch."""

    day: str
    contestant: str
    trace: Trace | None
    hours: float
    rated_w: int


@dataclass(frozen=True, slots=True)
class Result:
    """Its figures and its load."""

    figures: dict[str, Any]
    load_w: FloatArray


def day_of(trace: Trace | None, hours: float, rated_w: int = RATED_W) -> Day:
    """What is asked for on a day, of the site that is scored."""
    site = build_site(SEED, rated_w)
    orders: Orders
    if trace is None:
        orders = five_minute(SEED, float(site.rated_w), WARM_UP_S, hours)
    else:
        orders = regulation(trace, site.offer.base_w, site.offer.regulation_w, WARM_UP_S, hours)
    return Day.of(site, orders)


def work(job: Job) -> Result:
    """Run one job; in a process of its own."""
    day = day_of(job.trace, job.hours, job.rated_w)
    if job.contestant == "lagged":
        load_w = foresight.lagged(day)
        return Result(figures(day, load_w), load_w)
    if job.contestant == "oracle":
        began = time.perf_counter()
        best = foresight.oracle(day)
        known = figures(day, best.load_w)
        return Result({**known, "absorbed_kwh": best.absorbed_kwh, "wall_s": time.perf_counter() - began}, best.load_w)
    run = _run(job.contestant, day)
    return Result(figures(day, run.load_w, run), run.load_w)


def _run(contestant: str, day: Day) -> Run:
    match contestant:
        case "ours":
            return ours(day.site, day.orders)
        case "open_loop":
            return ours(day.site, day.orders, Feedback.OPEN_LOOP)
        case "hysteresis":
            return managers.hysteresis(day.site, day.orders, day.reference_w)
        case "reconciler_30s":
            return managers.reconciler_30s(day.site, day.orders, day.reference_w)
        case _:
            raise ValueError(f"no contestant {contestant!r}; there are {', '.join(CONTESTANTS)}")


def run_all(
    jobs: Sequence[Job], worn: Sequence[Trace], processes: int, out: Path
) -> tuple[dict[tuple[str, str], Result], Any]:
    """Every job's result by (day, contestant), and the figures of the wear run, None without one.

    A run of hours that is cut off has its figures so far in score-runs.jsonl.
    """
    found: dict[tuple[str, str], Result] = {}
    waited: Any = None
    with ProcessPoolExecutor(processes) as pool, (out / "score-runs.jsonl").open("w", encoding="utf-8") as rows:
        pending: dict[Future[Any], tuple[str, str]] = {}
        if worn:
            pending[pool.submit(wear.day_and_night, worn, SEED)] = (WEAR, "ours")
        pending |= {pool.submit(work, job): (job.day, job.contestant) for job in jobs}
        for done, future in enumerate(as_completed(pending), start=1):
            key = pending[future]
            if key[0] == WEAR:
                known = waited = future.result()
                said = f"p99 {waited['p99']:.0f} starts"
            else:
                found[key] = future.result()
                known = found[key].figures
                said = f"{known['composite']:.3f}"
            rows.write(json.dumps({"day": key[0], "contestant": key[1], **known}) + "\n")
            rows.flush()
            print(f"{done:>4}/{len(pending)} {key[0]} {key[1]}: {said}", file=sys.stderr, flush=True)
    return found, waited


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when every line holds, 1 when one does not, 2 when there is nothing to run on."""
    given = _arguments(arguments)
    try:
        every = days_of(given.trace)
        chosen = _chosen(given.days, every)
        traces = [load_trace(given.trace, day) for day in chosen]
        worn = [load_trace(given.trace, day) for day in every[: wear.DAYS]] if given.wear else []
        contestants = _contestants(given.only)
    except (TraceError, ValueError) as error:
        print(f"score: {error}", file=sys.stderr)
        return 2
    asked: list[tuple[str, Trace | None]] = [(FIVE_MINUTE, None), *((trace.day, trace) for trace in traces)]
    rated_w = round(given.rated_mw * 1e6)
    jobs = [Job(day, name, trace, given.hours, rated_w) for name in contestants for day, trace in asked]
    given.out.mkdir(parents=True, exist_ok=True)
    found, worn_figures = run_all(jobs, worn, given.processes, given.out)
    days: dict[str, dict[str, Any]] = {}
    pictures = given.out / "score"
    pictures.mkdir(exist_ok=True)
    for name, trace in asked:
        results = {who: found[name, who] for who in contestants}
        _share(results)
        days[name] = {who: result.figures for who, result in results.items()}
        if "ours" in results:
            titles = {who: f"{result.figures['composite']:.3f}" for who, result in results.items()}
            loads = {who: result.load_w for who, result in results.items()}
            (pictures / f"{name}.svg").write_text(
                picture(day_of(trace, given.hours, rated_w), loads, titles), encoding="utf-8"
            )
    five = days.pop(FIVE_MINUTE)
    return write(summary(days, five, worn_figures), given.out)


def _share(results: dict[str, Result]) -> None:
    """What everybody absorbed of what the oracle did."""
    if "oracle" in results:
        most = results["oracle"].figures["absorbed_kwh"]
        for result in results.values():
            result.figures["share_of_oracle"] = result.figures["absorbed_kwh"] / most


def _chosen(wanted: str | None, every: Sequence[str]) -> list[str]:
    """All days, so many spread over the recording, or those named."""
    if wanted is None:
        return list(every)
    if wanted.isdigit():
        count = min(int(wanted), len(every))
        return [every[int(place)] for place in np.linspace(0, len(every) - 1, count).round()]
    named = [day.strip() for day in wanted.split(",")]
    unknown = [day for day in named if day not in every]
    if unknown:
        raise ValueError(f"no day {', '.join(unknown)} in the trace; there are {', '.join(every)}")
    return named


def _contestants(only: str | None) -> tuple[str, ...]:
    if only is None:
        return CONTESTANTS
    named = tuple(name.strip() for name in only.split(","))
    unknown = [name for name in named if name not in CONTESTANTS]
    if unknown or "ours" not in named:
        wrong = f"no contestant {', '.join(unknown)}" if unknown else "ours is missing"
        raise ValueError(f"{wrong}; name ours and any of {', '.join(CONTESTANTS[1:])}")
    return named


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.rig.score", description=__doc__)
    parser.add_argument("--days", help="how many, spread over the trace, or a list of dates; all when left out")
    parser.add_argument(
        "--trace", type=Path, default=bundled_trace_path(), help="a CSV as simulators/data/caiso has it"
    )
    parser.add_argument("--hours", type=float, default=HOURS, help="of each day")
    parser.add_argument("--rated-mw", type=float, default=RATED_W / 1e6, help="of the site")
    parser.add_argument("--only", help="contestants, separated by commas: " + ",".join(CONTESTANTS))
    parser.add_argument("--no-wear", dest="wear", action="store_false", help="without the day and night of T14")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--out", type=Path, default=Path("build"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
