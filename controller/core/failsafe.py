"""What to do when an input cannot be believed: a table of input state x condition, and the memory it needs.

Doubt never raises the load. An input that is late holds the cap; one that stays away freezes it upward; one that is
gone ramps the site to its fallback. The way back needs good data for a while, not one lucky sample.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from controller.core.state import InputMemory, State, StillMemory
from controller.domain.metering import Point, Quality, Readings, Sample
from controller.domain.plan import InputHealth, InputState
from controller.domain.policy import InputPolicy, Policy


class Condition(StrEnum):
    """How old the last believable sample is, by the site's limits; REARMED: good for `rearm_s` without a gap."""

    FRESH = "fresh"
    REARMED = "rearmed"
    LATE = "late"
    STALE = "stale"
    GONE = "gone"


_G, _H, _F, _B = InputState.GOOD, InputState.HOLD, InputState.FROZEN_UP, InputState.FALLBACK

ACTIONS: dict[InputState, str] = {
    _G: "follow",
    _H: "hold the cap; nothing is raised",
    _F: "the cap may only fall until the input has been good for the re-arm time",
    _B: "ramp to the fallback until the input has been good for the re-arm time",
}

TRANSITIONS: dict[InputState, dict[Condition, InputState]] = {
    _G: dict(zip(Condition, (_G, _G, _H, _F, _B), strict=True)),
    _H: dict(zip(Condition, (_G, _G, _H, _F, _B), strict=True)),
    _F: dict(zip(Condition, (_F, _G, _F, _F, _B), strict=True)),
    _B: dict(zip(Condition, (_B, _G, _B, _B, _B), strict=True)),
}

# Which points make one input: they come from one block of one device and fail together.
INPUTS: dict[str, tuple[Point, ...]] = {
    "poi": (Point.POI_EXPORT_W,),
    "site": (Point.SITE_LOAD_W,),
    "plant": (Point.DESPATCH_EXPORT_W, Point.RESERVE_UP_W, Point.GROSS_W, Point.AVAILABLE_W),
}
MEASURED = frozenset(point for points in INPUTS.values() for point in points)
POWER_POINTS = (
    Point.POI_EXPORT_W,
    Point.SITE_LOAD_W,
    Point.DESPATCH_EXPORT_W,
    Point.GROSS_W,
    Point.AVAILABLE_W,
    Point.RESERVE_UP_W,
)
DISPATCHER = "dispatcher"
SEVERITY = (_G, _H, _F, _B)


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
        doubt = next((doubts[point] for point in needed if point in doubts), "")
        good = all(point in usable for point in needed) and not doubt
        newest = min((readings[point].taken_at for point in needed if point in readings), default=None)
        health.append(_advance(state, policy.inputs, name, good, newest, doubt, now))
    for point, sample in readings.items():
        if point in doubts or sample.quality is not Quality.GOOD:
            continue
        # A flag once raised stands until it is seen lowered; a measured power is true for a short while only.
        if point in usable or point not in MEASURED:
            samples[point] = sample
    if policy.dispatch.lease_required:
        health.append(_dispatcher_health(state, policy, dispatcher_heard_at, now))
    worst = max((entry.state for entry in health), key=SEVERITY.index, default=InputState.GOOD)
    return Trust(samples, tuple(health), worst)


def _usable(sample: Sample | None, limits: InputPolicy, now: float) -> bool:
    return sample is not None and sample.quality is Quality.GOOD and now - sample.taken_at <= limits.hold_after_s


def _advance(
    state: State, limits: InputPolicy, name: str, good: bool, newest: float | None, doubt: str, now: float
) -> InputHealth:
    """Move one input by the table."""
    memory = state.inputs.get(name) or InputMemory(InputState.HOLD, state.started_at, None)
    good_since = (memory.good_since if memory.good_since is not None else now) if good else None
    trusted_at = newest if good and newest is not None else memory.trusted_at
    age = now - trusted_at
    if good_since is not None:
        condition = Condition.REARMED if now - good_since >= limits.rearm_s else Condition.FRESH
    elif age > limits.fallback_after_s:
        condition = Condition.GONE
    elif age > limits.freeze_after_s:
        condition = Condition.STALE
    else:
        condition = Condition.LATE
    after = TRANSITIONS[memory.state][condition]
    state.inputs[name] = InputMemory(after, trusted_at, good_since)
    return InputHealth(name, after, doubt or condition.value, None if newest is None else now - newest)


def _dispatcher_health(state: State, policy: Policy, heard_at: float | None, now: float) -> InputHealth:
    """The lease: held by heartbeats, entered only with a heartbeat *and* an order accepted since it was lost."""
    age = None if heard_at is None else now - heard_at
    alive = age is not None and age <= policy.dispatch.heartbeat_lost_after_s
    held = alive and (state.orders.lease_held or state.orders.lease_order_seen)
    condition = "lease held" if held else ("heartbeat, no fresh order" if alive else "no heartbeat")
    after = InputState.GOOD if held else InputState.FALLBACK
    state.inputs[DISPATCHER] = InputMemory(after, heard_at if heard_at is not None else state.started_at, None)
    return InputHealth(DISPATCHER, after, condition, age)


def _doubts(state: State, policy: Policy, readings: Readings, usable: Readings, now: float) -> dict[Point, str]:
    """Points whose samples are present and say GOOD but cannot be true, each with the reason.

    Only `usable` samples (GOOD and young) are held against each other: an old one would slander its fresh neighbour.
    """
    doubts = _implausible(policy, readings)
    doubts.update(_frozen(state, policy, usable, now))
    if _heartbeat_stuck(state, policy, usable, now):
        doubts.update(dict.fromkeys(INPUTS["plant"], "heartbeat stuck"))
    if Point.SYNCHRONISED_UNITS in readings:  # a plant that tells nothing of its units is taken at its word
        synchronised = _value(usable, Point.SYNCHRONISED_UNITS)
        if synchronised is None:
            doubts.update(dict.fromkeys(INPUTS["plant"], "synchronised units unknown"))
        elif synchronised < 1:
            doubts.update(dict.fromkeys(INPUTS["plant"], "no unit synchronised"))
    if _unbalanced(state, policy, usable, now):
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.SITE_LOAD_W), "unbalanced"))
    return doubts


def _implausible(policy: Policy, readings: Readings) -> dict[Point, str]:
    doubts: dict[Point, str] = {}
    for point in POWER_POINTS:
        value = _value(readings, point)
        if value is not None and abs(value) > policy.power_span_w:
            doubts[point] = "implausible: beyond the metered span"
    load = _value(readings, Point.SITE_LOAD_W)
    if load is not None and load < -0.01 * policy.rated_w:
        doubts[Point.SITE_LOAD_W] = "implausible: a load that generates (direction of the meter?)"
    frequency = _value(readings, Point.FREQUENCY_HZ)
    if frequency is not None and not policy.frequency_min_hz <= frequency <= policy.frequency_max_hz:
        wrong_block = "implausible: frequency out of range, so the block is not what it should be"
        doubts.update(dict.fromkeys((Point.POI_EXPORT_W, Point.FREQUENCY_HZ), wrong_block))
    return doubts


def _frozen(state: State, policy: Policy, readings: Readings, now: float) -> dict[Point, str]:
    """A power that stands still to the last digit while the rest of the site moved is a dead meter, not calm."""
    doubts: dict[Point, str] = {}
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
            doubts[point] = "frozen"
    return doubts


def _heartbeat_stuck(state: State, policy: Policy, readings: Readings, now: float) -> bool:
    beat = _value(readings, Point.DCS_HEARTBEAT)
    if beat is None:
        return False
    if state.heartbeat is None or state.heartbeat[0] != beat:
        state.heartbeat = (beat, now)
    return now - state.heartbeat[1] > policy.inputs.dcs_heartbeat_after_s


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


def _value(readings: Mapping[Point, Sample], point: Point) -> float | None:
    sample = readings.get(point)
    return None if sample is None or sample.quality is not Quality.GOOD else sample.value
