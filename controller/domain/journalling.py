"""The journal's rows: append-only, canonical, replayable."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RowKind(StrEnum):
    """Every kind of row. A reader skips kinds it does not know; a writer never reuses a name."""

    START = "start"
    READINGS = "readings"
    TELEMETRY = "telemetry"
    RECEIVED = "received"
    OPERATOR = "operator"
    DECISION = "decision"
    COMMAND = "command"
    OUTCOME = "outcome"
    VERDICT = "verdict"
    ANSWER = "answer"
    EVENT = "event"
    PRIOR = "prior"
    CHECKPOINT = "checkpoint"
    STATE = "state"
    STOP = "stop"


@dataclass(frozen=True, slots=True)
class Row:
    """One journal row. `wall` is UTC seconds; `body` is canonical JSON (sorted keys, no spaces)."""

    wall: float
    kind: RowKind
    body: str
