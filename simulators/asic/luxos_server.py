"""Simulated LuxOS miners on TCP: one listening port each, faults applied to accepting, answering and closing."""

import asyncio
import json
import socket
import struct
from collections.abc import Callable
from typing import Final

from simulators.asic.luxos import LuxOSMiner, encode, invalid_json
from simulators.asic.wirelog import WireLog
from simulators.faults import Fault

MAX_REQUEST_BYTES: Final = 8_192
IDLE_S: Final = 10.0
"""A client that has not finished its request by then is dropped."""
LINGER_S: Final = 1.0
"""How long a client may take to close after our end of the reply; closing at once could reset what it still sends."""

_GARBAGE: Final = b"\x16\x03\x01\x00\xfe\xc3\x28{]\x00,garbage\xff\xfe"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
_WEB_BODY: Final = b"<!doctype html><html><head><title>LuxOS</title></head><body>Luxor Firmware</body></html>\n"
_WEB_PAGE: Final = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n"
    b"Content-Length: " + str(len(_WEB_BODY)).encode() + b"\r\n\r\n" + _WEB_BODY
)


def _reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


class _Connection(asyncio.Protocol):
    """One request, one reply, closed by us."""

    def __init__(self, miner: LuxOSMiner, open_transports: set[asyncio.Transport]) -> None:
        self._miner = miner
        self._open = open_transports
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._first_byte_at_s = 0.0
        self._answered = False
        self._client_done = False
        self._ended = False
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server always passes
        self._transport = transport
        self._open.add(transport)
        self._miner.log.connections += 1
        faults = self._miner.faults
        if Fault.RESET in faults or self._miner.bank.is_rebooting[self._miner.index]:
            _reset(transport)
        elif Fault.HANG not in faults:
            self._timer = asyncio.get_running_loop().call_later(IDLE_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_timer()
        if self._transport is not None:
            self._open.discard(self._transport)
            self._transport = None

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._first_byte_at_s = WireLog.now_s()
        if self._answered or Fault.HANG in self._miner.faults:
            return
        self._received += data
        if len(self._received) > MAX_REQUEST_BYTES:
            self._reply(encode(invalid_json()))
            return
        self._try_answer(at_end=False)

    def eof_received(self) -> bool:
        self._client_done = True
        if self._ended:
            return False
        faults = self._miner.faults
        if Fault.HANG in faults or (self._answered and Fault.KEEP_OPEN in faults):
            return False  # nothing will come: a client that leaves must not cost a socket for ever
        if not self._answered:
            self._try_answer(at_end=True)
        return True  # a half-closed client still gets its answer; we close

    def _try_answer(self, *, at_end: bool) -> None:
        text = self._received.decode("utf-8", errors="replace").strip(" \t\r\n\0")
        try:
            request, _ = json.JSONDecoder().raw_decode(text)
        except (json.JSONDecodeError, RecursionError):
            # Anything that can still become a request gets the time to.
            hopeless = bool(text) and (not text.startswith("{") or _looks_complete(text))
            if at_end or hopeless:
                self._reply(encode(invalid_json()))
            return
        self._reply(encode(self._miner.answer(request, self._first_byte_at_s)))

    def _reply(self, data: bytes) -> None:
        self._answered = True
        self._stop_timer()
        faults = self._miner.faults
        if Fault.GARBAGE in faults:
            data = _GARBAGE
        if Fault.TRUNCATE in faults:
            data = data[: len(data) // 2]
        if Fault.DELAY in faults:
            self._later(faults.seconds(Fault.DELAY), lambda: self._send(data))
        else:
            self._send(data)

    def _send(self, data: bytes) -> None:
        if self._transport is None:
            return
        if Fault.DRIP in self._miner.faults and data:
            self._transport.write(data[:1])
            self._later(self._miner.faults.seconds(Fault.DRIP), lambda: self._send(data[1:]))
            return
        self._transport.write(data)
        if Fault.KEEP_OPEN not in self._miner.faults:
            self._end(self._transport)

    def _end(self, transport: asyncio.Transport) -> None:
        if self._client_done:
            transport.close()
            return
        self._ended = True
        transport.write_eof()
        self._later(LINGER_S, transport.close)

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, act)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _looks_complete(text: str) -> bool:
    return text.endswith("}") and text.count("{") <= text.count("}")


class _WebPage(asyncio.Protocol):
    """The smallest page that says whose firmware this is: enough for identification."""

    def __init__(self, open_transports: set[asyncio.Transport]) -> None:
        self._open = open_transports
        self._received = bytearray()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server always passes
        self._transport = transport
        self._open.add(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        self._received += data
        if len(self._received) > MAX_REQUEST_BYTES:
            self._transport.abort()
        elif b"\r\n\r\n" in self._received:
            self._transport.write(_WEB_PAGE)
            self._transport.close()


class Port:
    """A listening port that can be closed and opened again at the same number."""

    def __init__(self, host: str, port: int, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self.host: Final = host
        self.port = port
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._reopening: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Listen; port 0 becomes the number given by the system. Raises OSError when the port cannot be had."""
        await self._serve(self._listen())

    def close(self) -> None:
        """Stop listening; open connections stay."""
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()  # bound, but its serving task has not run yet
            if self._reopening is not None:
                self._reopening.cancel()
        self._server = self._socket = None

    def reopen(self) -> None:
        """Listen again, from now on. Raises OSError when the port cannot be had."""
        if self._socket is None:
            self._reopening = asyncio.get_running_loop().create_task(self._serve(self._listen()))

    def _listen(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
            sock.listen(128)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        self._socket = sock
        return sock

    async def _serve(self, sock: socket.socket) -> None:
        # With a socket given and serving put off, this does not suspend: from here on the server owns the socket.
        self._server = await asyncio.get_running_loop().create_server(self._protocol, sock=sock, start_serving=False)
        await self._server.start_serving()


class LuxOSServer:
    """One miner on its ports: 4028 or an ephemeral one, and the web page where asked for."""

    def __init__(self, miner: LuxOSMiner, *, host: str, port: int, web_port: int | None) -> None:
        self.miner: Final = miner
        self._transports: set[asyncio.Transport] = set()
        self.api: Final = Port(host, port, lambda: _Connection(miner, self._transports))
        self.web: Final = None if web_port is None else Port(host, web_port, lambda: _WebPage(self._transports))
        miner.faults.listen(self._on_fault)

    async def start(self) -> None:
        """Listen on every port. Raises OSError when one cannot be had."""
        await self.api.open()
        if self.web is not None:
            try:
                await self.web.open()
            except OSError:
                self.api.close()
                raise

    def stop(self) -> None:
        """Close the ports and drop every client."""
        self._close_ports()
        for transport in tuple(self._transports):
            transport.abort()

    def _close_ports(self) -> None:
        self.api.close()
        if self.web is not None:
            self.web.close()

    def _on_fault(self, fault: Fault, is_on: bool) -> None:
        if fault is not Fault.REFUSE:
            return
        if is_on:
            self._close_ports()
            return
        self.api.reopen()
        if self.web is not None:
            self.web.reopen()
