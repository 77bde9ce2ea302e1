"""How often the daemon died lately: a small file beside the console socket, read before anything else is touched.

It stands apart from the journal, which may be the very thing that kills us, and under systemd on a memory file system,
which a full disk does not reach. Times are seconds of the boot clock: no wall clock step makes or hides a crash loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
KEPT = 1000  # unclean ends remembered; a loop is recognised by far fewer


@dataclass(frozen=True, slots=True)
class Begun:
    """What this start is. safe_mode: the last ones died too often. unclean: how often within the window.

    trouble: why crashes cannot be counted, empty when they can.
    """

    safe_mode: bool
    unclean: int
    trouble: str = ""


def _boot_clock_s() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _this_boot() -> str:
    try:
        return BOOT_ID.read_text().strip()
    except OSError:
        return "unknown"


class Starts:
    """The record of starts of one daemon, in `path`."""

    def __init__(
        self, path: Path, clock: Callable[[], float] = _boot_clock_s, boot: Callable[[], str] = _this_boot
    ) -> None:
        self._path = path
        self._clock = clock
        self._boot = boot
        self._record: dict[str, object] = {}

    def begin(self, limit: int, window_s: float) -> Begun:
        """Enter this start. One before it that did not end in an orderly way counts, if it was of this boot.

        Once in safe mode every start is, until one was ended by a person (see `end`).
        """
        now, boot = self._clock(), self._boot()
        known = self._read()
        before = known if known.get("boot") == boot else {}
        unclean = [at for at in _times(before) if now - window_s <= at <= now]
        if before.get("running"):
            unclean.append(now)
        safe = bool(before.get("safe")) or len(unclean) >= limit
        self._record = {"boot": boot, "running": True, "safe": safe, "unclean": unclean[-KEPT:]}
        trouble = self._write(self._record)
        return Begun(safe, len(unclean), trouble)

    def withdraw(self) -> None:
        """This start was refused before it did anything: it is no crash, and forgives none."""
        self._write({**self._record, "running": False})

    def end(self) -> None:
        """Ended as it was told to: what came before is forgotten, and so is safe mode."""
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _read(self) -> dict[str, object]:
        """What stands there; nothing, when it is no record of ours: a torn one must not keep us from starting."""
        try:
            found = json.loads(self._path.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def _write(self, record: dict[str, object]) -> str:
        beside = self._path.with_name(f"{self._path.name}.new")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
            beside.write_text(json.dumps(record))
            beside.replace(self._path)
        except OSError as error:
            return f"{self._path} cannot be written ({error.strerror}): a crash loop would not be noticed"
        return ""


def _times(record: dict[str, object]) -> list[float]:
    found = record.get("unclean")
    return [float(at) for at in found if isinstance(at, int | float)] if isinstance(found, list) else []
