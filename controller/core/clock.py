"""The wall clock beside loop time. Control runs on loop time alone; a step of the wall clock is told and waited out.

A step is somebody setting the clock - or a machine that stood still (suspended, migrated) and whose readings only look
fresh. The two cannot be told apart from inside, so after either nothing is raised until the inputs had time to be read
anew. Orders and caps keep the life they were accepted with (core/timeline), and what miners spent of their day is as
long ago as before.
"""

from __future__ import annotations

from controller.core import wear
from controller.core.failsafe_table import TABLE, Condition, Row
from controller.core.state import State
from controller.domain.plan import Event
from controller.domain.policy import Policy

STEP_S = 1.0  # NTP slews by less than 0.1 s a second; more between two cycles is a step


def watch(state: State, policy: Policy, wall: float, now: float) -> list[Event]:
    """Compare the wall clock (UTC seconds) with loop time since the last cycle; says so when it was stepped."""
    ahead_s = wall - now
    before_s, state.wall_ahead_s = state.wall_ahead_s, ahead_s
    if before_s is None or abs(ahead_s - before_s) < STEP_S:
        return []
    step_s = ahead_s - before_s
    wear.shift(state, step_s)
    state.held_until = now + policy.inputs.rearm_s
    condition = Condition.STEPPED_FORWARD if step_s > 0 else Condition.STEPPED_BACK
    cell = TABLE[Row.CLOCK][condition]
    assert cell.level is not None
    text = (
        f"the wall clock was {condition.value} by {abs(step_s):.1f} s; orders and caps in force keep their time, "
        f"nothing is raised for {policy.inputs.rearm_s:g} s"
    )
    return [Event("clock_stepped", cell.level, text)]
