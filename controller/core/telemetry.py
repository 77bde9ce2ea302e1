"""Telemetry in: what a reading says of one miner, what its owner had set, and the first sight of each.

A sweep brings hundreds of readings a cycle and the first one all of them: what they have in common is entered as
arrays, and only who has something to say is looked at by itself.
"""

from __future__ import annotations

import math

import numpy as np

from controller.core import estimator, flight, offset
from controller.core.consequences import Findings, sleep_may_come
from controller.core.fleet_state import FleetState
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, MinerReading, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

UP_RATIO = 0.9  # of its rung: who draws so much has booted
WATTS_MAX_RATIO = 2.0  # of the highest rung: more is no draw of this miner but a sentinel or a wrong unit


def take_readings(
    facts: Fleet, state: State, policy: FleetPolicy, readings: tuple[MinerReading, ...], now: float, findings: Findings
) -> BoolArray:
    """Enter telemetry; returns (n,) who were read anew this cycle. Older reads than the known one are dropped."""
    fresh = np.zeros(len(facts), dtype=np.bool_)
    while readings:
        # Arrays take one reading of a miner: of one read twice since the last cycle the second comes next.
        first = {reading.miner: reading for reading in reversed(readings)}
        if len(first) == len(readings):
            _take(facts, state, policy, readings, fresh, now, findings)
            break
        batch = tuple(reading for reading in readings if first[reading.miner] is reading)
        _take(facts, state, policy, batch, fresh, now, findings)
        readings = tuple(reading for reading in readings if first[reading.miner] is not reading)
    return fresh


def _take(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    readings: tuple[MinerReading, ...],
    fresh: BoolArray,
    now: float,
    findings: Findings,
) -> None:
    """Enter one reading of each of some miners."""
    fleet = state.fleet
    miners = np.array([reading.miner for reading in readings], dtype=np.int64)
    condition = np.array([reading.condition for reading in readings], dtype=np.int8)
    started_at = np.array([reading.started_at for reading in readings])
    newer, never_read = started_at > fleet.read_at[miners], ~np.isfinite(fleet.read_at[miners])
    was, unseen = fleet.condition[miners], fleet.verdict[miners] == Verdict.UNSEEN
    # Out of reach: its last known power stands, never zero. Unknown: it answered, and that proves nothing.
    proves = newer & (condition != Condition.UNREACHABLE) & (condition != Condition.UNKNOWN)
    fleet.read_at[miners[proves]] = started_at[proves]
    tells_nothing = newer & (condition == Condition.UNKNOWN)
    fleet.unknown_at[miners[tells_nothing]] = started_at[tells_nothing]
    answers = proves & (condition != Condition.CONTRADICTS)
    entered = newer & (condition != Condition.CONTRADICTS)
    fleet.condition[miners[entered]] = condition[entered]
    known = [reading for reading, answer in zip(readings, answers.tolist(), strict=True) if answer]
    rows = miners[answers]
    fresh[rows] = True
    _enter_values(facts, fleet, rows, known)
    _keep_priors(facts, state, known, findings)
    first = answers & unseen
    changes_w = np.zeros(len(readings))
    changes_w[first] = _first_sight(facts, fleet, policy, miners[first], now, findings)

    back = answers & (was == Condition.UNREACHABLE) & ~unseen & fleet.gone_said[miners]
    fits = answers & (was == Condition.CONTRADICTS)
    says = back | fits | first | (newer & ~answers & (condition != was))
    for place in says.nonzero()[0].tolist():
        reading = readings[place]
        miner_id = facts.miner_ids[reading.miner]
        if reading.condition is Condition.UNREACHABLE:
            findings.gone.append((reading.miner, reading.detail))
        elif reading.condition is Condition.CONTRADICTS:
            _leave_to_a_person(facts, state, reading, now, findings)
        elif back[place]:
            findings.events.append(Event("miner_back", EventLevel.INFO, "answers again", miner_id))
        elif fits[place]:
            text = "what answers is the miner of the inventory again"
            findings.events.append(Event("miner_fits_again", EventLevel.INFO, text, miner_id))
        if first[place]:
            offset.revise(state, float(changes_w[place]), now, first_read=bool(never_read[place]))
            if not fleet.want_hashing[reading.miner] and not fleet.ours_asleep[reading.miner]:
                text = "asleep, and not by our order: left alone until adopted"
                findings.events.append(Event("foreign_sleeper", EventLevel.INFO, text, miner_id))


def _enter_values(facts: Fleet, fleet: FleetState, rows: IntArray, readings: list[MinerReading]) -> None:
    """Level and watts of miners that answered, `rows` (k,)."""
    level = np.array([-1 if reading.level is None else reading.level for reading in readings], dtype=np.int64)
    power_w = np.array([math.nan if reading.power_w is None else reading.power_w for reading in readings])
    # Watts the miner can really draw, or NaN: one sentinel in a sum would hide a whole container.
    plausible = (power_w >= 0.0) & (power_w <= WATTS_MAX_RATIO * facts.level_power_w[rows, -1])
    fleet.level[rows] = level
    fleet.reported_w[rows] = np.where(plausible, power_w, math.nan)
    fleet.power_error_w[rows] = [reading.power_error_w or 0.0 for reading in readings]
    # Nobody trims it, and it is woken as its owner had it: what it runs is what it may run, and its owner's wish.
    owners = ~facts.trims[rows] & (level >= 0)
    fleet.ceiling[rows[owners]] = fleet.want_level[rows[owners]] = level[owners]


def _keep_priors(facts: Fleet, state: State, readings: list[MinerReading], findings: Findings) -> None:
    """What the owners had set, in the firmwares' words: kept as first seen; of one nobody trims, as last seen."""
    fleet, found = state.fleet, []
    for reading in readings:
        if reading.prior is None:
            continue
        miner, before = reading.miner, state.priors.get(reading.miner)
        if before == reading.prior or (before is not None and facts.trims[miner]):
            continue
        state.priors[miner] = reading.prior
        findings.priors.append((miner, reading.prior))
        if before is None:
            found.append(miner)
    rows = np.array(found, dtype=np.int64)
    fleet.ceiling[rows] = _owners_rung(facts, fleet, rows)
    fleet.want_level[rows] = np.minimum(fleet.want_level[rows], fleet.ceiling[rows])


def _owners_rung(facts: Fleet, fleet: FleetState, rows: IntArray) -> IntArray:
    """(k,) highest rung that is not above what the owner had set: the running one, or for a profile that is none of our
    rungs the next below the watts it shows; the lowest when it shows none. Of one nobody trims: what it may come to."""
    level, cap = fleet.level[rows], facts.cap_level[rows]
    watts = np.where(fleet.condition[rows] == Condition.HASHING, fleet.reported_w[rows], math.nan)
    ladder_w = facts.level_power_w[rows]
    below = (ladder_w <= watts[:, np.newaxis]) & (np.arange(ladder_w.shape[1]) <= cap[:, np.newaxis])
    by_watts = np.maximum(below.sum(axis=1) - 1, 0)
    trimmed = np.where(level >= 0, np.minimum(cap, level), by_watts)
    return np.where(facts.trims[rows], trimmed, np.where(level >= 0, level, cap))


def _leave_to_a_person(facts: Fleet, state: State, reading: MinerReading, now: float, findings: Findings) -> None:
    """Another machine answers there: nothing is asked of it, and nothing it says is taken for the miner's own word.

    The miner is judged afresh once it fits again. Until then it draws what it drew last, and what was on its way to it
    cannot be counted on any more.
    """
    fleet, miner = state.fleet, reading.miner
    expected_w = estimator.expected_one_w(fleet, miner, now)
    draw_w = float(np.fmax(max(float(fleet.from_w[miner]), expected_w), fleet.reported_w[miner]))  # NaN: nothing told
    flight.take_out_of_flight(fleet, miner, draw_w)
    offset.revise(state, draw_w - expected_w, now)
    fleet.condition[miner] = Condition.CONTRADICTS
    fleet.reported_w[miner], fleet.level[miner] = math.nan, -1
    if fleet.verdict[miner] != Verdict.QUARANTINED:
        fleet.verdict[miner] = Verdict.UNSEEN
    text = f"{reading.detail}; nothing is asked of it, and its last known power counts"
    findings.events.append(Event("miner_contradicts", EventLevel.ERROR, text, facts.miner_ids[miner]))


def _first_sight(
    facts: Fleet, fleet: FleetState, policy: FleetPolicy, rows: IntArray, now: float, findings: Findings
) -> FloatArray:
    """The first reading of miners `rows` (k,): what each does now is what we want of it, until a plan says otherwise.

    Who was woken before a restart of ours may show nothing of it yet: its boot goes on as it was. Who was told to sleep
    may hash for seconds, or for good: that nobody counts on, but it is ours if it sleeps. Returns by how much what is
    believed of each has changed, watts.
    """
    up = fleet.reported_w[rows] >= UP_RATIO * facts.level_power_w[rows, fleet.ceiling[rows]] * fleet.ratio[rows]
    waking = rows[(fleet.verb[rows] == estimator.WAKE) & (now < fleet.deadline_at[rows]) & ~up]
    hashing = fleet.condition[rows] == Condition.HASHING
    on, asleep = rows[hashing], rows[~hashing]
    fleet.want_hashing[rows] = hashing
    fleet.want_hashing[waking] = True
    fleet.want_level[waking] = np.where(fleet.level[waking] >= 0, fleet.level[waking], fleet.ceiling[waking])
    fleet.want_level[on] = np.where(fleet.level[on] >= 0, fleet.level[on], fleet.ceiling[on])
    fleet.ours_asleep[on] &= (fleet.verb[on] != estimator.WAKE) & sleep_may_come(facts, fleet, policy, on, now)
    fleet.ours_asleep[asleep] |= policy.adopt_sleepers_at_start
    fleet.stirred[rows] |= fleet.caught[rows]  # judged afresh: its feeder will tell soon enough
    fleet.caught[rows] = False
    rung_w = facts.level_power_w[rows, fleet.want_level[rows]] * fleet.ratio[rows]
    assumed_w = np.where(hashing, rung_w, facts.sleep_power_w[rows])
    known_w = np.where(np.isnan(fleet.reported_w[rows]), assumed_w, fleet.reported_w[rows])
    before_w = fleet.to_w[rows]  # nothing is in flight to a miner nobody has seen
    findings.first.update(zip(rows.tolist(), before_w.tolist(), strict=True))
    flight.take_out_of_flight(fleet, rows, known_w)
    fleet.verb[waking], fleet.verdict[waking] = estimator.WAKE, Verdict.APPROACHING
    left_s = fleet.sent_at[waking] + fleet.dead_s[waking] + fleet.to_90_s[waking] - now
    fleet.dead_s[waking] = np.maximum(left_s - fleet.to_90_s[waking], 0.0)
    fleet.to_90_s[waking] = np.clip(left_s, 1.0, fleet.to_90_s[waking])  # from what it shows, in the time left
    fleet.sent_at[waking] = now
    fleet.to_w[waking] = facts.level_power_w[waking, fleet.want_level[waking]] * fleet.ratio[waking]
    return estimator.expected_power_w(fleet, now, rows) - before_w
