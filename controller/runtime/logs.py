"""Logs: one JSON object a line on standard error, pretty on a terminal, libraries' records in the same shape.

Lines are written by a thread of their own: whoever reads standard error may stall, and a cycle must not stall with it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from controller.domain.plan import Event, EventLevel

QUEUE_LINES = 10_000
REPEAT_EVERY_S = 60.0
REPEAT_KEYS = 4096
LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# What journald expects in front of a line (sd-daemon(3)).
PRIORITY = {"debug": "<7>", "info": "<6>", "warning": "<4>", "error": "<3>", "critical": "<2>"}
LIBRARIES = ("pymodbus", "mqtt", "paho", "asyncio", "pyasic")  # heard from warning upward only

Format = Literal["auto", "json", "pretty"]
EventDict = MutableMapping[str, Any]


class Log:
    """The daemon's log. Made once, after everything that meddles with logging was imported; `close` at the end."""

    def __init__(
        self,
        level: str,
        form: Format,
        stream: TextIO = sys.stderr,
        environment: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        pretty = form == "pretty" or (form == "auto" and stream.isatty())
        prefixed = not pretty and "JOURNAL_STREAM" in environment
        self._lines = LineWriter(stream)
        self._repeats = RepeatLimit(REPEAT_EVERY_S, clock)
        render = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if pretty else _Json(prefixed)
        shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]
        self._logger = structlog.wrap_logger(
            self._lines,
            processors=[*shared, structlog.processors.format_exc_info, render],
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        ).bind()
        self._foreign = _Handler(self._lines)
        self._foreign.setFormatter(
            structlog.stdlib.ProcessorFormatter(
                foreign_pre_chain=[*shared, structlog.stdlib.add_logger_name],
                processors=[
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    render,
                ],
            )
        )
        root = logging.getLogger()
        self._before = (root.handlers[:], root.level)
        root.handlers[:] = [self._foreign]
        root.setLevel(LEVELS[level])
        for name in LIBRARIES:
            logging.getLogger(name).setLevel(max(logging.WARNING, LEVELS[level]))

    def info(self, name: str, /, **fields: object) -> None:
        self._logger.info(name, **fields)

    def warning(self, name: str, /, **fields: object) -> None:
        self._logger.warning(name, **fields)

    def error(self, name: str, /, **fields: object) -> None:
        self._logger.error(name, **fields)

    def event(self, event: Event) -> None:
        """One event of a decision (or of the journal, the inbox, ...) under its own name."""
        fields = {"text": event.text} if event.miner is None else {"text": event.text, "miner": event.miner}
        match event.level:
            case EventLevel.INFO:
                self._logger.info(event.name, **fields)
            case EventLevel.WARNING:
                self._logger.warning(event.name, **fields)
            case EventLevel.ERROR:
                self._logger.error(event.name, **fields)

    def failure(self, name: str, /, key: str, **fields: object) -> None:
        """A device's failure that will come again and again: the first of its key at once, then one line a minute
        saying how many there were. `key` names device and fault, e.g. "meter poi timeout"."""
        repeats = self._repeats.pass_on(key)
        if repeats is not None:
            self._logger.warning(name, **fields, **({"repeats": repeats} if repeats else {}))

    def close(self, within_s: float = 1.0) -> None:
        """Give the library's records back to whoever had them, write what waits, but not for long."""
        root = logging.getLogger()
        root.handlers[:] = self._before[0]
        root.setLevel(self._before[1])
        self._lines.close(within_s)


class LineWriter:
    """Writes lines from a thread. When the reader stalls and the queue is full, lines are dropped and counted."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Queue one line; never waits."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1

    debug = info = warning = error = critical = msg  # what structlog calls by the level's name

    def close(self, within_s: float) -> None:
        """Write what is queued, if the reader takes it in time."""
        try:
            self._queue.put(None, timeout=within_s)
        except queue.Full:
            return
        self._thread.join(within_s)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            try:
                self._stream.write(line + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # the reader is gone, or the stream is closed: nobody to tell
                continue


class RepeatLimit:
    """Lets the first failure of a key pass, then one per interval with the number held back since."""

    def __init__(self, interval_s: float, clock: Callable[[], float]) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def pass_on(self, key: str) -> int | None:
        """None: hold this one back. Otherwise the number held back since the last that passed."""
        now = self._clock()
        passed_at, held = self._seen.get(key, (None, 0))
        if passed_at is not None and now - passed_at < self._interval_s:
            self._seen[key] = (passed_at, held + 1)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > REPEAT_KEYS:
            self._seen.popitem(last=False)
        return held


class _Json:
    """Renders one event as a JSON line, behind its journald priority where journald reads it."""

    def __init__(self, prefixed: bool) -> None:
        self._prefixed = prefixed

    def __call__(self, logger: object, method: str, event: EventDict) -> str:
        first = {"at": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
        line = json.dumps({**first, **event}, default=str, ensure_ascii=False)
        return PRIORITY.get(first["level"], "<6>") + line if self._prefixed else line


class _Handler(logging.Handler):
    """Hands the records of libraries to the same writer."""

    def __init__(self, lines: LineWriter) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.msg(self.format(record))
