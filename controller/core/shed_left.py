"""What a shed has not taken off: who still draws though it should sleep, and the words for it."""

from __future__ import annotations

import math

import numpy as np

from controller.core import arbiter, estimator, figures
from controller.core.state import State
from controller.domain.fleet import Fleet, FloatArray
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import Policy
from controller.domain.reasons import Bound

SAID_AFTER_S = 30.0  # grid programmes count a shed as done when 99 % is off by then
NAMED_MAX = 10


def left_w(facts: Fleet, state: State, policy: Policy, now: float) -> FloatArray:
    """(n,) watts beyond sleep of who should be asleep, and of whom no order moves; nothing while nothing sheds.

    Who is on the way down counts as far as it has not come, who an order of limited power lets hash does not, and when
    that power is met nobody does, whoever draws it.
    """
    fleet = state.fleet
    if state.shed_by is None:
        return np.zeros(len(facts))
    expected_w = estimator.expected_power_w(fleet, now)
    if state.shed_by is Bound.EMERGENCY_DISPATCH:
        bounds = arbiter.order_bounds(state.orders.active)  # what was ordered, and not the floor it was raised to
        power_w = min((one.power_w for one in bounds if one.bound is state.shed_by), default=0.0)
        tolerance_w = arbiter.REACHED_TOLERANCE_RATIO * policy.rated_w
        if (state.offset_w or 0.0) + float(expected_w.sum()) <= power_w + tolerance_w:
            return np.zeros(len(facts))
    wanted = ~fleet.want_hashing | figures.beyond_orders(fleet)
    beyond_w = expected_w - facts.sleep_power_w
    return np.where(wanted & (beyond_w > policy.fleet.tolerance_w), beyond_w, 0.0)


def events(facts: Fleet, before: State, state: State, policy: Policy, now: float) -> list[Event]:
    """Says once for each shed what it left, when all who obey had the time and who did not was asked otherwise."""
    if state.shed_by is None:
        state.shed_said_at = math.inf
        return []
    if before.shed_by is None:
        state.shed_since, state.shed_said_at = now, now + SAID_AFTER_S
    if now < state.shed_said_at:
        return []
    state.shed_said_at = math.inf
    watts = left_w(facts, state, policy, now)
    if not bool(watts.any()):
        return []
    parts = []
    for name, where in figures.by_state(state).items():
        rows = (where & (watts > 0.0)).nonzero()[0]
        if len(rows):
            shown = ", ".join(f"{facts.miner_ids[row]} {watts[row]:.0f} W" for row in rows[:NAMED_MAX].tolist())
            more = f" and {len(rows) - NAMED_MAX} more" if len(rows) > NAMED_MAX else ""
            parts.append(f"{len(rows)} {name.replace('_', ' ')} ({shown}{more})")
    text = f"{watts.sum() / 1000:.1f} kW still drawn {SAID_AFTER_S:.0f} s after it began: {'; '.join(parts)}"
    return [Event("shed_incomplete", EventLevel.ERROR, text)]
