"""The LuxOS driver against a sound miner: outcomes, round trips, sessions, thermal control, giving back."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition, Level
from drivers.asic.profiles import LadderUnreadableError
from simulators.asic.response import Behaviour
from simulators.faults import Fault

# --- outcomes ----------------------------------------------------------------------------------------------------


async def test_sleep_and_wake_are_applied_once_the_mode_reads_back(bench: Any) -> None:
    assert (await bench.ours.perform(bench.SLEEP)).outcome is Outcome.APPLIED
    await bench.until(lambda: bench.farm.bank.is_asleep[0])
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.APPLIED
    await bench.until(lambda: bench.farm.bank.true_power_w[0] > 2_500)


async def test_a_trim_is_applied_and_the_level_reads_back(bench: Any) -> None:
    report = await bench.ours.perform(bench.trim(8))
    assert (report.outcome, report.command_id, report.miner) == (Outcome.APPLIED, 44, 0)
    reading = await bench.ours.read()
    assert (reading.level, reading.prior) == (8, "390MHz")


async def test_an_urgent_command_is_acknowledged_without_a_read_back(bench: Any) -> None:
    assert (await bench.ours.perform(bench.SHED)).outcome is Outcome.ACKNOWLEDGED
    assert "config" not in bench.commands()


@pytest.mark.parametrize("level", [None, -1, 25])
async def test_a_trim_off_the_ladder_is_unsupported_and_sends_nothing(bench: Any, level: int | None) -> None:
    report = await bench.ours.perform(bench.trim(level))
    assert (report.outcome, report.sent_at, bench.commands()) == (Outcome.UNSUPPORTED, None, [])


async def test_a_command_the_firmware_does_not_have_is_unsupported(script: Any) -> None:
    script.answers["curtail"] = script.error(14, "Invalid command")
    assert (await script.ours().perform(script.SLEEP)).outcome is Outcome.UNSUPPORTED


async def test_another_profile_in_the_answer_is_rounded_to_its_level(script: Any) -> None:
    script.answers["profileset"] = script.ok(PROFILE=[{"Profile": "240MHz"}])
    report = await script.ours().perform(script.trim(3))
    assert (report.outcome, report.rounded_to_level) == (Outcome.ROUNDED, 2)
    assert report.detail == "asked for '265MHz', got '240MHz'"


async def test_another_profile_in_the_read_back_is_rounded(script: Any) -> None:
    script.answers["profileset"] = script.ok(PROFILE=[{"Profile": "265MHz"}])
    report = await script.ours().perform(script.trim(3))
    assert (report.outcome, report.rounded_to_level) == (Outcome.ROUNDED, 16)  # the script keeps saying "default"


async def test_a_profile_off_the_ladder_in_the_answer_is_rounded_to_no_level(script: Any) -> None:
    script.answers["profileset"] = script.ok(PROFILE=[{"Profile": "custom-7"}])
    report = await script.ours().perform(script.trim(3))
    assert (report.outcome, report.rounded_to_level) == (Outcome.ROUNDED, None)


async def test_a_read_back_that_disagrees_leaves_the_acknowledgement_and_says_so(script: Any) -> None:
    report = await script.ours().perform(script.SLEEP)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert report.detail == "1: fine; read back as 'None'"


async def test_a_read_back_that_fails_leaves_the_acknowledgement(script: Any) -> None:
    script.answers["config"] = b""
    assert (await script.ours().perform(script.SLEEP)).outcome is Outcome.ACKNOWLEDGED


async def test_a_report_tells_when_the_deciding_command_left(bench: Any) -> None:
    loop = asyncio.get_running_loop()
    before = loop.time()
    report = await bench.ours.perform(bench.SLEEP)
    assert report.sent_at is not None
    assert before < report.sent_at < report.answered_at <= loop.time()
    curtail = bench.simulated.log.first_write_after(before)
    assert curtail is not None
    assert report.sent_at <= curtail <= report.answered_at


# --- round trips -------------------------------------------------------------------------------------------------


async def test_a_read_takes_one_round_trip(bench: Any) -> None:
    await bench.ours.read()  # the first one also asks the miner who it is
    bench.forget()
    await bench.ours.read()
    assert bench.simulated.log.connections == 1
    assert bench.commands() == ["power", "summary", "config"]


async def test_a_shed_takes_two_round_trips_and_the_next_one_a_single_one(bench: Any) -> None:
    await bench.ours.perform(bench.SHED)
    assert bench.commands() == ["logon", "curtail"]
    bench.forget()
    await bench.ours.perform(bench.SHED)
    assert bench.commands() == ["curtail"]


async def test_a_shed_by_trim_trusts_the_thermal_state_of_the_last_read(bench: Any) -> None:
    bench.simulated.settings.atm_enabled = False
    await bench.ours.read()
    bench.forget()
    assert (await bench.ours.perform(bench.trim(0, urgent=True))).outcome is Outcome.ACKNOWLEDGED
    assert bench.commands() == ["logon", "profileset"]


async def test_an_ordinary_write_logs_off_so_that_others_can_log_on(bench: Any) -> None:
    await bench.ours.perform(bench.SLEEP)
    assert bench.commands() == ["logon", "curtail", "config", "logoff"]
    assert bench.simulated.session.active_id == ""


# --- sessions ----------------------------------------------------------------------------------------------------


async def test_lowering_borrows_another_writers_session_and_leaves_it_open(bench: Any) -> None:
    theirs = bench.simulated.session.open()
    assert (await bench.ours.perform(bench.SLEEP)).outcome is Outcome.APPLIED
    assert bench.simulated.session.active_id == theirs
    assert bench.commands() == ["logon", "session", "curtail", "config"]


async def test_raising_waits_while_another_writer_holds_the_miner(bench: Any) -> None:
    await bench.ours.perform(bench.SLEEP)
    bench.simulated.session.open()
    report = await bench.ours.perform(bench.WAKE)
    assert (report.outcome, report.detail) == (Outcome.WITHHELD, "another session holds the miner")
    assert bench.writes() == ["curtail sleep"]


async def test_a_session_whose_answer_we_did_not_hear_is_known_for_ours(bench: Any) -> None:
    await bench.ours.read()
    await bench.ours.perform(bench.SLEEP)
    bench.simulated.faults.on(Fault.DELAY, 5.0)
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.UNREACHABLE
    assert bench.simulated.session.active_id != "", "the miner heard us"
    bench.simulated.faults.off(Fault.DELAY)
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.APPLIED
    assert bench.simulated.session.active_id == ""


async def test_our_own_kept_session_is_known_again_and_logged_off(bench: Any) -> None:
    await bench.ours.perform(bench.SHED)
    assert bench.simulated.session.active_id != ""
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.APPLIED
    assert bench.simulated.session.active_id == ""


async def test_a_session_that_ends_while_we_ask_for_it_is_no_obstacle(script: Any) -> None:
    in_the_way = script.error(402, "Another session is active")
    script.answers["logon"] = deque([in_the_way, script.ok(SESSION=[{"SessionID": "mine"}])])
    script.answers["session"] = script.ok(SESSION=[{"SessionID": ""}])
    assert (await script.ours().perform(script.WAKE)).outcome is Outcome.APPLIED
    assert script.commands()[:5] == ["version", "logon", "session", "logon", "curtail wakeup"]


async def test_a_miner_that_never_opens_a_session_refuses(script: Any) -> None:
    script.answers["logon"] = script.error(402, "Another session is active")
    report = await script.ours().perform(script.SLEEP)
    assert (report.outcome, len(script.requests)) == (Outcome.REFUSED, 4)


# --- thermal control -----------------------------------------------------------------------------------------------


async def test_thermal_control_is_off_around_a_trim_and_on_again_after(bench: Any) -> None:
    await bench.ours.perform(bench.trim(5))
    assert bench.writes() == ["atmset enabled=false", "profileset 315MHz", "atmset enabled=true"]
    assert bench.simulated.settings.atm_enabled is True


async def test_thermal_control_that_was_off_stays_off(bench: Any) -> None:
    bench.simulated.settings.atm_enabled = False
    await bench.ours.perform(bench.trim(5))
    assert bench.writes() == ["profileset 315MHz"]
    assert bench.simulated.settings.atm_enabled is False


async def test_thermal_control_comes_back_after_a_profile_that_got_no_answer(script: Any) -> None:
    script.answers["atm"] = script.ok(ATM=[{"Enabled": True}])
    script.answers["profileset"] = None
    report = await script.ours(0.25).perform(script.trim(5))
    assert report.outcome is Outcome.UNKNOWN
    assert script.commands()[2:] == ["atmset enabled=false", "profileset 315MHz", "atmset enabled=true"]


async def test_thermal_control_left_off_is_named_and_put_back_by_the_next_command(script: Any) -> None:
    script.answers["atm"] = script.ok(ATM=[{"Enabled": True}])
    script.answers["atmset enabled=true"] = deque([script.error(45, "not now"), script.ok()])
    miner = script.ours()
    report = await miner.perform(script.trim(16))
    assert (report.outcome, report.detail) == (Outcome.APPLIED, "1: fine; thermal control still off: 45: not now")
    script.requests.clear()
    await miner.perform(script.SLEEP)
    assert script.commands() == ["logon", "curtail sleep", "atmset enabled=true", "config", "logoff"]


async def test_thermal_control_left_off_is_put_back_when_the_driver_closes(script: Any) -> None:
    script.answers["atm"] = script.ok(ATM=[{"Enabled": True}])
    script.answers["atmset enabled=true"] = deque([b"", script.ok()])
    miner = script.ours()
    await miner.perform(script.trim(16))
    script.requests.clear()
    await miner.close()
    assert script.commands() == ["logon", "atmset enabled=true", "logoff"]
    script.requests.clear()
    await miner.close()
    assert script.commands() == []


async def test_a_thermal_control_that_cannot_be_switched_off_stops_the_trim(script: Any) -> None:
    script.answers["atm"] = script.ok(ATM=[{"Enabled": True}])
    script.answers["atmset"] = script.error(45, "no")
    report = await script.ours().perform(script.trim(5))
    assert (report.outcome, report.detail, report.sent_at) == (Outcome.REFUSED, "atmset: 45: no", None)


async def test_firmware_without_thermal_control_is_trimmed_all_the_same(script: Any) -> None:
    script.answers["atm"] = script.error(14, "Invalid command")
    assert (await script.ours().perform(script.trim(16))).outcome is Outcome.APPLIED


# --- giving back -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("atm_on", [True, False])
async def test_the_prior_profile_comes_back_exactly_even_from_outside_the_ladder(bench: Any, atm_on: bool) -> None:
    bench.simulated.settings.atm_enabled = atm_on
    miner = bench.with_ladder("190MHz", "390MHz")
    first = await miner.read()
    assert (first.level, first.prior) == (None, "default")
    await miner.perform(bench.trim(0))
    assert bench.profile() == "190MHz"
    report = await miner.restore("default")
    assert (report.outcome, report.command_id) == (Outcome.APPLIED, 0)
    assert bench.profile() == "default"
    assert bench.simulated.settings.atm_enabled is atm_on


async def test_restoring_a_profile_that_runs_already_writes_nothing(bench: Any) -> None:
    report = await bench.ours.restore("default")
    assert (report.outcome, report.sent_at, bench.commands()) == (Outcome.APPLIED, None, ["version", "config"])


async def test_restoring_a_profile_the_miner_no_longer_has_is_refused(bench: Any) -> None:
    assert (await bench.ours.restore("gone")).outcome is Outcome.REFUSED
    assert bench.simulated.settings.atm_enabled is True


# --- readings ----------------------------------------------------------------------------------------------------


async def test_a_reading_carries_power_hash_rate_level_and_its_own_times(bench: Any) -> None:
    reading = await bench.ours.read()
    assert (reading.miner, reading.condition, reading.level, reading.detail) == (0, Condition.HASHING, 16, "")
    assert reading.power_w == pytest.approx(2_794, rel=0.12)  # what the miner says of itself may be 10 % off
    assert reading.started_at < reading.finished_at


@pytest.mark.parametrize("bench", [Behaviour.LIAR_SLEEP], indirect=True)
async def test_a_miner_that_claims_to_sleep_and_draws_power_is_hashing(bench: Any) -> None:
    assert (await bench.ours.perform(bench.SLEEP)).outcome is Outcome.APPLIED  # its mode does read back
    reading = await bench.ours.read()
    assert (reading.condition, reading.detail) == (Condition.HASHING, "says it sleeps, but it draws power")


@pytest.mark.parametrize("bench", [Behaviour.NEVER_WAKES], indirect=True)
async def test_a_miner_that_claims_to_be_awake_with_its_supply_off_is_asleep(bench: Any) -> None:
    await bench.ours.perform(bench.SLEEP)
    await bench.until(lambda: bench.farm.bank.reported_power_w[0] < 100)
    assert (await bench.ours.perform(bench.WAKE)).outcome is Outcome.APPLIED
    reading = await bench.ours.read()
    assert (reading.condition, reading.detail) == (Condition.ASLEEP, "says it is awake, but its supply is off")


async def test_the_miners_own_ladder_can_be_read(bench: Any) -> None:
    ladder = await bench.ours.read_ladder()
    assert len(ladder) == 25
    assert ladder[0] == Level("190MHz", 784, 39.2)
    assert [level.power_w for level in ladder] == sorted(level.power_w for level in ladder)


@pytest.mark.parametrize("fault", [Fault.REFUSE, Fault.GARBAGE, Fault.DEVICE_ERROR])
async def test_a_ladder_that_cannot_be_read_says_whose_and_why(bench: Any, fault: Fault) -> None:
    bench.simulated.faults.on(fault)
    with pytest.raises(LadderUnreadableError, match=r"rack-1/0: profiles: \w"):
        await bench.ours.read_ladder()
