"""sd_notify: what systemd is told. Datagrams on the socket named by $NOTIFY_SOCKET; without it, silence."""

from __future__ import annotations

import socket
from collections.abc import Mapping


class Notifier:
    """READY once in control, WATCHDOG after every healthy cycle, STATUS for `systemctl status`, STOPPING at the end;
    RELOADING before a reload, which ends with the next READY.

    Nothing here waits or fails: systemd not listening is no reason to disturb a cycle.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        """Reads NOTIFY_SOCKET as systemd sets it."""
        self._address = _address_of(environment.get("NOTIFY_SOCKET", ""))
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def ready(self) -> None:
        self._send("READY=1")

    def status(self, text: str) -> None:
        line = text.replace("\n", " ")
        self._send(f"STATUS={line}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def reloading(self, now: float) -> None:
        """`now`: the monotonic clock, seconds; newer systemd tells this reload from an earlier one by it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={round(now * 1e6)}")

    def stopping(self) -> None:
        self._send("STOPPING=1")

    def draining(self, within_s: float) -> None:
        """The way down before the end takes so long at most; systemd is asked to wait for it."""
        self._send(f"EXTEND_TIMEOUT_USEC={round(within_s * 1e6)}")

    def close(self) -> None:
        self._socket.close()

    def _send(self, text: str) -> None:
        if self._address is None:
            return
        try:
            self._socket.sendto(text.encode(), self._address)
        except OSError:  # full or gone; the next healthy cycle says it again
            return


def _address_of(name: str) -> str | None:
    """A path, or "@name" for Linux's abstract sockets; anything else (vsock) is not ours to speak."""
    if name.startswith("@"):
        return "\0" + name[1:]
    return name if name.startswith("/") else None
