"""The local socket: who may ask, what a broken request gets, and what a killed daemon leaves behind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from controller.runtime.console import (
    CLIENTS_MAX,
    REQUEST_MAX_BYTES,
    REQUEST_WITHIN_S,
    Console,
    ConsoleRefusedError,
    ConsoleUnavailableError,
    Peer,
    ask,
)

FLOOD_BYTES = 4 * 2**20


async def echo(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
    return {"request": dict(request), "uid": peer.uid, "pid": peer.pid}


async def flood(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
    return {"text": "x" * FLOOD_BYTES}


async def refuse(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
    raise ConsoleRefusedError("no such miner")


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Console]:
    console = Console(path, {"echo": echo, "flood": flood, "refuse": refuse})
    await console.start()
    try:
        yield console
    finally:
        await console.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def test_a_question_is_answered_and_the_asker_is_known(path: Path) -> None:
    async with serving(path):
        result = await asyncio.to_thread(ask, path, "echo", {"miner": "r1-07"})
        assert result == {"request": {"miner": "r1-07"}, "uid": os.getuid(), "pid": os.getpid()}
        assert path.stat().st_mode & 0o777 == 0o600
    assert not path.exists()


async def test_a_directory_with_the_set_group_id_bit_lets_its_group_ask(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o2750)
    path = shared / "control.sock"
    async with serving(path):
        assert path.stat().st_mode & 0o777 == 0o660
        assert path.stat().st_gid == shared.stat().st_gid


async def test_a_refusal_reaches_the_asker_in_the_daemons_words(path: Path) -> None:
    async with serving(path):
        with pytest.raises(ConsoleRefusedError, match="no such miner"):
            await asyncio.to_thread(ask, path, "refuse", {})
        with pytest.raises(ConsoleRefusedError, match="unknown op 'shout'; known: echo, flood, refuse"):
            await asyncio.to_thread(ask, path, "shout", {})


async def test_one_conversation_may_ask_many_times_and_nonsense_does_not_end_it(path: Path) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        for line in (b"nonsense\n", b"[1]\n", b"[" * 5000 + b"\n", b'{"op":5}\n', b'{"op":"echo"}\n'):
            writer.write(line)
        answers = [json.loads(await reader.readline()) for _ in range(5)]
        assert [answer["ok"] for answer in answers] == [False, False, False, False, True]
        writer.close()
        await writer.wait_closed()


async def test_an_oversized_request_is_refused_and_the_conversation_ended(path: Path) -> None:
    async with serving(path):
        reader, writer = await asyncio.open_unix_connection(str(path))
        writer.write(b"x" * (REQUEST_MAX_BYTES + 2) + b"\n")
        assert "at most" in json.loads(await reader.readline())["error"]
        assert await reader.read() == b""
        writer.close()
        result = await asyncio.to_thread(ask, path, "echo", {})
        assert result["request"] == {}


async def test_more_clients_than_allowed_are_turned_away(path: Path) -> None:
    async with serving(path):
        held = [await asyncio.open_unix_connection(str(path)) for _ in range(CLIENTS_MAX)]
        with pytest.raises(ConsoleRefusedError, match="clients are connected already"):
            await asyncio.to_thread(ask, path, "echo", {})
        for _, writer in held:
            writer.close()
            await writer.wait_closed()


@pytest.mark.virtual_time
async def test_a_client_that_does_not_read_loses_its_connection_and_holds_no_socket(path: Path) -> None:
    async with serving(path):
        with _asked_without_reading(path) as client:
            await asyncio.sleep(REQUEST_WITHIN_S + 1)
            assert len(await asyncio.to_thread(_all_of, client)) < FLOOD_BYTES, "the answer was still held for it"


async def test_a_client_that_does_not_read_keeps_nobody_from_closing(path: Path) -> None:
    async with serving(path):
        client = _asked_without_reading(path)
        assert await asyncio.to_thread(ask, path, "echo", {})
    with client:
        assert len(await asyncio.to_thread(_all_of, client)) < FLOOD_BYTES


def _asked_without_reading(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    client.connect(str(path))
    client.sendall(b'{"op":"flood"}\n')
    return client


def _all_of(client: socket.socket) -> bytes:
    """What still comes until the end, or until nothing comes for a second; blocking."""
    client.settimeout(1.0)
    received = bytearray()
    with suppress(OSError):
        while part := client.recv(65536):
            received += part
    return bytes(received)


async def test_a_socket_left_by_a_killed_daemon_is_replaced(path: Path) -> None:
    left = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    left.bind(str(path))
    left.close()
    async with serving(path):
        assert await asyncio.to_thread(ask, path, "echo", {})


async def test_a_socket_somebody_serves_is_left_alone(path: Path) -> None:
    async with serving(path):
        with pytest.raises(ConsoleUnavailableError, match="served by another process"):
            await Console(path, {}).start()
        assert await asyncio.to_thread(ask, path, "echo", {})


async def test_a_file_that_is_no_socket_is_left_alone(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(ConsoleUnavailableError, match="no socket"):
        await Console(path, {}).start()
    assert path.read_text() == "precious"


async def test_nobody_there_is_said_plainly(path: Path) -> None:
    with pytest.raises(ConsoleUnavailableError, match="no daemon answers"):
        ask(path, "echo", {})


async def test_running_until_cancelled_leaves_nothing_behind(path: Path) -> None:
    task = asyncio.create_task(Console(path, {"echo": echo}).run())
    await asyncio.sleep(0)  # the socket is opened before the first await
    _, writer = await asyncio.open_unix_connection(str(path))
    task.cancel()
    await asyncio.wait((task,))
    assert not path.exists()
    writer.close()
