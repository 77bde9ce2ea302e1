"""What comes of a command to a scripted WhatsMiner: applied, acknowledged, refused, unsupported, unknown; its wear."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Command, Outcome
from tests.drivers.asic.whatsminer.script import (
    OK,
    SHED,
    SLEEP,
    WAKE,
    Script,
    Sealed,
    error,
    running,
    status,
    trim,
    warmed,
)

POWER_OFF = "enc power_off respbefore=true"


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
