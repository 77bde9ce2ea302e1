"""What a run was worth: the figures of one contestant on one day, from true powers alone.

Everything is counted from the end of the warm-up. *reference* is the order limited by the ramps grids allow
(`orders.limited`); *raw* figures are against the order itself. Ramps are the largest moves of the true load within 60,
15 and 5 s, as shares of rated. Hash lost: what the most efficient use of the same watts at every second would have
hashed beyond what was hashed, all miners of the site at its disposal (the concave hull of their ladders).
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.domain.fleet import FloatArray
from simulators.accounting import energy_kwh, violation
from simulators.asic.models import MinerModel
from tests.rig.breaches import horizon_s
from tests.rig.score import pjm
from tests.rig.score.orders import SAMPLE_S, Orders
from tests.rig.score.plant_site import Site10MW, score_setup
from tests.rig.score.runs import Run

SCORED_EVERY = 2  # seconds: what a programme's telemetry would show


@dataclass(frozen=True, slots=True)
class Day:
    """One day's question: orders, the reference, and what counts as in time."""

    site: Site10MW
    orders: Orders
    reference_w: FloatArray
    horizon_s: float

    @classmethod
    def of(cls, site: Site10MW, orders: Orders) -> Day:
        reference_w = orders.limited(float(site.rated_w), float(orders.power_w[0]))
        return cls(site, orders, reference_w, horizon_s(score_setup(site, None, orders.duration_s)))

    @property
    def scored(self) -> slice:
        return slice(round(self.orders.warm_up_s / SAMPLE_S), None)


def hours_of(day: Day, load_w: FloatArray, asked_w: FloatArray) -> pjm.Hours:
    """The PJM score of a load against what was asked, both second by second over the whole run."""
    s, r = (_ten_seconds(power_w[day.scored] - day.orders.base_w) for power_w in (asked_w, load_w))
    return pjm.score(s, r, day.orders.regulation_w)


def _ten_seconds(power_w: FloatArray) -> FloatArray:
    return pjm.ten_second_means(power_w[SCORED_EVERY - 1 :: SCORED_EVERY], SCORED_EVERY * SAMPLE_S)


def figures(day: Day, load_w: FloatArray, run: Run | None = None) -> dict[str, Any]:
    """The figures of a true load; with the run behind it also those of its miners."""
    rated_w = float(day.site.rated_w)
    load, reference = load_w[day.scored], day.reference_w[day.scored]
    t_s = SAMPLE_S * np.arange(len(load), dtype=np.float64)
    followed, raw = hours_of(day, load_w, day.reference_w), hours_of(day, load_w, day.orders.sampled())
    within, deviation = pjm.interval_score(load, reference, SAMPLE_S, rated_w)
    found: dict[str, Any] = {
        **_said(followed.whole),
        "hours": [round(one.composite, 4) for one in followed.hours],
        "raw": _said(raw.whole),
        "interval": {"within": within, "mean_deviation": deviation},
        "absorbed_kwh": energy_kwh(t_s, np.minimum(load, reference)),
        "reference_kwh": energy_kwh(t_s, reference),
        "violation_raw_s": violation(t_s, load, reference, rated_w, 0.0).total_s,
        "violation_net_s": violation(t_s, load, reference, rated_w, day.horizon_s).total_s,
        "ramps": ramps(load, rated_w),
    }
    if run is not None:
        found["starts"] = starts(run)
        found["commands"] = run.commands
        found["hash_lost_th_h"] = _hash_lost(day, run)
        found["hash_lost_share"] = found["hash_lost_th_h"] / (float(run.hashrate_th[day.scored].sum()) / 3600.0)
        found["step_ms"] = {"p50": run.step_ms_p50, "p99": run.step_ms_p99}
        found["wall_s"] = run.wall_s
    return found


def _said(score: pjm.Score) -> dict[str, float]:
    return {
        "accuracy": score.accuracy,
        "delay": score.delay,
        "precision": score.precision,
        "composite": score.composite,
    }


def starts(run: Run) -> dict[str, float | None]:
    """How often miners began to hash, and the shortest stays in seconds; None where no stay ended."""
    stays = {"shortest_on_s": run.shortest_on_s, "shortest_off_s": run.shortest_off_s}
    return {
        "p99": float(np.percentile(run.starts, 99)),
        "max": float(run.starts.max()),
        "median": float(np.median(run.starts)),
        "total": float(run.starts.sum()),
        **{name: value if np.isfinite(value) else None for name, value in stays.items()},
    }


def ramps(load_w: FloatArray, rated_w: float) -> dict[str, float]:
    """Largest move up and down from t to t + 60 s, and largest range within any 15 and 5 s, shares of rated."""
    minute = round(60.0 / SAMPLE_S)
    moved = (load_w[minute:] - load_w[:-minute]) / rated_w
    found = {"up_60s": float(moved.max(initial=0.0)), "down_60s": float(-moved.min(initial=0.0))}
    for window_s in (15.0, 5.0):
        windows = sliding_window_view(load_w, round(window_s / SAMPLE_S) + 1)
        reach = (windows.max(axis=1) - windows.min(axis=1)) / rated_w
        found[f"range_{window_s:.0f}s"] = float(reach.max(initial=0.0))
    return found


def _hash_lost(day: Day, run: Run) -> float:
    """TH x h."""
    watts, rates = hull(day.site.fleet.models, day.site.fleet.draw_ratio)
    best_th = np.interp(run.miners_w[day.scored], watts, rates)
    lost = np.maximum(best_th - run.hashrate_th[day.scored], 0.0)
    return float(lost.sum()) * SAMPLE_S / 3600.0


def hull(models: Sequence[MinerModel], draw_ratio: Sequence[float] | None = None) -> tuple[FloatArray, FloatArray]:
    """The most a fleet can hash for its watts, as corners (watts, TH/s), from all asleep to all at their nameplate.
    draw_ratio: what each draws over its ladder."""
    steps: list[tuple[float, float]] = []
    asleep_w = 0.0
    for model, ratio in zip(models, draw_ratio or [1.0] * len(models), strict=True):
        asleep_w += model.sleep_power_w
        steps.extend((ratio * watts, rate) for watts, rate in _best_steps(model))
    steps.sort(key=lambda step: -step[1] / step[0])
    watts, rates = np.cumsum(np.array(steps), axis=0).T
    return np.concatenate(([asleep_w], asleep_w + watts)), np.concatenate(([0.0], rates))


def _best_steps(model: MinerModel) -> list[tuple[float, float]]:
    """The upper concave hull of one ladder up to the nameplate, as steps (watts, TH/s) from asleep."""
    points = [(model.sleep_power_w, 0.0)]
    points += [(float(one.power_w), one.hashrate_th) for one in model.profiles[: model.default_profile + 1]]
    kept: list[tuple[float, float]] = []
    for point in points:
        while len(kept) >= 2 and _turns_up(kept[-2], kept[-1], point):
            kept.pop()
        kept.append(point)
    return [(b[0] - a[0], b[1] - a[1]) for a, b in itertools.pairwise(kept)]


def _turns_up(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[1] - a[1]) * (c[0] - b[0]) <= (c[1] - b[1]) * (b[0] - a[0])
