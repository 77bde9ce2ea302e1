"""Setpoint x fleet -> who hashes, who sleeps, and at which rung.

Two layers. The quick one (core/trimming) closes the gap between the setpoint and what the site will draw once
everything in flight has arrived, and sleeps at once what trimming cannot take off. The slow one (core/commitment) wakes
the best and puts the worst to sleep so that the trimmers can reach the surplus of the near future.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from controller.core import estimator, limits, ramp_watch
from controller.core.commitment import commit
from controller.core.next_moves import trim_lags_s
from controller.core.roster import Goal, Roster, roster_of, wakeable, want_asleep
from controller.core.state import State
from controller.core.trimming import (
    Late,
    boots_beyond_trim_w,
    hold_to_ceiling,
    lower,
    raise_,
    shed,
)
from controller.domain.fleet import BoolArray, Condition, Fleet, IntArray, Verdict
from controller.domain.plan import WHYS, Allocation
from controller.domain.policy import FleetPolicy, Policy
from controller.domain.reasons import Unallocated, Why

WHY_CODE = {why: code for code, why in enumerate(WHYS)}


def allocate(facts: Fleet, state: State, policy: Policy, goal: Goal | None, now: float) -> Allocation:
    """Update what is wanted of every miner (in `state`, the cycle's private copy) and return the plan.

    Without a goal (no setpoint can be known yet) nothing changes.
    """
    roster = roster_of(facts, state, policy.fleet, now)
    relieved = limits.relieve(roster) if goal is not None else False
    state.falls_freely |= relieved
    if goal is not None and goal.shed:
        shed(roster, goal, policy.auxiliary_w)
    elif goal is not None and goal.empty:  # whatever the floor believes too much spares nobody
        want_asleep(roster, roster.on.nonzero()[0])
    elif goal is not None:
        hold_to_ceiling(roster)
        at_limit, trim_s = goal.wanted_w <= goal.power_w, estimator.trim_horizon_s(facts)  # not on a ramp below it
        fleet, look_s, late = policy.fleet, trim_s, Late()
        if fleet.trim and goal.may_raise and not goal.waived:  # trim stands in for boots; a limit looks further
            look_s = float(trim_lags_s(facts, state.fleet, up=True).min(initial=trim_s))
            late = Late.of(facts, state.fleet, now)
        early_w = estimator.boots_ahead_w(state, now, look_s) if at_limit else 0.0
        if goal.blind:  # no boot is taken for nearly through, and of late ones is thought before a trim is due
            early_w = max(early_w, 0.0) + estimator.catches_up_w(state, now, 2.0 * trim_s)
        elif goal.waived:  # a limit makes room for late ones before the meter shows them
            early_w += estimator.catches_up_w(state, now, look_s)
        gap_w = goal.power_w - roster.predicted_w() - early_w
        coming_w = boots_beyond_trim_w(roster, goal, -gap_w)
        gap_w += goal.ahead_w + estimator.boots_between_w(state.fleet, now, look_s, trim_s)
        up_w, down_w = fleet.deadband_up_w, fleet.deadband_down_w
        if goal.exact:
            up_w, down_w = min(up_w, fleet.deadband_order_w), min(down_w, fleet.deadband_order_w)
        if gap_w - late.of_ordered_w < -down_w or coming_w > 0.0:
            lower(roster, -gap_w, goal, not policy.fleet.trim, coming_w, late=late)
        elif policy.fleet.trim and goal.may_raise and not relieved:  # what they leave is still drawn for a while
            # A limit is not passed for a moment either; a wish may be, by what is still on its way down.
            room_w = gap_w - late.of_ordered_w + min(early_w, 0.0)
            room_w -= estimator.still_falling_w(facts, state.fleet, now) if goal.waived else 0.0
            if room_w > up_w:
                raise_(roster, room_w)
        if not goal.waived and math.isfinite(goal.limit_w):
            _keep_limit(roster, goal)
        if goal.may_raise:
            commit(roster, goal, ramp_watch.slowed(facts, state, policy))
    return _plan(roster, goal)


def _keep_limit(roster: Roster, goal: Goal) -> None:
    """A wish waits for dwell, the limit above it does not: boots that are not wanted any more may pass that too."""
    over_w = roster.predicted_w() - goal.limit_w
    if over_w > 0.0:  # boots that are nearly through bring no more than what is left of them
        look_s = estimator.trim_horizon_s(roster.facts)
        over_w += min(estimator.boots_ahead_w(roster.state, roster.now, look_s), 0.0)
    limit = replace(goal, power_w=goal.limit_w, wanted_w=goal.limit_w, waived=True, ahead_w=0.0, fall=None, rise=None)
    coming_w = boots_beyond_trim_w(roster, limit, over_w)
    if over_w > roster.policy.deadband_down_w or coming_w > 0.0:
        lower(roster, over_w, limit, not roster.policy.trim, coming_w)


def available_w(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> tuple[float, float]:
    """Watts the site could add and could shed from where it will be soon: (up, down), both >= 0."""
    roster = roster_of(facts, state, policy, now)
    may_wake = wakeable(roster)
    up = float((roster.ceiling_w - roster.soon_w)[roster.on].clip(min=0.0).sum()) + float(
        (roster.ceiling_w - facts.sleep_power_w)[may_wake].sum()
    )
    down = float((roster.soon_w - facts.sleep_power_w)[roster.on].clip(min=0.0).sum())
    return up, down


def _plan(roster: Roster, goal: Goal | None) -> Allocation:
    """The plan as everybody sees it; allocated and unallocated always add up to the setpoint."""
    fleet = roster.state.fleet
    planned = estimator.planned_power_w(roster.facts, fleet, fleet.want_hashing, fleet.want_level)
    obeys = (fleet.verdict != Verdict.STUCK) & (fleet.want_hashing | ~fleet.caught)
    counted = np.where(roster.movable & obeys, planned, fleet.to_w)
    allocated = roster.offset_w + float(counted.sum())
    setpoint = goal.power_w if goal is not None else allocated
    unallocated = setpoint - allocated
    return Allocation(
        hashing=fleet.want_hashing.copy(),
        level=fleet.want_level.copy(),
        why=_reasons(roster),
        allocated_w=allocated,
        unallocated_w=unallocated,
        unallocated_reason=_unallocated_reason(roster, goal, unallocated),
        held_by={row: int(roster.held_by_limit[row]) for row in (roster.held_by_limit >= 0).nonzero()[0].tolist()},
    )


def _reasons(roster: Roster) -> IntArray:
    """Reason codes (n,), the most specific last."""
    fleet = roster.state.fleet
    asleep = ~fleet.want_hashing
    cases: list[tuple[BoolArray, Why]] = [
        (fleet.want_hashing, Why.BASE),
        (fleet.want_hashing & (fleet.want_level < fleet.ceiling), Why.TRIMMED),
        (fleet.want_hashing & (fleet.verb == estimator.WAKE), Why.WAKING),
        (asleep, Why.SURPLUS_SHORT),
        (fleet.want_hashing & roster.held_by_dwell, Why.DWELL_ON),
        (asleep & roster.held_by_dwell, Why.DWELL_OFF),
        (roster.held_by_limit >= 0, Why.FEEDER_LIMIT),
        (roster.held_by_budget, Why.BUDGET_USED),
        (asleep & roster.held_by_wave, Why.WAVE),
        (fleet.want_hashing & roster.held_untrimmed, Why.TRIMS_LOST),
        (asleep & (fleet.condition == Condition.ASLEEP) & ~fleet.ours_asleep, Why.FOREIGN_SLEEPER),
        (fleet.parked, Why.OBSERVED),
        (fleet.condition == Condition.UNREACHABLE, Why.UNREACHABLE),
        (fleet.verdict == Verdict.UNSEEN, Why.UNSEEN),
        (fleet.verdict == Verdict.QUARANTINED, Why.QUARANTINED),
        (fleet.condition == Condition.CONTRADICTS, Why.CONTRADICTS),
    ]
    codes = np.zeros(len(roster.facts), dtype=np.int64)
    for where, why in cases:
        codes[where] = WHY_CODE[why]
    return codes


def _unallocated_reason(roster: Roster, goal: Goal | None, unallocated_w: float) -> Unallocated:
    fleet, deadband_w = roster.state.fleet, max(roster.policy.deadband_up_w, roster.policy.deadband_down_w)
    if abs(unallocated_w) <= deadband_w:
        return Unallocated.NONE if unallocated_w == 0.0 else Unallocated.STEP_SIZE
    if goal is not None and not goal.shed and not bool((roster.held_by_dwell & fleet.want_hashing).any()):
        booting = fleet.want_hashing & (fleet.verb == estimator.WAKE)
        coming_w = float((fleet.to_w - fleet.from_w)[booting].sum())
        above_w, below_w = max(goal.ahead_w, 0.0) + coming_w, max(-goal.ahead_w, 0.0)
        if not goal.waived:  # trim stands in for sleepers as it does for boots
            falling = roster.movable & ~fleet.want_hashing
            from_w = np.maximum(fleet.from_w, fleet.to_w) - roster.facts.sleep_power_w
            below_w += float(from_w[falling].clip(min=0.0).sum())
        if -above_w - deadband_w <= unallocated_w <= below_w + deadband_w:
            return Unallocated.AHEAD
    if unallocated_w < 0.0:
        return Unallocated.DWELL if bool(roster.held_by_dwell.any()) else Unallocated.FLOOR
    if bool((roster.on & (roster.state.fleet.verb == estimator.WAKE)).any()):
        return Unallocated.BOOTING
    if bool((roster.held_by_limit >= 0).any()):
        return Unallocated.FEEDER_LIMIT
    if bool(roster.held_by_wave.any()):
        return Unallocated.WAVE
    if bool((roster.held_by_budget & ~roster.state.fleet.want_hashing).any()):
        return Unallocated.BUDGET_USED
    if bool((roster.held_by_dwell & ~roster.state.fleet.want_hashing).any()):
        return Unallocated.DWELL
    return Unallocated.NO_MINERS_LEFT
