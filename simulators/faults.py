"""Faults on the wire and in the device, switched on and off at run time, one set per target.

A target is whatever a simulator serves: a miner here, a meter elsewhere. The server asks its `FaultSet` at the points
where a fault would bite; nothing in this module knows a protocol. Faults combine: a delayed answer can also be cut.

A fault of answers can be kept to the answers to writes: every other request is served as in health, the write is
carried out, and only what the client hears of it is wrong. With `IGNORE` beside it the write is lost as well.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np


class Fault(StrEnum):
    """What can go wrong. The value is the name people type."""

    REFUSE = "refuse"
    """The port is closed, and whoever was connected is not any more."""
    RESET = "reset"
    """The connection is accepted, then reset."""
    HANG = "hang"
    """The connection is accepted and never answered."""
    KEEP_OPEN = "keep-open"
    """The answer comes, the connection stays open."""
    GARBAGE = "garbage"
    """The answer is bytes that mean nothing."""
    TRUNCATE = "truncate"
    """The answer ends in the middle."""
    DRIP = "drip"
    """The answer comes one byte at a time, `seconds` apart."""
    SLOW_LORIS = "slow-loris"
    """The answer begins, comes one byte at a time, `seconds` apart, and stops for good before its last byte."""
    BLACK_HOLE = "black-hole"
    """Packets to the port vanish: a connection is neither made nor refused."""
    DELAY = "delay"
    """The answer comes `seconds` late."""
    SESSION_ERROR = "session-error"
    """Every write is answered as if its session or token were invalid."""
    STALE_SESSION = "stale-session"
    """The session expires now, once; later ones are sound."""
    DEVICE_ERROR = "device-error"
    """Every request is answered with a device error."""
    HTTP_401 = "http-401"
    """Every web request is answered 401, whatever credentials it brings."""
    HTTP_403 = "http-403"
    """Every web request is answered 403."""
    HTTP_500 = "http-500"
    """Every web request is answered 500."""
    EMPTY_BODY = "empty-body"
    """Every answer says success and has no content."""
    WRONG_PASSWORD = "wrong-password"  # noqa: S105
    """The device's password is another one than it was."""
    TOKENS_FULL = "tokens-full"
    """The device gives out no more tokens."""
    IGNORE = "ignore"
    """Every write is acknowledged and nothing happens."""
    REFUSE_SLEEP = "refuse-sleep"
    """The order to sleep is answered with an error and not carried out; every other write is obeyed."""
    OBEY_WITH_ERROR = "obey-with-error"
    """Every write is carried out and answered with an error."""
    REBOOT_ON_WRITE = "reboot-on-write"
    """The device reboots as it receives a write; the write is lost."""
    FOREIGN_SESSION = "foreign-session"
    """Another tool holds what a writer needs: the session, the tokens."""
    POWER_LOSS = "power-loss"
    """The device has no power and draws none; with it off again it starts by itself, as after any cold start."""


DEFAULT_SECONDS: Final = {Fault.DRIP: 0.05, Fault.SLOW_LORIS: 0.05, Fault.DELAY: 3.0}
"""`seconds` of the faults that take one, when none is given."""

OF_ANSWERS: Final = frozenset(
    {
        Fault.RESET,
        Fault.HANG,
        Fault.KEEP_OPEN,
        Fault.GARBAGE,
        Fault.TRUNCATE,
        Fault.DRIP,
        Fault.SLOW_LORIS,
        Fault.DELAY,
        Fault.HTTP_401,
        Fault.HTTP_403,
        Fault.HTTP_500,
        Fault.EMPTY_BODY,
    }
)
"""Faults that can be kept to the answers to writes."""

MOMENTARY: Final = frozenset({Fault.STALE_SESSION})
"""Faults that happen and are over: switching them on tells the listeners and leaves nothing on."""


class FaultSet:
    """The faults of one target, and whoever wants to hear of a change."""

    def __init__(self) -> None:
        self._seconds: dict[Fault, float] = {}
        self._of_writes: set[Fault] = set()
        self._listeners: list[Callable[[Fault, bool], None]] = []

    def on(self, fault: Fault, seconds: float | None = None, *, writes_only: bool = False) -> None:
        """Switch `fault` on, or change its `seconds` or its scope.

        writes_only: it spoils the answers to writes, which are carried out, and nothing else. Raises ValueError for a
        negative time, and for a fault that is none of answers.
        """
        value = DEFAULT_SECONDS.get(fault, 0.0) if seconds is None else seconds
        if value < 0:
            raise ValueError(f"seconds must not be negative, got {seconds}")
        if writes_only and fault not in OF_ANSWERS:
            raise ValueError(f"{fault.value} cannot be kept to the answers to writes")
        if fault not in MOMENTARY:
            self._seconds[fault] = value
            (self._of_writes.add if writes_only else self._of_writes.discard)(fault)
        self._tell(fault, True)

    def off(self, fault: Fault) -> None:
        """Switch `fault` off; no effect when it is not on."""
        if fault in self._seconds:
            del self._seconds[fault]
            self._of_writes.discard(fault)
            self._tell(fault, False)

    def clear(self) -> None:
        """Switch everything off."""
        for fault in tuple(self._seconds):
            self.off(fault)

    def __contains__(self, fault: Fault) -> bool:
        """Whether `fault` is on for whatever is asked."""
        return fault in self._seconds and fault not in self._of_writes

    def spoils(self, fault: Fault, *, write: bool) -> bool:
        """Whether `fault` bites the answer to one request, a write or another."""
        return fault in self._seconds and (write or fault not in self._of_writes)

    def __iter__(self) -> Iterator[Fault]:
        return iter(tuple(self._seconds))

    def __len__(self) -> int:
        return len(self._seconds)

    def seconds(self, fault: Fault) -> float:
        """The time that goes with `fault`; 0.0 while it is off."""
        return self._seconds.get(fault, 0.0)

    def listen(self, listener: Callable[[Fault, bool], None]) -> None:
        """Call `listener(fault, is_on)` after every change, for faults that need an act (closing a port)."""
        self._listeners.append(listener)

    def _tell(self, fault: Fault, is_on: bool) -> None:
        for listener in self._listeners:
            listener(fault, is_on)


@dataclass(frozen=True, slots=True, order=True)
class FaultEvent:
    """One fault of one target from `at_s` for `duration_s` seconds of simulated time."""

    at_s: float
    target: int
    fault: Fault
    duration_s: float
    seconds: float | None = None

    def is_on(self, now_s: float) -> bool:
        """Whether the fault is on at `now_s`; on at its start, off at its end."""
        return self.at_s <= now_s < self.at_s + self.duration_s


class FaultSchedule:
    """Faults by the clock. Level, not edge: `apply` sets what should be on now, however long ago it last ran."""

    def __init__(self, events: Iterable[FaultEvent]) -> None:
        self.events: Final = tuple(sorted(events, key=lambda event: (event.at_s, event.target, event.fault)))
        self._switched_on: set[tuple[int, Fault]] = set()
        self._started: set[FaultEvent] = set()

    @classmethod
    def random(
        cls,
        *,
        seed: int,
        targets: int,
        span_s: float,
        faults_per_target_hour: float,
        kinds: Sequence[Fault],
        mean_duration_s: float,
    ) -> "FaultSchedule":
        """Faults at random times over `span_s` seconds: Poisson arrivals, exponential durations.

        Same arguments, same schedule. Raises ValueError when `kinds` is empty or a quantity is negative.
        """
        if not kinds:
            raise ValueError("no kinds of fault given")
        if min(span_s, faults_per_target_hour, mean_duration_s) < 0:
            raise ValueError("span, rate and duration must not be negative")
        rng = np.random.default_rng(seed)
        count = int(rng.poisson(targets * span_s / 3600.0 * faults_per_target_hour))
        return cls(
            FaultEvent(
                at_s=float(rng.uniform(0.0, span_s)),
                target=int(rng.integers(targets)),
                fault=kinds[int(rng.integers(len(kinds)))],
                duration_s=float(rng.exponential(mean_duration_s)),
            )
            for _ in range(count)
        )

    def apply(self, targets: Sequence[FaultSet], now_s: float) -> None:
        """Switch the faults of `targets` to what the schedule says for `now_s`.

        Faults somebody else switched on stay on. An event that began and ended between two calls is skipped; a
        momentary one is given once, however late.
        """
        wanted: dict[tuple[int, Fault], FaultEvent] = {}
        for event in self.events:
            if event.at_s > now_s:
                break
            fresh_moment = event.fault in MOMENTARY and event not in self._started
            if event.is_on(now_s) or fresh_moment:
                wanted[event.target, event.fault] = event
        for key in self._switched_on - wanted.keys():
            targets[key[0]].off(key[1])
        for event in wanted.values():
            if event not in self._started:
                targets[event.target].on(event.fault, event.seconds)
                self._started.add(event)
        self._switched_on = set(wanted)
