"""The journal on disk: SQLite in WAL mode with full synchronisation, one writer thread, one commit for all that waits.

Nothing here makes a caller wait: `append` queues, the returned handle tells later. When the disk fails, rows stay in
bounded memory and are tried again every few seconds; what had to be dropped is counted and journalled afterwards.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Event, EventLevel
from controller.runtime.journal_batch import Batch, bytes_of
from controller.runtime.journal_file import JournalFile, JournalVersionError, is_corruption, set_aside
from controller.runtime.journal_lock import JournalInUseError, JournalRefusedError, lock
from controller.wire.rows import event_row

__all__ = ["JournalInUseError", "JournalLimits", "JournalRefusedError", "SqliteJournal"]

RETRY_S = 2.0
PRUNE_EVERY_S, PRUNE_SOON_S = 30.0, 0.5
START_WITHIN_S = 5.0
# What goes first when rows do not fit into memory: what can be measured again before what cannot.
SHED_ORDER = (
    frozenset({RowKind.TELEMETRY}),
    frozenset({RowKind.READINGS}),
    frozenset(RowKind) - {RowKind.PRIOR},
)


@dataclass(frozen=True, slots=True)
class JournalLimits:
    """keep_s, keep_bytes: older or more than this is pruned. waiting_bytes: memory for rows the disk does not take.

    stalled_after_s: a commit under way for longer than this counts as not writable, so that raising stops waiting.
    """

    keep_s: float
    keep_bytes: int
    waiting_bytes: int = 64 * 2**20
    stalled_after_s: float = 5.0


class SqliteJournal:
    """controller.ports.Journal on one SQLite file. `on_event` is called on the loop with what a person should know.

    Open it on the loop it serves; `close` gives the writer a moment to empty its queue and releases the lock.
    """

    def __init__(self, path: Path, limits: JournalLimits, on_event: Callable[[Event], None]) -> None:
        """Take the lock and start the writer; raises JournalInUseError or JournalRefusedError.

        A full or failing disk is no reason to refuse: the journal then starts as not writable and keeps trying.
        """
        self._path = path
        self._limits = limits
        self._on_event = on_event
        self._loop = asyncio.get_running_loop()
        self._lock_fd = lock(path)
        self._changed = threading.Condition()
        self._queue: list[Batch] = []
        self._taken: list[Batch] = []
        self._backlog: list[Row] = []
        self._waiting_bytes = 0
        self._closing = False
        self._failed: str | None = None
        self._lost = 0
        self._committing_since: float | None = None
        self._tried = threading.Event()
        self._refused: JournalVersionError | None = None
        self._broken = False
        self.rows_written = 0
        self.rows_lost = 0
        self.last_commit_s: float | None = None
        self._thread = threading.Thread(target=self._write_until_closed, name="journal", daemon=True)
        self._thread.start()
        self._tried.wait(START_WITHIN_S)
        self._raise_if_refused()

    def append(self, rows: tuple[Row, ...]) -> Batch:
        """Queue rows for the next commit; see controller.ports.Journal.

        Raises RuntimeError when the writer ended by a bug: without it nothing would ever be raised again, or recorded,
        and nobody would know why. A restart is the better answer.
        """
        batch = Batch(self._loop, rows)
        with self._changed:
            if self._broken:
                raise RuntimeError("the journal's writer ended by a bug; its traceback stands in the log")
            if self._closing:
                batch.settle(False)
                return batch
            if self._failed is not None:
                batch.settle(False)  # kept for later, but nobody should wait for a disk that has failed
            self._queue.append(batch)
            self._waiting_bytes += bytes_of(rows)
            if self._waiting_bytes > self._limits.waiting_bytes:
                self._shrink()
            self._changed.notify()
        return batch

    @property
    def writable(self) -> bool:
        """False after a failed write and while a commit hangs; true again after one succeeded."""
        since = self._committing_since
        stalled = since is not None and time.monotonic() - since > self._limits.stalled_after_s
        return self._failed is None and not stalled and self._thread.is_alive()

    @property
    def waiting_rows(self) -> int:
        """Rows appended and not yet on the disk."""
        with self._changed:
            return sum(len(batch.rows) for batch in self._queue) + len(self._backlog)

    async def close(self, within_s: float = 2.0) -> bool:
        """Write what waits, end the writer, release the lock. False when rows were left: the disk did not take them."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        await asyncio.to_thread(self._thread.join, within_s)
        if self._thread.is_alive():  # a hanging disk: the lock goes with the process
            return False
        self._unlock()
        return not self._backlog and not self._queue

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def _unlock(self) -> None:
        if self._lock_fd is not None:
            os.close(self._lock_fd)

    def _raise_if_refused(self) -> None:
        if self._refused is not None:
            self._thread.join()
            self._unlock()
            raise JournalRefusedError(str(self._refused)) from None

    def _write_until_closed(self) -> None:
        """The writer thread. Whatever ends it, nobody is left waiting for a batch."""
        orderly = False
        try:
            self._write()
            orderly = True
        finally:
            self._tried.set()
            with self._changed:
                self._closing, self._broken = True, not orderly
                left, self._queue = [*self._taken, *self._queue], []
            self._settle(left, False)

    def _write(self) -> None:
        file: JournalFile | None = None
        prune_at = time.monotonic()
        while True:
            batches, rows, closing = self._take(wait=file is not None)
            try:
                file = file or JournalFile(self._path)
                self._commit(file, batches, rows)
                if time.monotonic() >= prune_at:
                    # One small slice at a time; a full one means there is more, so the next comes soon.
                    full = file.prune_slice(self._limits.keep_s, self._limits.keep_bytes)
                    prune_at = time.monotonic() + (PRUNE_SOON_S if full else PRUNE_EVERY_S)
            except JournalVersionError as refused:
                self._refused = refused
                return
            except sqlite3.Error as error:
                if file is not None:
                    file.close()
                file = None
                if self._after_failure(batches, rows, error):
                    continue
            self._tried.set()
            if closing:
                if file is not None:
                    file.close()
                return
            if file is None:
                with self._changed:
                    self._changed.wait_for(lambda: self._closing, RETRY_S)

    def _take(self, wait: bool) -> tuple[list[Batch], list[Row], bool]:
        """Everything that waits, oldest first; from here on it is the writer's alone."""
        with self._changed:
            if wait:
                self._changed.wait_for(lambda: self._queue or self._backlog or self._closing, PRUNE_SOON_S)
            batches, self._queue = self._queue, []
            self._taken = batches
            rows, self._backlog = [*self._backlog, *(row for batch in batches for row in batch.rows)], []
            self._committing_since = time.monotonic()
            return batches, rows, self._closing

    def _commit(self, file: JournalFile, batches: list[Batch], rows: list[Row]) -> None:
        failed, lost = self._failed, self._lost
        notes = []
        if failed is not None:  # also the proof that the disk takes rows again
            text = f"the journal is written again after: {failed}; {lost} rows were lost meanwhile"
            notes.append(Event("journal_writable", EventLevel.WARNING if lost else EventLevel.INFO, text))
        elif lost:
            text = f"{lost} rows were dropped: the disk did not keep up"
            notes.append(Event("journal_rows_lost", EventLevel.ERROR, text))
        if rows or notes:
            began = time.monotonic()
            file.append([*rows, *(event_row(time.time(), note) for note in notes)])
            self.last_commit_s = time.monotonic() - began
        with self._changed:
            self._failed = None
            self._lost -= lost
            self._waiting_bytes -= bytes_of(rows)
            self._committing_since = None
            self.rows_written += len(rows) + len(notes)
        for note in notes:
            self._tell(note)
        self._settle(batches, True)

    def _after_failure(self, batches: list[Batch], rows: list[Row], error: sqlite3.Error) -> bool:
        """Keep the rows for the next try, which opens the file afresh; say so once; let nobody wait.

        True when that try may come at once, because a damaged file was moved out of the way.
        """
        with self._changed:
            self._backlog = [*rows, *self._backlog]
            first, self._failed = self._failed is None, str(error)
            self._committing_since = None
            waiting = [*batches, *self._queue]
            if self._waiting_bytes > self._limits.waiting_bytes:
                self._shrink()
        self._settle(waiting, False)
        if is_corruption(error):
            return self._set_aside(error)
        if first:
            text = (
                f"{self._path} cannot be written ({error}); nothing is raised until it can, tried every {RETRY_S:.0f} s"
            )
            self._tell(Event("journal_not_writable", EventLevel.ERROR, text))
        return False

    def _set_aside(self, damage: sqlite3.Error) -> bool:
        try:
            text = f"{self._path} is damaged ({damage}); moved to {set_aside(self._path).name}, a new journal begins"
            moved = True
        except OSError as error:
            text = f"{self._path} is damaged ({damage}) and cannot be moved: {error.strerror}"
            moved = False
        self._tell(Event("journal_corrupt", EventLevel.ERROR, text))
        return moved

    def _shrink(self) -> None:
        """Bring the waiting rows under their memory limit (with the lock held): oldest telemetry first, then readings,
        then anything but prior modes. Only rows go; whoever waits for their batch is told by the writer as usual."""
        rows = [*self._backlog, *(row for batch in self._queue for row in batch.rows)]
        excess = self._waiting_bytes - self._limits.waiting_bytes * 9 // 10
        dropped: set[int] = set()
        for kinds in SHED_ORDER:
            for index, row in enumerate(rows):
                if excess <= 0:
                    break
                if row.kind in kinds and index not in dropped:
                    dropped.add(index)
                    excess -= len(row.body)
        self._backlog = [row for index, row in enumerate(rows) if index not in dropped]
        for batch in self._queue:
            batch.rows = ()
        self._waiting_bytes -= sum(len(rows[index].body) for index in dropped)
        self._lost += len(dropped)
        self.rows_lost += len(dropped)

    def _settle(self, batches: list[Batch], durable: bool) -> None:
        def settle() -> None:
            for batch in batches:
                batch.settle(durable)

        self._on_loop(settle)

    def _tell(self, event: Event) -> None:
        self._on_loop(lambda: self._on_event(event))

    def _on_loop(self, call: Callable[[], None]) -> None:
        try:
            self._loop.call_soon_threadsafe(call)
        except RuntimeError:  # the loop is closed: nobody is left to be told
            return
