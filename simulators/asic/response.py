"""How quickly a simulated miner answers a command: the spans each miner draws its own numbers from.

LuxOS: the spans follow what the vendor claims (sleep below 5 s, wake within some 10 s) widened by what the field
reports: wake-ups scatter far more than sleeps, and a frequency change lands within seconds. WhatsMiner and Antminer
stock: no vendor publishes figures; the spans are assumptions, the same that the drivers' response classes rest on, and
real machines of both may be slower.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

import numpy as np


class InArrays:
    """What an enum is whose members stand in arrays: numpy asks them how they want to be treated, and an enum that has
    no answer is slow to say so. With the common one a small array is compared in a third of the time."""

    __array_ufunc__ = np.ndarray.__array_ufunc__


class Behaviour(InArrays, IntFlag):
    """How a miner departs from the manual. Flags combine, and every one can be given to any family.

    Where each is at home: LIAR_SLEEP on every family (a firmware that answers before it acts and then does not);
    NEVER_WAKES on every family, in the field about one in three of old machines; REFUSES on a WhatsMiner whose API
    writes are switched off, a LuxOS without licence, an Antminer with another password; IGNORES on an Antminer whose
    web server says success without having written, and on a WhatsMiner that drops what it acknowledged; REVIVES on any
    machine with a monitor that starts the miner again.
    """

    OBEYS = 0
    LIAR_SLEEP = 1
    """Acknowledges sleep, says it is in sleep mode, and keeps hashing; its reported watts show the hashing."""
    NEVER_WAKES = 2
    """Acknowledges wake-up, says it is awake, and stays at sleep watts for ever."""
    REFUSES = 4
    """Answers every write with an error and does nothing."""
    IGNORES = 8
    """Acknowledges every write and does nothing; unlike a liar it does not claim to have done it: every state it shows
    is the old one."""
    REVIVES = 16
    """Sleeps when told to, is asleep for about five seconds, and hashes again by itself; its state then says that it
    hashes (a configuration file still says sleep). The next order to sleep goes the same way."""
    SILENT_DRAW = 32
    """Sleeps as far as anybody can ask it: its state says so, its hash rate is gone, the watts it reports (where its
    family reports any) are those of sleep. Its boards draw on: a meter upstream shows it, temperatures betray it."""


class Answer(InArrays, IntEnum):
    """What a miner says to a write. It is not what the miner then does: see `Behaviour`."""

    ACKNOWLEDGED = 0
    REFUSED = 1


class Mode(InArrays, IntEnum):
    """The mode the firmware believes it is in; it survives a reboot."""

    HASH = 0
    SLEEP = 1


class Phase(InArrays, IntEnum):
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

WHATSMINER_RESPONSE: Final = ResponseTimes(
    sleep=VerbResponse(dead_time=Span(1.0, 3.0), to_90_percent=Span(2.0, 4.0)),
    wake=VerbResponse(dead_time=Span(6.0, 14.0), to_90_percent=Span(20.0, 40.0)),
    profile=VerbResponse(dead_time=Span(1.0, 3.0), to_90_percent=Span(4.0, 8.0)),
    reboot_off=Span(40.0, 80.0),
)

ANTMINER_RESPONSE: Final = ResponseTimes(
    sleep=VerbResponse(dead_time=Span(2.0, 6.0), to_90_percent=Span(3.0, 5.0)),
    wake=VerbResponse(dead_time=Span(15.0, 35.0), to_90_percent=Span(40.0, 80.0)),
    # A change of work mode restarts the mining process: it is a boot, not a trim.
    profile=VerbResponse(dead_time=Span(15.0, 35.0), to_90_percent=Span(40.0, 80.0)),
    reboot_off=Span(40.0, 80.0),
)
