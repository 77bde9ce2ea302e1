"""How often one miner may be made to write its flash or to restart within a day.

A day is the last 24 hours on the caller's clock, not a calendar day: at midnight two days' budgets would meet, and a
wall clock that is set right would hand out, or take away, a whole one. The clock comes with every call (loop seconds,
as in `CommandReport.again_at`), so that nothing here can disagree with it.

- a wake must leave room for the sleep that follows it: a miner that may not be put to sleep again is not woken;
- a sleep needs room for itself;
- an urgent sleep is never withheld, because the grid comes first. It is counted, and `overdrawn` says so.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

DAY_S: Final = 86_400.0
"""Seconds a write counts for."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a command must wait. `again_at`: seconds on the caller's clock when it may be asked again, None: never."""

    reason: str
    again_at: float | None


class Budget:
    """The writes and restarts of one miner within the last day."""

    def __init__(self, per_day: int, *, spent: int = 0) -> None:
        """per_day: writes and restarts in any 24 hours. spent: those before this start whose times are not known any
        more; they count from the first call, the longest they can. Raises ValueError when one is negative."""
        if min(per_day, spent) < 0:
            raise ValueError(f"a budget and what is spent of it must not be negative, got {per_day} and {spent}")
        self.per_day: Final = per_day
        self._times: deque[float] = deque()
        self._undated = spent

    def spent(self, now: float) -> int:
        """How many count at `now`."""
        if self._undated:
            self._times.extend([now] * self._undated)
            self._undated = 0
        while self._times and self._times[0] + DAY_S <= now:
            self._times.popleft()
        return len(self._times)

    def spend(self, now: float) -> None:
        """Count one write or restart made, or perhaps made, at `now`; calls come in the order of time."""
        self.spent(now)
        self._times.append(now)

    def refusal(self, *, raises: bool, urgent: bool, now: float) -> Refusal | None:
        """Why a command must wait, None when it may go. raises: it may increase the load, as a wake does."""
        if urgent and not raises:
            return None
        needed = 2 if raises else 1
        spent = self.spent(now)
        missing = spent + needed - self.per_day
        if missing <= 0:
            return None
        again_at = self._times[missing - 1] + DAY_S if missing <= spent else None
        reserve = ", and the last one is kept for a sleep" if raises and spent < self.per_day else ""
        reason = f"{spent} of {self.per_day} writes and restarts of the last 24 h are used up{reserve}"
        return Refusal(reason, again_at)

    def overdrawn(self, now: float) -> str:
        """What to say of a command that went beyond the budget; empty within it."""
        spent = self.spent(now)
        return f"write {spent} of {self.per_day} in 24 h: the grid first" if spent > self.per_day else ""
