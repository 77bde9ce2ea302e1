"""A person's orders: caps that hold the site down, and whose a miner is. None of them raises the load above a cap."""

from __future__ import annotations

import numpy as np

from controller.core import estimator, flight, timeline
from controller.core.state import State
from controller.domain.fleet import Fleet, IntArray, Verdict
from controller.domain.plan import Event, EventLevel, OperatorOrder, OperatorVerb


def take_orders(facts: Fleet, state: State, orders: tuple[OperatorOrder, ...], wall: float, now: float) -> list[Event]:
    """Obey what a person ordered, end what has expired, and say so."""
    ended = {operator for operator, ends_at in state.operator_ends.items() if ends_at <= now}
    state.operator_caps = tuple(cap for cap in state.operator_caps if cap.operator not in ended)
    for order in orders:
        _obey(facts, state, order, wall, now)
    state.operator_ends = {c.operator: state.operator_ends[c.operator] for c in state.operator_caps if c.expires_at}
    return [Event("operator_order", EventLevel.INFO, f"{order.verb.value} by {order.operator}") for order in orders]


def _obey(facts: Fleet, state: State, order: OperatorOrder, wall: float, now: float) -> None:
    fleet = state.fleet
    miners = np.array(order.miners, dtype=np.int64)
    match order.verb:
        case OperatorVerb.CAP:
            others = (cap for cap in state.operator_caps if cap.operator != order.operator)
            state.operator_caps = (*others, order)
            if order.expires_at is not None:
                state.operator_ends[order.operator] = timeline.moment_of(order.expires_at, wall, now)
        case OperatorVerb.RELEASE:
            state.operator_caps = tuple(cap for cap in state.operator_caps if cap.expires_at is None)
        case OperatorVerb.ADOPT:
            _adopt(facts, state, miners)
        case OperatorVerb.RESTORE:
            fleet.parked[miners] = True
            flight.take_out_of_flight(fleet, miners, estimator.expected_power_w(fleet, now)[miners])
        case OperatorVerb.UNQUARANTINE:
            held = miners[fleet.verdict[miners] == Verdict.QUARANTINED]
            fleet.quarantined_until[held] = now


def _adopt(facts: Fleet, state: State, miners: IntArray) -> None:
    """Take miners as they are now. What a parked or foreign one runs, or one its owner has raised, is what its owner
    wants: the next reading sets its ceiling and its prior mode anew. A miner we trimmed keeps what it had."""
    fleet = state.fleet
    theirs = fleet.parked | ~(fleet.ours_asleep | fleet.want_hashing) | (fleet.level > fleet.ceiling)
    for miner in miners[theirs[miners]]:
        state.priors.pop(int(miner), None)
        fleet.ceiling[miner] = facts.cap_level[miner]
        if fleet.parked[miner]:
            fleet.verdict[miner] = Verdict.UNSEEN
    fleet.parked[miners] = False
    fleet.ours_asleep[miners] = True
