"""When an order begins, as a person writes it."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta

NEXT_WITHIN_S = 43_200.0
_TIME_OF_DAY = re.compile(r"(?P<hour>\d{1,2}):(?P<minute>\d{2})(:(?P<second>\d{2}))?(?P<utc>Z)?")


def parse_start(text: str, wall: float) -> float:
    """UTC seconds of "18:05" (local time of this machine), "18:05Z" (UTC) or a whole ISO 8601 time; raises ValueError.

    A time of day is the next one, and must come within twelve hours: who is late means today, not tomorrow. A moment
    that has passed and a date without a time are slips: neither is taken for an order of now.
    """
    text = text.strip()
    found = _TIME_OF_DAY.fullmatch(text)
    try:
        if found is None:
            moment = datetime.fromisoformat(text).timestamp()  # one without an offset is this machine's
        else:
            zone = UTC if found["utc"] else None
            hour, minute, second = (int(found[part] or 0) for part in ("hour", "minute", "second"))
            today = datetime.fromtimestamp(wall, zone).replace(hour=hour, minute=minute, second=second, microsecond=0)
    except (ValueError, OverflowError):
        raise ValueError(
            f"{text!r} is no time: write 18:05 (local time here), 18:05Z (UTC) or 2026-11-22T18:05:00Z"
        ) from None
    if found is None:
        if _is_date(text):
            raise ValueError(f"{text} is a date without a time: write {text}T18:05 (local time here) or {text}T18:05Z")
        if moment <= wall:
            late = timedelta(seconds=round(wall - moment))
            raise ValueError(f"{text} passed {late} ago: write a time to come, or no time for an order of now")
        return moment
    days = (today, today + timedelta(days=1))  # each with the offset that its own day has here
    coming = next(day.timestamp() for day in days if day.timestamp() > wall)
    if coming - wall > NEXT_WITHIN_S:
        raise ValueError(f"{text} is not within the next twelve hours: write the date as well, as 2026-11-22T{text}")
    return coming


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True
