"""Two published clients, neither of them ours, identify, read and command simulated miners on the vendor's ports.

They find a miner by address alone and expect port 4028, so each test has an address of its own in 127.0.0.0/8. Port 80
is served where the system permits it; identification must succeed either way.
"""

import asyncio
import importlib
import ipaddress
import logging
import os
import warnings
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pyasic_rs
import pytest

from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.models import LUXOS_MODELS, MODELS
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec

KEYS = LUXOS_MODELS
# Addresses of this process: two runs of the suite on one machine must not meet.
PROCESS_NET = f"127.{64 + os.getpid() % 128}"


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


def farm_at(network: str, *, web: bool | None, asleep: bool = False) -> MinerFarm:
    models = [MODELS[key] for key in KEYS]
    spec = FleetSpec(models=models, seed=4, asleep=[asleep] * len(models))
    return MinerFarm(spec, ports=VendorPorts(ipaddress.IPv4Network(network), web=web))


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():  # noqa: ASYNC110 - the condition is in another's hands: ask again
            await asyncio.sleep(0.05)


async def test_pyasic_identifies_every_model_and_reads_what_it_reports(pyasic: Any, web: bool | None) -> None:
    async with farm_at(f"{PROCESS_NET}.1.0/28", web=web) as farm:
        for i, address in enumerate(farm.addresses):
            miner = await pyasic.get_miner(address.host)
            assert miner is not None
            data = await miner.get_data()
            model = farm.bank.models[i]
            assert data.firmware == "LuxOS"
            assert f"Antminer {data.model}" == f"{model.name}"
            assert data.wattage == pytest.approx(model.nameplate.power_w, rel=0.12)
            assert data.wattage_limit == model.nameplate.power_w
            assert float(data.hashrate) == pytest.approx(model.nameplate.hashrate_th, rel=0.03)
            assert len(data.hashboards) == 3
            assert data.total_chips == data.expected_chips
            assert len(data.config.mining_mode.available_presets) == len(model.profiles)


async def test_pyasic_puts_a_miner_to_sleep_trims_it_and_wakes_it(pyasic: Any) -> None:
    async with farm_at(f"{PROCESS_NET}.2.0/28", web=None) as farm:
        miner = await pyasic.get_miner(farm.addresses[0].host)
        assert miner is not None
        assert await miner.stop_mining()
        assert farm.bank.mode[0] == Mode.SLEEP
        farm.bank.step(15.0)

        async def few_watts() -> bool:
            return (await miner.get_wattage() or 9_999) < 30

        await until(few_watts)
        assert await miner.resume_mining()
        assert farm.bank.mode[0] == Mode.HASH
        assert await miner.set_power_limit(2_000)
        expected_w = max(rung.power_w for rung in farm.bank.models[0].profiles if rung.power_w <= 2_000)
        assert farm.bank.models[0].profiles[int(farm.bank.profile_index[0])].power_w == expected_w
        assert farm.miners[0].settings.atm_enabled  # off around the change, and on again
        assert farm.miners[0].log.counts["atmset"] == 2


async def test_pyasic_rs_identifies_every_model_and_reads_what_it_reports(web: bool | None) -> None:
    async with farm_at(f"{PROCESS_NET}.3.0/28", web=web) as farm:
        for i, address in enumerate(farm.addresses):
            miner = await pyasic_rs.MinerFactory().get_miner(address.host)
            assert miner is not None
            data = await miner.get_data()
            model = farm.bank.models[i]
            assert data.device_info.firmware == "LuxOS"
            assert data.wattage == pytest.approx(model.nameplate.power_w, rel=0.12)
            assert data.is_mining
            assert data.mac is not None
            assert data.hostname == f"miner-{i:05d}"


async def test_pyasic_rs_pauses_and_resumes_a_miner() -> None:
    async with farm_at(f"{PROCESS_NET}.4.0/28", web=None) as farm:
        miner = await pyasic_rs.MinerFactory().get_miner(farm.addresses[2].host)
        assert miner is not None
        assert miner.supports_pause
        assert await miner.pause()
        assert farm.bank.mode[2] == Mode.SLEEP
        farm.bank.step(40.0)

        # Not get_is_mining: for LuxOS this client says True whatever the summary shows.
        async def few_watts() -> bool:
            return (await miner.get_wattage() or 9_999) < 30

        await until(few_watts)
        assert await miner.resume()
        assert farm.bank.mode[2] == Mode.HASH
