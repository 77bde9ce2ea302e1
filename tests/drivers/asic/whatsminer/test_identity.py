"""Which WhatsMiner is another machine, what becomes of it, and when it is asked."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from controller.domain.command import Command, Outcome, Verb
from controller.domain.fleet import Condition
from drivers.asic.budget import DAY_S, Budget
from drivers.asic.profiles import LadderUnreadableError
from tests.drivers.asic.whatsminer.script import (
    FACTS,
    NAMEPLATE_W,
    SHED,
    SLEEP,
    WAKE,
    Script,
    devdetails,
    error,
    running,
    status,
    summary,
    trim,
    version,
    warmed,
)

POWER_ON = "enc power_on"


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


@pytest.mark.parametrize("half", [b"", error(14, "invalid cmd")])
async def test_half_an_answer_does_not_make_a_parked_machine_ours(script: Script, half: Any) -> None:
    script.answers["get_version"] = version("20250409.15.REL")
    miner = script.ours()
    assert (await miner.read()).condition is Condition.CONTRADICTS
    script.answers["get_version"] = half
    told = (await miner.read()).condition
    assert told in (Condition.CONTRADICTS, Condition.UNREACHABLE), "its model fits, and its firmware is not told"
    assert (await miner.perform(SHED)).outcome is Outcome.WITHHELD
    script.answers["get_version"] = version()
    assert (await miner.read()).condition is Condition.HASHING


async def test_the_percentage_of_another_machine_is_nothing_to_give_back_to_ours(script: Script) -> None:
    right = dict(script.answers)
    script.answers |= {"devdetails": devdetails("M60S_VK30"), "summary": summary(NAMEPLATE_W)}
    miner = script.ours()
    for _ in range(2):
        reading = await miner.read()
        assert (reading.condition, reading.prior) == (Condition.CONTRADICTS, None)
    script.answers = {**right, "summary": summary(0.6 * NAMEPLATE_W)}
    reading = await miner.read()
    assert (reading.condition, reading.prior) == (Condition.HASHING, None), "nobody knows yet, least of all that one"


async def test_what_earlier_runs_spent_counts_from_the_first_read_on(script: Script) -> None:
    miner = script.ours()
    miner._budget = Budget(1, spent=1)
    now = asyncio.get_running_loop().time()
    await miner.read()
    refusal = miner._budget.refusal(raises=False, urgent=False, now=now + 3_600.0)
    assert refusal is not None and refusal.again_at is not None
    assert refusal.again_at < now + DAY_S + 60.0


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
