"""Stock Antminers as they go wrong: stock pyasic and our driver meet the same simulated miner, both are asserted.

pyasic's answer to a stop is always "yes"; what the miner did is in the simulator's own account.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.fleet import Command, Condition, Outcome
from drivers.asic.antminer import AntminerStock as Driver
from drivers.asic.budget import Budget
from simulators.asic.antminer import ConfRead, StockTraits
from simulators.asic.antminer_conf import Unsent
from simulators.asic.http_server import KeepAlive
from simulators.asic.response import Behaviour
from simulators.faults import Fault
from tests.drivers.asic.antminer_script import FACTS, SHED, SLEEP, WAKE, build_stock
from tests.drivers.asic.conftest import STILL_SILENT, outcome_of_stock
from tests.simulators.antminer_client import Stock, stock

LONG_S = 120.0  # longer than any mining process starts or miner boots


@dataclass(frozen=True)
class Bench:
    """One simulated S19 Pro whose physics stands still until told, pyasic and our driver in front of it, both warm."""

    simulated: Stock
    theirs: Any
    ours: Driver

    @property
    def miner(self) -> Any:
        return self.simulated.miner

    @property
    def true_w(self) -> float:
        return float(self.miner.bank.true_power_w[0])

    def fault(self, fault: Fault, seconds: float | None = None) -> None:
        self.miner.faults.on(fault, seconds)

    def impatient(self, deadline_s: float = 0.3) -> Driver:
        return driver_of(self.simulated, deadline_s)

    def passes(self, seconds: float) -> None:
        """Time of the physics."""
        for _ in range(int(seconds)):
            self.miner.bank.step(1.0)

    async def conf(self) -> bytes:
        """What the web interface returns, to the byte."""
        return (await self.simulated.script("get_miner_conf")).content

    async def stops(self, within_s: float = 12.0) -> Any:
        """What stock pyasic says of its own stop."""
        return await outcome_of_stock(self.theirs.stop_mining(), within_s)


def driver_of(simulated: Stock, deadline_s: float = 3.0, **given: Any) -> Driver:
    return Driver(
        miner_id="rack-1/0",
        index=0,
        host=simulated.host,
        port=simulated.port,
        web_port=simulated.web_port,
        facts=FACTS,
        deadline_s=deadline_s,
        budget=given.pop("budget", Budget(12)),
        **given,
    )


@asynccontextmanager
async def scene(**given: Any) -> AsyncIterator[Bench]:
    async with stock(given.pop("traits", None), **given) as simulated:
        simulated.miner.bank.step(LONG_S)
        ours = driver_of(simulated)
        await ours.read()
        theirs = build_stock(simulated.host, simulated.port, simulated.web_port, "root")
        try:
            yield Bench(simulated, theirs, ours)
        finally:
            await ours.close()
            await asyncio.sleep(0)


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with scene() as made:
        yield made


# --- the wire --------------------------------------------------------------------------------------------------------


async def test_a_closed_port_is_unreachable_where_stock_says_stopped(bench: Bench) -> None:
    bench.fault(Fault.REFUSE)
    assert await bench.stops() is True
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.sent_at) == (Outcome.UNREACHABLE, None)
    assert (await bench.ours.read()).condition is Condition.UNREACHABLE


async def test_a_reset_is_unreachable_where_stock_says_stopped(bench: Bench) -> None:
    bench.fault(Fault.RESET)
    assert await bench.stops() is True
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.UNREACHABLE
    assert (await bench.ours.read()).condition is Condition.UNREACHABLE


@pytest.mark.parametrize("fault", [Fault.HANG, Fault.SLOW_LORIS, Fault.BLACK_HOLE])
async def test_a_miner_that_never_ends_its_answer_is_unreachable_at_the_deadline(bench: Bench, fault: Fault) -> None:
    ours = bench.impatient()
    bench.fault(fault)
    assert await bench.stops(0.4) == STILL_SILENT  # 10 s, and then it says stopped
    began = asyncio.get_running_loop().time()
    assert (await ours.perform(SLEEP)).outcome is Outcome.UNREACHABLE
    assert (await ours.read()).condition is Condition.UNREACHABLE
    assert asyncio.get_running_loop().time() - began < 1.5  # two deadlines of 0.3 s
    await ours.close()


@pytest.mark.parametrize("fault", [Fault.DRIP, Fault.KEEP_OPEN])
async def test_an_answer_counts_as_soon_as_it_is_whole(bench: Bench, fault: Fault) -> None:
    bench.fault(fault, 0.0)
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert (await bench.ours.read()).condition in (Condition.UNKNOWN, Condition.HASHING)
    bench.passes(LONG_S)
    assert (await bench.ours.read()).condition is Condition.ASLEEP


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.TRUNCATE])
async def test_bytes_that_are_no_answer_write_nothing_where_stock_says_stopped(bench: Bench, fault: Fault) -> None:
    bench.fault(fault)
    assert await bench.stops() is True
    ours = bench.impatient()
    report = await ours.perform(SLEEP)
    assert report.outcome in (Outcome.UNREACHABLE, Outcome.REFUSED)
    assert (report.sent_at, bench.miner.config_writes) == (None, 0)
    assert (await ours.read()).condition in (Condition.UNKNOWN, Condition.UNREACHABLE)
    await ours.close()


@pytest.mark.parametrize(
    ("fault", "outcome"),
    [
        (Fault.HTTP_401, Outcome.REFUSED),
        (Fault.WRONG_PASSWORD, Outcome.REFUSED),
        (Fault.HTTP_403, Outcome.REFUSED),
        (Fault.HTTP_500, Outcome.REFUSED),
        (Fault.EMPTY_BODY, Outcome.REFUSED),
        (Fault.DEVICE_ERROR, Outcome.REFUSED),
    ],
)
async def test_a_web_interface_that_will_not_is_refused_where_stock_says_stopped(
    bench: Bench, fault: Fault, outcome: Outcome
) -> None:
    bench.fault(fault)
    assert await bench.stops() is True
    writes = bench.miner.config_writes
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.sent_at) == (outcome, None)
    assert report.detail.startswith("nothing written; ")
    assert bench.miner.config_writes == writes


async def test_a_wrong_password_costs_one_request_more_and_leaves_the_telemetry(bench: Bench) -> None:
    bench.fault(Fault.WRONG_PASSWORD)
    before = bench.miner.challenges
    await bench.ours.perform(SLEEP)
    assert bench.miner.challenges - before == 2
    assert (await bench.ours.read()).condition is Condition.HASHING


async def test_an_expired_nonce_costs_one_request_more(bench: Bench) -> None:
    bench.fault(Fault.STALE_SESSION)
    before = bench.miner.challenges
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert bench.miner.challenges - before == 1


async def test_a_connection_that_idled_too_long_is_opened_anew() -> None:
    async with scene(keep_alive=KeepAlive(idle_s=0.05)) as bench:
        await asyncio.sleep(0.2)
        assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED


async def test_a_server_that_closes_after_every_answer_is_served_all_the_same() -> None:
    async with scene(keep_alive=KeepAlive(requests=1)) as bench:
        assert (await bench.ours.perform(SLEEP)).outcome is Outcome.APPLIED


# --- pools -----------------------------------------------------------------------------------------------------------


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


# --- lies ------------------------------------------------------------------------------------------------------------


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


# --- slow writes, sleepers that say nothing --------------------------------------------------------------------------


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


# --- stock's way to see it -------------------------------------------------------------------------------------------


async def test_stock_tells_no_watts_where_ours_estimates_them(bench: Bench) -> None:
    data = await outcome_of_stock(bench.theirs.get_data(include=["wattage", "hashrate", "is_mining"]))
    assert data.wattage is None
    bench.passes(LONG_S)
    await bench.ours.read()
    reading = await bench.ours.read()
    assert reading.power_w is not None and reading.power_error_w is not None
    assert abs(reading.power_w - bench.true_w) <= reading.power_error_w


async def until(condition: Callable[[], object], within_s: float = 5.0) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110 - the simulator tells nobody
            await asyncio.sleep(0.02)
