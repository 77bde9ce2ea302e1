"""By hand: one `asyncio.Protocol` per connection that knows where a reply ends, and no more."""

from __future__ import annotations

import asyncio

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
        if data.endswith((b"}", b"}\0", b"}\n")):
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


class KeptConnection(asyncio.Protocol):
    """A connection for many requests, one at a time; a reply ends with its last chunk or after its Content-Length."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[bytes] | None = None
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        """The reply, head and all."""
        self._received = b""
        self._answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if data.endswith(b"0\r\n\r\n") or self._has_its_length():
            assert self._answer is not None
            self._answer.set_result(self._received)

    def _has_its_length(self) -> bool:
        head, _, body = self._received.partition(b"\r\n\r\n")
        return b"Content-Length: " in head and len(body) >= int(between(head + b"\r\n", b"Content-Length: ", b"\r\n"))


def between(text: bytes, before: bytes, after: bytes) -> bytes:
    """What stands between two marks, the first of which is there."""
    start = text.index(before) + len(before)
    return text[start : text.index(after, start)]
