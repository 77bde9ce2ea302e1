"""Bytes on their way to a client: late, slowly, cut short, spoiled or reset, as the faults have it."""

import asyncio
import socket
import struct
from collections.abc import Callable
from typing import Final

from simulators.faults import Fault, FaultSet

GARBAGE: Final = b"\x16\x03\x01\x00\xfe\xc3\x28{]\x00,garbage\xff\xfe"

_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)


def reset(transport: asyncio.Transport) -> None:
    """Close with RST instead of FIN."""
    sock: socket.socket = transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    transport.abort()


def is_silent(faults: FaultSet) -> bool:
    """Whether nothing is answered on a connection that is open already."""
    return Fault.HANG in faults or Fault.BLACK_HOLE in faults


class Delivery:
    """Hands bytes to a transport as late, as slowly and as completely as the faults have it."""

    def __init__(self, faults: FaultSet, transport: asyncio.Transport) -> None:
        self._faults = faults
        self._transport = transport
        self._timer: asyncio.TimerHandle | None = None
        self._to_write = False

    def spoiled_by(self, fault: Fault) -> bool:
        """Whether `fault` bites the answer handed over last."""
        return self._faults.spoils(fault, write=self._to_write)

    def send(self, data: bytes, sent: Callable[[], None], *, to_write: bool = False) -> None:
        """Send `data`, then call `sent`; that may be within this call, or never when the data never ends.

        to_write: it is the answer to a write, which some faults are kept to.
        """
        self._to_write = to_write
        if self.spoiled_by(Fault.HANG):
            return
        if self.spoiled_by(Fault.RESET):
            reset(self._transport)
            return
        if self.spoiled_by(Fault.GARBAGE):
            data = GARBAGE
        if self.spoiled_by(Fault.TRUNCATE):
            data = data[: len(data) // 2]
        delay_s = self._faults.seconds(Fault.DELAY) if self.spoiled_by(Fault.DELAY) else 0.0
        if delay_s > 0:
            self.later(delay_s, lambda: self._pour(data, sent))
        else:
            self._pour(data, sent)

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Call `act` after so long; whatever was to come before is forgotten."""

        def due() -> None:
            self._timer = None
            act()

        self.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, due)

    @property
    def is_busy(self) -> bool:
        """Whether anything is still to come."""
        return self._timer is not None

    def cancel(self) -> None:
        """Forget whatever was to come."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _pour(self, data: bytes, sent: Callable[[], None]) -> None:
        slow = next((fault for fault in (Fault.SLOW_LORIS, Fault.DRIP) if self.spoiled_by(fault)), None)
        if slow is None or not data:
            self._transport.write(data)
            sent()
            return
        if slow is Fault.SLOW_LORIS and len(data) == 1:
            return  # the last byte never comes
        self._transport.write(data[:1])
        self.later(self._faults.seconds(slow), lambda: self._pour(data[1:], sent))
