"""T14: a day and a night on a noisy surplus. How often are miners started, and how short are their stays?

A site of a tenth of the size and the same mix, without orders: its surplus is six recorded days one after the other,
each over the whole band that trim covers, with 1 % of noise drawn anew every second. What follows a surplus must give
way to it at once; the question is what that costs the miners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from controller.domain.fleet import FloatArray
from simulators.trace import SIGNAL_LIMIT_MW, Trace
from tests.rig.score.judge import starts
from tests.rig.score.orders import SAMPLE_S, SIGNAL_EVERY_S
from tests.rig.score.plant_site import RATED_W, build_site
from tests.rig.score.runs import following

DAYS = 6
SHARE_OF_SITE = 10
NOISE = 0.01
STARTS_P99, STARTS_SPREAD, ON_S, OFF_S = 6.0, 3.0, 900.0, 600.0


@dataclass(frozen=True, slots=True)
class EverySecond:
    """One surplus a second, held until the next."""

    power_w: FloatArray

    def surplus_w(self, t_s: float) -> float:
        return float(self.power_w[min(int(t_s / SAMPLE_S), len(self.power_w) - 1)])


def day_and_night(traces: Sequence[Trace], seed: int, hours: float = 24.0) -> dict[str, Any]:
    """The figures of the run, and whether T14 holds."""
    site = build_site(seed, RATED_W // SHARE_OF_SITE)
    signal = np.concatenate([trace.signal_mw for trace in traces[:DAYS]])
    signal = np.repeat(signal, round(SIGNAL_EVERY_S / SAMPLE_S))[: round(hours * 3600.0 / SAMPLE_S)]
    surplus_w = site.offer.base_w - signal / SIGNAL_LIMIT_MW * site.offer.regulation_w
    rng = np.random.default_rng(seed)
    surplus_w = np.maximum(surplus_w * (1.0 + NOISE * rng.standard_normal(len(surplus_w))), 0.0)
    run = following(site, EverySecond(surplus_w), len(surplus_w) * SAMPLE_S)
    found: dict[str, Any] = dict(starts(run))
    on_s, off_s = found["shortest_on_s"], found["shortest_off_s"]
    found["hours"] = len(surplus_w) * SAMPLE_S / 3600.0
    found["absorbed_share"] = float(np.minimum(run.load_w, run.cap_w).sum() / run.cap_w.sum())
    found["commands"] = run.commands
    found["wall_s"] = run.wall_s
    found["holds"] = bool(
        found["p99"] <= STARTS_P99
        and found["max"] - found["median"] <= STARTS_SPREAD
        and (on_s is None or on_s >= ON_S)
        and (off_s is None or off_s >= OFF_S)
    )
    return found
