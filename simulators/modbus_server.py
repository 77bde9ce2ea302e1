"""A small Modbus TCP server whose every byte can be spoiled on purpose.

Registers are 16-bit words under 0-based addresses, as in the protocol data unit. Functions 3 and 4 read the same words.
Faults are switched at run time and act on the wire exactly as named; see `WireFault`.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum, unique

import numpy as np
import numpy.typing as npt

from simulators.listening import accept_no_more, accepted

READ_HOLDING = 3
READ_INPUT = 4
MAX_WORDS = 125
HEADER = struct.Struct(">HHHB")
ILLEGAL_FUNCTION, ILLEGAL_ADDRESS, ILLEGAL_VALUE, GATEWAY_NO_RESPONSE = 1, 2, 3, 0x0B
GARBAGE_BYTES = bytes.fromhex("ff00deadbeefcafe5aa5") * 3


@unique
class WireKind(StrEnum):
    """What goes wrong between the registers and the wire."""

    EXCEPTION = "exception"  # every read is answered with exception `code`
    WRONG_UNIT = "wrong_unit"  # reply carries another unit id
    WRONG_FUNCTION = "wrong_function"  # reply carries the other read function, data as asked
    SHORT_REPLY = "short_reply"  # one register fewer than asked, byte count consistent
    GARBAGE = "garbage"  # bytes that are no frame
    HALF_FRAME = "half_frame"  # first half of the right reply, then silence
    RESET = "reset"  # connection reset instead of a reply
    SILENT = "silent"  # connection stays, no reply ever
    DELAY = "delay"  # right reply, `delay_s` late
    REFUSED = "refused"  # listening socket closed, open connections reset


@dataclass(frozen=True, slots=True)
class WireFault:
    """One fault of the wire. `code` counts for EXCEPTION, `delay_s` for DELAY."""

    kind: WireKind
    code: int = GATEWAY_NO_RESPONSE
    delay_s: float = 0.0


class RegisterBank:
    """16-bit words in readable ranges.

    Args:
        ranges: readable ranges (first address, number of words). A read outside them is an illegal address.
    """

    def __init__(self, ranges: tuple[tuple[int, int], ...]) -> None:
        self._ranges = ranges
        self._words: npt.NDArray[np.uint16] = np.zeros(max(first + count for first, count in ranges), dtype=np.uint16)

    def read(self, address: int, count: int) -> bytes | None:
        """Return `count` words as big-endian bytes, or None when any of them is not readable."""
        if not any(first <= address and address + count <= first + size for first, size in self._ranges):
            return None
        return self._words[address : address + count].astype(">u2").tobytes()

    def _put(self, address: int, raw: bytes) -> None:
        words = np.frombuffer(raw, dtype=">u2")
        self._words[address : address + len(words)] = words

    def put_u16(self, address: int, value: int) -> None:
        """Write an unsigned 16-bit number, wrapping as a counter does."""
        self._put(address, struct.pack(">H", value & 0xFFFF))

    def put_u32(self, address: int, value: int) -> None:
        """Write an unsigned 32-bit number, high word first."""
        self._put(address, struct.pack(">I", value & 0xFFFFFFFF))

    def put_i32(self, address: int, value: int) -> None:
        """Write a signed 32-bit number, high word first."""
        self._put(address, struct.pack(">i", value))

    def put_f32(self, address: int, value: float) -> None:
        """Write a 32-bit float, high word first."""
        self._put(address, struct.pack(">f", value))

    def put_f64(self, address: int, value: float) -> None:
        """Write a 64-bit float, high word first."""
        self._put(address, struct.pack(">d", value))


class ModbusServer:
    """Serves one register bank to any number of clients.

    Args:
        bank: the registers.
        unit_id: the unit it answers for; others get gateway exception 0x0B. None answers every unit id.
        host, port: where to listen; port 0 takes a free one, see `address` after `start`.

    Raises:
        OSError: from `start`, when the address cannot be bound.
    """

    def __init__(self, bank: RegisterBank, unit_id: int | None, host: str, port: int) -> None:
        self.bank = bank
        self.unit_id = unit_id
        self.requests = 0
        self._host = host
        self._port = port
        self._fault: WireFault | None = None
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, the real port once started."""
        return self._host, self._port

    async def start(self) -> None:
        """Listen. The port found for port 0 is kept, so that a refused server comes back at the same address."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port)
        self._port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, reset all connections and wait for their tasks."""
        await self._close_listener()
        self._reset_all()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted transports close their sockets in the loop's next pass

    async def set_fault(self, fault: WireFault | None) -> None:
        """Switch the fault; None heals it. Leaving REFUSED listens on the same port again."""
        self._fault = fault
        if fault is not None and fault.kind is WireKind.REFUSED:
            await self._close_listener()
            self._reset_all()
        elif self._server is None:
            await self.start()

    async def _close_listener(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            accept_no_more(server)
            await accepted()
            server.close()
            await asyncio.sleep(0)  # let the loop drop the listening socket before anybody connects again

    def _reset_all(self) -> None:
        for writer in list(self._writers):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        with contextlib.suppress(socket.error):
            writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            while await self._answer_one(reader, writer):
                pass
        except (OSError, asyncio.IncompleteReadError):
            pass  # the client left; a meter does not mind
        except asyncio.CancelledError:
            pass  # `stop`; asyncio's streams of Python 3.11 would print a cancelled task as an error
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False ends the connection."""
        header = await reader.readexactly(HEADER.size)
        transaction, protocol, length, unit = HEADER.unpack(header)
        if protocol != 0 or not 2 <= length <= 254:
            return False
        pdu = await reader.readexactly(length - 1)
        self.requests += 1
        fault = self._fault
        if fault is None:
            writer.write(self._frame(transaction, unit, self._reply(unit, pdu)))
        elif not await self._spoil(fault, writer, transaction, unit, pdu):
            return False
        await writer.drain()
        return True

    def _reply(self, unit: int, pdu: bytes) -> bytes:
        function = pdu[0]
        if self.unit_id is not None and unit != self.unit_id:
            return _exception(function, GATEWAY_NO_RESPONSE)
        if function not in (READ_HOLDING, READ_INPUT):
            return _exception(function, ILLEGAL_FUNCTION)
        if len(pdu) != 5:
            return _exception(function, ILLEGAL_VALUE)
        address, count = struct.unpack(">HH", pdu[1:])
        if not 1 <= count <= MAX_WORDS:
            return _exception(function, ILLEGAL_VALUE)
        data = self.bank.read(address, count)
        if data is None:
            return _exception(function, ILLEGAL_ADDRESS)
        return bytes((function, len(data))) + data

    @staticmethod
    def _frame(transaction: int, unit: int, pdu: bytes) -> bytes:
        return HEADER.pack(transaction, 0, len(pdu) + 1, unit) + pdu

    async def _spoil(
        self, fault: WireFault, writer: asyncio.StreamWriter, transaction: int, unit: int, pdu: bytes
    ) -> bool:
        """Send what the fault makes of the right reply; False ends the connection."""
        spoilers: dict[WireKind, Callable[[bytes], bytes]] = {
            WireKind.EXCEPTION: lambda _: self._frame(transaction, unit, _exception(pdu[0], fault.code)),
            WireKind.WRONG_UNIT: lambda good: self._frame(transaction, (unit + 1) % 256, good),
            WireKind.WRONG_FUNCTION: lambda good: self._frame(transaction, unit, _other_function(good)),
            WireKind.SHORT_REPLY: lambda good: self._frame(transaction, unit, _one_word_less(good)),
            WireKind.GARBAGE: lambda _: GARBAGE_BYTES,
            WireKind.HALF_FRAME: lambda good: self._frame(transaction, unit, good)[: (HEADER.size + len(good)) // 2],
            WireKind.SILENT: lambda _: b"",
            WireKind.DELAY: lambda good: self._frame(transaction, unit, good),
        }
        if fault.kind in (WireKind.RESET, WireKind.REFUSED):
            _reset(writer)
            return False
        if fault.kind is WireKind.DELAY:
            await asyncio.sleep(fault.delay_s)
        writer.write(spoilers[fault.kind](self._reply(unit, pdu)))
        return True


def _exception(function: int, code: int) -> bytes:
    return bytes((function | 0x80, code))


def _other_function(reply: bytes) -> bytes:
    """Return the reply under the other read function; an exception stays as it is."""
    other = {READ_HOLDING: READ_INPUT, READ_INPUT: READ_HOLDING}.get(reply[0], reply[0])
    return bytes((other,)) + reply[1:]


def _one_word_less(reply: bytes) -> bytes:
    if reply[0] & 0x80 or len(reply) < 4:
        return reply
    return bytes((reply[0], reply[1] - 2)) + reply[2:-2]


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST instead of FIN."""
    connection = writer.get_extra_info("socket")
    if connection is not None:
        with contextlib.suppress(OSError):
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
