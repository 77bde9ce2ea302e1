"""Stock Antminers whose wire goes wrong: stock pyasic and our driver meet the same simulated miner, both are asserted.

pyasic's answer to a stop is always "yes"; what the miner did is in the simulator's own account.
"""

from __future__ import annotations

import asyncio

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from simulators.asic.http_server import KeepAlive
from simulators.faults import Fault
from tests.drivers.asic.antminer.bench import LONG_S, Bench, scene
from tests.drivers.asic.antminer.script import SHED, SLEEP
from tests.drivers.asic.conftest import STILL_SILENT


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
