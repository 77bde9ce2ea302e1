"""The journal on a real disk: what is written is found again, by its owner alone, and by no program that is too old."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from controller.domain.journalling import RowKind
from controller.runtime.journal import JournalInUseError, JournalRefusedError, SqliteJournal
from controller.runtime.journal_file import SCHEMA_VERSION, JournalFile, last_checkpoint, read_rows
from tests.runtime.journal_rows import LIMITS, numbers, row


async def test_rows_come_back_as_they_went_in(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with SqliteJournal(path, LIMITS, print) as journal:
        assert journal.writable
        handles = [journal.append((row(number), row(number, RowKind.TELEMETRY))) for number in range(50)]
        assert all([await handle.wait() for handle in handles])
        assert list(read_rows(path, (RowKind.EVENT,), since_wall=48.0)) == [row(48), row(49)]
        assert journal.waiting_rows == 0
        assert journal.rows_written == 100
    assert numbers(path) == list(range(50))
    async with SqliteJournal(path, LIMITS, print) as again:
        assert await again.append((row(50),)).wait()
    assert numbers(path) == list(range(51))


async def test_the_journal_is_for_its_owner_and_group_alone(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db", LIMITS, print) as journal:
        assert await journal.append((row(1),)).wait()
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == dict.fromkeys(["journal.db", "journal.db-wal", "journal.db-shm", "journal.db.lock"], 0o640)


async def test_the_newest_checkpoint_is_found(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with SqliteJournal(path, LIMITS, print) as journal:
        assert last_checkpoint(path) is None
        await journal.append((row(1, RowKind.CHECKPOINT), row(2, RowKind.CHECKPOINT), row(3))).wait()
        assert last_checkpoint(path) == row(2, RowKind.CHECKPOINT)


def test_a_checkpoint_goes_when_two_newer_ones_are_there_and_nothing_else_does(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    file = JournalFile(path)
    for number in range(5):
        file.append([row(number), row(10 + number, RowKind.CHECKPOINT)])
    file.close()
    assert numbers(path, RowKind.CHECKPOINT) == [13, 14]
    assert numbers(path) == [0, 1, 2, 3, 4]


async def test_a_second_daemon_is_refused_and_named_the_first(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    async with SqliteJournal(path, LIMITS, print):
        with pytest.raises(JournalInUseError, match=f"process {os.getpid()}: one daemon per fleet"):
            SqliteJournal(path, LIMITS, print)
    async with SqliteJournal(path, LIMITS, print) as after:
        assert after.writable


async def test_a_missing_directory_is_refused_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(JournalRefusedError, match="nowhere"):
        SqliteJournal(tmp_path / "nowhere" / "journal.db", LIMITS, print)


async def test_a_journal_of_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    JournalFile(path).close()
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    db.close()
    for _ in range(2):  # the lock is given back each time
        with pytest.raises(JournalRefusedError, match=f"schema {SCHEMA_VERSION + 1}"):
            SqliteJournal(path, LIMITS, print)


async def test_a_journal_of_an_older_version_is_written_on_and_then_refused_by_its_old_program(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    file = JournalFile(path)
    file.append([row(1)])
    file.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version={SCHEMA_VERSION - 1}")
    async with SqliteJournal(path, LIMITS, print) as journal:
        await journal.append((row(2),)).wait()
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
    assert list(read_rows(path)) == [row(1), row(2)]


async def test_a_batch_appended_after_the_end_is_refused_not_forgotten(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", LIMITS, print)
    last = journal.append((row(1),))
    assert await journal.close()
    assert await last.wait()
    assert not await journal.append((row(2),)).wait()
    assert not journal.writable
