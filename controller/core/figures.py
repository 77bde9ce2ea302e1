"""What one cycle shows of itself: the powers, and how many miners are in which state. Unknown is None, never zero."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from controller.core import allocator, estimator, witness
from controller.core.fleet_state import FleetState
from controller.core.roster import beside_w
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, GroupVerdict, IntArray, Verdict
from controller.domain.plan import FeederReport, Figures
from controller.domain.policy import Policy


def floor_w(facts: Fleet, state: State, policy: Policy) -> float:
    """What no command removes: auxiliaries, sleep watts, and all that miners draw who do not obey, answer or belong.

    Of what is only believed of miners never more than the site meter leaves room for: a belief that is wrong, of a
    feeder or of one miner, must not hold the site up.
    """
    fleet = state.fleet
    stubborn = beyond_orders(fleet) | fleet.caught
    known_w = np.where(fleet.unheard, fleet.from_w, fleet.to_w)
    draw_w = float(np.where(stubborn, np.maximum(known_w, facts.sleep_power_w), facts.sleep_power_w).sum())
    believed_w = policy.auxiliary_w + draw_w + float(state.groups.excess_w.sum())
    beside_w = policy.auxiliary_w if state.offset_w is None else state.offset_w
    everybody_asleep_w = policy.auxiliary_w + float(facts.sleep_power_w.sum())
    return min(believed_w, max(beside_w + draw_w, everybody_asleep_w))


def beyond_orders(fleet: FleetState) -> BoolArray:
    """(n,) whom no order moves: quarantined, out of reach, not read yet, another machine, or not ours."""
    beyond: BoolArray = (fleet.verdict == Verdict.QUARANTINED) | (fleet.condition == Condition.UNREACHABLE)
    beyond |= (fleet.verdict == Verdict.UNSEEN) | fleet.parked | (fleet.condition == Condition.CONTRADICTS)
    return beyond


def figures_of(
    facts: Fleet,
    state: State,
    policy: Policy,
    *,
    miners_w: FloatArray,
    surplus_w: float | None,
    cap_w: float | None,
    setpoint_w: float,
    measured_w: float | None,
    floor_w: float,
    now: float,
) -> Figures:
    """The cycle's powers, watts; before the first site-meter sample little is known. miners_w: (n,) expected now."""
    expected_w: float | None = None
    if state.offset_w is not None:
        expected_w = state.offset_w + float(miners_w.sum())
    seen = bool(np.isfinite(state.fleet.read_at).any())
    up_w, down_w = allocator.available_w(facts, state, policy.fleet, now) if seen else (None, None)
    return Figures(
        surplus_w=None if surplus_w is None else max(surplus_w, 0.0),
        cap_w=cap_w,
        target_w=None if expected_w is None else setpoint_w,
        expected_w=expected_w,
        measured_w=measured_w,
        residual_w=None if measured_w is None or expected_w is None else measured_w - expected_w,
        available_up_w=up_w,
        available_down_w=down_w,
        floor_w=floor_w,
        expected_error_w=None if expected_w is None else uncertainty_w(state.fleet.power_error_w),
    )


def uncertainty_w(error_w: FloatArray) -> float:
    """How far a sum of estimates may be off, watts: the root of the sum of squares.

    What miners of one model have in common is in the site meter's offset already (core/estimator); what is left is each
    one's own - its supply, its chips, its age - and evens out among many.
    """
    return math.sqrt(float(np.square(error_w).sum()))


def limits_w(facts: Fleet, state: State, expected_w: FloatArray) -> FloatArray:
    """What each limit carries, (k,) watts: what the miners below it are expected to draw, (n,), and what is beside."""
    unread_w = np.where(state.fleet.unheard, np.maximum(expected_w, state.fleet.from_w), expected_w)
    return (facts.limits.miners_w(unread_w) + beside_w(facts, state))[:-1]


def feeders(
    facts: Fleet, state: State, metered: Iterable[int], expected_w: FloatArray, now: float
) -> tuple[FeederReport, ...]:
    """The feeders that have a meter. expected_w: (n,) what the miners draw now."""
    shown = state.groups
    found = []
    for feeder in sorted(metered):
        rows = (facts.feeder == feeder).nonzero()[0]
        proved_at = float(shown.proved_at[feeder])
        unproved = witness.blind_sleepers(facts, state, rows) & ~state.fleet.sleep_proved[rows]
        found.append(
            FeederReport(
                feeder=feeder,
                load_w=_known(float(shown.load_w[feeder])),
                believed_w=float(expected_w[rows].sum()),
                rest_w=_known(float(shown.rest_w[feeder])),
                excess_w=float(shown.excess_w[feeder]),
                verdict=GroupVerdict(int(shown.verdict[feeder])).name.lower(),
                proved_age_s=now - proved_at if math.isfinite(proved_at) else None,
                unproved=int(unproved.sum()),
            )
        )
    return tuple(found)


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def counts(state: State) -> dict[str, int]:
    """How many miners are in which state."""
    codes, names = _state_codes(state)
    return dict(zip(names, np.bincount(codes, minlength=len(names)).tolist(), strict=False))


def by_state(state: State) -> dict[str, BoolArray]:
    """Which miners are in which state, (n,) each; every miner is in exactly one, the first that fits."""
    codes, names = _state_codes(state)
    return {name: codes == code for code, name in enumerate(names)}


def _state_codes(state: State) -> tuple[IntArray, tuple[str, ...]]:
    """The state of each miner, (n,), as a place among the names that come with it."""
    fleet = state.fleet
    states = (
        ("contradicts", fleet.condition == Condition.CONTRADICTS),
        ("quarantined", fleet.verdict == Verdict.QUARANTINED),
        ("parked", fleet.parked),
        ("unreachable", fleet.condition == Condition.UNREACHABLE),
        ("unknown", fleet.condition == Condition.UNKNOWN),
        ("waking", fleet.verb == estimator.WAKE),
        ("hashing", fleet.condition == Condition.HASHING),
        ("foreign_sleeper", ~fleet.ours_asleep & ~fleet.want_hashing),
        ("asleep", fleet.condition == Condition.ASLEEP),
    )
    codes = np.full(len(fleet.verdict), len(states), dtype=np.int64)  # none of them: no such condition
    for code in reversed(range(len(states))):
        codes[states[code][1]] = code
    return codes, tuple(name for name, _ in states)
