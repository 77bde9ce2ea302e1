"""PJM's performance score of a regulation signal, and the interval score of a base-point programme beside it.

PJM Manual 12: the signal `s` and the response `r` are averaged to 10 s. At each step the best shift of the response
within 5 minutes is the one with the highest sum of accuracy (correlation over the 5 minutes that follow) and delay
(full marks up to one step, then falling to nothing at 5 minutes). Precision is the distance between the two over the
mean of the hour's signal. The score of an hour is the mean of the three; of a run, the mean of its hours.

Where the signal stands still - its standard deviation over a window is below 1 % of the capacity - a correlation means
nothing, and accuracy is 1 less the difference of the two slopes, in capacities per window. Precision is taken at shift
0 or at 1, whichever is better over the hour: always at 1, as in the manual, an answer without delay would lose by it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.domain.fleet import FloatArray

STEP_S = 10.0
WINDOW = 30  # steps: 5 minutes
HOUR = 360  # steps
STILL = 0.01  # of the capacity
INTERVAL_S = 300.0
PRECISION_SHIFTS = (0, 1)


@dataclass(frozen=True, slots=True)
class Score:
    """Each within 0..1; `composite` is the mean of the three."""

    accuracy: float
    delay: float
    precision: float

    @property
    def composite(self) -> float:
        return (self.accuracy + self.delay + self.precision) / 3.0


@dataclass(frozen=True, slots=True)
class Hours:
    """The score of a run, that of each of its hours, and of each step (accuracy, delay, precision), (steps, 3)."""

    whole: Score
    hours: tuple[Score, ...]
    steps: FloatArray


def ten_second_means(power_w: FloatArray, sample_s: float) -> FloatArray:
    """Samples of equal length averaged to 10 s; what does not fill the last ten seconds is left out."""
    each = round(STEP_S / sample_s)
    whole = len(power_w) // each * each
    means: FloatArray = power_w[:whole].reshape(-1, each).mean(axis=1)
    return means


def score(
    signal_w: FloatArray, response_w: FloatArray, capacity_w: float, shifts: tuple[int, ...] = PRECISION_SHIFTS
) -> Hours:
    """Score 10 s means of one length, both relative to the base point.

    The last ten minutes have no whole window after them and are counted in the precision only. Raises ValueError for
    less than eleven minutes.
    """
    count = len(signal_w)
    if len(response_w) != count or count < 2 * WINDOW + 2:
        raise ValueError(f"a signal of {count} and a response of {len(response_w)} steps; two of 62 or more are needed")
    accuracy, delay = _tracking(signal_w, response_w, capacity_w)
    hours, steps = [], np.full((count, 3), np.nan)
    steps[: len(accuracy), 0], steps[: len(delay), 1] = accuracy, delay
    for begin in range(0, max(count - count % HOUR, HOUR), HOUR):
        span = slice(begin, min(begin + HOUR, count) if begin + 2 * HOUR <= count else count)
        asked = signal_w[span]
        mean_w = max(float(np.abs(asked).mean()), 1e-9)
        found = [_precision(asked, response_w[span], shift, mean_w) for shift in shifts]
        precision = max(found, key=lambda each: float(each.mean()))
        steps[span.start : span.start + len(precision), 2] = precision
        tracked = slice(span.start, min(span.stop, len(accuracy)))
        if tracked.stop > tracked.start:
            a, d = float(accuracy[tracked].mean()), float(delay[tracked].mean())
            hours.append(Score(a, d, float(precision.mean())))
    whole = np.array([(one.accuracy, one.delay, one.precision) for one in hours]).mean(axis=0)
    return Hours(Score(*(float(one) for one in whole)), tuple(hours), steps)


def _tracking(signal_w: FloatArray, response_w: FloatArray, capacity_w: float) -> tuple[FloatArray, FloatArray]:
    """Accuracy and delay at the best shift, for every step with two windows after it."""
    asked = sliding_window_view(signal_w, WINDOW + 1)
    given = sliding_window_view(response_w, WINDOW + 1)
    count = len(signal_w) - 2 * WINDOW
    shifts = np.arange(WINDOW + 1)
    accuracy = np.stack([_alike(asked[:count], given[k : k + count], capacity_w) for k in shifts], axis=1)
    delay = np.abs((np.maximum(shifts - 1, 0) - WINDOW) / WINDOW)
    best = np.argmax(accuracy + delay, axis=1)
    rows = np.arange(count)
    return np.clip(accuracy[rows, best], 0.0, 1.0), delay[best]


def _alike(asked: FloatArray, given: FloatArray, capacity_w: float) -> FloatArray:
    """Correlation of each pair of windows, or the slope rule where the signal stands still."""
    a = asked - asked.mean(axis=1, keepdims=True)
    b = given - given.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    correlation = np.divide((a * b).sum(axis=1), spread, out=np.zeros(len(a)), where=spread > 1e-9)
    time = np.arange(WINDOW + 1) - WINDOW / 2.0
    rise = ((b - a) * time).sum(axis=1) / (time * time).sum() * WINDOW
    still = asked.std(axis=1) < STILL * capacity_w
    found: FloatArray = np.where(still, 1.0 - np.abs(rise) / capacity_w, correlation)
    return found


def _precision(asked: FloatArray, given: FloatArray, shift: int, mean_w: float) -> FloatArray:
    off = np.abs(given[shift:] - asked[: len(asked) - shift])
    found: FloatArray = np.clip(1.0 - off / mean_w, 0.0, 1.0)
    return found


def interval_score(power_w: FloatArray, target_w: FloatArray, sample_s: float, rated_w: float) -> tuple[float, float]:
    """Share of 5-minute intervals whose mean is within the larger of 2 % of rated and 15 % of it, and the mean
    deviation as a share of rated.

    Programmes write 2 MW instead of 2 % of rated; on a site of 10 MW that would be met by standing still.
    """
    each = round(INTERVAL_S / sample_s)
    whole = len(power_w) // each * each
    off = np.abs((power_w[:whole] - target_w[:whole]).reshape(-1, each).mean(axis=1))
    return float((off <= 0.15 * rated_w).mean()), float(off.mean()) / rated_w
