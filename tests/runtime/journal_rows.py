"""Rows that tests write to a journal, and how they find them again."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from controller.domain.journalling import Row, RowKind
from controller.runtime.journal import JournalLimits
from controller.runtime.journal_file import read_rows

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
