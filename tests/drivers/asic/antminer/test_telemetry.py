"""What the stock Antminer driver reads of a scripted miner, and who it takes it for."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from drivers.asic.profiles import LadderUnreadableError
from tests.drivers.asic.antminer.answers import RESET, conf, summary, version, web_summary
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, Script, asleep, quick, scripted


async def test_a_hashing_miner_costs_one_round_trip_once_its_mode_is_known(script: Script, ours: Any) -> None:
    first = await ours.read()
    assert (first.condition, first.level, first.prior, first.hashrate_th) == (Condition.HASHING, 1, "0", 110.0)
    script.requests.clear()
    script.asked.clear()
    again = await ours.read()
    assert (again.condition, again.level, again.prior) == (Condition.HASHING, 1, "0")
    assert (script.requests, script.asked) == ([], ["summary"])


async def test_watts_are_estimates_with_what_they_may_be_off_by(script: Script, ours: Any) -> None:
    await ours.read()
    reading = await ours.read()
    assert reading.power_w == pytest.approx(3250)
    assert reading.power_error_w == pytest.approx(0.12 * 3250)


async def test_a_sleeper_shows_its_mode_and_what_it_comes_back_to(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = conf("3")
    await ours.read()
    await ours.perform(SLEEP)
    script.api["summary"] = summary(0.0)
    reading = await ours.read()
    assert (reading.condition, reading.level, reading.prior) == (Condition.ASLEEP, 0, None)


async def test_after_a_command_the_mode_is_asked_for_again(script: Script, ours: Any) -> None:
    await ours.read()
    await ours.perform(SHED)
    assert (await ours.read()).detail == "configured to sleep, but it hashes"


async def test_a_steady_sleeper_costs_one_round_trip(script: Script, ours: Any) -> None:
    asleep(script)
    await ours.read()
    script.requests.clear()
    assert (await ours.read()).condition is Condition.ASLEEP
    assert script.requests == []


async def test_a_sleeper_that_somebody_woke_is_found_by_its_restart(script: Script, ours: Any) -> None:
    asleep(script)
    await ours.read()
    script.web["get_miner_conf"] = conf("0")
    script.api["summary"] = summary(0.0, elapsed=3)
    reading = await ours.read()
    assert (reading.condition, reading.detail) == (Condition.HASHING, "told to hash (mode 0), no hash rate")


async def test_without_port_4028_the_web_tells_the_rate(script: Script, ours: Any) -> None:
    script.api["summary"] = RESET
    script.web["summary"] = web_summary(110_000.0)
    reading = await ours.read()
    assert (reading.condition, reading.hashrate_th) == (Condition.HASHING, 110.0)


async def test_without_port_4028_no_rate_in_the_web_and_mode_1_is_asleep(script: Script, ours: Any) -> None:
    asleep(script)
    script.api["summary"] = RESET
    assert (await ours.read()).condition is Condition.ASLEEP


async def test_where_nobody_tells_a_rate_a_configured_sleep_proves_nothing_yet(script: Script, ours: Any) -> None:
    asleep(script)
    script.api["summary"] = RESET
    script.web["summary"] = 500
    reading = await ours.read()
    assert (reading.condition, reading.power_w) == (Condition.UNKNOWN, None)
    assert "no mining process" in reading.detail


async def test_a_mining_process_that_hangs_is_no_sign_of_sleep(script: Script) -> None:
    """It is there, and may hash: silence on port 4028 is another thing than a closed port."""
    asleep(script)
    script.api["summary"] = script.api["version"] = None
    script.web["summary"] = 500
    ours = script.ours(deadline_s=0.8, facts=quick())
    reading = await ours.read()
    assert (reading.condition, reading.power_w) == (Condition.UNKNOWN, None)
    assert "no mining process" not in reading.detail
    await ours.perform(WAKE)
    reading = await ours.read()
    assert (reading.condition, reading.power_w) == (Condition.HASHING, None), "woken, and nobody knows whether it is up"
    await ours.close()


async def test_half_an_answer_does_not_make_a_parked_machine_ours(script: Script, ours: Any) -> None:
    script.api["version"] = deque([version("Antminer S19 Pro HIVEON"), RESET])
    assert (await ours.read()).condition is Condition.CONTRADICTS
    reading = await ours.read()
    assert reading.condition is Condition.CONTRADICTS, "its web names the model, and not the firmware"
    assert (await ours.perform(SHED)).outcome is Outcome.WITHHELD
    script.api["version"] = version()
    assert (await ours.read()).condition is Condition.HASHING


async def test_pools_that_were_there_and_are_gone_are_not_written_back_empty(script: Script, ours: Any) -> None:
    await ours.read()
    empty = [{"url": "", "user": "", "pass": ""}] * 3
    script.web["get_miner_conf"] = conf("0", pools=empty)
    report = await ours.perform(SLEEP)
    assert (report.outcome, script.written) == (Outcome.REFUSED, [])
    assert "pools that were there are gone" in report.detail


async def test_a_woken_miner_boots_and_one_that_never_shows_a_rate_still_sleeps(script: Script) -> None:
    asleep(script)
    slow, late = script.ours(), script.ours(facts=quick())
    for driver, condition in ((slow, Condition.HASHING), (late, Condition.ASLEEP)):
        asleep(script)
        await driver.read()
        await driver.perform(WAKE)
        assert (await driver.read()).condition is condition
        assert (await driver.perform(WAKE)).sent_at is None, "asking again costs no write"
        await driver.close()


async def test_a_miner_that_answers_nowhere_is_unreachable(script: Script) -> None:
    script.api["summary"] = RESET
    script.web["get_miner_conf"] = RESET
    ours = script.ours()
    reading = await ours.read()
    assert (reading.condition, reading.power_w, reading.hashrate_th) == (Condition.UNREACHABLE, None, None)
    await ours.close()


async def test_a_silent_miner_is_unreachable_within_the_deadline(script: Script) -> None:
    script.api["summary"] = None
    script.web["get_miner_conf"] = None
    ours = script.ours(deadline_s=0.4)
    reading = await ours.read()
    assert reading.condition is Condition.UNREACHABLE
    assert reading.finished_at - reading.started_at < 0.4 + 0.3
    await ours.close()


async def test_a_wrong_password_leaves_the_rate_and_is_named(script: Script) -> None:
    ours = script.ours(password="wrong")
    reading = await ours.read()
    assert (reading.condition, reading.level, reading.prior) == (Condition.HASHING, None, None)
    assert "401" in reading.detail
    script.api["summary"] = summary(0.0)
    assert (await ours.read()).condition is Condition.UNKNOWN
    await ours.close()


@pytest.mark.parametrize(
    "answer", [{"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "no"}]}, b"garbage", {"SUMMARY": [{}]}, {}, []]
)
async def test_a_port_4028_that_answers_and_tells_no_rate_proves_nothing(
    script: Script, ours: Any, answer: Any
) -> None:
    asleep(script)
    script.api["summary"] = answer
    reading = await ours.read()
    assert reading.condition is Condition.UNKNOWN
    assert "summary" in reading.detail


# --- who is there --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("by_web", [False, True])
async def test_another_model_contradicts_and_nothing_is_asked_of_it(script: Script, ours: Any, by_web: bool) -> None:
    if by_web:
        script.api["version"] = RESET
        script.web["get_system_info"] = {"minertype": "Antminer S21"}
    else:
        script.api["version"] = version("Antminer S21")
    reading = await ours.read()
    assert (reading.condition, reading.level, reading.prior) == (Condition.CONTRADICTS, None, None)
    assert "Antminer S21" in reading.detail
    for command in (SLEEP, SHED, WAKE):
        report = await ours.perform(command)
        assert (report.outcome, report.detail) == (Outcome.WITHHELD, reading.detail)
    assert (await ours.restore("0")).outcome is Outcome.WITHHELD
    assert script.written == []
    with pytest.raises(LadderUnreadableError, match="Antminer S21"):
        await ours.read_ladder()


async def test_a_miner_that_was_put_right_is_ours_again(script: Script, ours: Any) -> None:
    script.api["version"] = deque([version("Antminer S21"), version()])
    assert (await ours.read()).condition is Condition.CONTRADICTS
    assert (await ours.read()).condition is Condition.HASHING


async def test_what_another_machine_ran_is_nothing_to_wake_ours_with(script: Script, ours: Any) -> None:
    script.api["version"] = deque([version("Antminer S21"), version()])
    script.web["get_miner_conf"] = conf("3")
    assert (await ours.read()).condition is Condition.CONTRADICTS
    script.web["get_miner_conf"], script.api["summary"] = conf("1"), summary(0.0)
    report = await ours.perform(replace(WAKE, prior=None))
    assert script.written[0]["miner-mode"] == 0
    assert "nobody knows its earlier one" in report.detail


async def test_a_port_that_swallows_the_question_leaves_a_wake_its_time(script: Script) -> None:
    script.web["get_miner_conf"], script.api["version"] = conf("1"), None
    ours = script.ours(deadline_s=1.0)
    assert (await ours.perform(WAKE)).outcome is Outcome.APPLIED
    await ours.close()


@pytest.mark.parametrize(("api", "web"), [(RESET, 500), (RESET, RESET), ({"STATUS": "E"}, 404), (b"x", {})])
async def test_who_does_not_say_who_it_is_is_no_other_machine(script: Script, ours: Any, api: Any, web: Any) -> None:
    script.api["version"], script.web["get_system_info"] = api, web
    assert (await ours.read()).condition is Condition.HASHING
    assert (await ours.perform(SLEEP)).outcome is Outcome.APPLIED


async def test_a_closed_web_port_is_no_other_machine(script: Script) -> None:
    async with scripted() as gone:
        port = gone.web_port
    ours = script.ours(web_port=port)
    assert (await ours.read()).condition is Condition.HASHING
    assert (await ours.perform(SLEEP)).outcome is Outcome.UNREACHABLE


async def test_the_ladder_is_the_one_on_file_once_the_miner_has_said_who_it_is(script: Script, ours: Any) -> None:
    assert [level.name for level in await ours.read_ladder()] == ["low", "normal"]
    script.api["version"] = script.web["get_system_info"] = RESET
    with pytest.raises(LadderUnreadableError, match="does not say who it is"):
        await ours.read_ladder()
