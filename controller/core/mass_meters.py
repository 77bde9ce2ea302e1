"""What the meters say of miners that vanished together: drawn on, or dark.

A feeder with a meter of its own is judged by it, for as long as they are away. All others are judged together by the
site's, and only by what went missing as they vanished: hours later anything of the site's may have been switched off.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator

import numpy as np

from controller.core import estimator, flight, mass_words, offset
from controller.core.consequences import Findings
from controller.core.fleet_state import Away, FleetState
from controller.core.mass import answered_since, away, dark, dark_codes, end, limit_of, missing
from controller.core.mass_words import DARK_RATIO
from controller.core.state import MassState, State
from controller.domain.fleet import Fleet, IntArray
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy, Policy

LEAST_RATIO = 0.01  # of the site's rating or the feeder's: what sleepers draw is too little for a meter to miss
DARK_AFTER_S = 2.0  # what a meter shows for so long is no dip
# So long after its last crowd it is no event any more. An alert on many that do not answer waits 15 min: it shall stand
# by then, so that there is no moment at which a fifth of the site is dead and nothing says so.
SETTLED_S, SETTLED_WINDOWS = 1_200.0, 4.0


def weigh(facts: Fleet, state: State, policy: Policy, now: float, findings: Findings) -> None:
    """What the meters say of those that are away; says the event, and when it is over. After the site meter's sample
    of this cycle has been entered."""
    mass, rules = state.mass, policy.fleet
    turned_dark, missing_w, lost_w = _judge(facts, state, policy, now)
    if state.offset_w is not None:
        _remember_offset(mass, state.offset_w + state.revised_w, rules.mass_disconnect_window_s, now)
    if turned_dark and state.setpoint_w is not None and state.offset_w is not None:
        # Once: a ramp down that runs begins at the load that is left, not at one that has gone by itself.
        soon_w = estimator.expected_soon_w(state.fleet, now, estimator.trim_horizon_s(facts))
        state.setpoint_w = min(state.setpoint_w, state.offset_w + float(soon_w.sum()))
    if mass.since is not None and not mass.said:
        crowd = away(state.fleet) & (state.fleet.gone_at >= mass.crowd_from)
        mass_words.say_gone(facts, state, rules, crowd, missing_w, lost_w, findings)
    elif turned_dark and not mass.said_dark:
        mass.said_dark = True
        text = f"the meters show {missing_w / 1e3:.1f} kW gone: {turned_dark} of the miners that vanished are dark"
        findings.events.append(Event("mass_dark", EventLevel.WARNING, text))
    if mass.since is not None:
        _end_when_over(facts, state, rules, now, findings)


def _end_when_over(facts: Fleet, state: State, rules: FleetPolicy, now: float, findings: Findings) -> None:
    """It ends when few are left, and when nobody followed for so long that the others are no news any more."""
    mass, window_s = state.mass, rules.mass_disconnect_window_s
    left = missing(state, rules)
    few = int(left.sum()) < max(limit_of(rules, len(facts)) / 2.0, 1.0)
    mass.few_since = (now if mass.few_since is None else mass.few_since) if few else None
    if mass.few_since is not None and now - mass.few_since >= window_s:
        mass_words.say_back(facts, state, left, now, findings)
        end(state)
    elif now - mass.crowd_at >= max(SETTLED_S, SETTLED_WINDOWS * window_s):
        mass_words.say_stay(facts, state, left, now, findings)
        end(state)


def _judge(facts: Fleet, state: State, policy: Policy, now: float) -> tuple[int, float, float]:
    """How many turned dark, the watts missing at all meters that tell, and what the lost drew there."""
    mass = state.mass
    turned_dark, missing_w, lost_w = 0, 0.0, 0.0
    places = len(facts.feeder_names) + 1
    since = list(mass.dark_since) if len(mass.dark_since) == places else [math.inf] * places
    for place, rows, place_missing_w, place_lost_w, shown_at in list(_places(facts, state, policy, now)):
        missing_w, lost_w = missing_w + place_missing_w, lost_w + place_lost_w
        shows = place_missing_w >= DARK_RATIO * place_lost_w
        since[place] = min(since[place], shown_at) if shows else math.inf
        by_site = place == places - 1
        if by_site and not shows:
            mass.dropped_at = math.inf
        elif by_site and math.isinf(mass.dropped_at):
            dropped_at = _dropped_at(mass, DARK_RATIO * place_lost_w, shown_at)
            mass.dropped_at = max(dropped_at, float(state.fleet.read_at[rows].max()))  # they had theirs until then
        in_time = not by_site or since[place] - mass.crowd_at <= policy.fleet.mass_disconnect_window_s
        if in_time and shown_at - since[place] >= DARK_AFTER_S:
            turned_dark += len(rows)
            _plan_idle(facts, state, policy.fleet, rows, now)
    mass.dark_since = tuple(since)
    stragglers = _stragglers(facts, state)
    if len(stragglers):
        _plan_idle(facts, state, policy.fleet, stragglers, now)
    return turned_dark, missing_w, lost_w


def _stragglers(facts: Fleet, state: State) -> IntArray:
    """Who was missed only when the others of its feeder were known to be dark: too few for a meter to tell, but nobody
    on that feeder has answered since."""
    fleet, since = state.fleet, state.mass.crowd_from
    if not state.mass.said_dark:
        return np.empty(0, dtype=np.int64)
    lost = (fleet.away == Away.DRAWS) & (fleet.gone_at >= since)
    if not bool(lost.any()):
        return np.empty(0, dtype=np.int64)
    feeders = len(facts.feeder_names)
    gone_dark = np.bincount(facts.feeder[dark(fleet) & (fleet.gone_at >= since)], minlength=feeders)
    answers = np.bincount(facts.feeder[fleet.read_at > since], minlength=feeders)
    tripped = (gone_dark > 0) & (answers == 0)
    found: IntArray = (lost & tripped[facts.feeder]).nonzero()[0]
    return found


def _dropped_at(mass: MassState, lost_w: float, shown_at: float) -> float:
    """Since when the site's meter has shown so much less without a break: their power went before they were missed."""
    highest_w = (mass.offset_w or 0.0) - lost_w
    for at, offset_w in reversed(mass.offsets):
        if offset_w > highest_w:
            break
        shown_at = min(shown_at, at)
    return shown_at


def _plan_idle(facts: Fleet, state: State, rules: FleetPolicy, rows: IntArray, now: float) -> None:
    """They draw nothing, the meters say: planned asleep, and their watts are not counted on any more."""
    fleet, mass = state.fleet, state.mass
    fleet.away[rows] = dark_codes(facts, fleet, rules, rows)
    before_w = float(estimator.expected_power_w(fleet, now, rows).sum())
    mine = rows[~fleet.parked[rows]]
    # Not told to sleep: it shall be known when one is. Of whom was woken in vain the sleep before is still ours.
    fleet.ours_asleep[mine[fleet.want_hashing[mine] & (fleet.verb[mine] != estimator.WAKE)]] = False
    flight.take_out_of_flight(fleet, rows, 0.0)
    offset.revise(state, -before_w, now)
    if mass.offset_w is not None:
        mass.offset_w -= before_w  # of what the site's meter misses that much is explained
    if state.offset_w is not None and now <= state.offset_until:  # and is nothing that boots are late by
        fallen_w = 0.0 if mass.offset_w is None else mass.offset_w - state.offset_w - state.revised_w
        state.late_w = min(state.late_w, max(state.late_w - before_w, fallen_w, 0.0))
    mass.offsets = ()  # from here on it shows less
    fleet.want_hashing[mine] = False


def _places(
    facts: Fleet, state: State, policy: Policy, now: float
) -> Iterator[tuple[int, IntArray, float, float, float]]:
    """(place, its lost miners not known to be dark, watts missing at its meter, watts these drew, when it was shown):
    each feeder with a meter of its own, then the newest crowd of all others by the site's.

    A boot among the lost that is slower than its class is nothing that went missing; what the site's meter misses for
    late boots on a metered feeder is that feeder's.
    """
    fleet, groups, mass = state.fleet, state.groups, state.mass
    lost = (fleet.away == Away.DRAWS) & np.isfinite(fleet.gone_at)
    if not bool(lost.any()):
        return
    since = float(fleet.gone_at[lost].min())
    elsewhere = lost.copy()
    pending_w = 0.0
    for feeder in range(len(facts.feeder_names)):
        on_it = facts.feeder == feeder
        shown_at = float(groups.sample_at[feeder])
        metered = not math.isnan(groups.load_w[feeder]) and now - shown_at <= policy.inputs.hold_after_s
        if not metered or not bool((lost & on_it).any()):
            continue
        elsewhere &= ~on_it
        if shown_at < since:
            continue
        believed_w = float(estimator.expected_power_w(fleet, now, on_it.nonzero()[0]).sum())
        beside_w = max(float(np.nan_to_num(groups.rest_w[feeder])), 0.0)
        missing_w = believed_w + beside_w - float(groups.load_w[feeder])
        rows = (lost & on_it).nonzero()[0]
        lost_w, late_w = _least_and_late_w(fleet, rows, now)
        if lost_w >= LEAST_RATIO * float(facts.feeder_rating_w[feeder]):
            yield feeder, rows, missing_w - late_w, lost_w, shown_at
        if bool((fleet.away[rows] == Away.DRAWS).all()):
            pending_w += max(missing_w, 0.0)
    rows = (elsewhere & (fleet.gone_at >= mass.crowd_from) & ~answered_since(state)).nonzero()[0]
    shown = mass.crowd_from <= state.offset_at and now <= state.offset_until
    if len(rows) and shown and state.offset_w is not None and mass.offset_w is not None:
        lost_w, late_w = _least_and_late_w(fleet, rows, now)
        missing_w = mass.offset_w - state.offset_w - state.revised_w - pending_w - late_w
        if lost_w >= LEAST_RATIO * policy.rated_w:
            yield len(facts.feeder_names), rows, missing_w, lost_w, state.offset_at


def _least_and_late_w(fleet: FleetState, rows: IntArray, now: float) -> tuple[float, float]:
    """What `rows` (k,) draw at least unless they are dark, and how far a late boot may be below what is expected."""
    least_w = float(estimator.at_least_w(fleet, now, rows).sum())
    return least_w, float(estimator.expected_power_w(fleet, now, rows).sum()) - least_w


def _remember_offset(mass: MassState, offset_w: float, window_s: float, now: float) -> None:
    """What the site meter showed beyond the miners lately, about one value a second."""
    if mass.offsets and now - mass.offsets[-1][0] < 0.8:
        return
    first = bisect_left(mass.offsets, -2.0 * window_s, key=lambda entry: entry[0] - now)  # the oldest comes first
    mass.offsets = (*mass.offsets[first:], (now, offset_w))
