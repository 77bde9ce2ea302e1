"""The pages Prometheus reads, over HTTP, on the loop: GET of a known path, one reply, goodbye.

A page comes in parts and the loop turns between any two, so that its length holds nobody up. Slow, silent and too many
clients are sent away: no one who reads can take more than a place for some seconds.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from functools import partial

from controller.runtime.clients import Clients

CLIENTS_MAX = 16
ASK_WITHIN_S = 5.0
TAKE_WITHIN_S = 20.0
HEAD_MAX_BYTES = 8192
# A page is made at most so often; whoever comes in between gets the last one. A cycle is a second.
KEPT_S = 0.25
PAGE_TYPE = "text/plain; version=0.0.4; charset=utf-8"
GZIP_LEVEL, GZIP_WINDOW = 1, 31  # labels repeat: level 6 takes twice the time for a twentieth less

Page = Callable[[], AsyncGenerator[str, None]]


class MetricsUnavailableError(Exception):
    """The address for /metrics cannot be listened on."""


@dataclass(slots=True)
class _Kept:
    """The last body of one page in one encoding, in parts: joining megabytes takes its milliseconds too. `making` is
    held by whoever makes the next."""

    body: tuple[bytes, ...] = ()
    made_at: float | None = None
    making: asyncio.Lock = field(default_factory=asyncio.Lock)


@dataclass(frozen=True, slots=True)
class _RefusedError(Exception):
    status: str
    text: str


class MetricsServer:
    """Serves pages by path. `start` and `close`, once each, on the loop."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = dict(pages)
        self._kept: dict[tuple[str, bool], _Kept] = {}
        # The last of many gets no word either: one would have to wait for it to be read.
        self._clients = Clients("metrics", self._host, CLIENTS_MAX)

    async def start(self, host: str, port: int) -> int:
        """Listen; port 0 takes a free one. Returns the port.

        Raises MetricsUnavailableError when the address cannot be listened on.
        """
        try:
            listen = partial(asyncio.start_server, host=host, port=port, limit=HEAD_MAX_BYTES)
            server = await self._clients.start(listen)
        except OSError as error:
            raise MetricsUnavailableError(f"{host}:{port} for /metrics: {error.strerror or error}") from None
        return int(server.sockets[0].getsockname()[1])

    async def close(self) -> None:
        """Send everybody away and give the port back."""
        await self._clients.close()

    async def _host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client. One that goes away or is slow beyond the deadline ends its own reply and nothing else."""
        writer.transport.set_write_buffer_limits(high=0)  # sent means taken by the kernel
        to_the_end = False
        try:
            with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
                async with asyncio.timeout(ASK_WITHIN_S):
                    head = await _head(reader)
                async with asyncio.timeout(TAKE_WITHIN_S):
                    for part in await self._reply(head):
                        writer.write(part)
                        await writer.drain()
                        await asyncio.sleep(0)  # a drain that has nothing to wait for does not let the loop turn
                to_the_end = True
        finally:
            if to_the_end:
                writer.close()
            else:
                writer.transport.abort()

    async def _reply(self, head: bytes | None) -> tuple[bytes, ...]:
        try:
            method, path, zipped = _understand(head)
            if path not in self._pages:
                raise _RefusedError("404 Not Found", f"there is {' and '.join(sorted(self._pages))}")
            body = await self._body(path, zipped)
        except _RefusedError as refusal:
            text = f"{refusal.text}\n".encode()
            return _head_of(refusal.status, len(text), zipped=False), text
        reply = _head_of("200 OK", sum(map(len, body)), zipped=zipped)
        return (reply,) if method == "HEAD" else (reply, *body)

    async def _body(self, path: str, zipped: bool) -> tuple[bytes, ...]:
        loop = asyncio.get_running_loop()
        kept = self._kept.setdefault((path, zipped), _Kept())
        async with kept.making:  # several who ask at once wait for one page
            if kept.made_at is None or loop.time() - kept.made_at >= KEPT_S:
                kept.body = await _made(self._pages[path], zipped)
                kept.made_at = loop.time()
            return kept.body


async def _made(page: Page, zipped: bool) -> tuple[bytes, ...]:
    pack = zlib.compressobj(GZIP_LEVEL, wbits=GZIP_WINDOW) if zipped else None
    parts: list[bytes] = []
    async with aclosing(page()) as given:
        async for text in given:
            part = text.encode()
            parts.append(part if pack is None else pack.compress(part))
            await asyncio.sleep(0)
    if pack is not None:
        parts.append(pack.flush())
    return tuple(filter(None, parts))


async def _head(reader: asyncio.StreamReader) -> bytes | None:
    """Everything up to the empty line; None when that is too much."""
    try:
        return await reader.readuntil(b"\r\n\r\n")
    except asyncio.LimitOverrunError:
        return None


def _understand(head: bytes | None) -> tuple[str, str, bool]:
    """Method, path, and whether the reply may be packed."""
    if head is None:
        raise _RefusedError("431 Request Header Fields Too Large", f"a request has at most {HEAD_MAX_BYTES} bytes")
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise _RefusedError("400 Bad Request", "the request line makes no sense")
    method, target, _ = words
    if method not in ("GET", "HEAD"):
        raise _RefusedError("405 Method Not Allowed", "there is GET and HEAD")
    return method, target.partition("?")[0], any(_takes_gzip(line) for line in lines)


def _takes_gzip(line: str) -> bool:
    name, _, value = line.partition(":")
    if name.strip().lower() != "accept-encoding":
        return False
    codings = (coding.replace(" ", "").lower().partition(";") for coding in value.split(","))
    return any(coding == "gzip" and quality not in ("q=0", "q=0.0") for coding, _, quality in codings)


def _head_of(status: str, length: int, *, zipped: bool) -> bytes:
    kind = PAGE_TYPE if status.startswith("200") else "text/plain; charset=utf-8"
    encoding = "Content-Encoding: gzip\r\n" if zipped else ""
    allow = "Allow: GET, HEAD\r\n" if status.startswith("405") else ""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{encoding}{allow}"
        "Vary: Accept-Encoding\r\nConnection: close\r\n\r\n"
    ).encode()
