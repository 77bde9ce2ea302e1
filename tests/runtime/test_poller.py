"""The beat of a meter, and what a failed read leaves in the mailbox: nothing."""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.metering import MeterError, MeterFault, Point, Quality, Readings, Sample
from controller.runtime.poller import Poller
from tests.runtime.fakes import FakeMeter, let_run

pytestmark = pytest.mark.virtual_time

READINGS: Readings = {Point.POI_EXPORT_W: Sample(1000.0, 0.0, Quality.GOOD, "poi")}


class Polling:
    """A poller at work: `async with Polling(meter) as polling:`."""

    def __init__(self, meter: FakeMeter, *, period_s: float = 1.0, phase_s: float = 0.0) -> None:
        self.put: list[Readings] = []
        self.failures: list[MeterFault] = []
        self.poller = Poller(meter, period_s=period_s, phase_s=phase_s, put=self.put.append, failed=self._failed)

    def _failed(self, meter_id: str, error: MeterError) -> None:
        assert meter_id == "poi"
        self.failures.append(error.fault)

    async def __aenter__(self) -> Polling:
        self.task = asyncio.create_task(self.poller.run())
        await let_run()
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.wait([self.task])


async def test_reads_at_absolute_times_however_long_a_read_takes() -> None:
    meter = FakeMeter(READINGS, takes_s=0.3)
    async with Polling(meter, phase_s=0.25) as polling:
        await asyncio.sleep(4.9)
    assert meter.began == [0.25, 1.25, 2.25, 3.25, 4.25]
    assert len(polling.put) == 5


async def test_beats_that_a_slow_read_missed_are_skipped_not_made_up_for() -> None:
    meter = FakeMeter(READINGS, takes_s=2.5)
    async with Polling(meter):
        await asyncio.sleep(2)
        meter.takes_s = 0.1
        await asyncio.sleep(3.5)
    assert meter.began == [0.0, 3.0, 4.0, 5.0]


async def test_a_failed_read_puts_nothing_and_the_next_beat_reads_again() -> None:
    meter = FakeMeter(READINGS)
    meter.failing = True
    async with Polling(meter) as polling:
        await asyncio.sleep(1.5)
        assert polling.put == []
        assert polling.failures == [MeterFault.TIMEOUT] * 2
        meter.failing = False
        await asyncio.sleep(1)
        assert polling.put == [READINGS]
        assert (polling.poller.reads_good, polling.poller.reads_failed) == (1, 2)


async def test_stopping_closes_the_meter_even_in_the_middle_of_a_read() -> None:
    meter = FakeMeter(READINGS, takes_s=60)
    async with Polling(meter):
        await asyncio.sleep(5)
    assert meter.closed
