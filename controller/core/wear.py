"""What commands cost the miners: writes to flash and restarts, counted per miner and UTC day.

The drivers keep the budget; the core remembers what was spent, so that a restart of the daemon is no fresh budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.core.state import State

DAY_S = 86_400.0


def day_of(wall: float) -> int:
    """Number of the UTC day of `wall` (UTC seconds)."""
    return int(wall // DAY_S)


def count(state: State, spent: Iterable[tuple[int, int]], wall: float) -> None:
    """Enter (miner, wear) of commands reported at `wall`, UTC seconds; a new day begins with nothing spent."""
    if state.wear_day != day_of(wall):
        state.wear_day = day_of(wall)
        state.fleet.wear[:] = 0
    for miner, wear in spent:
        state.fleet.wear[miner] += wear


def spent_today(state: State, wall: float) -> tuple[int, ...]:
    """What each miner's commands have cost since midnight UTC, (n,)."""
    if state.wear_day != day_of(wall):
        return (0,) * len(state.fleet.wear)
    return tuple(state.fleet.wear.tolist())
