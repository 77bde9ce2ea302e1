"""The WhatsMiner driver against a scripted miner: outcomes, readings, percentages, giving back, wear."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.fleet import Command, Condition, Outcome
from tests.drivers.asic.whatsminer_script import (
    NAMEPLATE_W,
    OK,
    SHED,
    SLEEP,
    WAKE,
    Script,
    Sealed,
    error,
    running,
    status,
    summary,
    trim,
    until,
    warmed,
)

POWER_OFF = "enc power_off respbefore=true"


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A scripted miner that hashes."""
    async with running() as scripted:
        yield scripted


# --- outcomes --------------------------------------------------------------------------------------------------------


async def test_sleep_and_wake_are_applied_once_status_agrees(script: Script) -> None:
    script.answers["status"] = status("true")
    assert (await script.ours().perform(SLEEP)).outcome is Outcome.APPLIED
    script.answers["status"] = status("false")
    assert (await script.ours().perform(WAKE)).outcome is Outcome.APPLIED


async def test_a_status_that_lags_leaves_the_acknowledgement_and_says_so(script: Script) -> None:
    report = await script.ours().perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.ACKNOWLEDGED, "131: API command OK; read back as on")


async def test_a_read_back_that_fails_leaves_the_acknowledgement(script: Script) -> None:
    script.answers["status"] = error(132, "API command ERROR")
    report = await script.ours().perform(SLEEP)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert report.detail.endswith("; not read back: API command ERROR")


@pytest.mark.parametrize("command", [SHED, replace(WAKE, urgent=True), trim(3, urgent=True)])
async def test_an_urgent_command_is_one_round_trip_and_not_read_back(script: Script, command: Command) -> None:
    miner = await warmed(script)
    assert (await miner.perform(command)).outcome is Outcome.ACKNOWLEDGED
    assert len(script.asked) == 1


async def test_a_percentage_cannot_be_read_back(script: Script) -> None:
    miner = await warmed(script)
    assert (await miner.perform(trim(4))).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == ["enc set_power_pct percent=60"]


async def test_full_power_is_a_percentage_like_any_other(script: Script) -> None:
    miner = await warmed(script)
    assert (await miner.perform(trim(12))).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == ["enc set_power_pct percent=100"]


@pytest.mark.parametrize("level", [None, -1, 13])
async def test_a_trim_off_the_ladder_is_unsupported_and_sends_nothing(script: Script, level: int | None) -> None:
    report = await script.ours().perform(trim(level))
    assert (report.outcome, report.sent_at, script.asked) == (Outcome.UNSUPPORTED, None, [])


async def test_a_command_the_firmware_does_not_have_is_unsupported(script: Script) -> None:
    script.answers["set_power_pct"] = error(14, "invalid cmd")
    report = await script.ours().perform(trim(3))
    assert (report.outcome, report.detail) == (Outcome.UNSUPPORTED, "14: invalid cmd")


@pytest.mark.parametrize("answer", [error(45, "permission denied"), error(132, "can't access write cmd")])
async def test_a_closed_write_api_is_refused_and_says_what_a_person_must_do(script: Script, answer: Any) -> None:
    script.answers["power_off"] = answer
    report = await script.ours().perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert "change its password" in report.detail
    assert "switch its API on" in report.detail
    assert len(script.asked) == 2, "one token, one write: asking again would not open it"


async def test_a_miner_that_says_no_is_refused_in_its_own_words(script: Script) -> None:
    script.answers["power_off"] = error(132, "API command ERROR")
    report = await script.ours().perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.REFUSED, "132: API command ERROR")


async def test_a_no_may_come_encrypted(script: Script) -> None:
    script.answers["power_off"] = Sealed(error(132, "API command ERROR"), script.key)
    assert (await script.ours().perform(SLEEP)).outcome is Outcome.REFUSED


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (None, "no answer within"),
        (b"", "connection closed without an answer"),
        (b"\x16\x03nonsense", "not a whole JSON document"),
        (b'{"enc": "AAAA', "not a whole JSON document"),
        ({}, "empty reply"),
        ([], "empty reply"),
        (b'{"STATUS": "S", "Code": 131, "Msg": "API command OK"}', "a yes in clear"),
    ],
)
async def test_a_write_without_a_trustworthy_answer_is_unknown(script: Script, answer: Any, why: str) -> None:
    miner = await warmed(script, deadline_s=0.4 if answer is None else 3.0)
    script.answers["power_off"] = answer
    report = await miner.perform(SLEEP)
    assert report.outcome is Outcome.UNKNOWN
    assert why in report.detail
    assert report.sent_at is not None
    assert script.asked == [POWER_OFF]


async def test_a_closed_port_is_unreachable_warm_or_cold() -> None:
    async with running() as script:
        warm = await warmed(script)
    assert (await warm.perform(SLEEP)).outcome is Outcome.UNREACHABLE
    report = await script.ours().perform(SLEEP)
    assert (report.outcome, report.sent_at) == (Outcome.UNREACHABLE, None)


@pytest.mark.parametrize("answer", [None, b"", b"nonsense", {**OK, "Msg": ""}, {**OK, "Msg": {"salt": "$", "time": 1}}])
async def test_without_a_usable_token_the_write_never_leaves(script: Script, answer: Any) -> None:
    script.answers["get_token"] = answer
    report = await script.ours(deadline_s=0.4).perform(SLEEP)
    assert (report.outcome, report.sent_at, script.asked) == (Outcome.UNREACHABLE, None, ["get_token"])
    assert report.detail.startswith("get_token: ")


async def test_firmware_that_lends_no_tokens_is_unsupported(script: Script) -> None:
    script.answers["get_token"] = error(14, "invalid cmd")
    assert (await script.ours().perform(SLEEP)).outcome is Outcome.UNSUPPORTED


async def test_a_report_tells_when_the_deciding_request_left(script: Script) -> None:
    before = asyncio.get_running_loop().time()
    report = await script.ours().perform(SLEEP)
    assert report.sent_at is not None
    assert before < report.sent_at < report.answered_at


# --- readings --------------------------------------------------------------------------------------------------------


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


# --- the percentage --------------------------------------------------------------------------------------------------


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


# --- giving back -----------------------------------------------------------------------------------------------------


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


# --- wear ------------------------------------------------------------------------------------------------------------


async def test_only_a_wake_wears_and_only_a_wake_runs_out(script: Script) -> None:
    miner = await warmed(script, restarts=2)
    assert [(await miner.perform(command)).wear for command in (SLEEP, WAKE, trim(3), SHED, WAKE)] == [0, 1, 0, 0, 1]
    script.forget()
    report = await miner.perform(WAKE)
    assert (report.outcome, report.wear, script.asked) == (Outcome.WITHHELD, 0, [])
    assert report.again_at is not None
    assert "2 of 2" in report.detail
    for command in (SLEEP, trim(3), SHED):
        assert (await miner.perform(command)).outcome is not Outcome.WITHHELD


@pytest.mark.parametrize(("answer", "wear"), [(None, 1), (error(132, "API command ERROR"), 0)])
async def test_a_wake_that_may_have_been_obeyed_counts(script: Script, answer: Any, wear: int) -> None:
    miner = await warmed(script, deadline_s=0.4)
    script.answers["power_on"] = answer
    assert (await miner.perform(WAKE)).wear == wear
