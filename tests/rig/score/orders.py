"""What the dispatcher asks for: a recorded regulation day, or base points every five minutes; and both ramp-limited.

An order is a new power at the site meter from a moment on. A site is held to the order limited by what grids allow of
a load: 20 % of rated a minute and 5 % in any 15 s, up and down. Read as a rate the two are one limit.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.domain.fleet import FloatArray
from simulators.trace import SIGNAL_LIMIT_MW, Trace

RAMP_PER_MIN = 0.20
"""Of rated, up and down: T8's limit, and 5 % in 15 s: T9's."""
SAMPLE_S = 1.0
SIGNAL_EVERY_S = 4.0
DISPATCH_EVERY_S = 300.0
LOWEST, HIGHEST = 0.35, 1.0  # of what the whole fleet can draw
LARGE_SHARE, LARGE, SMALL = 0.25, 0.45, 0.12  # of five-minute moves, and their largest size


@dataclass(frozen=True, slots=True)
class Orders:
    """Orders from `warm_up_s` on, one second apart: before, the site is led to the first of them.

    at_s, power_w: (k,) when each order is given and what for. regulation_w: the capacity sold; base_w: the base point.
    """

    name: str
    at_s: FloatArray
    power_w: FloatArray
    duration_s: float
    warm_up_s: float
    base_w: float
    regulation_w: float

    def sampled(self) -> FloatArray:
        """The order in force at the end of each second of the run, (duration,)."""
        at = SAMPLE_S * np.arange(1, round(self.duration_s / SAMPLE_S) + 1)
        found: FloatArray = self.power_w[np.maximum(np.searchsorted(self.at_s, at + 1e-9, side="right") - 1, 0)]
        return found

    def limited(self, rated_w: float, start_w: float) -> FloatArray:
        """The same no faster than grids allow, from `start_w` on."""
        return limited(self.sampled(), RAMP_PER_MIN / 60.0 * rated_w * SAMPLE_S, start_w)


def limited(power_w: FloatArray, step_w: float, start_w: float) -> FloatArray:
    """Follow `power_w` by at most `step_w` a sample."""
    found, now_w = np.empty_like(power_w), start_w
    for place, wanted_w in enumerate(power_w.tolist()):
        now_w += min(max(wanted_w - now_w, -step_w), step_w)
        found[place] = now_w
    return found


def regulation(trace: Trace, base_w: float, capacity_w: float, warm_up_s: float, hours: float) -> Orders:
    """A recorded day after a while at the base point: one order every sample of it."""
    at_s = trace.second_of_day - trace.second_of_day[0]
    kept = at_s < hours * 3600.0
    power_w = base_w - trace.signal_mw[kept] / SIGNAL_LIMIT_MW * capacity_w
    lasts_s = float(at_s[kept][-1]) + SIGNAL_EVERY_S
    before = np.arange(0.0, warm_up_s, SIGNAL_EVERY_S)
    return Orders(
        name=trace.day,
        at_s=np.concatenate((before, at_s[kept] + warm_up_s)),
        power_w=np.concatenate((np.full(len(before), base_w), power_w)),
        duration_s=warm_up_s + lasts_s,
        warm_up_s=warm_up_s,
        base_w=base_w,
        regulation_w=capacity_w,
    )


def five_minute(seed: int, full_w: float, warm_up_s: float, hours: float) -> Orders:
    """A base point every five minutes between 35 and 100 % of `full_w`: small steps mostly, a quarter of them large."""
    rng = np.random.default_rng(seed)
    count = round(hours * 3600.0 / DISPATCH_EVERY_S)
    share, shares = 0.7, []
    for _ in range(count):
        shares.append(share)
        reach = LARGE if rng.random() < LARGE_SHARE else SMALL
        step = float(rng.uniform(0.02, reach)) * float(rng.choice([-1.0, 1.0]))
        # A step over the edge goes the other way: the profile does not stick to its bounds.
        share += step if LOWEST <= share + step <= HIGHEST else -step
        share = min(max(share, LOWEST), HIGHEST)
    power_w = full_w * np.array(shares)
    at_s = warm_up_s + DISPATCH_EVERY_S * np.arange(count)
    middle_w = full_w * (LOWEST + HIGHEST) / 2.0
    return Orders(
        name="five_minute",
        at_s=np.concatenate(([0.0], at_s)),
        power_w=np.concatenate((power_w[:1], power_w)),
        duration_s=warm_up_s + hours * 3600.0,
        warm_up_s=warm_up_s,
        base_w=middle_w,
        regulation_w=full_w * (HIGHEST - LOWEST) / 2.0,
    )
