"""WhatsMiner tokens as the driver uses them: round trips, retries, renewals, turns."""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from tests.drivers.asic.whatsminer.script import OK, SHED, SLEEP, Script, Sealed, error, running, summary, until, warmed

POWER_OFF = "enc power_off respbefore=true"


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


async def test_an_outage_uses_up_no_tokens_and_the_first_shed_after_it_goes() -> None:
    async with running() as script:
        miner = script.ours()
    for command in [SLEEP] * 30 + [SHED] * 30:
        assert (await miner.perform(command)).outcome is Outcome.UNREACHABLE
    async with await asyncio.start_server(script.serve, "127.0.0.1", script.port):
        await miner.read()
        assert script.asked[-1] == "get_token", "nor is a renewal put off"
        script.forget()
        assert (await miner.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
        assert script.asked == [POWER_OFF]


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


async def test_a_read_that_took_all_its_time_is_no_failed_renewal(script: Script) -> None:
    miner = script.ours()
    await miner._writer.renew(asyncio.get_running_loop().time())
    assert script.asked == []
    await miner.read()
    assert script.asked[-1] == "get_token"


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


async def test_tokens_that_come_together_are_worked_out_one_at_a_time(script: Script) -> None:
    grant = {"time": "5626", "salt": script.salt, "newsalt": "KrTFM3PY"}
    script.answers |= {"get_token": {"STATUS": "S", "Code": 134, "Msg": grant}, "power_off": OK}
    miners = [script.ours(index=index) for index in range(48)]
    await miners[0].perform(SHED)  # whatever a first call costs
    loop, busiest_s = asyncio.get_running_loop(), 0.0
    gc.collect()  # what other tests left is not ours to pay for
    gc.disable()
    last_s = time.process_time()

    def beat() -> None:
        nonlocal busiest_s, last_s, timer
        now_s = time.process_time()  # CPU of ours alone, whatever else this machine does
        busiest_s, last_s = max(busiest_s, now_s - last_s), now_s
        timer = loop.call_later(0.0005, beat)

    timer = loop.call_later(0.0, beat)
    try:
        reports = await asyncio.gather(*(miner.perform(SHED) for miner in miners[1:]))
    finally:
        timer.cancel()
        gc.enable()
    assert {report.outcome for report in reports} == {Outcome.ACKNOWLEDGED}
    assert busiest_s < 0.025, "47 tokens at once are 33 ms and more"
