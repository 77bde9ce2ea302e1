"""How much the miners may draw: the surplus in follow mode - generation leads, load follows.

cap = mining load + (export at the POI - despatch) - what is missing of the spinning reserve. It takes only what is
already generated in excess, so no boiler has to catch up and the grid never pays first.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from controller.domain.metering import Point, Quality, Sample
from controller.domain.policy import Policy

FOLLOW_POINTS = (
    Point.POI_EXPORT_W,
    Point.SITE_LOAD_W,
    Point.DESPATCH_EXPORT_W,
    Point.RESERVE_UP_W,
    Point.GROSS_W,
    Point.AVAILABLE_W,
)


@dataclass(frozen=True, slots=True)
class Surplus:
    """One reading of the surplus, watts.

    cap_w: highest site load that takes nothing from the grid, margin not yet taken off; may be below zero.
    """

    cap_w: float


def follow(readings: Mapping[Point, Sample]) -> Surplus | None:
    """Surplus from one set of trusted samples; None when any is missing or not GOOD (no synchronised unit is a doubt,
    core/failsafe)."""
    values: dict[Point, float] = {}
    for point in FOLLOW_POINTS:
        sample = readings.get(point)
        if sample is None or sample.value is None or sample.quality is not Quality.GOOD:
            return None
        values[point] = sample.value
    headroom = values[Point.AVAILABLE_W] - values[Point.GROSS_W]
    reserve_short = max(0.0, values[Point.RESERVE_UP_W] - headroom)
    over_export = values[Point.POI_EXPORT_W] - values[Point.DESPATCH_EXPORT_W]
    return Surplus(cap_w=values[Point.SITE_LOAD_W] + over_export - reserve_short)


def household_deficit_w(readings: Mapping[Point, Sample], policy: Policy) -> float:
    """Watts the grid gets less than its despatch, beyond the tolerance; 0 when nothing is missing or known."""
    export, despatch = readings.get(Point.POI_EXPORT_W), readings.get(Point.DESPATCH_EXPORT_W)
    if export is None or despatch is None or export.value is None or despatch.value is None:
        return 0.0
    return max(0.0, despatch.value - export.value - policy.household_tolerance_w)
