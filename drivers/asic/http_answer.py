"""One HTTP/1.1 answer out of a stream of bytes: body by length, by chunks, or up to the end of the connection. Pure.

It knows as much of HTTP as a miner's web server speaks, and turns anything else into `BadAnswerError`. Why it is
hand-written: docs/decisions/0011-http-by-hand.md.
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

from drivers.asic.transport import MAX_REPLY_BYTES, BadAnswerError

MAX_HEAD_BYTES: Final = 16_384
"""Status line and headers together; a miner's have less than 1 kB."""

MAX_BODY_BYTES: Final = MAX_REPLY_BYTES

_HEAD_END: Final = b"\r\n\r\n"
_LINE_END: Final = b"\r\n"
_STATUS_LINE: Final = re.compile(rb"HTTP/1\.(\d) (\d{3})(?: [^\r\n]*)?(?=\r\n|\Z)")
_HEADERS: Final = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection|www-authenticate)[ \t]*:([^\r\n]*)", re.IGNORECASE
)
"""Those that say where the answer ends and what to do next; all others are passed over."""
_NO_BODY: Final = (204, 304)


class HttpAnswer(NamedTuple):
    """A whole answer. `challenges`: its `WWW-Authenticate` values. `keeps_open`: the connection may be used again."""

    status: int
    body: bytes
    challenges: tuple[str, ...] = ()
    keeps_open: bool = True


class AnswerParser:
    """Feed it what arrives until it gives the answer; good for one answer."""

    __slots__ = (
        "_body",
        "_body_bytes",
        "_buffer",
        "_challenges",
        "_chunked",
        "_keeps_open",
        "_length",
        "_status",
        "heard",
    )

    def __init__(self) -> None:
        self.heard = False
        """Whether a single byte has arrived."""
        self._buffer = b""
        self._body: list[bytes] = []
        self._body_bytes = 0
        self._status = 0  # 0: the head is not whole
        self._length: int | None = None
        self._chunked = False
        self._keeps_open = True
        self._challenges: tuple[str, ...] = ()

    def feed(self, data: bytes) -> HttpAnswer | None:
        """The answer once it is whole. Raises BadAnswerError for what is no answer or beyond the limits."""
        self.heard = True
        self._buffer = buffer = self._buffer + data if self._buffer else data
        while not self._status:
            end = buffer.find(_HEAD_END)
            if end > MAX_HEAD_BYTES or (end < 0 and len(buffer) > MAX_HEAD_BYTES):
                raise BadAnswerError(f"head longer than {MAX_HEAD_BYTES} bytes")
            if end < 0:
                if not b"HTTP/1."[: len(buffer)] == buffer[:7]:
                    raise BadAnswerError("what came is not HTTP")
                return None
            self._read_head(buffer[:end])
            self._buffer = buffer = buffer[end + 4 :]
        if self._chunked:
            return self._read_chunks()
        if self._length is None:
            if len(buffer) > MAX_BODY_BYTES:
                raise BadAnswerError(f"body longer than {MAX_BODY_BYTES} bytes")
            return None
        if len(buffer) < self._length:
            return None
        return self._whole(buffer[: self._length], surplus=len(buffer) > self._length)

    def end(self) -> HttpAnswer | None:
        """The answer if the end of the connection makes it whole."""
        if self._status and self._length is None and not self._chunked:
            self._keeps_open = False
            return self._whole(self._buffer, surplus=False)
        return None

    def _whole(self, body: bytes, *, surplus: bool) -> HttpAnswer:
        # Bytes behind the answer belong to no request of ours: such a connection is not used again.
        return HttpAnswer(self._status, body, self._challenges, self._keeps_open and not surplus)

    def _read_head(self, head: bytes) -> None:
        first = _STATUS_LINE.match(head)
        if first is None:
            raise BadAnswerError("what came is not HTTP")
        status = int(first[2])
        if 100 <= status < 200:
            return  # an interim answer: the real one follows
        self._keeps_open = first[1] != b"0"
        for name, padded in _HEADERS.findall(head, first.end()):
            value = padded.strip()
            match name.lower():
                case b"content-length":
                    self._read_length(value)
                case b"transfer-encoding":
                    if value.lower() != b"chunked":
                        raise BadAnswerError("a transfer encoding that is not known")
                    self._chunked = True
                case b"connection":
                    kept = self._keeps_open or b"keep-alive" in value.lower()
                    self._keeps_open = kept and b"close" not in value.lower()
                case b"www-authenticate":
                    self._challenges += (value.decode("latin-1"),)
        if status in _NO_BODY:
            self._length, self._chunked = 0, False
        self._status = status

    def _read_length(self, value: bytes) -> None:
        if not value.isdigit() or len(value) > 9 or self._length not in (None, int(value)):
            raise BadAnswerError("a content length that is none")
        self._length = int(value)
        if self._length > MAX_BODY_BYTES:
            raise BadAnswerError(f"body longer than {MAX_BODY_BYTES} bytes")

    def _read_chunks(self) -> HttpAnswer | None:
        buffer, at = self._buffer, 0
        while (line_end := buffer.find(_LINE_END, at)) >= 0:
            size_text = buffer[at:line_end].partition(b";")[0].strip()
            try:
                size = int(size_text, 16) if size_text[:1] not in (b"+", b"-") else -1
            except ValueError:
                size = -1
            if not 0 <= size <= MAX_BODY_BYTES - self._body_bytes:
                raise BadAnswerError("a chunk without a size, or one too many")
            start = line_end + 2
            if size == 0:
                # After the last chunk come trailers, if any, and an empty line.
                end = line_end if buffer[start : start + 2] == _LINE_END else buffer.find(_HEAD_END, start)
                if end < 0:
                    break
                return self._whole(b"".join(self._body), surplus=len(buffer) > end + 4)
            if len(buffer) < start + size + 2:
                break
            if buffer[start + size : start + size + 2] != _LINE_END:
                raise BadAnswerError("a chunk that does not end where it says")
            self._body.append(buffer[start : start + size])
            self._body_bytes += size
            at = start + size + 2
        self._buffer = buffer[at:]
        if len(self._buffer) > MAX_BODY_BYTES + MAX_HEAD_BYTES:
            raise BadAnswerError(f"body longer than {MAX_BODY_BYTES} bytes")
        return None
