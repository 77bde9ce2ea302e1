"""The journal on a real disk: what is acknowledged is there, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Event
from controller.runtime.journal import JournalInUseError, JournalLimits, JournalRefusedError, SqliteJournal
from controller.runtime.journal_file import SCHEMA_VERSION, JournalFile, last_checkpoint, read_rows

LIMITS = JournalLimits(keep_s=1e11, keep_bytes=2**30)
DEADLINE_S = 20.0


def row(number: int, kind: RowKind = RowKind.EVENT, wall: float | None = None) -> Row:
    return Row(float(number) if wall is None else wall, kind, json.dumps({"number": number}))


def numbers(path: Path, kind: RowKind = RowKind.EVENT) -> list[int]:
    return [json.loads(found.body)["number"] for found in read_rows(path, (kind,))]


def corrupt_files(folder: Path) -> list[Path]:
    return list(folder.glob("journal.db.corrupt-*[0-9]"))


async def until(condition: Callable[[], Any]) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)


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


@pytest.mark.parametrize("damage", [b"not a database at all" * 500, None], ids=["foreign_bytes", "torn_pages"])
async def test_a_damaged_journal_is_set_aside_and_a_new_one_begins(tmp_path: Path, damage: bytes | None) -> None:
    path = tmp_path / "journal.db"
    if damage is None:
        file = JournalFile(path)
        file.append([row(number) for number in range(5000)])
        file.close()
        size = path.stat().st_size
        with path.open("r+b") as torn:
            torn.seek(4096)
            torn.write(os.urandom(size - 4096))
    else:
        path.write_bytes(damage)
    events: list[Event] = []
    async with SqliteJournal(path, LIMITS, events.append) as journal:
        assert await journal.append((row(7),)).wait()
        assert journal.writable
        await until(lambda: len(events) == 2)
    assert [event.name for event in events] == ["journal_corrupt", "journal_writable"]
    (aside,) = corrupt_files(tmp_path)
    assert aside.name in events[0].text
    assert {"number": 7} in [json.loads(found.body) for found in read_rows(path)]


CHILD = """
import asyncio, sys
from pathlib import Path
from controller.domain.journalling import Row, RowKind
from controller.runtime.journal import JournalLimits, SqliteJournal
async def main():
    journal = SqliteJournal(Path(sys.argv[1]), JournalLimits(1e11, 2**30), print)
    async def write(first):
        for number in range(first, 1_000_000, 4):
            if await journal.append((Row(0.0, RowKind.EVENT, '{"number":%d}' % number),)).wait():
                sys.stdout.write(f"{number}\\n"); sys.stdout.flush()
    await asyncio.gather(*(write(first) for first in range(4)))
asyncio.run(main())
"""


def test_every_acknowledged_row_survives_kill_nine(tmp_path: Path, python: str) -> None:
    path = tmp_path / "journal.db"
    child = subprocess.Popen([python, "-c", CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    acknowledged = [int(child.stdout.readline()) for _ in range(300)]
    child.send_signal(signal.SIGKILL)
    acknowledged += [int(line) for line in child.stdout.read().split("\n")[:-1]]
    child.wait(10)
    child.stdout.close()
    written = numbers(path)
    assert len(acknowledged) >= 300
    assert set(acknowledged) <= set(written)
    assert len(written) == len(set(written))


DISK_FULL = """
import asyncio, json, resource, sys
from pathlib import Path
from controller.domain.journalling import Row, RowKind
from controller.runtime.journal import JournalLimits, SqliteJournal

def corrupt_files(folder: Path) -> list[Path]:
    return list(folder.glob("journal.db.corrupt-*[0-9]"))


async def until(condition):
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.01)

async def main():
    events = []
    limits = JournalLimits(1e11, 2**30, waiting_bytes=100_000)
    journal = SqliteJournal(Path(sys.argv[1]), limits, lambda event: events.append(event.name))
    seen = {"before": await journal.append((Row(0.0, RowKind.EVENT, "{}"),)).wait()}
    resource.setrlimit(resource.RLIMIT_FSIZE, (60_000, resource.RLIM_INFINITY))
    padding = "x" * 1000
    answers = []
    for number in range(300):
        kind = RowKind.TELEMETRY if number % 3 else RowKind.COMMAND
        body = json.dumps({"number": number, "padding": padding})
        answers.append(await journal.append((Row(1.0, kind, body),)).wait())
    seen["full"] = [answers[-1], journal.writable]
    seen["waiting"] = journal.waiting_rows
    seen["acknowledged"] = [number for number, durable in enumerate(answers) if durable]
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    await until(lambda: journal.writable)
    seen["after"] = await journal.append((Row(2.0, RowKind.EVENT, "{}"),)).wait()
    seen["lost"] = journal.rows_lost
    seen["closed"] = await journal.close()
    seen["events"] = events
    print(json.dumps(seen))
asyncio.run(main())
"""


def test_a_full_disk_stops_nothing_and_what_is_dropped_is_counted(tmp_path: Path, python: str) -> None:
    path = tmp_path / "journal.db"
    done = subprocess.run([python, "-c", DISK_FULL, str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert seen["before"] is True
    assert seen["full"] == [False, False]
    assert seen["waiting"] < 110
    assert seen["after"] is True
    assert seen["closed"] is True
    assert seen["events"] == ["journal_not_writable", "journal_writable"]
    commands = numbers(path, RowKind.COMMAND)
    telemetry = numbers(path, RowKind.TELEMETRY)
    assert set(seen["acknowledged"]) <= {*commands, *telemetry}
    assert len(commands) + len(telemetry) + seen["lost"] == 300
    assert seen["lost"] > 0
    assert len(telemetry) < len(commands), "telemetry is dropped before commands"
    (note,) = [found.body for found in read_rows(path, (RowKind.EVENT,)) if "rows were lost" in found.body]
    assert f"{seen['lost']} rows were lost" in note


class Clock:
    """The writer's own clock, cranked by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize("ahead_s", [3600.0, 4 * 365 * 86_400.0], ids=["an hour", "four years"])
def test_a_wall_clock_set_ahead_costs_no_more_of_the_record_than_twice_the_time_it_is_wrong(
    tmp_path: Path, ahead_s: float
) -> None:
    """A day of rows one a minute, kept for a day; then the wall clock jumps, and the daemon runs on for an hour."""
    path, keep_s, clock = tmp_path / "journal.db", 86_400.0, Clock()
    file = JournalFile(path, wall=lambda: 2e9 + ahead_s + clock.now, loop=clock)
    file.append([row(minute, wall=2e9 + clock.now - 60.0 * (1440 - minute)) for minute in range(1440)])
    for _ in range(120):  # the writer comes by every 30 s
        clock.now += 30.0
        file.append([row(9999, wall=2e9 + ahead_s + clock.now)])
        file.prune_slice(keep_s, 2**30)
    left = [number for number in numbers(path) if number != 9999]
    gone = 1440 - len(left)
    assert left == list(range(gone, 1440)), "the oldest first"
    assert gone <= 2 * 60, "an hour at twice the pace"
    file.close()


def test_rows_of_a_clock_that_was_decades_behind_do_not_stop_the_pruning(tmp_path: Path) -> None:
    path, clock = tmp_path / "journal.db", Clock()
    file = JournalFile(path, wall=lambda: 2e9 + clock.now, loop=clock)
    file.append([*(row(n, wall=100.0 + n) for n in range(50)), *(row(100 + n, wall=2e9 + n) for n in range(50))])
    for _ in range(40):
        clock.now += 30.0
        file.prune_slice(500.0, 2**30)
    assert numbers(path) == [149], "all but the newest row are older than 500 s"
    file.close()


def test_pruning_takes_the_oldest_and_keeps_prior_modes_and_the_newest_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    now, clock = time.time(), Clock()
    file = JournalFile(path, wall=lambda: now, loop=clock)
    old = [row(number, wall=now - 1000) for number in range(1200)]
    kept = [row(1, RowKind.PRIOR, now - 1000), row(2, RowKind.CHECKPOINT, now - 1000)]
    file.append([row(0, RowKind.CHECKPOINT, now - 2000), *kept, *old, row(9999, wall=now)])
    slices = 1
    clock.now += 3600.0
    while file.prune_slice(keep_s=500, keep_bytes=2**30):
        clock.now += 1.0
        slices += 1
    assert slices >= 3
    assert numbers(path) == [9999]
    assert numbers(path, RowKind.PRIOR) == [1]
    assert numbers(path, RowKind.CHECKPOINT) == [2]
    file.append([row(number, wall=now) for number in range(20_000)])
    used = file.used_bytes()
    while file.prune_slice(keep_s=500, keep_bytes=used // 2):
        pass
    assert file.used_bytes() <= used // 2
    assert numbers(path)[-1] == 19_999
    assert numbers(path, RowKind.PRIOR) == [1]
    file.close()


async def test_appending_never_waits_while_another_process_holds_the_database(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    limits = JournalLimits(keep_s=1e11, keep_bytes=2**30, stalled_after_s=0.1)
    async with SqliteJournal(path, limits, print) as journal:
        blocker = sqlite3.connect(path, isolation_level=None)
        blocker.execute("BEGIN IMMEDIATE")
        handle = journal.append((row(1),))
        waiting = asyncio.ensure_future(handle.wait())
        await until(lambda: not journal.writable)
        assert not waiting.done()
        blocker.execute("ROLLBACK")
        blocker.close()
        assert await waiting
        await until(lambda: journal.writable)


async def test_a_batch_appended_after_the_end_is_refused_not_forgotten(tmp_path: Path) -> None:
    journal = SqliteJournal(tmp_path / "journal.db", LIMITS, print)
    last = journal.append((row(1),))
    assert await journal.close()
    assert await last.wait()
    assert not await journal.append((row(2),)).wait()
    assert not journal.writable


async def test_a_body_with_a_flipped_bit_keeps_the_journal_writable(tmp_path: Path) -> None:
    path = tmp_path / "journal.db"
    file = JournalFile(path)
    file.append([Row(0.0, RowKind.EVENT, '{"text":"a precious word"}')])
    file.close()
    octets = path.read_bytes()
    assert octets.count(b"precious") == 1
    path.write_bytes(octets.replace(b"precious", b"prec\xefous"))  # no longer UTF-8, and SQLite keeps no checksums
    async with SqliteJournal(path, LIMITS, print) as journal:
        assert await journal.append((row(1),)).wait()
        assert journal.writable


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
async def test_a_writer_that_ends_by_a_bug_ends_the_daemon_and_not_only_the_journal(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db", LIMITS, print) as journal:
        unwritable = Row(0.0, RowKind.EVENT, "\ud800")  # no encoding has it, so sqlite3 raises what is no sqlite3.Error
        assert not await journal.append((unwritable,)).wait()
        await until(lambda: not journal.writable)
        with pytest.raises(RuntimeError, match="ended by a bug"):
            journal.append((row(1),))
