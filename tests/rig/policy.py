"""A site's policy with every field said: what the site file would hold, as fractions of rated power where it helps."""

from __future__ import annotations

from dataclasses import dataclass

from controller.domain.metering import FOLLOW_POINTS
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

METER_STEP_W = 1_000.0
WAVES = WavePolicy(enabled=True, first=40, growth=1.5, success_min=0.8, pause_s=300.0)


@dataclass(frozen=True, slots=True)
class Rules:
    """The part of a policy that runs differ in. Ratios are of rated power."""

    ramp_up_ratio_per_min: float = 0.40
    ramp_down_ratio_per_min: float = 0.40
    step_15s_ratio: float = 0.10
    dwell_on_s: float = 60.0
    dwell_off_s: float = 30.0
    starts_per_day: int = 24
    trim_reserve_ratio: float = 0.10
    margin_memory_s: float = 300.0
    wakes_per_cycle: int | None = None  # None: what the configuration derives
    quarantine_s: float = 3600.0
    fallback_offset_s: float = 5.0
    adopt_sleepers_at_start: bool = True
    lease_required: bool = False
    trim: bool = True
    feedback: Feedback = Feedback.METER
    learn: bool = True
    waves: WavePolicy = WAVES


def site_policy(*, rated_w: int, auxiliary_w: int, power_span_w: int, fleet_size: int, rules: Rules) -> Policy:
    """The policy the configuration would build for a site of this size under these rules."""
    deadband_up_w = max(0.01 * rated_w, 2 * METER_STEP_W)
    return Policy(
        site_id="rig",
        rated_w=rated_w,
        site_cap_w=rated_w,
        fallback_w=auxiliary_w,
        auxiliary_w=auxiliary_w,
        surplus_margin_w=round(0.01 * rated_w),
        household_tolerance_w=round(deadband_up_w),
        frequency_guard_hz=49.5,
        frequency_min_hz=45.0,
        frequency_max_hz=55.0,
        power_span_w=power_span_w,
        required_points=frozenset(FOLLOW_POINTS),
        meter_of_point={},
        cycle_s=1.0,
        mode=Mode.CONTROL,
        ramp=RampPolicy(
            up_w_per_min=rules.ramp_up_ratio_per_min * rated_w,
            down_w_per_min=rules.ramp_down_ratio_per_min * rated_w,
            up_w_per_15s=rules.step_15s_ratio * rated_w,
            down_w_per_15s=rules.step_15s_ratio * rated_w,
            fallback_w_per_min=0.40 * rated_w,
        ),
        inputs=InputPolicy(
            hold_after_s=3.0,
            freeze_after_s=10.0,
            fallback_after_s=30.0,
            fallback_offset_s=rules.fallback_offset_s,
            rearm_s=30.0,
            frozen_after_s=60.0,
            balance_tolerance_ratio=0.01,
            balance_step_w=2 * METER_STEP_W,
            balance_after_s=5.0,
            dcs_heartbeat_after_s=10.0,
        ),
        fleet=FleetPolicy(
            trim=rules.trim,
            feedback=rules.feedback,
            dwell_on_s=rules.dwell_on_s,
            dwell_off_s=rules.dwell_off_s,
            starts_per_day=rules.starts_per_day,
            trim_reserve_ratio=rules.trim_reserve_ratio,
            margin_memory_s=rules.margin_memory_s,
            wakes_per_cycle_max=rules.wakes_per_cycle or max(2, -(-fleet_size // 100)),
            commands_per_cycle_max=max(50, -(-fleet_size // 5)),
            deadband_up_w=deadband_up_w,
            deadband_down_w=0.005 * rated_w,
            deadband_order_w=max(0.001 * rated_w, 2 * METER_STEP_W),
            tolerance_ratio=0.15,
            tolerance_w=100.0,
            deadline_factor=2.0,
            deadline_extra_s=5.0,
            attempts_max=2,
            drift_reads=3,
            quarantine_s=rules.quarantine_s,
            telemetry_stale_s=45.0,
            adopt_sleepers_at_start=rules.adopt_sleepers_at_start,
            mass_disconnect_ratio=0.2,
            mass_disconnect_window_s=15.0,
            learn=rules.learn,
            waves=rules.waves,
        ),
        dispatch=DispatchPolicy(
            lease_required=rules.lease_required,
            heartbeat_lost_after_s=15.0,
            clock_skew_s=2.0,
            issued_at_window_s=30.0,
            lifetime_max_s=86_400.0,
            active_max=32,
            remembered_ids_max=1_000,
        ),
    )
