"""A Modbus TCP peer of the tests' own, byte by byte, so that it shares nothing with driver or simulator."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from controller.domain.metering import MeterError, MeterFault
from drivers.modbus.client import RegisterClient
from drivers.modbus.maps.model import Function

WORDS = tuple(range(100, 225))


@dataclass(frozen=True)
class Request:
    transaction: int
    unit_id: int
    function: int
    address: int
    count: int

    def data(self) -> bytes:
        """The right registers: the one at address a holds 100 + a."""
        return struct.pack(f">{self.count}H", *WORDS[self.address : self.address + self.count])

    def frame(self, pdu: bytes, *, transaction: int | None = None, unit_id: int | None = None) -> bytes:
        number = self.transaction if transaction is None else transaction
        unit = self.unit_id if unit_id is None else unit_id
        return struct.pack(">HHHB", number, 0, len(pdu) + 1, unit) + pdu

    def good(self) -> bytes:
        data = self.data()
        return self.frame(bytes((self.function, len(data))) + data)


Respond = Callable[[Request, asyncio.StreamWriter], Awaitable[None]]


async def answer(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(request.good())


def saying(make: Callable[[Request], bytes]) -> Respond:
    """A peer whose reply is the octets that `make` returns."""

    async def respond(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(make(request))

    return respond


async def stay_silent(request: Request, writer: asyncio.StreamWriter) -> None:
    """No reply."""


def reset(writer: asyncio.StreamWriter) -> None:
    """RST instead of FIN."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


@dataclass
class Peer:
    """Answers each request with `respond`; counts what it sees."""

    respond: Respond = answer
    port: int = 0
    connections: int = 0
    requests: list[Request] = field(default_factory=list)
    greeting: bytes = b""
    writers: set[asyncio.StreamWriter] = field(default_factory=set)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _server: asyncio.Server | None = None

    @property
    def open_connections(self) -> int:
        return len(self.writers)

    async def listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and reset every connection."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in list(self.writers):
            reset(writer)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.writers.add(writer)
        writer.write(self.greeting)
        try:
            while True:
                header = await reader.readexactly(12)
                transaction, _, _, unit_id, function, address, count = struct.unpack(">HHHBBHH", header)
                self.requests.append(Request(transaction, unit_id, function, address, count))
                await self.respond(self.requests[-1], writer)
                await writer.drain()
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.writers.discard(writer)
            self._tasks.discard(task)
            writer.close()


async def eventually(condition: Callable[[], bool], within_s: float = 10.0) -> None:
    """Wait for `condition`; a deadline far above any expected time keeps a failure from hanging."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # a state of the world, not an event of ours
            await asyncio.sleep(0.002)


async def read_four(client: RegisterClient) -> tuple[int, ...]:
    return await client.read(Function.HOLDING, 10, 4)


async def fault_of(client: RegisterClient) -> MeterFault | None:
    """The fault of one read, None for a good one."""
    try:
        await read_four(client)
    except MeterError as error:
        return error.fault
    return None


async def read_until(client: RegisterClient, fault: MeterFault | None, within_s: float = 10.0) -> None:
    """Read until a read ends in `fault`, None for a good one."""
    async with asyncio.timeout(within_s):
        while True:
            if await fault_of(client) is fault:
                return
            await asyncio.sleep(0.002)


def free_port() -> int:
    with contextlib.closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
