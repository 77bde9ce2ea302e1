"""Why a sample that is there is not believed: impossible, frozen, out of balance, or from a plant that is not alive."""

from __future__ import annotations

import math
from enum import Enum

import numpy as np

from controller.core import estimator
from controller.core import failsafe_table as table
from controller.core.failsafe_table import Condition, Row
from controller.core.state import State, StillMemory
from controller.domain.fleet import FloatArray
from controller.domain.metering import Point, Quality, Readings, good_value
from controller.domain.plan import InputState
from controller.domain.policy import Policy

# Which points make one input: they come from one block of one device and fail together.
INPUTS: dict[str, tuple[Point, ...]] = {
    Row.POI: (Point.POI_EXPORT_W,),
    Row.SITE: (Point.SITE_LOAD_W,),
    Row.PLANT: (Point.DESPATCH_EXPORT_W, Point.RESERVE_UP_W, Point.GROSS_W, Point.AVAILABLE_W),
}
MEASURED = frozenset(point for points in INPUTS.values() for point in points)  # powers, all of them
BALANCED = (Row.POI, Row.SITE)  # held to blame when the powers do not add up
DOUBTED = (InputState.FROZEN_UP, InputState.FALLBACK)  # what only time, or a proof, makes good again
FULL_LOADS = 1.5  # a fleet that was grown without a new site.rated is believed; a CT ratio off by ten is not


class Doubt(Enum):
    """Why a sample that is there is not believed: its cell of the table, and words for people.

    row: the input whose cell it is, None for the one the sample belongs to. says: empty where its age says enough.
    """

    BAD_QUALITY = (None, Condition.GARBAGE, "")
    BEYOND_SPAN = (None, Condition.IMPLAUSIBLE, "implausible: beyond the metered span")
    GENERATING_LOAD = (
        None,
        Condition.IMPLAUSIBLE,
        "implausible: a load that generates (direction of the meter?)",
    )
    BEYOND_SITE = (
        None,
        Condition.IMPLAUSIBLE,
        "implausible: far more than the whole site draws at full load (ratio of the meter?)",
    )
    FROZEN = (None, Condition.FROZEN, "frozen")
    UNBALANCED = (None, Condition.CONTRADICTED, "unbalanced")
    WRONG_BLOCK = (
        Row.FREQUENCY,
        Condition.IMPLAUSIBLE,
        "implausible: frequency out of range, so the block is not what it should be",
    )
    HEARTBEAT_STUCK = (Row.HEARTBEAT, Condition.FROZEN, "heartbeat stuck")
    HEARTBEAT_UNREADABLE = (Row.HEARTBEAT, Condition.GARBAGE, "heartbeat unreadable")
    UNITS_UNKNOWN = (Row.UNITS, Condition.GARBAGE, "synchronised units unknown")
    NO_UNIT = (Row.UNITS, Condition.STOP, "no unit synchronised")

    def __init__(self, row: Row | None, condition: Condition, says: str) -> None:
        self.row = row
        self.condition = condition
        self.says = says

    def asks(self, of: Row) -> InputState:
        """What the input it is about becomes at least."""
        return table.state_asked(self.row or of, self.condition)


def found(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> dict[Point, Doubt]:
    """Points whose samples are present and say GOOD but cannot be true, each with the reason.

    Only `usable` samples (GOOD and young) are held against each other: an old one would slander its fresh neighbour.
    """
    there = [point for point in MEASURED if point in readings]
    doubts = {point: Doubt.BAD_QUALITY for point in there if readings[point].quality is not Quality.GOOD}
    doubts.update(_implausible(policy, readings))
    doubts.update(_frozen(state, policy, usable, now))
    plant = _plant_doubt(state, policy, readings, usable, now)
    if plant is not None:
        doubts.update(dict.fromkeys(INPUTS[Row.PLANT], plant))
    if _unbalanced(state, policy, usable, now):
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.SITE_LOAD_W), Doubt.UNBALANCED))
    return doubts


def unproven(state: State, readings: Readings) -> frozenset[Row]:
    """Inputs that look well and may yet lie: good enough to go on with, too little to be believed (again).

    A gap between the powers may be the moment's own. A heart that was not seen to beat since the start may have stopped
    while nobody looked.
    """
    rows = set(BALANCED) if state.unbalanced_since is not None else set()
    if Point.DCS_HEARTBEAT in readings and not state.heart_beats:
        rows.add(Row.PLANT)
    return frozenset(rows)


def _plant_doubt(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> Doubt | None:
    """What makes a plant's block doubtful that could be read. One that tells nothing of its units or its heart is taken
    at its word; one that could tell and does not is not."""
    if not any(point in usable for point in INPUTS[Row.PLANT]):
        return None  # the whole block is late: its age says enough
    heart = _heartbeat(state, policy, readings, usable, now)
    if heart is not None:
        return heart
    if Point.SYNCHRONISED_UNITS not in readings:
        return None
    synchronised = good_value(usable, Point.SYNCHRONISED_UNITS)
    if synchronised is None:
        return Doubt.UNITS_UNKNOWN
    return Doubt.NO_UNIT if synchronised < 1 else None


def _implausible(policy: Policy, readings: Readings) -> dict[Point, Doubt]:
    doubts: dict[Point, Doubt] = {}
    for point in MEASURED:
        value = good_value(readings, point)
        if value is not None and abs(value) > policy.power_span_w:
            doubts[point] = Doubt.BEYOND_SPAN
    load = good_value(readings, Point.SITE_LOAD_W)
    if load is not None and load < -0.01 * policy.rated_w:
        doubts[Point.SITE_LOAD_W] = Doubt.GENERATING_LOAD
    if load is not None and load > FULL_LOADS * policy.rated_w:
        doubts.setdefault(Point.SITE_LOAD_W, Doubt.BEYOND_SITE)
    frequency = good_value(readings, Point.FREQUENCY_HZ)
    if frequency is not None and not policy.frequency_min_hz <= frequency <= policy.frequency_max_hz:
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.FREQUENCY_HZ), Doubt.WRONG_BLOCK))
    return doubts


def _frozen(state: State, policy: Policy, readings: Readings, now: float) -> dict[Point, Doubt]:
    """A power that stands still to the last digit while the rest of the site moved is a dead meter, not calm. Two of a
    meter's steps are no move: of two that count coarsely one goes on by a step and the other stays, for good.

    The export moves with the generation too: of the site meter it proves something only once the miners moved. A coarse
    one beside a sleeping fleet would otherwise count as dead, keep the fleet asleep, and stand still for that reason.
    """
    doubts: dict[Point, Doubt] = {}
    expected_w, tolerance_w = estimator.expected_power_w(state.fleet, now), policy.household_tolerance_w
    for point in (Point.POI_EXPORT_W, Point.SITE_LOAD_W):
        other = Point.SITE_LOAD_W if point is Point.POI_EXPORT_W else Point.POI_EXPORT_W
        value, others = good_value(readings, point), good_value(readings, other)
        if value is None or others is None:
            continue
        memory = state.still.get(point)
        if memory is None or memory.value != value:
            may_draw_w = _may_draw_w(state, expected_w, now) if point is Point.SITE_LOAD_W else (0.0, math.inf)
            state.still[point] = StillMemory(value, now, others, *may_draw_w)
            continue
        moved = abs(others - memory.others_w) > max(0.01 * policy.rated_w, tolerance_w)
        if point is Point.SITE_LOAD_W:
            miners_w = float(expected_w.sum()) - state.corrected_w
            moved &= miners_w < memory.least_w - tolerance_w or miners_w > memory.most_w + tolerance_w
        if moved and now - memory.since > policy.inputs.frozen_after_s:
            doubts[point] = Doubt.FROZEN
    return doubts


def _may_draw_w(state: State, expected_w: FloatArray, now: float) -> tuple[float, float]:
    """What the miners draw now at least and at most, for quick moves in flight may be there already. A belief that is
    corrected is no load that moves."""
    soon_w = estimator.expected_soon_w(state.fleet, now, 0.0)
    least_w, most_w = float(np.minimum(expected_w, soon_w).sum()), float(np.maximum(expected_w, soon_w).sum())
    return least_w - state.corrected_w, most_w - state.corrected_w


def _heartbeat(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> Doubt | None:
    """A DCS whose counter stands still, or cannot be read any more while the rest of its block can."""
    beat = good_value(usable, Point.DCS_HEARTBEAT)
    if beat is not None and (state.heartbeat is None or state.heartbeat[0] != beat):
        state.heart_beats, state.heartbeat = state.heartbeat is not None, (beat, now)
    unreadable = Point.DCS_HEARTBEAT in readings and readings[Point.DCS_HEARTBEAT].quality is not Quality.GOOD
    if beat is None and not unreadable:
        return None
    since = state.started_at if state.heartbeat is None else state.heartbeat[1]
    if now - since <= policy.inputs.dcs_heartbeat_after_s:
        return None
    return Doubt.HEARTBEAT_UNREADABLE if unreadable else Doubt.HEARTBEAT_STUCK


def _unbalanced(state: State, policy: Policy, readings: Readings, now: float) -> bool:
    """Generation must equal auxiliaries + mining load + export; a lasting gap is a wrong sign, ratio or address."""
    gross, auxiliary = good_value(readings, Point.GROSS_W), good_value(readings, Point.AUXILIARY_W)
    load, export = good_value(readings, Point.SITE_LOAD_W), good_value(readings, Point.POI_EXPORT_W)
    if gross is None or auxiliary is None or load is None or export is None:
        return False
    limit = max(policy.inputs.balance_tolerance_ratio * abs(gross), policy.inputs.balance_step_w)
    if abs(gross - auxiliary - load - export) <= limit:
        state.unbalanced_since = None
        return False
    if state.unbalanced_since is None:
        state.unbalanced_since = now
    return now - state.unbalanced_since >= policy.inputs.balance_after_s
