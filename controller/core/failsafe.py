"""What to do when an input cannot be believed: core/failsafe_table's cells, and the memory it needs.

Doubt never raises the load. An input that is late holds the cap; one that stays away freezes it upward; one that is
gone ramps the site to its fallback. The way back needs good data for a while, not one lucky sample.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, StrEnum

from controller.core import failsafe_table as table
from controller.core.failsafe_table import Condition, Row
from controller.core.state import InputMemory, State, StillMemory
from controller.domain.metering import Point, Quality, Readings, Sample
from controller.domain.plan import InputHealth, InputState
from controller.domain.policy import InputPolicy, Policy


class Age(StrEnum):
    """How old the last believable sample is, by the site's limits; REARMED: good for `rearm_s` without a gap."""

    FRESH = "fresh"
    REARMED = "rearmed"
    LATE = "late"
    STALE = "stale"
    GONE = "gone"


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


SEVERITY = tuple(InputState)
_CONDITION_OF_AGE = {Age.LATE: Condition.LATE, Age.STALE: Condition.STALE, Age.GONE: Condition.GONE}


def moved(row: Row, before: InputState, age: Age) -> InputState:
    """The state of an input after one look at it: doubt heals by good data alone, and a longer one heals late."""
    if age is Age.REARMED or (age is Age.FRESH and before in (InputState.GOOD, InputState.HOLD)):
        return table.state_asked(row, Condition.BACK)
    if age is Age.FRESH:
        return before
    return max(before, table.state_asked(row, _CONDITION_OF_AGE[age]), key=SEVERITY.index)


# Which points make one input: they come from one block of one device and fail together.
INPUTS: dict[str, tuple[Point, ...]] = {
    Row.POI: (Point.POI_EXPORT_W,),
    Row.SITE: (Point.SITE_LOAD_W,),
    Row.PLANT: (Point.DESPATCH_EXPORT_W, Point.RESERVE_UP_W, Point.GROSS_W, Point.AVAILABLE_W),
}
BALANCED = (Row.POI, Row.SITE)  # held to blame when the powers do not add up
MEASURED = frozenset(point for points in INPUTS.values() for point in points)
POWER_POINTS = (
    Point.POI_EXPORT_W,
    Point.SITE_LOAD_W,
    Point.DESPATCH_EXPORT_W,
    Point.GROSS_W,
    Point.AVAILABLE_W,
    Point.RESERVE_UP_W,
)
# What sheds. Whoever has them is not blind without them, but raises nothing while one cannot be read.
GUARDS: dict[str, Point] = {
    Row.TRIP: Point.TRIP,
    Row.PERMIT: Point.PERMIT,
    Row.EMERGENCY: Point.GRID_EMERGENCY,
    Row.FREQUENCY: Point.FREQUENCY_HZ,
}
CONTACTS = frozenset(GUARDS.values()) - {Point.FREQUENCY_HZ}
DISPATCHER = Row.DISPATCHER.value
NO_HEARTBEAT = "no heartbeat"


def points_of(name: str) -> tuple[Point, ...]:
    """The points behind one entry of an input's health; none for the dispatcher, who is no meter's."""
    return INPUTS.get(name) or ((GUARDS[name],) if name in GUARDS else ())


@dataclass(frozen=True, slots=True)
class Trust:
    """One cycle's verdict on the inputs: the believable samples, each input's health, and the worst state of all."""

    samples: dict[Point, Sample]
    health: tuple[InputHealth, ...]
    worst: InputState


def assess(state: State, policy: Policy, readings: Readings, dispatcher_heard_at: float | None, now: float) -> Trust:
    """Judge every required input; updates the fail-safe's memory in `state` (a private copy of the cycle's)."""
    usable = {point: sample for point, sample in readings.items() if _usable(sample, policy.inputs, now)}
    doubts = _doubts(state, policy, readings, usable, now)
    samples: dict[Point, Sample] = {}
    health: list[InputHealth] = []
    for name, points in INPUTS.items():
        needed = [point for point in points if point in policy.required_points]
        if not needed:
            continue
        doubt = next((doubts[point] for point in needed if point in doubts), None)
        good = all(point in usable for point in needed) and doubt is None
        newest = min((readings[point].taken_at for point in needed if point in readings), default=None)
        health.append(_advance(state, policy.inputs, Row(name), good, newest, doubt, now))
    for name, point in GUARDS.items():
        if point in readings:
            health.append(_guard(state, Row(name), readings[point], now))
    for point, sample in readings.items():
        if point in doubts or not _good(sample):
            continue
        # A measured power is true for a short while only.
        if point in usable or point not in MEASURED:
            samples[point] = sample
    # A contact stands as it was last read, however long ago: raised until it is seen lowered.
    samples.update({point: sample for point, sample in state.contacts.items() if point in readings})
    if policy.dispatch.lease_required:
        health.append(_dispatcher_health(state, policy, dispatcher_heard_at, now))
    asked = [entry.state for entry in health]
    if now < state.held_until:
        asked.append(table.state_asked(Row.CLOCK, Condition.STEPPED_FORWARD))
    worst = max(asked, key=SEVERITY.index, default=InputState.GOOD)
    return Trust(samples, tuple(health), worst)


def _usable(sample: Sample | None, limits: InputPolicy, now: float) -> bool:
    return sample is not None and sample.quality is Quality.GOOD and now - sample.taken_at <= limits.hold_after_s


def _advance(
    state: State, limits: InputPolicy, row: Row, good: bool, newest: float | None, doubt: Doubt | None, now: float
) -> InputHealth:
    """Move one input by the table."""
    name = row.value
    memory = state.inputs.get(name) or InputMemory(InputState.HOLD, state.started_at, None)
    good_since = (memory.good_since if memory.good_since is not None else now) if good else None
    trusted_at = newest if good and newest is not None else memory.trusted_at
    age = now - trusted_at
    if good_since is not None:
        # A gap that may be the moment's own is no reason to doubt a meter, but none to believe a doubted one again.
        suspected = row in BALANCED and state.unbalanced_since is not None
        condition = Age.REARMED if now - good_since >= limits.rearm_s and not suspected else Age.FRESH
    elif age > limits.fallback_after_s:
        condition = Age.GONE
    elif age > limits.freeze_after_s:
        condition = Age.STALE
    else:
        condition = Age.LATE
    after = moved(row, memory.state, condition)
    if doubt is not None:
        after = max(after, doubt.asks(row), key=SEVERITY.index)
    state.inputs[name] = InputMemory(after, trusted_at, good_since)
    says = condition.value if doubt is None else doubt.says or condition.value
    return InputHealth(name, after, says, None if newest is None else now - newest)


def _guard(state: State, row: Row, sample: Sample, now: float) -> InputHealth:
    """One that cannot be read keeps everything from being raised; how old it may get is its block's affair."""
    good = _good(sample)
    if good and GUARDS[row] in CONTACTS:
        state.contacts[GUARDS[row]] = sample
    after = InputState.GOOD if good else table.state_asked(row, Condition.GARBAGE)
    state.inputs[row.value] = InputMemory(after, now, None)
    return InputHealth(row.value, after, Age.FRESH.value if good else "unreadable", now - sample.taken_at)


def _dispatcher_health(state: State, policy: Policy, heard_at: float | None, now: float) -> InputHealth:
    """The lease: held by heartbeats, entered only with a heartbeat *and* an order accepted since it was lost."""
    if heard_at is None and math.isfinite(state.orders.lease_heard_at):
        heard_at = state.orders.lease_heard_at  # before a restart: a lease is not lost by a crash of ours
    age = None if heard_at is None else now - heard_at
    alive = age is not None and age <= policy.dispatch.heartbeat_lost_after_s
    fresh = now - state.orders.lease_order_at <= policy.dispatch.heartbeat_lost_after_s
    held = alive and (state.orders.lease_held or fresh)
    condition = "lease held" if held else ("heartbeat, no fresh order" if alive else NO_HEARTBEAT)
    cell = Condition.BACK if held else (Condition.UNCONFIRMED if alive else Condition.LOST)
    after = table.state_asked(Row.DISPATCHER, cell)
    state.inputs[DISPATCHER] = InputMemory(after, heard_at if heard_at is not None else state.started_at, None)
    return InputHealth(DISPATCHER, after, condition, age)


def why_not_raised(trust: Trust, state: State, journal_writable: bool, now: float) -> str:
    """What forbids raising anything, for people; empty when nothing does."""
    if not journal_writable and not table.TABLE[Row.JOURNAL][Condition.LOST].raises:
        return "journal not writable"
    if trust.worst is InputState.GOOD:
        return ""
    if now < state.held_until and all(entry.state is InputState.GOOD for entry in trust.health):
        return "wall clock stepped"
    return "doubtful inputs"


def _doubts(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> dict[Point, Doubt]:
    """Points whose samples are present and say GOOD but cannot be true, each with the reason.

    Only `usable` samples (GOOD and young) are held against each other: an old one would slander its fresh neighbour.
    """
    doubts = {point: Doubt.BAD_QUALITY for point in MEASURED if point in readings and not _good(readings[point])}
    doubts.update(_implausible(policy, readings))
    doubts.update(_frozen(state, policy, usable, now))
    plant = _plant_doubt(state, policy, readings, usable, now)
    if plant is not None:
        doubts.update(dict.fromkeys(INPUTS[Row.PLANT], plant))
    if _unbalanced(state, policy, usable, now):
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.SITE_LOAD_W), Doubt.UNBALANCED))
    return doubts


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
    synchronised = _value(usable, Point.SYNCHRONISED_UNITS)
    if synchronised is None:
        return Doubt.UNITS_UNKNOWN
    return Doubt.NO_UNIT if synchronised < 1 else None


def _implausible(policy: Policy, readings: Readings) -> dict[Point, Doubt]:
    doubts: dict[Point, Doubt] = {}
    for point in POWER_POINTS:
        value = _value(readings, point)
        if value is not None and abs(value) > policy.power_span_w:
            doubts[point] = Doubt.BEYOND_SPAN
    load = _value(readings, Point.SITE_LOAD_W)
    if load is not None and load < -0.01 * policy.rated_w:
        doubts[Point.SITE_LOAD_W] = Doubt.GENERATING_LOAD
    frequency = _value(readings, Point.FREQUENCY_HZ)
    if frequency is not None and not policy.frequency_min_hz <= frequency <= policy.frequency_max_hz:
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.FREQUENCY_HZ), Doubt.WRONG_BLOCK))
    return doubts


def _frozen(state: State, policy: Policy, readings: Readings, now: float) -> dict[Point, Doubt]:
    """A power that stands still to the last digit while the rest of the site moved is a dead meter, not calm."""
    doubts: dict[Point, Doubt] = {}
    for point in (Point.POI_EXPORT_W, Point.SITE_LOAD_W):
        other = Point.SITE_LOAD_W if point is Point.POI_EXPORT_W else Point.POI_EXPORT_W
        value, others = _value(readings, point), _value(readings, other)
        if value is None or others is None:
            continue
        memory = state.still.get(point)
        if memory is None or memory.value != value:
            state.still[point] = StillMemory(value, now, others)
            continue
        moved = abs(others - memory.others_w) > 0.01 * policy.rated_w
        if moved and now - memory.since > policy.inputs.frozen_after_s:
            doubts[point] = Doubt.FROZEN
    return doubts


def _heartbeat(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> Doubt | None:
    """A DCS whose counter stands still, or cannot be read any more while the rest of its block can."""
    beat = _value(usable, Point.DCS_HEARTBEAT)
    if beat is not None and (state.heartbeat is None or state.heartbeat[0] != beat):
        state.heartbeat = (beat, now)
    unreadable = Point.DCS_HEARTBEAT in readings and not _good(readings[Point.DCS_HEARTBEAT])
    if beat is None and not unreadable:
        return None
    since = state.started_at if state.heartbeat is None else state.heartbeat[1]
    if now - since <= policy.inputs.dcs_heartbeat_after_s:
        return None
    return Doubt.HEARTBEAT_UNREADABLE if unreadable else Doubt.HEARTBEAT_STUCK


def _unbalanced(state: State, policy: Policy, readings: Mapping[Point, Sample], now: float) -> bool:
    """Generation must equal auxiliaries + mining load + export; a lasting gap is a wrong sign, ratio or address."""
    gross, auxiliary = _value(readings, Point.GROSS_W), _value(readings, Point.AUXILIARY_W)
    load, export = _value(readings, Point.SITE_LOAD_W), _value(readings, Point.POI_EXPORT_W)
    if gross is None or auxiliary is None or load is None or export is None:
        return False
    limit = max(policy.inputs.balance_tolerance_ratio * abs(gross), policy.inputs.balance_step_w)
    if abs(gross - auxiliary - load - export) <= limit:
        state.unbalanced_since = None
        return False
    if state.unbalanced_since is None:
        state.unbalanced_since = now
    return now - state.unbalanced_since >= policy.inputs.balance_after_s


def _good(sample: Sample) -> bool:
    return sample.quality is Quality.GOOD


def _value(readings: Mapping[Point, Sample], point: Point) -> float | None:
    sample = readings.get(point)
    return None if sample is None or sample.quality is not Quality.GOOD else sample.value
