"""A small site cranked by hand for whole steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from controller.core import flight
from controller.core.engine import Engine
from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.dispatch import Dispatch, Received
from controller.domain.fleet import Condition, Fleet, FloatArray, MinerReading
from controller.domain.metering import Point, Sample
from controller.domain.plan import Decision, Snapshot
from controller.domain.policy import Policy
from tests.core.builders import AUXILIARY_W, SLEEP_W, WALL, Builders

TOO_LATE_S = 2.5


class Site:
    """A site cranked by hand: miners that answer as their class says, a meter that shows them, a plant with a surplus.

    No noise, no losses, no variance; the swarm has them. `spare_w` is what the plant gives the miners beyond its
    despatch. `deaf` miners hear and do nothing, `silent` ones send no telemetry, `meter_lost` points are absent.
    `strangers` are other machines than the inventory has, each with what gives it away. `liars` say that they sleep and
    hash on. Who tells no watts is estimated: what it draws, 10 % uncertain, or sleep watts when it says so.
    `poolless` miners hash nothing and draw `idle_share` of their watts; who tells none is estimated at up to a half.
    Who has `refusals` left says no to that many sleeps; told otherwise, it goes to its lowest rung and says so.
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
        self.refusals: dict[int, int] = {}
        self.told: list[tuple[float, CommandReport]] = []

    def draws_w(self) -> FloatArray:
        """True watts of every miner now, (n,)."""
        to_w = np.where(self.hashing, self.facts.level_power_w[np.arange(len(self.facts)), self.level], SLEEP_W)
        if self.poolless:
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
        found = {point: Builders.sample(value, self.now) for point, value in values.items()}
        found.update(self.extra)
        return {point: sample for point, sample in found.items() if point not in self.meter_lost}

    def telemetry(self) -> tuple[MinerReading, ...]:
        draws_w = self.draws_w().tolist()
        return tuple(self._reading(miner, draws_w[miner]) for miner in range(len(draws_w)) if miner not in self.silent)

    def _reading(self, miner: int, draws_w: float) -> MinerReading:
        if miner in self.strangers:
            return Builders.reading(miner, Condition.CONTRADICTS, 99.0, self.now, detail=self.strangers[miner])
        waiting = self.now < self.moved_at[miner] + self.dead_s[miner]
        shown = bool(self.from_w[miner] > SLEEP_W + 1.0 if waiting else self.hashing[miner]) and miner not in self.lying
        condition, level = Condition.HASHING if shown else Condition.ASLEEP, int(self.level[miner]) if shown else None
        if self.facts.reports_power[miner]:
            return Builders.reading(miner, condition, draws_w, self.now, level=level)
        if shown and miner in self.poolless:
            return Builders.reading(miner, condition, 900.0, self.now, level=level, error_w=850.0)
        estimate_w = draws_w if shown else float(SLEEP_W)
        return Builders.reading(miner, condition, estimate_w, self.now, level=level, error_w=0.1 * estimate_w)

    def feeders(self) -> dict[int, Sample]:
        load_w = np.bincount(self.facts.feeder, weights=self.draws_w(), minlength=len(self.facts.feeder_names))
        noise_w = self.feeder_extra_w + (self.now % 2.0 if self.feeder_noise else 0.0)
        return {feeder: Builders.sample(float(load_w[feeder]) + noise_w, self.now) for feeder in self.metered}

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
                case Verb.SLEEP if self.refusals.get(command.miner, 0) > 0:
                    self._refuse(command)
                case Verb.SLEEP if command.miner in self.liars:
                    self.lying.add(command.miner)
                case Verb.SLEEP:
                    self.set_hashing(command.miner, False, times=self._times(command))
                case Verb.WAKE:
                    self.set_hashing(command.miner, True, times=self._times(command))
                case Verb.TRIM if command.miner in self.slow:
                    at = self.now + TOO_LATE_S
                    self.told.append((at, Builders.report(command, Outcome.UNREACHABLE, at)))
                case Verb.TRIM:
                    self.told.append((self.now, Builders.report(command, Outcome.ACKNOWLEDGED, self.now)))
                    self.set_hashing(command.miner, True, command.level, times=self._times(command))

    def _refuse(self, command: Command) -> None:
        self.refusals[command.miner] -= 1
        outcome = Outcome.ROUNDED if command.escalated else Outcome.REFUSED
        self.told.append((self.now, Builders.report(command, outcome, self.now)))
        if command.escalated:
            dead_s, to_90_s = flight.response_s(self.facts, Verb.TRIM)
            self.set_hashing(command.miner, True, 0, (float(dead_s[command.miner]), float(to_90_s[command.miner])))

    def _times(self, command: Command) -> tuple[float, float]:
        dead_s, to_90_s = flight.response_s(self.facts, command.verb)
        return float(dead_s[command.miner]), float(to_90_s[command.miner])

    def receive(self, order: Dispatch, *, retained: bool = False) -> Received:
        return Received(order, WALL + self.now + self.wall_step_s, retained)
