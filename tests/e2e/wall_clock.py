"""A wall clock of the daemon's own that can be stepped while it runs, by libfaketime. Its monotonic clock is the real
one, as when somebody sets a machine's clock."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

HOUR_S = 3600.0


class WallClock:
    """Hand `environment` to a process; `step` moves its idea of UTC at once."""

    def __init__(self, folder: Path) -> None:
        library = next(iter(sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))), None)
        if library is None:
            if os.environ.get("CURTAILD_REQUIRE_FAKETIME") == "1":
                pytest.fail("libfaketime is required here (CURTAILD_REQUIRE_FAKETIME=1) and not installed")
            pytest.skip("libfaketime is not installed")
        self._file = folder / "wall-clock"
        self.step(0.0)
        self.environment = {
            "LD_PRELOAD": str(library),
            "FAKETIME_TIMESTAMP_FILE": str(self._file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            # Else two threads that want the interpreter spin for it, and a daemon takes half a processor.
            "FAKETIME_FORCE_MONOTONIC_FIX": "0",
            "NO_FAKE_STAT": "1",
        }

    def step(self, offset_s: float) -> None:
        """From now on the process's wall clock is `offset_s` ahead of the machine's."""
        fresh = self._file.with_suffix(".new")
        fresh.write_text(f"{offset_s:+.0f}\n")
        fresh.replace(self._file)  # whole or not at all: it is read at every look at the clock
