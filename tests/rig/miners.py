"""The way to the miners without sockets: sweeps and commands that take their time, get lost, or find nobody."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from controller.domain.fleet import Command, CommandReport, Condition, Fleet, MinerReading, Outcome, Verb
from simulators.asic.bank import MinerBank
from simulators.asic.models import Family
from simulators.asic.response import Answer, Mode, Phase
from tests.rig.setup import Outage

LATENCY_S = (0.02, 0.30)
NOBODY_ANSWERS_S = 2.0
ANTMINER_ERROR_RATIO = 0.12  # of an estimate from mode and hash rate
ANTMINER_BOOTS_WITHIN_S = 75.0  # one that was woken and shows no rate for so long still sleeps


@dataclass(frozen=True, slots=True)
class _Read:
    miner: int


@dataclass(frozen=True, slots=True)
class _Answered:
    miner: int
    began_at: float
    reached: bool


@dataclass(frozen=True, slots=True)
class _Arrives:
    command: Command
    sent_at: float
    reached: bool


_Event = _Read | _Answered | _Arrives


class MinerLink:
    """Every miner's traffic: one thing at a time each, a queue of one where the latest command wins."""

    def __init__(
        self, bank: MinerBank, facts: Fleet, outages: tuple[Outage, ...], sweep_s: float, answers_lost: float, seed: int
    ) -> None:
        self._bank = bank
        self._facts = facts
        self._outages: dict[int, list[Outage]] = {}
        for outage in outages:
            self._outages.setdefault(outage.miner, []).append(outage)
        self._sweep_s = sweep_s
        self._lost = answers_lost
        self._rng = np.random.default_rng(seed)
        self._heap: list[tuple[float, int, _Event]] = []
        self._order = 0
        self._free_at = np.zeros(bank.count)
        self._waiting: dict[int, Command] = {}
        self._lowest_w = facts.level_power_w[:, 0]
        self._estimate_w: dict[int, float] = {}
        self._woken_at: dict[int, float] = {}
        self._read: dict[Family, Callable[[int, float, float], MinerReading]] = {
            Family.LUXOS: self._read_luxos,
            Family.WHATSMINER: self._read_whatsminer,
            Family.ANTMINER: self._read_antminer,
        }
        self.readings: list[MinerReading] = []
        self.reports: list[CommandReport] = []
        for miner in range(bank.count):
            self._at(float(self._rng.uniform(0.0, sweep_s)), _Read(miner))

    def submit(self, command: Command, t_s: float) -> None:
        """Hand one command to its miner's worker; an urgent one does not wait for a read in flight."""
        waiting = self._waiting.pop(command.miner, None)
        if waiting is not None:
            self._report(waiting, Outcome.WITHHELD, None, t_s)
        begin = t_s if command.urgent else max(t_s, float(self._free_at[command.miner]))
        self._waiting[command.miner] = command
        reached = self._reachable(command.miner, begin)
        took = self._latency() if reached else NOBODY_ANSWERS_S
        self._free_at[command.miner] = begin + took
        self._at(begin + took, _Arrives(command, begin, reached))

    def advance(self, t_s: float) -> None:
        """Let everything happen that is due by `t_s`."""
        while self._heap and self._heap[0][0] <= t_s + 1e-9:
            at, _, event = heapq.heappop(self._heap)
            match event:
                case _Read():
                    self._begin_read(event.miner, at)
                case _Answered():
                    self._end_read(event, at)
                case _Arrives():
                    self._arrive(event, at)
                case _:
                    assert_never(event)

    def drain(self) -> tuple[tuple[MinerReading, ...], tuple[CommandReport, ...]]:
        """What came in since the last call."""
        news = tuple(self.readings), tuple(self.reports)
        self.readings, self.reports = [], []
        return news

    def _begin_read(self, miner: int, at: float) -> None:
        self._at(at + self._sweep_s, _Read(miner))
        if at < self._free_at[miner]:
            return  # a command is under way: the sweep comes round again
        reached = self._reachable(miner, at)
        took = self._latency() if reached else NOBODY_ANSWERS_S
        self._free_at[miner] = at + took
        self._at(at + took, _Answered(miner, at, reached))

    def _end_read(self, read: _Answered, at: float) -> None:
        miner = read.miner
        if not read.reached:
            reading = MinerReading(
                miner, Condition.UNREACHABLE, None, None, None, read.began_at, at, detail="no answer"
            )
        else:
            reading = self._read[self._bank.models[miner].family](miner, read.began_at, at)
        self.readings.append(reading)

    def _read_luxos(self, miner: int, began_at: float, at: float) -> MinerReading:
        """What the watts and the supply prove, whatever the miner claims."""
        draws = self._bank.reported_power_w[miner] > self._lowest_w[miner] / 2.0
        condition = Condition.HASHING
        if not self._bank.boards_on[miner]:
            condition = Condition.UNKNOWN if draws else Condition.ASLEEP
        level = int(self._bank.profile_index[miner])
        return self._reading(miner, condition, level, began_at, at)

    def _read_whatsminer(self, miner: int, began_at: float, at: float) -> MinerReading:
        """Off when it says so and draws nothing. Otherwise awake, though no watt may have moved yet."""
        draws = self._bank.reported_power_w[miner] > self._lowest_w[miner] / 2.0
        off = self._bank.mode[miner] == Mode.SLEEP
        if off and not draws:
            return self._reading(miner, Condition.ASLEEP, self._full(miner), began_at, at)
        stale = off and self._bank.phase[miner] != Phase.STEADY
        condition = Condition.UNKNOWN if stale else Condition.HASHING
        return self._reading(miner, condition, int(self._bank.profile_index[miner]), began_at, at)

    def _read_antminer(self, miner: int, began_at: float, at: float) -> MinerReading:
        """By hash rate and configured mode; the watts are an estimate from both."""
        level = int(self._bank.profile_index[miner])
        rung = self._facts.units[miner].model.levels[level]
        asleep_w = float(self._facts.sleep_power_w[miner])
        rate_th = float(self._bank.reported_hashrate_th[miner])
        sleeps = self._bank.mode[miner] == Mode.SLEEP
        before_w = self._estimate_w.get(miner)
        condition = Condition.HASHING
        if rate_th > 0.01 * rung.hashrate_th:
            power_w = asleep_w + (rung.power_w - asleep_w) * min(rate_th / rung.hashrate_th, 1.2)
            error_w = ANTMINER_ERROR_RATIO * power_w + (0.0 if before_w is None else abs(power_w - before_w))
            self._estimate_w[miner] = power_w
            self._woken_at.pop(miner, None)
        else:
            self._estimate_w.pop(miner, None)
            boot_w = 0.25 * (rung.power_w - asleep_w)
            if sleeps or at - self._woken_at.get(miner, at) >= ANTMINER_BOOTS_WITHIN_S:
                condition = Condition.ASLEEP
            power_w, error_w = (asleep_w, asleep_w) if sleeps else (asleep_w + boot_w, boot_w)
        return MinerReading(
            miner=miner,
            condition=condition,
            power_w=power_w,
            hashrate_th=rate_th,
            level=level,
            started_at=began_at,
            finished_at=at,
            prior=None if sleeps else rung.name,
            power_error_w=error_w,
        )

    def _reading(self, miner: int, condition: Condition, level: int, began_at: float, at: float) -> MinerReading:
        return MinerReading(
            miner=miner,
            condition=condition,
            power_w=float(round(self._bank.reported_power_w[miner])),
            hashrate_th=float(self._bank.reported_hashrate_th[miner]),
            level=level,
            started_at=began_at,
            finished_at=at,
            prior=self._facts.units[miner].model.levels[level].name,
        )

    def _full(self, miner: int) -> int:
        """Where a WhatsMiner wakes, whatever it was trimmed to."""
        return int(self._bank.configured_profile[miner])

    def _arrive(self, arrival: _Arrives, at: float) -> None:
        command = arrival.command
        if self._waiting.get(command.miner) is not command:
            return  # replaced while it waited, and reported so
        del self._waiting[command.miner]
        if not arrival.reached:
            self._report(command, Outcome.UNREACHABLE, None, at)
            return
        answer = self._perform(command, at)
        if self._rng.random() < self._lost:
            self._report(command, Outcome.UNKNOWN, arrival.sent_at, at)
        elif answer is Answer.REFUSED:
            self._report(command, Outcome.REFUSED, arrival.sent_at, at)
        else:
            self._report(command, Outcome.ACKNOWLEDGED, arrival.sent_at, at)

    def _perform(self, command: Command, at: float) -> Answer:
        match command.verb:
            case Verb.SLEEP:
                return self._bank.command_sleep(command.miner)
            case Verb.WAKE:
                self._woken_at[command.miner] = at
                return self._bank.command_wake(command.miner)
            case Verb.TRIM:
                assert command.level is not None, "a trim names its level"
                return self._bank.command_profile(command.miner, command.level)

    def _report(self, command: Command, outcome: Outcome, sent_at: float | None, at: float) -> None:
        self.reports.append(CommandReport(command.command_id, command.miner, outcome, sent_at, at))

    def _reachable(self, miner: int, at: float) -> bool:
        if bool(self._bank.is_rebooting[miner]):
            return False
        return not any(outage.begin_s <= at < outage.end_s for outage in self._outages.get(miner, ()))

    def _latency(self) -> float:
        return float(self._rng.uniform(*LATENCY_S))

    def _at(self, when: float, event: _Event) -> None:
        self._order += 1
        heapq.heappush(self._heap, (when, self._order, event))
