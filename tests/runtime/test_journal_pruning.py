"""What the journal forgets as it grows, and what it keeps whatever the clock was set to."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from controller.domain.journalling import RowKind
from controller.runtime.journal_file import JournalFile
from tests.runtime.journal_rows import numbers, row


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
