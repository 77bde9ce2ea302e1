"""A limit that is exceeded: who hangs below it is lowered, the worst first, whatever the rest of the site may do.

Nothing is raised below a full limit (core/roster). One that carries more than its rating all the same - the rating was
lowered, something else hangs there too, miners came up by themselves - is relieved at once, without a ramp and with no
regard to dwell: a breaker that opens drops everything below it, which is no ramp either. Others may take the watts over
by the ramps in the cycles that follow.
"""

from __future__ import annotations

import math

import numpy as np

from controller.core.roster import Goal, Roster, beside_w
from controller.core.state import State
from controller.core.trimming import lower
from controller.domain.fleet import Fleet, FloatArray
from controller.domain.plan import Event, EventLevel

OVER_RATIO = 0.02  # of the rating: less is what watts are off by
OVER_S = 5.0  # so long, for a boot overshoots and meters are not read in one instant
_RELIEF = Goal(power_w=0.0, wanted_w=0.0, up_w_per_s=0.0, shed=False, waived=True, may_raise=False)


def relieve(roster: Roster) -> bool:
    """Lower who hangs below a limit that has been exceeded for a while; returns whether anybody was."""
    facts, state = roster.facts, roster.state
    rating_w = facts.limits.rating_w[:-1]
    state.limit_load_w = _loads_w(roster)
    over = state.limit_load_w > rating_w * (1.0 + OVER_RATIO)
    state.limit_over_since = np.where(over, np.minimum(state.limit_over_since, roster.now), math.inf)
    due = (over & (roster.now - state.limit_over_since >= OVER_S)).nonzero()[0]
    for limit in due.tolist():
        need_w = float(_loads_w(roster)[limit] - rating_w[limit])  # one below it may have been relieved a moment ago
        if need_w > 0.0:
            lower(roster, need_w, _RELIEF, sleep_first=not roster.policy.trim, among=facts.limits.below(limit))
    return bool(len(due))


def _loads_w(roster: Roster) -> FloatArray:
    """(k,) what each limit will carry soon; a fall that nobody has read is none, for no meter shows where it went."""
    fleet = roster.state.fleet
    soon_w = np.where(fleet.unheard, np.maximum(roster.soon_w, fleet.from_w), roster.soon_w)
    return (roster.facts.limits.miners_w(soon_w) + beside_w(roster.facts, roster.state))[:-1]


def events(facts: Fleet, before: State, after: State, now: float) -> list[Event]:
    """One when a limit has been exceeded for a while, one when it is kept again."""
    found: list[Event] = []
    tree = facts.limits
    was, still = before.now - before.limit_over_since >= OVER_S, now - after.limit_over_since >= OVER_S
    for limit in (was != still).nonzero()[0].tolist():
        load_kw, rating_kw = after.limit_load_w[limit] / 1e3, tree.rating_w[limit] / 1e3
        what = f"{tree.kinds[limit]} {tree.names[limit]} carries {load_kw:.1f} kW and may carry {rating_kw:.1f} kW"
        if still[limit]:
            text = f"{what}: its miners are lowered, the worst first, and none is raised"
            found.append(Event("limit_exceeded", EventLevel.WARNING, text))
        else:
            found.append(Event("limit_kept", EventLevel.INFO, what))
    return found
