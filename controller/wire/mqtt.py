"""The dispatch contract on the wire: topics and payloads, bytes <-> domain. docs/dispatching.md is its description.

Nothing here needs more than MQTT 3.1.1: times, reasons and correlation live in the payload, so that any broker serves.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from controller.domain.dispatch import (
    Answer,
    AnswerStatus,
    Dispatch,
    DispatchClass,
    DispatchKind,
    Malformed,
    RejectCode,
)
from controller.domain.plan import Decision, Event
from controller.domain.policy import Mode
from controller.wire.canonical import canonical, kw_of, utc_text
from controller.wire.fields import RefusedError, integer, legible, number, object_of, refuse, text, utc

ISSUER_PATTERN = re.compile(r"[A-Za-z0-9._@-]{1,64}")
SITE_PATTERN = re.compile(r"[A-Za-z0-9_-]{1,64}")  # one topic level everywhere; NATS gives "." and "/" a meaning
ID_MAX_CHARS = 64
REASON_MAX_CHARS = 256
KW_MAX = 1e8  # 100 GW: above any site there is, far below where watts stop being exact in a float
SEQ_MAX = 2**53 - 1  # beyond this JSON numbers lose their last digit in many languages
PRIORITY_MAX = 1000
STATE_MAX_BYTES = 262_144

_REQUIRED = ("id", "issuer", "seq", "issued_at", "expires_at", "class", "kind")
_KNOWN = frozenset((*_REQUIRED, "kw", "not_before", "priority", "reason"))


@dataclass(frozen=True, slots=True)
class Topics:
    """The five topics of one site."""

    command: str
    answer: str
    state: str
    heartbeat: str
    event: str


def topics_of(site: str) -> Topics:
    """Topics of a site; raises ValueError when its id would not be exactly one topic level."""
    if not SITE_PATTERN.fullmatch(site):
        raise ValueError(f"site id {site!r}: use 1 to 64 of A-Z a-z 0-9 _ - (one topic level on any broker)")
    root = f"curtaild/v1/{site}"
    return Topics(f"{root}/cmd", f"{root}/ack", f"{root}/state", f"{root}/heartbeat", f"{root}/event")


def decode_dispatch(payload: bytes) -> Dispatch | Malformed:
    """One payload of the command topic. Never raises: whatever is no order comes back as Malformed with the reason."""
    fields: dict[str, object] = {}
    try:
        fields = object_of(payload)
        return _dispatch_of(fields)
    except RefusedError as refused:
        dispatch_id, issuer = _legible_id(fields.get("id")), _legible_issuer(fields.get("issuer"))
        return Malformed(dispatch_id, issuer, refused.code, refused.reason)


def encode_dispatch(order: Dispatch) -> bytes:
    """The inverse of decode_dispatch, for whoever sends orders."""
    fields: dict[str, object] = {
        "id": order.dispatch_id,
        "issuer": order.issuer,
        "seq": order.seq,
        "issued_at": utc_text(order.issued_at),
        "expires_at": utc_text(order.expires_at),
        "class": order.dispatch_class.value,
        "kind": order.kind.value,
        "priority": order.priority,
    }
    if order.power_w is not None:
        fields["kw"] = kw_of(order.power_w)
    if order.not_before is not None:
        fields["not_before"] = utc_text(order.not_before)
    if order.reason:
        fields["reason"] = order.reason
    return canonical(fields).encode()


def encode_answer(answer: Answer) -> bytes:
    """One acknowledgement. `kw` is what the site holds itself to, null where no figure applies."""
    return canonical(
        {
            "id": answer.dispatch_id,
            "issuer": answer.issuer,
            "status": answer.status.value,
            "at": utc_text(answer.at),
            "terminal": answer.terminal,
            "kw": kw_of(answer.power_w),
            "code": None if answer.code is None else answer.code.value,
            "reason": answer.reason,
        }
    ).encode()


def decode_answer(payload: bytes) -> Answer:
    """The inverse of encode_answer, for whoever sends orders; raises ValueError when the payload is no answer.

    Unknown keys are ignored here: a newer daemon may say more than an older sender understands.
    """
    try:
        fields = object_of(payload)
        power_kw = None if fields.get("kw") is None else number(fields, "kw")
        return Answer(
            dispatch_id=text(fields, "id"),
            issuer=text(fields, "issuer"),
            status=AnswerStatus(text(fields, "status")),
            at=utc(fields, "at"),
            terminal=fields.get("terminal") is True,
            power_w=None if power_kw is None else round(power_kw * 1000),
            code=None if fields.get("code") is None else RejectCode(text(fields, "code")),
            reason=str(fields.get("reason", "")),
        )
    except RefusedError as refused:
        raise ValueError(refused.reason) from None


def encode_state(site: str, mode: Mode, decision: Decision) -> bytes:
    """The retained state of a living daemon: one decision in the words of docs/dispatching.md, unknown numbers null."""
    figures, setpoint = decision.figures, decision.setpoint
    return canonical(
        {
            "online": True,
            "site": site,
            "at": utc_text(decision.wall),
            "cycle": decision.cycle,
            "mode": mode.value,
            "fail_safe": decision.fail_safe.value,
            "surplus_kw": kw_of(figures.surplus_w),
            "cap_kw": kw_of(figures.cap_w),
            "target_kw": kw_of(figures.target_w),
            "expected_kw": kw_of(figures.expected_w),
            "measured_kw": kw_of(figures.measured_w),
            "sheddable_kw": kw_of(figures.available_down_w),
            "rampable_up_kw": kw_of(figures.available_up_w),
            "floor_kw": kw_of(figures.floor_w),
            "bound": setpoint.bound.value,
            "source": setpoint.source,
            "expires_at": None if setpoint.expires_at is None else utc_text(setpoint.expires_at),
            "shedding": setpoint.shed,
            "orders": list(decision.active_orders),
            "scheduled": [{"id": name, "not_before": utc_text(at)} for name, at in decision.scheduled_orders],
            "miners": decision.counts,
            "quarantined": decision.counts.get("quarantined"),
            "inputs": [
                {"name": i.name, "state": i.state.value, "condition": i.condition, "age_s": _tenths(i.age_s)}
                for i in decision.inputs
            ],
        }
    ).encode()


def encode_offline(site: str, reason: str) -> bytes:
    """The state nobody is behind: the last will (`reason` "lost") and the last word of a clean stop ("stopped").

    It replaces the retained state, so that a dead daemon shows in the one place people look at.
    """
    return canonical({"online": False, "site": site, "reason": reason}).encode()


def encode_event(event: Event, wall: float) -> bytes:
    """One event for people and alerting, under the same name as in the log and the journal."""
    fields = {"at": utc_text(wall), "name": event.name, "level": event.level.value, "text": event.text}
    return canonical(fields if event.miner is None else {**fields, "miner": event.miner}).encode()


def decode_state(payload: bytes) -> dict[str, object]:
    """A state payload as a plain object; raises ValueError when it is none."""
    try:
        return object_of(payload, STATE_MAX_BYTES)
    except RefusedError as refused:
        raise ValueError(refused.reason) from None


def _dispatch_of(fields: dict[str, object]) -> Dispatch:
    dispatch_id = _identity(fields)
    issuer = _issuer(fields)
    for key in fields:
        if key not in _KNOWN:
            refuse(RejectCode.INVALID_DATA, f"unknown key {legible(key)}; known: {', '.join(sorted(_KNOWN))}")
    for key in _REQUIRED:
        if key not in fields:
            refuse(RejectCode.INVALID_DATA, f"{key} is missing")
    dispatch_class, kind = _class(fields), _kind(fields)
    power_w = _power_w(fields, kind)
    issued_at, expires_at = utc(fields, "issued_at"), utc(fields, "expires_at")
    if expires_at <= issued_at:
        refuse(RejectCode.INVALID_DATA, "expires_at is not after issued_at")
    reason = text(fields, "reason") if "reason" in fields else ""
    if len(reason) > REASON_MAX_CHARS or not reason.isprintable():
        refuse(RejectCode.INVALID_DATA, f"reason must be at most {REASON_MAX_CHARS} printable characters")
    return Dispatch(
        dispatch_id=dispatch_id,
        issuer=issuer,
        seq=integer(fields, "seq", SEQ_MAX),
        issued_at=issued_at,
        expires_at=expires_at,
        dispatch_class=dispatch_class,
        kind=kind,
        power_w=power_w,
        priority=integer(fields, "priority", PRIORITY_MAX) if "priority" in fields else 0,
        reason=reason,
        not_before=utc(fields, "not_before") if "not_before" in fields else None,
    )


def _identity(fields: dict[str, object]) -> str:
    value = fields.get("id")
    if not _legible_id(value):
        refuse(RejectCode.INVALID_ID, f"id must be 1 to {ID_MAX_CHARS} printable characters")
    return str(value)


def _issuer(fields: dict[str, object]) -> str:
    value = fields.get("issuer")
    if not _legible_issuer(value):
        refuse(RejectCode.INVALID_ID, "issuer must be 1 to 64 of A-Z a-z 0-9 . _ @ -")
    return str(value)


def _class(fields: dict[str, object]) -> DispatchClass:
    name = text(fields, "class")
    if name == "cancel":
        refuse(RejectCode.NOT_SUPPORTED, "class cancel: send kind release, or a new order with a higher seq")
    try:
        return DispatchClass(name)
    except ValueError:
        refuse(RejectCode.NOT_SUPPORTED, f"class {legible(name)}: use {', '.join(DispatchClass)}")


def _kind(fields: dict[str, object]) -> DispatchKind:
    name = text(fields, "kind")
    if name == "delta":
        refuse(RejectCode.NOT_SUPPORTED, "kind delta: send a cap or a target with the resulting kw")
    try:
        return DispatchKind(name)
    except ValueError:
        refuse(RejectCode.NOT_SUPPORTED, f"kind {legible(name)}: use {', '.join(DispatchKind)}")


def _power_w(fields: dict[str, object], kind: DispatchKind) -> int | None:
    if kind is DispatchKind.RELEASE:
        if "kw" in fields:
            refuse(RejectCode.INVALID_DATA, "a release carries no kw: it ends the issuer's earlier orders")
        return None
    if "kw" not in fields:
        refuse(RejectCode.INVALID_DATA, f"kw is missing: a {kind.value} needs it")
    power_kw = number(fields, "kw")
    if not 0 <= power_kw <= KW_MAX:
        refuse(RejectCode.INVALID_DATA, f"kw must be between 0 and {KW_MAX:.0f}")
    return round(power_kw * 1000)


def _legible_id(value: object) -> str:
    fits = isinstance(value, str) and 1 <= len(value) <= ID_MAX_CHARS and value.isprintable()
    return str(value) if fits else ""


def _legible_issuer(value: object) -> str:
    return value if isinstance(value, str) and ISSUER_PATTERN.fullmatch(value) else ""


def _tenths(seconds: float | None) -> float | None:
    return None if seconds is None or not math.isfinite(seconds) else round(seconds, 1)
