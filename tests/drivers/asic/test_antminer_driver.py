"""The stock Antminer driver against a scripted miner: outcomes, writes saved, budget, giving back."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.fleet import Command, Outcome, Verb
from drivers.asic.budget import DAY_S, Budget
from tests.drivers.asic.antminer_script import (
    BUSY,
    CONF,
    OK,
    RESET,
    SHED,
    SLEEP,
    WAKE,
    Script,
    conf,
    http,
    scripted,
    summary,
    until,
)


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as miner:
        yield miner


@pytest_asyncio.fixture
async def ours(script: Script) -> AsyncIterator[Any]:
    driver = script.ours()
    yield driver
    await driver.close()


def asleep(script: Script, mode: str = "1", **changed: Any) -> None:
    """The miner sleeps, as its configuration says."""
    script.web["get_miner_conf"] = conf(mode, **changed)
    script.api["summary"] = summary(0.0)


# --- sleep and wake ------------------------------------------------------------------------------------------------


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


# --- writes that are not made --------------------------------------------------------------------------------------


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
    ours = script.ours(deadline_s=0.4)
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


# --- what the answer to a write means ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "urgent", "plain"),
    [
        (BUSY, Outcome.REFUSED, Outcome.REFUSED),
        ({"stats": "error", "code": "M003", "msg": "load conf err"}, Outcome.REFUSED, Outcome.REFUSED),
        (403, Outcome.REFUSED, Outcome.REFUSED),
        (404, Outcome.UNSUPPORTED, Outcome.UNSUPPORTED),
        (500, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (RESET, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (b"garbage\r\n\r\n", Outcome.UNKNOWN, Outcome.UNKNOWN),
        (http(200, b""), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (http(200, b"{"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ({"stats": "success"}, Outcome.UNKNOWN, Outcome.UNKNOWN),
        ({"code": 0}, Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
async def test_an_answer_that_is_no_yes_where_the_configuration_stays_as_it_was(
    script: Script, answer: Any, urgent: Outcome, plain: Outcome
) -> None:
    script.web["set_miner_conf"] = answer
    ours = script.ours()
    for command, outcome in ((SHED, urgent), (SLEEP, plain)):
        report = await ours.perform(command)
        assert report.outcome is outcome
        assert report.sent_at is not None
    await ours.close()


@pytest.mark.parametrize("answer", [BUSY, 500, RESET, http(200, b"")])
async def test_an_answer_that_is_no_yes_where_the_configuration_agrees_is_applied_and_quoted(
    script: Script, ours: Any, answer: Any
) -> None:
    script.web["set_miner_conf"] = answer
    script.web["get_miner_conf"] = deque([CONF, conf("1")])
    report = await ours.perform(SLEEP)
    assert report.outcome is Outcome.APPLIED
    assert report.detail not in ("", "M000: OK!")


async def test_a_write_without_an_answer_is_unknown(script: Script) -> None:
    script.web["set_miner_conf"] = None
    ours = script.ours(deadline_s=0.4)
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.wear) == (Outcome.UNKNOWN, 1)
    assert "not read back" in report.detail
    await ours.close()


async def test_an_urgent_write_without_an_answer_does_not_hold_the_others_up(script: Script) -> None:
    """Some firmware takes 21 s to answer; the write goes on without us."""
    script.web["set_miner_conf"] = None
    ours = script.ours(deadline_s=30.0)
    began = asyncio.get_running_loop().time()
    report = await ours.perform(SHED)
    assert report.outcome is Outcome.UNKNOWN
    assert asyncio.get_running_loop().time() - began < 3.0
    assert script.open_now == 1, "closing the connection could kill the script that writes"
    await ours.close()


async def test_a_write_to_a_port_that_has_closed_meanwhile_never_left(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = http(200, json.dumps(CONF).encode(), "Connection: close\r\n")
    script.close_web_after = 2  # the challenge, and the configuration
    report = await ours.perform(SHED)
    assert (report.outcome, report.sent_at, report.wear) == (Outcome.UNREACHABLE, None, 0)
    assert script.written == []


async def test_an_acknowledgement_that_changed_nothing_stays_one_and_says_so(script: Script, ours: Any) -> None:
    script.obeys = False
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.ACKNOWLEDGED, "M000: OK!; read back in mode 0")


@pytest.mark.parametrize("key", ["pools", "bitmain-fan-pwm", "bitmain-user-ip-cat"])
async def test_whatever_changed_beside_the_mode_is_named_and_not_applied(script: Script, ours: Any, key: str) -> None:
    """Somebody else wrote after us, or the firmware lost a key."""
    before = conf("0", bitmain_user_ip_cat="1")
    script.web["get_miner_conf"] = deque([before, before | {"bitmain-work-mode": "1", key: []}])
    report = await ours.perform(SLEEP)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert report.detail == f"M000: OK!; changed beside the mode: {key}; carried as told: bitmain-user-ip-cat"
    again = await ours.perform(WAKE)
    assert "carried as told" not in again.detail, "once for each miner is enough"


async def test_a_read_back_that_fails_leaves_the_acknowledgement(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = deque([CONF, 500])
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (
        Outcome.ACKNOWLEDGED,
        "M000: OK!; not read back: get_miner_conf: status 500",
    )


# --- the budget ----------------------------------------------------------------------------------------------------


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


# --- giving back ---------------------------------------------------------------------------------------------------


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


# --- nothing left behind -------------------------------------------------------------------------------------------


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
