"""How fast the setpoint may move: two envelopes, one for normal moves and none for shedding.

Up is always limited: per minute and within any 15 s, counted from what the site drew and was committed to. Down is
limited too, unless the grid is getting less than its despatch or somebody orders a shed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.core import regulation
from controller.core.drawn import (
    NO_MOVES,
    POWER,
    STEP_WINDOW_S,
    Moves,
    Next,
    ceiling_w,
    floor_w,
    highest_lately_w,
    within,
)
from controller.core.state import State
from controller.domain.plan import Setpoint
from controller.domain.policy import RampPolicy
from controller.domain.reasons import Bound

MINUTE_S = 60.0
TRIM_PACE, PACE = 0.955, 0.94
"""Of the limits within 15 s, for the set-point of a target: one that goes as fast as they allow is held up by the load
every fifteen seconds, and what it makes up for afterwards is the next thing to hold it up. Trim alone is smooth."""
FIRST_RATIO, FIRST_S = 0.05, 8.0
"""The first twentieth of a fall is to be there after 10 s, however large the fall is: of a large one it is set quicker
than the pace, and the rest of 15 s goes slower for it. Two seconds pass for the cycle and the quickest to move."""
RISE_FORESEEN = 0.5
"""Of how far a signal that rises is taken to go on: power that is not ordered in the end is not taken."""
CYCLE_S = 1.0  # what is ordered waits for its cycle, and half a signal's step for the next
FALL_AHEAD_S = 2.0
"""What trim does alone is ordered so much further ahead of a fall than its middling moves take: it waits for its cycle,
and its last tenth trails off. A load below its line is no violation; a rise that leads is one when the order turns."""
CATCH_UP, UNDER_WAY = 1.75, 0.5
"""Of the pace: what was held up in the middle of a fall makes up for it no quicker than this, where sleepers go with
it. The load's limit lets it fall after a pause as it fell 15 s before; a lump would come again every 15 s. A fall is
under way when half of what 15 s allow is gone: what begins it is ordered at once."""
BEHIND_S = 12.0
"""Of the pace up: so far behind its line a setpoint is at most taken to be. What dwell or a floor holds up is no fall,
and nobody who orders more waits longer for it."""


@dataclass(frozen=True, slots=True)
class Ramped:
    """The setpoint for this cycle, watts, and the bound that shaped it (None when the ramp did not bind)."""

    power_w: float
    bound: Bound | None


def limit(
    state: State,
    ramp: RampPolicy,
    wanted: Setpoint,
    present_w: float,
    waived: bool,
    now: float,
    elapsed_s: float,
    moves: Moves = NO_MOVES,
) -> Ramped:
    """Move from the last setpoint towards the wanted one.

    present_w: what the site draws or is committed to draw, watts. waived: the down limit does not apply.
    elapsed_s: since the last cycle, so that early cycles gain nothing.
    """
    last = state.setpoint_w if state.setpoint_w is not None else present_w
    follows = wanted.bound is Bound.DISPATCH_TARGET
    if wanted.power_w >= last:
        pace_w_per_s = (
            _up_w_per_s(ramp, moves.rises) if follows else _pace(ramp.up_w_per_min, ramp.up_w_per_15s, math.inf)
        )
        ceiling = _highest(state, ramp, last + pace_w_per_s * elapsed_s, present_w, now, moves.rises)
        if wanted.power_w <= ceiling:
            return Ramped(wanted.power_w, None)
        return Ramped(max(ceiling, min(last, present_w)), Bound.RAMP_UP)
    if waived:
        return Ramped(wanted.power_w, None)
    last = way_down_from_w(state, last, wanted.power_w, now)
    if wanted.bound is Bound.FALLBACK:
        floor = last - ramp.fallback_w_per_min / MINUTE_S * elapsed_s
    else:
        pace_w_per_s = (
            _down_w_per_s(state, ramp, last, wanted.power_w, now, moves.falls)
            if follows
            else ramp.down_w_per_min / MINUTE_S
        )
        floor = last - pace_w_per_s * elapsed_s
        lowered_w = highest_lately_w(state, last, now) - ramp.down_w_per_15s
        floor = max(floor, lowered_w, floor_w(state, ramp, now, moves.falls, follows))
    if wanted.power_w >= floor:
        return Ramped(wanted.power_w, None)
    return Ramped(min(floor, last), Bound.RAMP_DOWN)


def _pace(w_per_min: float, w_per_15s: float, share: float) -> float:
    """How fast a setpoint moves, watts a second: by the minute's limit, and so much of what 15 s allow."""
    return min(w_per_min / MINUTE_S, share * w_per_15s / STEP_WINDOW_S)


def _up_w_per_s(ramp: RampPolicy, rises: Next) -> float:
    """How fast the setpoint of a target rises, watts a second."""
    return _pace(ramp.up_w_per_min, ramp.up_w_per_15s, TRIM_PACE if rises.alone else PACE)


def _down_w_per_s(state: State, ramp: RampPolicy, setpoint_w: float, wanted_w: float, now: float, falls: Next) -> float:
    """How fast the setpoint of a target falls towards `wanted_w`, watts a second."""
    if falls.alone:
        return _pace(ramp.down_w_per_min, ramp.down_w_per_15s, TRIM_PACE)
    lately = within(state.power_history, MINUTE_S, now)
    fallen_w = max(max(lately, key=POWER)[1] - setpoint_w, 0.0) if lately else 0.0
    pace_w_per_s = _pace(ramp.down_w_per_min, ramp.down_w_per_15s, PACE)
    first_w, in_15s_w = FIRST_RATIO * (setpoint_w + fallen_w - wanted_w), pace_w_per_s * STEP_WINDOW_S
    if first_w <= pace_w_per_s * FIRST_S or fallen_w >= in_15s_w:
        return pace_w_per_s
    if fallen_w < first_w:
        return min(first_w, in_15s_w) / FIRST_S
    return (in_15s_w - first_w) / (STEP_WINDOW_S - FIRST_S)


def way_down_from_w(state: State, setpoint_w: float, power_w: float, now: float) -> float:
    """Where a way down from the set-point to `power_w` begins, watts. Where the load has not been is no place to begin
    at: the way down from there would move nothing at first."""
    return min(setpoint_w, max(highest_lately_w(state, setpoint_w, now), power_w))


def _highest(state: State, ramp: RampPolicy, stepped_w: float, present_w: float, now: float, rises: Next) -> float:
    """Highest setpoint the up limits allow, watts; stepped_w: as far as this cycle's step leads."""
    minute, step = (within(state.power_history, window_s, now) for window_s in (MINUTE_S, STEP_WINDOW_S))
    return min(
        stepped_w,
        ceiling_w(state, ramp, now, rises),
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
    state: State,
    ramp: RampPolicy,
    power_w: float,
    wanted_w: float,
    limit_w: float,
    now: float,
    elapsed_s: float,
    moves: Moves,
) -> float:
    """By how much trim is ordered ahead of the setpoint `power_w`, watts, negative on the way down.

    A trim takes seconds to arrive. Where the ramp leads to `wanted_w` the setpoint of then is known now; what is
    ordered for it now arrives with it and not behind it. A signal that goes on as it did is met where it will be.
    Never above `limit_w`, the tightest limit of now, nor beyond the load's own ramp. elapsed_s: since the last cycle.
    """
    pace = regulation.w_per_s(state, now)
    if pace < 0.0 and wanted_w <= power_w:
        wanted_w += pace * (moves.falls.middling.in_s + CYCLE_S)
    elif pace > 0.0 and wanted_w >= power_w:
        wanted_w = min(wanted_w + RISE_FORESEEN * pace * (moves.rises.middling.in_s + CYCLE_S), max(limit_w, wanted_w))
    if wanted_w >= power_w:
        most_w = power_w + _up_w_per_s(ramp, moves.rises) * moves.rises.middling.in_s
        return max(min(wanted_w, most_w, ceiling_w(state, ramp, now, moves.rises)) - power_w, 0.0)
    lead_s = moves.falls.middling.in_s + (FALL_AHEAD_S if moves.falls.alone else 0.0)
    pace_w_per_s = _down_w_per_s(state, ramp, power_w, wanted_w, now, moves.falls)
    least_w = max(power_w - pace_w_per_s * lead_s, floor_w(state, ramp, now, moves.falls, True))
    if state.asked_w is not None and not moves.falls.alone and _falls_already(state, ramp, now):
        least_w = max(least_w, state.asked_w - CATCH_UP * pace_w_per_s * elapsed_s)
    return min(max(wanted_w, least_w) - power_w, 0.0)


def _falls_already(state: State, ramp: RampPolicy, now: float) -> bool:
    drawn = within(state.drawn_history, STEP_WINDOW_S, now)
    return bool(drawn) and max(drawn, key=POWER)[1] - drawn[-1][1] > UNDER_WAY * ramp.down_w_per_15s


def remember(state: State, power_w: float, drawn_w: float, now: float) -> None:
    """Keep what the site was committed to draw for the last minute, about one value a second: what the meter shows, and
    with it what was in flight. What it shows alone comes seconds later, and would be asked to wait for itself; that is
    kept apart, for where slow miners and quick ones take turns their seconds add up in the load alone."""
    history = state.power_history
    if history and now - history[-1][0] < 0.8:
        return
    state.drawn_history = (*within(state.drawn_history, STEP_WINDOW_S, now), (now, drawn_w))
    state.power_history = (*within(history, MINUTE_S, now), (now, power_w))
