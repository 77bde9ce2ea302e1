"""The smallest web server a miner can have: one answer to everybody, enough for identification."""

import asyncio
from http import HTTPStatus
from typing import Final

from simulators.asic.delivery import Delivery, is_silent, reset
from simulators.asic.wire_server import MAX_REQUEST_BYTES, ApiFirmware, WebProtocol, is_unreachable
from simulators.faults import Fault

_STATUS_FAULTS: Final = {
    Fault.HTTP_401: HTTPStatus.UNAUTHORIZED,
    Fault.HTTP_403: HTTPStatus.FORBIDDEN,
    Fault.HTTP_500: HTTPStatus.INTERNAL_SERVER_ERROR,
}


def page(body: str, status: HTTPStatus = HTTPStatus.OK, *headers: str) -> bytes:
    """A whole HTTP response that ends its connection; `headers` are lines like `Location: /`."""
    content = body.encode()
    fixed = ("Content-Type: text/html", "Connection: close", f"Content-Length: {len(content)}")
    lines = (f"HTTP/1.1 {status.value} {status.phrase}", *fixed, *headers, "", "")
    return "\r\n".join(lines).encode() + content


def static_page(firmware: ApiFirmware, response: bytes) -> WebProtocol:
    """Serve `response` to every request, under the faults of `firmware`."""
    return lambda open_transports: _StaticPage(firmware, response, open_transports)


class _StaticPage(asyncio.Protocol):
    def __init__(self, firmware: ApiFirmware, response: bytes, open_transports: set[asyncio.Transport]) -> None:
        self._firmware = firmware
        self._faults = firmware.faults
        self._response = response
        self._open = open_transports
        self._received = bytearray()
        self._answered = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server always passes
        self._transport = transport
        self._delivery = Delivery(self._faults, transport)
        self._open.add(transport)
        if is_unreachable(self._firmware):
            reset(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delivery.cancel()
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if self._answered or is_silent(self._faults):
            return
        self._received += data
        if len(self._received) > MAX_REQUEST_BYTES:
            self._transport.abort()
        elif b"\r\n\r\n" in self._received:
            self._answered = True
            self._delivery.send(self._faulty_response(), self._end)

    def _faulty_response(self) -> bytes:
        status = next((status for fault, status in _STATUS_FAULTS.items() if fault in self._faults), None)
        if status is not None:
            return page("", status)
        return page("") if Fault.EMPTY_BODY in self._faults else self._response

    def _end(self) -> None:
        if Fault.KEEP_OPEN not in self._faults:
            self._transport.close()
