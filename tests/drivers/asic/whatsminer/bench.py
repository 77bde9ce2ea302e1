"""A simulated WhatsMiner with stock pyasic and our driver in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from controller.domain.fleet import Condition, MinerReading
from drivers.asic.rpc import RpcWire
from drivers.asic.whatsminer import WhatsMinerV2
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.asic.whatsminer import WhatsMiner
from simulators.faults import Fault
from tests.drivers.asic.whatsminer.script import build, build_stock

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


@asynccontextmanager
async def benched(behaviour: Behaviour = Behaviour.OBEYS) -> AsyncIterator[Bench]:
    """A bench around a miner of that character."""
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
