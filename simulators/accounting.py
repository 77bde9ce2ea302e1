"""What a run was worth, computed from true power only - never from what a controller believes.

All series are sampled: `t_s` rises, and sample i holds from t[i] until t[i+1] (the last one holds for no time).
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]

HORIZON_LIMIT_S = 15.0
JOULES_PER_KWH = 3.6e6


@dataclass(frozen=True, slots=True)
class Moves:
    """How often the load really went up and down."""

    up: int
    down: int


@dataclass(frozen=True, slots=True)
class Violation:
    """Time and energy above the cap: sum of all runs, longest run, energy above the limit."""

    total_s: float
    longest_s: float
    excess_kwh: float


@dataclass(frozen=True, slots=True)
class Percentiles:
    """Distribution of `count` values, in their own unit."""

    p50: float
    p95: float
    p99: float
    max: float
    count: int


@dataclass(frozen=True, slots=True)
class SignalLatency:
    """Delays from a changed register to the first command byte. `unanswered` changes brought no command in time."""

    latency_ms: Percentiles | None
    unanswered: int


def holding_times_s(t_s: FloatArray) -> FloatArray:
    """Return how long each sample holds, shape (n,); the last is 0.

    Raises:
        ValueError: when time does not rise.
    """
    gaps: FloatArray = np.diff(t_s)
    if np.any(gaps <= 0):
        raise ValueError("time must rise from sample to sample")
    return np.append(gaps, 0.0)


def energy_kwh(t_s: FloatArray, power_w: FloatArray) -> float:
    """Return the energy of a sampled power, kWh; both arrays have shape (n,)."""
    return float(np.dot(power_w, holding_times_s(t_s))) / JOULES_PER_KWH


def count_moves(power_w: FloatArray, threshold_w: float) -> Moves:
    """Count monotone moves of at least `threshold_w`, with hysteresis.

    A move begins at a turning point and counts once, when the power has gone `threshold_w` away from it; smaller
    wiggles on the way do not end it. Two moves in the same direction always have one in the other between them.

    Raises:
        ValueError: when the threshold is not above zero.
    """
    if threshold_w <= 0:
        raise ValueError(f"threshold {threshold_w} W must be above 0")
    up = down = direction = 0
    if len(power_w) == 0:
        return Moves(0, 0)
    high = low = float(power_w[0])
    for value in map(float, power_w):
        high, low = max(high, value), min(low, value)
        if direction <= 0 and value - low >= threshold_w:
            up, direction, high = up + 1, 1, value
        elif direction >= 0 and high - value >= threshold_w:
            down, direction, low = down + 1, -1, value
    return Moves(up, down)


def trailing_max(t_s: FloatArray, values: FloatArray, window_s: float) -> FloatArray:
    """Return, for each sample, the largest value that held at any time within the last `window_s` seconds.

    A value that stopped holding exactly `window_s` ago no longer counts; with window 0 the result is `values`.
    """
    result = np.empty_like(values)
    candidates: deque[int] = deque()
    for i in range(len(values)):
        while candidates and values[candidates[-1]] <= values[i]:
            candidates.pop()
        candidates.append(i)
        # Sample k holds until t[k + 1]; it has left the window once that lies window_s or more in the past.
        while candidates[0] < i and t_s[candidates[0] + 1] <= t_s[i] - window_s:
            candidates.popleft()
        result[i] = values[candidates[0]]
    return result


def violation_horizon_s(
    meter_period_s: float, cycle_s: float, dead_time_s: float, down_90_s: float, limit_s: float = HORIZON_LIMIT_S
) -> float:
    """Return H: how long after a fall of the cap the load may still physically be above it, at most `limit_s`.

    Args:
        meter_period_s: how old a reading may be.
        cycle_s: how long a decision may wait.
        dead_time_s, down_90_s: of the slowest class of miners that was committed: delay of a sleep command, and time
            to 90 % of its fall.
        limit_s: what the rule allows at most.
    """
    return min(limit_s, meter_period_s + cycle_s + dead_time_s + down_90_s)


def violation(
    t_s: FloatArray,
    power_w: FloatArray,
    cap_w: FloatArray,
    rated_w: float,
    horizon_s: float,
    tolerance_fraction: float = 0.01,
) -> Violation:
    """Find when the load was above max(cap over the last `horizon_s`) + tolerance x rated.

    Args:
        t_s, power_w, cap_w: shape (n,): time, true site load, true cap.
        rated_w: rated power of the fleet.
        horizon_s: 0 for the raw figure, `violation_horizon_s` for the net one.
        tolerance_fraction: share of rated power that is no violation yet.
    """
    limit_w = trailing_max(t_s, cap_w, horizon_s) + tolerance_fraction * rated_w
    hold_s = holding_times_s(t_s)
    excess_w = np.maximum(power_w - limit_w, 0.0)
    above = excess_w > 0
    longest_s = run_s = 0.0
    for is_above, seconds in zip(above, hold_s, strict=True):
        run_s = run_s + float(seconds) if is_above else 0.0
        longest_s = max(longest_s, run_s)
    return Violation(
        total_s=float(hold_s[above].sum()),
        longest_s=longest_s,
        excess_kwh=float(np.dot(excess_w, hold_s)) / JOULES_PER_KWH,
    )


def percentiles(values: Iterable[float]) -> Percentiles | None:
    """Return the distribution of the values; None when there are none, for nothing measured is not zero."""
    data = np.fromiter(values, dtype=np.float64)
    if data.size == 0:
        return None
    p50, p95, p99 = (float(p) for p in np.percentile(data, (50, 95, 99)))
    return Percentiles(p50, p95, p99, float(data.max()), int(data.size))
