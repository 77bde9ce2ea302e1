"""What to do when an input cannot be believed: core/failsafe_table's cells, and the memory it needs.

Doubt never raises the load. An input that is late holds the cap; one that stays away freezes it upward; one that is
gone ramps the site to its fallback. The way back needs good data for a while, not one lucky sample.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

from controller.core import doubts, frequency
from controller.core import failsafe_table as table
from controller.core.doubts import INPUTS, MEASURED, Doubt
from controller.core.failsafe_table import Condition, Row
from controller.core.state import InputMemory, State
from controller.domain.metering import Point, Quality, Readings, Sample
from controller.domain.plan import Event, InputHealth, InputState
from controller.domain.policy import InputPolicy, Policy

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
UNPROVEN = "not proved yet"


class Age(StrEnum):
    """How old the last believable sample is, by the site's limits; REARMED: good for `rearm_s` without a gap."""

    FRESH = "fresh"
    REARMED = "rearmed"
    LATE = "late"
    STALE = "stale"
    GONE = "gone"


SEVERITY = tuple(InputState)
_CONDITION_OF_AGE = {Age.LATE: Condition.LATE, Age.STALE: Condition.STALE, Age.GONE: Condition.GONE}


def moved(row: Row, before: InputState, age: Age) -> InputState:
    """The state of an input after one look at it: doubt heals by good data alone, and a longer one heals late."""
    if age is Age.REARMED or (age is Age.FRESH and before in (InputState.GOOD, InputState.HOLD)):
        return table.state_asked(row, Condition.BACK)
    if age is Age.FRESH:
        return before
    return max(before, table.state_asked(row, _CONDITION_OF_AGE[age]), key=SEVERITY.index)


def points_of(name: str) -> tuple[Point, ...]:
    """The points behind one entry of an input's health; none for the dispatcher, who is no meter's."""
    return INPUTS.get(name) or ((GUARDS[name],) if name in GUARDS else ())


@dataclass(frozen=True, slots=True)
class Trust:
    """One cycle's verdict on the inputs: the believable samples, each input's health, and the worst state of all.
    impossible: points that show something which cannot be."""

    samples: dict[Point, Sample]
    health: tuple[InputHealth, ...]
    worst: InputState
    impossible: frozenset[Point] = frozenset()


def assess(state: State, policy: Policy, readings: Readings, dispatcher_heard_at: float | None, now: float) -> Trust:
    """Judge every required input; updates the fail-safe's memory in `state` (a private copy of the cycle's)."""
    limit_s = policy.inputs.hold_after_s
    usable = {
        point: sample
        for point, sample in readings.items()
        if sample.quality is Quality.GOOD and now - sample.taken_at <= limit_s
    }
    doubtful = doubts.found(state, policy, readings, usable, now)
    unproven = doubts.unproven(state, readings)
    samples: dict[Point, Sample] = {}
    health: list[InputHealth] = []
    for name, points in INPUTS.items():
        needed = [point for point in points if point in policy.required_points]
        if not needed:
            continue
        doubt = next((doubtful[point] for point in needed if point in doubtful), None)
        good = all(point in usable for point in needed) and doubt is None
        newest = min((readings[point].taken_at for point in needed if point in readings), default=None)
        row = Row(name)
        health.append(_advance(state, policy.inputs, row, good, newest, doubt, row in unproven, now))
    for name, point in GUARDS.items():
        if point in readings:
            health.append(_guard(state, policy, Row(name), readings[point], now))
    for point, sample in readings.items():
        if point in doubtful or sample.quality is not Quality.GOOD:
            continue
        if point is Point.SITE_LOAD_W and state.unbalanced_since is not None and state.offset_w is not None:
            continue  # a gap that is no more than the moment's own can wait for the next reading; a lie moves nobody
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
    impossible = frozenset(point for point, doubt in doubtful.items() if doubt is not Doubt.BAD_QUALITY)
    return Trust(samples, tuple(health), worst, impossible)


def _advance(
    state: State,
    limits: InputPolicy,
    row: Row,
    good: bool,
    newest: float | None,
    doubt: Doubt | None,
    unproven: bool,
    now: float,
) -> InputHealth:
    """Move one input by the table. unproven: it says that it is good, which is no reason to believe it again, nor for
    the time that it has been in doubt to begin anew."""
    name = row.value
    memory = state.inputs.get(name) or InputMemory(InputState.HOLD, state.started_at, None)
    good_since = (memory.good_since if memory.good_since is not None else now) if good else None
    believed = good and not (unproven and memory.state in doubts.DOUBTED)
    trusted_at = newest if believed and newest is not None else memory.trusted_at
    age = now - trusted_at
    if good_since is not None:
        condition = Age.REARMED if now - good_since >= limits.rearm_s else Age.FRESH
    elif now - state.started_at <= limits.hold_after_s:
        condition = Age.LATE  # after a restart: one that was in doubt can be read, or not, before it gets worse
    elif age > limits.fallback_after_s:
        condition = Age.GONE
    elif age > limits.freeze_after_s:
        condition = Age.STALE
    else:
        condition = Age.LATE
    after = memory.state if good and unproven else moved(row, memory.state, condition)
    if doubt is not None:
        after = max(after, doubt.asks(row), key=SEVERITY.index)
    state.inputs[name] = InputMemory(after, trusted_at, good_since)
    says = condition.value if doubt is None else doubt.says or condition.value
    if good and unproven and after is not InputState.GOOD:
        says = UNPROVEN
    return InputHealth(name, after, says, None if newest is None else now - newest)


def _guard(state: State, policy: Policy, row: Row, sample: Sample, now: float) -> InputHealth:
    """One that cannot be read keeps everything from being raised; how old it may get is its block's affair."""
    low = frequency.follow(state.low_frequency, sample, policy) if row is Row.FREQUENCY else None
    once = frequency.unconfirmed(low, policy, now)
    good = sample.quality is Quality.GOOD and not once
    if good and GUARDS[row] in CONTACTS:
        state.contacts[GUARDS[row]] = sample
    after = InputState.GOOD if good else table.state_asked(row, Condition.GARBAGE)
    state.inputs[row.value] = InputMemory(after, now, None)
    says = Age.FRESH.value if good else "low once, and not read since" if once else "unreadable"
    return InputHealth(row.value, after, says, now - sample.taken_at)


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


def events(before: State, after: State, trust: Trust) -> list[Event]:
    """One for each input whose state has changed in this cycle."""
    found = []
    for health in trust.health:
        known, moved_to = before.inputs.get(health.name), after.inputs.get(health.name)
        if known is None or moved_to is None or known.state is moved_to.state:
            continue
        text = f"{health.name}: {known.state.value} -> {moved_to.state.value} ({health.condition}); "
        level = table.LEVEL_OF[moved_to.state]
        found.append(Event("input_state", level, text + table.words_of(moved_to.state)))
    return found
