"""How quickly a simulated miner answers a command: the spans each miner draws its own numbers from.

The spans follow what the firmware's vendor claims (sleep below 5 s, wake within some 10 s) widened by what the field
reports: wake-ups scatter far more than sleeps, and a frequency change lands within seconds.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final


class Behaviour(IntFlag):
    """How a miner departs from the manual. Flags combine."""

    OBEYS = 0
    LIAR_SLEEP = 1
    """Acknowledges sleep, says it is in sleep mode, and keeps hashing; its reported watts show the hashing."""
    NEVER_WAKES = 2
    """Acknowledges wake-up, says it is awake, and stays at sleep watts for ever."""
    REFUSES = 4
    """Answers every write with an error and does nothing."""


class Answer(IntEnum):
    """What a miner says to a write. It is not what the miner then does: see `Behaviour`."""

    ACKNOWLEDGED = 0
    REFUSED = 1


class Mode(IntEnum):
    """The mode the firmware believes it is in; it survives a reboot."""

    HASH = 0
    SLEEP = 1


class Phase(IntEnum):
    """Where a miner's power stands."""

    ASLEEP = 0
    DEAD_TIME = 1
    """A command was taken and no watt has moved for it yet."""
    RAMPING = 2
    STEADY = 3
    REBOOTING = 4


@dataclass(frozen=True, slots=True)
class Span:
    """A range of seconds."""

    low_s: float
    high_s: float

    @property
    def nominal_s(self) -> float:
        """The middle."""
        return (self.low_s + self.high_s) / 2


@dataclass(frozen=True, slots=True)
class VerbResponse:
    """One verb: seconds until the first watt moves, and from there until 90 % of the way."""

    dead_time: Span
    to_90_percent: Span

    @property
    def nominal_total_s(self) -> float:
        """Seconds from command to 90 % of the way for a middling miner."""
        return self.dead_time.nominal_s + self.to_90_percent.nominal_s

    @property
    def slowest_total_s(self) -> float:
        """Seconds from command to 90 % of the way for the slowest miner of normal speed."""
        return self.dead_time.high_s + self.to_90_percent.high_s


@dataclass(frozen=True, slots=True)
class ResponseTimes:
    """The nominal response numbers of every verb, for reports and for planners with perfect foresight."""

    sleep: VerbResponse
    wake: VerbResponse
    profile: VerbResponse
    reboot_off: Span
    """Seconds a rebooting miner neither hashes nor answers."""


LUXOS_RESPONSE: Final = ResponseTimes(
    sleep=VerbResponse(dead_time=Span(0.5, 1.5), to_90_percent=Span(2.0, 3.0)),
    wake=VerbResponse(dead_time=Span(3.0, 6.0), to_90_percent=Span(8.0, 20.0)),
    profile=VerbResponse(dead_time=Span(0.5, 1.5), to_90_percent=Span(2.0, 4.0)),
    reboot_off=Span(25.0, 45.0),
)
