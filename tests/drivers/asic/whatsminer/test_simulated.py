"""Our WhatsMiner driver and a simulated miner with lies of its own: what reads prove, and what is given back."""

from __future__ import annotations

import asyncio
import json

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition, Level
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from tests.drivers.asic.conftest import outcome_of_stock
from tests.drivers.asic.whatsminer.bench import Bench
from tests.drivers.asic.whatsminer.script import FACTS, SHED, SLEEP, WAKE, trim, until

pytestmark = [  # stock's own
    pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
]


async def test_a_sleeping_miner_is_asleep_only_once_claim_and_figures_agree(bench: Bench) -> None:
    assert (await bench.ours.perform(SHED)).outcome is Outcome.ACKNOWLEDGED
    seen = []
    async with asyncio.timeout(20.0):
        while not seen or seen[-1].condition is not Condition.ASLEEP:
            seen.append(await bench.ours.read())
            await asyncio.sleep(0.01)
    last = seen[-1]
    assert last.power_w is None or last.power_w <= 0.2 * 3_276
    assert (last.hashrate_th or 0.0) < 5.0
    assert {reading.condition for reading in seen} <= {Condition.HASHING, Condition.UNKNOWN, Condition.ASLEEP}


@pytest.mark.parametrize("bench", [Behaviour.LIAR_SLEEP], indirect=True)
async def test_a_liar_is_first_doubted_and_then_known_to_hash(bench: Bench) -> None:
    await bench.ours.perform(SLEEP)
    await asyncio.sleep(0.5)
    reading = await bench.ours.read()
    assert reading.condition is Condition.UNKNOWN
    assert "which may be old" in reading.detail
    other = bench.impatient()  # one that gave no order has no reason to wait for old figures to go
    reading = await other.read()
    assert reading.condition is Condition.HASHING


@pytest.mark.parametrize("bench", [Behaviour.IGNORES], indirect=True)
async def test_a_trim_that_is_ignored_is_told_as_set_and_shows_in_the_watts(bench: Bench) -> None:
    assert (await bench.ours.perform(trim(4))).outcome is Outcome.ACKNOWLEDGED
    reading = await bench.ours.read()
    assert (reading.level, reading.power_w) == (4, pytest.approx(3_276, rel=0.12))


# --- what stock cannot say -----------------------------------------------------------------------------------------


async def test_full_power_is_taken_by_the_wire_where_stock_turns_it_away(bench: Bench) -> None:
    assert type(await outcome_of_stock(bench.stock.rpc.set_power_pct(100))).__name__ == "APIError"
    await bench.ours.perform(trim(0))
    await until(lambda: bench.true_w < 1_500.0)
    assert (await bench.ours.perform(trim(12))).outcome is Outcome.ACKNOWLEDGED
    await until(lambda: bench.true_w > 3_200.0)


async def test_a_hashing_miner_is_hashing_where_stock_says_not_mining(bench: Bench) -> None:
    data = await outcome_of_stock(bench.stock.get_data(include=["is_mining"]))
    assert data.is_mining is False
    assert (await bench.ours.read()).condition is Condition.HASHING


# --- giving back -------------------------------------------------------------------------------------------------


async def _owners(bench: Bench) -> str:
    """Everything the API returns of what an owner sets."""
    row, state = (await bench.raw("summary"))["SUMMARY"][0], (await bench.raw("status"))["Msg"]
    info, pools = (await bench.raw("get_miner_info"))["Msg"], (await bench.raw("pools"))["POOLS"]
    return json.dumps([pools, info, state, row["Power Mode"], row["Power Limit"]])


@pytest.mark.parametrize("mode", ["normal", "low"])
async def test_pools_power_mode_and_limit_are_the_same_after_everything_we_do(bench: Bench, mode: str) -> None:
    if mode == "low":
        assert (await outcome_of_stock(bench.stock.rpc.set_low_power()))["Msg"] == "API command OK"
        await until(lambda: bench.true_w < 1_500.0)  # a restart, which is why we never do it
        await until(lambda: bench.true_w > 2_400.0)
    await bench.read_until(Condition.HASHING)
    before, before_w = await _owners(bench), bench.true_w
    prior = (await bench.ours.read()).prior
    assert prior == "100"
    await bench.ours.perform(trim(4))
    await until(lambda: bench.true_w < 0.7 * before_w)
    await bench.ours.perform(SLEEP)
    await bench.read_until(Condition.ASLEEP)
    await until(lambda: bench.true_w < 100.0)
    await bench.ours.perform(WAKE)
    await until(lambda: bench.true_w > 0.95 * before_w)
    await bench.ours.perform(trim(0))
    await until(lambda: bench.true_w < 0.6 * before_w)
    assert (await bench.ours.restore(prior)).outcome is Outcome.ACKNOWLEDGED
    await until(lambda: abs(bench.true_w - before_w) < 0.02 * before_w)
    assert await _owners(bench) == before


async def test_the_level_after_a_restart_of_the_mining_process_is_full_power(bench: Bench) -> None:
    await bench.ours.perform(trim(2))
    await until(lambda: bench.true_w < 1_700.0)
    await asyncio.sleep(1.1)  # the firmware counts whole seconds
    bench.stock.rpc.token = None
    await outcome_of_stock(bench.stock.restart_backend())
    await until(lambda: bench.true_w > 3_200.0)
    reading = await bench.read_until(Condition.HASHING)
    assert (reading.level, reading.prior) == (12, "100")


def test_the_ladders_of_driver_and_simulator_have_the_same_rungs() -> None:
    simulated = MODELS["m50s"].profiles
    told = tuple(Level(rung.name, rung.power_w, rung.hashrate_th) for rung in simulated)
    assert [level.name for level in FACTS.envelope.levels] == [level.name for level in told]
    assert [level.power_w for level in FACTS.envelope.levels] == [level.power_w for level in told]
