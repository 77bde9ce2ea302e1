"""Builders for tests of the pure core: a small site in round numbers.

The site: `n` miners of one model, rungs 2.0, 2.5, 3.0 and 3.5 kW, 50 W asleep, 1 kW of auxiliaries, rated 40 kW.
Up 100 W/s, down 200 W/s, either 4 kW in any 15 s (one unit fits in); towards the fallback (5 kW) 400 W/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from controller.core.state import State
from controller.domain.command import Command, CommandReport, Outcome
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind
from controller.domain.fleet import (
    Condition,
    Fleet,
    Level,
    MinerModel,
    MinerReading,
    MinerUnit,
    ResponseClass,
    Verdict,
    build_fleet,
)
from controller.domain.limits import Limit
from controller.domain.metering import FOLLOW_POINTS, Point, Quality, Sample
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

WALL = 1_800_000_000.0  # UTC seconds at loop second 0
AUXILIARY_W = 1_000
SLEEP_W = 50
LADDER = tuple(Level(f"{watts}W", watts, watts / 20.0) for watts in (2000, 2500, 3000, 3500))
RESPONSE = ResponseClass(
    "test", sleep_dead_s=1, sleep_90_s=3, wake_dead_s=10, wake_90_s=30, trim_dead_s=1, trim_90_s=5, sleep_power_w=50
)


class Builders:
    """Every one takes only what its test is about."""

    wall = WALL
    auxiliary_w = AUXILIARY_W
    sleep_w = SLEEP_W

    @staticmethod
    def policy(
        *,
        ramp: Mapping[str, Any] | None = None,
        inputs: Mapping[str, Any] | None = None,
        fleet: Mapping[str, Any] | None = None,
        dispatch: Mapping[str, Any] | None = None,
        **site: Any,
    ) -> Policy:
        base = Policy(
            site_id="test",
            rated_w=40_000,
            site_cap_w=40_000,
            fallback_w=5_000,
            auxiliary_w=AUXILIARY_W,
            surplus_margin_w=0,
            household_tolerance_w=400,
            frequency_guard_hz=49.5,
            frequency_min_hz=45.0,
            frequency_max_hz=55.0,
            power_span_w=1_000_000,
            required_points=frozenset(FOLLOW_POINTS),
            meter_of_point=dict.fromkeys(FOLLOW_POINTS, "m"),
            cycle_s=1.0,
            mode=Mode.CONTROL,
            ramp=RampPolicy(6_000.0, 12_000.0, 4_000.0, 4_000.0, 24_000.0),
            inputs=InputPolicy(
                hold_after_s=3.0,
                freeze_after_s=10.0,
                fallback_after_s=30.0,
                fallback_offset_s=0.0,
                rearm_s=10.0,
                frozen_after_s=60.0,
                balance_tolerance_ratio=0.01,
                balance_step_w=100.0,
                balance_after_s=5.0,
                dcs_heartbeat_after_s=10.0,
            ),
            fleet=FleetPolicy(
                trim=True,
                feedback=Feedback.METER,
                dwell_on_s=0.0,
                dwell_off_s=0.0,
                starts_per_day=1000,
                trim_reserve_ratio=0.0,
                margin_memory_s=60.0,
                wakes_per_cycle_max=10,
                commands_per_cycle_max=100,
                deadband_up_w=100.0,
                deadband_down_w=100.0,
                deadband_order_w=100.0,
                tolerance_ratio=0.08,
                tolerance_w=150.0,
                deadline_factor=2.0,
                deadline_extra_s=10.0,
                attempts_max=3,
                drift_reads=2,
                quarantine_s=600.0,
                telemetry_stale_s=60.0,
                adopt_sleepers_at_start=True,
                mass_disconnect_ratio=0.2,
                mass_disconnect_window_s=15.0,
                learn=True,
                waves=WavePolicy(enabled=True, first=40, growth=1.5, success_min=0.8, pause_s=300.0),
            ),
            dispatch=DispatchPolicy(
                lease_required=False,
                heartbeat_lost_after_s=120.0,
                clock_skew_s=2.0,
                issued_at_window_s=30.0,
                lifetime_max_s=86_400.0,
                active_max=3,
                remembered_ids_max=1_000,
            ),
        )
        return replace(
            base,
            ramp=replace(base.ramp, **(ramp or {})),
            inputs=replace(base.inputs, **(inputs or {})),
            fleet=replace(base.fleet, **(fleet or {})),
            dispatch=replace(base.dispatch, **(dispatch or {})),
            **site,
        )

    @staticmethod
    def fleet(
        n: int = 4,
        *,
        joule_per_th: Iterable[float] | None = None,
        feeders: Iterable[int] | None = None,
        feeder_rating_w: tuple[int, ...] = (1_000_000,),
        cap_level: int = 3,
        ladder: tuple[Level, ...] = LADDER,
        response: ResponseClass = RESPONSE,
        odd: Mapping[int, Mapping[str, Any]] | None = None,
        limits: tuple[Limit, ...] = (),
        feeder_limit: tuple[int | None, ...] = (),
        across: Mapping[int, tuple[int, ...]] | None = None,
    ) -> Fleet:
        """Merit falls with the index (miner 0 is the best) unless `joule_per_th` says otherwise.

        odd: by index, what is different about that miner's model. across: by index, limits beside its feeder's.
        """
        merits = list(joule_per_th) if joule_per_th is not None else [20.0 + index for index in range(n)]
        places = list(feeders) if feeders is not None else [0] * n
        units = []
        for index in range(n):
            rungs = tuple(Level(level.name, level.power_w, level.power_w / merits[index]) for level in ladder)
            model = replace(MinerModel("model", rungs, response), **(odd or {}).get(index, {}))
            beside = (across or {}).get(index, ())
            units.append(MinerUnit(f"m{index}", model, places[index], cap_level, limits=beside))
        names = tuple(f"feeder-{index}" for index in range(len(feeder_rating_w)))
        return build_fleet(tuple(units), names, feeder_rating_w, limits=limits, feeder_limit=feeder_limit)

    @staticmethod
    def sample(value: float | None, at: float = 0.0, quality: Quality | None = None) -> Sample:
        default = Quality.BAD if value is None else Quality.GOOD
        return Sample(value, at, quality or default, "test")

    @classmethod
    def readings(cls, at: float = 0.0, **points: float | None) -> dict[Point, Sample]:
        """One sample per point, named by its identifier; None is a BAD one."""
        return {Point(name): cls.sample(value, at) for name, value in points.items()}

    @staticmethod
    def order(
        kind: DispatchKind = DispatchKind.CAP,
        power_w: int | None = 10_000,
        *,
        seq: int = 1,
        issuer: str = "desk",
        dispatch_id: str | None = None,
        issued_at: float = WALL,
        lasts_s: float = 900.0,
        dispatch_class: DispatchClass = DispatchClass.NORMAL,
        priority: int = 0,
    ) -> Dispatch:
        name = dispatch_id if dispatch_id is not None else f"{issuer}-{seq}"
        watts = None if kind is DispatchKind.RELEASE else power_w
        expires = issued_at + lasts_s
        return Dispatch(name, issuer, seq, issued_at, expires, dispatch_class, kind, watts, priority)

    @staticmethod
    def seen_state(facts: Fleet, hashing: Iterable[bool], *, now: float = 0.0, level: int = 3) -> State:
        """A state in which every miner is read, settled, ours and at nameplate; the offset is the auxiliaries, and the
        site meter is there."""
        state = State.fresh(facts, now)
        fleet = state.fleet
        on = np.array(list(hashing), dtype=np.bool_)
        draw = np.where(on, facts.level_power_w[:, level], facts.sleep_power_w)
        fleet.condition[:] = np.where(on, Condition.HASHING, Condition.ASLEEP)
        fleet.reported_w[:] = draw
        fleet.level[:] = np.where(on, level, -1)
        fleet.read_at[:] = now
        fleet.gone_at[:] = -math.inf
        fleet.want_hashing[:] = on
        fleet.want_level[:] = level
        fleet.ours_asleep[:] = ~on
        fleet.from_w[:] = draw
        fleet.to_w[:] = draw
        fleet.verdict[:] = Verdict.SETTLED
        state.offset_w, state.offset_until = float(AUXILIARY_W), math.inf
        return state

    @staticmethod
    def reading(
        miner: int,
        condition: Condition,
        power_w: float | None,
        at: float,
        *,
        level: int | None = None,
        prior: str | None = None,
        detail: str = "",
        error_w: float | None = None,
    ) -> MinerReading:
        return MinerReading(miner, condition, power_w, None, level, at, at + 0.1, prior, detail, error_w)

    @staticmethod
    def report(command: Command, outcome: Outcome, at: float, *, level: int | None = None) -> CommandReport:
        sent = None if outcome in (Outcome.WITHHELD, Outcome.UNREACHABLE) else at
        return CommandReport(command.command_id, command.miner, outcome, sent, at, "", level)
