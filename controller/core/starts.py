"""How often each miner was woken in the last 24 hours: a budget of starts, shared out evenly among equals.

Every start is a cold boot of chips and power supply. Who has none left stays asleep, and is put to sleep last; of those
that hash alike per watt the one with the fewest starts goes first, to sleep and awake (core/roster).
"""

from __future__ import annotations

import math

import numpy as np

from controller.core.state import State
from controller.domain.fleet import FloatArray, IntArray

DAY_S = 86_400.0


def note(state: State, miners: IntArray, per_day: int, now: float) -> None:
    """Enter a start of each of `miners`, (k,), in the place of its oldest. The array is never changed in place: the
    state before this cycle holds it too."""
    if not len(miners):
        return
    starts_at = of_width(state.starts_at, per_day)
    starts_at[miners, starts_at[miners].argmin(axis=1)] = now
    state.starts_at = starts_at


def take_back(state: State, miner: int, at: float) -> None:
    """The wake of `at` never reached the miner: it has not started."""
    if state.starts_at.shape[1] and bool((state.starts_at[miner] == at).any()):
        starts_at = state.starts_at.copy()
        starts_at[miner, int((starts_at[miner] == at).argmax())] = -math.inf
        state.starts_at = starts_at


def of_width(starts_at: FloatArray, per_day: int) -> FloatArray:
    """A copy with room for `per_day` starts of each miner, the newest kept."""
    newest = -np.sort(-starts_at, axis=1)[:, :per_day]
    found = np.full((len(starts_at), per_day), -math.inf)
    found[:, : newest.shape[1]] = newest
    return found


def recall(state: State, row: int, times: list[float]) -> None:
    """What a checkpoint knew of one miner, loop seconds; `state` is not shared yet."""
    if len(times) > state.starts_at.shape[1]:
        state.starts_at = of_width(state.starts_at, len(times))
    state.starts_at[row, : len(times)] = times


def of_miner(state: State, row: int) -> list[float]:
    """Its starts, loop seconds."""
    return [at for at in state.starts_at[row].tolist() if math.isfinite(at)]
