"""What the daemon needs of the world, two or three verbs each. Drivers and the runtime implement them."""

from __future__ import annotations

from typing import Protocol

from controller.domain.command import Command, CommandReport
from controller.domain.dispatch import Answer, Received
from controller.domain.fleet import MinerReading
from controller.domain.journalling import Row
from controller.domain.metering import Point, Readings


class Meter(Protocol):
    """One device that measures. A read answers all its control points from one block with one time stamp."""

    @property
    def meter_id(self) -> str: ...

    @property
    def points(self) -> frozenset[Point]: ...

    async def read(self) -> Readings:
        """All points of this meter; raises MeterError, never anything else. Bounded by the meter's own deadline."""
        ...

    async def close(self) -> None: ...


class Load(Protocol):
    """One thing that can be curtailed: a miner today, a child site later. Both verbs are bounded by a deadline."""

    async def read(self) -> MinerReading:
        """Telemetry; an unreachable miner is a reading with condition UNREACHABLE, not an exception."""
        ...

    async def perform(self, command: Command) -> CommandReport:
        """Send one command and say what was learned; every failure is an Outcome, not an exception."""
        ...

    async def restore(self, prior: str) -> CommandReport:
        """Give back the exact profile the miner had before we first touched it."""
        ...

    async def close(self) -> None: ...


class Journal(Protocol):
    """The record of what came in, what was decided and what came of it.

    `append` never blocks the caller; the returned handle tells when (and whether) the rows are on the disk.
    """

    def append(self, rows: tuple[Row, ...]) -> Durable: ...

    @property
    def writable(self) -> bool:
        """False after a write failed; true again after one succeeded."""
        ...


class Durable(Protocol):
    """One appended batch on its way to the disk."""

    async def wait(self) -> bool:
        """True once committed, False when it could not be; never raises."""
        ...


class Inbox(Protocol):
    """Where dispatch comes in and answers go out. Both verbs return at once; delivery is the inbox's own business."""

    def drain(self) -> tuple[Received, ...]: ...

    def answer(self, answers: tuple[Answer, ...]) -> None: ...
