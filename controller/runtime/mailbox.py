"""Where everything that comes in waits for the next cycle: pollers, workers, MQTT and people fill it."""

from __future__ import annotations

import asyncio

from controller.core import urgency
from controller.domain.command import CommandReport
from controller.domain.dispatch import Received
from controller.domain.fleet import MinerReading
from controller.domain.metering import Point, Readings, Sample
from controller.domain.plan import OperatorOrder, Snapshot
from controller.domain.policy import Policy

OPERATOR_ORDERS_MAX = 64  # a person types; more than this between two cycles is a script gone wrong


class Mailbox:
    """Holds the newest sample of every point and the unread rest. All calls are on the loop and return at once.

    `urgent` is set when core/urgency finds that the next cycle must not wait.
    """

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._readings: dict[Point, Sample] = {}
        self._feeders: dict[int, Sample] = {}
        self._telemetry: dict[int, MinerReading] = {}
        self._reports: list[CommandReport] = []
        self._operator: list[OperatorOrder] = []
        self._watch = urgency.Watch()
        self.urgent = asyncio.Event()

    def put_readings(self, readings: Readings) -> None:
        """Newest samples of one meter; a BAD one replaces a good one: nobody may mistake the old for the present."""
        self._readings.update(readings)
        if self._watch.notices(self._policy, self._readings):
            self.urgent.set()

    def put_feeder(self, feeder: int, sample: Sample) -> None:
        """The newest load of one feeder, by its index; never urgent, for no limit hangs on it."""
        self._feeders[feeder] = sample

    def put_telemetry(self, reading: MinerReading) -> None:
        """The newest reading of one miner; an unread older one is of no more use."""
        self._telemetry[reading.miner] = reading

    def put_report(self, report: CommandReport) -> None:
        self._reports.append(report)

    def take_reports(self) -> tuple[CommandReport, ...]:
        """What came behind the last cycle: commands that were on their way when the daemon was told to stop."""
        late = tuple(self._reports)
        self._reports.clear()
        return late

    def put_operator(self, order: OperatorOrder) -> bool:
        """False when too many wait already."""
        if len(self._operator) >= OPERATOR_ORDERS_MAX:
            return False
        self._operator.append(order)
        self.urgent.set()
        return True

    def note_received(self, received: Received) -> None:
        """A dispatch lies in the inbox; it stays there until the cycle drains it."""
        if urgency.message_urgent(received):
            self.urgent.set()

    def freeze(
        self, wall: float, received: tuple[Received, ...], heartbeat_at: float | None, journal_writable: bool
    ) -> Snapshot:
        """Everything since the last cycle, as one value. `heartbeat_at` in loop seconds."""
        snapshot = Snapshot(
            wall=wall,
            readings=dict(self._readings),
            feeders=dict(self._feeders),
            telemetry=tuple(self._telemetry.values()),
            reports=tuple(self._reports),
            received=received,
            operator=tuple(self._operator),
            dispatcher_heartbeat_at=heartbeat_at,
            journal_writable=journal_writable,
        )
        self._telemetry.clear()
        self._reports.clear()
        self._operator.clear()
        self.urgent.clear()
        return snapshot
