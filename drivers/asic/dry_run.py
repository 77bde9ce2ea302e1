"""Observe mode: a miner that is read for real and never told anything."""

from __future__ import annotations

import asyncio

from controller.domain.command import RESTORE_COMMAND_ID, Command, CommandReport, Outcome
from controller.domain.fleet import MinerReading
from controller.ports import Load


class DryRunLoad:
    """A Load around another: `read` goes through, every command ends WITHHELD with nothing sent."""

    def __init__(self, load: Load, *, index: int) -> None:
        """`index` is the miner's index in the fleet, for the reports."""
        self._load = load
        self._index = index

    async def read(self) -> MinerReading:
        """The real miner's telemetry."""
        return await self._load.read()

    async def perform(self, command: Command) -> CommandReport:
        """Nothing; says what would have been sent."""
        level = "" if command.level is None else f" to level {command.level}"
        return self._withheld(command.command_id, f"observe mode: {command.verb}{level} not sent")

    async def restore(self, prior: str) -> CommandReport:
        """Nothing; says what would have been sent."""
        return self._withheld(RESTORE_COMMAND_ID, f"observe mode: restore of {prior!r} not sent")

    async def close(self) -> None:
        """Close the real miner's driver."""
        await self._load.close()

    def _withheld(self, command_id: int, detail: str) -> CommandReport:
        return CommandReport(
            command_id=command_id,
            miner=self._index,
            outcome=Outcome.WITHHELD,
            sent_at=None,
            answered_at=asyncio.get_running_loop().time(),
            detail=detail,
        )
