"""How much may be logged: a few lines of one name, a line a minute of one failure, and so many bytes a day of all.

Whatever is held back is counted and told once a minute, so that a flood costs a disk little and hides nothing.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

from controller.domain.plan import Event, EventLevel

Clock = Callable[[], float]

NAME_BURST = 50  # lines of one name and level at once, then one every NAME_EVERY_S
NAME_EVERY_S = 10.0
NAMES_MAX = 1024
TELL_EVERY_S = 60.0
REPEAT_EVERY_S = 60.0
REPEAT_KEYS = 4096
DAY_BYTES = 64 << 20
BURST_BYTES = 2 << 20
FOR_ERRORS = 0.25  # of the burst: what nobody but an error may have
HELD_BACK = "log_held_back"  # the event that tells, and the one name without a limit

_LEVELS = {"info": EventLevel.INFO, "warning": EventLevel.WARNING}


class Bucket:
    """Fills at a steady rate up to a burst; whoever takes empties it."""

    def __init__(self, burst: float, per_s: float, now: float) -> None:
        self._burst = burst
        self._per_s = per_s
        self._level = burst
        self._at = now

    def take(self, amount: float, now: float, keep: float = 0.0) -> bool:
        """Whether there is more than `keep` left. The last who takes may overdraw: a long line is said whole."""
        self._level = min(self._burst, self._level + max(now - self._at, 0.0) * self._per_s)
        self._at = now
        if self._level < max(keep, 1.0):
            return False
        self._level -= amount
        return True


@dataclass(slots=True)
class _Name:
    bucket: Bucket
    held: int = 0
    held_since: float = 0.0


class NameLimit:
    """Lets a burst of each name and level pass, then a line now and then. Called from any thread.

    By level too, so that what is said all day never takes the place of the same event as an error.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._names: OrderedDict[tuple[str, str], _Name] = OrderedDict()
        self._lock = Lock()
        self.held_back = 0

    def passes(self, name: str, level: str) -> bool:
        now = self._clock()
        with self._lock:
            entry = self._names.get((name, level))
            if entry is None:
                entry = self._names[name, level] = _Name(Bucket(NAME_BURST, 1.0 / NAME_EVERY_S, now))
                if len(self._names) > NAMES_MAX:
                    self._names.popitem(last=False)
            if entry.bucket.take(1.0, now):
                return True
            if not entry.held:
                entry.held_since = now
            entry.held += 1
            self.held_back += 1
            return False

    def due(self, wait_s: float = TELL_EVERY_S) -> list[Event]:
        """What was held back since at least `wait_s`, one event for each name; it is told once."""
        now = self._clock()
        with self._lock:
            found = [(key, entry) for key, entry in self._names.items() if entry.held]
            told = []
            for (name, level), entry in found:
                since_s = now - entry.held_since
                if since_s >= wait_s:
                    text = f"{entry.held} more lines of {name} ({level}) in the last {since_s:.0f} s"
                    told.append(Event("log_held_back", _LEVELS.get(level, EventLevel.ERROR), text))
                    entry.held = 0
            return told


class ByteBudget:
    """The last line: so many bytes a day whatever happens, and the end of them for errors only."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bucket = Bucket(BURST_BYTES, DAY_BYTES / 86_400, clock())
        self._lock = Lock()
        self._told_at = clock()
        self._told = 0
        self.held_back = 0

    def allows(self, size: int, important: bool) -> bool:
        with self._lock:
            keep = 0.0 if important else FOR_ERRORS * BURST_BYTES
            if self._bucket.take(size, self._clock(), keep):
                return True
            self.held_back += 1
            return False

    def due(self, wait_s: float = TELL_EVERY_S) -> list[Event]:
        now = self._clock()
        with self._lock:
            lines = self.held_back - self._told
            if not lines or now - self._told_at < wait_s:
                return []
            self._told, self._told_at = self.held_back, now
        text = f"{lines} lines beyond the {DAY_BYTES >> 20} MiB a day that all of the log may have"
        return [Event("log_held_back", EventLevel.ERROR, text)]


class RepeatLimit:
    """Lets the first failure of a key pass, then one per interval with the number held back since."""

    def __init__(self, interval_s: float, clock: Clock) -> None:
        self._interval_s = interval_s
        self._clock = clock
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def pass_on(self, key: str) -> int | None:
        """None: hold this one back. Otherwise the number held back since the last that passed."""
        now = self._clock()
        passed_at, held = self._seen.get(key, (None, 0))
        if passed_at is not None and now - passed_at < self._interval_s:
            self._seen[key] = (passed_at, held + 1)
            return None
        self._seen[key] = (now, 0)
        self._seen.move_to_end(key)
        if len(self._seen) > REPEAT_KEYS:
            self._seen.popitem(last=False)
        return held
