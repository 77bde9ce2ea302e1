"""Two published clients, neither of them ours, identify, read and command simulated stock Antminers on vendor ports.

They find a miner by address alone and expect ports 4028 and 80, so each test has an address of its own in 127.0.0.0/8,
and is skipped where port 80 is not permitted; with CURTAILD_REQUIRE_PORT_80=1 it fails there. What the tests find wrong
with the first client is what our driver must not do: they hold the simulator to showing it.
"""

import importlib
import ipaddress
import logging
import os
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pyasic_rs
import pytest

from simulators.asic.antminer import AntminerStock, ConfRead, StockTraits
from simulators.asic.antminer_web import antminer_site
from simulators.asic.bank import MinerBank
from simulators.asic.farm import API_PORT, WEB_PORT, MinerFarm, VendorPorts
from simulators.asic.models import MODELS, Family, keys_of
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.asic.wire_server import FirmwareServer
from simulators.faults import Fault
from tests.rig.web_port import has_web_port
from tests.simulators.antminer_client import Stock

KEYS = keys_of(Family.ANTMINER)
# Addresses of this process: two runs of the suite on one machine must not meet.
PROCESS_NET = f"127.{64 + os.getpid() % 128}"


@pytest.fixture(autouse=True)
def web_port() -> None:
    if not has_web_port(f"{PROCESS_NET}.20.1"):
        pytest.skip("port 80 is not permitted")


@pytest.fixture(scope="module")
def pyasic() -> Any:
    """The stock package; its import warns, and sets the level of the root logger, which is put back."""
    level = logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pyasic")
    logging.getLogger().setLevel(level)
    return module


@asynccontextmanager
async def farm_at(subnet: int, *, low_power: bool = False) -> AsyncIterator[tuple[MinerFarm, list[Stock]]]:
    models = [MODELS[key] for key in KEYS]
    spec = FleetSpec(models=models, seed=4, profile_index=[0] * len(models) if low_power else None)
    ports = VendorPorts(ipaddress.IPv4Network(f"{PROCESS_NET}.{subnet}.0/28"))
    async with MinerFarm(spec, ports=ports) as farm:
        stocks = []
        for miner, address in zip(farm.miners, farm.addresses, strict=True):
            assert isinstance(miner, AntminerStock)
            stocks.append(Stock(miner, address))
        yield farm, stocks


async def test_pyasic_identifies_every_model_and_reads_what_it_reports(pyasic: Any) -> None:
    async with farm_at(21) as (farm, stocks):
        for i, stock in enumerate(stocks):
            model = farm.bank.models[i]
            miner = await pyasic.get_miner(stock.host)
            assert isinstance(miner, pyasic.miners.backends.antminer.AntminerModern)
            data = await miner.get_data()
            assert (data.firmware, f"Antminer {data.model}") == ("Stock", model.name)
            assert data.wattage is None
            assert float(data.hashrate) == pytest.approx(model.nameplate.hashrate_th, rel=0.03)
            assert float(data.expected_hashrate) == pytest.approx(model.nameplate.hashrate_th)
            assert (data.total_chips, len(data.fans)) == (data.expected_chips, 4)
            assert [board.missing for board in data.hashboards] == [False] * 3
            assert (data.hostname, data.is_mining, data.errors) == (f"miner-{i:05d}", True, [])
            assert data.config.pools.groups[0].pools[0].url.startswith("stratum+tcp://pool-a")


async def test_pyasic_stops_and_resumes_and_loses_what_it_does_not_know(pyasic: Any) -> None:
    async with farm_at(22, low_power=True) as (farm, stocks):
        stock = stocks[0]
        before = await stock.conf()
        assert (before["bitmain-work-mode"], before["bitmain-freq-level"], before["bitmain-fan-pwm"]) == (
            "3",
            "95",
            "80",
        )
        miner = await pyasic.get_miner(stock.host)
        assert miner is not None
        assert await miner.stop_mining()
        assert farm.bank.mode[0] == Mode.SLEEP
        farm.bank.step(60.0)
        assert await miner.is_mining() is False
        assert float(await miner.get_hashrate()) == 0.0
        assert await miner.resume_mining()
        after = await stock.conf()
        assert after["pools"] == before["pools"]
        assert after["bitmain-work-mode"] == "0"  # it was in low power
        assert (after["bitmain-freq-level"], after["bitmain-fan-pwm"]) == ("100", "100")
        assert stock.miner.config_writes == 2
        for _ in range(250):
            farm.bank.step(1.0)
        assert float(await miner.get_hashrate()) == pytest.approx(farm.bank.models[0].nameplate.hashrate_th, rel=0.03)


@pytest.mark.parametrize("reads", [ConfRead.FAILS, ConfRead.NO_POOLS, ConfRead.CUT])
async def test_pyasic_wipes_the_pools_when_it_could_not_read_them(pyasic: Any, reads: ConfRead) -> None:
    async with farm_at(23) as (_, stocks):
        miner = await pyasic.get_miner(stocks[0].host)
        assert miner is not None
        stocks[0].miner.conf_read = reads
        assert await miner.stop_mining()
        stocks[0].miner.conf_read = ConfRead.SOUND
        assert [pool["url"] for pool in (await stocks[0].conf())["pools"]] == ["", "", ""]


async def test_pyasic_says_it_stopped_a_miner_that_turned_it_away(pyasic: Any) -> None:
    async with farm_at(24) as (farm, stocks):
        miner = await pyasic.get_miner(stocks[1].host)
        assert miner is not None
        for fault in (Fault.WRONG_PASSWORD, Fault.HTTP_500, Fault.REFUSE):
            stocks[1].faults.on(fault)
            assert await miner.stop_mining()
            stocks[1].faults.off(fault)
        assert (farm.bank.mode[1], stocks[1].miner.config_writes) == (Mode.HASH, 0)


async def test_pyasic_puts_a_miner_into_low_power(pyasic: Any) -> None:
    async with farm_at(25) as (farm, stocks):
        miner = await pyasic.get_miner(stocks[2].host)
        assert miner is not None
        config = await miner.get_config()
        config.mining_mode = pyasic.config.MiningModeConfig.low()
        await miner.send_config(config)
        assert (await stocks[2].conf())["bitmain-work-mode"] == "3"
        assert farm.bank.profile_index[2] == 0
        assert await miner.fault_light_on()
        assert (await stocks[2].script("get_blink_status")).json() == {"blink": True}


@pytest.mark.parametrize("closed", ["neither", "web", "4028"])
async def test_pyasic_never_takes_it_for_another_make(pyasic: Any, closed: str) -> None:
    host = f"{PROCESS_NET}.26.{('neither', 'web', '4028').index(closed) + 1}"
    bank = MinerBank(FleetSpec(models=[MODELS["s19pro"]], seed=4, asleep=[closed == "4028"]))
    miner = AntminerStock(bank, 0, host=host, traits=StockTraits(api_while_asleep=False))
    web = None if closed == "web" else antminer_site(miner)
    server = FirmwareServer(miner, host=host, port=API_PORT, web=web, web_port=WEB_PORT)
    await server.start()
    try:
        for _ in range(10):
            found = await pyasic.get_miner(host)
            assert isinstance(found, pyasic.miners.backends.antminer.AntminerModern)
            assert found.model == "S19 Pro (Stock)"
    finally:
        server.stop()


async def test_pyasic_rs_identifies_every_model_and_reads_what_it_reports() -> None:
    async with farm_at(27) as (farm, stocks):
        for i, stock in enumerate(stocks):
            miner = await pyasic_rs.MinerFactory().get_miner(stock.host)
            assert miner is not None
            data = await miner.get_data()
            model = farm.bank.models[i]
            assert data.device_info.firmware == "AntMiner Stock"
            assert data.wattage is None
            assert data.is_mining
            assert data.hostname == f"miner-{i:05d}"
            assert data.hashrate is not None
            assert data.hashrate.value == pytest.approx(model.nameplate.hashrate_th, rel=0.03)


async def test_pyasic_rs_pauses_and_resumes_and_keeps_the_rest() -> None:
    async with farm_at(28) as (farm, stocks):
        stock = stocks[1]
        before = await stock.conf()
        miner = await pyasic_rs.MinerFactory().get_miner(stock.host)
        assert miner is not None
        assert miner.supports_pause
        assert await miner.pause()
        assert farm.bank.mode[1] == Mode.SLEEP
        assert (await stock.conf())["bitmain-work-mode"] == "1"
        assert not await miner.get_is_mining()
        assert await miner.resume()
        assert await stock.conf() == before
