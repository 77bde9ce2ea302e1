"""How fast the setpoint may move: two envelopes, one for normal moves and none for shedding.

Up is always limited: per minute and within any 15 s, counted from what the site drew and was committed to. Down is
limited too, unless the grid is getting less than its despatch or somebody orders a shed.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from operator import itemgetter

from controller.core.state import State
from controller.domain.plan import Setpoint
from controller.domain.policy import RampPolicy
from controller.domain.reasons import Bound

MINUTE_S = 60.0
STEP_WINDOW_S = 15.0
Entry = tuple[float, float]
POWER = itemgetter(1)  # of an entry of the history
RISE_SHARE = 0.92
"""Of the limit within 15 s, for what is seen of the load itself: a rise can wait for what the model does not know."""


@dataclass(frozen=True, slots=True)
class Ramped:
    """The setpoint for this cycle, watts, and the bound that shaped it (None when the ramp did not bind)."""

    power_w: float
    bound: Bound | None


@dataclass(frozen=True, slots=True)
class Next:
    """The quickest that a move could take next: in `lag_s` seconds their watts move, and until then the load stays
    `owed_w` above (below: negative) what is committed, for what is slower is still on its way."""

    lag_s: float = 0.0
    owed_w: float = 0.0


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
        drawn = within(state.drawn_history, STEP_WINDOW_S, now + falls.lag_s)
        drawn_w = max(drawn, key=POWER)[1] if drawn else -math.inf
        floor = last - ramp.down_w_per_min / MINUTE_S * elapsed_s
        floor = max(
            floor, _highest_lately(state, last, now) - ramp.down_w_per_15s, drawn_w - ramp.down_w_per_15s - falls.owed_w
        )
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
    drawn = within(state.drawn_history, STEP_WINDOW_S, now + rises.lag_s)
    return min(
        last + ramp.up_w_per_min / MINUTE_S * elapsed_s,
        _from_drawn_w(drawn, ramp.up_w_per_15s) - rises.owed_w,
        (min(minute, key=POWER)[1] if minute else present_w) + ramp.up_w_per_min,
        (min(step, key=POWER)[1] if step else present_w) + ramp.up_w_per_15s,
        present_w + ramp.up_w_per_15s,  # a load that cannot follow must not wind the setpoint up
    )


def rises_to_w(state: State, ramp: RampPolicy, after_s: float, now: float) -> float:
    """Where the minute's limit will have let the setpoint rise `after_s` seconds from now, watts: what the site drew of
    late still counts then."""
    lately = within(state.power_history, MINUTE_S - after_s, now) if after_s < MINUTE_S else ()
    return min(lately, key=POWER)[1] + ramp.up_w_per_min if lately else math.inf


def _from_drawn_w(drawn: tuple[Entry, ...], up_w: float) -> float:
    """Where the load may be 15 s after the first of `drawn`. At rest it needs no margin: a unit may be that large."""
    if not drawn:
        return math.inf
    lowest_w = min(drawn, key=POWER)[1]
    rises = drawn[-1][1] - lowest_w > (1.0 - RISE_SHARE) * up_w
    return lowest_w + (RISE_SHARE if rises else 1.0) * up_w


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
