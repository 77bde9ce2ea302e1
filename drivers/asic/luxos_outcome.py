"""What an answer of LuxOS to the command that changes the load means for that command. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from controller.domain.command import Outcome
from drivers.asic.luxos_session import said
from drivers.asic.rpc import Reply, ReplyKind, words_of

CODE_INVALID_COMMAND: Final = 14
"""The cgminer protocol's answer to a command the firmware does not have."""


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a write: the outcome so far, and what the miner claims to have set."""

    outcome: Outcome
    detail: str
    sent_at: float | None = None
    profile: str | None = None


def compare(done: Done, asked: str, got: object) -> Done:
    """The profile that came back against the one asked for; silence about it is no contradiction."""
    if not isinstance(got, str) or got == asked:
        return done
    return replace(done, outcome=Outcome.ROUNDED, detail=f"asked for {asked!r}, got {words_of(repr(got))}", profile=got)


def after(reply: Reply, sent_at: float) -> Done:
    """What the answer to the deciding command means."""
    match reply.kind:
        case ReplyKind.ACCEPTED:
            return Done(Outcome.ACKNOWLEDGED, said(reply), sent_at)
        case ReplyKind.REJECTED:
            missing = reply.code == CODE_INVALID_COMMAND
            return Done(Outcome.UNSUPPORTED if missing else Outcome.REFUSED, said(reply), sent_at)
        case ReplyKind.NOT_SENT:
            return Done(Outcome.UNREACHABLE, reply.detail)
        case ReplyKind.NO_ANSWER | ReplyKind.MALFORMED:
            return Done(Outcome.UNKNOWN, reply.detail, sent_at)


def session_unknown(reply: Reply) -> bool:
    """Whether a write was turned away because its session ended; the firmware says so in words, not by one code."""
    return reply.kind is ReplyKind.REJECTED and "session" in reply.detail.casefold()
