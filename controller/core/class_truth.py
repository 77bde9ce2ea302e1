"""What miners truly draw for a watt that their class says it draws: out of the site meter, and exported, not acted on.

Whenever the plan moves, the sums that classes say they draw move in proportions of their own, and the site meter moves
by what they truly draw, losses on the way included. A Kalman filter on these differences tells the classes apart as far
as they moved apart; what it cannot tell stays unsaid. Nothing is decided by it: the offset has the sum right at once,
whoever it belongs to. It is for people: a class that says 3 % too little is 3 % of its energy bill.
"""

from __future__ import annotations

import numpy as np

from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray
from controller.domain.metering import Sample
from controller.domain.policy import Policy

EVERY_S = 60.0
IN_FLIGHT_MOST = 0.1  # of what was moved: what is under way is known by the model only
LEAST_MOVE = 4.0  # times the meter's noise
KNOWN = 0.03  # standard deviation: what is known less sharply is not told
DRIFT_PER_S = 0.01**2 / 86_400.0  # variance: dust and fans change a class by a hundredth in a day
OUTLIER = 4.0  # standard deviations: somebody else moved


def learn(facts: Fleet, state: State, policy: Policy, sample: Sample | None) -> None:
    """Take a sample of the site meter, once a minute, while little is in flight. `sample` is good, or None."""
    if sample is None or sample.value is None or sample.taken_at < state.truth_at + EVERY_S:
        return
    fleet, kept = state.fleet, state.classes
    said_w = np.bincount(facts.kind, fleet.to_w, minlength=len(facts.class_names)).astype(np.float64)
    silent: BoolArray = fleet.condition == Condition.UNREACHABLE
    if not np.array_equal(silent, state.truth_silent) or bool(state.groups.excess_w.any()):
        state.truth_silent, state.truth_at = silent, -np.inf  # others speak than before: no difference across this
    moved_w = said_w - kept.said_w
    in_flight_w = float(np.abs(fleet.to_w - fleet.from_w)[fleet.verb != NO_COMMAND].sum())
    noise_w = max(policy.fleet.deadband_down_w, 1.0)
    elapsed_s = sample.taken_at - state.truth_at
    if np.isfinite(elapsed_s):
        far_w = float(np.abs(moved_w).sum())
        if far_w < LEAST_MOVE * noise_w or in_flight_w > IN_FLIGHT_MOST * far_w:
            return
        _update(kept.truth, kept.truth_var, moved_w, sample.value - state.truth_load_w, noise_w, elapsed_s)
    elif in_flight_w > noise_w:
        return
    kept.said_w, state.truth_load_w, state.truth_at = said_w, sample.value, sample.taken_at


def _update(
    truth: FloatArray, variance: FloatArray, moved_w: FloatArray, shown_w: float, noise_w: float, elapsed_s: float
) -> None:
    """One step of the filter in place: truth (c,), variance (c, c), moved_w (c,) as the classes say."""
    variance += np.eye(len(truth)) * DRIFT_PER_S * elapsed_s
    towards = variance @ moved_w
    spread_w2 = float(moved_w @ towards) + 2.0 * noise_w**2
    missed_w = shown_w - float(moved_w @ truth)
    if missed_w**2 > OUTLIER**2 * spread_w2:
        return
    gain = towards / spread_w2
    truth += gain * missed_w
    variance -= np.outer(gain, towards)


def told(state: State, kind: int) -> float | None:
    """True over reported watts of one class, None while it is not known to 3 %."""
    kept = state.classes
    known = float(kept.truth_var[kind, kind]) <= KNOWN**2
    return float(kept.truth[kind]) if known else None
