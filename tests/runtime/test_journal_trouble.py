"""The journal on a real disk: what is acknowledged is there, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sqlite3
import subprocess
from pathlib import Path

import pytest

from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Event
from controller.runtime.journal import JournalLimits, SqliteJournal
from controller.runtime.journal_file import JournalFile, read_rows
from tests.runtime.journal_rows import LIMITS, corrupt_files, numbers, row, until


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
