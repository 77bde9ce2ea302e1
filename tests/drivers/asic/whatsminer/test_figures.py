"""What is read of a scripted WhatsMiner, what percentage it is believed to run, and what is given back."""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from tests.drivers.asic.whatsminer.script import (
    NAMEPLATE_W,
    SHED,
    SLEEP,
    WAKE,
    Script,
    error,
    status,
    summary,
    trim,
    until,
    warmed,
)


async def test_a_miner_that_plainly_hashes_takes_one_round_trip(script: Script) -> None:
    miner = await warmed(script)
    reading = await miner.read()
    assert (script.asked, script.connections) == (["summary"], 1)
    assert (reading.condition, reading.power_w, reading.hashrate_th, reading.detail) == (
        Condition.HASHING,
        3200.0,
        124.5,
        "",
    )
    assert (reading.level, reading.prior) == (12, "100")


async def test_after_a_wake_an_earlier_sleep_excuses_nothing(script: Script) -> None:
    miner = await warmed(script)
    await miner.perform(SHED)
    await miner.perform(WAKE)
    script.answers |= {"summary": summary(3_200, 0.0), "status": status("true")}
    reading = await miner.read()
    assert (reading.condition, reading.detail) == (Condition.HASHING, "says it is off, but shows 3200 W")


async def test_a_sleeping_miner_takes_two_and_will_wake_at_full_power(script: Script) -> None:
    script.answers |= {"summary": summary(-1, 0.0), "status": status("true")}
    miner = await warmed(script)
    reading = await miner.read()
    assert script.asked == ["summary", "status"]
    assert (reading.condition, reading.power_w, reading.level, reading.prior) == (Condition.ASLEEP, None, 12, "100")


async def test_after_a_sleep_the_figures_alone_prove_nothing(script: Script) -> None:
    miner = await warmed(script)
    await miner.perform(SHED)
    script.answers["status"] = status("true")
    script.forget()
    reading = await miner.read()
    assert script.asked == ["summary", "status"]
    assert reading.condition is Condition.UNKNOWN, "what it shows may be what it showed before"
    assert "may be old" in reading.detail


async def test_a_mining_process_that_is_gone_is_asleep_by_what_the_board_says(script: Script) -> None:
    script.answers |= {"summary": error(132, "btminer process is down"), "status": status("true")}
    reading = await script.ours().read()
    assert reading.condition is Condition.ASLEEP
    assert "btminer process is down" in reading.detail


async def test_a_silent_miner_is_unreachable_at_its_deadline(script: Script) -> None:
    script.answers["summary"] = None
    miner = script.ours(deadline_s=0.2)
    reading = await miner.read()
    assert (reading.condition, reading.power_w, reading.level) == (Condition.UNREACHABLE, None, None)
    assert reading.finished_at - reading.started_at < 1.0
    assert script.asked == ["summary"]


async def test_an_abandoned_read_closes_its_socket_at_once(script: Script) -> None:
    script.answers["summary"] = None
    reading = asyncio.create_task(script.ours(deadline_s=60.0).read())
    await until(lambda: script.asked)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await until(lambda: not script.open_now)  # the miner saw it go, long before any deadline


async def test_the_percentage_is_remembered_until_the_mining_process_starts_anew(script: Script) -> None:
    miner = await warmed(script)
    await miner.perform(trim(4))
    assert (await miner.read()).level == 4
    await asyncio.sleep(1.1)  # the firmware counts whole seconds
    script.answers["summary"] = summary(Elapsed=0)
    reading = await miner.read()
    assert (reading.level, reading.prior) == (12, "100")


async def test_a_percentage_set_by_its_owner_is_known_before_our_first_trim(script: Script) -> None:
    """Half a minute of steady watts is what it takes to be sure, and a plan does not wait for it."""
    script.answers["summary"] = summary(0.7 * NAMEPLATE_W)
    miner = await warmed(script)
    assert (await miner.read()).prior is None
    await miner.perform(trim(0))
    script.answers["summary"] = summary(0.4 * NAMEPLATE_W)
    assert (await miner.read()).prior == "70"
    await miner.perform(SLEEP)
    script.answers |= {"summary": summary(-1, 0.0), "status": status("true")}
    assert (await miner.read()).prior == "70"


async def test_what_was_given_back_is_its_owners_again(script: Script) -> None:
    script.answers["summary"] = summary(0.7 * NAMEPLATE_W)
    miner = await warmed(script)
    await miner.read()
    await miner.perform(trim(0))
    assert (await miner.read()).prior == "70"
    await miner.restore("70")
    await asyncio.sleep(1.1)  # the firmware counts whole seconds
    script.answers["summary"] = summary(NAMEPLATE_W, Elapsed=0)  # its owner restarts it
    assert (await miner.read()).prior == "100"


async def test_a_trim_nobody_can_say_was_obeyed_leaves_the_level_open(script: Script) -> None:
    miner = await warmed(script, deadline_s=0.4)
    script.answers["set_power_pct"] = None
    assert (await miner.perform(trim(4))).outcome is Outcome.UNKNOWN
    reading = await miner.read()
    assert (reading.level, reading.prior) == (None, "100")


async def test_a_trim_that_was_refused_leaves_the_level_as_it_was(script: Script) -> None:
    miner = await warmed(script)
    script.answers["set_power_pct"] = error(132, "API command ERROR")
    await miner.perform(trim(4))
    assert (await miner.read()).level == 12


async def test_a_wake_starts_at_full_power(script: Script) -> None:
    miner = await warmed(script)
    await miner.perform(trim(4))
    await miner.perform(WAKE)
    assert (await miner.read()).level == 12


async def test_the_prior_percentage_is_set_even_off_the_ladder(script: Script) -> None:
    miner = await warmed(script)
    report = await miner.restore("37")
    assert (report.outcome, report.command_id) == (Outcome.ACKNOWLEDGED, 0)
    assert script.asked == ["summary", "enc set_power_pct percent=37"]
    assert (await miner.read()).level is None


async def test_a_sleeping_miner_is_not_woken_and_has_full_power_back_already(script: Script) -> None:
    script.answers |= {"summary": summary(20, 0.0), "status": status("true")}
    miner = await warmed(script)
    assert (await miner.restore("100")).outcome is Outcome.APPLIED
    assert (await miner.restore("60")).outcome is Outcome.WITHHELD
    assert not [name for name in script.asked if name.startswith("enc")]


@pytest.mark.parametrize("prior", ["", "default", "0", "101", "-5", "5.5", "²"])
async def test_what_is_no_percentage_is_not_restored(script: Script, prior: str) -> None:
    report = await script.ours().restore(prior)
    assert (report.outcome, script.asked) == (Outcome.UNSUPPORTED, [])
