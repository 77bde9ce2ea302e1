"""The slow layer: which units hash at all, so that the quick one can reach the surplus of the near future."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from controller.core import estimator, ramp, waves
from controller.core.drawn import STEP_WINDOW_S
from controller.core.fleet_state import NO_COMMAND
from controller.core.roster import (
    Goal,
    Roster,
    boot_levels,
    fewest_first,
    hashed_long,
    limit_room_w,
    sleeping_ours,
    slept_long,
    tightest,
    wakeable,
    want_asleep,
    want_awake,
)
from controller.core.together import Together
from controller.core.trimming import raise_
from controller.domain.fleet import BoolArray, FloatArray, IntArray
from controller.domain.policy import FleetPolicy, RampPolicy

WAKE_AHEAD = 0.25
"""Of the time a boot takes to its 90 %: units are woken for where the setpoint may be so much later than half of it is
there. Then the second half is still missing, and where boots are the last of a rise all waits for them; others are
trimmed for what is early. A quick boot has no such tail, and nothing is won by what comes before it is wanted."""
MISSED_SHARE = 0.15
"""Of what the ramp lets the load fall in 15 s: so much may be missing on a way down for the sake of who is let go."""


def commit(roster: Roster, goal: Goal, pace: RampPolicy) -> None:
    """Have enough units hashing for the lead and a reserve, and not many more than lately needed.

    Who boots cannot be trimmed, so what comes up within 15 s must fit under that ramp, with what others can take off.
    """
    state, policy = roster.state, roster.policy
    lead_w = goal.lead_w(float(np.max(roster.facts.boot_s, initial=0.0)))
    memory = min(max(roster.now - state.now, 0.0) / max(policy.margin_memory_s, 1e-9), 1.0)
    state.cap_peak_w = max(lead_w, state.cap_peak_w + (lead_w - state.cap_peak_w) * memory)
    # On the way up, after a shed or a night, nobody asks for less than where it goes.
    trough_w = min(state.cap_trough_w, max(goal.power_w, goal.wanted_w))
    state.cap_trough_w = trough_w + (goal.power_w - trough_w) * memory
    woken = _wake(roster, goal, pace)
    reach_w = roster.offset_w + float(np.where(roster.on, roster.ceiling_w, roster.soon_w).sum())
    missed = sleeping_ours(roster)
    if reach_w >= lead_w:  # nobody is, but a better one that sleeps on while a worse one wakes
        worst = float(roster.facts.joule_per_th[woken[-1]]) if woken else -np.inf
        missed &= roster.facts.joule_per_th < worst
    roster.held_by_dwell |= missed & ~slept_long(roster)
    roster.held_by_budget |= missed & ~(roster.switchable & roster.startable)
    reserve_w = policy.trim_reserve_ratio * lead_w if policy.trim else 0.0
    # Who boots can replace nobody yet: a slow one may need a minute in which the one let go is missing.
    up_w = roster.offset_w + float(np.where(roster.steady, roster.ceiling_w, roster.soon_w).sum())
    spare_w = max(policy.deadband_up_w, MISSED_SHARE * pace.down_w_per_15s)
    _let_go(roster, goal, up_w, state.cap_peak_w + 2.0 * reserve_w, spare_w)


@dataclass(slots=True)
class _Horizon:
    """What the site can do at the moment at which units of one boot time would be up if they were woken now, watts.

    lead_w: where the setpoint may be a little later. reach_w, low_w: the most and the least that those who are up by
    then draw, whoever comes later still asleep. booting_w: what comes up within 15 s of that moment.
    """

    boot_s: float
    lead_w: float
    reach_w: float
    low_w: float
    booting_w: float
    closed: bool = False


def _wake(roster: Roster, goal: Goal, pace: RampPolicy) -> list[int]:
    """Wake the best of those that are due; returns them.

    Each is asked for where the setpoint may be when *it* has booted: quick and slow starters stand side by side, and a
    slow one is woken for what the better, quicker ones will not cover, though their time has not come yet.
    """
    facts, policy = roster.facts, roster.policy
    candidates = fewest_first(roster, roster.best_first[wakeable(roster)[roster.best_first]])
    if not len(candidates):
        return []
    if not goal.waived:  # range to follow a signal with comes before blocks of load
        trims = facts.trims[candidates]
        candidates = np.concatenate((candidates[trims], candidates[~trims]))
    rows = np.arange(len(facts))
    boot_w = facts.level_power_w[rows, boot_levels(roster)] * roster.state.fleet.ratio
    # Booting units cannot be trimmed yet, some never: the lowest they will draw at first is the rung they come up at.
    top_w = np.maximum(roster.ceiling_w, boot_w)
    lowest_w = np.where(roster.trimmable, roster.floor_w, boot_w) if policy.trim else top_w
    gain_w = (roster.ceiling_w - facts.sleep_power_w)[candidates]
    needed_w = (top_w - facts.sleep_power_w)[candidates]
    boot_s, first, kind = np.unique(facts.boot_s[candidates], return_index=True, return_inverse=True)
    ahead_s = WAKE_AHEAD * facts.wake_90_s[candidates][first] * policy.trim
    horizons = [
        _look_ahead(roster, goal, pace, lowest_w, *seconds)
        for seconds in zip(boot_s.tolist(), ahead_s.tolist(), strict=True)
    ]
    together = Together.of(roster, pace, boot_s)
    room_w = limit_room_w(roster, untrimmed=roster.policy.trim)
    ways = facts.limits.of_miner[candidates]
    fits = room_w[ways].min(axis=1) >= needed_w
    wave = waves.room(facts, roster.state, policy, roster.now)
    may_start = wave.open_to()[candidates]
    reserved_w = np.where(fits & may_start, gain_w, 0.0)
    needed = _due(horizons, kind, reserved_w, gain_w, policy, 0.0)
    due = needed | _due(horizons, kind, reserved_w, gain_w, policy, policy.trim_reserve_ratio)
    full = due & ~fits
    roster.held_by_limit[candidates[full]] = ways[full, room_w[ways[full]].argmin(axis=1)]
    roster.held_by_wave[candidates[due & fits & ~may_start]] = True

    until_then_w, early_w = _before_the_rise(roster, goal, lowest_w, boot_w)
    low_in_the_end_w = roster.offset_w + float(np.where(roster.on, lowest_w, roster.soon_w).sum())
    lead_in_the_end_w = goal.lead_w(float(facts.boot_s.max()))
    budget = policy.wakes_per_cycle_max
    woken: list[int] = []
    asked = (due & fits & may_start).nonzero()[0]
    miners = candidates[asked]
    each = (needed, kind, needed_w)
    of_each = (lowest_w - facts.sleep_power_w, boot_w - facts.sleep_power_w, early_w)
    # As plain numbers: of thousands that are due most are looked at in vain, one by one.
    columns = [miners.tolist()] + [one[asked].tolist() for one in each] + [one[miners].tolist() for one in of_each]
    for miner, must, when, room_needed_w, added_w, boots_w, soon_w in zip(*columns, strict=True):
        at = horizons[when]
        if budget == 0 or all(horizon.closed for horizon in horizons):
            break
        too_low = at.low_w + added_w > at.lead_w or low_in_the_end_w + added_w > lead_in_the_end_w
        crowded = 0.0 < at.booting_w > pace.up_w_per_15s - boots_w
        at.closed |= too_low or not together.fits(miner, boots_w, crowded)
        # A wish waits for dwell: range kept free upward must not cost the range downward that was lately asked for.
        beyond_trim = low_in_the_end_w + added_w > roster.state.cap_trough_w
        spare = not must and beyond_trim
        if at.closed or spare or soon_w > until_then_w:
            continue
        limit, left_w = tightest(roster, room_w, miner)
        if left_w < room_needed_w:
            roster.held_by_limit[miner] = limit
            continue
        if not wave.take(miner):
            roster.held_by_wave[miner] = True
            continue
        want_awake(roster, miner)
        together.take(miner, boots_w)
        woken.append(miner)
        budget -= 1
        until_then_w -= soon_w
        room_w[facts.limits.of_miner[miner]] -= room_needed_w
        low_in_the_end_w += added_w
        for horizon in horizons:
            horizon.low_w += added_w if horizon.boot_s >= at.boot_s else 0.0
            horizon.booting_w += boots_w if abs(horizon.boot_s - at.boot_s) < STEP_WINDOW_S else 0.0
    return woken


def _before_the_rise(roster: Roster, goal: Goal, lowest_w: FloatArray, boot_w: FloatArray) -> tuple[float, FloatArray]:
    """What boots may bring before a rise that waits, while what binds now still does: watts there is room for, and what
    each would draw by then if it were woken now and boots as quickly as the quick ones do, (n,).

    By then and a trim's time: so far the quick layer looks ahead, and would put others to sleep for them.
    """
    facts, fleet, rise = roster.facts, roster.state.fleet, goal.rise
    if rise is None or not rise.waits:
        return np.inf, np.zeros(len(facts))
    booting = ((fleet.verb == estimator.WAKE) & fleet.want_hashing).nonzero()[0]
    low_w = np.where(roster.on, lowest_w, roster.soon_w)
    until_s = rise.in_s + estimator.trim_horizon_s(facts)
    low_w[booting] = estimator.booted_early_w(fleet, booting, roster.now + until_s)
    limit_w = min(goal.wanted_w, goal.power_w + goal.up_w_per_s * rise.in_s)
    running_s = np.maximum(until_s - estimator.HASTY * facts.wake_dead_s, 0.0)
    share = np.minimum(0.9 * running_s / (estimator.HASTY * facts.wake_90_s), 1.0)
    return limit_w - roster.offset_w - float(low_w.sum()), share * (boot_w - facts.sleep_power_w)


def _look_ahead(
    roster: Roster, goal: Goal, pace: RampPolicy, lowest_w: FloatArray, boot_s: float, ahead_s: float
) -> _Horizon:
    """The site as it will be `boot_s` seconds from now, led by where the setpoint may be `ahead_s` later."""
    fleet = roster.state.fleet
    booting = (fleet.verb == estimator.WAKE) & fleet.want_hashing
    up_in_s = fleet.sent_at + roster.facts.boot_s - roster.now
    up = roster.on & ~(booting & (up_in_s > boot_s))
    elsewhere_w = roster.offset_w + float(roster.soon_w[~roster.on].sum()) + float(fleet.from_w[roster.on & ~up].sum())
    beside = booting & (np.abs(up_in_s - boot_s) < STEP_WINDOW_S)
    # While others boot the setpoint leads the load, and will wait for it.
    at_s = boot_s + ahead_s
    rises_to_w = ramp.rises_to_w(roster.state, pace, at_s, roster.now) if bool(booting.any()) else math.inf
    return _Horizon(
        boot_s=boot_s,
        lead_w=min(goal.lead_w(at_s), rises_to_w),
        reach_w=elsewhere_w + float(roster.ceiling_w[up].sum()),
        low_w=elsewhere_w + float(lowest_w[up].sum()),
        booting_w=float((fleet.to_w - roster.facts.sleep_power_w)[beside].sum()),
    )


def _due(
    horizons: list[_Horizon],
    kind: IntArray,
    reserved_w: FloatArray,
    gain_w: FloatArray,
    policy: FleetPolicy,
    reserve_ratio: float,
) -> BoolArray:
    """(candidates,) for whom there is room at their own horizon, after every better one that can be up by then."""
    due = np.zeros(len(kind), dtype=np.bool_)
    slack_w = 0.5 * gain_w if policy.trim else gain_w
    reserve_ratio = reserve_ratio if policy.trim else 0.0
    for number, horizon in enumerate(horizons):  # boot times rise with the number
        quicker_w = np.where(kind <= number, reserved_w, 0.0)
        reach_w = horizon.reach_w + np.cumsum(quicker_w) - quicker_w
        wanted_w = (1.0 + reserve_ratio) * horizon.lead_w
        due |= (kind == number) & (reach_w + slack_w <= wanted_w)
    return due


def _let_go(roster: Roster, goal: Goal, up_w: float, enough_w: float, spare_w: float) -> None:
    """Put the worst unit to sleep when the peaks of late would be met without it; one a cycle, for it can wait.

    On a way down one a cycle may be quicker than the ramp: nobody goes then who would leave the load more than
    `spare_w` below its line. Against a surplus others take over what those before it left, from a quarter of the
    deadband on: what is let go one by one, and taken up in one at the whole of it, is a limit cycle.
    """
    calm = roster.steady & (roster.state.fleet.verb == NO_COMMAND)
    free = calm & roster.switchable & roster.startable & hashed_long(roster)
    if not roster.policy.trim or not bool(free.any()):
        return
    worst_first = roster.best_first[::-1]
    worst = int(fewest_first(roster, worst_first[free[worst_first]])[0])
    line_w = goal.power_w + goal.ahead_w if goal.wanted_w < goal.power_w else -math.inf
    freed_w = float(roster.soon_w[worst] - roster.facts.sleep_power_w[worst])
    if up_w - 2.0 * float(roster.ceiling_w[worst]) <= enough_w or roster.predicted_w() - freed_w < line_w - spare_w:
        return
    falling_w = estimator.still_falling_w(roster.facts, roster.state.fleet, roster.now)
    room_w = goal.power_w - roster.predicted_w() - falling_w - 0.25 * roster.policy.deadband_up_w
    want_asleep(roster, np.array([worst]))
    if not goal.exact and room_w > 0.0:
        raise_(roster, room_w)
