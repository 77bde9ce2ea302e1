"""A small HTTP/1.1 server for the web ports of simulated miners, with the faults a web interface can have.

It behaves like the lighttpd of a miner: a connection is kept open for a number of requests and a few idle seconds, an
answer made by a script has no length and comes in chunks, one made by the server itself has a Content-Length. What is
answered is the business of a `WebApp`. Requests of one connection are answered in turn.
"""

import asyncio
import time
from collections.abc import Mapping
from email.utils import formatdate
from http import HTTPStatus
from typing import Final, NamedTuple, Protocol

from simulators.asic.delivery import Delivery, is_silent, reset
from simulators.asic.wire_server import ApiFirmware, WebProtocol, is_unreachable
from simulators.faults import Fault

MAX_HEAD_BYTES: Final = 16_384
MAX_BODY_BYTES: Final = 65_536
READ_IDLE_S: Final = 60.0
"""A client that has not finished its first request by then is dropped: lighttpd's default."""
_STATUS_OF: Final = {Fault.HTTP_500: 500, Fault.HTTP_403: 403, Fault.HTTP_401: 401}
SERVER_NAME: Final = "lighttpd/1.4.32"
"""As an Antminer S19 Pro of 2021 named itself."""


class Request(NamedTuple):
    """One request. Header names are in lower case; `at_s` is when its first byte arrived, as in `WireRecord`."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    at_s: float


class Response(NamedTuple):
    """One answer. `streamed` ones come from a script: nobody knew their length when they began.

    `after_s`: seconds of thinking before the first byte goes out.
    """

    status: int
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    streamed: bool = False
    after_s: float = 0.0


class WebApp(Protocol):
    """What a server serves."""

    def connected(self) -> None:
        """A client has connected."""

    def handle(self, request: Request) -> Response | None:
        """The answer to `request`; None resets the connection without one."""


class KeepAlive(NamedTuple):
    """How long a connection may live: the answer to request number `requests` ends it, and so do `idle_s` of silence.

    The defaults are those of lighttpd 1.4.32 (a limit of 16, and the first answer beyond it closes); that miners leave
    them alone is assumed, the one published configuration of a miner does.
    """

    requests: int = 17
    idle_s: float = 5.0


def error_page(status: int, *headers: tuple[str, str]) -> Response:
    """The page a server shows by itself."""
    title = f"{status} - {HTTPStatus(status).phrase}"
    page = f"<!doctype html>\n<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n"
    return Response(status, page.encode(), (("Content-Type", "text/html"), *headers))


def web_site(firmware: ApiFirmware, app: WebApp, keep_alive: KeepAlive) -> WebProtocol:
    """Serve `app` on the web port of `firmware`, under its faults."""
    return lambda open_transports: _Connection(firmware, app, keep_alive, open_transports)


class _Connection(asyncio.Protocol):
    def __init__(
        self, firmware: ApiFirmware, app: WebApp, keep_alive: KeepAlive, open_transports: set[asyncio.Transport]
    ) -> None:
        self._firmware = firmware
        self._faults = firmware.faults
        self._app = app
        self._keep_alive = keep_alive
        self._open = open_transports
        self._received = bytearray()
        self._first_byte_at_s = 0.0
        self._heard_s = time.monotonic()
        self._taken = 0
        self._busy = False
        self._idle: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server always passes
        self._transport = transport
        self._delivery = Delivery(self._faults, transport)
        self._open.add(transport)
        self._app.connected()
        if is_unreachable(self._firmware):
            reset(transport)
        elif not is_silent(self._faults):
            self._watch(READ_IDLE_S)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delivery.cancel()
        if self._idle is not None:
            self._idle.cancel()
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if is_silent(self._faults):
            return
        if is_unreachable(self._firmware):
            reset(self._transport)
            return
        if not self._received:
            self._first_byte_at_s = time.monotonic()
        self._received += data
        self._serve()

    # --- requests ----------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Answer what has arrived whole, one request after the other."""
        while self._received and not self._busy and not self._transport.is_closing():
            request = self._next_request()
            if request is None:
                return
            self._busy = True
            self._taken += 1
            if isinstance(request, Response):
                self._answer(request, ends=True)
                return
            writes_before = len(self._firmware.log.writes)
            response = self._app.handle(request)
            is_write = len(self._firmware.log.writes) > writes_before
            if response is None:
                reset(self._transport)
                return
            wish = request.headers.get("connection", "").lower()
            ends = wish == "close" or self._taken >= self._keep_alive.requests
            self._answer(response, ends=ends, to_write=is_write)

    def _next_request(self) -> Request | Response | None:
        """The next whole request, None while it is incomplete, or the refusal of one that cannot be served."""
        end = self._received.find(b"\r\n\r\n")
        if end > MAX_HEAD_BYTES or (end < 0 and len(self._received) > MAX_HEAD_BYTES):
            return error_page(414)
        if end < 0:
            return None
        first, *lines = self._received[:end].decode("latin-1").split("\r\n")
        method, _, rest = first.partition(" ")
        target, _, version = rest.partition(" ")
        headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        length = headers.get("content-length", "0")
        refusal = _refusal(method, target, version, length, is_chunked="transfer-encoding" in headers)
        if refusal:
            return error_page(refusal)
        total = end + 4 + int(length)
        if len(self._received) < total:
            return None
        body = bytes(self._received[end + 4 : total])
        del self._received[:total]
        return Request(method, target, headers, body, self._first_byte_at_s)

    # --- answers -----------------------------------------------------------------------------------------------

    def _answer(self, response: Response, *, ends: bool, to_write: bool = False) -> None:
        response = self._spoiled(response) if to_write else response
        if self._faults.spoils(Fault.EMPTY_BODY, write=to_write) and response.status == HTTPStatus.OK:
            response = Response(200, after_s=response.after_s)
        if any(self._faults.spoils(fault, write=to_write) for fault in (Fault.GARBAGE, Fault.TRUNCATE)):
            ends = True  # nothing that follows could be told from the rest of this
        data = _encoded(response, ends=ends)

        def sent() -> None:
            self._sent(ends=ends)

        def send() -> None:
            self._delivery.send(data, sent, to_write=to_write)

        if response.after_s > 0.0:
            self._delivery.later(response.after_s, send)
        else:
            send()

    def _spoiled(self, response: Response) -> Response:
        """The answer to a write that has been carried out, unless another status takes its place."""
        for fault, status in _STATUS_OF.items():
            if self._faults.spoils(fault, write=True):
                return error_page(status)._replace(after_s=response.after_s)
        return response

    def _sent(self, *, ends: bool) -> None:
        if self._delivery.spoiled_by(Fault.KEEP_OPEN):
            self._stop_watching()
        elif ends:
            self._transport.close()
            return
        elif self._taken == 1:
            self._watch(self._keep_alive.idle_s)
        self._busy = False
        self._heard_s = self._first_byte_at_s = time.monotonic()
        if self._received:  # `_serve` goes on by itself unless the answer was a slow one
            asyncio.get_running_loop().call_soon(self._serve)

    # --- idleness ----------------------------------------------------------------------------------------------

    def _watch(self, limit_s: float) -> None:
        """One timer per connection, set anew only when it fires: requests that come in between cost nothing."""
        self._stop_watching()
        self._idle = asyncio.get_running_loop().call_later(limit_s, self._end_if_idle, limit_s)

    def _end_if_idle(self, limit_s: float) -> None:
        left_s = self._heard_s + limit_s - time.monotonic()
        if left_s <= 0.0 and not self._busy:
            self._transport.close()
            return
        self._idle = asyncio.get_running_loop().call_later(max(left_s, 0.1), self._end_if_idle, limit_s)

    def _stop_watching(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None


def _refusal(method: str, target: str, version: str, length: str, *, is_chunked: bool) -> int:
    """The status that turns a request away before anybody looks at it, 0 for one that can be served."""
    if not target.startswith("/") or not (length.isascii() and length.isdigit()):
        return HTTPStatus.BAD_REQUEST
    if version != "HTTP/1.1":
        return HTTPStatus.HTTP_VERSION_NOT_SUPPORTED
    if method not in ("GET", "POST"):
        return HTTPStatus.NOT_IMPLEMENTED
    if is_chunked:
        return HTTPStatus.LENGTH_REQUIRED
    return HTTPStatus.REQUEST_ENTITY_TOO_LARGE if len(length) > 9 or int(length) > MAX_BODY_BYTES else 0


def _encoded(response: Response, *, ends: bool) -> bytes:
    body = response.body
    lines = [f"HTTP/1.1 {response.status} {HTTPStatus(response.status).phrase}"]
    if ends:
        lines.append("Connection: close")
    if response.streamed:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if body else b"0\r\n\r\n"
        lines.append("Transfer-Encoding: chunked")
    else:
        lines.append(f"Content-Length: {len(body)}")
    lines.extend(f"{name}: {value}" for name, value in response.headers)
    lines.extend((f"Date: {formatdate(usegmt=True)}", f"Server: {SERVER_NAME}", "", ""))
    return "\r\n".join(lines).encode("latin-1") + body
