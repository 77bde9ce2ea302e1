"""A scripted miner and our driver in front of it; a simulated one with pyasic in front of it as well."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from tests.drivers.asic.antminer.bench import Bench, scene
from tests.drivers.asic.antminer.script import Script, scripted


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    async with scripted() as miner:
        yield miner


@pytest_asyncio.fixture
async def ours(script: Script) -> AsyncIterator[Any]:
    driver = script.ours()
    yield driver
    await driver.close()


@pytest_asyncio.fixture
async def bench() -> AsyncIterator[Bench]:
    async with scene() as made:
        yield made
