"""What is asked of one miner, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

RESTORE_COMMAND_ID = 0
"""`command_id` in the report of a restore, which a person asked for; the core's own commands count from 1."""


class Verb(StrEnum):
    """What can be asked of a miner."""

    SLEEP = "sleep"
    WAKE = "wake"
    TRIM = "trim"


class Outcome(StrEnum):
    """What a driver learned from one command. Only core/verify judges watts.

    ROUNDED: it took another level than asked for; of a sleep, a level instead of the sleep.
    WITHHELD: on our side of the wire; nothing was asked of the miner. A newer command took its place, the journal
    could not be written, the site only observes, somebody else holds the miner's one session, or the miner's budget
    of writes and restarts for the day is used up.
    """

    ACKNOWLEDGED = "acknowledged"
    APPLIED = "applied"
    ROUNDED = "rounded"
    REFUSED = "refused"
    UNSUPPORTED = "unsupported"
    UNREACHABLE = "unreachable"
    UNKNOWN = "unknown"
    WITHHELD = "withheld"


@dataclass(frozen=True, slots=True)
class Command:
    """One message to one miner.

    command_id: rises by one with every command of the site's life; the journal's key.
    level: index into the miner's ladder of levels for TRIM (0 = lowest power); None otherwise.
    raises: True when obeying can only increase the load; such a command waits for the journal.
    urgent: True on a shed; the actuator sends it before anything else and skips the read-back.
    prior: for a WAKE, what the miner's owner had set, in the firmware's own words; None when never observed.
    escalated: for a SLEEP in a shed that failed before: another verb of the same miner first, then sleep once more.
    """

    command_id: int
    miner: int
    verb: Verb
    level: int | None
    raises: bool
    urgent: bool
    reason: str
    prior: str | None = None
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class CommandReport:
    """What became of one command; `sent_at` and `answered_at` are loop seconds, None when nothing was sent.

    again_at: with WITHHELD, loop seconds before which asking again is of no use; None when nobody can say.
    wear: writes to the miner's flash and restarts of its mining process that this command cost, whichever is more.
    """

    command_id: int
    miner: int
    outcome: Outcome
    sent_at: float | None
    answered_at: float
    detail: str = ""
    rounded_to_level: int | None = None
    again_at: float | None = None
    wear: int = 0
