"""From the document to numbers: shares become watts, defaults that follow from other keys are worked out."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from typing import Final

from controller.config.outside_sections import MeterSettings
from controller.config.quantities import Amount
from controller.config.sections import Document
from controller.domain.metering import FOLLOW_POINTS, Point
from controller.domain.policy import (
    DispatchPolicy,
    Feedback,
    FleetPolicy,
    InputPolicy,
    Mode,
    Policy,
    RampPolicy,
    WavePolicy,
)

Numbers = dict[str, float]

MEGAWATT: Final = 1_000_000
# Which points each feed brings. Frequency and voltage are the poi meter's: it measures them, the plant repeats them.
POINTS_OF_FEED: Final[Mapping[str, tuple[Point, ...]]] = {
    "poi_export": (Point.POI_EXPORT_W, Point.FREQUENCY_HZ, Point.VOLTAGE_V, Point.POI_EXPORT_ENERGY_WH),
    "site_load": (Point.SITE_LOAD_W, Point.SITE_ENERGY_WH),
    "feeder": (Point.FEEDER_LOAD_W,),
    "plant": (
        Point.DESPATCH_EXPORT_W,
        Point.RESERVE_UP_W,
        Point.GROSS_W,
        Point.AVAILABLE_W,
        Point.AUXILIARY_W,
        Point.DCS_POI_EXPORT_W,
        Point.SYNCHRONISED_UNITS,
        Point.DCS_HEARTBEAT,
        Point.GRID_EMERGENCY,
        Point.TRIP,
        Point.PERMIT,
    ),
}
REQUIRED_FEEDS: Final = ("poi_export", "site_load", "plant")

# Worked out in this order; each may use what stands above it. The words for people stand at the keys, in sections.py.
_DERIVED: Final[Mapping[str, Callable[[Numbers], float]]] = {
    "site.cap": lambda n: n["site.rated"],
    "site.fallback": lambda n: n["site.auxiliary"],
    "control.household_tolerance": lambda n: max(0.01 * n["site.rated"], 2 * n["meter.step"]),
    "control.deadband_up": lambda n: max(0.01 * n["site.rated"], 2 * n["meter.step"]),
    "control.deadband_order": lambda n: max(0.001 * n["site.rated"], 2 * n["meter.step"]),
    "ramp.up": lambda n: min(8 * MEGAWATT, 0.08 * n["site.rated"]),
    "ramp.down": lambda n: min(20 * MEGAWATT, 0.20 * n["site.rated"]),
    "ramp.up_15s": lambda n: min(5 * MEGAWATT, 0.05 * n["site.rated"], n["ramp.up"]),
    "ramp.down_15s": lambda n: min(5 * MEGAWATT, 0.05 * n["site.rated"], n["ramp.down"]),
    "failsafe.balance_step": lambda n: 2 * n["meter.step"],
    "failsafe.frequency_guard": lambda n: 0.99 * n["site.frequency"],
    "failsafe.frequency_min": lambda n: 0.90 * n["site.frequency"],
    "failsafe.frequency_max": lambda n: 1.10 * n["site.frequency"],
    "fleet.mass_disconnect_window": lambda n: 1.5 * n["fleet.sweep_period"],
    "fleet.wakes_per_cycle": lambda n: max(2, math.ceil(0.01 * n["fleet.size"])),
    "fleet.commands_per_cycle": lambda n: max(50, math.ceil(0.20 * n["fleet.size"])),
}


def resolve(document: Document, fleet_size: int) -> Numbers:
    """Every numeric key of the single sections in the house's units (`section.key`), derived defaults included.

    Beside the keys: `meter.step` (coarsest of the required meters, W), `fleet.size` and `failsafe.fallback_offset` (s).
    """
    numbers: Numbers = {"fleet.size": fleet_size, "site.rated": document.site.rated}
    required = (meter for meter in document.meter if meter.feeds in REQUIRED_FEEDS)
    numbers["meter.step"] = max((meter.resolution for meter in required), default=0)
    for section, model in document:
        for name, value in model if not isinstance(model, tuple) else ():
            if isinstance(value, Amount):
                numbers[f"{section}.{name}"] = value.of(document.site.rated)
            elif isinstance(value, int | float) and not isinstance(value, bool):
                numbers[f"{section}.{name}"] = value
    for key, rule in _DERIVED.items():
        if key not in numbers:
            numbers[key] = round(rule(numbers), 6)  # 1.1 x 50 Hz is 55 Hz, whatever floats make of it
    numbers["failsafe.fallback_offset"] = fallback_offset_s(document.site.id, numbers["failsafe.fallback_offset_max"])
    return numbers


def fallback_offset_s(site_id: str, largest_s: float) -> float:
    """This site's own place in [0, largest_s), from a hash of its id: even over many sites, the same for ever."""
    digest = hashlib.sha256(site_id.encode()).digest()
    return round(int.from_bytes(digest[:8], "big") / 2**64 * largest_s, 3)


def direction_sign(meter: MeterSettings) -> int:
    """+1 when a positive reading is what the point's name says (export at the poi, load elsewhere), else -1."""
    natural = {"poi_export": "export", "site_load": "import", "feeder": "import"}.get(meter.feeds)
    return 1 if natural is None or meter.direction == natural else -1


def build_policy(document: Document, numbers: Numbers) -> Policy:
    """The numbers the core decides with. The document is trusted here: configuration checked it."""
    n = numbers
    return Policy(
        site_id=document.site.id,
        rated_w=document.site.rated,
        site_cap_w=round(n["site.cap"]),
        fallback_w=round(n["site.fallback"]),
        auxiliary_w=document.site.auxiliary,
        surplus_margin_w=round(n["control.surplus_margin"]),
        household_tolerance_w=round(n["control.household_tolerance"]),
        frequency_guard_hz=n["failsafe.frequency_guard"],
        frequency_min_hz=n["failsafe.frequency_min"],
        frequency_max_hz=n["failsafe.frequency_max"],
        power_span_w=document.site.power_span,
        required_points=frozenset(FOLLOW_POINTS),
        meter_of_point={
            point: meter.id
            for meter in document.meter
            if meter.feeds in REQUIRED_FEEDS
            for point in POINTS_OF_FEED[meter.feeds]
        },
        cycle_s=document.control.cycle,
        mode=Mode(document.control.mode),
        ramp=RampPolicy(
            up_w_per_min=n["ramp.up"],
            down_w_per_min=n["ramp.down"],
            up_w_per_15s=n["ramp.up_15s"],
            down_w_per_15s=n["ramp.down_15s"],
            fallback_w_per_min=n["ramp.fallback"],
        ),
        inputs=_inputs(document, n),
        fleet=_fleet(document, n),
        dispatch=_dispatch(document),
    )


def _inputs(document: Document, n: Numbers) -> InputPolicy:
    rules = document.failsafe
    return InputPolicy(
        hold_after_s=rules.hold_after,
        freeze_after_s=rules.freeze_after,
        fallback_after_s=rules.fallback_after,
        fallback_offset_s=n["failsafe.fallback_offset"],
        rearm_s=rules.rearm_after,
        frozen_after_s=rules.frozen_after,
        balance_tolerance_ratio=rules.balance_tolerance,
        balance_step_w=n["failsafe.balance_step"],
        balance_after_s=rules.balance_after,
        dcs_heartbeat_after_s=rules.dcs_heartbeat_after,
    )


def _fleet(document: Document, n: Numbers) -> FleetPolicy:
    rules, verify, waves = document.fleet, document.verify, document.waves
    return FleetPolicy(
        trim=document.control.trim,
        feedback=Feedback(document.control.feedback),
        dwell_on_s=rules.dwell_on,
        dwell_off_s=rules.dwell_off,
        starts_per_day=rules.starts_per_day,
        trim_reserve_ratio=rules.trim_reserve,
        margin_memory_s=rules.margin_memory,
        wakes_per_cycle_max=int(n["fleet.wakes_per_cycle"]),
        commands_per_cycle_max=int(n["fleet.commands_per_cycle"]),
        deadband_up_w=n["control.deadband_up"],
        deadband_down_w=n["control.deadband_down"],
        deadband_order_w=n["control.deadband_order"],
        tolerance_ratio=verify.tolerance,
        tolerance_w=verify.tolerance_min,
        deadline_factor=verify.deadline_factor,
        deadline_extra_s=verify.deadline_extra,
        attempts_max=verify.attempts,
        drift_reads=verify.drift_reads,
        quarantine_s=verify.quarantine,
        telemetry_stale_s=verify.telemetry_stale,
        adopt_sleepers_at_start=rules.adopt_sleepers_at_start,
        mass_disconnect_ratio=rules.mass_disconnect_share,
        mass_disconnect_window_s=n["fleet.mass_disconnect_window"],
        learn=rules.learn,
        waves=WavePolicy(
            enabled=waves.enabled,
            first=waves.first,
            growth=waves.growth,
            success_min=waves.success_min,
            pause_s=waves.pause,
        ),
    )


def _dispatch(document: Document) -> DispatchPolicy:
    rules = document.dispatch
    return DispatchPolicy(
        lease_required=rules.lease == "required",
        heartbeat_lost_after_s=rules.heartbeat_lost_after,
        clock_skew_s=rules.clock_skew,
        issued_at_window_s=rules.issued_at_window,
        lifetime_max_s=rules.lifetime_max,
        active_max=rules.active_max,
        remembered_ids_max=rules.remembered_ids,
    )
