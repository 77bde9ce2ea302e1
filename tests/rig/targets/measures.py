"""What the targets ask of a true load, second by second.

Every function is about arrays of one value a second: the value with index k is that of second k + 1, the first second's
end. An order "of second `at_s`" is given when so many seconds are over, and the value before it has index `at_s` - 1.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.domain.fleet import BoolArray, FloatArray
from tests.rig.check_physics import strongest_line

MINUTE_S, INTERVAL_S = 60, 300
MOVED = 0.05  # of a step: the load has begun to follow


def moved_after_s(load_w: FloatArray, at_s: int, target_w: float) -> float:
    """T3: how long after the order of second `at_s` the load has moved by a twentieth of the step towards it."""
    before_w = float(load_w[at_s - 1])
    step_w = target_w - before_w
    moved: BoolArray = (load_w[at_s:] - before_w) * float(np.sign(step_w)) >= MOVED * abs(step_w)
    return _first(moved)


def settled_after_s(load_w: FloatArray, at_s: int, target_w: float, tolerance_w: float, stays_s: int) -> float:
    """T4: how long after the order the load is within the tolerance for so long on end, infinite when it never is."""
    inside = np.abs(load_w[at_s:] - target_w) <= tolerance_w
    if len(inside) < stays_s:
        return np.inf
    stays: BoolArray = np.min(sliding_window_view(inside, stays_s), axis=1)
    return _first(stays)


def interval_means(power_w: FloatArray) -> FloatArray:
    """Means of whole intervals of five minutes."""
    whole = len(power_w) // INTERVAL_S * INTERVAL_S
    means: FloatArray = power_w[:whole].reshape(-1, INTERVAL_S).mean(axis=1)
    return means


def rising_by(power_w: FloatArray, step_w: float) -> FloatArray:
    """Follow a limit: down at once, up by at most so much a second."""
    found, now_w = np.empty_like(power_w), float(power_w[0])
    for place, most_w in enumerate(power_w.tolist()):
        now_w = min(most_w, now_w + step_w)
        found[place] = now_w
    return found


def over_cap(load_w: FloatArray, cap_w: FloatArray, tolerance_w: float) -> tuple[float, float]:
    """T7: (energy above the cap over the cap's own, longest seconds on end more than the tolerance above it)."""
    excess_w = np.maximum(load_w - cap_w, 0.0)
    return float(excess_w.sum() / cap_w.sum()), _longest(excess_w > tolerance_w)


def restored_after_s(load_w: FloatArray, cap_w: FloatArray, at_s: int, tolerance_w: float) -> float:
    """T7: how long after generation was lost the load leaves the grid its despatch again, and goes on doing so for a
    minute."""
    within = load_w[at_s:] <= cap_w[at_s:] + tolerance_w
    stays: BoolArray = np.min(sliding_window_view(within, MINUTE_S), axis=1)
    return _first(stays)


def risen_in_a_minute(load_w: FloatArray, rated_w: float) -> float:
    """The largest rise from t to t + 60 s, share of rated."""
    return float((load_w[MINUTE_S:] - load_w[:-MINUTE_S]).max(initial=0.0)) / rated_w


def line(load_w: FloatArray, rated_w: float) -> float:
    """T9: amplitude of the strongest line of fixed period in a load at rest, share of rated."""
    return strongest_line(load_w, 1.0)[0] / rated_w


def _first(holds: BoolArray) -> float:
    """Seconds until it first holds."""
    return float(np.argmax(holds)) + 1.0 if holds.any() else np.inf


def _longest(holds: BoolArray) -> float:
    longest = run = 0
    for one in holds.tolist():
        run = run + 1 if one else 0
        longest = max(longest, run)
    return float(longest)
