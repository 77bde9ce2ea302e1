"""Reading a stranger's JSON object field by field; every refusal names the field and says what would be right."""

from __future__ import annotations

import json
import math
from datetime import datetime
from typing import NoReturn

from controller.domain.dispatch import RejectCode

PAYLOAD_MAX_BYTES = 8192


class RefusedError(Exception):
    """Why a payload cannot be read; stays inside controller.wire."""

    def __init__(self, code: RejectCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


def object_of(payload: bytes, bytes_max: int = PAYLOAD_MAX_BYTES) -> dict[str, object]:
    """The payload as one JSON object without doubled keys; raises RefusedError."""
    if len(payload) > bytes_max:
        refuse(RejectCode.INVALID_DATA, f"{len(payload)} bytes; at most {bytes_max} are read")
    try:
        value = json.loads(payload.decode(), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except (ValueError, RecursionError):  # not UTF-8, not JSON, a number of thousands of digits, brackets without end
        refuse(RejectCode.INVALID_DATA, "not JSON in UTF-8")
    if not isinstance(value, dict):
        refuse(RejectCode.INVALID_DATA, "not a JSON object")
    return value


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields: dict[str, object] = {}
    for key, value in pairs:
        if key in fields:  # two readers of such a text may see two different orders
            refuse(RejectCode.INVALID_DATA, f"key {legible(key)} stands twice")
        fields[key] = value
    return fields


def _no_constant(token: str) -> NoReturn:
    refuse(RejectCode.INVALID_DATA, f"{token} is not a number")


def text(fields: dict[str, object], key: str) -> str:
    """A string; the empty one counts."""
    value = fields.get(key)
    if not isinstance(value, str):
        refuse(RejectCode.INVALID_DATA, f"{key} must be a string")
    return value


def number(fields: dict[str, object], key: str) -> float:
    """A finite number; true and false are none."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(RejectCode.INVALID_DATA, f"{key} must be a number")
    try:
        as_float = float(value)
    except OverflowError:
        as_float = math.inf
    if not math.isfinite(as_float):
        refuse(RejectCode.INVALID_DATA, f"{key} must be a finite number")
    return as_float


def integer(fields: dict[str, object], key: str, largest: int) -> int:
    """A whole number from 0 to `largest`; 1.0 is none."""
    value = fields.get(key)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= largest:
        refuse(RejectCode.INVALID_DATA, f"{key} must be a whole number from 0 to {largest}")
    return value


def utc(fields: dict[str, object], key: str) -> float:
    """A moment as UTC seconds since the epoch; a time without zone is refused rather than guessed."""
    try:
        moment = datetime.fromisoformat(text(fields, key))
        seconds = None if moment.tzinfo is None else moment.timestamp()
    except (ValueError, OverflowError):
        seconds = None
    if seconds is None:
        refuse(RejectCode.INVALID_DATA, f"{key} must be an ISO 8601 time with Z or an offset, as 2026-11-22T04:15:00Z")
    return seconds


def legible(strange: str) -> str:
    """A stranger's text, fit to stand in an answer: quoted, ASCII, short."""
    return ascii(strange[:40])


def refuse(code: RejectCode, reason: str) -> NoReturn:
    """Raise RefusedError."""
    raise RefusedError(code, reason)
