"""One request and one answer over a connection of its own: the wire under every miner that speaks the cgminer protocol.

The miner is expected to close the connection after its answer, and many do not. Three things end an answer: the end of
the stream, a zero byte (LuxOS sends one), or a JSON document that is complete. Whatever happens - answer, fault,
deadline, cancellation - the socket is closed before the call returns, and a fault is raised by name, never turned into
an empty answer.
"""

from __future__ import annotations

import asyncio
import json
from typing import Final

MAX_REPLY_BYTES: Final = 262_144
"""The longest reply seen (25 profiles) has 6 kB; what is longer than this is no miner's answer."""


class TransportError(Exception):
    """A request that got no trustworthy answer. `sent` says whether a byte of it left this machine."""

    sent: bool = True


class NotConnectedError(TransportError):
    """Refused, no route, reset or out of time before the request was written: the miner cannot have acted on it."""

    sent = False


class NoAnswerError(TransportError):
    """The request was written and then the deadline passed, or the connection was reset or closed without a word."""


class BadAnswerError(TransportError):
    """Something came back that is not one whole JSON document, or is longer than `MAX_REPLY_BYTES`."""


class _Exchange(asyncio.Protocol):
    """Writes the request once connected and resolves `answer` as soon as the reply is known to be whole."""

    def __init__(self, request: bytes, answer: asyncio.Future[bytes]) -> None:
        self._request = request
        self._answer = answer
        self._received = bytearray()
        self._transport: asyncio.Transport | None = None
        self.sent = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a TCP connection's transport is one
        self._transport = transport
        if self._answer.done():  # given up in the very moment the connection came about
            transport.abort()
            return
        transport.write(self._request)
        self.sent = True

    def data_received(self, data: bytes) -> None:
        if self._answer.done():
            return
        self._received += data
        end = self._received.find(0, max(0, len(self._received) - len(data)))
        if end >= 0:
            self._finish(bytes(self._received[:end]))
        elif len(self._received) > MAX_REPLY_BYTES:
            self._answer.set_exception(BadAnswerError(f"reply longer than {MAX_REPLY_BYTES} bytes"))
        elif data.rstrip().endswith(b"}") and _is_json(self._received):
            self._answer.set_result(bytes(self._received))

    def eof_received(self) -> bool:
        if not self._answer.done():
            if self._received:
                self._finish(bytes(self._received))
            else:
                self._answer.set_exception(NoAnswerError("connection closed without an answer"))
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._answer.done():
            reason = "connection reset" if exc else "connection closed"
            self._answer.set_exception(NoAnswerError(f"{reason} before the answer was whole"))

    def abort(self) -> None:
        """Close the socket now; nothing is flushed or awaited."""
        if self._transport is not None:
            self._transport.abort()

    def _finish(self, reply: bytes) -> None:
        if _is_json(reply):
            self._answer.set_result(reply)
        else:
            self._answer.set_exception(BadAnswerError(f"reply of {len(reply)} bytes is not a whole JSON document"))


def _is_json(reply: bytes | bytearray) -> bool:
    try:
        # Miners put raw line breaks into their messages; that alone does not make a reply untrustworthy.
        json.loads(reply, strict=False)
    except (ValueError, RecursionError):  # brackets without end are no document either
        return False
    return True


async def exchange(host: str, port: int, request: bytes, *, deadline_s: float) -> bytes:
    """Send `request` to an address and return the miner's reply, one whole JSON document without its zero byte.

    `deadline_s` covers connect, write and answer together. Raises NotConnectedError, NoAnswerError or BadAnswerError.
    """
    loop = asyncio.get_running_loop()
    give_up_at = loop.time() + deadline_s
    answer: asyncio.Future[bytes] = loop.create_future()
    protocol = _Exchange(request, answer)
    try:
        await _connect(protocol, host, port, deadline_s)
        await asyncio.wait({answer}, timeout=max(0.0, give_up_at - loop.time()))
        if not answer.done():
            raise NoAnswerError(f"no answer within {deadline_s:g} s")
        return answer.result()
    finally:
        answer.cancel()
        if answer.done() and not answer.cancelled():
            answer.exception()  # retrieved here, so that an abandoned exchange leaves no complaint behind
        protocol.abort()


async def _connect(protocol: _Exchange, host: str, port: int, deadline_s: float) -> None:
    try:
        async with asyncio.timeout(deadline_s):
            await asyncio.get_running_loop().create_connection(lambda: protocol, host, port)
    except TimeoutError as error:
        if not protocol.sent:
            raise NotConnectedError(f"no connection within {deadline_s:g} s") from error
        raise NoAnswerError(f"no answer within {deadline_s:g} s") from error
    except OSError as error:
        raise NotConnectedError(f"connect failed: {error.strerror or error}") from error
