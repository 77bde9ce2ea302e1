"""Two simulated LuxOS miners, the second of which refuses."""

from collections.abc import AsyncIterator

import pytest

from simulators.asic.farm import MinerFarm
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from tests.simulators.luxos_client import MODEL

SESSION_TTL_S = 0.25


@pytest.fixture
async def farm() -> AsyncIterator[MinerFarm]:
    spec = FleetSpec(models=[MODEL] * 2, seed=11, behaviours=[Behaviour.OBEYS, Behaviour.REFUSES])
    async with MinerFarm(spec, session_ttl_s=SESSION_TTL_S) as running:
        yield running
