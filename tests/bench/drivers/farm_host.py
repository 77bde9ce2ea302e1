"""The simulated miners in a process of their own, told what to do over stdin: one JSON object a line, one answer each.

{"do": "fresh", "families": ["LuxOS", ...]}   new miners, all awake and knowing nobody; answers where they are
{"do": "wake"}                                all awake and steady again; sessions and tokens stay
{"do": "told"}                                how many are told to sleep, and what came over the wire since then; `said`
                                              is the same for the same commands with the same content, miner by miner
"""

from __future__ import annotations

import asyncio
import hashlib
import ipaddress
import json
import sys
from collections import Counter
from operator import itemgetter
from typing import Any

import numpy as np

from simulators.asic.antminer import AntminerStock
from simulators.asic.farm import MinerFarm, VendorPorts
from simulators.asic.luxos import LuxOSMiner
from simulators.asic.models import MODELS, Family
from simulators.asic.response import Mode
from simulators.asic.spec import FleetSpec
from simulators.asic.wirelog import WireRecord
from tests.bench.drivers.limits import allow_files

SEED = 3
STEADY_AFTER_S = 600.0
"""Longer than any boot."""
MODELS_OF = {family: [model for model in MODELS.values() if model.family is family] for family in Family}


class Host:
    """One farm at a time."""

    def __init__(self, network: str | None) -> None:
        self._ports = None if network is None else VendorPorts(ipaddress.IPv4Network(network), web=True)
        self._farm: MinerFarm | None = None
        self._told: Counter[str] = Counter()
        self._connections = 0
        self._said: list[tuple[int, str, str]] = []

    async def obey(self, order: dict[str, Any]) -> object:
        match order["do"]:
            case "fresh":
                return await self.fresh(order["families"])
            case "wake":
                self.wake()
                return None
            case "told":
                return self.told()
        raise ValueError(f"no such order: {order}")

    async def fresh(self, families: list[str]) -> list[dict[str, Any]]:
        """New miners in place of the old ones, at the same addresses when they have the vendor's ports."""
        await self.close()
        dealt: Counter[str] = Counter()
        models = []
        for family in families:
            choice = MODELS_OF[Family(family)]
            models.append(choice[dealt[family] % len(choice)])
            dealt[family] += 1
        farm = MinerFarm(FleetSpec(models=models, seed=SEED), ports=self._ports, on_record=self._note)
        await farm.__aenter__()
        self._farm = farm
        self._told, self._connections = Counter(), 0
        self._said.clear()
        return [
            {"family": family, "model": model.name, "host": at.host, "port": at.port, "web_port": at.web_port}
            for family, model, at in zip(families, models, farm.addresses, strict=True)
        ]

    def wake(self) -> None:
        """All awake: first what was told to sleep, then long enough for the last boot to be over."""
        assert self._farm is not None
        bank = self._farm.bank
        for miner in self._farm.miners:
            if isinstance(miner, AntminerStock):  # it starts as its configuration says, so that is put back
                conf = json.loads(miner.state.conf.file())
                miner.write({**conf, "miner-mode": 0, "freq-level": conf["bitmain-freq-level"]})
        bank.command_wake_many(np.arange(bank.count))
        bank.step(STEADY_AFTER_S)

    def told(self) -> dict[str, Any]:
        """What the miners themselves know: this, not an answer on the wire, says that a command was carried out."""
        assert self._farm is not None
        total: Counter[str] = Counter()
        connections = 0
        for miner in self._farm.miners:
            total += miner.log.counts
            connections += miner.log.connections
            if isinstance(miner, AntminerStock):
                connections += miner.web_connections
                total["401"] += miner.challenges
        since: dict[str, Any] = {"commands": dict(total - self._told), "connections": connections - self._connections}
        self._told, self._connections = total, connections
        said = json.dumps(sorted(self._said, key=itemgetter(0)))  # in a miner's own order; that of the miners is chance
        self._said.clear()
        since["said"] = hashlib.sha256(said.encode()).hexdigest()
        return {"asleep": int(np.count_nonzero(self._farm.bank.mode == Mode.SLEEP)), **since}

    def _note(self, miner: int, record: WireRecord) -> None:
        """Sessions are left out, as each is another; tokens are not part of the record."""
        assert self._farm is not None
        parameter = record.parameter
        if isinstance(self._farm.miners[miner], LuxOSMiner):
            parameter = parameter.partition(",")[2]
        self._said.append((miner, record.command, parameter))

    async def close(self) -> None:
        if self._farm is not None:
            await self._farm.__aexit__(None, None, None)
            self._farm = None


async def serve(network: str | None) -> None:
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    host = Host(network)
    try:
        while line := await orders.readline():
            answer = await host.obey(json.loads(line))
            sys.stdout.write(json.dumps(answer) + "\n")
            sys.stdout.flush()
    finally:
        await host.close()


if __name__ == "__main__":
    allow_files()
    asyncio.run(serve(sys.argv[1] if len(sys.argv) > 1 else None))
