"""The way to the miners without sockets: sweeps and commands that take their time, get lost, or find nobody."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from controller.domain.fleet import Command, CommandReport, Condition, Fleet, MinerReading, Outcome, Verb
from simulators.asic.bank import MinerBank
from simulators.asic.response import Answer
from tests.rig.setup import Outage

LATENCY_S = (0.02, 0.30)
NOBODY_ANSWERS_S = 2.0


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
            level = int(self._bank.profile_index[miner])
            reading = MinerReading(
                miner=miner,
                condition=self._condition(miner),
                power_w=float(round(self._bank.reported_power_w[miner])),
                hashrate_th=float(self._bank.reported_hashrate_th[miner]),
                level=level,
                started_at=read.began_at,
                finished_at=at,
                prior=self._facts.units[miner].model.levels[level].name,
            )
        self.readings.append(reading)

    def _condition(self, miner: int) -> Condition:
        """What the watts and the supply prove, whatever the miner claims."""
        draws = self._bank.reported_power_w[miner] > self._lowest_w[miner] / 2.0
        if not self._bank.boards_on[miner]:
            return Condition.UNKNOWN if draws else Condition.ASLEEP
        return Condition.HASHING

    def _arrive(self, arrival: _Arrives, at: float) -> None:
        command = arrival.command
        if self._waiting.get(command.miner) is not command:
            return  # replaced while it waited, and reported so
        del self._waiting[command.miner]
        if not arrival.reached:
            self._report(command, Outcome.UNREACHABLE, None, at)
            return
        answer = self._perform(command)
        if self._rng.random() < self._lost:
            self._report(command, Outcome.UNKNOWN, arrival.sent_at, at)
        elif answer is Answer.REFUSED:
            self._report(command, Outcome.REFUSED, arrival.sent_at, at)
        else:
            self._report(command, Outcome.ACKNOWLEDGED, arrival.sent_at, at)

    def _perform(self, command: Command) -> Answer:
        match command.verb:
            case Verb.SLEEP:
                return self._bank.command_sleep(command.miner)
            case Verb.WAKE:
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
