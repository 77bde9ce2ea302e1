"""A target that is moved every few seconds: where it will be when a trim ordered now has arrived.

A regulation signal is smooth: what has fallen twice falls a third time. A single step says nothing of the kind, and is
not led beyond its end.
"""

from __future__ import annotations

from controller.core.state import State
from controller.domain.plan import Setpoint
from controller.domain.reasons import Bound

FAST_S = 15.0
"""Between two moves at most: regulation signals come every 2 to 10 s. A dispatch of minutes is made of single steps."""
LATE_RATIO = 1.5
"""Of the time between its last two moves: without a third one by then the signal stands still."""


def notice(state: State, wanted: Setpoint, now: float) -> None:
    """Keep the last three powers of a target, each with the second it was first seen."""
    if wanted.bound is not Bound.DISPATCH_TARGET:
        state.target_moves = ()
    elif not state.target_moves or state.target_moves[-1][1] != wanted.power_w:
        state.target_moves = (*state.target_moves[-2:], (now, wanted.power_w))


def w_per_s(state: State, now: float) -> float:
    """How fast the target is moving, watts a second: the slower of its last two moves; 0.0 if they were not one way."""
    if len(state.target_moves) < 3:
        return 0.0
    (first_at, first_w), (before_at, before_w), (last_at, last_w) = state.target_moves
    took_s, last_s = before_at - first_at, last_at - before_at
    if max(took_s, last_s) > FAST_S or now - last_at > LATE_RATIO * last_s:
        return 0.0
    paces = (before_w - first_w) / took_s, (last_w - before_w) / last_s
    return max(min(paces), 0.0) + min(max(paces), 0.0)
