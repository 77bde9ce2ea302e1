"""Is the grid's frequency low? One reading proves nothing: a fault's phase jump spoils it, and it cannot be told apart.

Two in a row do. Watch (core/urgency) sees every reading and starts cycles once a second one is low; the arbiter counts
what the cycles saw.
"""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.metering import Quality, Sample
from controller.domain.policy import Policy

APART_MIN_S = 0.2  # a fault is cleared within it, and two readings of one moment are one
APART_MAX_S = 3.0  # a phase jump of now has nothing to do with one of then
BAND_RATIO = 0.001  # so far above its guard, 0.05 Hz, a frequency is no longer low
_CLOCK_S = 1e-6


@dataclass(frozen=True, slots=True)
class Low:
    """Readings in a row below the guard: when the first and the last were taken, and whether they count."""

    first_at: float
    last_at: float
    counts: bool


def apart_max_s(policy: Policy) -> float:
    """Readings further apart are not in a row; whoever polls slowly says so by how long a reading holds."""
    return max(APART_MAX_S, policy.inputs.hold_after_s)


def follow(low: Low | None, sample: Sample | None, policy: Policy) -> Low | None:
    """What is known after one more look at the newest reading; None: the frequency is not low.

    A reading nobody can read, or that no grid has, is none.
    """
    if sample is None or sample.value is None or sample.quality is not Quality.GOOD:
        return low
    if sample.value < policy.frequency_min_hz or (low is not None and sample.taken_at <= low.last_at):
        return low
    counts = low is not None and low.counts
    if sample.value >= policy.frequency_guard_hz * (1.0 + (BAND_RATIO if counts else 0.0)):
        return None
    at = sample.taken_at
    if low is None or not (counts or at - low.last_at <= apart_max_s(policy) + _CLOCK_S):
        return Low(at, at, counts=False)
    return Low(low.first_at, at, counts or at - low.first_at >= APART_MIN_S - _CLOCK_S)


def unconfirmed(low: Low | None, policy: Policy, now: float) -> bool:
    """Whether nothing followed a single low reading: then nobody knows what the frequency is."""
    return low is not None and not low.counts and now - low.last_at > apart_max_s(policy)
