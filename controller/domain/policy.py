"""Every number the core decides with. Filled from the site configuration, which holds the defaults and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.metering import Point


class Mode(StrEnum):
    """CONTROL moves miners; the others command nothing. OBSERVE decides anew each cycle for the fleet as it really is.
    SHADOW decides as if in charge, for a fleet that obeys, and measures that beside the real one."""

    CONTROL = "control"
    OBSERVE = "observe"
    SHADOW = "shadow"


class Feedback(StrEnum):
    """METER: the site meter corrects every prediction. OPEN_LOOP: nameplates only, for comparison runs."""

    METER = "meter"
    OPEN_LOOP = "open_loop"


@dataclass(frozen=True, slots=True)
class RampPolicy:
    """Normal moves. Watts per minute and watts within any 15 s, up and down apart; always > 0."""

    up_w_per_min: float
    down_w_per_min: float
    up_w_per_15s: float
    down_w_per_15s: float
    fallback_w_per_min: float


@dataclass(frozen=True, slots=True)
class InputPolicy:
    """When a measured input stops being believed.

    hold_after_s: older than this, nothing is raised. freeze_after_s: from here on the cap may only fall, and stays
    frozen until `rearm_s` of good data. fallback_after_s: ramp to the fallback, after this site's own offset.
    """

    hold_after_s: float
    freeze_after_s: float
    fallback_after_s: float
    fallback_offset_s: float
    rearm_s: float
    frozen_after_s: float
    balance_tolerance_ratio: float
    balance_step_w: float
    balance_after_s: float
    dcs_heartbeat_after_s: float


@dataclass(frozen=True, slots=True)
class WavePolicy:
    """How many miners of one class may be starting at once on one feeder; see core/waves.

    first: so many at first; growth: times as many after a wave that came up; success_min: share of a wave that must
    come up; pause_s: how long none is woken where fewer did.
    """

    enabled: bool
    first: int
    growth: float
    success_min: float
    pause_s: float


@dataclass(frozen=True, slots=True)
class FleetPolicy:
    """How miners may be moved.

    dwell_on_s, dwell_off_s: shortest stay hashing and asleep. starts_per_day: wakes of one miner in 24 h, those after a
    shed not counted; see core/starts. trim_reserve_ratio: share of the hashing units' range
    kept free upward so that a rise is answered by trim, not by a boot; margin_memory_s: how long a past peak of the
    surplus keeps units hashing. tolerance, deadline, attempts, drift: see core/verify. mass_disconnect_ratio of the
    miners that stop answering within mass_disconnect_window_s: see core/mass. learn: expect of each response class what
    it was seen to do; see core/classes.
    """

    trim: bool
    feedback: Feedback
    dwell_on_s: float
    dwell_off_s: float
    starts_per_day: int
    trim_reserve_ratio: float
    margin_memory_s: float
    wakes_per_cycle_max: int
    commands_per_cycle_max: int
    deadband_up_w: float
    deadband_down_w: float
    deadband_order_w: float
    tolerance_ratio: float
    tolerance_w: float
    deadline_factor: float
    deadline_extra_s: float
    attempts_max: int
    drift_reads: int
    quarantine_s: float
    telemetry_stale_s: float
    adopt_sleepers_at_start: bool
    mass_disconnect_ratio: float
    mass_disconnect_window_s: float
    learn: bool
    waves: WavePolicy


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """Limits of the dispatch contract. With a lease: start in fallback, leave on heartbeat and a fresh order."""

    lease_required: bool
    heartbeat_lost_after_s: float
    clock_skew_s: float
    issued_at_window_s: float
    lifetime_max_s: float
    active_max: int
    remembered_ids_max: int


@dataclass(frozen=True, slots=True)
class Policy:
    """The site's rules, all powers in watts at the site meter."""

    site_id: str
    rated_w: int
    site_cap_w: int
    fallback_w: int
    auxiliary_w: int
    surplus_margin_w: int
    household_tolerance_w: int
    frequency_guard_hz: float
    frequency_min_hz: float
    frequency_max_hz: float
    power_span_w: int
    required_points: frozenset[Point]
    meter_of_point: dict[Point, str]
    cycle_s: float
    mode: Mode
    ramp: RampPolicy
    inputs: InputPolicy
    fleet: FleetPolicy
    dispatch: DispatchPolicy
