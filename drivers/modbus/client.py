"""The one door to pymodbus: registers of one Modbus TCP unit, with a guard around what the library does on faults.

Measured on pymodbus 3.16.1: a FIN or RST during a request is not reported to the waiting reader, a first connect that
fails is never repeated, and a reconnect waits up to 300 s. So each connection gets a client of its own that never
reconnects and never times out by itself; the loss of the connection, the deadline, the shape of the reply and the next
attempt are all watched here. No type and no exception of pymodbus leaves this module.
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.pdu import ModbusPDU

from controller.domain.metering import MeterError, MeterFault
from drivers.modbus.frame import Asked, fault_in, stranger_in
from drivers.modbus.maps.model import Function

# The library prints hex dumps of every bad frame; what matters of them is in the MeterError.
logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)

_NEVER_S = 86_400.0  # the library's own timer, which serves connect and reply: ours always ends first
_TIMEOUTS_TO_DROP = 2  # in a row: one may be a lost answer, two are a half-open connection until proved otherwise

_EXCEPTIONS: dict[int, tuple[MeterFault, str]] = {
    1: (MeterFault.CONFIGURATION, "illegal function: check 'function' in the register map"),
    2: (
        MeterFault.CONFIGURATION,
        "illegal data address: check map, meter model and firmware; some meters (ION) answer so when access is blocked",
    ),
    3: (MeterFault.CONFIGURATION, "illegal data value: the meter does not serve a block of this length or start"),
    4: (MeterFault.DEVICE_EXCEPTION, "device failure"),
    5: (MeterFault.DEVICE_EXCEPTION, "acknowledged, still working"),
    6: (MeterFault.DEVICE_EXCEPTION, "device busy"),
    10: (MeterFault.DEVICE_EXCEPTION, "gateway path unavailable"),
    11: (MeterFault.DEVICE_EXCEPTION, "gateway got no answer from the device behind it"),
}


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between two connection attempts: doubled from `first_s` to `longest_s`, each cut by up to half at random.

    The random part keeps the clients of one gateway from returning in step after it restarts. The pause falls back to
    `first_s` only after a good reply, so that a peer that accepts and hangs up is not hammered.
    """

    first_s: float
    longest_s: float

    def __post_init__(self) -> None:
        if not 0 < self.first_s <= self.longest_s:
            raise ValueError(f"back-off needs 0 < first_s <= longest_s, got {self.first_s} and {self.longest_s}")

    def pause_s(self, failures: int) -> float:
        """Seconds to wait after `failures` attempts in a row (1 or more) that brought no good reply."""
        full_s = min(self.longest_s, self.first_s * 2.0 ** min(failures - 1, 32))
        return full_s * random.uniform(0.5, 1.0)


class RegisterClient:
    """Reads register blocks from one unit at `host:port`, one request at a time; reconnects by itself until closed."""

    def __init__(
        self,
        *,
        meter_id: str,
        host: str,
        port: int,
        unit_id: int,
        deadline_s: float,
        connect_deadline_s: float,
        backoff: Backoff,
    ) -> None:
        """Opens nothing; the first read does. `unit_id` is 0..255, both deadlines are seconds above 0."""
        if not 0 <= unit_id <= 255:
            raise ValueError(f"{meter_id}: unit_id {unit_id} is outside 0..255")
        if deadline_s <= 0 or connect_deadline_s <= 0:
            raise ValueError(f"{meter_id}: deadlines must be above 0 s, got {deadline_s} and {connect_deadline_s}")
        self._where = f"{meter_id} at {host}:{port} unit {unit_id}"
        self._host = host
        self._port = port
        self._unit_id = unit_id
        self._deadline_s = deadline_s
        self._connect_deadline_s = connect_deadline_s
        self._backoff = backoff
        self._turn = asyncio.Lock()
        self._attempted = asyncio.Event()
        self._link: _Link | None = None
        self._down = MeterError(MeterFault.DISCONNECTED, f"{self._where}: not connected yet")
        self._supervisor: asyncio.Task[None] | None = None
        self._closing = asyncio.Event()
        self._connections = 0

    @property
    def where(self) -> str:
        """Meter, address and unit, for messages."""
        return self._where

    @property
    def connections(self) -> int:
        """How many connections were made so far. While it stays the same, the same one answers."""
        return self._connections

    async def read(self, function: Function, address: int, count: int, by: float | None = None) -> tuple[int, ...]:
        """`count` registers from the 0-based PDU `address`, each 0..65535.

        by: loop seconds at which to give up, where that is sooner than this client's deadline.
        Raises MeterError and nothing else, within the deadline; at once while disconnected. Only the very first read
        waits, inside its deadline, for the first connection attempt to end.
        """
        if self._closing.is_set():
            raise MeterError(MeterFault.DISCONNECTED, f"{self._where}: closed")
        if self._supervisor is None:
            self._supervisor = asyncio.create_task(self._supervise(), name=f"modbus {self._where}")
        now = asyncio.get_running_loop().time()
        deadline = now + self._deadline_s if by is None else min(by, now + self._deadline_s)
        try:
            async with asyncio.timeout_at(deadline):
                await self._attempted.wait()
                await self._turn.acquire()
        except TimeoutError:
            doing = "for an earlier read to end" if self._attempted.is_set() else "to connect"
            detail = f"{self._where}: waited {self._deadline_s:g} s {doing}"
            raise MeterError(MeterFault.TIMEOUT, detail) from None
        try:
            if self._link is None or self._link.ended.is_set():
                raise MeterError(self._down.fault, self._down.detail)
            return await self._link.ask(function, address, count, deadline)
        finally:
            self._turn.release()

    async def close(self) -> None:
        """End reads in flight with DISCONNECTED and leave no task and no socket. May be called more than once."""
        self._closing.set()
        self._down = MeterError(MeterFault.DISCONNECTED, f"{self._where}: closed")
        self._attempted.set()
        if self._link is not None:
            self._link.end(self._down)
        if self._supervisor is not None:
            self._supervisor.cancel()
            await asyncio.wait((self._supervisor,))
            await asyncio.sleep(0)  # asyncio closes the socket one turn of the loop after its transport

    async def _supervise(self) -> None:
        failures = 0
        # The library connects with wait_for, which on Python 3.11 can lose a cancellation; hence `_closing` as well.
        while not self._closing.is_set():
            link = _Link(self._where, self._unit_id)
            try:
                await link.connect(self._host, self._port, self._connect_deadline_s)
                if self._closing.is_set():
                    return
                self._down = MeterError(MeterFault.DISCONNECTED, f"{self._where}: connection lost")
                self._link = link
                self._connections += 1
                self._attempted.set()
                ended = await link.wait_ended()
                lost = f"{self._where}: reconnecting; the last connection ended with {ended.fault}: {ended.detail}"
                self._down = MeterError(MeterFault.DISCONNECTED, lost)
            except MeterError as error:
                self._down = error
                self._attempted.set()
            finally:
                self._link = None
                link.close()
            failures = 1 if link.served else failures + 1
            await asyncio.sleep(self._backoff.pause_s(failures))


class _Link:
    """One TCP connection from its first octet to its end. `ended` is set once, with the reason, and never cleared."""

    def __init__(self, where: str, unit_id: int) -> None:
        self.ended = asyncio.Event()
        self.served = False
        self._where = where
        self._unit_id = unit_id
        self._reason = MeterError(MeterFault.DISCONNECTED, f"{where}: open")
        self._client: AsyncModbusTcpClient | None = None
        self._asking: tuple[Function, int] | None = None
        self._asked: Asked | None = None
        self._stranger: int | None = None
        self._request: asyncio.Task[ModbusPDU | MeterError] | None = None
        self._timeouts = 0

    async def connect(self, host: str, port: int, deadline_s: float) -> None:
        """Raises MeterError: REFUSED when the attempt was turned down, DISCONNECTED when nothing answered in time."""
        try:
            async with asyncio.timeout(deadline_s):
                self._client = AsyncModbusTcpClient(
                    host,
                    port=port,
                    timeout=_NEVER_S,
                    retries=0,
                    reconnect_delay=0,
                    trace_connect=self._on_connection,
                    trace_packet=self._on_packet,
                )
                accepted = await self._client.connect()
        except TimeoutError:
            detail = f"{self._where}: no answer to the connection attempt in {deadline_s:g} s; check cable and firewall"
            raise MeterError(MeterFault.DISCONNECTED, detail) from None
        except Exception as error:  # the library's door: whatever it raises is a failed attempt
            raise MeterError(MeterFault.REFUSED, f"{self._where}: cannot connect: {error!r}") from error
        if not accepted:  # the library keeps the errno to itself
            detail = (
                f"{self._where}: connection refused or address unreachable; check host, port and whether it listens"
            )
            raise MeterError(MeterFault.REFUSED, detail)

    async def ask(self, function: Function, address: int, count: int, deadline: float) -> tuple[int, ...]:
        """One request; `deadline` in loop seconds. The caller takes care that no other one is in flight."""
        request = asyncio.ensure_future(self._send(function, address, count))
        self._request = request
        try:
            await asyncio.wait((request,), timeout=deadline - asyncio.get_running_loop().time())
            if request.done() and not request.cancelled():
                return self._judge(request.result(), address, count)
        finally:
            self._request = None
            request.cancel()
        if self.ended.is_set():
            raise MeterError(self._reason.fault, self._reason.detail)
        self._timeouts += 1
        detail = f"{self._where}: no answer for registers {address}..{address + count - 1}"
        if self._stranger is not None:
            detail += f"; unit {self._stranger} answered instead: check unit_id, and what else has this address"
        late = MeterError(MeterFault.TIMEOUT, detail)
        if self._timeouts >= _TIMEOUTS_TO_DROP:
            self.end(late)
        raise late

    def end(self, reason: MeterError) -> None:
        """Mark the connection unusable and wake the read in flight; its owner then closes it."""
        if self.ended.is_set():
            return
        self._reason = reason
        self.ended.set()
        if self._request is not None:
            self._request.cancel()

    async def wait_ended(self) -> MeterError:
        await self.ended.wait()
        return self._reason

    def close(self) -> None:
        if self._client is not None:
            self._client.close()

    async def _send(self, function: Function, address: int, count: int) -> ModbusPDU | MeterError:
        """Errors are returned: a task that is given up on must not leave an exception nobody fetches."""
        assert self._client is not None  # noqa: S101  # ask() comes after connect()
        self._asking = (function, count)
        try:
            read = (
                self._client.read_holding_registers
                if function is Function.HOLDING
                else self._client.read_input_registers
            )
            return await read(address, count=count, device_id=self._unit_id)
        except Exception as error:  # noqa: BLE001  # the library's door
            return MeterError(MeterFault.WRONG_REPLY, f"{self._where}: {error!r}")

    def _judge(self, reply: ModbusPDU | MeterError, address: int, count: int) -> tuple[int, ...]:
        if isinstance(reply, MeterError):
            self.end(reply)
            raise MeterError(self._reason.fault, self._reason.detail)
        self._timeouts = 0
        self.served = True
        if reply.isError():
            unknown = (MeterFault.DEVICE_EXCEPTION, "unknown exception")
            fault, text = _EXCEPTIONS.get(reply.exception_code, unknown)
            detail = f"{self._where}: exception {reply.exception_code} for registers {address}..{address + count - 1}"
            raise MeterError(fault, f"{detail}: {text}")
        return tuple(reply.registers)

    def _on_connection(self, up: bool) -> None:
        if not up:
            self.end(MeterError(MeterFault.DISCONNECTED, f"{self._where}: the other side closed the connection"))

    def _on_packet(self, sending: bool, octets: bytes) -> bytes:
        """The library shows every packet sent, and all octets received so far; what it gets back is what it parses."""
        if sending:
            if self._asking is not None:
                function, count = self._asking
                self._asked = Asked(int.from_bytes(octets[:2], "big"), self._unit_id, function.code, count)
                self._stranger = None
            return octets
        fault = fault_in(octets, self._asked)
        if fault is None and not self.ended.is_set():
            self._stranger = stranger_in(octets, self._asked)
            return octets
        self.end(MeterError(MeterFault.WRONG_REPLY, f"{self._where}: {fault}; connection dropped"))
        return b""
