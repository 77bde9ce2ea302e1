"""A TCP connection's cable with a valve in it: what a dead switch, a firewall that forgot or a pulled plug does.

Shut, nothing comes through in either direction, nobody is told, and a new connection is made and stays without an
answer: both ends believe in a link that is not there.
"""

from __future__ import annotations

import contextlib
import selectors
import socket
import threading
from dataclasses import dataclass

LOOK_S = 0.05


@dataclass(slots=True)
class _Pipe:
    """One direction of one connection."""

    source: socket.socket
    sink: socket.socket


class Valve:
    """`with Valve(port) as valve:` - connect to `valve.port` in place of `port` of this machine."""

    def __init__(self, port: int) -> None:
        self._behind = ("127.0.0.1", port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._listening.setblocking(False)
        self.port = int(self._listening.getsockname()[1])
        self._is_open = True
        self._turning = threading.Lock()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._carry, name="valve", daemon=True)

    def __enter__(self) -> Valve:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(5.0)

    def shut(self) -> None:
        """From here on nothing comes through, and nobody is told."""
        with self._turning:
            self._is_open = False

    def open(self) -> None:
        """Everything comes through again, what lay in the cable included; connections tried meanwhile are lost."""
        with self._turning:
            with contextlib.suppress(BlockingIOError):
                while True:
                    self._listening.accept()[0].close()
            self._is_open = True

    def _carry(self) -> None:
        with contextlib.ExitStack() as held, selectors.DefaultSelector() as selector:
            held.enter_context(self._listening)
            selector.register(self._listening, selectors.EVENT_READ)
            while not self._ending.is_set():
                ready = selector.select(LOOK_S)
                with self._turning:
                    for key, _ in ready if self._is_open else ():
                        if key.data is None:
                            self._connect(selector, held)
                        elif key.data.source.fileno() >= 0:  # not closed by what came before
                            self._forward(selector, key.data)
                if not self._is_open:
                    self._ending.wait(LOOK_S)

    def _connect(self, selector: selectors.BaseSelector, held: contextlib.ExitStack) -> None:
        try:
            front = held.enter_context(self._listening.accept()[0])
        except BlockingIOError:
            return  # it was dropped as the valve was opened
        try:
            behind = held.enter_context(socket.create_connection(self._behind, 2.0))
        except OSError:
            front.close()
            return
        selector.register(front, selectors.EVENT_READ, _Pipe(front, behind))
        selector.register(behind, selectors.EVENT_READ, _Pipe(behind, front))

    @staticmethod
    def _forward(selector: selectors.BaseSelector, pipe: _Pipe) -> None:
        try:
            data = pipe.source.recv(65536)
            pipe.sink.sendall(data)
        except OSError:
            data = b""
        if not data:
            for end in (pipe.source, pipe.sink):
                with contextlib.suppress(KeyError, ValueError):
                    selector.unregister(end)
                end.close()
