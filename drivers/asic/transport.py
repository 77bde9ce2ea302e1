"""One request and one answer over a connection of its own: the wire under every miner that speaks the cgminer protocol.

The miner is expected to close the connection after its answer, and many do not. Three things end an answer: the end of
the stream, a zero byte (LuxOS sends one), or a JSON document that is complete. Whatever happens - answer, fault,
deadline, cancellation - the socket is closed before the call returns, and a fault is raised by name, never turned into
an empty answer.

A shed sends a thousand of these at once, so the loop's own socket events are used, without a transport or a task, and
one timer per call.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from typing import Any, Final

MAX_REPLY_BYTES: Final = 262_144
"""The longest reply seen (25 profiles) has 6 kB; what is longer than this is no miner's answer."""

_CHUNK_BYTES: Final = 16_384


class TransportError(Exception):
    """A request that got no trustworthy answer.

    sent: whether a byte of it left this machine. nobody_serves: the host was heard, and the port is closed or whoever
    took the connection let go of it without a word. Silence is not that: a busy process is silent too.
    """

    sent: bool = True

    def __init__(self, words: str, *, nobody_serves: bool = False) -> None:
        super().__init__(words)
        self.nobody_serves = nobody_serves


class NotConnectedError(TransportError):
    """Refused, no route, reset or out of time before the request was written: the miner cannot have acted on it."""

    sent = False


class NoAnswerError(TransportError):
    """The request was written and then the deadline passed, or the connection was reset or closed without a word."""


class BadAnswerError(TransportError):
    """Something came back that is not one whole JSON document, or is longer than `MAX_REPLY_BYTES`."""


async def exchange(host: str, port: int, request: bytes, *, deadline_s: float) -> Any:  # a JSON document of any shape
    """Send `request` to an IP address and return the miner's reply, decoded.

    `deadline_s` covers connect, write and answer together. Raises NotConnectedError, NoAnswerError or BadAnswerError.
    """
    loop = asyncio.get_running_loop()
    try:
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    except OSError as error:  # no descriptor left
        raise _not_connected(error) from error
    call = _Exchange(loop, sock, request, deadline_s)
    timer = loop.call_at(loop.time() + deadline_s, call.out_of_time)
    try:
        call.connect(host, port)
        outcome = await call.outcome
    finally:
        timer.cancel()
        call.unwatch()
        sock.close()
    if isinstance(outcome, TransportError):
        raise outcome
    return outcome


class _Exchange:
    """What happens on one socket, from connecting to the moment in which `outcome` is known.

    A fault is a result of `outcome` like any other: an exception in a future that nobody awaits any more, because its
    caller was cancelled, would be reported as an error of ours.
    """

    __slots__ = (
        "_deadline_s",
        "_depth",
        "_fd",
        "_loop",
        "_received",
        "_request",
        "_sent",
        "_sock",
        "_unwatch",
        "outcome",
    )

    def __init__(self, loop: asyncio.AbstractEventLoop, sock: socket.socket, request: bytes, deadline_s: float) -> None:
        self._loop = loop
        self._sock = sock
        self._fd = sock.fileno()  # the loop's books are quicker with a number than with a socket
        self._unwatch: Callable[[int], bool] | None = None
        self._request = request  # what is left of it to be written
        self._deadline_s = deadline_s
        self._sent = False
        self._received = bytearray()
        self._depth = 0
        self.outcome: asyncio.Future[Any] = loop.create_future()

    def connect(self, host: str, port: int) -> None:
        self._sock.setblocking(False)
        try:
            self._sock.connect((host, port))
        except BlockingIOError:
            pass
        except OSError as error:
            self._end(_not_connected(error))
            return
        self._loop.add_writer(self._fd, self._write)
        self._unwatch = self._loop.remove_writer

    def unwatch(self) -> None:
        """The loop forgets the socket; it may be closed then."""
        if self._unwatch is not None:
            self._unwatch(self._fd)
            self._unwatch = None

    def out_of_time(self) -> None:
        """The deadline has passed. What came until now may still be a whole answer whose end was not recognized."""
        document = _document(self._received)
        if document is not None:
            self._end(document)
        elif self._sent:
            self._end(NoAnswerError(f"no answer within {self._deadline_s:.2g} s"))
        else:
            self._end(NotConnectedError(f"no connection within {self._deadline_s:.2g} s"))

    def _write(self) -> None:
        if self.outcome.done():  # given up in the very moment the connection came about: nothing may leave any more
            return
        try:
            written = self._sock.send(self._request)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:  # the first one also tells what became of connecting
            self._end(self._lost(error) if self._sent else _not_connected(error))
            return
        self._sent = True
        self._request = self._request[written:]
        if not self._request:
            self.unwatch()
            self._loop.add_reader(self._fd, self._read)
            self._unwatch = self._loop.remove_reader

    def _read(self) -> None:
        try:
            data = self._sock.recv(_CHUNK_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._end(self._lost(error))
            return
        if not data:
            if self._received:
                self._finish()
            else:
                self._end(NoAnswerError("connection closed without an answer", nobody_serves=True))
            return
        end = data.find(0)
        self._received += data if end < 0 else data[:end]
        if len(self._received) > MAX_REPLY_BYTES:
            self._end(BadAnswerError(f"reply longer than {MAX_REPLY_BYTES} bytes"))
        elif end >= 0:
            self._finish()
        else:
            self._look_for_the_end(data)

    def _look_for_the_end(self, data: bytes) -> None:
        """Whether the reply is whole with its latest piece, on a connection that stays open."""
        # Decoding after every piece of a reply that drips in would cost the loop dear: brackets are counted first.
        # Brackets inside texts may spoil the count; then the end of the stream, or the deadline, decides.
        self._depth += data.count(b"{") - data.count(b"}")
        if self._depth == 0 and data.rstrip().endswith(b"}"):
            document = _document(self._received)
            if document is not None:
                self._end(document)

    def _finish(self) -> None:
        """Nothing more will come."""
        document = _document(self._received)
        if document is None:
            document = BadAnswerError(f"reply of {len(self._received)} bytes is not a whole JSON document")
        self._end(document)

    def _lost(self, error: OSError) -> NoAnswerError:
        words = f"connection lost before the answer was whole: {error.strerror or error}"
        let_go = isinstance(error, ConnectionError) and not self._received
        return NoAnswerError(words, nobody_serves=let_go)

    def _end(self, outcome: Any) -> None:
        if not self.outcome.done():
            self.outcome.set_result(outcome)


def _document(reply: bytearray) -> Any:
    """The reply decoded; None for what is not one whole document, and for `null`, which says as little."""
    text = reply.decode("utf-8", "replace")  # a pool's user name may be in any encoding
    # btminer leaves a comma too many behind, bmminer one out between records. No cut-off reply gets whole by this.
    for tried in (text, text.replace(",}", "}").replace("}{", "},{")):
        try:
            # Miners put raw line breaks into their messages; that alone does not make a reply untrustworthy.
            return json.loads(tried, strict=False)
        except (ValueError, RecursionError):  # brackets without end are no document either
            continue
    return None


def _not_connected(error: OSError) -> NotConnectedError:
    refused = isinstance(error, ConnectionRefusedError)
    return NotConnectedError(f"connect failed: {error.strerror or error}", nobody_serves=refused)
