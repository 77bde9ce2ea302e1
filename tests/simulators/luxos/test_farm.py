"""A farm of simulated LuxOS miners: its end, its ports, and many at once."""

import asyncio
import ipaddress

import numpy as np
import pytest

from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.spec import FleetSpec
from tests.simulators.luxos_client import MODEL, ask, outcome


async def is_refused(host: str, port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        return True
    writer.close()
    return False


async def test_a_farm_that_ended_listens_no_more() -> None:
    async with MinerFarm(FleetSpec(models=[MODEL], seed=1)) as farm:
        address = farm.addresses[0]
        assert outcome(await ask(farm, "version"))[0] == "S"
    assert await is_refused(*address)


async def test_a_farm_whose_physics_broke_goes_dark_and_says_why() -> None:
    with pytest.raises(ValueError, match="broadcast"):
        async with MinerFarm(FleetSpec(models=[MODEL] * 2, seed=1), tick_s=0.01) as farm:
            farm.bank.temperature_c = np.zeros(7)  # a bug: an array of another size
            async with asyncio.timeout(5):
                await farm.wait_broken()
            assert await is_refused(*farm.addresses[0])


async def test_a_hundred_miners_answer_at_once() -> None:
    async with MinerFarm(FleetSpec(models=[MODEL] * 100, seed=1)) as farm:
        replies = await asyncio.gather(*(ask(farm, "config", miner=i) for i in range(100)))
    assert len({reply["CONFIG"][0]["MACAddr"] for reply in replies}) == 100


def test_vendor_ports_stay_on_this_machine_and_need_room() -> None:
    with pytest.raises(ValueError, match=r"outside 127\.0\.0\.0/8"):
        VendorPorts(ipaddress.IPv4Network("192.168.1.0/24"))
    with pytest.raises(ValueError, match="2 addresses for 3 miners"):
        VendorPorts(ipaddress.IPv4Network("127.9.9.0/30")).hosts(3)
