"""Who can be moved next, how soon that is felt, and how far trim leads: what the ramps look ahead by."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np

from controller.core import estimator
from controller.core.drawn import STEP_WINDOW_S, Moment, Next
from controller.core.fleet_state import FleetState
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray
from controller.domain.policy import RampPolicy

HALF_OF_90 = math.log10(2.0)  # a move falls off exponentially
STEEPER = 0.75
"""By so much of the straight line that it is taken for a boot is steeper in its middle: an S, and the quick ones are
there together."""
FEW_BOOTS = 0.1
"""Of what may rise in 15 s: where boots bring more than that in the next ones, trim does not go alone."""


class NextMoves:
    """Who could be moved down next, and who up, on the way from the set-point to `aim_w` watts. trims: trim is on.

    Worked out when it is asked for: most cycles go one way only. What changes meanwhile is the set-point alone.
    """

    def __init__(self, facts: Fleet, state: State, trims: bool, pace: RampPolicy, aim_w: float, now: float) -> None:
        way_w = 0.0 if state.setpoint_w is None else abs(aim_w - state.setpoint_w)
        self._given = (facts, state, pace, way_w if trims else math.inf)
        self._now = now

    @cached_property
    def falls(self) -> Next:
        return _moves_next(*self._given, False, self._now)

    @cached_property
    def rises(self) -> Next:
        return _moves_next(*self._given, True, self._now)


def _moves_next(facts: Fleet, state: State, pace: RampPolicy, way_w: float, up: bool, now: float) -> Next:
    fleet = state.fleet
    lags_s = trim_lags_s(facts, fleet, up)
    alone = trim_range_w(facts, fleet, up) >= way_w
    first_s = lags_s
    if not up and not (alone and len(lags_s)):  # sleepers go with them, and some are quicker; or nobody trims
        sleeps_s = (facts.sleep_dead_s + facts.sleep_90_s * HALF_OF_90)[_hashing(fleet)]
        first_s, lags_s = np.concatenate((lags_s, sleeps_s)), lags_s if len(lags_s) else sleeps_s
    quickest_s, middling = float(first_s.min()) if len(first_s) else 0.0, _felt(state, middling_s(lags_s), now)
    if up:
        come_w = estimator.boots_between_w(fleet, now, quickest_s, quickest_s + STEP_WINDOW_S)
        alone &= come_w <= FEW_BOOTS * pace.up_w_per_15s
        boots_w = STEEPER * estimator.boots_between_w(fleet, now, 0.0, middling.in_s)
        middling = replace(middling, owed_w=middling.owed_w + boots_w)
    return Next(_felt(state, quickest_s, now), middling, alone)


def _felt(state: State, in_s: float, now: float) -> Moment:
    """The moment `in_s` seconds from now, by what is ordered already."""
    then_w = (state.offset_w or 0.0) + float(estimator.expected_power_w(state.fleet, now + in_s).sum())
    return Moment(in_s, estimator.owed_w(state.fleet, now + in_s), then_w)


def _hashing(fleet: FleetState) -> BoolArray:
    """(n,) who hashes and shall."""
    on: BoolArray = fleet.want_hashing & (fleet.condition == Condition.HASHING)
    return on


def trim_range_w(facts: Fleet, fleet: FleetState, up: bool) -> float:
    """How far those who hash can be trimmed down, or up to their ceilings, from what they are told to run, watts."""
    able = facts.trims & _hashing(fleet)
    rows = np.flatnonzero(able)
    level = np.maximum(fleet.want_level[rows], 0)
    to = np.maximum(fleet.ceiling[rows], level) if up else 0
    range_w = facts.level_power_w[rows, to] - facts.level_power_w[rows, level]
    return abs(float((range_w * fleet.ratio[rows]).sum()))


def middling_s(lags_s: FloatArray) -> float:
    """The mean of `lags_s`, (k,) seconds; 0.0 of nobody."""
    return float(lags_s.mean()) if len(lags_s) else 0.0


def trim_lags_s(facts: Fleet, fleet: FleetState, up: bool) -> FloatArray:
    """Seconds until half of a trim's watts have moved, (k,).

    Downward of everybody above its lowest rung, or of all that trim when nobody is: sleepers would be asked for in
    their place, who let trimmers up again. Upward of all that trim: those at their ceilings make room for boots, and
    with the last quick one that reaches its own the ramps would look further ahead, and what is ordered be taken back.
    """
    trims = facts.trims & _hashing(fleet)
    able = trims if up else trims & (fleet.want_level > 0)
    if not bool(able.any()):
        able = trims
    lags_s: FloatArray = (facts.trim_dead_s + facts.trim_90_s * HALF_OF_90)[able]
    return lags_s


def falls_in_s(facts: Fleet, state: State, trims: bool, drop_w: float) -> float:
    """Seconds until half of the watts of a fall by `drop_w` have moved that is ordered now: of those who trim, where
    their range is enough for it, else of the worst, who would sleep."""
    fleet = state.fleet
    on = _hashing(fleet)
    own_w = facts.level_power_w[np.arange(len(facts)), np.maximum(fleet.want_level, 0)] * fleet.ratio
    range_w = trim_range_w(facts, fleet, up=False) if trims else 0.0
    if range_w >= drop_w:
        return middling_s(trim_lags_s(facts, fleet, up=False)) if range_w > 0.0 else 0.0
    sleepers = facts.best_first[::-1][on[facts.best_first[::-1]]]
    sleepers = sleepers[np.cumsum(own_w[sleepers]) - own_w[sleepers] < drop_w]
    lags_s = (facts.sleep_dead_s + facts.sleep_90_s * HALF_OF_90)[sleepers]
    return middling_s(lags_s)
