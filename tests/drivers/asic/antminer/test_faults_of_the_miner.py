"""Stock Antminers that lose pools, lie, take long or say nothing: stock pyasic and our driver meet the same one.

pyasic's answer to a stop is always "yes"; what the miner did is in the simulator's own account.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Command, Outcome
from controller.domain.fleet import Condition
from simulators.asic.antminer import ConfRead, StockTraits
from simulators.asic.antminer_conf import Unsent
from simulators.asic.response import Behaviour
from simulators.faults import Fault
from tests.drivers.asic.antminer.bench import LONG_S, Bench, driver_of, scene
from tests.drivers.asic.antminer.script import FACTS, SHED, SLEEP, WAKE, until
from tests.drivers.asic.conftest import outcome_of_stock


async def outcome_of_reading(bench: Bench, read: ConfRead) -> tuple[Any, bool]:
    """What stock's stop comes to while the configuration reads so, and whether the pools are gone."""
    bench.miner.conf_read = read
    said = await bench.stops()
    bench.miner.conf_read = ConfRead.SOUND
    pools = json.loads(await bench.conf())["pools"]
    return said, all(pool == {"url": "", "user": "", "pass": ""} for pool in pools)


@pytest.mark.parametrize("read", [ConfRead.FAILS, ConfRead.NO_POOLS, ConfRead.CUT])
async def test_a_configuration_that_was_not_read_is_not_written_where_stock_wipes_the_pools(
    bench: Bench, read: ConfRead
) -> None:
    bench.miner.conf_read = read
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.sent_at, bench.miner.config_writes) == (Outcome.REFUSED, None, 0)
    assert await outcome_of_reading(bench, read) == (True, True)


@pytest.mark.parametrize("unsent", [Unsent.LOST, Unsent.KEPT])
@pytest.mark.parametrize("profile", [0, 1])
async def test_sleep_and_wake_leave_what_the_web_returns_as_it_was_to_the_byte(unsent: Unsent, profile: int) -> None:
    async with scene(traits=StockTraits(unsent=unsent), profile=profile) as bench:
        state = bench.miner.state
        state.conf = replace(state.conf, extra=(("bitmain-user-ip-cat", "1"), ("next-years-key", "90")))
        before, prior = await bench.conf(), (await bench.ours.read()).prior
        assert prior == ("3" if profile == 0 else "0")
        assert (await bench.ours.perform(SLEEP)).outcome is Outcome.APPLIED
        bench.passes(LONG_S)
        asleep = await bench.ours.read()
        assert (asleep.condition, asleep.level) == (Condition.ASLEEP, profile)
        assert await bench.conf() == before.replace(b'mode" : "%s"' % prior.encode(), b'mode" : "1"')
        assert (await bench.ours.perform(replace(WAKE, prior=prior))).outcome is Outcome.APPLIED
        assert await bench.conf() == before
        bench.passes(LONG_S)
        awake = await bench.ours.read()
        assert (awake.condition, awake.level, awake.prior) == (Condition.HASHING, profile, prior)


@pytest.mark.parametrize("order", [SLEEP, SHED])
async def test_a_script_that_writes_the_factorys_fans_is_told_on_by_the_wake_at_the_latest(order: Command) -> None:
    """Whatever is sent, such a version sets fans and frequency level back. Nobody can prevent it."""
    async with scene(traits=StockTraits(unsent=Unsent.FACTORY)) as bench:
        prior = (await bench.ours.read()).prior
        slept = await bench.ours.perform(order)
        bench.passes(LONG_S)
        woken = await bench.ours.perform(replace(WAKE, prior=prior))
        changed = "bitmain-fan-pwm, bitmain-freq-level"
        assert order.urgent or slept.detail.endswith(f"changed beside the mode: {changed}")
        assert (woken.outcome, woken.detail) == (
            Outcome.APPLIED,
            f"M000: OK!; changed beside the mode since it was put to sleep: {changed}",
        )
        pools = json.loads(await bench.conf())["pools"]
        assert [bool(pool["url"]) for pool in pools] == [True, True, False]


async def test_stock_resets_the_frequency_level_and_brings_a_low_power_miner_back_at_full_power() -> None:
    async with scene(profile=0) as bench:
        before = json.loads(await bench.conf())
        assert await bench.stops() is True
        assert await bench.theirs.resume_mining() is True
        after = json.loads(await bench.conf())
        assert (before["bitmain-work-mode"], after["bitmain-work-mode"]) == ("3", "0")
        assert (before["bitmain-freq-level"], after["bitmain-freq-level"]) == ("95", "100")


async def test_an_ignored_write_is_acknowledged_and_its_read_back_says_so(bench: Bench) -> None:
    bench.fault(Fault.IGNORE)
    assert await bench.stops() is True
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.ACKNOWLEDGED, "M000: OK!; read back in mode 0")
    assert (await bench.ours.read()).condition is Condition.HASHING


async def test_a_write_that_was_obeyed_with_an_error_is_applied_once_read_back(bench: Bench) -> None:
    bench.fault(Fault.OBEY_WITH_ERROR)
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.APPLIED, "M003: load conf err")
    assert await bench.stops() is True


async def test_a_miner_that_refuses_is_refused_in_its_own_words_where_stock_says_stopped() -> None:
    async with scene(behaviour=Behaviour.REFUSES) as bench:
        assert await bench.stops() is True
        report = await bench.ours.perform(SHED)
        assert (report.outcome, report.detail) == (Outcome.REFUSED, "M001: Illegal request!")


async def test_another_writer_is_refused_in_the_miners_words(bench: Bench) -> None:
    bench.fault(Fault.FOREIGN_SESSION)
    report = await bench.ours.perform(SHED)
    assert (report.outcome, report.detail) == (Outcome.REFUSED, "M001: request busy")
    assert await bench.stops() is True


async def test_a_miner_that_goes_down_under_the_write_is_unknown_and_was_not_written(bench: Bench) -> None:
    bench.fault(Fault.REBOOT_ON_WRITE)
    report = await bench.ours.perform(SHED)
    assert report.outcome is Outcome.UNKNOWN
    assert await bench.stops() is True
    assert bench.miner.config_writes == 0


async def test_a_liar_hashes_on_reads_as_hashing_and_is_restarted_not_written_again() -> None:
    async with scene(behaviour=Behaviour.LIAR_SLEEP) as bench:
        assert await bench.stops() is True
        assert await outcome_of_stock(bench.theirs.is_mining()) is False
        bench.passes(LONG_S)
        assert bench.true_w > 2_500
        ours = driver_of(bench.simulated)
        reading = await ours.read()
        assert (reading.condition, reading.detail) == (Condition.HASHING, "configured to sleep, but it hashes")
        writes = bench.miner.config_writes
        report = await ours.perform(SLEEP)
        assert "restarted" in report.detail
        assert (report.wear, bench.miner.config_writes) == (1, writes)
        await ours.close()


async def test_one_that_never_wakes_is_not_believed_to_hash() -> None:
    async with scene(behaviour=Behaviour.NEVER_WAKES, asleep=True) as bench:
        assert (await bench.ours.perform(WAKE)).outcome is Outcome.APPLIED
        bench.passes(LONG_S)
        reading = await bench.ours.read()
        assert reading.power_w is not None and reading.power_error_w is not None
        assert FACTS.envelope.levels[1].power_w - reading.power_w > reading.power_error_w
        assert reading.detail == "told to hash (mode 0), no hash rate"


async def test_a_write_that_takes_long_goes_on_after_the_deadline_where_stock_says_stopped_after_5_s() -> None:
    async with scene(traits=StockTraits(write_s=0.8)) as bench:
        ours = bench.impatient(0.4)
        report = await ours.perform(SLEEP)
        assert (report.outcome, report.wear, bench.miner.config_writes) == (Outcome.UNKNOWN, 1, 0)
        await until(lambda: bench.miner.config_writes == 1)
        report = await ours.perform(SLEEP)
        assert (report.outcome, report.wear) == (Outcome.APPLIED, 0)
        await ours.close()


async def test_a_mode_the_firmware_does_not_have_is_acknowledged_and_its_read_back_says_so() -> None:
    async with scene(traits=StockTraits(Unsent.KEPT, frozenset({"0", "1"})), asleep=True) as bench:
        report = await bench.ours.perform(replace(WAKE, prior="3"))
        assert (report.outcome, report.detail) == (Outcome.ACKNOWLEDGED, "M000: OK!; read back in mode 1")


async def test_a_sleeper_without_port_4028_is_unknown_until_it_has_been_mute_for_a_minute() -> None:
    async with scene(traits=StockTraits(api_while_asleep=False), asleep=True) as bench:
        reading = await bench.ours.read()
        assert reading.condition is Condition.UNKNOWN
        assert "no mining process" in reading.detail


async def test_stock_tells_no_watts_where_ours_estimates_them(bench: Bench) -> None:
    data = await outcome_of_stock(bench.theirs.get_data(include=["wattage", "hashrate", "is_mining"]))
    assert data.wattage is None
    bench.passes(LONG_S)
    await bench.ours.read()
    reading = await bench.ours.read()
    assert reading.power_w is not None and reading.power_error_w is not None
    assert abs(reading.power_w - bench.true_w) <= reading.power_error_w
