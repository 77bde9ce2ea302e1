"""The local console: a UNIX socket on which people and scripts on this machine ask what the daemon does, and why.

One request a line, one answer a line, both JSON objects: {"op": "explain", "miner": "r1-07"} is answered by
{"ok": true, "result": {...}} or {"ok": false, "error": "..."}. Who may open the socket may ask: the daemon's own user
and root; in a directory with the set-group-id bit, as the systemd unit makes one, that directory's group as well.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from controller.runtime.clients import Clients
from controller.wire.canonical import canonical

REQUEST_MAX_BYTES = 65_536
ANSWER_MAX_BYTES = 16 * 2**20  # a status of thousands of miners, with room
CLIENTS_MAX = 16
REQUEST_WITHIN_S = 5.0  # for the handler, and for the client to take its answer
IDLE_WITHIN_S = 300.0


@dataclass(frozen=True, slots=True)
class Peer:
    """Who asks, as the kernel vouches for it."""

    uid: int
    pid: int


class ConsoleRefusedError(Exception):
    """Raised by a handler: the request cannot be served; the text goes to whoever asked."""


class ConsoleUnavailableError(Exception):
    """The socket cannot be opened (daemon side) or nobody answers on it (client side)."""


Handler = Callable[[Mapping[str, object], Peer], Awaitable[Mapping[str, object]]]


class Console:
    """Serves a mapping of operations from `start` to `close`, or for as long as `run` is not cancelled."""

    def __init__(
        self, path: Path, handlers: Mapping[str, Handler], within_s: Mapping[str, float] | None = None
    ) -> None:
        """within_s: for operations that may take longer than the others."""
        self._path = path
        self._handlers = dict(handlers)
        self._within_s = dict(within_s or {})
        self._clients = Clients("console", self._host)

    async def run(self) -> None:
        """Serve until cancelled; raises ConsoleUnavailableError at once when the socket cannot be opened."""
        await self.start()
        try:
            await asyncio.Event().wait()
        finally:
            await self.close()

    async def start(self) -> None:
        """Raises ConsoleUnavailableError when another process answers there, or the path cannot be used."""
        self._remove_stale()
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            os.fchmod(
                listening.fileno(), 0o600
            )  # on Linux the bound name takes this mode: never open, not for a moment
            listening.bind(str(self._path))
            self._open_to_group()
            await self._clients.start(partial(asyncio.start_unix_server, sock=listening, limit=REQUEST_MAX_BYTES))
        except OSError as error:
            listening.close()
            raise ConsoleUnavailableError(f"{self._path} cannot be opened: {error.strerror or error}") from None

    async def close(self) -> None:
        """End every conversation and remove the socket."""
        if await self._clients.close():
            self._path.unlink(missing_ok=True)

    def _open_to_group(self) -> None:
        """A directory with the set-group-id bit gave the socket its group: somebody chose who may ask."""
        if self._path.parent.stat().st_mode & stat.S_ISGID:
            self._path.chmod(0o660)

    def _remove_stale(self) -> None:
        """A socket nobody answers on was left by a daemon that was killed; anything else is not ours to remove."""
        try:
            mode = self._path.stat().st_mode
        except FileNotFoundError:
            return
        except OSError as error:
            raise ConsoleUnavailableError(f"{self._path}: {error.strerror}") from None
        if not stat.S_ISSOCK(mode):
            raise ConsoleUnavailableError(f"{self._path} exists and is no socket: move it away, or name another path")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            probe.settimeout(1.0)
            try:
                probe.connect(str(self._path))
            except ConnectionRefusedError:
                self._path.unlink(missing_ok=True)
                return
            except OSError as error:
                raise ConsoleUnavailableError(f"{self._path}: {error.strerror or error}") from None
        raise ConsoleUnavailableError(f"{self._path} is served by another process: one daemon per socket")

    async def _host(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, from its first byte to its last. One that goes away, or is slow beyond the deadline, ends its own
        conversation and nothing else."""
        writer.transport.set_write_buffer_limits(
            high=0
        )  # sent means taken by the kernel: closing then waits for nobody
        to_the_end = False
        try:
            with suppress(OSError, TimeoutError):
                if len(self._clients) > CLIENTS_MAX:
                    await _send(writer, _failure(f"{CLIENTS_MAX} clients are connected already"))
                else:
                    await self._converse(reader, writer)
                to_the_end = True
        finally:
            if to_the_end:
                writer.close()
            else:  # a plain close would hold socket and answer for as long as the client does not read
                writer.transport.abort()

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = _peer_of(writer)
        while True:
            try:
                async with asyncio.timeout(IDLE_WITHIN_S):
                    line = await reader.readline()
            except ValueError:  # longer than the limit: where the next request begins is unknown
                await _send(writer, _failure(f"a request has at most {REQUEST_MAX_BYTES} bytes"))
                return
            if not line:
                return
            await _send(writer, await self._serve(line, peer))

    async def _serve(self, line: bytes, peer: Peer) -> Mapping[str, object]:
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return _failure("a request is one JSON object on one line")
        if not isinstance(request, dict):
            return _failure("a request is one JSON object on one line")
        op = request.pop("op", None)
        handler = self._handlers.get(op) if isinstance(op, str) else None
        if handler is None:
            return _failure(f"unknown op {ascii(op)[:60]}; known: {', '.join(sorted(self._handlers))}")
        within_s = self._within_s.get(str(op), REQUEST_WITHIN_S)
        try:
            async with asyncio.timeout(within_s):
                return {"ok": True, "result": await handler(request, peer)}
        except ConsoleRefusedError as refused:
            return _failure(str(refused))
        except TimeoutError:
            return _failure(f"{op} took longer than {within_s:g} s")


def ask(path: Path, op: str, arguments: Mapping[str, object], within_s: float = 10.0) -> dict[str, object]:
    """One request from a command line; blocking. Returns the result.

    Raises ConsoleUnavailableError when nobody answers, ConsoleRefusedError with the daemon's own words when it says no.
    """
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.settimeout(within_s)
            client.connect(str(path))
            with suppress(BrokenPipeError):  # turned away before it could speak: the reason can still be read
                client.sendall(canonical({**arguments, "op": op}).encode() + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline(ANSWER_MAX_BYTES)
    except OSError as error:
        raise ConsoleUnavailableError(_why_unreachable(path, error)) from None
    try:
        answer = json.loads(line)
    except ValueError:
        raise ConsoleUnavailableError(f"{path}: the daemon hung up without an answer") from None
    if answer.get("ok") is not True:
        raise ConsoleRefusedError(str(answer.get("error")))
    result: dict[str, object] = answer["result"]
    return result


def _why_unreachable(path: Path, error: OSError) -> str:
    match error:
        case FileNotFoundError() | ConnectionRefusedError():
            return f"no daemon answers on {path}: is it running, and is this its socket?"
        case PermissionError():
            return (
                f"{path}: you may not ask this daemon; try sudo, or have yourself added to the group of {path.parent}"
            )
        case TimeoutError():
            return f"{path}: no answer in time"
        case _:
            return f"{path}: {error.strerror or error}"


def _peer_of(writer: asyncio.StreamWriter) -> Peer:
    raw = writer.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    pid, uid, _ = struct.unpack("3i", raw)
    return Peer(uid=uid, pid=pid)


def _failure(error: str) -> Mapping[str, object]:
    return {"ok": False, "error": error}


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, object]) -> None:
    writer.write(canonical(dict(answer)).encode() + b"\n")
    async with asyncio.timeout(REQUEST_WITHIN_S):
        await writer.drain()
