"""Sleep, wake and giving back against a scripted miner: what is written, what is read back, what stays behind."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Command, Outcome, Verb
from tests.drivers.asic.antminer.answers import CONF, conf
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, Script, asleep, until


async def test_a_sleep_is_applied_once_mode_and_everything_else_read_back(script: Script, ours: Any) -> None:
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.detail, report.wear) == (Outcome.APPLIED, "M000: OK!", 1)
    assert script.names == ["get_miner_conf", "set_miner_conf", "get_miner_conf"]
    assert script.written[0]["miner-mode"] == 1
    assert script.written[0]["pools"] == CONF["pools"]


async def test_an_urgent_sleep_is_two_requests_on_one_connection_and_no_read_back(script: Script, ours: Any) -> None:
    await ours.read()  # as a sweep does: the challenge is known from then on
    script.requests.clear()
    report = await ours.perform(SHED)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert [request.name for request in script.requests] == ["get_miner_conf", "set_miner_conf"]
    assert script.web_connections == 1


@pytest.mark.parametrize(
    ("prior", "mode", "said"),
    [("0", 0, ""), ("3", 3, ""), ("2", 2, ""), (None, 0, "nobody knows"), ("1", 0, "nobody"), ("normal", 0, "nobody")],
)
async def test_a_wake_sets_the_mode_its_owner_had(
    script: Script, ours: Any, prior: str | None, mode: int, said: str
) -> None:
    asleep(script)
    report = await ours.perform(replace(WAKE, prior=prior))
    assert report.outcome is Outcome.APPLIED
    assert script.written[0]["miner-mode"] == mode
    assert said in report.detail


async def test_a_wake_without_a_prior_sets_the_mode_it_was_last_seen_in(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = conf("3")
    await ours.perform(SLEEP)
    await ours.perform(replace(WAKE, prior=None))
    assert script.written[1]["miner-mode"] == 3


@pytest.mark.parametrize(
    ("prior", "seen", "mode"), [("0", "3", 3), ("3", "0", 3), ("0", "0", 0), ("2", "3", 3), ("2", "0", 2)]
)
async def test_a_miner_that_was_turned_down_since_its_prior_was_noted_is_not_turned_up_by_a_wake(
    script: Script, ours: Any, prior: str, seen: str, mode: int
) -> None:
    script.web["get_miner_conf"] = conf(seen)
    await ours.perform(SLEEP)
    await ours.perform(replace(WAKE, prior=prior))
    assert script.written[1]["miner-mode"] == mode


@pytest.mark.parametrize("mode", ["0", "3"])
async def test_what_the_web_tells_is_the_same_before_a_sleep_and_after_the_wake(script: Script, mode: str) -> None:
    odd = conf(mode, bitmain_user_ip_cat="1", bitmain_hashrate_percent="90", next_years_key={"a": [1, "b"]})
    script.web["get_miner_conf"] = odd
    ours = script.ours()
    prior = (await ours.read()).prior
    await ours.perform(SLEEP)
    report = await ours.perform(replace(WAKE, prior=prior))
    assert report.outcome is Outcome.APPLIED
    assert script.web["get_miner_conf"] == odd
    carried = {"bitmain-user-ip-cat": "1", "bitmain-hashrate-percent": "90", "next-years-key": {"a": [1, "b"]}}
    for sent in script.written:
        assert sent == sent | carried
    await ours.close()


async def test_a_trim_is_unsupported_and_sends_nothing(script: Script, ours: Any) -> None:
    report = await ours.perform(Command(44, 0, Verb.TRIM, 0, raises=False, urgent=False, reason="test"))
    assert (report.outcome, report.sent_at) == (Outcome.UNSUPPORTED, None)
    assert (script.requests, script.asked) == ([], [])


async def test_a_report_tells_when_the_write_left(script: Script, ours: Any) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    report = await ours.perform(SLEEP)
    assert before < report.sent_at < report.answered_at <= loop.time()


async def test_a_restore_sets_the_mode_of_a_miner_that_is_awake_in_another(script: Script, ours: Any) -> None:
    report = await ours.restore("3")
    assert (report.outcome, report.command_id) == (Outcome.APPLIED, 0)
    assert script.written[0]["miner-mode"] == 3


async def test_a_restore_writes_nothing_where_the_mode_is_right_and_wakes_nobody(script: Script, ours: Any) -> None:
    assert (await ours.restore("0")).outcome is Outcome.APPLIED
    asleep(script)
    report = await ours.restore("0")
    assert report.outcome is Outcome.WITHHELD
    assert "wakes nobody" in report.detail
    for no_mode in ("default", "", "1", "00", "\u0663"):
        assert (await ours.restore(no_mode)).outcome is Outcome.UNSUPPORTED
    script.web["get_miner_conf"] = conf("0")
    assert (await ours.restore("1")).outcome is Outcome.UNSUPPORTED
    assert script.written == []


async def test_a_restore_gives_back_its_prior_whatever_was_seen_since(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = conf("3")
    await ours.read()
    await ours.restore("0")
    assert script.written[0]["miner-mode"] == 0


@pytest.mark.parametrize("where", ["api", "get_miner_conf", "set_miner_conf"])
async def test_a_cancelled_call_leaves_no_task_and_no_socket(script: Script, where: str) -> None:
    ours = script.ours()
    if where == "api":
        script.api["summary"] = None
    else:
        script.web[where] = None
    tasks = asyncio.all_tasks()
    call = asyncio.create_task(ours.read() if where == "api" else ours.perform(SLEEP))
    await until(lambda: script.asked if where == "api" else where in script.names)
    call.cancel()
    await asyncio.wait([call])
    await until(lambda: script.open_now == 0)
    await until(lambda: {task for task in asyncio.all_tasks() if "Script" not in repr(task)} <= tasks)
    await ours.close()


def test_a_host_name_is_refused() -> None:
    with pytest.raises(ValueError, match="miner-7"):
        Script().ours(host="miner-7")
