"""The journal's SQLite file: its schema, its statements, reading it, and setting a damaged one aside.

Raises sqlite3.Error throughout: which of them is a full disk, which a damaged file, is the journal's to judge.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path

from controller.domain.journalling import Row, RowKind

SCHEMA_VERSION = 2  # rises with what an older reader would not understand, in the table or in a body
PRUNE_SLICE_ROWS = 500  # some milliseconds of work: an append never waits longer than one slice
PRUNE_PACE = 2.0  # seconds of the record that may go by age in one second
BUSY_TIMEOUT_S = 1.0
READ_PAGE_ROWS = 2000
_CORRUPT = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_COMPANIONS = ("", "-wal", "-shm")


class JournalVersionError(Exception):
    """The file was written by a newer curtaild; an older one must not guess what is in it."""


class JournalFile:
    """One open journal, for the writer thread alone. `wall` and `loop` are its clocks: UTC, and one nobody can set."""

    def __init__(
        self, path: Path, *, wall: Callable[[], float] = time.time, loop: Callable[[], float] = time.monotonic
    ) -> None:
        """Open or create; raises sqlite3.Error, or JournalVersionError when the file is newer than this program."""
        self._wall, self._loop = wall, loop
        self._pruned_at = loop()
        # SQLite alone would let everybody read a new file. Only a new one is touched: closing a descriptor of a file in
        # use would drop SQLite's locks on it. Where there can be no file, SQLite says so in its own words.
        with suppress(OSError):
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640))
        self._db = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        self._db.text_factory = bytes  # a body with a flipped bit is no text any more, and no reason not to go on
        try:
            self._prepare(path)
        except BaseException:
            self._db.close()
            raise

    def _prepare(self, path: Path) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise JournalVersionError(
                f"{path} has schema {version}, this curtaild knows {SCHEMA_VERSION}: run a newer one or move it away"
            )
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute("PRAGMA journal_size_limit=16777216")
        if version == 0:
            self._db.executescript(
                f"""
                BEGIN IMMEDIATE;
                CREATE TABLE IF NOT EXISTS rows (
                    id INTEGER PRIMARY KEY, wall REAL NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL);
                CREATE INDEX IF NOT EXISTS rows_by_kind ON rows (kind, id);
                PRAGMA user_version={SCHEMA_VERSION};
                COMMIT;
                """
            )
        elif version < SCHEMA_VERSION:  # nothing to convert: rows of any age are read, and new ones come behind them
            self._db.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
        # Both ends of the table and of its index: where a torn file shows without reading gigabytes.
        self._db.execute("SELECT max(id), min(id), length(body) FROM rows").fetchone()
        self._db.execute("SELECT id, wall, kind, body FROM rows ORDER BY id DESC LIMIT 100").fetchall()
        self._db.execute("SELECT max(kind) FROM rows").fetchone()

    def append(self, rows: Sequence[Row]) -> None:
        """All rows in one transaction, on the disk when it returns."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            columns = ((row.wall, row.kind.value, row.body) for row in rows)
            self._db.executemany("INSERT INTO rows (wall, kind, body) VALUES (?, ?, ?)", columns)
            if any(row.kind is RowKind.CHECKPOINT for row in rows):
                self._forget_checkpoints()
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise

    def _forget_checkpoints(self) -> None:
        """A checkpoint is of no use once a newer one is there, and they would be most of the file: 2,000 miners write
        600 kB every ten seconds. The one before the newest stays, for whoever looks at a journal by hand."""
        kind = RowKind.CHECKPOINT.value
        self._db.execute(
            """DELETE FROM rows WHERE kind = ? AND id < (
                SELECT min(id) FROM (SELECT id FROM rows WHERE kind = ? ORDER BY id DESC LIMIT 2))""",
            (kind, kind),
        )

    def prune_slice(self, keep_s: float, keep_bytes: int) -> bool:
        """Delete some of what is too old or too much; True when a whole slice went, so that there may be more.

        Prior modes, the newest checkpoint and the newest start (which names the miners) stay: a resume stands on them.
        By age no more of the record goes than twice the time since the last call: a wall clock that is set years ahead
        must not take everything with it.
        """
        too_much = self.used_bytes() > keep_bytes
        oldest_wall = float("inf") if too_much else min(self._wall() - keep_s, self._may_go_until())
        self._db.execute("BEGIN IMMEDIATE")
        try:
            cursor = self._db.execute(
                """DELETE FROM rows WHERE id IN (
                    SELECT id FROM (SELECT id, wall, kind FROM rows WHERE kind <> ? ORDER BY id LIMIT ?)
                    WHERE wall < ? AND id <> coalesce((SELECT max(id) FROM rows WHERE kind = ?), -1)
                      AND id <> coalesce((SELECT max(id) FROM rows WHERE kind = ?), -1)
                      AND id < (SELECT max(id) FROM rows))""",
                (RowKind.PRIOR.value, PRUNE_SLICE_ROWS, oldest_wall, RowKind.CHECKPOINT.value, RowKind.START.value),
            )
            self._db.execute("COMMIT")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            raise
        return cursor.rowcount >= PRUNE_SLICE_ROWS - 2

    def _may_go_until(self) -> float:
        """UTC seconds, counted from the oldest row that is not there to stay."""
        before, self._pruned_at = self._pruned_at, self._loop()
        stay = (RowKind.PRIOR.value, RowKind.START.value, RowKind.CHECKPOINT.value)
        oldest = "SELECT wall FROM rows WHERE kind NOT IN (?, ?, ?) ORDER BY id LIMIT 1"
        found = self._db.execute(oldest, stay).fetchone()
        return float("inf") if found is None else float(found[0]) + PRUNE_PACE * (self._pruned_at - before)

    def used_bytes(self) -> int:
        """Bytes that hold rows; pages freed by pruning are used again, so the file itself stops growing too."""
        (pages,) = self._db.execute("PRAGMA page_count").fetchone()
        (free,) = self._db.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._db.execute("PRAGMA page_size").fetchone()
        return int((pages - free) * size)

    def close(self) -> None:
        """Close; a file that cannot even be closed properly is left to the operating system."""
        try:
            self._db.close()
        except sqlite3.Error:
            return


def is_corruption(error: sqlite3.Error) -> bool:
    """Whether the file itself is damaged (and not merely full, locked or out of reach)."""
    return getattr(error, "sqlite_errorcode", None) is not None and (error.sqlite_errorcode & 0xFF) in _CORRUPT


def set_aside(path: Path) -> Path:
    """Rename a damaged journal and its companions so that a new one can begin; returns the new name."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    aside, number = path.with_name(f"{path.name}.corrupt-{stamp}"), 1
    while aside.exists():
        aside, number = path.with_name(f"{path.name}.corrupt-{stamp}-{number}"), number + 1
    for companion in _COMPANIONS:
        source = path.with_name(path.name + companion)
        if source.exists():
            source.rename(aside.with_name(aside.name + companion))
    return aside


def read_rows(path: Path, kinds: Sequence[RowKind] = tuple(RowKind), since_wall: float = 0.0) -> Iterator[Row]:
    """Rows of some kinds from a moment (UTC seconds) on, oldest first, over a read-only connection of its own.

    Kinds a newer version wrote are skipped. Raises sqlite3.Error when there is no readable journal.
    """
    known = {kind.value: kind for kind in kinds}
    marks = ",".join("?" * len(known))
    # Page by page: one query kept open for as long as a replay takes would keep the write-ahead log from shrinking.
    query = f"""SELECT id, wall, kind, body FROM rows
        WHERE kind IN ({marks}) AND wall >= ? AND id > ? ORDER BY id LIMIT {READ_PAGE_ROWS}"""  # noqa: S608  # marks only
    with closing(_reader(path)) as db:
        place = -1
        while page := db.execute(query, (*known, since_wall, place)).fetchall():
            for _, wall, kind, body in page:
                yield Row(wall, known[kind], body)
            place = page[-1][0]


def last_row(path: Path, kind: RowKind) -> Row | None:
    """The newest row of one kind, None when there is none; raises sqlite3.Error when there is no readable journal."""
    with closing(_reader(path)) as db:
        query = "SELECT wall, body FROM rows WHERE kind = ? ORDER BY id DESC LIMIT 1"
        found = db.execute(query, (kind.value,)).fetchone()
    return None if found is None else Row(found[0], kind, found[1])


def last_checkpoint(path: Path) -> Row | None:
    """The newest checkpoint, None in a journal without one; raises sqlite3.Error when there is no readable journal."""
    return last_row(path, RowKind.CHECKPOINT)


def rows_behind_checkpoint(path: Path, kinds: Sequence[RowKind]) -> Iterator[Row]:
    """The newest start row before the newest checkpoint, then all rows of some kinds behind that checkpoint.

    By their place in the journal, not by their time: clocks are set back now and then. Without a checkpoint, all rows
    of these kinds. Raises sqlite3.Error when there is no readable journal.
    """
    marks = ",".join("?" * len(kinds))
    with closing(_reader(path)) as db:
        (place,) = db.execute("SELECT max(id) FROM rows WHERE kind = ?", (RowKind.CHECKPOINT.value,)).fetchone()
        place = place or 0
        query = "SELECT wall, body FROM rows WHERE kind = ? AND id < ? ORDER BY id DESC LIMIT 1"
        for wall, body in db.execute(query, (RowKind.START.value, place)):
            yield Row(wall, RowKind.START, body)
        query = f"SELECT wall, kind, body FROM rows WHERE kind IN ({marks}) AND id > ? ORDER BY id"  # noqa: S608  # marks only
        for wall, kind, body in db.execute(query, (*(kind.value for kind in kinds), place)):
            yield Row(wall, RowKind(kind), body)


def _reader(path: Path) -> sqlite3.Connection:
    """A read-only connection. On a read-only disk SQLite cannot make the files beside a journal that was closed in an
    orderly way; then there is nothing in them either, and the file is read as it stands."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    settled = not path.with_name(f"{path.name}-wal").exists() and not os.access(path.parent, os.W_OK)
    return sqlite3.connect(f"{address}&immutable=1" if settled else address, uri=True, timeout=BUSY_TIMEOUT_S)
