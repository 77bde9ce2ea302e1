"""Reads one meter at its own fixed beat and puts what it says into the mailbox. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from controller.domain.metering import MeterError, Readings
from controller.ports import Meter


class Poller:
    """One meter's reader: absolute times, so that a slow read does not shift the beat; a missed beat is skipped.

    phase_s staggers the meters of a site: all at one instant would make each other late.
    """

    def __init__(
        self,
        meter: Meter,
        *,
        period_s: float,
        phase_s: float,
        put: Callable[[Readings], None],
        failed: Callable[[str, MeterError], None],
    ) -> None:
        self._meter = meter
        self._period_s = period_s
        self._phase_s = phase_s
        self._put = put
        self._failed = failed
        self.reads_good = 0
        self.reads_failed = 0

    @property
    def meter_id(self) -> str:
        return self._meter.meter_id

    async def run(self) -> None:
        """Poll until cancelled; closes the meter then."""
        loop = asyncio.get_running_loop()
        due = loop.time() + self._phase_s
        try:
            while True:
                await asyncio.sleep(max(due - loop.time(), 0.0))
                await self._read_once()
                missed = max(int((loop.time() - due) / self._period_s), 0)
                due += (missed + 1) * self._period_s
        finally:
            await self._meter.close()

    async def _read_once(self) -> None:
        try:
            readings = await self._meter.read()
        except MeterError as error:
            self.reads_failed += 1
            self._failed(self._meter.meter_id, error)
            return
        self.reads_good += 1
        self._put(readings)
