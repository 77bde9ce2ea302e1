"""What `make score` says: the table, the lines to reach, and build/score.json."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

BASELINES = ("hysteresis", "reconciler_30s", "open_loop", "lagged")
CONTESTANTS = ("ours", *BASELINES, "oracle")
MEASURES = ("accuracy", "delay", "precision", "composite")
FIVE_MINUTE, MEDIAN, WORST, AHEAD, ENERGY = 0.95, 0.93, 0.88, 0.03, 0.97

SLACK = 1.05  # T8's own allowance

Figures = dict[str, Any]
Day = dict[str, Figures]  # by contestant


@dataclass(frozen=True, slots=True)
class Line:
    """One line to reach: what was measured, what it must be, whether it holds."""

    text: str
    measured: str
    limit: str
    holds: bool


def summary(days: dict[str, Day], five_minute: Day | None, wear: Figures | None) -> dict[str, Any]:
    """Everything of build/score.json."""
    return {
        "days": days,
        "five_minute": five_minute,
        "median": _over(days, np.median),
        "worst": _over(days, np.min),
        "wear": wear,
    }


def _over(days: dict[str, Day], pick: Any) -> dict[str, dict[str, float]]:
    """Median or least of each measure over the days, by contestant."""
    found: dict[str, dict[str, float]] = {}
    for name in CONTESTANTS:
        those = [day[name] for day in days.values() if name in day]
        if those:
            found[name] = {measure: float(pick([one[measure] for one in those])) for measure in MEASURES}
    return found


def lines(report: dict[str, Any]) -> list[Line]:
    """The lines to reach, as far as they were measured."""
    found: list[Line] = []
    five, days = report["five_minute"], report["days"]
    if five:
        value = five["ours"]["composite"]
        found.append(Line("five-minute dispatch", f"{value:.3f}", f">= {FIVE_MINUTE:g}", value >= FIVE_MINUTE))
    if days:
        middle, least = report["median"]["ours"]["composite"], report["worst"]["ours"]["composite"]
        found.append(Line("regulation days, median", f"{middle:.3f}", f">= {MEDIAN:g}", middle >= MEDIAN))
        found.append(Line("regulation days, worst", f"{least:.3f}", f">= {WORST:g}", least >= WORST))
        others = {name: report["median"][name]["composite"] for name in BASELINES if name in report["median"]}
        if others:
            best = max(others, key=lambda name: others[name])
            ahead = middle - others[best]
            found.append(
                Line(f"median above the best baseline's ({best})", f"{ahead:+.3f}", f">= {AHEAD:g}", ahead >= AHEAD)
            )
    every = [*days.values(), *([five] if five else [])]
    shares = [day["ours"]["share_of_oracle"] for day in every if "share_of_oracle" in day["ours"]]
    if shares:
        found.append(
            Line("least share of the oracle's energy", f"{min(shares):.4f}", f">= {ENERGY:g}", min(shares) >= ENERGY)
        )
    if every:
        found.extend(_kept(every))
    wear = report["wear"]
    if wear:
        told = f"p99 {wear['p99']:.0f}, max {wear['max']:.0f}, median {wear['median']:.0f} starts; shortest on "
        told += f"{_seconds(wear['shortest_on_s'])}, off {_seconds(wear['shortest_off_s'])}"
        found.append(
            Line(f"wear over {wear['hours']:.0f} h (T14)", told, "<= 6, spread <= 3, 900 s, 600 s", wear["holds"])
        )
    return found


def _kept(every: list[Day]) -> list[Line]:
    """The rules that hold on every run: never above the reference, never faster than grids allow."""
    over = sum(day["ours"]["violation_net_s"] for day in every)
    moves = [day["ours"]["ramps"] for day in every]
    minute = max(max(one["up_60s"], one["down_60s"]) for one in moves)
    quarter, instant = (max(one[name] for one in moves) for name in ("range_15s", "range_5s"))
    told = f"{minute:.1%} in 60 s, {quarter:.1%} in 15 s, {instant:.1%} in 5 s"
    within = minute <= 0.20 * SLACK and quarter <= 0.05 * SLACK and instant <= 0.10 * SLACK
    return [
        Line("net violation seconds, all runs", f"{over:.0f}", "0", over == 0.0),
        Line("largest moves of rated (T8, T9)", told, "<= 20, 5, 10 %, each x 1.05", within),
    ]


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f} s"


def table(report: dict[str, Any]) -> str:
    """Every day and contestant, as people read it."""
    head = (
        f"{'':<12} {'':<15} {'score':>6} {'acc.':>6} {'delay':>6} {'prec.':>6} {'raw':>6} {'5 min':>6} {'energy':>7} "
        f"{'viol. raw/net s':>15} {'60 s':>6} {'15 s':>6} {'5 s':>6} {'starts p99/max':>14} {'hash lost':>9}"
    )
    rows = [head]
    days = dict(report["days"])
    if report["five_minute"]:
        days["five_minute"] = report["five_minute"]
    for day, those in days.items():
        for place, name in enumerate(one for one in CONTESTANTS if one in those):
            rows.append(_row(day if place == 0 else "", name, those[name]))
    for what in ("median", "worst"):
        for place, (name, one) in enumerate(report[what].items()):
            measured = " ".join(f"{one[measure]:>6.3f}" for measure in ("composite", "accuracy", "delay", "precision"))
            rows.append(f"{what if place == 0 else '':<12} {name:<15} {measured}")
    return "\n".join(rows)


def _row(day: str, name: str, one: Figures) -> str:
    scores = " ".join(f"{one[measure]:>6.3f}" for measure in ("composite", "accuracy", "delay", "precision"))
    ramps, starts = one["ramps"], one.get("starts")
    worst_60s = max(ramps["up_60s"], ramps["down_60s"])
    share = one.get("share_of_oracle")
    started = "-" if starts is None else f"{starts['p99']:.0f}/{starts['max']:.0f}"
    lost = "-" if starts is None else f"{one['hash_lost_share']:.1%}"
    return (
        f"{day:<12} {name:<15} {scores} {one['raw']['composite']:>6.3f} {one['interval']['within']:>6.0%} "
        f"{'-' if share is None else f'{share:.2%}':>7} {one['violation_raw_s']:>9.0f}/{one['violation_net_s']:<5.0f} "
        f"{worst_60s:>6.1%} {ramps['range_15s']:>6.1%} {ramps['range_5s']:>6.1%} "
        f"{started:>14} {lost:>9}"
    )


def write(report: dict[str, Any], folder: Path) -> int:
    """Write score.json, print the table and the lines; 0 when every line holds."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "score.json").write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(table(report))
    print()
    found = lines(report)
    for line in found:
        print(f"{'holds' if line.holds else 'FAILS'}  {line.text}: {line.measured} (to reach: {line.limit})")
    return 0 if all(line.holds for line in found) else 1
