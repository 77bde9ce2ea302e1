"""What a simulated miner was told, and when: the record that latency and command counts are measured from."""

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, NamedTuple

READS_KEPT: Final = 5_000
"""Reads remembered per miner; polling for days must not fill the memory. Writes are all kept."""


class WireRecord(NamedTuple):
    """One command as it arrived."""

    at_s: float
    """When the first byte of its request arrived, seconds of CLOCK_MONOTONIC: comparable between the processes of
    one machine, and with the running event loop's `time()`."""
    command: str
    parameter: str
    is_write: bool
    raises: bool | None = None
    """Whether it asks for more power (True) or for less; None for a read and for a write that does neither."""


class WireLog:
    """The commands one miner received, oldest first."""

    def __init__(self, on_record: Callable[[WireRecord], None] | None = None) -> None:
        self.writes: Final[list[WireRecord]] = []
        self.reads: Final[deque[WireRecord]] = deque(maxlen=READS_KEPT)
        self.counts: Final[Counter[str]] = Counter()
        """Commands received since the start, by name; unknown ones under their own name."""
        self.connections = 0
        self._on_record = on_record

    @staticmethod
    def now_s() -> float:
        """The clock of `WireRecord.at_s`."""
        return time.monotonic()

    def add(self, record: WireRecord) -> None:
        """Remember one command."""
        (self.writes if record.is_write else self.reads).append(record)
        self.counts[record.command] += 1
        if self._on_record is not None:
            self._on_record(record)

    def first_write_after(self, at_s: float) -> float | None:
        """When the first write at or after `at_s` arrived, None if there is none yet."""
        return next((record.at_s for record in self.writes if record.at_s >= at_s), None)

    def clear(self) -> None:
        """Forget everything; counts too."""
        self.writes.clear()
        self.reads.clear()
        self.counts.clear()
        self.connections = 0
