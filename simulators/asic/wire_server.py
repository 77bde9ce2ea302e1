"""Simulated miners on TCP: a listening port each, faults applied to accepting, answering and closing.

What is said stays with the firmware (`ApiFirmware`); this module knows JSON, sockets and the faults that need no
firmware. A web port beside it may speak anything: see `WebProtocol`, and `StaticPage` for the smallest.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeAlias

from simulators.asic.bank import MinerBank
from simulators.asic.delivery import Delivery, is_silent, reset
from simulators.asic.port import Port
from simulators.asic.wirelog import WireLog
from simulators.faults import Fault, FaultSet

MAX_REQUEST_BYTES: Final = 8_192
IDLE_S: Final = 10.0
"""A client that has not finished its request by then is dropped."""
LINGER_S: Final = 1.0
"""How long a client may take to close after our end of the reply; closing at once could reset what it still sends."""

Reply: TypeAlias = dict[str, Any]
"""A JSON object on its way out."""

WebProtocol: TypeAlias = Callable[[set[asyncio.Transport]], asyncio.BaseProtocol]
"""Makes the protocol of one connection to a web port. It keeps its transport in the given set while it is open."""


class ApiFirmware(Protocol):
    """The firmware of miner `index` of `bank`, as the wire sees it."""

    @property
    def bank(self) -> MinerBank:
        """The physics it sits on."""

    @property
    def index(self) -> int:
        """Its miner's place in the bank."""

    @property
    def faults(self) -> FaultSet:
        """What is wrong with it."""

    @property
    def log(self) -> WireLog:
        """What it was told."""

    def answer(self, request: object, at_s: float) -> Reply | None:
        """The reply to a decoded request whose first byte arrived at `at_s` (CLOCK_MONOTONIC).

        `request` None stands for bytes that are no JSON. The answer None says nothing and resets the connection, as a
        device does that goes down under its client (`reboots_on_write`).
        """


def encode(reply: Reply) -> bytes:
    """A reply as it goes on the wire: compact JSON, no terminator."""
    return json.dumps(reply, separators=(",", ":")).encode()


def reboots_on_write(firmware: ApiFirmware) -> bool:
    """Whether the write that has just arrived makes the device reboot; if so it reboots now and the write is lost."""
    if Fault.REBOOT_ON_WRITE not in firmware.faults:
        return False
    firmware.bank.reboot(firmware.index)
    return True


def is_unreachable(firmware: ApiFirmware) -> bool:
    """Whether a connection is reset as soon as it is made, or with the next bytes on one that is kept."""
    return Fault.RESET in firmware.faults or bool(firmware.bank.is_rebooting[firmware.index])


class _Connection(asyncio.Protocol):
    """One request, one reply, closed by us."""

    def __init__(self, firmware: ApiFirmware, open_transports: set[asyncio.Transport]) -> None:
        self._firmware = firmware
        self._faults = firmware.faults
        self._open = open_transports
        self._received = bytearray()
        self._first_byte_at_s = 0.0
        self._answered = False
        self._client_done = False
        self._ended = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream server always passes
        self._transport = transport
        self._delivery = Delivery(self._faults, transport)
        self._open.add(transport)
        self._firmware.log.connections += 1
        if is_unreachable(self._firmware):
            reset(transport)
        elif not is_silent(self._faults):
            self._delivery.later(IDLE_S, transport.abort)

    def connection_lost(self, exc: Exception | None) -> None:
        self._delivery.cancel()
        self._open.discard(self._transport)

    def data_received(self, data: bytes) -> None:
        if not self._received:
            self._first_byte_at_s = WireLog.now_s()
        if self._answered or is_silent(self._faults):
            return
        self._received += data
        if len(self._received) > MAX_REQUEST_BYTES:
            self._answer(None)
            return
        self._try_answer(at_end=False)

    def eof_received(self) -> bool:
        self._client_done = True
        if self._ended:
            return False
        # Also when the fault that kept it open is over by now.
        unending = self._delivery.spoiled_by(Fault.KEEP_OPEN) or self._delivery.spoiled_by(Fault.SLOW_LORIS)
        endless = unending or not self._delivery.is_busy
        if is_silent(self._faults) or (self._answered and endless):
            return False  # nothing will come: a client that leaves must not cost a socket for ever
        if not self._answered:
            self._try_answer(at_end=True)
        return True  # a half-closed client still gets its answer; we close

    def _try_answer(self, *, at_end: bool) -> None:
        text = self._received.decode("utf-8", errors="replace").strip(" \t\r\n\0")
        try:
            request, _ = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):  # ValueError also for an integer of thousands of digits
            # Anything that can still become a request gets the time to.
            hopeless = bool(text) and (not text.startswith("{") or _looks_complete(text))
            if at_end or hopeless:
                self._answer(None)
            return
        self._answer(request)

    def _answer(self, request: object) -> None:
        self._answered = True
        writes_before = len(self._firmware.log.writes)
        reply = self._firmware.answer(request, self._first_byte_at_s)
        is_write = len(self._firmware.log.writes) > writes_before
        if reply is None:
            reset(self._transport)
            return
        self._delivery.cancel()
        empty = self._faults.spoils(Fault.EMPTY_BODY, write=is_write)
        self._delivery.send(b"{}" if empty else encode(reply), self._end, to_write=is_write)

    def _end(self) -> None:
        if self._delivery.spoiled_by(Fault.KEEP_OPEN):
            return
        if self._client_done:
            self._transport.close()
            return
        self._ended = True
        try:
            self._transport.write_eof()
        except OSError:  # the client has reset it, and the loop has not told us yet
            self._transport.abort()
            return
        self._delivery.later(LINGER_S, self._transport.close)


def _looks_complete(text: str) -> bool:
    return text.endswith("}") and text.count("{") <= text.count("}")


class FirmwareServer:
    """One miner on its ports: its API, and a web port where it has one. Port 0 takes a free one."""

    def __init__(
        self,
        firmware: ApiFirmware,
        *,
        host: str,
        port: int,
        web: WebProtocol | None = None,
        web_port: int = 0,
    ) -> None:
        self.firmware: Final = firmware
        self._transports: set[asyncio.Transport] = set()
        self.api: Final = Port(host, port, lambda: _Connection(firmware, self._transports))
        self.web: Final = None if web is None else Port(host, web_port, lambda: web(self._transports))
        self._ports: Final = tuple(each for each in (self.api, self.web) if each is not None)
        self._running = False
        firmware.faults.listen(self._on_fault)

    async def start(self) -> None:
        """Listen on every port. Raises OSError when one cannot be had."""
        try:
            for each in self._ports:
                await each.open()
        except OSError:
            self._close()
            raise
        self._running = True
        self._follow_faults()

    def accept_no_more(self) -> None:
        """Before `stop`: see simulators/listening."""
        for each in self._ports:
            each.accept_no_more()

    def stop(self) -> None:
        """Close the ports and drop every client."""
        self._running = False
        self._close()
        self._drop_clients()

    def _drop_clients(self) -> None:
        for transport in tuple(self._transports):
            transport.abort()

    def _close(self) -> None:
        for each in self._ports:
            each.close()

    def _on_fault(self, fault: Fault, is_on: bool) -> None:
        if fault is Fault.POWER_LOSS:
            (self.firmware.bank.lose_power if is_on else self.firmware.bank.get_power)(self.firmware.index)
        if self._running and fault in (Fault.REFUSE, Fault.BLACK_HOLE, Fault.POWER_LOSS):
            self._follow_faults()

    def _follow_faults(self) -> None:
        for each in self._ports:
            if Fault.REFUSE in self.firmware.faults:
                each.close()
            elif Fault.BLACK_HOLE in self.firmware.faults or Fault.POWER_LOSS in self.firmware.faults:
                each.vanish()
            else:
                each.reopen()
        if Fault.REFUSE in self.firmware.faults or Fault.POWER_LOSS in self.firmware.faults:
            self._drop_clients()  # nobody listens because nobody is there: kept connections are gone as well
