"""What commands cost the miners: writes to flash and restarts, each by its time, for one day.

The drivers keep the budget; the core remembers what was spent, so that a restart of the daemon is no fresh budget.
"""

from __future__ import annotations

from collections.abc import Iterable

from controller.core.state import State

DAY_S = 86_400.0


def count(state: State, spent: Iterable[tuple[int, int]], wall: float) -> None:
    """Enter (miner, writes and restarts) of commands reported at `wall`, UTC seconds; what is a day old is dropped."""
    for miner, times in spent:
        if times:
            state.wear[miner] = (*_lately(state, miner, wall), *[int(wall)] * times)


def shift(state: State, step_s: float) -> None:
    """The wall clock was stepped by so many seconds: what was spent is as long ago as before."""
    for miner, times in state.wear.items():
        state.wear[miner] = tuple(at + round(step_s) for at in times)


def spent(state: State, miner: int, wall: float) -> int:
    """Writes and restarts of one miner in the 24 hours before `wall`, UTC seconds."""
    return len(_lately(state, miner, wall))


def _lately(state: State, miner: int, wall: float) -> tuple[int, ...]:
    return tuple(at for at in state.wear.get(miner, ()) if wall - at < DAY_S)
