"""The way to the miners without sockets: sweeps and commands that take their time, get lost, or find nobody."""

from __future__ import annotations

import heapq
import math
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import assert_never

import numpy as np

from controller.domain.command import Command, CommandReport, Outcome
from controller.domain.fleet import Condition, MinerReading
from simulators.asic.bank import MinerBank
from tests.rig.devices import Devices, Done
from tests.rig.setup import Outage, Setup

LATENCY_S = (0.02, 0.30)
NOBODY_ANSWERS_S = 2.0
NOTHING_DONE = Done(Outcome.WITHHELD)


@dataclass(slots=True)  # made for every read: not frozen, which takes three times as long
class _Answered:
    miner: int
    began_at: float
    reached: bool


@dataclass(frozen=True, slots=True)
class _Arrives:
    command: Command
    sent_at: float
    reached: bool


@dataclass(frozen=True, slots=True)
class _Orphan:
    """A command that was on the wire when its sender died."""

    command: Command


_Event = _Answered | _Arrives | _Orphan


class MinerLink:
    """Every miner's traffic: one thing at a time each, a queue of one where the latest command wins."""

    def __init__(self, bank: MinerBank, setup: Setup) -> None:
        self._bank = bank
        self._devices = Devices(bank, setup.facts, setup.writes_per_day, dict(setup.refusals))
        self._outages, self._strangers = _by_miner(setup.outages), _by_miner(setup.strangers)
        self._sweep_s = setup.sweep_s
        self._lost = setup.answers_lost
        self._chance = _uniform(np.random.default_rng(setup.seed + 2))
        self._heap: list[tuple[float, int, _Event]] = []
        self._order = 0
        self._turns: deque[tuple[float, int, int]] = deque()
        """When each miner's turn to be read comes, and in which order of all events; the next one first."""
        self._free_at = np.zeros(bank.count)
        self._waiting: dict[int, Command] = {}
        self.readings: list[MinerReading] = []
        self.reports: list[CommandReport] = []
        self._begin_sweep(0.0)

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

    def read_soon(self, miners: tuple[int, ...], t_s: float) -> None:
        """Read these now, as far as nothing else is under way; their turn stays."""
        for miner in miners:
            if t_s >= self._free_at[miner]:
                self._read(miner, t_s)

    def advance(self, t_s: float) -> None:
        """Let everything happen that is due by `t_s`."""
        turns, until_s = self._turns, t_s + 1e-9
        while True:
            turn_at = turns[0][0] if turns else math.inf
            event_at = self._heap[0][0] if self._heap else math.inf
            if turn_at > until_s and event_at > until_s:
                return
            if turn_at < event_at or (turn_at == event_at and turns[0][1] < self._heap[0][1]):
                at, _, miner = turns.popleft()
                self._begin_read(miner, at)
            else:
                at, _, event = heapq.heappop(self._heap)
                self._happens(event, at)

    def _happens(self, event: _Event, at: float) -> None:
        match event:
            case _Answered():
                self._end_read(event, at)
            case _Arrives():
                self._arrive(event, at)
            case _Orphan():
                self._devices.perform(event.command, at)
            case _:
                assert_never(event)

    def crash(self, t_s: float, up_s: float) -> None:
        """The daemon dies and starts again at `up_s`: what was sent arrives, what waited never does, nobody hears."""
        sent = [
            (at, event.command)
            for at, _, event in sorted(self._heap)
            if isinstance(event, _Arrives)
            and self._waiting.get(event.command.miner) is event.command
            and event.sent_at <= t_s
            and event.reached
            and not self._is_stranger(event.command.miner, at)
        ]
        self._heap, self._waiting, self.readings, self.reports = [], {}, [], []
        self._free_at[:] = up_s
        for at, command in sent:
            self._at(at, _Orphan(command))
        self._begin_sweep(up_s)

    def drain(self) -> tuple[tuple[MinerReading, ...], tuple[CommandReport, ...]]:
        """What came in since the last call."""
        news = tuple(self.readings), tuple(self.reports)
        self.readings, self.reports = [], []
        return news

    def _begin_sweep(self, at: float) -> None:
        first = (
            (at + self._sweep_s * next(self._chance), self._next_order(), miner) for miner in range(self._bank.count)
        )
        self._turns = deque(sorted(first))

    def _begin_read(self, miner: int, at: float) -> None:
        self._turns.append((at + self._sweep_s, self._next_order(), miner))  # as far on as every other: the last of all
        if at < self._free_at[miner]:
            return  # a command is under way: the sweep comes round again
        self._read(miner, at)

    def _read(self, miner: int, at: float) -> None:
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
        elif self._is_stranger(miner, at):
            reading = MinerReading(
                miner,
                Condition.CONTRADICTS,
                None,
                None,
                None,
                read.began_at,
                at,
                detail="what answers says Antminer S9",
            )
        else:
            reading = self._devices.read(miner, read.began_at, at)
        self.readings.append(reading)

    def _arrive(self, arrival: _Arrives, at: float) -> None:
        command = arrival.command
        if self._waiting.get(command.miner) is not command:
            return  # replaced while it waited, and reported so
        del self._waiting[command.miner]
        if not arrival.reached:
            self._report(command, Outcome.UNREACHABLE, None, at)
            return
        if self._is_stranger(command.miner, at):
            self._report(command, Outcome.WITHHELD, None, at)
            return
        done = self._devices.perform(command, at)
        if done.outcome is Outcome.WITHHELD:
            self._report(command, Outcome.WITHHELD, None, at, done)
            return
        lost = next(self._chance) < self._lost
        self._report(command, Outcome.UNKNOWN if lost else done.outcome, arrival.sent_at, at, done)

    def _report(
        self, command: Command, outcome: Outcome, sent_at: float | None, at: float, done: Done = NOTHING_DONE
    ) -> None:
        self.reports.append(
            CommandReport(
                command.command_id,
                command.miner,
                outcome,
                sent_at,
                at,
                done.detail,
                again_at=done.again_at,
                wear=done.wear,
            )
        )

    def _reachable(self, miner: int, at: float) -> bool:
        return not bool(self._bank.is_rebooting[miner]) and not _within(self._outages, miner, at)

    def _is_stranger(self, miner: int, at: float) -> bool:
        return _within(self._strangers, miner, at)

    def _latency(self) -> float:
        shortest_s, longest_s = LATENCY_S
        return shortest_s + (longest_s - shortest_s) * next(self._chance)

    def _at(self, when: float, event: _Event) -> None:
        heapq.heappush(self._heap, (when, self._next_order(), event))

    def _next_order(self) -> int:
        self._order += 1
        return self._order


def _uniform(rng: np.random.Generator) -> Iterator[float]:
    """Numbers in [0, 1), drawn a thousand at a time: one by one is a sixth of what a read costs."""
    while True:
        yield from rng.random(1000).tolist()


def _by_miner(spells: tuple[Outage, ...]) -> dict[int, list[Outage]]:
    found: dict[int, list[Outage]] = {}
    for spell in spells:
        found.setdefault(spell.miner, []).append(spell)
    return found


def _within(spells: dict[int, list[Outage]], miner: int, at: float) -> bool:
    mine = spells.get(miner)
    return mine is not None and any(spell.begin_s <= at < spell.end_s for spell in mine)
