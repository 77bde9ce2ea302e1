"""What a checkpoint keeps of orders: those in force and those to come, the lease they hang on, and operators' caps.

Their ends are kept as times to go: what the wall clock says after a restart decides nothing.
"""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from typing import Any

from controller.core.state import ActiveOrder, OrderBook, State
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind
from controller.domain.plan import OperatorOrder, OperatorVerb


def of_orders(state: State, now: float) -> dict[str, Any]:
    """JSON-able. Orders to come by themselves: an earlier program that takes over leaves them alone rather than begins
    them at once."""
    scheduled = [
        {**_of_order(entry, now), "dispatch": asdict(entry.dispatch), "starts_in_s": entry.starts_at - now}
        for entry in state.orders.scheduled
    ]
    return {
        "orders": [_of_order(entry, now) for entry in state.orders.active],
        **({"scheduled": scheduled} if scheduled else {}),
        "last_seq": dict(state.orders.last_seq),
        "seen_ids": list(state.orders.seen_ids),
        "lease": {
            "held": state.orders.lease_held,
            "order_age_s": age(now, state.orders.lease_order_at),
            "heard_age_s": age(now, state.orders.lease_heard_at),
        },
        "operator_caps": [asdict(order) for order in state.operator_caps],
        "operator_ends_in_s": {operator: ends_at - now for operator, ends_at in state.operator_ends.items()},
    }


def recall_orders(state: State, record: dict[str, Any], now: float, wall: float) -> None:
    """wall: UTC seconds; records without ends of orders have it to go by."""
    lease = record.get("lease", {})
    state.orders = OrderBook(
        tuple(_order(entry, now, wall) for entry in record["orders"]),
        dict(record["last_seq"]),
        tuple(record["seen_ids"]),
        lease_held=bool(lease.get("held")),
        lease_order_at=moment_of(now, lease.get("order_age_s")),
        lease_heard_at=moment_of(now, lease.get("heard_age_s")),
        scheduled=tuple(
            replace(_order(entry, now, wall), starts_at=now + entry["starts_in_s"])
            for entry in record.get("scheduled", [])
        ),
    )
    state.operator_caps = tuple(
        OperatorOrder(**{**entry, "verb": OperatorVerb(entry["verb"]), "miners": tuple(entry["miners"])})
        for entry in record["operator_caps"]
    )
    ends_in_s = record.get("operator_ends_in_s", {})
    state.operator_ends = {
        cap.operator: now + ends_in_s.get(cap.operator, cap.expires_at - wall)
        for cap in state.operator_caps
        if cap.expires_at is not None
    }


def age(now: float, moment: float) -> float | None:
    """Seconds since then; None of what never was."""
    return None if math.isinf(moment) else now - moment


def moment_of(now: float, age_s: float | None) -> float:
    """Back from an age to a loop second."""
    return -math.inf if age_s is None else now - age_s


def _of_order(entry: ActiveOrder, now: float) -> dict[str, Any]:
    """Without a start: that of an order in force is over, and earlier programs know none."""
    dispatch = asdict(entry.dispatch)
    del dispatch["not_before"]
    return {
        "dispatch": dispatch,
        "answered_w": entry.answered_w,
        "reached": entry.reached,
        "ends_in_s": entry.ends_at - now,
    }


def _order(entry: dict[str, Any], now: float, wall: float) -> ActiveOrder:
    ends_in_s = entry.get("ends_in_s", entry["dispatch"]["expires_at"] - wall)
    return ActiveOrder(_dispatch(entry["dispatch"]), entry["answered_w"], entry["reached"], now + ends_in_s)


def _dispatch(fields: dict[str, Any]) -> Dispatch:
    return Dispatch(
        **{
            **fields,
            "dispatch_class": DispatchClass(fields["dispatch_class"]),
            "kind": DispatchKind(fields["kind"]),
        }
    )
