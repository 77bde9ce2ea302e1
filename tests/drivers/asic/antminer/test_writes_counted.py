"""The budget of writes: what counts, what is withheld, and what goes beyond it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controller.domain.command import Outcome
from drivers.asic.budget import DAY_S, Budget
from tests.drivers.asic.antminer.answers import BUSY, OK, RESET
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, Script, asleep


async def test_beyond_the_budget_a_sleep_is_withheld_with_a_reason_and_a_time(script: Script) -> None:
    ours = script.ours(budget=Budget(2, spent=2))
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.sent_at, report.wear) == (Outcome.WITHHELD, None, 0)
    assert report.detail == "2 of 2 writes and restarts of the last 24 h are used up"
    assert report.again_at == pytest.approx(asyncio.get_running_loop().time() + DAY_S, abs=5.0)
    assert script.written == []
    await ours.close()


async def test_what_earlier_runs_spent_counts_from_the_first_read_on(
    script: Script,
) -> None:
    budget = Budget(2, spent=2)
    ours = script.ours(budget=budget)
    await ours.read()
    assert budget.spent(asyncio.get_running_loop().time()) == 2
    assert budget.spent(asyncio.get_running_loop().time() + DAY_S) == 0
    await ours.close()


async def test_a_wake_leaves_room_for_the_sleep_that_follows(script: Script) -> None:
    asleep(script)
    ours = script.ours(budget=Budget(3, spent=2))
    report = await ours.perform(WAKE)
    assert report.outcome is Outcome.WITHHELD
    assert report.detail.endswith("kept for a sleep")
    await ours.close()


async def test_an_urgent_sleep_goes_beyond_the_budget_is_counted_and_says_so(script: Script) -> None:
    budget = Budget(1, spent=1)
    ours = script.ours(budget=budget)
    report = await ours.perform(SHED)
    assert (report.outcome, report.wear) == (Outcome.ACKNOWLEDGED, 1)
    assert report.detail == "M000: OK!; write 2 of 1 in 24 h: the grid first"
    assert budget.spent(asyncio.get_running_loop().time()) == 2
    await ours.close()


@pytest.mark.parametrize(("answer", "wear"), [(OK, 1), (BUSY, 1), (500, 1), (RESET, 1), (403, 0), (404, 0)])
async def test_a_write_counts_unless_it_was_turned_away_at_the_door(script: Script, answer: Any, wear: int) -> None:
    script.web["set_miner_conf"] = answer
    budget = Budget(12)
    ours = script.ours(budget=budget)
    assert (await ours.perform(SHED)).wear == wear
    assert budget.spent(asyncio.get_running_loop().time()) == wear
    await ours.close()


async def test_a_command_that_needs_no_write_needs_no_budget(script: Script) -> None:
    asleep(script)
    ours = script.ours(budget=Budget(0))
    assert (await ours.perform(SLEEP)).outcome is Outcome.APPLIED
    await ours.close()
