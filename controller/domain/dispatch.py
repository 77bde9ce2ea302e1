"""The dispatch contract's values: commands to us, our answers, and why we say no."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class DispatchClass(StrEnum):
    """How urgent the order is. EMERGENCY sheds to auxiliaries at once; TEST is judged and answered, moves nothing."""

    NORMAL = "normal"
    ECONOMIC = "economic"
    EMERGENCY = "emergency"
    TEST = "test"


class DispatchKind(StrEnum):
    """CAP: stay at or below. TARGET: draw this, if the caps allow. RELEASE: all earlier orders of this issuer end."""

    CAP = "cap"
    TARGET = "target"
    RELEASE = "release"


class AnswerStatus(StrEnum):
    """The stages of an order as its issuer sees them; docs/dispatching.md says which are terminal for which kind."""

    RECEIVED = "RECEIVED"
    ACCEPTED = "ACCEPTED"
    CLAMPED = "CLAMPED"
    REJECTED = "REJECTED"
    REACHED = "REACHED"
    EXPIRED = "EXPIRED"
    SUPERSEDED = "SUPERSEDED"


class RejectCode(StrEnum):
    """Why an order was refused. Numbers follow OpenADR's application codes where one fits."""

    OUT_OF_SEQUENCE = "450"
    NOT_ALLOWED = "451"
    INVALID_ID = "452"
    INVALID_DATA = "454"
    EXPIRED = "455"
    NOT_SUPPORTED = "460"


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One valid-looking order, decoded from the wire.

    power_w: site-meter active power, auxiliaries included; None for RELEASE only.
    issued_at, expires_at: UTC seconds since the epoch; not_before: when it begins, likewise, None at once.
    """

    dispatch_id: str
    issuer: str
    seq: int
    issued_at: float
    expires_at: float
    dispatch_class: DispatchClass
    kind: DispatchKind
    power_w: int | None
    priority: int = 0
    reason: str = ""
    not_before: float | None = None


@dataclass(frozen=True, slots=True)
class Malformed:
    """Bytes on the command topic that are no order. `dispatch_id` is what could be made out, perhaps empty."""

    dispatch_id: str
    issuer: str
    code: RejectCode
    reason: str


@dataclass(frozen=True, slots=True)
class Received:
    """One message from the command topic with the moment it came in (UTC seconds); `retained` ones are never obeyed."""

    message: Dispatch | Malformed
    received_at: float
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One acknowledgement. `power_w` is what we hold ourselves to (the achievable figure when CLAMPED)."""

    dispatch_id: str
    issuer: str
    status: AnswerStatus
    at: float
    terminal: bool
    power_w: int | None = None
    code: RejectCode | None = None
    reason: str = ""
