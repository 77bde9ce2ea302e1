"""Writes that are not made: the miner is there already, or its configuration was not read whole."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Command, Outcome
from drivers.asic.budget import Budget
from tests.drivers.asic.antminer.answers import BUSY, CONF, OK, RESET, conf, http, summary
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, Script, asleep, scripted


async def test_a_miner_configured_to_sleep_is_not_told_again(script: Script, ours: Any) -> None:
    asleep(script)
    for command in (SLEEP, SHED):
        report = await ours.perform(command)
        assert (report.outcome, report.sent_at, report.wear) == (Outcome.APPLIED, None, 0)
    assert script.written == []


@pytest.mark.parametrize(
    ("answer", "outcome", "wear"),
    [
        ({"stats": "success"}, Outcome.ACKNOWLEDGED, 1),
        (RESET, Outcome.UNKNOWN, 1),  # it went down under us
        (500, Outcome.UNKNOWN, 1),
        (403, Outcome.REFUSED, 0),
        (404, Outcome.UNSUPPORTED, 0),
    ],
)
async def test_a_miner_configured_to_sleep_that_hashes_is_restarted_not_written(
    script: Script, ours: Any, answer: Any, outcome: Outcome, wear: int
) -> None:
    """A write of the mode that is set already only reloads the pools."""
    asleep(script)
    script.api["summary"] = summary()
    script.web["reboot"] = answer
    report = await ours.perform(SHED)
    assert (report.outcome, report.wear) == (outcome, wear)
    assert (script.names[-1], script.written) == ("reboot", [])


async def test_a_restart_needs_room_in_the_budget_too(script: Script) -> None:
    asleep(script)
    script.api["summary"] = summary()
    ours = script.ours(budget=Budget(1, spent=1))
    assert (await ours.perform(SLEEP)).outcome is Outcome.WITHHELD
    assert "reboot" not in script.names
    await ours.close()


@pytest.mark.parametrize("command", [SLEEP, SHED])
async def test_a_shed_right_after_a_wake_nobody_answered_is_written_though_the_file_still_says_asleep(
    script: Script, command: Command
) -> None:
    """The wake may land a moment later, and the miner would be believed to be on its way to sleep."""
    asleep(script)
    script.web["set_miner_conf"] = RESET
    ours = script.ours()
    assert (await ours.perform(WAKE)).outcome is Outcome.UNKNOWN
    script.web["set_miner_conf"] = BUSY  # with that very wake
    assert (await ours.perform(command)).outcome is Outcome.REFUSED
    script.web["set_miner_conf"] = OK
    assert (await ours.perform(command)).sent_at is not None
    assert [sent["miner-mode"] for sent in script.written] == [0, 1, 1]
    assert (await ours.perform(command)).outcome is Outcome.APPLIED
    assert len(script.written) == 3, "and that is the end of the doubt"
    await ours.close()


async def test_a_rate_that_a_write_is_about_to_end_is_no_reason_for_another(script: Script, ours: Any) -> None:
    await ours.perform(SHED)
    assert (await ours.perform(SHED)).outcome is Outcome.APPLIED
    assert len(script.written) == 1


@pytest.mark.parametrize(("mode", "prior"), [("0", "0"), ("3", "0"), ("0", "3")])
async def test_a_miner_that_is_awake_in_whatever_mode_is_not_woken(
    script: Script, ours: Any, mode: str, prior: str
) -> None:
    script.web["get_miner_conf"] = conf(mode)
    report = await ours.perform(replace(WAKE, prior=prior))
    assert (report.outcome, report.sent_at, script.written) == (Outcome.APPLIED, None, [])


@pytest.mark.parametrize(
    ("answer", "outcome", "words"),
    [
        (RESET, Outcome.UNREACHABLE, "without an answer"),
        (b"garbage\r\n\r\n", Outcome.UNREACHABLE, "not HTTP"),
        (http(200, b"{}")[:-1], Outcome.UNREACHABLE, "deadline"),
        (http(200, b""), Outcome.REFUSED, "0 bytes"),
        (http(200, b'{"pools":['), Outcome.REFUSED, "10 bytes"),
        (http(200, b"[]"), Outcome.REFUSED, "2 bytes"),
        ({}, Outcome.REFUSED, "no work mode"),
        ({**CONF, "pools": None}, Outcome.REFUSED, "no pools"),
        (conf("0", pools=[]), Outcome.REFUSED, "no pools"),
        (conf("0", pools=[{"url": "a b", "user": "u", "pass": "p"}]), Outcome.REFUSED, "'pools' holds a blank"),
        (403, Outcome.REFUSED, "403"),
        (404, Outcome.UNSUPPORTED, "404"),
        (500, Outcome.REFUSED, "500"),
        (302, Outcome.REFUSED, "302"),
    ],
)
@pytest.mark.parametrize("command", [SLEEP, SHED, WAKE])
async def test_nothing_is_written_unless_the_configuration_was_read_whole(
    script: Script, answer: Any, outcome: Outcome, words: str, command: Command
) -> None:
    if command is WAKE and isinstance(answer, dict) and "bitmain-work-mode" in answer:
        answer = answer | {"bitmain-work-mode": "1"}
    script.web["get_miner_conf"] = answer
    ours = script.ours(deadline_s=0.4 if words == "deadline" else 3.0)
    report = await ours.perform(command)
    assert (report.outcome, report.sent_at, report.wear) == (outcome, None, 0)
    assert report.detail.startswith("nothing written; ")
    assert words in report.detail
    assert script.written == []
    await ours.close()


async def test_a_wrong_password_is_refused_and_says_what_to_do(script: Script) -> None:
    ours = script.ours(password="wrong")
    report = await ours.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert (
        report.detail
        == "nothing written; get_miner_conf: 401: user or password not accepted; give this miner's in the configuration"
    )
    await ours.close()


async def test_without_credentials_those_it_was_shipped_with_are_used() -> None:
    async with scripted(password="root") as script:
        ours = script.ours(password=None, username=None)
        assert (await ours.perform(SLEEP)).outcome is Outcome.APPLIED
        await ours.close()
