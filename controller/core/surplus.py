"""How much the miners may draw: the surplus in follow mode - generation leads, load follows.

cap = mining load + (export at the POI - despatch) - what is missing of the spinning reserve. It takes only what is
already generated in excess, so no boiler has to catch up and the grid never pays first.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from controller.core import offset, trend
from controller.core.state import State
from controller.domain.metering import FOLLOW_POINTS, Point, Quality, Sample, good_value
from controller.domain.policy import Policy


def cap_w(readings: Mapping[Point, Sample]) -> float | None:
    """The highest site load that takes nothing from the grid, watts, from one set of trusted samples; may be below
    zero, and the margin is not taken off yet.

    None when any sample is missing or not GOOD (no synchronised unit is a doubt, core/doubts).
    """
    values: dict[Point, float] = {}
    for point in FOLLOW_POINTS:
        value = good_value(readings, point)
        if value is None:
            return None
        values[point] = value
    headroom = values[Point.AVAILABLE_W] - values[Point.GROSS_W]
    reserve_short = max(0.0, values[Point.RESERVE_UP_W] - headroom)
    over_export = values[Point.POI_EXPORT_W] - values[Point.DESPATCH_EXPORT_W]
    return values[Point.SITE_LOAD_W] + over_export - reserve_short


def household_deficit_w(readings: Mapping[Point, Sample], policy: Policy) -> float:
    """Watts the grid gets less than its despatch, beyond the tolerance; 0 when nothing is missing or known."""
    export, despatch = readings.get(Point.POI_EXPORT_W), readings.get(Point.DESPATCH_EXPORT_W)
    if export is None or despatch is None or export.value is None or despatch.value is None:
        return 0.0
    return max(0.0, despatch.value - export.value - policy.household_tolerance_w)


def at_one_instant(state: State, samples: dict[Point, Sample]) -> dict[Point, Sample]:
    """The samples with the site load of the moment at which the export was read; see offset.load_at_w."""
    export = samples.get(Point.POI_EXPORT_W)
    if export is None:
        return samples
    load_w = offset.load_at_w(state, samples.get(Point.SITE_LOAD_W), export.taken_at)
    if load_w is None:
        return samples
    still = state.still.get(Point.POI_EXPORT_W)
    if still is not None and still.value == export.value and export.taken_at > still.since:
        # Read again, and the same to the last digit: it is no younger than its first sight. A dead meter that still
        # shows room would give that room again with every watt we raise.
        load_w = min(load_w, still.others_w)
    return {**samples, Point.SITE_LOAD_W: Sample(load_w, export.taken_at, Quality.GOOD, "site, at the poi's time")}


def remember(
    state: State, policy: Policy, found_w: float | None, samples: Mapping[Point, Sample], good: bool, moved_at: float
) -> None:
    """Keep the surplus cap through noise and doubt: only with all inputs good may it rise.

    found_w: what `cap_w` says now. moved_at: when what is ordered now will have moved, loop seconds; where the surplus
    falls the cap is what it will be then. Following every dip would put miners to sleep that the next reading wakes.
    """
    if found_w is None or not good:
        state.surplus_track = None
    if found_w is None:
        _guard_household(state, policy, samples)
    elif good:
        noise_w, read_at = policy.fleet.deadband_up_w, samples[Point.POI_EXPORT_W].taken_at
        track = state.surplus_track = trend.follow(state.surplus_track, found_w, read_at, noise_w)
        state.surplus_cap_w = trend.soon_w(track, moved_at - track.at, noise_w) - policy.surplus_margin_w
    else:
        known_w = math.inf if state.surplus_cap_w is None else state.surplus_cap_w
        state.surplus_cap_w = min(known_w, found_w - policy.surplus_margin_w)


def _guard_household(state: State, policy: Policy, samples: Mapping[Point, Sample]) -> None:
    """Without a surplus to follow, export below despatch still shows that the grid pays: the cap falls by it."""
    export, despatch = samples.get(Point.POI_EXPORT_W), samples.get(Point.DESPATCH_EXPORT_W)
    if export is None or despatch is None or household_deficit_w(samples, policy) <= 0.0:
        return
    load_w = offset.load_at_w(state, samples.get(Point.SITE_LOAD_W), export.taken_at)
    if load_w is not None and export.value is not None and despatch.value is not None:
        known = math.inf if state.surplus_cap_w is None else state.surplus_cap_w
        state.surplus_cap_w = min(known, load_w + export.value - despatch.value)
