"""How fast the setpoint may move: two envelopes, one for normal moves and none for shedding.

Up is always limited: per minute and within any 15 s, counted from what the site drew and was committed to. Down is
limited too, unless the grid is getting less than its despatch or somebody orders a shed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass, replace
from operator import itemgetter

from controller.core.state import State
from controller.domain.plan import Setpoint
from controller.domain.policy import RampPolicy
from controller.domain.reasons import Bound

MINUTE_S = 60.0
STEP_WINDOW_S = 15.0
Entry = tuple[float, float]
POWER = itemgetter(1)  # of an entry of the history
RISE_SHARE, FALL_SHARE, TURN_SHARE = 0.87, 0.92, 0.81
"""Of the limits within 15 s, for what is seen of the load itself: a rise can wait for what the model does not know, and
a fall has its orders given ahead. Where the load turned within the 15 s the peak, or the dip, is known least."""
TURNED_RATIO = 0.03
"""Of the limit: a peak or a dip larger than that is a turn. On a long way smaller bumps are slow miners and quick ones
taking turns, and to stop at each would leave it behind."""
BEHIND_S = 12.0
"""Of the pace up: so far behind its line a setpoint is at most taken to be. What dwell or a floor holds up is no fall,
and nobody who orders more waits longer for it."""


@dataclass(frozen=True, slots=True)
class Ramped:
    """The setpoint for this cycle, watts, and the bound that shaped it (None when the ramp did not bind)."""

    power_w: float
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class Next:
    """Who moves next. Watts of the quickest move in `lag_s` seconds, of the middling ones in `lead_s`.

    owed_w: so much the load will then be above (below: negative) what is committed, for what is slower is still on its
    way. then_w: what the site will draw by then with what is ordered already, watts; None when it is not known.
    """

    lag_s: float = 0.0
    lead_s: float = 0.0
    owed_w: float = 0.0
    then_w: float | None = None


def limit(
    state: State,
    ramp: RampPolicy,
    wanted: Setpoint,
    present_w: float,
    waived: bool,
    now: float,
    elapsed_s: float,
    falls: Next = Next(),
    rises: Next = Next(),
) -> Ramped:
    """Move from the last setpoint towards the wanted one.

    present_w: what the site draws or is committed to draw, watts. waived: the down limit does not apply.
    elapsed_s: since the last cycle, so that early cycles gain nothing. falls, rises: who moves next, down and up.
    """
    last = state.setpoint_w if state.setpoint_w is not None else present_w
    if wanted.power_w >= last:
        ceiling = _highest(state, ramp, last, present_w, now, elapsed_s, rises)
        if wanted.power_w <= ceiling:
            return Ramped(wanted.power_w, None)
        return Ramped(max(ceiling, min(last, present_w)), Bound.RAMP_UP)
    if waived:
        return Ramped(wanted.power_w, None)
    last = way_down_from_w(state, last, wanted.power_w, now)
    if wanted.bound is Bound.FALLBACK:
        floor = last - ramp.fallback_w_per_min / MINUTE_S * elapsed_s
    else:
        floor = last - ramp.down_w_per_min / MINUTE_S * elapsed_s
        lowered_w = _highest_lately(state, last, now) - ramp.down_w_per_15s
        follows = wanted.bound is Bound.DISPATCH_TARGET
        floor = max(floor, lowered_w, _drawn_floor_w(state, ramp, now, falls, follows))
    if wanted.power_w >= floor:
        return Ramped(wanted.power_w, None)
    return Ramped(min(floor, last), Bound.RAMP_DOWN)


def way_down_from_w(state: State, setpoint_w: float, power_w: float, now: float) -> float:
    """Where a way down from the set-point to `power_w` begins, watts. Where the load has not been is no place to begin
    at: the way down from there would move nothing at first."""
    return min(setpoint_w, max(_highest_lately(state, setpoint_w, now), power_w))


def _highest_lately(state: State, otherwise_w: float, now: float) -> float:
    lately = within(state.power_history, STEP_WINDOW_S, now)
    return max(lately, key=POWER)[1] if lately else otherwise_w


def _highest(
    state: State, ramp: RampPolicy, last: float, present_w: float, now: float, elapsed_s: float, rises: Next
) -> float:
    """Highest setpoint the up limits allow, watts."""
    minute, step = (within(state.power_history, window_s, now) for window_s in (MINUTE_S, STEP_WINDOW_S))
    return min(
        last + ramp.up_w_per_min / MINUTE_S * elapsed_s,
        _drawn_ceiling_w(state, ramp, now, rises),
        (min(minute, key=POWER)[1] if minute else present_w) + ramp.up_w_per_min,
        (min(step, key=POWER)[1] if step else present_w) + ramp.up_w_per_15s,
        present_w + ramp.up_w_per_15s,  # a load that cannot follow must not wind the setpoint up
    )


def rises_to_w(state: State, ramp: RampPolicy, after_s: float, now: float) -> float:
    """Where the minute's limit will have let the setpoint rise `after_s` seconds from now, watts: what the site drew of
    late still counts then."""
    lately = within(state.power_history, MINUTE_S - after_s, now) if after_s < MINUTE_S else ()
    return min(lately, key=POWER)[1] + ramp.up_w_per_min if lately else math.inf


def meet(state: State, ramp: RampPolicy, wanted: Setpoint, elapsed_s: float) -> Setpoint:
    """What is wanted now of a setpoint that follows orders: `wanted`, or the line that it fell behind.

    The line is what the ramps per minute make of the orders. A fall may be slower than it, for the load has limits of
    its own; a rise that began there would stay above it as long as it lasts. So the setpoint goes on down to meet it.
    """
    last = state.setpoint_w
    if last is None or wanted.bound is not Bound.DISPATCH_TARGET:
        state.line_w = None
        return wanted
    line_w = last if state.line_w is None else min(state.line_w, last)
    if wanted.power_w < line_w:
        pace_w_per_s = min(ramp.down_w_per_min / MINUTE_S, ramp.down_w_per_15s / STEP_WINDOW_S)
        behind_w = BEHIND_S * ramp.up_w_per_min / MINUTE_S
        state.line_w = max(wanted.power_w, line_w - pace_w_per_s * elapsed_s, last - behind_w)
        return wanted
    state.line_w = min(wanted.power_w, line_w + ramp.up_w_per_min / MINUTE_S * elapsed_s)
    return replace(wanted, power_w=state.line_w) if state.line_w < last else wanted


def ahead_w(
    state: State, ramp: RampPolicy, power_w: float, wanted_w: float, now: float, falls: Next, rises: Next
) -> float:
    """By how much trim is ordered ahead of the setpoint `power_w`, watts, negative on the way down.

    A trim takes seconds to arrive. Where the ramp leads to `wanted_w` the setpoint of then is known now; what is
    ordered for it now arrives with it and not behind it. Never beyond what is wanted, nor beyond the load's own ramp.
    """
    if wanted_w >= power_w:
        most_w = power_w + ramp.up_w_per_min / MINUTE_S * rises.lead_s
        return max(min(wanted_w, most_w, _drawn_ceiling_w(state, ramp, now, rises)) - power_w, 0.0)
    least_w = power_w - ramp.down_w_per_min / MINUTE_S * falls.lead_s
    return min(max(wanted_w, least_w, _drawn_floor_w(state, ramp, now, falls, True)) - power_w, 0.0)


def _drawn_ceiling_w(state: State, ramp: RampPolicy, now: float, rises: Next) -> float:
    """The most that may be committed now so that the load itself keeps its limit within 15 s when it arrives. At rest
    that needs no margin: a unit may be that large."""
    drawn = _drawn_until_then(state, now, rises)
    if not drawn:
        return math.inf
    lowest_w = min(drawn, key=POWER)[1]
    turned = drawn[0][1] - lowest_w > TURNED_RATIO * ramp.up_w_per_15s
    share = TURN_SHARE if turned else RISE_SHARE
    rising = drawn[-1][1] - lowest_w > (1.0 - share) * ramp.up_w_per_15s
    return lowest_w + (share if rising else 1.0) * ramp.up_w_per_15s - rises.owed_w


def _drawn_floor_w(state: State, ramp: RampPolicy, now: float, falls: Next, follows: bool) -> float:
    """The same for the least. A limit is to be reached, and is given all that the load was seen to leave; what
    `follows` a target is ahead of its fall and keeps a margin."""
    drawn = _drawn_until_then(state, now, falls) if follows else _drawn_lately(state, now, falls)
    if not drawn:
        return -math.inf
    highest_w = max(drawn, key=POWER)[1]
    turned = highest_w - drawn[0][1] > TURNED_RATIO * ramp.down_w_per_15s
    share = TURN_SHARE if turned else FALL_SHARE
    falling = follows and highest_w - drawn[-1][1] > (1.0 - share) * ramp.down_w_per_15s
    return highest_w - (share if falling else 1.0) * ramp.down_w_per_15s - falls.owed_w


def _drawn_until_then(state: State, now: float, following: Next) -> tuple[Entry, ...]:
    """What the load was, and will be, in the 15 s that end when the quickest have moved."""
    drawn = _drawn_lately(state, now, following)
    return drawn if following.then_w is None else (*drawn, (now + following.lag_s, following.then_w))


def _drawn_lately(state: State, now: float, following: Next) -> tuple[Entry, ...]:
    return within(state.drawn_history, STEP_WINDOW_S, now + following.lag_s)


def remember(state: State, power_w: float, drawn_w: float, now: float) -> None:
    """Keep what the site was committed to draw for the last minute, about one value a second: what the meter shows, and
    with it what was in flight. What it shows alone comes seconds later, and would be asked to wait for itself; that is
    kept apart, for where slow miners and quick ones take turns their seconds add up in the load alone."""
    history = state.power_history
    if history and now - history[-1][0] < 0.8:
        return
    state.drawn_history = (*within(state.drawn_history, STEP_WINDOW_S, now), (now, drawn_w))
    state.power_history = (*within(history, MINUTE_S, now), (now, power_w))


def within(history: tuple[Entry, ...], window_s: float, now: float) -> tuple[Entry, ...]:
    """What of it is no older than so many seconds; the oldest comes first."""
    return history[bisect_left(history, -window_s, key=lambda entry: entry[0] - now) :]
