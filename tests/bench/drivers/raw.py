"""By hand: the least Python that sends the same bytes, as the measure of what a driver costs on top.

No parsing beyond the end of a reply and the one token a write needs, no deadline, no retry, no judgement. Nobody could
run a site with it.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from tests.bench.drivers.contestants import CONCURRENCY, Contestant
from tests.bench.drivers.farm_link import Site
from tests.bench.drivers.raw_antminer import RawAntminer
from tests.bench.drivers.raw_whatsminer import RawWhatsminer
from tests.bench.drivers.raw_wire import between, one_shot


class RawMiner(Protocol):
    """What each family's own lines provide."""

    async def sleep(self) -> bool: ...

    async def read(self) -> bool: ...

    def close(self) -> None: ...


class RawLuxos:
    """Log on once, then `curtail` with the session."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._session = ""

    async def sleep(self) -> bool:
        if not self._session:
            reply = await one_shot(self._site, b'{"command": "logon"}')
            self._session = between(reply, b'"SessionID":"', b'"').decode()
        request = json.dumps({"command": "curtail", "parameter": f"{self._session},sleep"})
        return b'"STATUS":"S"' in await one_shot(self._site, request.encode())

    async def read(self) -> bool:
        return b'"Watts"' in await one_shot(self._site, b'{"command": "power+summary+config"}')

    def close(self) -> None:
        """Nothing is held."""


FAMILIES: Mapping[str, Callable[[Site], RawMiner]] = {
    "Antminer stock": RawAntminer,
    "LuxOS": RawLuxos,
    "WhatsMiner V2": RawWhatsminer,
}


class Raw(Contestant):
    """All families by hand, under the same number of calls in flight as ours."""

    def __init__(self) -> None:
        super().__init__(CONCURRENCY)
        self._miners: list[RawMiner] = []

    async def prepare(self, sites: Sequence[Site]) -> None:
        self.sites = sites
        self._miners = [FAMILIES[site.family](site) for site in sites]

    async def sleep(self, index: int) -> bool:
        return await self._miners[index].sleep()

    async def read(self, index: int) -> bool:
        return await self._miners[index].read()

    async def close(self) -> None:
        for miner in self._miners:
            miner.close()
