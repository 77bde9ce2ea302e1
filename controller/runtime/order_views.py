"""What people are shown of the orders: dispatches in force and to come, and the caps of people."""

from __future__ import annotations

from controller.core.state import ActiveOrder, State
from controller.runtime.explain import View
from controller.wire.canonical import kw_of, utc_text


def orders_view(state: State) -> list[View]:
    """In force."""
    return [{**_order(entry), "reached": entry.reached} for entry in state.orders.active]


def scheduled_view(state: State) -> list[View]:
    """Accepted, and not begun; counted by the clock nobody can set."""
    return [
        {
            **_order(entry),
            "not_before": utc_text(entry.dispatch.not_before or 0.0),
            "starts_in_s": round(entry.starts_at - state.now, 1),
        }
        for entry in sorted(state.orders.scheduled, key=lambda one: one.starts_at)
    ]


def _order(entry: ActiveOrder) -> dict[str, object]:
    return {
        "id": entry.dispatch.dispatch_id,
        "issuer": entry.dispatch.issuer,
        "class": entry.dispatch.dispatch_class.value,
        "kind": entry.dispatch.kind.value,
        "kw": kw_of(entry.answered_w),
        "expires_at": utc_text(entry.dispatch.expires_at),
    }


def operator_caps_view(state: State) -> list[View]:
    return [
        {
            "operator": cap.operator,
            "kw": kw_of(cap.power_w),
            "expires_at": None if cap.expires_at is None else utc_text(cap.expires_at),
        }
        for cap in state.operator_caps
    ]
