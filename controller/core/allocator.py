"""Setpoint x fleet -> who hashes, who sleeps, and at which rung.

Two layers. The quick one trims: it closes the gap between the setpoint and what the site will draw once everything in
flight has arrived. The slow one commits units: it wakes the best and puts the worst to sleep so that the trimmers can
reach the surplus of the near future, and it sleeps at once when trimming cannot get low enough.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.core import estimator
from controller.core.ramp import STEP_WINDOW_S
from controller.core.state import NO_COMMAND, VERB_CODES, State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verb, Verdict
from controller.domain.plan import WHYS, Allocation
from controller.domain.policy import FleetPolicy, Policy
from controller.domain.reasons import Unallocated, Why

WHY_CODE = {why: code for code, why in enumerate(WHYS)}
WAKE = VERB_CODES[Verb.WAKE]


@dataclass(frozen=True, slots=True)
class Goal:
    """What the allocator is asked for, watts at the site meter.

    power_w: the ramped setpoint. lead_w: where the setpoint may be when a unit woken now has booted.
    shed: sleep rather than trim, at once. waived: a limit is to be kept, so dwell decides only who goes first.
    may_raise: False in doubt, when nothing is woken or trimmed up. final_w: where the ramp ends that holds the setpoint
    back, above it or below it; None when none does.
    """

    power_w: float
    lead_w: float
    shed: bool
    waived: bool
    may_raise: bool = True
    final_w: float | None = None


@dataclass(slots=True)
class Desk:
    """The cycle's working view, all arrays (n,): who may be moved, what each will draw soon, the merit order."""

    facts: Fleet
    state: State
    policy: FleetPolicy
    now: float
    movable: BoolArray
    on: BoolArray
    trimmable: BoolArray
    soon_w: FloatArray
    floor_w: FloatArray
    ceiling_w: FloatArray
    best_first: IntArray
    held_by_dwell: BoolArray
    held_by_feeder: BoolArray

    @property
    def offset_w(self) -> float:
        return self.state.offset_w or 0.0

    def predicted_w(self) -> float:
        return self.offset_w + float(self.soon_w.sum())


def allocate(facts: Fleet, state: State, policy: Policy, goal: Goal | None, now: float) -> Allocation:
    """Update what is wanted of every miner (in `state`, the cycle's private copy) and return the plan.

    Without a goal (no setpoint can be known yet) nothing changes.
    """
    desk = _lay_out(facts, state, policy.fleet, now)
    if goal is not None and goal.shed:
        _shed(desk, goal, policy.auxiliary_w)
    elif goal is not None:
        gap_w = goal.power_w - desk.predicted_w()
        if goal.final_w is None or goal.final_w <= goal.power_w:  # at a limit, not on a ramp below it
            gap_w -= estimator.boots_ahead_w(state.fleet, now, _horizon_s(facts))
        if gap_w < -policy.fleet.deadband_down_w:
            _lower(desk, -gap_w, goal, sleep_first=not policy.fleet.trim)
        elif gap_w > policy.fleet.deadband_up_w and policy.fleet.trim and goal.may_raise:
            _raise(desk, gap_w)
        if goal.may_raise:
            _commit(desk, goal, policy.ramp.up_w_per_15s)
    return _plan(desk, goal)


def available_w(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> tuple[float, float]:
    """Watts the site could add and could shed from where it will be soon: (up, down), both >= 0."""
    desk = _lay_out(facts, state, policy, now)
    wakeable = _wakeable(desk)
    up = float((desk.ceiling_w - desk.soon_w)[desk.on].clip(min=0.0).sum()) + float(
        (desk.ceiling_w - facts.sleep_power_w)[wakeable].sum()
    )
    down = float((desk.soon_w - facts.sleep_power_w)[desk.on].clip(min=0.0).sum())
    return up, down


def _horizon_s(facts: Fleet) -> float:
    """Seconds until a trim ordered now has worked, for the slowest class."""
    return float(np.max(facts.trim_dead_s + facts.trim_90_s, initial=0.0))


def _lay_out(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> Desk:
    fleet = state.fleet
    seen = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
    heard = now - fleet.read_at <= policy.telemetry_stale_s
    trusted = (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN)
    foreign = (fleet.condition == Condition.ASLEEP) & ~fleet.ours_asleep & ~fleet.want_hashing
    movable = seen & heard & trusted & ~foreign & ~fleet.parked
    on = movable & fleet.want_hashing & (fleet.verdict != Verdict.STUCK)
    booting = fleet.verb == WAKE
    rows = np.arange(len(facts))
    return Desk(
        facts=facts,
        state=state,
        policy=policy,
        now=now,
        movable=movable,
        on=on,
        trimmable=on & ~booting & (fleet.condition == Condition.HASHING),
        soon_w=estimator.expected_soon_w(fleet, now, _horizon_s(facts)),
        floor_w=facts.level_power_w[:, 0] * fleet.ratio,
        ceiling_w=facts.level_power_w[rows, fleet.ceiling] * fleet.ratio,
        best_first=np.lexsort((rows, facts.joule_per_th)),
        held_by_dwell=np.zeros(len(facts), dtype=np.bool_),
        held_by_feeder=np.zeros(len(facts), dtype=np.bool_),
    )


def _shed(desk: Desk, goal: Goal, auxiliary_w: float) -> None:
    """Sleep the worst first until it is enough, whatever dwell, age of telemetry or an open verdict say.

    When the goal is what nothing can be taken off, everybody sleeps: a bias of the prediction must not spare anyone.
    """
    fleet, facts = desk.state.fleet, desk.facts
    known = (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN) & ~fleet.parked
    hashing = fleet.want_hashing & known & (fleet.condition != Condition.UNREACHABLE)
    gain_w = np.where(hashing, np.maximum(desk.soon_w - facts.sleep_power_w, 0.0), 0.0)
    lowest_w = max(desk.offset_w, auxiliary_w) + float((desk.soon_w - gain_w).sum())
    worst_first = desk.best_first[::-1]
    order = worst_first[hashing[worst_first]]
    if goal.power_w > lowest_w + 1.0:
        before_w = np.concatenate(([0.0], np.cumsum(gain_w[order])))[:-1]
        order = order[before_w < desk.predicted_w() - goal.power_w]
    _want_asleep(desk, order)


def _lower(desk: Desk, need_w: float, goal: Goal, sleep_first: bool) -> None:
    """Bring the site down by `need_w`: fewest units asleep that let the trimmers do the rest; worst J/TH first.

    Units that have not hashed for their dwell sleep last, and only when it is waived. A ramp's end says who sleeps:
    on the way down those who must in the end, untrimmed, for a miner boots at the rung it slept at; on the way up
    nobody who will be needed there, though boots be a little ahead of the ramp.
    """
    worst_first = desk.best_first[::-1]
    trim_gain = np.where(desk.trimmable, np.maximum(desk.soon_w - desk.floor_w, 0.0), 0.0)
    if sleep_first:
        trim_gain = np.zeros_like(trim_gain)
    dwelt = _dwelt(desk, desk.policy.dwell_on_s)
    on_worst_first = worst_first[desk.on[worst_first]]
    rested, restless = on_worst_first[dwelt[on_worst_first]], on_worst_first[~dwelt[on_worst_first]]
    sleepers = np.concatenate((rested, restless)) if goal.waived else rested
    sleep_gain = np.maximum(desk.soon_w - desk.facts.sleep_power_w, 0.0)[sleepers]
    slept_w = np.concatenate(([0.0], np.cumsum(sleep_gain)))
    reached = np.concatenate(([0.0], np.cumsum(sleep_gain - trim_gain[sleepers]))) + trim_gain.sum()
    if not goal.waived:
        unheld_gain = np.maximum(desk.soon_w - desk.facts.sleep_power_w, 0.0)[on_worst_first]
        unheld = np.concatenate(([0.0], np.cumsum(unheld_gain - trim_gain[on_worst_first]))) + trim_gain.sum()
        due = on_worst_first[: _first_at_least(unheld, need_w)]
        desk.held_by_dwell[due[~dwelt[due]]] = True
    final_w = goal.power_w if goal.final_w is None else goal.final_w
    count = in_the_end = _first_at_least(reached, need_w - max(final_w - goal.power_w, 0.0))
    if final_w < goal.power_w and not sleep_first:
        in_the_end = _first_at_least(reached, need_w + goal.power_w - final_w)
        count = max(count, min(in_the_end, int(np.searchsorted(slept_w, need_w, side="right")) - 1))
    asleep = sleepers[:count]
    _want_asleep(desk, asleep)
    trim_gain[asleep] = 0.0
    leaving = np.isin(worst_first, sleepers[count:in_the_end])
    staying = worst_first[~leaving]
    # Who has a command on its way is asked again last: the same watts from another miner cost one command less.
    calm = desk.state.fleet.verb[staying] == NO_COMMAND
    order = np.concatenate((staying[calm], staying[~calm], sleepers[count:in_the_end]))
    _trim_down(desk, need_w - float(slept_w[count]), trim_gain, order)


def _first_at_least(reached_w: FloatArray, need_w: float) -> int:
    """Index of the first sum that is enough; the last when none is."""
    enough = reached_w >= need_w
    return int(np.argmax(enough)) if bool(enough.any()) else len(reached_w) - 1


def _trim_down(desk: Desk, need_w: float, gain_w: FloatArray, order: IntArray) -> None:
    """Lower trimmers in order, whole ranges first; the last one only as far as needed."""
    order = order[gain_w[order] > 0.0]
    if need_w <= 0.0 or not len(order):
        return
    before = np.concatenate(([0.0], np.cumsum(gain_w[order])[:-1]))
    chosen = order[before < need_w]
    fleet, whole, last = desk.state.fleet, chosen[:-1], int(chosen[-1])
    fleet.want_level[whole] = 0
    desk.soon_w[whole] = desk.floor_w[whole]
    level = _rung_below(desk, last, float(desk.soon_w[last]) - (need_w - float(before[len(whole)])))
    if level < fleet.want_level[last]:
        _want_level(desk, last, level)


def _raise(desk: Desk, gap_w: float) -> None:
    """Raise trimmers, best J/TH first, as far as the gap, their ceilings and their feeders allow."""
    fleet, facts = desk.state.fleet, desk.facts
    ready = desk.trimmable & ((fleet.verb == NO_COMMAND) | (desk.now >= fleet.sent_at + fleet.dead_s + fleet.to_90_s))
    ready &= fleet.want_level < fleet.ceiling
    rows = np.arange(len(facts))
    next_w = facts.level_power_w[rows, np.minimum(fleet.want_level + 1, facts.level_count - 1)] * fleet.ratio
    step_w = np.maximum(next_w - desk.soon_w, 0.0)
    candidates = desk.best_first[(ready & (step_w <= gap_w))[desk.best_first]]
    if not len(candidates):
        return
    # The smallest step that anybody further down the list could take: below it there is nothing left to place.
    smallest_w = np.minimum.accumulate(step_w[candidates][::-1])[::-1]
    feeder_room_w = _feeder_room_w(desk)
    left_w = gap_w
    budget = desk.policy.commands_per_cycle_max
    for miner, least_w in zip(candidates.tolist(), smallest_w.tolist(), strict=True):
        if left_w < least_w or budget == 0:
            return
        feeder = facts.feeder[miner]
        limit_w = min(left_w, float(feeder_room_w[feeder]))
        desk.held_by_feeder[miner] = feeder_room_w[feeder] < step_w[miner]
        before_w = float(desk.soon_w[miner])
        level = _rung_below(desk, miner, before_w + limit_w)
        if level > fleet.want_level[miner]:
            _want_level(desk, miner, level)
            gained_w = float(desk.soon_w[miner]) - before_w
            left_w -= gained_w
            feeder_room_w[feeder] -= gained_w
            budget -= 1


def _commit(desk: Desk, goal: Goal, boots_w_per_15s: float) -> None:
    """Have enough units hashing for the lead and a reserve, and not many more than lately needed.

    What boots cannot be trimmed, so units woken within 15 s must fit under that ramp by themselves.
    """
    state, policy = desk.state, desk.policy
    memory = min(max(desk.now - state.now, 0.0) / max(policy.margin_memory_s, 1e-9), 1.0)
    state.cap_peak_w = max(goal.lead_w, state.cap_peak_w + (goal.lead_w - state.cap_peak_w) * memory)
    reserve_w = policy.trim_reserve_ratio * goal.lead_w if policy.trim else 0.0
    still_w = float(desk.soon_w[~desk.on].sum())
    reach_w = desk.offset_w + still_w + float(desk.ceiling_w[desk.on].sum())
    # Booting units cannot be trimmed yet: the lowest they will draw at first is the rung they come up at.
    rows = np.arange(len(desk.facts))
    boot_w = desk.facts.level_power_w[rows, _boot_levels(desk)] * state.fleet.ratio
    lowest = np.where(desk.trimmable, desk.floor_w, boot_w) if policy.trim else desk.ceiling_w
    low_w = desk.offset_w + still_w + float(lowest[desk.on].sum())
    wanted_w = goal.lead_w + reserve_w
    booting_w = _lately_woken_w(desk)
    feeder_room_w = _feeder_room_w(desk)
    budget = policy.wakes_per_cycle_max
    woken: list[int] = []
    for miner in desk.best_first[_wakeable(desk)[desk.best_first]]:
        unit_w = float(desk.ceiling_w[miner] - desk.facts.sleep_power_w[miner])
        slack_w = 0.5 * unit_w if policy.trim else unit_w
        if budget == 0 or reach_w + slack_w > wanted_w:
            break
        added_w = float(lowest[miner] - desk.facts.sleep_power_w[miner])
        boots_w = float(boot_w[miner] - desk.facts.sleep_power_w[miner])
        if low_w + added_w > goal.lead_w or 0.0 < booting_w > boots_w_per_15s - boots_w:
            break
        feeder = desk.facts.feeder[miner]
        if feeder_room_w[feeder] < unit_w:
            desk.held_by_feeder[miner] = True
            continue
        _want_awake(desk, int(miner))
        woken.append(int(miner))
        reach_w, low_w, budget = reach_w + unit_w, low_w + added_w, budget - 1
        booting_w += boots_w
        feeder_room_w[feeder] -= unit_w
    resting = _sleeping_ours(desk) & ~_dwelt(desk, policy.dwell_off_s)
    if reach_w < goal.lead_w:
        desk.held_by_dwell |= resting
    elif woken:  # a better one sleeps on while a worse one wakes: say why
        desk.held_by_dwell |= resting & (desk.facts.joule_per_th < desk.facts.joule_per_th[woken[-1]])
    _let_go(desk, reach_w, state.cap_peak_w + 2.0 * reserve_w)


def _lately_woken_w(desk: Desk) -> float:
    """Watts that units woken within the last 15 s bring, whether they show them yet or not."""
    fleet = desk.state.fleet
    lately = (fleet.verb == WAKE) & fleet.want_hashing & (desk.now - fleet.sent_at < STEP_WINDOW_S)
    return float((fleet.to_w - desk.facts.sleep_power_w)[lately].sum())


def _let_go(desk: Desk, reach_w: float, enough_w: float) -> None:
    """Put the worst unit to sleep when the peaks of late would be met without it; one a cycle, for it can wait."""
    free = desk.trimmable & _dwelt(desk, desk.policy.dwell_on_s) & (desk.state.fleet.verb == NO_COMMAND)
    if not desk.policy.trim or not bool(free.any()):
        return
    worst = int(desk.best_first[::-1][np.argmax(free[desk.best_first[::-1]])])
    if reach_w - 2.0 * float(desk.ceiling_w[worst]) > enough_w:
        _want_asleep(desk, np.array([worst]))


def _sleeping_ours(desk: Desk) -> BoolArray:
    """Asleep, allowed to be woken, and nothing on its way."""
    fleet = desk.state.fleet
    asleep = desk.movable & ~fleet.want_hashing & (fleet.condition == Condition.ASLEEP)
    ours: BoolArray = asleep & (fleet.verb == NO_COMMAND) & fleet.ours_asleep
    return ours


def _wakeable(desk: Desk) -> BoolArray:
    """Who may be woken now: has slept long enough, and no attempt has failed to reach it a moment ago."""
    wakeable: BoolArray = (
        _sleeping_ours(desk) & _dwelt(desk, desk.policy.dwell_off_s) & (desk.now >= desk.state.fleet.retry_at)
    )
    return wakeable


def _dwelt(desk: Desk, dwell_s: float) -> BoolArray:
    rested: BoolArray = desk.now - desk.state.fleet.changed_at >= dwell_s
    return rested


def _feeder_room_w(desk: Desk) -> FloatArray:
    """Watts left below each feeder's rating once everything in flight has arrived, (f,)."""
    fleet = desk.state.fleet
    settled = np.maximum(desk.soon_w, fleet.to_w)
    # Who has not been read since the start may draw all it can: silence is not zero.
    silent = ~np.isfinite(fleet.read_at)
    settled = np.where(silent, np.maximum(settled, desk.ceiling_w), settled)
    load = np.bincount(desk.facts.feeder, weights=settled, minlength=len(desk.facts.feeder_rating_w))
    return desk.facts.feeder_rating_w - load


def _want_asleep(desk: Desk, miners: IntArray) -> None:
    fleet = desk.state.fleet
    fleet.want_hashing[miners] = False
    desk.on[miners] = False
    desk.trimmable[miners] = False
    desk.soon_w[miners] = desk.facts.sleep_power_w[miners]


def _want_awake(desk: Desk, miner: int) -> None:
    """A miner boots at the rung it slept at: that is what to expect of it; trim takes it from there."""
    fleet = desk.state.fleet
    fleet.want_hashing[miner] = True
    fleet.want_level[miner] = _boot_levels(desk)[miner]
    desk.on[miner] = True


def _boot_levels(desk: Desk) -> IntArray:
    """Rung at which each miner would come up, (n,): the one it shows asleep, the ceiling when it shows none."""
    fleet = desk.state.fleet
    return np.where(fleet.level >= 0, np.minimum(fleet.level, fleet.ceiling), fleet.ceiling)


def _rung_below(desk: Desk, miner: int, power_w: float) -> int:
    """The rung nearest below `power_w`, within the miner's ladder and ceiling."""
    fleet = desk.state.fleet
    ladder = desk.facts.level_power_w[miner, : int(fleet.ceiling[miner]) + 1] * fleet.ratio[miner]
    return max(int(np.searchsorted(ladder, power_w, side="right")) - 1, 0)


def _want_level(desk: Desk, miner: int, level: int) -> None:
    fleet = desk.state.fleet
    fleet.want_level[miner] = level
    desk.soon_w[miner] = desk.facts.level_power_w[miner, level] * fleet.ratio[miner]


def _plan(desk: Desk, goal: Goal | None) -> Allocation:
    """The plan as everybody sees it; allocated and unallocated always add up to the setpoint."""
    fleet = desk.state.fleet
    planned = estimator.planned_power_w(desk.facts, fleet, fleet.want_hashing, fleet.want_level)
    counted = np.where(desk.movable & (fleet.verdict != Verdict.STUCK), planned, fleet.to_w)
    allocated = desk.offset_w + float(counted.sum())
    setpoint = goal.power_w if goal is not None else allocated
    unallocated = setpoint - allocated
    return Allocation(
        hashing=fleet.want_hashing.copy(),
        level=fleet.want_level.copy(),
        why=_reasons(desk),
        allocated_w=allocated,
        unallocated_w=unallocated,
        unallocated_reason=_unallocated_reason(desk, unallocated),
    )


def _reasons(desk: Desk) -> IntArray:
    """Reason codes (n,), the most specific last."""
    fleet = desk.state.fleet
    asleep = ~fleet.want_hashing
    cases: list[tuple[BoolArray, Why]] = [
        (fleet.want_hashing, Why.BASE),
        (fleet.want_hashing & (fleet.want_level < fleet.ceiling), Why.TRIMMED),
        (fleet.want_hashing & (fleet.verb == WAKE), Why.WAKING),
        (asleep, Why.SURPLUS_SHORT),
        (fleet.want_hashing & desk.held_by_dwell, Why.DWELL_ON),
        (asleep & desk.held_by_dwell, Why.DWELL_OFF),
        (desk.held_by_feeder, Why.FEEDER_LIMIT),
        (asleep & (fleet.condition == Condition.ASLEEP) & ~fleet.ours_asleep, Why.FOREIGN_SLEEPER),
        (fleet.parked, Why.OBSERVED),
        (fleet.condition == Condition.UNREACHABLE, Why.UNREACHABLE),
        (fleet.verdict == Verdict.UNSEEN, Why.UNSEEN),
        (fleet.verdict == Verdict.QUARANTINED, Why.QUARANTINED),
    ]
    codes = np.zeros(len(desk.facts), dtype=np.int64)
    for where, why in cases:
        codes[where] = WHY_CODE[why]
    return codes


def _unallocated_reason(desk: Desk, unallocated_w: float) -> Unallocated:
    if abs(unallocated_w) <= max(desk.policy.deadband_up_w, desk.policy.deadband_down_w):
        return Unallocated.NONE if unallocated_w == 0.0 else Unallocated.STEP_SIZE
    if unallocated_w < 0.0:
        return Unallocated.DWELL if bool(desk.held_by_dwell.any()) else Unallocated.FLOOR
    if bool((desk.on & (desk.state.fleet.verb == WAKE)).any()):
        return Unallocated.BOOTING
    if bool(desk.held_by_feeder.any()):
        return Unallocated.FEEDER_LIMIT
    if bool((desk.held_by_dwell & ~desk.state.fleet.want_hashing).any()):
        return Unallocated.DWELL
    return Unallocated.NO_MINERS_LEFT
