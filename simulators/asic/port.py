"""A listening port that can be closed, opened again at the same number, or made to swallow whatever comes."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final

from simulators.listening import accept_no_more

_PLUG_S: Final = 0.05


class Port:
    """One address and number to listen on; `port` 0 becomes a number given by the system, and stays."""

    def __init__(self, host: str, port: int, protocol: Callable[[], asyncio.BaseProtocol]) -> None:
        self.host: Final = host
        self.port = port
        self._protocol = protocol
        self._socket: socket.socket | None = None
        self._server: asyncio.Server | None = None
        self._opening: asyncio.Task[None] | None = None
        self._hole: tuple[socket.socket, ...] = ()

    async def open(self) -> None:
        """Listen; returns when connections are taken. Raises OSError when the port cannot be had."""
        await self._serve(self._listen())

    def reopen(self) -> None:
        """Listen again, from now on. Raises OSError when the port cannot be had."""
        if self._socket is None:
            self._close_hole()
            self._opening = asyncio.get_running_loop().create_task(self._serve(self._listen()))

    def accept_no_more(self) -> None:
        """Before `close`: whoever is just being accepted is known when `listening.accepted` returns."""
        if self._server is not None:
            accept_no_more(self._server)

    def close(self) -> None:
        """Stop listening: who connects is refused. Open connections stay."""
        self._close_hole()
        if self._server is not None:
            self._server.close()
        elif self._socket is not None:
            self._socket.close()  # bound, but its serving task has not run yet
            if self._opening is not None:
                self._opening.cancel()
        self._server = self._socket = None

    def vanish(self) -> None:
        """Swallow: who connects is neither answered nor refused. Open connections stay.

        Raises OSError when the port cannot be had.
        """
        if self._hole:
            return
        self.close()
        hole = self._bound(backlog=0)
        # One connection that nobody accepts fills a queue of length 0; from then on the kernel drops every SYN.
        plug = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plug.setblocking(False)
        plug.connect_ex(hole.getsockname())
        select.select([], [plug], [], _PLUG_S)  # it is through at once, but the kernel may do it a moment later
        self._hole = (plug, hole)

    def _close_hole(self) -> None:
        for each in self._hole:
            each.close()
        self._hole = ()

    def _bound(self, backlog: int) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((self.host, self.port))
            sock.listen(backlog)
            sock.setblocking(False)
        except OSError:
            sock.close()
            raise
        return sock

    def _listen(self) -> socket.socket:
        self._socket = self._bound(backlog=128)
        self.port = self._socket.getsockname()[1]
        return self._socket

    async def _serve(self, sock: socket.socket) -> None:
        # With a socket given and serving put off, this does not suspend: from here on the server owns the socket.
        self._server = await asyncio.get_running_loop().create_server(self._protocol, sock=sock, start_serving=False)
        await self._server.start_serving()
