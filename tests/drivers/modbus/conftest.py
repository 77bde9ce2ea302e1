"""A peer to read from and a way to make clients that are closed at the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from drivers.modbus.client import Backoff, RegisterClient
from tests.drivers.modbus.modbus_peer import Peer


@pytest_asyncio.fixture
async def peer() -> AsyncIterator[Peer]:
    server = Peer()
    await server.listen()
    yield server
    await server.stop()


Connect = Callable[..., RegisterClient]


@pytest_asyncio.fixture
async def connect() -> AsyncIterator[Connect]:
    """Builds clients with quick back-off and closes them. The deadline is long: what shows at once must not need it."""
    clients: list[RegisterClient] = []

    def build(port: int, *, deadline_s: float = 30.0, connect_deadline_s: float = 5.0) -> RegisterClient:
        client = RegisterClient(
            meter_id="poi",
            host="127.0.0.1",
            port=port,
            unit_id=7,
            deadline_s=deadline_s,
            connect_deadline_s=connect_deadline_s,
            backoff=Backoff(first_s=0.01, longest_s=0.05),
        )
        clients.append(client)
        return client

    yield build
    for client in clients:
        await client.close()


@pytest.fixture
def open_files() -> Callable[[], int]:
    return lambda: sum(1 for _ in Path("/proc/self/fd").iterdir())
