"""How far the last order has got: seconds to 50, 90 and 100 % of the way, at the site meter."""

from __future__ import annotations

from dataclasses import replace

from controller.core.state import State
from controller.domain.plan import OrderProgress

SMALL_STEP_RATIO = 0.02  # of rated: a smaller step drowns in the meter's noise and has no percentages


def begin(state: State, label: str, from_w: float, to_w: float, rated_w: float, now: float) -> None:
    """A new order: measure from here."""
    at_once = 0.0 if abs(to_w - from_w) < SMALL_STEP_RATIO * rated_w else None
    state.progress = OrderProgress(label, at_once, at_once, at_once)
    state.progress_from_w, state.progress_to_w, state.progress_since = from_w, to_w, now


def follow(state: State, measured_w: float | None, tolerance_w: float, now: float) -> None:
    """Enter the moments at which the meter first showed each share of the way, as long as the order is in force."""
    progress = state.progress
    if progress is None or measured_w is None or progress.to_100_s is not None:
        return
    if all(entry.dispatch.dispatch_id != progress.label for entry in state.orders.active):
        return  # what moves the site now is something else
    way = state.progress_to_w - state.progress_from_w
    done = (measured_w - state.progress_from_w) / way
    elapsed = now - state.progress_since
    arrived = done >= 1.0 or abs(measured_w - state.progress_to_w) <= tolerance_w
    state.progress = replace(
        progress,
        to_50_s=_first(progress.to_50_s, done >= 0.5 or arrived, elapsed),
        to_90_s=_first(progress.to_90_s, done >= 0.9 or arrived, elapsed),
        to_100_s=_first(progress.to_100_s, arrived, elapsed),
    )


def _first(known: float | None, now_true: bool, elapsed: float) -> float | None:
    return elapsed if known is None and now_true else known
