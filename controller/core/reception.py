"""Orders in, answers out, and the lease of who gives them."""

from __future__ import annotations

import math
from dataclasses import replace

from controller.core import arbiter, failsafe, lookahead, progress, timeline
from controller.core.failsafe import Trust
from controller.core.state import State
from controller.domain.dispatch import Answer, Dispatch, DispatchClass, DispatchKind
from controller.domain.fleet import Fleet
from controller.domain.plan import InputState, Snapshot
from controller.domain.policy import Policy


def receive(
    facts: Fleet,
    state: State,
    policy: Policy,
    paced: Policy,
    snapshot: Snapshot,
    trust: Trust,
    measured_w: float | None,
    floor_w: float,
    now: float,
) -> list[Answer]:
    """What this cycle answers. paced: the policy with the ramps as they may be used now. floor_w: see core/figures."""
    wall = snapshot.wall
    ledger = timeline.Ledger(state.orders)
    timeline.expire(ledger, wall, now)
    for message in timeline.begin(ledger, wall, now):
        _begin_progress(state, policy, message, measured_w, floor_w, now)
    accepted_any = False

    def late(order: Dispatch) -> str:
        return lookahead.why_late(facts, state, paced, order, floor_w, wall, now)

    for received in snapshot.received:
        order = received.message
        accepted = timeline.admit(ledger, policy, received, round(floor_w), wall, now, late)
        moves = isinstance(order, Dispatch) and order.dispatch_class is not DispatchClass.TEST
        # One for later says nothing of now: it is no fresh order that would end a fail-safe.
        if accepted and moves and isinstance(order, Dispatch) and not timeline.is_scheduled(order, policy, wall):
            accepted_any = True
            _begin_progress(state, policy, order, measured_w, floor_w, now)
    timeline.mark_reached(ledger, measured_w, arbiter.REACHED_TOLERANCE_RATIO * policy.rated_w, wall)
    _keep_lease(state, ledger, trust, snapshot.dispatcher_heartbeat_at, accepted_any, now)
    return ledger.answers


def _keep_lease(
    state: State, ledger: timeline.Ledger, trust: Trust, heartbeat_at: float | None, accepted_any: bool, now: float
) -> None:
    dispatcher = next((entry for entry in trust.health if entry.name == failsafe.DISPATCHER), None)
    alive = dispatcher is not None and dispatcher.condition != failsafe.NO_HEARTBEAT
    held = dispatcher is not None and dispatcher.state is InputState.GOOD
    # An order from before the loss is not fresh. One from after it is, should the heartbeat come a little later.
    order_at = -math.inf if ledger.book.lease_held and not alive else ledger.book.lease_order_at
    state.orders = replace(
        ledger.book,
        lease_held=held,
        lease_order_at=now if accepted_any else order_at,
        lease_heard_at=ledger.book.lease_heard_at if heartbeat_at is None else heartbeat_at,
    )


def _begin_progress(
    state: State, policy: Policy, message: Dispatch, measured_w: float | None, floor_w: float, now: float
) -> None:
    if message.kind is DispatchKind.RELEASE or measured_w is None:
        return
    goal_w = max(float(message.power_w or 0), floor_w)
    if message.kind is DispatchKind.CAP:
        goal_w = min(goal_w, measured_w)
    progress.begin(state, message.dispatch_id, measured_w, goal_w, policy.rated_w, now)
