"""The quick layer: close the gap between setpoint and coming draw, by trimming and, downward, by sleep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.core import estimator
from controller.core.fleet_state import NO_COMMAND, FleetState
from controller.core.next_moves import middling_s, trim_lags_s
from controller.core.roster import (
    Goal,
    Roster,
    fewest_first,
    hashed_long,
    limit_room_w,
    rung_below,
    tightest,
    want_asleep,
    want_rung,
)
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict


@dataclass(frozen=True, slots=True)
class Late:
    """What sleepers still draw when trims ordered now have moved by half, in `trim_s` seconds; 0.0: not stood in for.

    of_ordered_w: of those that were told before, watts.
    """

    of_ordered_w: float = 0.0
    trim_s: float = 0.0

    @classmethod
    def of(cls, facts: Fleet, fleet: FleetState, now: float) -> Late:
        """With those on their way to sleep."""
        trim_s = middling_s(trim_lags_s(facts, fleet, up=False))
        falling = ((fleet.verb == estimator.SLEEP) & ~fleet.doubted).nonzero()[0]
        return cls(estimator.way_left_w(fleet, falling, now + trim_s), trim_s)

    def of_these_w(self, facts: Fleet, miners: IntArray, gain_w: FloatArray) -> float:
        """Of `miners`, (k,), told now, who will draw `gain_w` less, watts."""
        if self.trim_s <= 0.0:
            return 0.0
        in_90s = np.maximum(self.trim_s - facts.sleep_dead_s[miners], 0.0) / facts.sleep_90_s[miners]
        return float((gain_w * 10.0**-in_90s).sum())


def shed(roster: Roster, goal: Goal, auxiliary_w: float) -> None:
    """Sleep the worst first until it is enough, whatever dwell, age of telemetry or an open verdict say.

    When the goal is what nothing can be taken off, everybody sleeps: a bias of the prediction must not spare anyone.
    """
    fleet, facts = roster.state.fleet, roster.facts
    known = (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN) & ~fleet.parked
    known &= (fleet.condition != Condition.UNREACHABLE) & (fleet.condition != Condition.CONTRADICTS)
    hashing = fleet.want_hashing & known
    gain_w = np.where(hashing, np.maximum(roster.soon_w - facts.sleep_power_w, 0.0), 0.0)
    lowest_w = max(roster.offset_w, auxiliary_w) + float((roster.soon_w - gain_w).sum())
    worst_first = roster.best_first[::-1]
    order = worst_first[hashing[worst_first]]
    if goal.power_w > lowest_w + 1.0:
        before_w = np.concatenate(([0.0], np.cumsum(gain_w[order])))[:-1]
        order = order[before_w < roster.predicted_w() - goal.power_w]
    want_asleep(roster, order)


def hold_to_ceiling(roster: Roster) -> None:
    """Trim down who runs above its ceiling: some firmware comes out of every restart at full power."""
    above = (roster.trimmable & (roster.state.fleet.want_level > roster.state.fleet.ceiling)).nonzero()[0]
    for miner in above.tolist():
        want_rung(roster, miner, int(roster.state.fleet.ceiling[miner]))


def boots_beyond_trim_w(roster: Roster, goal: Goal, need_w: float) -> float:
    """Watts that boots bring after the trimmers have done what they can and before a sleep ordered now has worked.

    Where they would pass the goal it takes a sleeper now: some need far longer than a trim. 0 while trim can do it.
    """
    fleet, facts = roster.state.fleet, roster.facts
    booting = (fleet.verb == estimator.WAKE) & fleet.want_hashing
    if not bool(booting.any()) or not bool(roster.on.any()):
        return 0.0
    trim_s = estimator.trim_horizon_s(facts)
    sleep_s = float((facts.sleep_dead_s + facts.sleep_90_s)[roster.on].max())
    if sleep_s <= trim_s:
        return 0.0
    brings_w = float((estimator.expected_soon_w(fleet, roster.now, sleep_s) - roster.soon_w)[booting].sum())
    brings_w = min(brings_w, estimator.boots_left_w(roster.state, roster.now + trim_s))
    coming_w = brings_w - max(goal.lead_w(sleep_s - trim_s) - goal.power_w, 0.0)
    trim_w = float(np.where(roster.trimmable, np.maximum(roster.soon_w - roster.floor_w, 0.0), 0.0).sum())
    return coming_w if coming_w > 0.0 and need_w + coming_w > trim_w + roster.policy.deadband_down_w else 0.0


def lower(
    roster: Roster,
    need_w: float,
    goal: Goal,
    sleep_first: bool,
    coming_w: float = 0.0,
    among: BoolArray | None = None,
    late: Late = Late(),
) -> None:
    """Bring the site down by `need_w`: fewest units asleep that let the trimmers do the rest; worst J/TH first.

    Units that have not hashed for their dwell sleep late, and only when it is waived; after them those with no restart
    left, and last all of these who could not be woken any more today. A ramp's end says who sleeps: on the way down
    those who must in the end, untrimmed, for a miner boots at the rung it slept at; on the way up nobody who will be
    needed there, though boots be a little ahead of the ramp. coming_w: what boots will bring before a sleep ordered now
    has worked; it is slept for now and trimmed later.
    among: (n,) only these are moved. late: sleepers slower than trims, whom trim stands in for until they are down.
    """
    worst_first = roster.best_first[::-1]
    trim_gain = np.where(roster.trimmable, np.maximum(roster.soon_w - roster.floor_w, 0.0), 0.0)
    if sleep_first:
        trim_gain = np.zeros_like(trim_gain)
    on = roster.on
    if among is not None:
        on, trim_gain = on & among, np.where(among, trim_gain, 0.0)
    has_dwelt = hashed_long(roster)
    on_worst_first = fewest_first(roster, worst_first[on[worst_first]])
    if not goal.waived:  # what follows a signal is trimmed: it keeps its range, and blocks make room
        trims = roster.facts.trims[on_worst_first]
        on_worst_first = np.concatenate((on_worst_first[~trims], on_worst_first[trims]))
    free = on_worst_first[roster.switchable[on_worst_first]]
    spent = on_worst_first[~roster.switchable[on_worst_first]]
    rested, restless = free[has_dwelt[free]], free[~has_dwelt[free]]
    kinds = (rested, restless, spent) if goal.waived else (rested,)
    startable = [miners[roster.startable[miners]] for miners in kinds]
    sleepers = np.concatenate((*startable, *(miners[~roster.startable[miners]] for miners in kinds)))
    sleep_gain = np.maximum(roster.soon_w - roster.facts.sleep_power_w, 0.0)[sleepers]
    slept_w = np.concatenate(([0.0], np.cumsum(sleep_gain)))
    reached = np.concatenate(([0.0], np.cumsum(sleep_gain - trim_gain[sleepers]))) + trim_gain.sum()
    if not goal.waived:
        unheld_gain = np.maximum(roster.soon_w - roster.facts.sleep_power_w, 0.0)[on_worst_first]
        unheld = np.concatenate(([0.0], np.cumsum(unheld_gain - trim_gain[on_worst_first]))) + trim_gain.sum()
        due = on_worst_first[: _first_at_least(unheld, need_w)]
        roster.held_by_dwell[due[~has_dwelt[due]]] = True
        roster.held_by_budget[due[~roster.switchable[due]]] = True
    led_w = goal.power_w + goal.ahead_w  # what need_w leads to
    still_to_rise_w = max(goal.wanted_w - led_w, 0.0)
    beyond_w = need_w + coming_w - still_to_rise_w
    if still_to_rise_w > 0.0 and beyond_w <= roster.policy.deadband_down_w:  # nobody will move for it at the ramp's end
        beyond_w = 0.0
    count = in_the_end = _first_at_least(reached, beyond_w)
    if goal.wanted_w < goal.power_w and not sleep_first:
        in_the_end = _first_at_least(reached, need_w + led_w - goal.wanted_w)
        count = max(count, min(in_the_end, int(np.searchsorted(slept_w, need_w, side="right")) - 1))
    # The way to an order is no limit itself: the unit at it goes when most of it is due, not all of it at once before.
    on_the_way = goal.exact and goal.wanted_w < goal.power_w
    if on_the_way and count and slept_w[count] - need_w > 0.5 * sleep_gain[count - 1]:
        count -= 1
    asleep = sleepers[:count]
    want_asleep(roster, asleep)
    trim_gain[asleep] = 0.0
    leaving = np.isin(worst_first, sleepers[count:in_the_end])
    staying = worst_first[~leaving]
    # Who has a command on its way is asked again last: the same watts from another miner cost one command less.
    calm = roster.state.fleet.verb[staying] == NO_COMMAND
    order = np.concatenate((staying[calm], staying[~calm], sleepers[count:in_the_end]))
    late_w = late.of_ordered_w + late.of_these_w(roster.facts, asleep, sleep_gain[:count])
    _trim_down(roster, need_w - float(slept_w[count]) + late_w, trim_gain, order)


def _first_at_least(reached_w: FloatArray, need_w: float) -> int:
    """Index of the first sum that is enough; the last when none is."""
    enough = reached_w >= need_w
    return int(np.argmax(enough)) if bool(enough.any()) else len(reached_w) - 1


def _trim_down(roster: Roster, need_w: float, gain_w: FloatArray, order: IntArray) -> None:
    """Lower trimmers in order, whole ranges first; the last one only as far as needed."""
    order = order[gain_w[order] > 0.0]
    if need_w <= 0.0 or not len(order):
        return
    before = np.concatenate(([0.0], np.cumsum(gain_w[order])[:-1]))
    chosen = order[before < need_w]
    fleet, whole, last = roster.state.fleet, chosen[:-1], int(chosen[-1])
    fleet.want_level[whole] = 0
    roster.soon_w[whole] = roster.floor_w[whole]
    level = rung_below(roster, last, float(roster.soon_w[last]) - (need_w - float(before[len(whole)])))
    if level < fleet.want_level[last]:
        want_rung(roster, last, level)


def raise_(roster: Roster, gap_w: float) -> None:
    """Raise trimmers, best J/TH first, as far as the gap, their ceilings and the limits above them allow."""
    fleet, facts = roster.state.fleet, roster.facts
    moved = roster.now >= fleet.sent_at + fleet.dead_s + fleet.to_90_s
    ready = roster.trimmable & ((fleet.verb == NO_COMMAND) | moved) & (fleet.want_level < fleet.ceiling)
    rows = np.arange(len(facts))
    next_w = facts.level_power_w[rows, np.minimum(fleet.want_level + 1, facts.level_count - 1)] * fleet.ratio
    step_w = np.maximum(next_w - roster.soon_w, 0.0)
    candidates = roster.best_first[(ready & (step_w <= gap_w))[roster.best_first]]
    if not len(candidates):
        return
    # The smallest step that anybody further down the list could take: below it there is nothing left to place.
    smallest_w = np.minimum.accumulate(step_w[candidates][::-1])[::-1]
    room_w = limit_room_w(roster)
    left_w = gap_w
    budget = roster.policy.commands_per_cycle_max
    for miner, least_w in zip(candidates.tolist(), smallest_w.tolist(), strict=True):
        if left_w < least_w or budget == 0:
            return
        limit, most_w = tightest(roster, room_w, miner)
        limit_w = min(left_w, most_w)
        roster.held_by_limit[miner] = limit if most_w < step_w[miner] else -1
        before_w = float(roster.soon_w[miner])
        if before_w + limit_w < next_w[miner]:
            continue
        want_rung(roster, miner, rung_below(roster, miner, before_w + limit_w))
        gained_w = float(roster.soon_w[miner]) - before_w
        left_w -= gained_w
        room_w[facts.limits.of_miner[miner]] -= gained_w
        budget -= 1
