"""Giving a miner back: its own worker does it, in its turn, and whoever asked hears what became of it."""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.command import RESTORE_COMMAND_ID, Outcome, Verb
from tests.runtime.fakes import Crew, FakeDurable, FakeLoad, command, let_run

pytestmark = pytest.mark.virtual_time


async def test_a_restore_waits_for_the_command_under_way_and_tells_both_who_asked_and_the_core() -> None:
    async with Crew([FakeLoad(0, perform_s=2)]) as crew:
        crew.submit(command(1))
        await let_run()
        report = await crew.actuator.restore(0, "default")
        (began, prior) = crew.loads[0].restored[0]
        assert (prior, report.outcome) == ("default", Outcome.APPLIED)
        assert began == pytest.approx(crew.loads[0].performed[0][0] + 2, abs=0.01)
        assert [entry.command_id for entry in crew.reports] == [1, RESTORE_COMMAND_ID]


async def test_a_raise_decided_before_the_restore_is_not_sent_after_it() -> None:
    async with Crew([FakeLoad(0)]) as crew:
        disk = FakeDurable(written=None)
        crew.submit(command(1, verb=Verb.WAKE), durable=disk)
        await let_run()
        await crew.actuator.restore(0, "default")
        disk.settle(True)
        await asyncio.sleep(1)
        assert crew.loads[0].obeyed == []
        crew.submit(command(2, verb=Verb.WAKE))
        await asyncio.sleep(1)
        assert crew.loads[0].obeyed == [2], "what is decided later goes out as ever"


async def test_a_shed_takes_the_place_of_a_restore_that_still_waits() -> None:
    async with Crew([FakeLoad(0, perform_s=2)]) as crew:
        crew.submit(command(1))
        await let_run()
        asked = crew.actuator.restore(0, "default")
        crew.submit(command(2))
        report = await asked
        assert report.outcome is Outcome.WITHHELD
        await asyncio.sleep(5)
        assert (crew.loads[0].obeyed, crew.loads[0].restored) == ([1, 2], [])


async def test_the_miner_is_read_when_the_profile_given_back_should_show() -> None:
    async with Crew([FakeLoad(0)], settle_s=2.0, sweep_period_s=60.0) as crew:
        await asyncio.sleep(3)
        reads = len(crew.loads[0].reads)
        await crew.actuator.restore(0, "default")
        await asyncio.sleep(3)
        assert len(crew.loads[0].reads) == reads + 1
