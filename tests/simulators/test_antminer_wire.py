"""Port 4028 of simulated stock Antminers over real sockets, and what their physics shows there."""

import json
from importlib import resources
from typing import Any

import pytest

from simulators.asic.antminer import AntminerStock, StockTraits
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family, keys_of
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from tests.simulators.antminer_client import LOW_POWER, MODEL, SLEEP, Stock, stock

RECORDED = ("devs", "pools", "stats", "summary", "version")
NAMEPLATE_GHS = MODEL.nameplate.hashrate_th * 1e3
UP_S = 10.0
"""Longer than a mining process needs to answer again."""


def shape(value: Any) -> Any:
    """Keys and types, lists by their first entry; whole and broken numbers count as the same."""
    if isinstance(value, dict):
        return {key: shape(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [shape(entry) for entry in value]
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def keys_in(value: object) -> set[str]:
    if isinstance(value, dict):
        return {str(key).lower() for key in value}.union(*map(keys_in, value.values()))
    return set().union(*map(keys_in, value)) if isinstance(value, list) else set()


async def is_mute(miner: Stock) -> bool:
    try:
        await miner.ask("version")
    except ConnectionError:
        return True
    return False


def pass_by(miner: Stock, seconds: float) -> None:
    for _ in range(round(seconds / 0.25)):
        miner.bank.step(0.25)


@pytest.mark.parametrize("command", RECORDED)
async def test_a_read_has_the_keys_types_and_status_of_the_recording(command: str) -> None:
    recorded = json.loads(resources.files("simulators").joinpath(f"data/antminer/{command}.json").read_text())
    if command == "pools":
        del recorded["POOLS"][2]  # the simulated owner uses two of three slots
    async with stock() as miner:
        reply = await miner.ask(command)
    assert shape(reply) == shape(recorded)
    told, known = reply["STATUS"][0], recorded["STATUS"][0]
    assert (told["STATUS"], told["Code"], told["Description"]) == (known["STATUS"], known["Code"], known["Description"])


@pytest.mark.parametrize("key", keys_of(Family.ANTMINER))
async def test_a_farm_serves_every_model_at_its_nameplate(key: str) -> None:
    model = MODELS[key]
    async with MinerFarm(FleetSpec(models=[model], seed=3)) as farm:
        (miner,), (address,) = farm.miners, farm.addresses
        assert isinstance(miner, AntminerStock)
        one = Stock(miner, address)
        assert (await one.ask("version"))["VERSION"][0]["Type"] == model.name
        stats = (await one.ask("stats"))["STATS"][1]
        assert stats["total_rateideal"] == pytest.approx(model.nameplate.hashrate_th * 1e3)
        assert stats["GHS 5s"] == pytest.approx(model.nameplate.hashrate_th * 1e3, rel=0.03)
        assert stats["total_acn"] == model.boards * model.chips_per_board
        assert sum(float(stats[f"chain_rate{n}"]) for n in (1, 2, 3)) == pytest.approx(stats["GHS 5s"], rel=0.01)


async def test_nothing_it_says_has_watts() -> None:
    async with stock() as miner:
        said = [await miner.ask(command) for command in RECORDED]
        said += [await miner.ask(command, new_api=True) for command in ("summary", "stats", "pools")]
        said += [(await miner.script(name)).json() for name in ("summary", "stats", "get_system_info")]
    assert not {key for reply in said for key in keys_in(reply) if "watt" in key or "power" in key}


@pytest.mark.parametrize("command", ["summary+stats", "devdetails", "quit", "", "get_version"])
async def test_what_is_no_command_is_answered_with_code_14(command: str) -> None:
    async with stock() as miner:
        reply = await miner.ask(command)
    assert reply["STATUS"][0]["STATUS"] == "E"
    assert (reply["STATUS"][0]["Code"], reply["STATUS"][0]["Msg"]) == (14, "Invalid command")


async def test_asleep_it_answers_with_zero_rates_slow_fans_and_all_its_chips() -> None:
    async with stock(asleep=True) as miner:
        stats = (await miner.ask("stats"))["STATS"][1]
        assert await miner.rate_ghs() == 0.0
    assert (stats["GHS 5s"], stats["chain_rate1"], stats["fan1"]) == (0.0, "0.00", 960)
    assert stats["total_acn"] == 342


async def test_a_version_that_closes_its_port_in_sleep_is_mute() -> None:
    async with stock(StockTraits(api_while_asleep=False), asleep=True) as miner:
        assert await is_mute(miner)
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP
        assert (await miner.script("summary")).status_code == 500


async def test_sleep_restarts_the_process_and_the_watts_fall_within_seconds() -> None:
    async with stock() as miner:
        assert (await miner.set_mode(1))["code"] == "M000"
        assert await is_mute(miner)
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP  # what was ordered, at once
        assert miner.bank.true_power_w[0] > 3_000  # what it draws, not yet
        pass_by(miner, 6.0 + 5.0 * 3)
        assert miner.bank.true_power_w[0] == pytest.approx(MODEL.sleep_power_w, abs=5.0)
        assert not await is_mute(miner)
        assert await miner.rate_ghs() == 0.0
        assert (await miner.ask("summary"))["SUMMARY"][0]["Elapsed"] < 60
        assert miner.bank.is_asleep[0]


async def test_the_hash_rate_lags_a_wake_and_full_takes_its_time() -> None:
    async with stock(asleep=True) as miner:
        await miner.set_mode(0)
        pass_by(miner, UP_S)
        assert await miner.rate_ghs() == 0.0  # answers long before it hashes
        pass_by(miner, 40.0)
        halfway_ghs = await miner.rate_ghs()
        assert 0.0 < halfway_ghs < 0.95 * NAMEPLATE_GHS
        pass_by(miner, 200.0)
        assert await miner.rate_ghs() == pytest.approx(NAMEPLATE_GHS, rel=0.03)
        assert miner.bank.true_power_w[0] == pytest.approx(MODEL.nameplate.power_w, rel=0.01)


async def test_low_power_is_a_restart_to_three_quarters() -> None:
    async with stock() as miner:
        await miner.set_mode(3)
        assert miner.mode == LOW_POWER
        pass_by(miner, 5.0)
        assert miner.bank.true_power_w[0] < 100.0  # a restart, not a trim
        pass_by(miner, 250.0)
        assert await miner.rate_ghs() == pytest.approx(0.75 * NAMEPLATE_GHS, rel=0.03)
        assert miner.bank.true_power_w[0] == pytest.approx(0.68 * MODEL.nameplate.power_w, rel=0.01)
        await miner.set_mode(1)
        pass_by(miner, 30.0)
        await miner.set_mode(3)
        pass_by(miner, 250.0)
        assert miner.bank.true_power_w[0] == pytest.approx(0.68 * MODEL.nameplate.power_w, rel=0.01)


async def test_a_miner_found_in_low_power_says_so() -> None:
    async with stock(profile=0) as miner:
        assert (await miner.conf())["bitmain-work-mode"] == LOW_POWER


async def test_a_liar_says_sleep_and_hashes_on() -> None:
    async with stock(behaviour=Behaviour.LIAR_SLEEP) as miner:
        assert (await miner.set_mode(1))["code"] == "M000"
        pass_by(miner, 60.0)
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP
        assert await miner.rate_ghs() == pytest.approx(NAMEPLATE_GHS, rel=0.03)
        assert miner.bank.true_power_w[0] > 3_000


async def test_a_silent_drawer_shows_nothing_but_on_the_feeder() -> None:
    async with stock(behaviour=Behaviour.SILENT_DRAW) as miner:
        await miner.set_mode(1)
        pass_by(miner, 60.0)
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP
        assert await miner.rate_ghs() == 0.0
        assert miner.bank.reported_power_w[0] < 40.0
        assert miner.bank.true_power_w[0] == pytest.approx(MODEL.nameplate.power_w, rel=0.01)
        assert not miner.bank.is_asleep[0]
        await miner.set_mode(0)
        pass_by(miner, 250.0)
        assert await miner.rate_ghs() == pytest.approx(NAMEPLATE_GHS, rel=0.03)


async def test_one_that_never_wakes_says_normal_and_stays_down() -> None:
    async with stock(behaviour=Behaviour.NEVER_WAKES, asleep=True) as miner:
        assert (await miner.set_mode(0))["code"] == "M000"
        pass_by(miner, 300.0)
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        assert await miner.rate_ghs() == 0.0
        assert miner.bank.true_power_w[0] < 100.0


async def test_one_that_ignores_says_success_and_shows_the_old_mode() -> None:
    async with stock(behaviour=Behaviour.IGNORES) as miner:
        assert (await miner.set_mode(1))["code"] == "M000"
        assert (await miner.conf())["bitmain-work-mode"] == "0"
        assert miner.miner.config_writes == 0
        assert not await is_mute(miner)


async def test_one_that_refuses_says_so_and_does_nothing() -> None:
    async with stock(behaviour=Behaviour.REFUSES) as miner:
        assert (await miner.set_mode(1))["stats"] == "error"
        assert (miner.mode, miner.miner.config_writes) == ("0", 0)


async def test_one_that_revives_hashes_again_while_its_file_says_sleep() -> None:
    async with stock(behaviour=Behaviour.REVIVES) as miner:
        await miner.set_mode(1)
        pass_by(miner, 300.0)
        assert (await miner.conf())["bitmain-work-mode"] == SLEEP
        assert await miner.rate_ghs() == pytest.approx(NAMEPLATE_GHS, rel=0.03)


async def test_without_pools_port_4028_says_there_are_none() -> None:
    async with stock() as miner:
        empty = [{"url": "", "user": "", "pass": ""}] * 3
        await miner.script("set_miner_conf", {"miner-mode": 0, "pools": empty})
        assert (await miner.ask("pools"))["STATUS"][0]["Code"] == 8
        assert not await is_mute(miner)  # the mode is the old one: nothing was restarted


async def test_a_device_error_answers_every_command_with_an_error() -> None:
    async with stock() as miner:
        miner.faults.on(Fault.DEVICE_ERROR)
        assert {(await miner.ask(command))["STATUS"][0]["STATUS"] for command in RECORDED} == {"E"}
