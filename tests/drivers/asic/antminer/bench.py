"""One simulated stock Antminer, stock pyasic and our driver in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from drivers.asic.antminer import AntminerStock as Driver
from drivers.asic.budget import Budget
from simulators.faults import Fault
from tests.drivers.asic.antminer.script import FACTS, build_stock
from tests.drivers.asic.conftest import outcome_of_stock
from tests.simulators.antminer_client import Stock, stock

LONG_S = 120.0  # longer than any mining process starts or miner boots


@dataclass(frozen=True)
class Bench:
    """One simulated S19 Pro whose physics stands still until told, pyasic and our driver in front of it, both warm."""

    simulated: Stock
    theirs: Any
    ours: Driver

    @property
    def miner(self) -> Any:
        return self.simulated.miner

    @property
    def true_w(self) -> float:
        return float(self.miner.bank.true_power_w[0])

    def fault(self, fault: Fault, seconds: float | None = None) -> None:
        self.miner.faults.on(fault, seconds)

    def impatient(self, deadline_s: float = 0.3) -> Driver:
        return driver_of(self.simulated, deadline_s)

    def passes(self, seconds: float) -> None:
        """Time of the physics."""
        for _ in range(int(seconds)):
            self.miner.bank.step(1.0)

    async def conf(self) -> bytes:
        """What the web interface returns, to the byte."""
        return (await self.simulated.script("get_miner_conf")).content

    async def stops(self, within_s: float = 12.0) -> Any:
        """What stock pyasic says of its own stop."""
        return await outcome_of_stock(self.theirs.stop_mining(), within_s)


def driver_of(simulated: Stock, deadline_s: float = 3.0, **given: Any) -> Driver:
    return Driver(
        miner_id="rack-1/0",
        index=0,
        host=simulated.host,
        port=simulated.port,
        web_port=simulated.web_port,
        facts=FACTS,
        deadline_s=deadline_s,
        budget=given.pop("budget", Budget(12)),
        **given,
    )


@asynccontextmanager
async def scene(**given: Any) -> AsyncIterator[Bench]:
    async with stock(given.pop("traits", None), **given) as simulated:
        simulated.miner.bank.step(LONG_S)
        ours = driver_of(simulated)
        await ours.read()
        theirs = build_stock(simulated.host, simulated.port, simulated.web_port, "root")
        try:
            yield Bench(simulated, theirs, ours)
        finally:
            await ours.close()
            await asyncio.sleep(0)
