"""What the load itself may do within any 15 s: by what it was seen to draw, and what is still on its way.

A setpoint that keeps its ramp is not enough: slow miners and quick ones take turns, and their seconds add up in the
load alone.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from operator import itemgetter
from typing import Protocol

from controller.core.state import State
from controller.domain.policy import RampPolicy

STEP_WINDOW_S = 15.0
Entry = tuple[float, float]
POWER = itemgetter(1)  # of an entry of the history
RISE_SHARE, TRIM_FALL_SHARE, FALL_SHARE, TURN_SHARE = 0.935, 0.95, 0.94, 0.81
"""Of the limits within 15 s. Boots cannot be held up, and each sleeper differs from its class by more than a trimmer;
where the load turned within them the peak, or the dip, is known least."""
TURNED_RATIO = 0.03
"""Of the limit: a peak or a dip larger than that is a turn. On a long way smaller bumps are slow miners and quick ones
taking turns, and to stop at each would leave it behind."""
SEEN_S = 4.0
"""So many seconds of the site meter are averaged, for its noise."""


@dataclass(frozen=True, slots=True)
class Moment:
    """When what is ordered now is felt: half of its watts have moved `in_s` seconds from now.

    owed_w: so much the load will then be above (below: negative) what is committed, for what is slower is still on its
    way. then_w: what the site will draw with what is ordered already, watts; None when it is not known.
    """

    in_s: float = 0.0
    owed_w: float = 0.0
    then_w: float | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """Who moves next: the quickest of them, and the middling ones. alone: their range leads all the way, and nobody
    boots or sleeps for it."""

    quickest: Moment = Moment()
    middling: Moment = Moment()
    alone: bool = False


NOBODY = Next()


class Moves(Protocol):
    """Who moves next, down and up."""

    @property
    def falls(self) -> Next: ...

    @property
    def rises(self) -> Next: ...


@dataclass(frozen=True, slots=True)
class KnownMoves:
    """Where both are known already."""

    falls: Next = NOBODY
    rises: Next = NOBODY


NO_MOVES = KnownMoves()


def ceiling_w(state: State, ramp: RampPolicy, now: float, rises: Next) -> float:
    """The most that may be committed now so that the load itself keeps its limit within 15 s when it arrives. At rest
    that needs no margin: a unit may be that large."""
    return min(_ceiling_w(state, ramp, now, one) for one in (rises.quickest, rises.middling))


def _ceiling_w(state: State, ramp: RampPolicy, now: float, felt: Moment) -> float:
    drawn = _until_then(state, now, felt)
    if not drawn:
        return math.inf
    lowest_w = min(drawn, key=POWER)[1]
    turned = drawn[0][1] - lowest_w > TURNED_RATIO * ramp.up_w_per_15s
    share = TURN_SHARE if turned else RISE_SHARE
    rising = drawn[-1][1] - lowest_w > (1.0 - share) * ramp.up_w_per_15s
    most_w = lowest_w + (share if rising else 1.0) * ramp.up_w_per_15s - felt.owed_w
    return most_w - max(unforeseen_w(state, now), 0.0)


def floor_w(state: State, ramp: RampPolicy, now: float, falls: Next, follows: bool) -> float:
    """The same for the least. A limit is to be reached, and is given all that the load was seen to leave, by the meter
    too; what `follows` a target is ahead of its fall and keeps a margin."""
    moments = (falls.quickest, falls.middling) if follows else (falls.quickest,)
    share = TRIM_FALL_SHARE if falls.alone else FALL_SHARE
    return max(_floor_w(state, ramp, now, one, share, follows) for one in moments)


def _floor_w(state: State, ramp: RampPolicy, now: float, felt: Moment, even_share: float, follows: bool) -> float:
    drawn = _until_then(state, now, felt) if follows else _lately(state, now, felt.in_s)
    if not drawn:
        return -math.inf
    seen = () if follows else within(state.metered, STEP_WINDOW_S, now + felt.in_s)
    highest_w = max((*drawn, *seen), key=POWER)[1]
    turned = highest_w - drawn[0][1] > TURNED_RATIO * ramp.down_w_per_15s
    share = TURN_SHARE if turned else even_share
    falling = follows and highest_w - drawn[-1][1] > (1.0 - share) * ramp.down_w_per_15s
    least_w = highest_w - (share if falling else 1.0) * ramp.down_w_per_15s - felt.owed_w
    return least_w - min(unforeseen_w(state, now), 0.0) if follows else least_w


def unforeseen_w(state: State, now: float) -> float:
    """By how much the load rose in the last 15 s beyond what was believed, by the site meter, watts; negative: fell.

    0.0 while the meter is silent: who follows nothing then has other margins.
    """
    lately = _beyond_belief_w(state, now)
    before = _beyond_belief_w(state, now - STEP_WINDOW_S + SEEN_S)
    return 0.0 if lately is None or before is None else lately - before


def _beyond_belief_w(state: State, at: float) -> float | None:
    """What the meter showed beyond what was believed, the mean of the last seconds before `at`; None of too few."""
    beyond = []
    for seen_at, seen_w in state.metered[-math.ceil(2.0 * STEP_WINDOW_S) :]:
        after = bisect_left(state.drawn_history, seen_at, key=itemgetter(0))
        if at - SEEN_S < seen_at <= at and 0 < after < len(state.drawn_history):
            (t0, w0), (t1, w1) = state.drawn_history[after - 1 : after + 1]
            beyond.append(seen_w - w0 - (w1 - w0) * (seen_at - t0) / (t1 - t0))
    return sum(beyond) / len(beyond) if len(beyond) > 1 else None


def highest_lately_w(state: State, otherwise_w: float, now: float) -> float:
    """The most that was drawn or committed in the last 15 s, watts."""
    lately = within(state.power_history, STEP_WINDOW_S, now)
    return max(lately, key=POWER)[1] if lately else otherwise_w


def _until_then(state: State, now: float, felt: Moment) -> tuple[Entry, ...]:
    """What the load was, and will be, in the 15 s that end when what is ordered now is felt."""
    drawn = _lately(state, now, felt.in_s)
    return drawn if felt.then_w is None else (*drawn, (now + felt.in_s, felt.then_w))


def _lately(state: State, now: float, in_s: float) -> tuple[Entry, ...]:
    return within(state.drawn_history, STEP_WINDOW_S, now + in_s)


def within(history: tuple[Entry, ...], window_s: float, now: float) -> tuple[Entry, ...]:
    """What of it is no older than so many seconds; the oldest comes first."""
    return history[bisect_left(history, -window_s, key=lambda entry: entry[0] - now) :]
