"""Small stand-ins for controller.ports, for tests of the shells in virtual time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from controller.core.state import State
from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome, Verb
from controller.domain.dispatch import Answer, Received
from controller.domain.fleet import Condition, MinerReading
from controller.domain.journalling import Row, RowKind
from controller.domain.metering import MeterError, MeterFault, Point, Readings
from controller.domain.plan import Decision
from controller.runtime.actuator import Actuator


def now() -> float:
    return asyncio.get_running_loop().time()


async def let_run(times: int = 20) -> None:
    """Give everything that is ready its turn, without letting time pass."""
    for _ in range(times):
        await asyncio.sleep(0)


class FakeDurable:
    """An append whose fate the test decides."""

    def __init__(self, written: bool | None) -> None:
        self._fate: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if written is not None:
            self._fate.set_result(written)

    async def wait(self) -> bool:
        return await asyncio.shield(self._fate)

    def settle(self, written: bool) -> None:
        self._fate.set_result(written)


class FakeJournal:
    """Keeps rows; `fate` is what becomes of an append: True, False, or None for a disk that hangs."""

    def __init__(self, fate: bool | None = True) -> None:
        self.fate = fate
        self.writable = True
        self.rows: list[tuple[float, Row]] = []
        self.hanging: list[FakeDurable] = []

    def append(self, rows: tuple[Row, ...]) -> FakeDurable:
        self.rows.extend((now(), row) for row in rows)
        durable = FakeDurable(self.fate)
        if self.fate is None:
            self.hanging.append(durable)
        return durable

    def times_of(self, kind: RowKind) -> list[float]:
        return [at for at, row in self.rows if row.kind is kind]


class FakeInbox:
    """Orders the test puts in; answers with the loop second at which they went out."""

    def __init__(self) -> None:
        self.waiting: list[Received] = []
        self.sent: list[tuple[float, Answer]] = []

    def drain(self) -> tuple[Received, ...]:
        taken, self.waiting = tuple(self.waiting), []
        return taken

    def answer(self, answers: tuple[Answer, ...]) -> None:
        self.sent.extend((now(), answer) for answer in answers)


class FakeLoad:
    """A miner that takes `read_s` to read and `perform_s` to obey (None: never answers), and remembers when."""

    def __init__(self, miner: int, *, read_s: float | None = 0.1, perform_s: float | None = 0.1) -> None:
        self.miner = miner
        self.read_s = read_s
        self.perform_s = perform_s
        self.reads: list[float] = []
        self.reads_abandoned = 0
        self.performed: list[tuple[float, Command]] = []
        self.restored: list[tuple[float, str]] = []
        self.busy = False
        self.closed = False

    async def read(self) -> MinerReading:
        began = now()
        self.reads.append(began)
        try:
            await self._take(self.read_s)
        except asyncio.CancelledError:
            self.reads_abandoned += 1
            raise
        return MinerReading(self.miner, Condition.HASHING, 3500.0, 200.0, 3, began, now())

    async def perform(self, command: Command) -> CommandReport:
        assert not self.busy, "two calls at once on one miner"
        self.busy = True
        began = now()
        self.performed.append((began, command))
        try:
            await self._take(self.perform_s)
        finally:
            self.busy = False
        return CommandReport(command.command_id, self.miner, Outcome.ACKNOWLEDGED, began, now())

    async def restore(self, prior: str) -> CommandReport:
        began = now()
        self.restored.append((began, prior))
        await self._take(self.perform_s)
        return CommandReport(RESTORE_COMMAND_ID, self.miner, Outcome.APPLIED, began, now())

    async def close(self) -> None:
        self.closed = True

    async def _take(self, seconds: float | None) -> None:
        if seconds is None:
            await asyncio.Event().wait()
        else:
            await asyncio.sleep(seconds)

    @property
    def obeyed(self) -> list[int]:
        """Numbers of the commands that reached it."""
        return [command.command_id for _, command in self.performed]


class Crew:
    """An actuator at work on fake miners: `async with Crew(loads) as crew:`."""

    def __init__(
        self, loads: Sequence[FakeLoad], *, settle_s: float = 2.0, sweep_period_s: float = 10.0, concurrency: int = 8
    ) -> None:
        self.loads = loads
        self.reports: list[CommandReport] = []
        self.telemetry: list[MinerReading] = []
        self.actuator = Actuator(
            loads,
            settle_s=lambda command: settle_s,
            sweep_period_s=sweep_period_s,
            concurrency=concurrency,
            put_report=self.reports.append,
            put_telemetry=self.telemetry.append,
        )
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Crew:
        self._task = asyncio.create_task(self.actuator.run())
        await let_run()
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._task is not None
        assert not self._task.done(), self._task
        self._task.cancel()
        await asyncio.wait([self._task])

    def submit(self, *commands: Command, durable: FakeDurable | None = None) -> None:
        self.actuator.submit(commands, durable or FakeDurable(written=True))

    @property
    def withheld(self) -> dict[int, str]:
        return {r.command_id: r.detail for r in self.reports if r.outcome is Outcome.WITHHELD}


def command(command_id: int, miner: int = 0, verb: Verb = Verb.SLEEP, *, raises: bool | None = None) -> Command:
    level = 1 if verb is Verb.TRIM else None
    return Command(command_id, miner, verb, level, verb is Verb.WAKE if raises is None else raises, False, "test")


class FakeMeter:
    """Answers `readings` after `takes_s`, or fails while `failing`."""

    meter_id = "poi"
    points = frozenset({Point.POI_EXPORT_W})

    def __init__(self, readings: Readings, takes_s: float = 0.05) -> None:
        self._readings = readings
        self.takes_s = takes_s
        self.failing = False
        self.began: list[float] = []
        self.closed = False

    async def read(self) -> Readings:
        self.began.append(round(now(), 6))
        await asyncio.sleep(self.takes_s)
        if self.failing:
            raise MeterError(MeterFault.TIMEOUT, "poi: no answer")
        return self._readings

    async def close(self) -> None:
        self.closed = True


class Onlooker:
    """controller.runtime.cycle.Watcher: remembers every decision, and takes `slow_s` over one when told to."""

    def __init__(self) -> None:
        self.decisions: list[Decision] = []
        self.overruns: list[bool] = []
        self.on_cycle: Callable[[Decision], Any] = lambda decision: None

    def cycle_done(self, state: State, decision: Decision) -> None:
        self.decisions.append(decision)
        self.on_cycle(decision)

    def cycle_timed(self, decision: Decision, took_s: float, overrun: bool) -> None:
        self.overruns.append(overrun)

    @property
    def started(self) -> list[float]:
        return [round(decision.now, 6) for decision in self.decisions]
