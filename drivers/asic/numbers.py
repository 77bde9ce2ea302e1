"""Numbers a miner tells of itself, as far as they can be measurements."""

from __future__ import annotations

import math


def number(value: object) -> float | None:
    """A finite number that is not negative; anything else is no measurement, -1 least of all."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        told = float(value)
    except OverflowError:  # JSON knows no largest integer
        return None
    return told if math.isfinite(told) and told >= 0 else None
