"""A scripted WhatsMiner; a simulated one with stock pyasic and our driver in front of it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from simulators.asic.response import Behaviour
from tests.drivers.asic.whatsminer.bench import Bench, benched
from tests.drivers.asic.whatsminer.script import Script, running


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A scripted miner that hashes."""
    async with running() as scripted:
        yield scripted


@pytest_asyncio.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """`@pytest.mark.parametrize("bench", [Behaviour...], indirect=True)` gives the miner a character."""
    async with benched(getattr(request, "param", Behaviour.OBEYS)) as made:
        yield made
