"""Builders for tests of the pure core: a small site in round numbers, and a hand-cranked one for whole steps.

The site: `n` miners of one model, rungs 2.0, 2.5, 3.0 and 3.5 kW, 50 W asleep, 1 kW of auxiliaries, rated 40 kW.
Up 100 W/s, down 200 W/s, either 4 kW in any 15 s (one unit fits in); towards the fallback (5 kW) 400 W/s.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from controller.core import estimator
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import (
    Command,
    CommandReport,
    Condition,
    Fleet,
    FloatArray,
    Level,
    MinerModel,
    MinerReading,
    MinerUnit,
    Outcome,
    ResponseClass,
    Verb,
    Verdict,
    build_fleet,
)
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import Decision, Snapshot
from controller.domain.policy import DispatchPolicy, Feedback, FleetPolicy, InputPolicy, Mode, Policy, RampPolicy

WALL = 1_800_000_000.0  # UTC seconds at loop second 0
AUXILIARY_W = 1_000
SLEEP_W = 50
TOO_LATE_S = 2.5
LADDER = tuple(Level(f"{watts}W", watts, watts / 20.0) for watts in (2000, 2500, 3000, 3500))
RESPONSE = ResponseClass(
    "test", sleep_dead_s=1, sleep_90_s=3, wake_dead_s=10, wake_90_s=30, trim_dead_s=1, trim_90_s=5, sleep_power_w=50
)
FOLLOW = (
    Point.POI_EXPORT_W,
    Point.SITE_LOAD_W,
    Point.DESPATCH_EXPORT_W,
    Point.RESERVE_UP_W,
    Point.GROSS_W,
    Point.AVAILABLE_W,
)


class Kit:
    """Builders; every one takes only what its test is about."""

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
            required_points=frozenset(FOLLOW),
            meter_of_point=dict.fromkeys(FOLLOW, "m"),
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
                trim_reserve_ratio=0.0,
                margin_memory_s=60.0,
                wakes_per_cycle_max=10,
                commands_per_cycle_max=100,
                deadband_up_w=100.0,
                deadband_down_w=100.0,
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
    ) -> Fleet:
        """Merit falls with the index (miner 0 is the best) unless `joule_per_th` says otherwise.

        odd: by index, what is different about that miner's model.
        """
        merits = list(joule_per_th) if joule_per_th is not None else [20.0 + index for index in range(n)]
        places = list(feeders) if feeders is not None else [0] * n
        units = []
        for index in range(n):
            rungs = tuple(Level(level.name, level.power_w, level.power_w / merits[index]) for level in ladder)
            model = replace(MinerModel("model", rungs, response), **(odd or {}).get(index, {}))
            units.append(MinerUnit(f"m{index}", model, places[index], cap_level))
        names = tuple(f"feeder-{index}" for index in range(len(feeder_rating_w)))
        return build_fleet(tuple(units), names, feeder_rating_w)

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

    @staticmethod
    def site(
        policy: Policy | None = None,
        facts: Fleet | None = None,
        *,
        hashing: Iterable[bool] = (True, True, False, False),
        surplus_w: float = 20_000.0,
    ) -> Site:
        return Site(policy or Kit.policy(), facts or Kit.fleet(), list(hashing), surplus_w)


class Site:
    """A site cranked by hand: miners that answer as their class says, a meter that shows them, a plant with a surplus.

    No noise, no losses, no variance; the swarm has them. `spare_w` is what the plant gives the miners beyond its
    despatch. `deaf` miners hear and do nothing, `silent` ones send no telemetry, `meter_lost` points are absent.
    `strangers` are other machines than the inventory has, each with what gives it away. `liars` say that they sleep and
    hash on. Who tells no watts is estimated: what it draws, 10 % uncertain, or sleep watts when it says so.
    `poolless` miners hash nothing and draw `idle_share` of their watts; who tells none is estimated at up to a half.
    Trims to `slow` miners never arrive, which is known TOO_LATE_S later; they sleep and wake and are read like others.
    `metered` feeders have a meter, `feeder_extra_w` is what it shows beyond its miners and, where there is
    `feeder_noise`, a watt now and then. `wall_step_s` is by how much the wall clock was stepped.
    """

    def __init__(self, policy: Policy, facts: Fleet, hashing: list[bool], surplus_w: float) -> None:
        self.engine = Engine(facts, policy)
        self.facts = facts
        self.now = 0.0
        self.spare_w = surplus_w
        self.despatch_w = 100_000.0
        self.hashing = np.array(hashing, dtype=np.bool_)
        self.level = np.full(len(facts), 3)
        self.from_w = np.where(self.hashing, 3_500.0, float(SLEEP_W))
        self.moved_at = np.full(len(facts), -1e6)
        self.dead_s = np.zeros(len(facts))
        self.way_s = np.ones(len(facts))
        self.boots = np.zeros(len(facts), dtype=np.bool_)
        self.state = self.engine.fresh_state(0.0)
        self.decisions: list[Decision] = []
        self.sent: list[Command] = []
        self.deaf: set[int] = set()
        self.silent: set[int] = set()
        self.meter_lost: set[Point] = set()
        self.extra: dict[Point, Sample] = {}
        self.strangers: dict[int, str] = {}
        self.liars: set[int] = set()
        self.lying: set[int] = set()
        self.poolless: set[int] = set()
        self.idle_share = 0.25
        self.metered: set[int] = set()
        self.feeder_extra_w = 0.0
        self.feeder_noise = True
        self.wall_step_s = 0.0
        self.slow: set[int] = set()
        self.told: list[tuple[float, CommandReport]] = []

    def draws_w(self) -> FloatArray:
        """True watts of every miner now, (n,)."""
        to_w = np.where(self.hashing, self.facts.level_power_w[np.arange(len(self.facts)), self.level], SLEEP_W)
        idle = np.isin(np.arange(len(self.facts)), list(self.poolless)) & self.hashing
        to_w = np.where(idle, SLEEP_W + self.idle_share * (to_w - SLEEP_W), to_w)
        share = np.maximum(self.now - self.moved_at - self.dead_s, 0.0) / self.way_s
        left = np.where(self.boots, np.maximum(1.0 - 0.9 * share, 0.0), 10.0 ** -np.minimum(share, 12.0))
        draws: FloatArray = to_w + (self.from_w - to_w) * left
        return draws

    def load_w(self) -> float:
        return AUXILIARY_W + float(self.draws_w().sum())

    def set_hashing(
        self, miner: int, on: bool, level: int | None = None, times: tuple[float, float] = (0, 0.1)
    ) -> None:
        """The miner moves, by our order or its own; `times` are its dead time and the way to 90 %."""
        self.from_w[miner] = self.draws_w()[miner]
        self.boots[miner] = on and not self.hashing[miner]
        self.hashing[miner] = on
        self.level[miner] = self.level[miner] if level is None else level
        self.moved_at[miner] = self.now
        self.dead_s[miner], self.way_s[miner] = times

    def readings(self) -> dict[Point, Sample]:
        load = self.load_w()
        values = {
            Point.SITE_LOAD_W: load,
            Point.POI_EXPORT_W: self.despatch_w + self.spare_w - load,
            Point.DESPATCH_EXPORT_W: self.despatch_w,
            Point.RESERVE_UP_W: 0.0,
            Point.GROSS_W: self.despatch_w + self.spare_w,
            Point.AVAILABLE_W: 500_000.0,
        }
        found = {point: Kit.sample(value, self.now) for point, value in values.items()}
        found.update(self.extra)
        return {point: sample for point, sample in found.items() if point not in self.meter_lost}

    def telemetry(self) -> tuple[MinerReading, ...]:
        return tuple(self._reading(miner) for miner in range(len(self.facts)) if miner not in self.silent)

    def _reading(self, miner: int) -> MinerReading:
        if miner in self.strangers:
            return Kit.reading(miner, Condition.CONTRADICTS, 99.0, self.now, detail=self.strangers[miner])
        waiting = self.now < self.moved_at[miner] + self.dead_s[miner]
        shown = bool(self.from_w[miner] > SLEEP_W + 1.0 if waiting else self.hashing[miner]) and miner not in self.lying
        condition, level = Condition.HASHING if shown else Condition.ASLEEP, int(self.level[miner]) if shown else None
        if self.facts.reports_power[miner]:
            return Kit.reading(miner, condition, float(self.draws_w()[miner]), self.now, level=level)
        if shown and miner in self.poolless:
            return Kit.reading(miner, condition, 900.0, self.now, level=level, error_w=850.0)
        estimate_w = float(self.draws_w()[miner]) if shown else float(SLEEP_W)
        return Kit.reading(miner, condition, estimate_w, self.now, level=level, error_w=0.1 * estimate_w)

    def feeders(self) -> dict[int, Sample]:
        load_w = np.bincount(self.facts.feeder, weights=self.draws_w(), minlength=len(self.facts.feeder_names))
        noise_w = self.feeder_extra_w + (self.now % 2.0 if self.feeder_noise else 0.0)
        return {feeder: Kit.sample(float(load_w[feeder]) + noise_w, self.now) for feeder in self.metered}

    def cycle(self, seconds: float = 1.0, **snapshot: Any) -> Decision:
        """One step after `seconds`; its commands reach everyone who is not deaf."""
        self.now += seconds
        given: dict[str, Any] = {
            "wall": WALL + self.now + self.wall_step_s,
            "readings": self.readings(),
            "telemetry": self.telemetry(),
            "feeders": self.feeders(),
            "reports": tuple(report for at, report in self.told if at <= self.now),
        }
        self.told = [entry for entry in self.told if entry[0] > self.now]
        given.update(snapshot)
        self.state, decision = self.engine.step(self.state, Snapshot(**given), self.now)
        self.obey(decision.commands)
        self.decisions.append(decision)
        return decision

    def cycles(self, count: int, seconds: float = 1.0) -> list[Decision]:
        return [self.cycle(seconds) for _ in range(count)]

    def obey(self, commands: tuple[Command, ...]) -> None:
        self.sent.extend(commands)
        for command in commands:
            if command.miner in self.deaf:
                continue
            match command.verb:
                case Verb.SLEEP if command.miner in self.liars:
                    self.lying.add(command.miner)
                case Verb.SLEEP:
                    self.set_hashing(command.miner, False, times=self._times(command))
                case Verb.WAKE:
                    self.set_hashing(command.miner, True, times=self._times(command))
                case Verb.TRIM if command.miner in self.slow:
                    at = self.now + TOO_LATE_S
                    self.told.append((at, Kit.report(command, Outcome.UNREACHABLE, at)))
                case Verb.TRIM:
                    self.told.append((self.now, Kit.report(command, Outcome.ACKNOWLEDGED, self.now)))
                    self.set_hashing(command.miner, True, command.level, times=self._times(command))

    def _times(self, command: Command) -> tuple[float, float]:
        dead_s, to_90_s = estimator.response_s(self.facts, command.verb)
        return float(dead_s[command.miner]), float(to_90_s[command.miner])

    def receive(self, order: Dispatch, *, retained: bool = False) -> Received:
        return Received(order, WALL + self.now + self.wall_step_s, retained)


@pytest.fixture(scope="session")
def kit() -> Kit:
    return Kit()
