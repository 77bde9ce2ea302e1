"""The clients of a listening socket: a task each, counted, and every one of them sent away before the socket closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

Host = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[None, None, None]]
Listen = Callable[[Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]], Awaitable[asyncio.Server]]


class Clients:
    """host: what to do with one client, from its first byte to its last; cancelled when everybody has to go."""

    def __init__(self, name: str, host: Host, at_most: int | None = None) -> None:
        """at_most: of more, the last is turned away without a word. None: the host sees to it."""
        self._name = name
        self._host = host
        self._at_most = at_most
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    async def start(self, listen: Listen) -> asyncio.Server:
        """listen: opens the socket and gives whoever comes to the function it is handed."""
        self._server = await listen(self._accept)
        return self._server

    async def close(self) -> bool:
        """Send everybody away and stop listening. False when nobody was listening."""
        if self._server is None:
            return False
        self._closing = True
        self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._server.wait_closed()
        self._server = None
        return True

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        full = self._at_most is not None and len(self._tasks) >= self._at_most
        if self._closing or full:  # some connect in the very moment of closing
            writer.transport.abort()
            return
        task = asyncio.create_task(self._host(reader, writer), name=f"{self._name} client")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
