"""Which targets hold: the figures of all seeds, and the lines they are held to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from tests.rig.score.report import SLACK, Line
from tests.rig.targets.runs import Figures

Found = Mapping[str, Sequence[Figures]]  # by kind of run, one for each seed


def lines(found: Found) -> list[Line]:
    """The targets, as far as their runs were made."""
    makers = {
        "steps": _steps,
        "shed": _shed,
        "surplus": _surplus,
        "loss": _loss,
        "blackout": _blackout,
        "signals": _signals,
    }
    return [line for kind, make in makers.items() if found.get(kind) for line in make(found[kind])]


def _steps(seeds: Sequence[Figures]) -> list[Line]:
    every = [step for one in seeds for step in one["steps"]]
    down = [step["moved_s"] for step in every if step["to"] < step["from"]]
    up = [step["moved_s"] for step in every if step["to"] > step["from"]]
    late = [step["settled_s"] - step["allowed_s"] for step in every]
    in_time = sum(one <= 0.0 for one in late) / len(late)
    moves = {name: max(one["ramps"][name] for one in seeds) for name in seeds[0]["ramps"]}
    line = max(one["line"] for one in seeds)
    return [
        Line(f"T3 first movement down, {len(down)} steps, p95", f"{_p95(down):.0f} s", "<= 10 s", _p95(down) <= 10.0),
        Line(f"T3 first movement up, {len(up)} steps, p95", f"{_p95(up):.0f} s", "<= 30 s", _p95(up) <= 30.0),
        Line("T3 first movement, slowest", f"{max(down + up):.0f} s", "<= 45 s", max(down + up) <= 45.0),
        Line(
            "T4 settled by the ramp's end + 30 s (small steps: 60 s)",
            f"{in_time:.0%}, latest {max(late):+.0f} s",
            "100 %",
            in_time == 1.0,
        ),
        _most("T8 up in 60 s, steps", moves["up_60s"], 0.20 * SLACK),
        _most("T8 down in 60 s, steps", moves["down_60s"], 0.20 * SLACK),
        _most("T9 within 15 s, steps, with T8's slack", moves["range_15s"], 0.05 * SLACK, "{:.2%}"),
        _most("T9 within 5 s, steps", moves["range_5s"], 0.10),
        _most("T9 strongest line at rest", line, 0.0025, "{:.3%}"),
    ]


def _shed(seeds: Sequence[Figures]) -> list[Line]:
    found = []
    for name, text in (("all_listen", "everybody listens"), ("some_refuse", "5 % refuse at first")):
        for place, (after, least) in enumerate(((10, 0.95), (30, 0.99))):
            value = min(one[name][place] for one in seeds)
            found.append(Line(f"T5 off after {after} s, {text}", f"{value:.1%}", f">= {least:.0%}", value >= least))
    return found


def _surplus(seeds: Sequence[Figures]) -> list[Line]:
    return [
        _most("T6 off by, 5 min, of rated", _worst(seeds, "off_of_rated"), 0.02, "{:.2%}"),
        _most("T6 off by, 5 min, of target", _worst(seeds, "off_of_target"), 0.03, "{:.2%}"),
        _most("T6 worst interval, of what can be drawn", _worst(seeds, "worst_of_available"), 0.15),
        _most("T7 energy above the cap", _worst(seeds, "excess_energy"), 0.001, "{:.3%}"),
        _most("T7 longest above the cap + 1 %", _worst(seeds, "longest_above_s"), 10.0, "{:.0f} s"),
        _most("T7 longer than physics excuse (net, 15 s at most)", _worst(seeds, "net_above_s"), 0.0, "{:.0f} s"),
        _most("T8 up in 60 s, surplus", _worst(seeds, "risen_60s"), 0.20 * SLACK),
    ]


def _loss(seeds: Sequence[Figures]) -> list[Line]:
    slowest = max(after for one in seeds for after in one["restored_s"])
    return [_most("T7 despatch restored after a loss", slowest, 60.0, "{:.0f} s")]


def _blackout(seeds: Sequence[Figures]) -> list[Line]:
    back = min(float(one["back"]) for one in seeds)
    return [
        Line("T8 back after a blackout, of the surplus", f"{back:.1%}", ">= 95 %", back >= 0.95),
        _most("T8 up in 60 s after a blackout", _worst(seeds, "risen_60s"), 0.20 * SLACK),
        _most("T8 the same, of what was led", _worst(seeds, "risen_60s_led"), 0.20 * SLACK),
    ]


def _signals(seeds: Sequence[Figures]) -> list[Line]:
    found = []
    limits = (("five_minute", "five-minute dispatch", 0.95, 0.93), ("regulation", "regulation hour", 0.85, 0.80))
    for name, text, median, worst in limits:
        scores = [one[name]["composite"] for one in seeds]
        middle, least = float(np.median(scores)), min(scores)
        found.append(Line(f"T13 {text}, median", f"{middle:.3f}", f">= {median:g}", middle >= median))
        found.append(Line(f"T13 {text}, worst", f"{least:.3f}", f">= {worst:g}", least >= worst))
        part = min(one[name][sub] for one in seeds for sub in ("accuracy", "delay", "precision"))
        found.append(Line(f"T13 {text}, least part", f"{part:.3f}", ">= 0.8", part >= 0.80))
    return found


def _worst(seeds: Sequence[Figures], name: str) -> float:
    return max(float(one[name]) for one in seeds)


def _p95(values: Iterable[float]) -> float:
    """The smallest value that 95 % do not pass; infinite ones count."""
    return float(np.quantile(np.array(list(values)), 0.95, method="higher"))


def _most(text: str, value: float, limit: float, shape: str = "{:.1%}") -> Line:
    return Line(text, shape.format(value), "<= " + shape.format(limit), value <= limit)


def as_json(found: Found, held: Sequence[Line]) -> dict[str, Any]:
    """What is kept: the lines, and behind them every seed."""
    said = [{"target": one.text, "measured": one.measured, "limit": one.limit, "holds": one.holds} for one in held]
    return {"lines": said, "runs": {kind: list(seeds) for kind, seeds in found.items()}}
