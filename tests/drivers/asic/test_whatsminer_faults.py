"""WhatsMiners as they go wrong: stock pyasic and our driver meet the same simulated miner, both are asserted.

Stock pyasic has a token in hand, its best case. What it leaves out or invents is the reason for each of our outcomes.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.fleet import Condition, Level, MinerReading, Outcome
from drivers.asic.rpc import RpcWire
from drivers.asic.whatsminer import WhatsMinerV2
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.asic.whatsminer import WhatsMiner
from simulators.faults import Fault
from tests.drivers.asic.conftest import STILL_SILENT, outcome_of_stock
from tests.drivers.asic.whatsminer_script import SHED, SLEEP, WAKE, build, build_stock, trim, until

pytestmark = [  # stock's own
    pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:unclosed <StreamWriter:ResourceWarning"),
]

FACTORY = "admin"
SCALE = 0.05  # a miner that answers in a twentieth of its usual time: the tests wait for its physics


@dataclass(frozen=True)
class Bench:
    """One simulated M50S, stock pyasic and our driver in front of it, both with a token in hand."""

    farm: MinerFarm
    miner: WhatsMiner
    stock: Any
    ours: WhatsMinerV2

    @property
    def true_w(self) -> float:
        """What it draws."""
        return float(self.farm.bank.true_power_w[0])

    def impatient(self) -> WhatsMinerV2:
        """Our driver with a short deadline and no token."""
        host, port = self.farm.addresses[0]
        return build(host, port, password=FACTORY, deadline_s=0.3)

    def fault(self, fault: Fault, seconds: float | None = None) -> None:
        """From now on."""
        self.farm.faults[0].on(fault, seconds)

    async def raw(self, command: str) -> dict[str, Any]:
        """What the API returns, as anybody can read it."""
        host, port = self.farm.addresses[0]
        return dict((await RpcWire(host=host, port=port).send(command, deadline_s=3.0)).body)

    async def read_until(self, condition: Condition) -> MinerReading:
        """Read until the miner shows `condition`."""
        async with asyncio.timeout(20.0):
            while True:
                reading = await self.ours.read()
                if reading.condition is condition:
                    return reading
                await asyncio.sleep(0.05)


@pytest_asyncio.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """`@pytest.mark.parametrize("bench", [Behaviour...], indirect=True)` gives the miner a character."""
    behaviour = getattr(request, "param", Behaviour.OBEYS)
    spec = FleetSpec(models=[MODELS["m50s"]], seed=7, behaviours=[behaviour], response_scale=[SCALE])
    async with MinerFarm(spec) as farm:
        host, port = farm.addresses[0]
        simulated = farm.miners[0]
        assert isinstance(simulated, WhatsMiner)
        stock, ours = build_stock(host, port, FACTORY), build(host, port, password=FACTORY)
        await stock.rpc.get_token()
        await ours.read()
        simulated.log.clear()
        yield Bench(farm, simulated, stock, ours)


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
    assert reading.detail.startswith("says it is off, but shows ")


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
    from tests.drivers.asic.whatsminer_script import FACTS

    simulated = MODELS["m50s"].profiles
    told = tuple(Level(rung.name, rung.power_w, rung.hashrate_th) for rung in simulated)
    assert [level.name for level in FACTS.envelope.levels] == [level.name for level in told]
    assert [level.power_w for level in FACTS.envelope.levels] == [level.power_w for level in told]
