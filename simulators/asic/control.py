"""The way into a running farm: a unix socket, one JSON object per line each way.

Request `{"miner": 7, "fault": "hang", "on": true, "seconds": null, "writes_only": false}`, reply `{"ok": true}` or
`{"ok": false, "error": "..."}`. The socket is the owner's alone (mode 0600).
"""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from simulators.faults import Fault, FaultSet

TIMEOUT_S: Final = 5.0


class ControlError(Exception):
    """The farm could not be reached, or did not do what it was asked; the text says why."""


@asynccontextmanager
async def control_socket(path: Path, faults: Sequence[FaultSet]) -> AsyncIterator[None]:
    """Serve `path` inside the block. Raises OSError when it cannot be had, ControlError when another farm has it."""
    listening = _listen(path)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(TIMEOUT_S):
                reply = _act(await reader.readline(), faults)
                writer.write(json.dumps(reply).encode() + b"\n")
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # a client that went away, said nothing, or would not end its line
        finally:
            writer.close()

    server = await asyncio.start_unix_server(serve, sock=listening)
    try:
        yield
    finally:
        server.close()
        _remove(path)


def _listen(path: Path) -> socket.socket:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except FileNotFoundError:
            pass
        except ConnectionRefusedError:
            if not path.is_socket():
                raise ControlError(f"{path} is there and is no socket") from None
            path.unlink()  # left over by a farm that was killed
        else:
            raise ControlError(f"{path} belongs to a running farm")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.bind(str(path))
        path.chmod(0o600)  # before listen: nobody has connected yet
        listening.listen()
        listening.setblocking(False)
    except OSError:
        listening.close()
        raise
    return listening


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)


def _act(line: bytes, faults: Sequence[FaultSet]) -> dict[str, object]:
    try:
        request = json.loads(line)
        miner, on, seconds = request["miner"], request["on"], request.get("seconds")
        fault = Fault(request["fault"])
        if not isinstance(miner, int) or not 0 <= miner < len(faults):
            raise ValueError(f"there is no miner {miner}; the farm has {len(faults)}")
        if on:
            writes_only = request.get("writes_only", False) is True
            faults[miner].on(fault, None if seconds is None else float(seconds), writes_only=writes_only)
        else:
            faults[miner].off(fault)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        return {"ok": False, "error": str(error)}
    except OSError as error:
        return {"ok": False, "error": f"the port could not be opened again: {error}"}
    return {"ok": True}


def send_fault(
    path: Path, *, miner: int, fault: Fault, on: bool, seconds: float | None, writes_only: bool = False
) -> None:
    """Ask the farm behind `path` to switch a fault; blocks until it answered. Raises ControlError."""
    request = {"miner": miner, "fault": fault.value, "on": on, "seconds": seconds, "writes_only": writes_only}
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT_S)
        try:
            client.connect(str(path))
            client.sendall(json.dumps(request).encode() + b"\n")
            with client.makefile("rb") as stream:
                line = stream.readline()
        except OSError as error:
            raise ControlError(f"no farm answers at {path}: {error}") from error
    try:
        reply = json.loads(line)
    except ValueError as error:
        raise ControlError(f"no sense in the answer from {path}") from error
    if not reply.get("ok"):
        raise ControlError(str(reply.get("error", "the farm refused")))
