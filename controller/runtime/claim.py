"""One daemon per fleet: what a running daemon holds so that a second one on the same miners refuses to start.

The journal has a lock of its own; a copy of the site file with another journal would pass it. So two more things are
held for as long as the process lives, and the kernel lets go of them however it ends: a lock on the inventory itself,
and the site's id as an abstract socket of this network namespace. On two hosts nothing of this is shared.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

NAMESPACE = "\0curtaild/site/"
BACKLOG = 1024  # nobody is ever let in: who asks is told by the kernel, and stays in the queue


class FleetInUseError(Exception):
    """Another daemon controls this site or this inventory; two daemons must never command one fleet."""


class FleetClaim:
    """Held inside a `with` block. Raises FleetInUseError on entering when somebody else holds either.

    inventory: None for a daemon that only observes; it commands nobody, and may look on beside the one that does.
    """

    def __init__(self, site_id: str, inventory: Path | None) -> None:
        self._site_id = site_id
        self._inventory = inventory
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self._fd = -1

    def __enter__(self) -> Self:
        try:
            self._hold_site()
            self._hold_inventory()
        except BaseException:
            self._let_go()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()

    def _hold_site(self) -> None:
        name = f"{NAMESPACE}{self._site_id}"
        try:
            self._socket.bind(name)
            self._socket.listen(BACKLOG)  # so that who comes second can ask who was first
        except OSError:
            raise FleetInUseError(
                f"site {self._site_id} is controlled by process {_holder(name)} on this machine: one daemon per fleet. "
                "Stop that one, or give this site an id of its own"
            ) from None

    def _hold_inventory(self) -> None:
        """A lock on the file as it is read; one that is replaced by a new file is locked anew by the reload."""
        if self._inventory is None:
            return
        try:
            self._fd = os.open(self._inventory, os.O_RDONLY | os.O_CLOEXEC)
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise FleetInUseError(
                f"the miners of {self._inventory} are controlled by another process (`lslocks` names it): "
                "one daemon per fleet. Stop that one, or name another inventory"
            ) from None
        except OSError:  # a file system without locks, as some network shares: the other two locks remain
            return

    def _let_go(self) -> None:
        self._socket.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _holder(name: str) -> str:
    """The process behind the socket, as the kernel knows it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(name)
            pid, _, _ = struct.unpack("3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        except OSError:
            return "unknown"
    return str(pid)
