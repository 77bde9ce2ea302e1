"""Who says how much: every source proposes a bound, the tightest wins, and the result names it.

A person or a dispatcher can always lower the site. No proposal raises it above the surplus cap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from controller.core import frequency
from controller.core.failsafe_table import TABLE, Action, Condition, Row
from controller.core.state import ActiveOrder, State
from controller.domain.dispatch import DispatchClass, DispatchKind
from controller.domain.metering import Point, Sample, good_value
from controller.domain.plan import Event, EventLevel, InputState, Setpoint
from controller.domain.policy import Policy
from controller.domain.reasons import Bound

REACHED_TOLERANCE_RATIO = 0.02  # of rated: grid programmes count a load as there within 2 % of its rating
RANK = {bound: rank for rank, bound in enumerate(Bound)}
# The guards whose word the fail-safe table answers with a shed, and an order that is one by itself.
BOUND_OF_GUARD = {
    Row.TRIP: Bound.TRIP,
    Row.PERMIT: Bound.TRIP,
    Row.EMERGENCY: Bound.GRID_EMERGENCY,
    Row.FREQUENCY: Bound.GRID_EMERGENCY,
}
SHEDDING = frozenset(
    {
        Bound.EMERGENCY_DISPATCH,
        *(bound for row, bound in BOUND_OF_GUARD.items() if TABLE[row][Condition.STOP].action is Action.SHED),
    }
)
SOMEBODYS = frozenset({Bound.DISPATCH_CAP, Bound.OPERATOR})  # limits that somebody set, kept to by a ramp


@dataclass(frozen=True, slots=True)
class Proposal:
    """One source's upper bound on the site's power, watts; `expires_at` in UTC seconds, None for standing ones."""

    bound: Bound
    power_w: float
    source: str
    expires_at: float | None = None


def proposals(
    state: State, policy: Policy, samples: dict[Point, Sample], surplus_cap_w: float | None, floor_w: float
) -> list[Proposal]:
    """Every bound in force now. The surplus cap comes in with its margin taken off; None when it is unknown.

    Remembers in `state` that the frequency is low: two readings in a row must say so, and a grid that lingers at the
    guard must not have the load come and go.
    """
    found = [Proposal(Bound.SITE_RATING, float(min(policy.site_cap_w, policy.rated_w)), "site.cap")]
    if _flag(samples, Point.TRIP) or _permit_withdrawn(samples):
        found.append(Proposal(Bound.TRIP, floor_w, "plant.trip"))
    if _flag(samples, Point.GRID_EMERGENCY):
        found.append(Proposal(Bound.GRID_EMERGENCY, floor_w, "plant.grid_emergency"))
    state.low_frequency = frequency.follow(state.low_frequency, samples.get(Point.FREQUENCY_HZ), policy)
    hertz = good_value(samples, Point.FREQUENCY_HZ)
    if hertz is not None and state.low_frequency is not None and state.low_frequency.counts:
        found.append(Proposal(Bound.GRID_EMERGENCY, floor_w, f"frequency {hertz:.2f} Hz"))
    found.extend(
        Proposal(Bound.OPERATOR, float(order.power_w), order.operator, order.expires_at)
        for order in state.operator_caps
        if order.power_w is not None
    )
    found.extend(order_bounds(state.orders.active))
    if surplus_cap_w is not None:
        found.append(Proposal(Bound.SURPLUS, surplus_cap_w, "poi"))
    return found


def order_bounds(orders: tuple[ActiveOrder, ...]) -> list[Proposal]:
    """Those of them that are upper bounds."""
    found: list[Proposal] = []
    for entry in orders:
        dispatch = entry.dispatch
        power = float(dispatch.power_w or 0)  # not what was answered: the floor may have moved since
        if dispatch.dispatch_class is DispatchClass.EMERGENCY:
            found.append(Proposal(Bound.EMERGENCY_DISPATCH, power, dispatch.dispatch_id, dispatch.expires_at))
        elif dispatch.kind is DispatchKind.CAP:
            found.append(Proposal(Bound.DISPATCH_CAP, power, dispatch.dispatch_id, dispatch.expires_at))
    return found


def tightest(bounds: list[Proposal], worst: InputState, fallback_w: float, floor_w: float) -> Proposal:
    """The bound that holds the site down most, at the power it can be held to: nobody gets below the floor.

    Bounds are compared at the floor, not below it: a normal bound that asks for less than anybody can give must not
    take the place of a shed, and its speed.
    """
    if worst is InputState.FALLBACK:
        bounds = [*bounds, Proposal(Bound.FALLBACK, fallback_w, "failsafe")]
    limit = min(bounds, key=lambda proposal: (max(proposal.power_w, floor_w), RANK[proposal.bound]))
    return replace(limit, power_w=max(limit.power_w, floor_w))


def urgent_limit(bounds: list[Proposal], floor_w: float) -> Setpoint | None:
    """The tightest of the bounds that shed, as a setpoint; None without one. It holds at once, whatever lower power is
    approached by a ramp meanwhile."""
    shedding = [proposal for proposal in bounds if proposal.bound in SHEDDING]
    if not shedding:
        return None
    limit = min(shedding, key=lambda proposal: (max(proposal.power_w, floor_w), RANK[proposal.bound]))
    return Setpoint(max(limit.power_w, floor_w), limit.bound, limit.source, limit.expires_at, shed=True)


def decide(
    state: State, bounds: list[Proposal], worst: InputState, fallback_w: float, floor_w: float, wishes: bool = True
) -> Setpoint:
    """The tightest bound, or the target order if it fits below it; never under the floor, which no command removes.

    wishes: False, and no target is looked at.
    """
    limit = tightest(bounds, worst, fallback_w, floor_w)
    wish = wish_of(state.orders.active) if wishes else None
    chosen = wish if wish is not None and max(wish.power_w, floor_w) < limit.power_w else limit
    return Setpoint(
        power_w=max(chosen.power_w, floor_w),
        bound=chosen.bound,
        source=chosen.source,
        expires_at=chosen.expires_at,
        shed=chosen.bound in SHEDDING,
    )


def shed_events(state: State, setpoint: Setpoint) -> list[Event]:
    """Says when the site begins to be shed, when something else sheds it, and when that is over."""
    before, state.shed_by = state.shed_by, setpoint.bound if setpoint.shed else None
    if before is state.shed_by:
        return []
    if state.shed_by is None:
        return [Event("shed_over", EventLevel.INFO, f"{setpoint.bound.value} binds now; the way back is ramped")]
    text = f"{setpoint.source}: at once to {setpoint.power_w / 1000:.1f} kW"
    return [Event("shed", EventLevel.WARNING, text)]


def wish_of(orders: tuple[ActiveOrder, ...]) -> Proposal | None:
    """The target order that counts: highest priority, then the lowest power."""
    targets = [
        entry
        for entry in orders
        if entry.dispatch.kind is DispatchKind.TARGET and entry.dispatch.dispatch_class is not DispatchClass.EMERGENCY
    ]
    if not targets:
        return None
    first = min(targets, key=lambda entry: (-entry.dispatch.priority, entry.dispatch.power_w or 0))
    dispatch = first.dispatch
    return Proposal(Bound.DISPATCH_TARGET, float(dispatch.power_w or 0), dispatch.dispatch_id, dispatch.expires_at)


def _flag(samples: dict[Point, Sample], point: Point) -> bool:
    sample = samples.get(point)
    return sample is not None and sample.value is not None and not math.isclose(sample.value, 0.0)


def _permit_withdrawn(samples: dict[Point, Sample]) -> bool:
    """A plant that exposes a permit must show it; a plant without one has no say here."""
    sample = samples.get(Point.PERMIT)
    return sample is not None and sample.value is not None and math.isclose(sample.value, 0.0)
