"""The WhatsMiner driver against a scripted miner: outcomes, round trips, tokens, identity, giving back."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.fleet import Command, Condition, Outcome, Verb
from drivers.asic.profiles import LadderUnreadableError
from tests.drivers.asic.whatsminer_script import (
    FACTS,
    OK,
    SHED,
    SLEEP,
    WAKE,
    Script,
    Sealed,
    devdetails,
    error,
    running,
    status,
    summary,
    trim,
    until,
    version,
)

POWER_OFF = "enc power_off respbefore=true"
POWER_ON = "enc power_on"


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A scripted miner that hashes."""
    async with running() as scripted:
        yield scripted


async def warmed(script: Script, **given: Any) -> Any:
    """Our driver after its first read, with a token in hand, and a clean record."""
    miner = script.ours(**given)
    await miner.read()
    script.forget()
    return miner


# --- outcomes ----------------------------------------------------------------------------------------------------


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


# --- tokens ------------------------------------------------------------------------------------------------------


async def test_a_read_brings_a_token_along_and_a_shed_then_takes_one_connection(script: Script) -> None:
    miner = script.ours()
    await miner.read()
    assert script.asked[-1] == "get_token"
    script.forget()
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert (script.connections, script.asked) == (1, [POWER_OFF])
    script.forget()
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert script.connections == 1


async def test_a_cold_shed_takes_two_connections(script: Script) -> None:
    assert (await script.ours().perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == ["get_token", POWER_OFF]


async def test_a_token_the_miner_has_forgotten_costs_one_retry(script: Script) -> None:
    miner = await warmed(script)
    script.tokens.clear()
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == [POWER_OFF, "get_token", POWER_OFF]
    script.forget()
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == [POWER_OFF], "the new token is kept"


@pytest.mark.parametrize("code", [23, 135, 136, 137])
async def test_a_token_that_is_refused_again_is_refused_with_the_words(script: Script, code: int) -> None:
    miner = await warmed(script)
    script.answers["power_off"] = error(code, "its own words")
    report = await miner.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith(f"{code}: its own words, ")
    assert ("password" in report.detail) is (code != 136)
    assert script.asked == [POWER_OFF, "get_token", POWER_OFF]


async def test_a_wrong_password_is_refused_and_named(script: Script) -> None:
    report = await script.ours(password="wrong").perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("23: enc json load err, with a fresh token as well: is the configured password")
    assert script.asked == ["get_token", "enc", "get_token", "enc"]


async def test_a_wrong_password_costs_one_token_per_command_and_then_none(script: Script) -> None:
    miner = await warmed(script, password="wrong")
    outcomes = [(await miner.perform(SLEEP)).outcome for _ in range(7)]
    assert outcomes == [Outcome.REFUSED] * 7
    assert script.asked.count("get_token") == 7
    script.forget()
    report = await miner.perform(SLEEP)
    assert (report.outcome, script.asked) == (Outcome.REFUSED, ["enc"])
    assert "no other token: get_token: 8 asked for within 30 minutes" in report.detail


async def test_without_a_token_and_without_a_right_to_ask_a_command_is_withheld_until_then(script: Script) -> None:
    script.answers["get_token"] = b""
    miner = script.ours()
    began = asyncio.get_running_loop().time()
    outcomes = [(await miner.perform(SLEEP)).outcome for _ in range(8)]
    assert outcomes == [Outcome.UNREACHABLE] * 8
    report = await miner.perform(SLEEP)
    assert (report.outcome, len(script.asked)) == (Outcome.WITHHELD, 8)
    assert report.again_at == pytest.approx(began + 1800.0, abs=5.0)
    script.answers.pop("get_token")
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED, "the grid first"


async def test_a_full_token_table_is_refused_with_the_words_and_asked_once(script: Script) -> None:
    script.answers["get_token"] = error(136, "over max connect")
    report = await script.ours().perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("get_token: 136: over max connect, all tokens are lent out")
    assert script.asked == ["get_token"]


async def test_a_foreign_tool_that_took_every_token_is_refused_with_both_answers(script: Script) -> None:
    miner = await warmed(script)
    script.tokens.clear()
    script.answers["get_token"] = error(136, "over max connect")
    report = await miner.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("135: check token err; no other token: get_token: 136: over max connect")


async def test_an_answer_in_another_key_costs_one_retry(script: Script) -> None:
    miner = await warmed(script)
    script.answers["power_off"] = deque([Sealed(OK, "another"), Sealed(OK, script.key)])
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert script.asked == [POWER_OFF, "get_token", POWER_OFF]


async def test_an_answer_that_is_never_readable_is_unknown(script: Script) -> None:
    miner = await warmed(script)
    script.answers["power_off"] = Sealed(OK, "another")
    report = await miner.perform(SHED)
    assert (report.outcome, len(script.asked)) == (Outcome.UNKNOWN, 3)


async def test_a_write_that_may_have_been_obeyed_stays_unknown_whatever_the_second_says(script: Script) -> None:
    miner = await warmed(script)
    script.answers["power_off"] = deque([Sealed(OK, "another"), error(132, "API command ERROR")])
    report = await miner.perform(SHED)
    assert report.outcome is Outcome.UNKNOWN
    assert "cannot be decrypted" in report.detail
    assert "132: API command ERROR" in report.detail


async def test_the_miners_reboot_drops_the_token_and_the_same_read_gets_another(script: Script) -> None:
    script.answers["summary"] = summary(Uptime=25_000)
    miner = await warmed(script)
    await miner.read()
    assert script.asked == ["summary"]
    script.tokens.clear()
    script.answers["summary"] = summary(Uptime=0, Elapsed=0)
    await asyncio.sleep(1.1)  # the firmware counts whole seconds
    script.forget()
    await miner.read()
    assert script.asked == ["summary", "get_token"]
    script.forget()
    await miner.perform(SHED)
    assert script.asked == [POWER_OFF]


@pytest.mark.parametrize("answer", [error(136, "over max connect"), {**OK, "Msg": "no token"}, b"nonsense"])
async def test_a_renewal_that_fails_spoils_no_read_and_is_not_repeated_at_once(script: Script, answer: Any) -> None:
    script.answers["get_token"] = answer
    miner = script.ours()
    assert (await miner.read()).condition is Condition.HASHING
    assert script.asked[-1] == "get_token"
    script.forget()
    await miner.read()
    assert script.asked == ["summary"]


async def test_an_abandoned_renewal_counts_and_leaves_nothing_open(script: Script) -> None:
    script.answers["get_token"] = None
    miner = script.ours(deadline_s=60.0)
    tasks = asyncio.all_tasks()
    for turn in range(4):
        reading = asyncio.create_task(miner.read())
        await until(lambda: script.asked.count("get_token") > turn)  # noqa: B023  # awaited here and now
        reading.cancel()
        await asyncio.wait({reading})
        assert reading.cancelled()
    assert (await miner.read()).condition is Condition.HASHING
    assert script.asked.count("get_token") == 4, "renewals stop before the table is full"
    await until(lambda: not script.open_now)
    assert {task for task in asyncio.all_tasks() - tasks if "Script" not in repr(task)} == set()


# --- readings ----------------------------------------------------------------------------------------------------


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


# --- the percentage ----------------------------------------------------------------------------------------------


async def test_the_percentage_is_remembered_until_the_mining_process_starts_anew(script: Script) -> None:
    miner = await warmed(script)
    await miner.perform(trim(4))
    assert (await miner.read()).level == 4
    await asyncio.sleep(1.1)  # the firmware counts whole seconds
    script.answers["summary"] = summary(Elapsed=0)
    reading = await miner.read()
    assert (reading.level, reading.prior) == (12, "100")


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


# --- giving back -------------------------------------------------------------------------------------------------


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


# --- wear --------------------------------------------------------------------------------------------------------


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


# --- who it is ---------------------------------------------------------------------------------------------------

OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"get_version": version("20250409.15.REL")}, "V3"),
    ({"get_version": version("20250409.15.REL", "3.0.2")}, "V3"),
    ({"get_version": version("20210322.22.REL", "whatsminer v1.4.0")}, "V1"),
    ({"devdetails": devdetails("M60S_VK30")}, "M60S"),
    (
        {"get_version": {"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "Invalid", "Description": "LUXminer 2025"}]}},
        "LuxOS",
    ),
]


@pytest.mark.parametrize(("told", "words"), OTHERS, ids=[words for _, words in OTHERS])
async def test_another_machine_is_parked_until_it_is_the_right_one(
    script: Script, told: dict[str, Any], words: str
) -> None:
    right = dict(script.answers)
    script.answers |= told
    miner = script.ours()
    reading = await miner.read()
    assert (reading.condition, reading.power_w, reading.level) == (Condition.CONTRADICTS, None, None)
    assert words in reading.detail
    assert "get_token" not in script.asked
    script.forget()
    for command in (SLEEP, SHED, WAKE, trim(3)):
        report = await miner.perform(command)
        assert (report.outcome, report.detail) == (Outcome.WITHHELD, reading.detail)
    assert (await miner.restore("100")).outcome is Outcome.WITHHELD
    assert not [name for name in script.asked if name.startswith("enc")]
    script.answers = right
    assert (await miner.read()).condition is Condition.HASHING
    assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED


async def test_a_parked_machine_that_is_gone_is_unreachable() -> None:
    async with running() as script:
        script.answers["devdetails"] = devdetails("M60S_VK30")
        miner = script.ours()
        await miner.read()
    assert (await miner.read()).condition is Condition.UNREACHABLE


@pytest.mark.parametrize(
    "told",
    [
        {"devdetails": error(132, "btminer process is down")},
        {"get_version": error(14, "invalid cmd"), "devdetails": error(14, "invalid cmd")},
        {"get_version": b"", "devdetails": b""},
        {"get_version": b"nonsense", "devdetails": {}},
        {"devdetails": devdetails("something else")},
    ],
)
async def test_what_says_nothing_is_no_contradiction(script: Script, told: dict[str, Any]) -> None:
    script.answers |= told
    assert (await script.ours().read()).condition is Condition.HASHING


async def test_a_parked_machine_that_only_falls_silent_about_its_model_stays_parked(script: Script) -> None:
    script.answers["devdetails"] = devdetails("M60S_VK30")
    miner = script.ours()
    await miner.read()
    script.answers["devdetails"] = error(132, "btminer process is down")
    assert (await miner.read()).condition is Condition.CONTRADICTS


async def test_a_parked_machine_that_was_taken_away_is_no_reason_to_park_the_next(script: Script) -> None:
    script.answers["devdetails"] = devdetails("M60S_VK30")
    miner = script.ours(deadline_s=0.3)
    await miner.read()
    script.answers["get_version"] = None
    assert (await miner.read()).condition is Condition.UNREACHABLE
    asleep = {
        "summary": summary(20, 0.0),
        "status": status("true"),
        "devdetails": error(132, "btminer process is down"),
    }
    script.answers |= {**asleep, "get_version": version()}
    assert (await miner.read()).condition is Condition.ASLEEP


async def test_a_sleeping_miner_is_not_asked_who_it_is(script: Script) -> None:
    script.answers |= {"summary": summary(20, 0.0), "status": status("true")}
    miner = script.ours()
    await miner.read()
    assert script.asked == ["summary", "status", "get_token"]
    script.forget()
    script.answers["devdetails"] = error(132, "btminer process is down")
    await miner.perform(WAKE)
    assert script.asked == ["get_version", POWER_ON, "status"], "only the board itself, before the load may rise"


async def test_a_miner_is_asked_again_after_it_could_not_be_reached(script: Script) -> None:
    miner = await warmed(script, deadline_s=0.3)
    hashing = script.answers["summary"]
    script.answers["summary"] = None
    await miner.read()
    script.answers |= {"summary": hashing, "devdetails": devdetails("M60S_VK30")}
    assert (await miner.read()).condition is Condition.CONTRADICTS


@pytest.mark.parametrize(("told", "again"), [(devdetails(), False), (error(132, "btminer process is down"), True)])
async def test_a_model_that_was_not_told_is_asked_for_again_in_a_minute(
    script: Script, told: dict[str, Any], again: bool
) -> None:
    script.answers["devdetails"] = told
    miner = await warmed(script)
    await miner.read()
    assert script.asked == ["summary"], "but not with every read"
    assert miner._identity.due(asyncio.get_running_loop().time() + 61.0) is again


async def test_lowering_never_waits_for_the_question(script: Script) -> None:
    await script.ours().perform(SHED)
    await script.ours().perform(trim(3))
    assert "get_version" not in script.asked
    await script.ours().perform(Command(45, 0, Verb.TRIM, 3, raises=True, urgent=False, reason="test"))
    assert "get_version" in script.asked


async def test_the_ladder_is_the_one_on_file_when_the_model_is(script: Script) -> None:
    assert await script.ours().read_ladder() == FACTS.envelope.levels
    script.answers["devdetails"] = devdetails("M60S_VK30")
    with pytest.raises(LadderUnreadableError, match=r"rack-1/0: .*M60S"):
        await script.ours().read_ladder()


async def test_the_ladder_of_a_miner_that_does_not_answer_cannot_be_read() -> None:
    async with running() as script:
        pass
    with pytest.raises(LadderUnreadableError, match=r"rack-1/0: get_version: connect failed"):
        await script.ours().read_ladder()


def test_a_host_name_is_refused_when_the_miner_is_built() -> None:
    with pytest.raises(ValueError, match="miner-7"):
        Script().ours().__class__(
            miner_id="x",
            index=0,
            facts=FACTS,
            host="miner-7.example",
            port=1,
            password=None,
            deadline_s=1.0,
            budget=None,  # type: ignore[arg-type]  # never looked at
        )


async def test_tokens_that_come_together_are_worked_out_one_at_a_time(script: Script) -> None:
    grant = {"time": "5626", "salt": script.salt, "newsalt": "KrTFM3PY"}
    script.answers |= {"get_token": {"STATUS": "S", "Code": 134, "Msg": grant}, "power_off": OK}
    miners = [script.ours(index=index) for index in range(48)]
    await miners[0].perform(SHED)  # whatever a first call costs
    loop, busiest_s = asyncio.get_running_loop(), 0.0
    last_s = time.process_time()

    def beat() -> None:
        nonlocal busiest_s, last_s, timer
        now_s = time.process_time()  # CPU of ours alone, whatever else this machine does
        busiest_s, last_s = max(busiest_s, now_s - last_s), now_s
        timer = loop.call_later(0.0005, beat)

    timer = loop.call_later(0.0, beat)
    reports = await asyncio.gather(*(miner.perform(SHED) for miner in miners[1:]))
    timer.cancel()
    assert {report.outcome for report in reports} == {Outcome.ACKNOWLEDGED}
    assert busiest_s < 0.020, "47 tokens at once are 33 ms and more"
