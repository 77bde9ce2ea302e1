"""Two published clients, neither of them ours, identify, read and command simulated WhatsMiners on the vendor's port.

They find a miner by address alone and expect port 4028, so each test has an address of its own in 127.0.0.0/8. Port 80
is served where the system permits it; identification must succeed either way.
"""

import importlib
import ipaddress
import logging
import os
import warnings
from collections.abc import Iterator
from typing import Any

import pyasic_rs
import pytest

from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.models import MODELS, Family, keys_of
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from tests.simulators.whatsminer_client import Tool

KEYS = keys_of(Family.WHATSMINER)
M60S, M50S, M30SPP = (KEYS.index(key) for key in ("m60s", "m50s", "m30spp"))
# Addresses of this process: two runs of the suite on one machine must not meet.
PROCESS_NET = f"127.{64 + os.getpid() % 128}"

# pyasic's call of passlib, at every token.
pytestmark = pytest.mark.filterwarnings("ignore:passing settings to md5_crypt:DeprecationWarning")


@pytest.fixture(scope="module")
def pyasic() -> Any:
    """The stock package; its import warns, and sets the level of the root logger, which is put back."""
    level = logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module("pyasic")
    logging.getLogger().setLevel(level)
    return module


@pytest.fixture(params=[None, False], ids=["web if permitted", "4028 only"])
def web(request: pytest.FixtureRequest) -> Iterator[bool | None]:
    yield request.param


def farm_at(third: int, *, web: bool | None = False, asleep: bool = False) -> MinerFarm:
    spec = FleetSpec(models=[MODELS[key] for key in KEYS], seed=4, asleep=[asleep] * len(KEYS))
    network = ipaddress.IPv4Network(f"{PROCESS_NET}.{third}.0/28")
    return MinerFarm(spec, ports=VendorPorts(network, web=web))


def rung(farm: MinerFarm, i: int) -> str:
    return farm.bank.models[i].profiles[int(farm.bank.profile_index[i])].name


async def test_pyasic_identifies_every_model_and_reads_what_it_reports(pyasic: Any, web: bool | None) -> None:
    backend = importlib.import_module("pyasic.miners.backends.btminer")
    async with farm_at(20, web=web) as farm:
        for i, address in enumerate(farm.addresses):
            model = farm.bank.models[i]
            miner = await pyasic.get_miner(address.host)
            assert isinstance(miner, backend.BTMinerV2)
            assert not isinstance(miner, backend.BTMinerV3)
            assert miner.raw_model.replace(" ", "") == model.wire_name.replace("_", "")
            data = await miner.get_data()
            assert data.wattage == pytest.approx(model.nameplate.power_w, rel=0.12)
            assert data.wattage_limit == model.nameplate.power_w
            assert float(data.hashrate) == pytest.approx(model.nameplate.hashrate_th, rel=0.03)
            assert float(data.expected_hashrate) == model.nameplate.hashrate_th
            assert data.is_mining
            assert len(data.hashboards) == 3
            assert sum(float(board.hashrate) for board in data.hashboards) == pytest.approx(
                model.nameplate.hashrate_th, rel=0.03
            )
            assert data.total_chips == data.expected_chips
            assert data.hostname == f"miner-{i:05d}"
            assert data.mac == f"D4:01:02:00:00:0{i}"
            assert len(data.pools) == 3
            assert data.errors == []


async def test_pyasic_puts_a_miner_to_sleep_and_wakes_it(pyasic: Any) -> None:
    async with farm_at(21) as farm:
        miner = await pyasic.get_miner(farm.addresses[M60S].host)
        assert await miner.stop_mining()
        assert farm.bank.mode[M60S] == Mode.SLEEP
        farm.bank.step(15.0)
        assert await miner.is_mining() is False
        assert await miner.get_wattage() == pytest.approx(25, abs=4)
        assert float(await miner.get_hashrate()) == 0.0
        assert await miner.resume_mining()
        assert farm.bank.mode[M60S] == Mode.HASH
        farm.bank.step(100.0)
        assert await miner.is_mining()
        assert await miner.get_wattage() == pytest.approx(3441, rel=0.12)
        # One token did for both: it is kept for half an hour.
        assert farm.miners[M60S].log.counts["get_token"] == 1


async def test_pyasic_has_no_watts_of_a_sleeper_whose_firmware_tells_none(pyasic: Any) -> None:
    async with farm_at(22) as farm:
        miner = await pyasic.get_miner(farm.addresses[M30SPP].host)
        assert await miner.stop_mining()
        farm.bank.step(15.0)
        assert await miner.is_mining() is False
        assert await miner.get_wattage() is None


async def test_pyasic_takes_a_sleeper_for_a_whatsminer_of_no_known_model(pyasic: Any) -> None:
    async with farm_at(23, asleep=True) as farm:
        miner = await pyasic.get_miner(farm.addresses[M60S].host)
        assert type(miner).__name__ == "WhatsminerUnknown"
        assert await miner.is_mining() is False
        assert await miner.resume_mining()
        assert farm.bank.mode[M60S] == Mode.HASH


async def test_pyasic_trims_by_percent_and_by_limit(pyasic: Any) -> None:
    async with farm_at(24) as farm:
        miner = await pyasic.get_miner(farm.addresses[M50S].host)
        assert (await miner.rpc.set_power_pct(60))["Msg"] == "API command OK"
        assert rung(farm, M50S) == "60"
        assert (await miner.rpc.set_power_pct_v2(70))["Msg"] == "API command OK"
        assert rung(farm, M50S) == "70"
        # 100 is refused by the method, not by the miner.
        await miner.rpc.send_privileged_command("set_power_pct", percent="100")
        assert rung(farm, M50S) == "100"
        assert not farm.bank.is_rebooting[M50S]
        assert await miner.set_power_limit(2_000)
        assert rung(farm, M50S) == "60"
        assert await miner.get_wattage_limit() == 2_000
        farm.bank.step(2.0)
        assert farm.bank.true_power_w[M50S] < 200.0  # that was a restart


async def test_pyasic_keeps_a_dead_token_until_somebody_takes_it_away(pyasic: Any) -> None:
    async with farm_at(25) as farm:
        miner = await pyasic.get_miner(farm.addresses[M60S].host)
        assert await miner.stop_mining()
        farm.faults[M60S].on(Fault.STALE_SESSION)
        assert await miner.resume_mining() is False
        with pytest.raises(pyasic.APIError, match="check token err"):
            await miner.rpc.power_on()
        assert farm.bank.mode[M60S] == Mode.SLEEP
        miner.rpc.token = None
        assert await miner.resume_mining()
        assert farm.bank.mode[M60S] == Mode.HASH


async def test_pyasic_meets_a_full_table_and_closed_writes(pyasic: Any) -> None:
    async with farm_at(26) as farm:
        miner = await pyasic.get_miner(farm.addresses[M60S].host)
        tool = Tool(*farm.addresses[M60S])
        while (await tool.log_on())["Code"] == 134:
            pass
        with pytest.raises(pyasic.APIError, match="over max connect"):
            await miner.rpc.get_token()
        assert await miner.stop_mining() is False
        assert farm.bank.mode[M60S] == Mode.HASH
        assert await miner.get_wattage() > 3000  # reads need no token


async def test_pyasic_with_a_wrong_password_changes_nothing(pyasic: Any) -> None:
    async with farm_at(27) as farm:
        miner = await pyasic.get_miner(farm.addresses[M60S].host)
        miner.rpc.pwd = "wrong"
        with pytest.raises(pyasic.APIError, match="enc json load err"):
            await miner.rpc.power_off()
        assert await miner.stop_mining() is False
        assert farm.bank.mode[M60S] == Mode.HASH
        miner.rpc.pwd = "admin"
        miner.rpc.token = None
        assert await miner.stop_mining()


async def test_pyasic_rs_identifies_every_model_and_reads_what_it_reports(web: bool | None) -> None:
    async with farm_at(28, web=web) as farm:
        for i, address in enumerate(farm.addresses):
            model = farm.bank.models[i]
            miner = await pyasic_rs.MinerFactory().get_miner(address.host)
            assert miner is not None
            data = await miner.get_data()
            assert data.device_info.firmware == "WhatsMiner Stock"
            assert data.wattage == pytest.approx(model.nameplate.power_w, rel=0.12)
            assert data.is_mining
            assert data.mac is not None
            assert data.hostname == f"miner-{i:05d}"


async def test_pyasic_rs_pauses_and_resumes_a_miner_with_a_token_each_time() -> None:
    async with farm_at(29) as farm:
        miner = await pyasic_rs.MinerFactory().get_miner(farm.addresses[M50S].host)
        assert miner is not None
        assert miner.supports_pause
        assert await miner.pause()
        assert farm.bank.mode[M50S] == Mode.SLEEP
        farm.bank.step(40.0)
        assert not await miner.get_is_mining()
        assert await miner.get_wattage() == pytest.approx(25, abs=4)
        assert await miner.resume()
        assert farm.bank.mode[M50S] == Mode.HASH
        assert farm.miners[M50S].log.counts["get_token"] == 2
