"""Canonical JSON: one value has one text, so that two runs can be compared byte by byte."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime


def canonical(value: object) -> str:
    """JSON with sorted keys, no spaces and ASCII only; floats as their shortest exact text.

    NaN and the infinities become null: a number that is not there is unknown, never 0. NumPy scalars are written as
    the Python numbers they hold. Raises TypeError for anything JSON does not know.
    """
    try:
        return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)
    except ValueError:  # a NaN or an infinity somewhere inside: rare, so only then is the value walked
        cleaned = _without_nan(value)
        return json.dumps(cleaned, sort_keys=True, separators=(",", ":"), allow_nan=False, default=_plain)


def utc_text(seconds: float) -> str:
    """UTC seconds since the epoch as ISO 8601 with milliseconds, e.g. 2026-11-22T04:15:00.120Z."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kw_of(power_w: float | None) -> float | None:
    """Watts as kilowatts with watt resolution; unknown (None, NaN, infinite) stays unknown."""
    if power_w is None or not math.isfinite(power_w):
        return None
    return round(float(power_w) / 1000.0, 3)


def _plain(value: object) -> object:
    item = getattr(value, "item", None)  # NumPy scalars
    if item is None:
        raise TypeError(f"{type(value).__name__} has no place in a payload or a journal row")
    return item()


def _without_nan(value: object) -> object:
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(item) for item in value]
    return value
