"""A simulator that stops as somebody connects leaves no socket behind."""

from __future__ import annotations

import asyncio
import gc
import socket
import warnings

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.spec import FleetSpec
from simulators.modbus_server import ModbusServer, RegisterBank


async def connected_for(passes: int, address: tuple[str, int]) -> socket.socket:
    """A client, and the loop's passes since the kernel took its connection."""
    client = socket.create_connection(address)
    for _ in range(passes):
        await asyncio.sleep(0)
    return client


def forgotten(client: socket.socket) -> list[str]:
    client.close()
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always", ResourceWarning)
        gc.collect()
    return [str(one.message) for one in found if one.category is ResourceWarning]


@pytest.mark.parametrize("passes", range(6))
async def test_a_meter_that_stops_leaves_none_it_has_just_accepted(passes: int) -> None:
    gc.collect()
    server = ModbusServer(RegisterBank(((0, 10),)), 1, "127.0.0.1", 0)
    await server.start()
    client = await connected_for(passes, server.address)
    await server.stop()
    assert forgotten(client) == []


@pytest.mark.parametrize("passes", range(6))
async def test_miners_that_stop_leave_none_they_have_just_accepted(passes: int) -> None:
    gc.collect()
    async with MinerFarm(FleetSpec(models=[MODELS["s21"]], seed=7)) as farm:
        client = await connected_for(passes, (farm.addresses[0].host, farm.addresses[0].port))
    assert forgotten(client) == []
