"""Telemetry in: what a reading says of one miner, what its owner had set, and the first sight of each."""

from __future__ import annotations

import math

import numpy as np

from controller.core import estimator
from controller.core.consequences import Findings
from controller.core.fleet_state import FleetState
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, MinerReading, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

WATTS_MAX_RATIO = 2.0  # of the highest rung: more is no draw of this miner but a sentinel or a wrong unit


def take_readings(
    facts: Fleet, state: State, policy: FleetPolicy, readings: tuple[MinerReading, ...], now: float, findings: Findings
) -> BoolArray:
    """Enter telemetry; returns (n,) who were read anew this cycle. Older reads than the known one are dropped."""
    fleet = state.fleet
    fresh = np.zeros(len(facts), dtype=np.bool_)
    # Plain numbers: an array asked to hold or meet an enum member takes longer over it than the rest of this loop.
    unreachable, contradicts = int(Condition.UNREACHABLE), int(Condition.CONTRADICTS)
    unknown, unseen = int(Condition.UNKNOWN), int(Verdict.UNSEEN)
    for reading in readings:
        miner = reading.miner
        if reading.started_at <= fleet.read_at[miner]:
            continue
        condition = int(reading.condition)
        if condition == unreachable:
            if fleet.condition[miner] != unreachable:
                findings.gone.append((miner, reading.detail))
            fleet.condition[miner] = unreachable
            continue  # its last known power stands: never zero
        if condition == unknown:  # it answered, and that proves nothing: as good as not read
            fleet.condition[miner] = unknown
            continue
        fleet.read_at[miner] = reading.started_at
        if condition == contradicts:
            if fleet.condition[miner] != contradicts:
                _leave_to_a_person(facts, state, reading, now, findings)
            continue
        was_known, fleet.condition[miner] = fleet.condition[miner], condition
        was_seen = fleet.verdict[miner] != unseen
        if was_known == unreachable and was_seen and fleet.gone_said[miner]:
            findings.events.append(Event("miner_back", EventLevel.INFO, "answers again", facts.miner_ids[miner]))
        elif was_known == contradicts:
            text = "what answers is the miner of the inventory again"
            findings.events.append(Event("miner_fits_again", EventLevel.INFO, text, facts.miner_ids[miner]))
        fleet.level[miner] = -1 if reading.level is None else reading.level
        fleet.reported_w[miner] = _plausible_w(facts, reading)
        fleet.power_error_w[miner] = reading.power_error_w or 0.0
        fresh[miner] = True
        # Nobody trims it, and it is woken as its owner had it: what it runs is what it may run, and its owner's wish.
        owners = not facts.trims[miner]
        if owners and reading.level is not None:
            fleet.ceiling[miner] = fleet.want_level[miner] = reading.level
        known = state.priors.get(miner)
        if reading.prior is not None and (known is None or (owners and known != reading.prior)):
            state.priors[miner] = reading.prior
            findings.priors.append((miner, reading.prior))
        if reading.prior is not None and known is None:
            fleet.ceiling[miner] = _owners_rung(facts, fleet, miner)
            fleet.want_level[miner] = min(int(fleet.want_level[miner]), int(fleet.ceiling[miner]))
        if not was_seen:
            _first_sight(facts, state, policy, miner, now, findings)
    return fresh


def _owners_rung(facts: Fleet, fleet: FleetState, miner: int) -> int:
    """Highest rung that is not above what the owner had set: the running one, or for a profile that is none of our
    rungs the next below the watts it shows; the lowest when it shows none. Of one nobody trims: what it may come to."""
    if not facts.trims[miner]:
        return int(fleet.level[miner]) if fleet.level[miner] >= 0 else int(facts.cap_level[miner])
    if fleet.level[miner] >= 0:
        return min(int(facts.cap_level[miner]), int(fleet.level[miner]))
    watts = fleet.reported_w[miner]
    if math.isnan(watts) or fleet.condition[miner] != Condition.HASHING:
        return 0
    ladder = facts.level_power_w[miner, : int(facts.cap_level[miner]) + 1]
    return max(int(np.searchsorted(ladder, watts, side="right")) - 1, 0)


def _plausible_w(facts: Fleet, reading: MinerReading) -> float:
    """Watts the miner can really draw, or NaN: one sentinel in a sum would hide a whole container."""
    power_w = reading.power_w
    highest_w = float(facts.level_power_w[reading.miner, -1])
    return power_w if power_w is not None and 0.0 <= power_w <= WATTS_MAX_RATIO * highest_w else math.nan


def _leave_to_a_person(facts: Fleet, state: State, reading: MinerReading, now: float, findings: Findings) -> None:
    """Another machine answers there: nothing is asked of it, and nothing it says is taken for the miner's own word.

    The miner is judged afresh once it fits again. Until then it draws what it drew last, and what was on its way to it
    cannot be counted on any more.
    """
    fleet, miner = state.fleet, reading.miner
    expected_w = estimator.expected_one_w(fleet, miner, now)
    draw_w = float(np.fmax(max(float(fleet.from_w[miner]), expected_w), fleet.reported_w[miner]))  # NaN: nothing told
    estimator.take_out_of_flight(fleet, np.array([miner]), draw_w)
    estimator.revise(state, draw_w - expected_w, now)
    fleet.condition[miner] = Condition.CONTRADICTS
    fleet.reported_w[miner], fleet.level[miner] = math.nan, -1
    if fleet.verdict[miner] != Verdict.QUARANTINED:
        fleet.verdict[miner] = Verdict.UNSEEN
    text = f"{reading.detail}; nothing is asked of it, and its last known power counts"
    findings.events.append(Event("miner_contradicts", EventLevel.ERROR, text, facts.miner_ids[miner]))


def _first_sight(facts: Fleet, state: State, policy: FleetPolicy, miner: int, now: float, findings: Findings) -> None:
    """The first reading of a miner: what it does now is what we want of it, until a plan says otherwise."""
    fleet = state.fleet
    hashing = fleet.condition[miner] == Condition.HASHING
    fleet.want_hashing[miner] = hashing
    if hashing:
        fleet.want_level[miner] = fleet.level[miner] if fleet.level[miner] >= 0 else fleet.ceiling[miner]
        fleet.ours_asleep[miner] = False
    elif policy.adopt_sleepers_at_start:
        fleet.ours_asleep[miner] = True
    elif not fleet.ours_asleep[miner]:
        text = "asleep, and not by our order: left alone until adopted"
        findings.events.append(Event("foreign_sleeper", EventLevel.INFO, text, facts.miner_ids[miner]))
    fleet.stirred[miner] |= fleet.caught[miner]  # judged afresh: its feeder will tell soon enough
    fleet.caught[miner] = False
    known = fleet.reported_w[miner]
    if np.isnan(known):
        rung_w = facts.level_power_w[miner, fleet.want_level[miner]] * fleet.ratio[miner]
        known = rung_w if hashing else facts.sleep_power_w[miner]
    # One miner at a time and no array over the fleet: the first sweep shows thousands of them in one cycle.
    before_w = findings.first[miner] = float(fleet.to_w[miner])  # nothing is in flight to a miner nobody has seen
    estimator.take_out_of_flight(fleet, np.array([miner]), float(known))
    estimator.revise(state, float(known) - before_w, now)
