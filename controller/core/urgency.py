"""One pure question over one new input: must the next cycle start now? It never acts by itself."""

from __future__ import annotations

from controller.core.surplus import household_deficit_w
from controller.domain.dispatch import Dispatch, Received
from controller.domain.metering import Point, Quality, Readings
from controller.domain.policy import Policy


def readings_urgent(policy: Policy, latest: Readings) -> bool:
    """True on a trip, a withdrawn permit, an emergency flag, low frequency, or an export below the despatch."""
    if _value(latest, Point.TRIP, 0.0) != 0.0 or _value(latest, Point.GRID_EMERGENCY, 0.0) != 0.0:
        return True
    if _value(latest, Point.PERMIT, 1.0) == 0.0:
        return True
    frequency_hz = _value(latest, Point.FREQUENCY_HZ, policy.frequency_guard_hz)
    if policy.frequency_min_hz <= frequency_hz < policy.frequency_guard_hz:
        return True  # below the minimum it is a register that lies (core/failsafe), not a grid
    return household_deficit_w(latest, policy) > 0.0


def message_urgent(received: Received) -> bool:
    """True for every order, whether or not it will be found valid: its issuer waits for an answer (decision 0008)."""
    return isinstance(received.message, Dispatch) and not received.retained


def _value(readings: Readings, point: Point, otherwise: float) -> float:
    sample = readings.get(point)
    if sample is None or sample.value is None or sample.quality is not Quality.GOOD:
        return otherwise
    return sample.value
