"""By hand: the least Python that sends the same bytes, as the measure of what a driver costs on top.

One `asyncio.Protocol` per connection, no parsing beyond the end of a reply and the one token a write needs, no
deadline, no retry, no judgement. Nobody could run a site with it.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Protocol

from tests.bench.drivers.contestants import CONCURRENCY, Contestant
from tests.bench.drivers.farm_link import Site


class _OneShot(asyncio.Protocol):
    """A request on a connection of its own; the reply ends with its last brace or with the stream."""

    def __init__(self, request: bytes, answer: asyncio.Future[bytes]) -> None:
        self._request = request
        self._answer = answer
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if data.endswith((b"}", b"}\0")):
            self._end()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()

    def _end(self) -> None:
        if not self._answer.done():
            self._answer.set_result(self._received)
        self._transport.abort()


async def one_shot(site: Site, request: bytes) -> bytes:
    """One request, one reply, to the miner's 4028."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    await loop.create_connection(lambda: _OneShot(request, answer), site.host, site.port)
    return await answer


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


FAMILIES = {"LuxOS": RawLuxos}


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


def between(text: bytes, before: bytes, after: bytes) -> bytes:
    """What stands between two marks, the first of which is there."""
    start = text.index(before) + len(before)
    return text[start : text.index(after, start)]
