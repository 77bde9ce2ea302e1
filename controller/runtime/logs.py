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
from collections.abc import Callable, Mapping, MutableMapping
from typing import Any, Literal, TextIO

import structlog

from controller.domain.plan import Event
from controller.runtime.log_limits import HELD_BACK, REPEAT_EVERY_S, TELL_EVERY_S, ByteBudget, NameLimit, RepeatLimit

QUEUE_LINES = 10_000
LINE_MAX = 16_384  # characters; of a longer one each field keeps FIELD_MAX
FIELD_MAX = 2_000
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
        render = structlog.dev.ConsoleRenderer(colors=stream.isatty()) if pretty else _Json(prefixed)
        shared: list[Any] = [structlog.processors.add_log_level, structlog.processors.TimeStamper("iso", utc=True)]
        self._steps = [*shared, structlog.processors.format_exc_info, render]
        self._names = NameLimit(clock)
        self._bytes = ByteBudget(clock)
        self._lines = LineWriter(stream, self._bytes, self._losses)
        self._repeats = RepeatLimit(REPEAT_EVERY_S, clock)
        self._logger = structlog.wrap_logger(
            self._lines,
            processors=self._steps,
            wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        ).bind()
        self._foreign = _Handler(self._lines, self._names)
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
        self._say("info", name, fields)

    def warning(self, name: str, /, **fields: object) -> None:
        self._say("warning", name, fields)

    def error(self, name: str, /, **fields: object) -> None:
        self._say("error", name, fields)

    def event(self, event: Event) -> bool:
        """One event of a decision (or of the journal, the inbox, ...) under its own name. False: there were too many of
        that name, and it was held back; `held_back` will tell."""
        fields = {"text": event.text} if event.miner is None else {"text": event.text, "miner": event.miner}
        return self._say(event.level.value, event.name, fields)

    def failure(self, name: str, /, key: str, **fields: object) -> None:
        """A device's failure that will come again and again: the first of its key at once, then one line a minute
        saying how many there were. `key` names device and fault, e.g. "meter poi timeout"."""
        repeats = self._repeats.pass_on(key)
        if repeats is not None:
            self._say("warning", name, {**fields, **({"repeats": repeats} if repeats else {})})

    def held_back(self) -> list[Event]:
        """What is to be told about lines held back, at most once a minute for each name; the caller tells it."""
        return self._names.due() + self._bytes.due()

    @property
    def lines_held_back(self) -> int:
        """Lines beyond what the limits allow, since the start."""
        return self._names.held_back + self._bytes.held_back

    @property
    def lines_dropped(self) -> int:
        """Lines nobody read in time, or at all, since the start."""
        return self._lines.dropped

    def _say(self, level: str, name: str, fields: Mapping[str, object]) -> bool:
        if name != HELD_BACK and not self._names.passes(name, level):
            return False
        getattr(self._logger, level)(name, **fields)
        return True

    def _losses(self, lines: int) -> str:
        """The line that says that others are missing; called from the thread that writes."""
        line: Any = {"event": "log_lines_dropped", "lines": lines, "text": "nobody read them in time"}
        for step in self._steps:
            line = step(self._lines, "warning", line)
        return str(line)

    def close(self, within_s: float = 1.0) -> None:
        """Give the library's records back to whoever had them, write what waits, but not for long."""
        for event in self._names.due(0.0) + self._bytes.due(0.0):
            self.event(event)
        root = logging.getLogger()
        root.handlers[:] = self._before[0]
        root.setLevel(self._before[1])
        self._lines.close(within_s)


class LineWriter:
    """Writes lines from a thread. When the reader stalls and the queue is full, lines are dropped and counted; when it
    reads again, `losses` makes the line that says how many."""

    def __init__(
        self,
        stream: TextIO,
        budget: ByteBudget | None = None,
        losses: Callable[[int], str] = "{} lines dropped".format,
    ) -> None:
        self._stream = stream
        self._budget = budget
        self._losses = losses
        self._queue: queue.Queue[str | None] = queue.Queue(QUEUE_LINES)
        self._lock = threading.Lock()
        self._told = 0
        self._told_at = time.monotonic()
        self.dropped = 0
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        """Queue one line; never waits."""
        self._put(line, important=False)

    def error(self, line: str) -> None:
        """The same for a line that matters."""
        self._put(line, important=True)

    debug = info = warning = msg  # what structlog calls by the level's name
    critical = error

    def _put(self, line: str, important: bool) -> None:
        if self._budget is not None and not self._budget.allows(len(line.encode()), important):
            return
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self._drop()

    def close(self, within_s: float) -> None:
        """Write what is queued, if the reader takes it in time."""
        try:
            self._queue.put(None, timeout=within_s)
        except queue.Full:
            return
        self._thread.join(within_s)

    def _run(self) -> None:
        while (line := self._queue.get()) is not None:
            if self._write(line):
                self._tell()
            else:
                self._drop()
        self._tell()

    def _tell(self) -> None:
        """Say what is missing, once the lines before it are out; where that never comes, once a minute."""
        now = time.monotonic()
        missing = self.dropped - self._told
        if not missing:
            self._told_at = now
        elif (self._queue.empty() or now - self._told_at >= TELL_EVERY_S) and self._write(self._losses(missing)):
            self._told, self._told_at = self._told + missing, now

    def _write(self, line: str) -> bool:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # the reader is gone, or the stream is closed: nobody to tell
            return False
        return True

    def _drop(self) -> None:
        with self._lock:
            self.dropped += 1


class _Json:
    """Renders one event as a JSON line, behind its journald priority where journald reads it."""

    def __init__(self, prefixed: bool) -> None:
        self._prefixed = prefixed

    def __call__(self, logger: object, method: str, event: EventDict) -> str:
        first = {"at": event.pop("timestamp"), "level": event.pop("level"), "event": event.pop("event")}
        line = _as_json({**first, **event})
        if len(line) > LINE_MAX:
            line = _as_json({**first, **{name: str(value)[:FIELD_MAX] for name, value in event.items()}})
        return PRIORITY.get(first["level"], "<6>") + line if self._prefixed else line


def _as_json(fields: Mapping[str, object]) -> str:
    return json.dumps(fields, default=str, ensure_ascii=False)


class _Handler(logging.Handler):
    """Hands the records of libraries to the same writer, a logger counting as a name."""

    def __init__(self, lines: LineWriter, names: NameLimit) -> None:
        super().__init__()
        self._lines = lines
        self._names = names

    def emit(self, record: logging.LogRecord) -> None:
        level = record.levelname.lower()
        if self._names.passes(record.name, level):
            (self._lines.error if record.levelno >= logging.ERROR else self._lines.msg)(self.format(record))
