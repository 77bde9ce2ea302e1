"""Waiting for other processes and threads in real time, never without an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

POLL_S = 0.05
STOP_WITHIN_S = 30.0
T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """Wait until `condition` gives something true and return it; fails saying `what` did not happen."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(POLL_S)
    return found


def always(condition: Callable[[], bool], for_s: float, what: str) -> None:
    """Look again and again for `for_s` seconds; fails as soon as the condition does not hold."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(POLL_S)
