"""Whom a shed tells to sleep though nobody counts on it: it may hear, and that costs one order.

No plan counts on who is in quarantine, yet it may draw: for want of trims, or because it did not sleep an hour ago. Who
answers reads that say nothing was told once, and nobody knows what came of it.
"""

from __future__ import annotations

from controller.core import estimator, figures
from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, Verdict
from controller.domain.policy import FleetPolicy


def to_ask(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> BoolArray:
    """(n,) who is told now: of the quarantined whoever may draw, once a shed, where all who obey are not enough; of
    those whose reads tell nothing, whoever was told once in this shed and tells nothing still when it has had its time.
    """
    fleet = state.fleet
    ready = ~fleet.parked & (now >= fleet.retry_at)
    quarantined = fleet.verdict == Verdict.QUARANTINED
    told_once = (fleet.verb == estimator.SLEEP) & (fleet.changed_before < state.shed_since)
    still_unknown = (fleet.condition == Condition.UNKNOWN) & (fleet.unknown_at >= fleet.deadline_at)
    unread: BoolArray = ready & told_once & still_unknown & ~quarantined & (fleet.verdict != Verdict.UNSEEN)
    if bool((fleet.want_hashing & ~figures.beyond_orders(fleet)).any()):
        return unread
    answers = (fleet.condition != Condition.UNREACHABLE) & (fleet.condition != Condition.CONTRADICTS)
    draws = fleet.to_w > facts.sleep_power_w + policy.tolerance_w
    untold = (fleet.changed_at < state.shed_since) & (fleet.verb == NO_COMMAND)
    asked: BoolArray = unread | (ready & quarantined & answers & draws & untold)
    return asked
