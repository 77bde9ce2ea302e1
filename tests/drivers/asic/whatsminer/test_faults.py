"""What goes wrong with a WhatsMiner: stock pyasic and our driver meet the same fault, both are asserted.

Stock pyasic has a token in hand, its best case. What it leaves out or invents is the reason for each of our outcomes.
"""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from simulators.asic.response import Behaviour
from simulators.faults import Fault
from tests.drivers.asic.conftest import STILL_SILENT, outcome_of_stock
from tests.drivers.asic.whatsminer.bench import Bench
from tests.drivers.asic.whatsminer.script import SHED, SLEEP, until

pytestmark = [  # stock's own
    pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
]


# --- the wire ----------------------------------------------------------------------------------------------------


async def test_a_closed_port_is_unreachable_where_stock_says_limited_and_not_mining(bench: Bench) -> None:
    bench.fault(Fault.REFUSE)
    assert await outcome_of_stock(bench.stock.stop_mining()) is False
    assert await outcome_of_stock(bench.stock.set_power_limit(2_000)) is True
    assert await outcome_of_stock(bench.stock.is_mining()) is False
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.sent_at) == (Outcome.UNREACHABLE, None)
    assert (await bench.ours.read()).condition is Condition.UNREACHABLE


async def test_a_reset_is_unknown_where_stock_raises(bench: Bench) -> None:
    bench.fault(Fault.RESET)
    assert isinstance(await outcome_of_stock(bench.stock.stop_mining()), ConnectionError)
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.UNKNOWN
    assert (await bench.ours.read()).condition is Condition.UNREACHABLE


async def test_a_silent_miner_is_unknown_at_the_deadline_where_stock_waits_10_s(bench: Bench) -> None:
    ours = bench.impatient()
    await ours.read()
    bench.fault(Fault.HANG)
    assert await outcome_of_stock(bench.stock.stop_mining(), 0.4) == STILL_SILENT
    began = asyncio.get_running_loop().time()
    assert (await ours.perform(SLEEP)).outcome is Outcome.UNKNOWN
    assert (await ours.read()).condition is Condition.UNREACHABLE
    assert asyncio.get_running_loop().time() - began < 1.5  # two deadlines of 0.3 s


async def test_a_port_that_swallows_packets_is_unreachable_at_the_deadline(bench: Bench) -> None:
    ours = bench.impatient()
    await ours.read()
    bench.fault(Fault.BLACK_HOLE)
    assert (await ours.perform(SLEEP)).outcome is Outcome.UNREACHABLE


async def test_a_connection_kept_open_is_answered_where_stock_waits_for_its_end(bench: Bench) -> None:
    bench.fault(Fault.KEEP_OPEN)
    assert await outcome_of_stock(bench.stock.rpc.summary(), 0.4) == STILL_SILENT
    assert (await bench.ours.read()).condition is Condition.HASHING
    report = await bench.ours.perform(SHED)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert report.sent_at is not None
    assert report.answered_at - report.sent_at < 1.0


@pytest.mark.parametrize("fault", [Fault.GARBAGE, Fault.TRUNCATE, Fault.EMPTY_BODY])
async def test_an_answer_that_means_nothing_is_unknown(bench: Bench, fault: Fault) -> None:
    bench.fault(fault)
    stock = await outcome_of_stock(bench.stock.set_power_limit(2_000))
    assert stock is (fault is Fault.EMPTY_BODY), "an empty answer is a success to stock"
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.UNKNOWN
    assert (await bench.ours.read()).condition is Condition.UNKNOWN


async def test_an_answer_that_never_ends_is_unknown_at_the_deadline(bench: Bench) -> None:
    ours = bench.impatient()
    await ours.read()
    bench.fault(Fault.SLOW_LORIS, 0.001)
    assert (await ours.perform(SLEEP)).outcome is Outcome.UNKNOWN


async def test_an_answer_that_drips_in_counts_once_it_is_whole(bench: Bench) -> None:
    bench.fault(Fault.DRIP, 0.001)
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED


# --- tokens and passwords ----------------------------------------------------------------------------------------


async def test_a_warm_shed_is_exactly_one_connection_on_the_wire(bench: Bench) -> None:
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert (bench.miner.log.connections, dict(bench.miner.log.counts)) == (1, {"power_off": 1})
    await until(lambda: bench.true_w < 100.0)


async def test_a_token_that_ran_out_costs_one_retry_where_stock_fails_for_half_an_hour(bench: Bench) -> None:
    bench.fault(Fault.STALE_SESSION)
    assert [await outcome_of_stock(bench.stock.stop_mining()) for _ in range(3)] == [False] * 3
    bench.miner.log.clear()
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    assert dict(bench.miner.log.counts) == {"power_off": 2, "get_token": 1}
    await until(lambda: bench.true_w < 100.0)


async def test_a_token_error_that_stays_is_refused_where_stock_says_limited_or_not(bench: Bench) -> None:
    bench.fault(Fault.SESSION_ERROR)
    assert await outcome_of_stock(bench.stock.stop_mining()) is False
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.detail[:20]) == (Outcome.REFUSED, "135: check token err")
    assert bench.true_w > 3_000.0


async def test_another_password_is_refused_and_named(bench: Bench) -> None:
    bench.fault(Fault.WRONG_PASSWORD)
    assert await outcome_of_stock(bench.stock.stop_mining()) is False
    report = await bench.ours.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("23: enc json load err, with a fresh token as well: is the configured password")
    assert (await bench.ours.read()).condition is Condition.HASHING, "reads need no password"


async def test_a_full_token_table_leaves_a_token_in_hand_as_good_as_it_was(bench: Bench) -> None:
    bench.fault(Fault.TOKENS_FULL)
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED


async def test_a_full_token_table_is_refused_with_its_words_where_stock_raises(bench: Bench) -> None:
    bench.fault(Fault.TOKENS_FULL)
    bench.stock.rpc.token = None
    assert isinstance(await outcome_of_stock(bench.stock.set_power_limit(2_000)), bool)
    assert await outcome_of_stock(bench.stock.stop_mining()) is False
    report = await bench.impatient().perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("get_token: 136: over max connect, all tokens are lent out")


async def test_another_tool_that_took_our_tokens_place_is_refused_with_both_words(bench: Bench) -> None:
    bench.fault(Fault.FOREIGN_SESSION)
    report = await bench.ours.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("135: check token err; no other token: get_token: 136: over max connect")


@pytest.mark.parametrize("bench", [Behaviour.REFUSES], indirect=True)
async def test_a_closed_write_api_is_refused_with_what_to_do_where_stock_says_false(bench: Bench) -> None:
    assert await outcome_of_stock(bench.stock.stop_mining()) is False
    report = await bench.ours.perform(SLEEP)
    assert report.outcome is Outcome.REFUSED
    assert report.detail.startswith("45: can't access write cmd, the miner takes no writes from anybody: ")
    assert bench.miner.log.counts["open_write_api"] == 0


# --- the device --------------------------------------------------------------------------------------------------


async def test_a_device_error_is_refused_and_proves_nothing_in_a_read(bench: Bench) -> None:
    bench.fault(Fault.DEVICE_ERROR)
    report = await bench.ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.REFUSED, "132: API command ERROR")
    assert (await bench.ours.read()).condition is Condition.UNKNOWN


async def test_a_write_that_is_acknowledged_and_ignored_shows_in_the_next_reads(bench: Bench) -> None:
    bench.fault(Fault.IGNORE)
    assert await outcome_of_stock(bench.stock.stop_mining()) is True
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.ACKNOWLEDGED
    await asyncio.sleep(0.6)
    reading = await bench.ours.read()
    assert (reading.condition, reading.power_w) == (Condition.HASHING, pytest.approx(3_276, rel=0.12))


async def test_a_write_that_is_obeyed_with_an_error_shows_in_the_next_reads(bench: Bench) -> None:
    bench.fault(Fault.OBEY_WITH_ERROR)
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.REFUSED
    await bench.read_until(Condition.ASLEEP)
    await until(lambda: bench.true_w < 100.0)


async def test_a_reboot_in_the_middle_is_unknown_and_costs_the_token(bench: Bench) -> None:
    bench.fault(Fault.REBOOT_ON_WRITE)
    assert (await bench.ours.perform(SLEEP)).outcome is Outcome.UNKNOWN
    bench.farm.faults[0].clear()
    await bench.read_until(Condition.UNREACHABLE)
    await bench.read_until(Condition.HASHING)
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    await until(lambda: bench.true_w < 100.0)
