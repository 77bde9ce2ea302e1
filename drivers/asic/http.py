"""The thin web client under every miner that is driven over HTTP: one connection per miner, kept between calls.

A miner's web server closes a connection that idles (lighttpd after five seconds), so that a kept one may be gone when
it is needed. If not a byte of an answer has come, a GET is sent once more on a fresh connection. A POST is not: it may
have been carried out, and only its sender knows what twice would mean. A 401 is answered once with the new challenge:
the server has turned that request away, so nothing is done twice.

Errors are those of `drivers.asic.transport`; any status is an answer. Whatever happens - answer, fault, deadline,
cancellation - a connection that is not known to be sound is closed before the call returns. One exception: a POST
whose answer is late leaves its connection open for a minute. A web server may kill the script behind a connection that
closes (lighttpd does), and a script that writes a miner's configuration and dies before it restarts the miner leaves it
configured to sleep and hashing. The call itself returns at its deadline, and `close` ends that connection as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Final, NamedTuple

from drivers.asic.digest import Digest
from drivers.asic.http_answer import AnswerParser, HttpAnswer
from drivers.asic.transport import BadAnswerError, NoAnswerError, NotConnectedError, TransportError

_DEFAULT_PORT: Final = 80
KEPT_S: Final = 30.0
"""How long an idle connection is trusted. Miners close theirs sooner; one that is older may lead nowhere any more,
through a firewall that has forgotten it, and a shed is no time to find out."""
LATE_S: Final = 60.0
"""How long the connection of a late POST is left to its answer; a configuration write has been seen to take 21 s."""


def host_line(host: str, port: int) -> str:
    """The `Host` header of requests to an IP address and a port."""
    name = f"[{host}]" if ":" in host else host
    return f"Host: {name if port == _DEFAULT_PORT else f'{name}:{port}'}\r\n"


class _Request(NamedTuple):
    """One wish. body: None for a GET. once: never to be sent a second time unless the miner turned the first away."""

    method: str
    path: str
    body: bytes | None
    once: bool
    give_up_at: float

    def encoded(self, host_line: str, credentials: str) -> bytes:
        """As it goes on the wire."""
        authorization = f"Authorization: {credentials}\r\n" if credentials else ""
        if self.body is None:
            return f"{self.method} {self.path} HTTP/1.1\r\n{host_line}{authorization}\r\n".encode()
        head = f"{self.method} {self.path} HTTP/1.1\r\n{host_line}Content-Length: {len(self.body)}\r\n"
        return f"{head}Content-Type: application/json\r\n{authorization}\r\n".encode() + self.body


class HttpClient:
    """Requests to one miner. Calls may overlap: each has a connection to itself, and the last one sound is kept."""

    def __init__(self, host: str, port: int, digest: Digest, *, kept_s: float = KEPT_S, late_s: float = LATE_S) -> None:
        self._kept_s = kept_s
        self._late_s = late_s
        self._host = host
        self._port = port
        self._digest = digest
        self._host_line = host_line(host, port)
        self._kept: _Connection | None = None
        self._kept_at = 0.0
        self._late: set[_Connection] = set()

    def get(self, path: str, *, give_up_at: float, once: bool = False) -> Coroutine[None, None, HttpAnswer]:
        """GET by loop second `give_up_at`; `once` for a page that does something. Raises NotConnectedError,
        NoAnswerError or BadAnswerError."""
        return self._call(_Request("GET", path, None, once, give_up_at))

    def post_json(self, path: str, body: bytes, *, give_up_at: float) -> Coroutine[None, None, HttpAnswer]:
        """POST of a JSON body by loop second `give_up_at`. After NotConnectedError it cannot have been carried out;
        after NoAnswerError and BadAnswerError nobody knows."""
        return self._call(_Request("POST", path, body, True, give_up_at))

    def close(self) -> None:
        """Close every connection that no call is using; the next call opens another."""
        if self._kept is not None:
            self._kept.abort()
            self._kept = None
        for connection in tuple(self._late):
            connection.abort()

    async def _call(self, request: _Request) -> HttpAnswer:
        answer = await self._on_the_kept_connection(request)
        if answer.status == 401 and self._digest.take(answer.challenges):
            answer = await self._on_the_kept_connection(request)
        return answer

    async def _on_the_kept_connection(self, request: _Request) -> HttpAnswer:
        """On the kept connection; without one, or when it dies unheard and the request bears it, on a fresh one."""
        connection, self._kept = self._kept, None
        if connection is not None and self._loop_time() - self._kept_at > self._kept_s:
            connection.abort()
        elif connection is not None and connection.is_sound():
            try:
                return await self._ask(connection, request)
            except NoAnswerError:
                if request.once or connection.heard or connection.expired:
                    raise
        return await self._ask(await self._connect(request.give_up_at), request)

    async def _ask(self, connection: _Connection, request: _Request) -> HttpAnswer:
        credentials = self._digest.authorization(request.method, request.path)
        try:
            answer = await connection.send(request.encoded(self._host_line, credentials), request.give_up_at)
        except asyncio.CancelledError:
            connection.abort()
            raise
        if isinstance(answer, TransportError):
            if request.body is None or not connection.expired:
                connection.abort()
            else:
                connection.leave_open(self._late_s, self._late)
            raise answer
        if answer.keeps_open:
            if self._kept is not None:
                self._kept.abort()
            self._kept = connection
            self._kept_at = self._loop_time()
        else:
            connection.abort()
        return answer

    @staticmethod
    def _loop_time() -> float:
        return asyncio.get_running_loop().time()

    async def _connect(self, give_up_at: float) -> _Connection:
        loop = asyncio.get_running_loop()
        if give_up_at <= loop.time():
            raise NotConnectedError("no time left")
        connection = _Connection(loop)
        try:
            async with asyncio.timeout_at(give_up_at):
                await loop.create_connection(lambda: connection, self._host, self._port)
        except TimeoutError as error:
            raise NotConnectedError("no connection within the deadline") from error
        except OSError as error:
            raise NotConnectedError(f"connect failed: {error.strerror or error}") from error
        return connection


class _Connection(asyncio.Protocol):
    """One connection; one request in the air at most.

    A fault is a result of the awaited future like any other: an exception in a future whose caller was cancelled would
    be reported as an error of ours.
    """

    __slots__ = ("_give_up_at", "_late", "_loop", "_outcome", "_parser", "_timer", "_transport", "expired")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = AnswerParser()
        self._outcome: asyncio.Future[HttpAnswer | TransportError] = loop.create_future()
        self._outcome.cancel()  # nothing has been asked yet
        self._give_up_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._late: set[_Connection] | None = None
        self.expired = False

    @property
    def heard(self) -> bool:
        """Whether a byte of an answer to the last request has come."""
        return self._parser.heard

    def is_sound(self) -> bool:
        """Whether a request may be sent now."""
        return self._transport is not None and not self._transport.is_closing()

    def send(self, request: bytes, give_up_at: float) -> asyncio.Future[HttpAnswer | TransportError]:
        """Send, and hold the answer or the fault in the future at loop second `give_up_at` at the latest. After a
        fault, and after cancelling the future, the connection is the caller's to close."""
        transport = self._transport
        outcome: asyncio.Future[HttpAnswer | TransportError] = self._loop.create_future()
        if transport is None or transport.is_closing():
            outcome.set_result(NotConnectedError("connection closed at once"))
            return outcome
        self._parser = AnswerParser()
        self._outcome = outcome
        transport.write(request)
        self._give_up_at = give_up_at
        if self._timer is None or self._timer.when() > give_up_at:
            self._watch_until(give_up_at)
        return outcome

    def abort(self) -> None:
        """Close the socket now; nothing is flushed or awaited."""
        if self._transport is not None:
            self._transport.abort()

    def leave_open(self, seconds: float, until_closed: set[_Connection]) -> None:
        """Stay for an answer nobody waits for any more; whatever comes closes the connection, and so does the time, or
        the next one that has to stay."""
        if self._transport is not None:
            for older in tuple(until_closed):  # one per miner: a thousand that hang must not use up our sockets
                older.abort()
            self._late = until_closed
            self._late.add(self)
            self._watch_until(self._loop.time() + seconds)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # a TCP connection's transport is one
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._outcome.done():
            self.abort()  # nobody asked: whatever comes next on this connection would answer the wrong request
            return
        try:
            answer = self._parser.feed(data)
        except BadAnswerError as error:
            self._outcome.set_result(error)
            return
        if answer is not None:
            self._outcome.set_result(answer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
        if self._late is not None:
            self._late.discard(self)
        if not self._outcome.done():
            ending = "connection reset" if exc else "connection closed"
            how_far = "before the answer was whole" if self.heard else "without an answer"
            answer = None if exc else self._parser.end()
            self._outcome.set_result(NoAnswerError(f"{ending} {how_far}") if answer is None else answer)

    def _watch_until(self, when: float) -> None:
        """One timer for many requests: it is set back only when it comes too early, and that costs less than a timer
        for each."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self._loop.call_at(when, self._time_has_come)

    def _time_has_come(self) -> None:
        self._timer = None
        if self._late is not None:
            self.abort()
        elif not self._outcome.done():
            if self._give_up_at > self._loop.time():
                self._watch_until(self._give_up_at)
                return
            self.expired = True
            self._outcome.set_result(NoAnswerError("no answer within the deadline"))
