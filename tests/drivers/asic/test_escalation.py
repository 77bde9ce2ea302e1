"""A sleep that a shed has to ask for a second time: another verb of the same miner, over its own wire.

Each miner turns its order to sleep away, and takes every other write.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import CommandReport, Outcome
from controller.domain.fleet import Condition
from controller.ports import Load
from simulators.asic.models import MODELS
from simulators.faults import Fault
from tests.drivers.asic.antminer.bench import scene
from tests.drivers.asic.antminer.script import SHED as ANTMINER_SHED
from tests.drivers.asic.conftest import Orders
from tests.drivers.asic.whatsminer.bench import Bench as WhatsMinerBench
from tests.drivers.asic.whatsminer.bench import benched
from tests.drivers.asic.whatsminer.script import trim

AGAIN = replace(Orders.SHED, escalated=True)
IMPATIENT_S = 0.3
LOWEST_W = {key: MODELS[key].profiles[0].power_w for key in ("m50s", "s19kpro")}

pytestmark = pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning")  # pyasic's own


def told(bench: WhatsMinerBench) -> list[str]:
    """The writes the WhatsMiner received, with their arguments."""
    return [f"{record.command} {record.parameter}".strip() for record in bench.miner.log.writes]


async def reads_at_most(ours: Load, power_w: float) -> None:
    """Read until the miner tells no more than that."""
    async with asyncio.timeout(20.0):
        while ((await ours.read()).power_w or 0.0) > power_w:  # noqa: ASYNC110  # physics tells nobody when it changes
            await asyncio.sleep(0.05)


async def timed(ours: Load) -> CommandReport:
    """An escalated sleep, within the short deadline of an impatient driver and what a busy machine needs."""
    began = asyncio.get_running_loop().time()
    report = await ours.perform(AGAIN)
    assert asyncio.get_running_loop().time() - began < 2 * IMPATIENT_S
    return report


# --- WhatsMiner ------------------------------------------------------------------------------------------------------


async def test_a_whatsminer_that_refuses_to_sleep_is_taken_to_its_lowest_percentage_and_given_back_whole() -> None:
    async with benched() as bench:
        before_w, prior = bench.true_w, (await bench.ours.read()).prior
        bench.fault(Fault.REFUSE_SLEEP)
        first = await bench.ours.perform(Orders.SHED)
        assert (first.outcome, told(bench)) == (Outcome.REFUSED, ["power_off respbefore=true"])
        bench.miner.log.clear()
        report = await bench.ours.perform(AGAIN)
        assert (report.outcome, report.rounded_to_level) == (Outcome.ROUNDED, 0)
        assert report.detail == "40 percent instead; power_off: 132: API command ERROR"
        assert told(bench) == ["set_power_pct percent=40", "power_off respbefore=true"]
        await Orders.until(lambda: bench.true_w < 1.1 * LOWEST_W["m50s"])
        reading = await bench.ours.read()
        assert (reading.condition, reading.level, reading.prior) == (Condition.HASHING, 0, prior)
        assert prior is not None
        assert (await bench.ours.restore(prior)).outcome is Outcome.ACKNOWLEDGED
        await Orders.until(lambda: abs(bench.true_w - before_w) < 0.02 * before_w)


async def test_a_whatsminer_that_sleeps_when_asked_again_wakes_at_full_power() -> None:
    async with benched() as bench:
        before_w = bench.true_w
        assert (await bench.ours.perform(AGAIN)).outcome is Outcome.ACKNOWLEDGED
        assert told(bench) == ["set_power_pct percent=40", "power_off respbefore=true"]
        await bench.read_until(Condition.ASLEEP)
        await bench.ours.perform(Orders.WAKE)
        await Orders.until(lambda: bench.true_w > 0.95 * before_w)
        assert (await bench.ours.read()).prior == "100"


async def test_a_whatsminer_at_its_lowest_percentage_is_only_told_to_sleep_again() -> None:
    async with benched() as bench:
        await bench.ours.perform(trim(0))
        await reads_at_most(bench.ours, 1.2 * LOWEST_W["m50s"])
        bench.miner.log.clear()
        bench.fault(Fault.REFUSE_SLEEP)
        assert (await bench.ours.perform(AGAIN)).outcome is Outcome.REFUSED
        assert told(bench) == ["power_off respbefore=true"]


async def test_a_whatsminer_that_takes_no_write_at_all_has_refused() -> None:
    async with benched() as bench:
        bench.fault(Fault.WRONG_PASSWORD)
        report = await bench.ours.perform(AGAIN)
        assert (report.outcome, report.rounded_to_level) == (Outcome.REFUSED, None)


async def test_a_whatsminer_that_answers_neither_order_takes_no_longer_than_one_call() -> None:
    async with benched() as bench:
        ours = bench.impatient()
        await ours.read()
        bench.fault(Fault.HANG)
        assert (await timed(ours)).outcome is Outcome.UNKNOWN
        assert told(bench) == []  # a port that hangs logs nothing


# --- LuxOS -----------------------------------------------------------------------------------------------------------


def true_w(bench: Any) -> float:
    return float(bench.farm.bank.true_power_w[0])


async def test_a_luxos_miner_that_refuses_to_sleep_is_taken_to_its_lowest_profile_and_given_back_whole(
    bench: Any,
) -> None:
    before_w, prior = true_w(bench), (await bench.ours.read()).prior
    bench.simulated.faults.on(Fault.REFUSE_SLEEP)
    assert (await bench.ours.perform(bench.SHED)).outcome is Outcome.REFUSED
    bench.forget()
    report = await bench.ours.perform(AGAIN)
    lowest = MODELS["s19kpro"].profiles[0].name
    assert (report.outcome, report.rounded_to_level) == (Outcome.ROUNDED, 0)
    assert report.detail == f"profile {lowest!r} instead; curtail: 45: Access denied to 'curtail' command"
    assert bench.writes() == ["atmset enabled=false", f"profileset {lowest}", "curtail sleep", "atmset enabled=true"]
    assert bench.simulated.settings.atm_enabled
    await bench.until(lambda: true_w(bench) < 1.1 * LOWEST_W["s19kpro"])
    assert (await bench.ours.read()).level == 0
    assert prior is not None
    assert (await bench.ours.restore(prior)).outcome is Outcome.APPLIED
    await bench.until(lambda: abs(true_w(bench) - before_w) < 0.02 * before_w)
    assert bench.profile() == prior


async def test_a_luxos_miner_that_sleeps_when_asked_again_wakes_and_takes_its_owners_profile(bench: Any) -> None:
    prior = (await bench.ours.read()).prior
    assert prior is not None
    assert (await bench.ours.perform(AGAIN)).outcome is Outcome.ACKNOWLEDGED
    await bench.until(lambda: true_w(bench) < 100.0)
    await bench.ours.perform(bench.WAKE)
    assert (await bench.ours.restore(prior)).outcome is Outcome.APPLIED
    await bench.until(lambda: true_w(bench) > 2_000.0)
    assert bench.profile() == prior


async def test_a_luxos_miner_below_our_ladder_is_not_raised_to_it(bench: Any) -> None:
    """Its owner runs it lower than the lowest rung we may choose: that rung would draw more, not less."""
    lowest, ours = MODELS["s19kpro"].profiles[0].name, bench.with_ladder("default")
    await bench.ours.perform(bench.trim(0))
    await reads_at_most(ours, 1.2 * LOWEST_W["s19kpro"])
    bench.forget()
    bench.simulated.faults.on(Fault.REFUSE_SLEEP)
    assert (await ours.perform(AGAIN)).outcome is Outcome.REFUSED
    assert bench.writes() == ["curtail sleep"]
    assert bench.profile() == lowest


async def test_a_luxos_miner_that_answers_nothing_takes_no_longer_than_one_call(bench: Any) -> None:
    ours = bench.impatient()
    await ours.read()
    bench.simulated.faults.on(Fault.HANG)
    assert (await timed(ours)).outcome is Outcome.UNREACHABLE  # no session, so that nothing left


# --- Antminer stock --------------------------------------------------------------------------------------------------


async def test_an_antminer_has_no_other_verb_and_its_configuration_stays_as_it_was() -> None:
    async with scene() as bench:
        bench.fault(Fault.REFUSE_SLEEP)
        before = await bench.conf()
        for order in (ANTMINER_SHED, replace(ANTMINER_SHED, escalated=True)):
            assert (await bench.ours.perform(order)).outcome is Outcome.REFUSED
        assert await bench.conf() == before
        assert (bench.miner.config_writes, bench.miner.restarts) == (0, 0)
