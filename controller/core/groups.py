"""Feeders as witnesses: what a feeder's own meter proves about the miners on it that tell no watts.

A blind miner is believed asleep on its own word, whatever its driver could look at. A feeder's meter is another
witness, for all its miners at once. What it shows beyond its miners (fans, losses, what every estimate is off by) is
remembered whenever it agrees; from there on only what has changed can be wrong. When blind miners went to sleep and the
meter followed, they are proved as a group. When it shows more, and those not proved would draw just that if all of them
lied, each of them has failed to sleep. When only some of them can have lied nobody is accused: the excess is booked
and said, and as they wake and sleep again the circle becomes smaller.

A meter that is lost, stands still, shows the impossible or is too coarse proves nothing and stops nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from controller.core import estimator, flight, offset
from controller.core.consequences import Findings, quarantine
from controller.core.fleet_state import NO_COMMAND
from controller.core.lifecycle import Signal, advance
from controller.core.state import State
from controller.core.witness import Finding, Look, blind_sleepers, comparable, finding_of, look_at
from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, GroupVerdict, IntArray, Verdict
from controller.domain.metering import Quality, Sample
from controller.domain.plan import Event, EventLevel, VerdictReport
from controller.domain.policy import FleetPolicy

PLAUSIBLE_RATIO = 2.0  # of the feeder's rating: more is no load but a wrong register
STREAK_SAMPLES, STREAK_S = 5, 8.0  # as many samples in a row, over as long, find the same before anything follows


def judge(
    facts: Fleet, state: State, policy: FleetPolicy, samples: Mapping[int, Sample], now: float, findings: Findings
) -> None:
    """Compare every feeder whose meter has something new with the miners on it, and act on what has lasted."""
    fleet, groups = state.fleet, state.groups
    fleet.sleep_proved &= (fleet.condition == Condition.ASLEEP) & ~fleet.want_hashing & (fleet.verb == NO_COMMAND)
    fleet.caught &= fleet.condition != Condition.HASHING
    fleet.stirred |= fleet.condition != Condition.ASLEEP
    for feeder, sample in samples.items():
        if sample.taken_at <= groups.sample_at[feeder]:
            continue
        groups.sample_at[feeder] = sample.taken_at
        value_w = _believable(facts, feeder, sample)
        groups.load_w[feeder] = value_w
        if math.isnan(value_w):
            groups.streak[feeder] = 0
            continue
        if value_w != groups.last_w[feeder]:
            if not math.isnan(
                groups.last_w[feeder]
            ):  # the first sample of all may be that of a meter that stands still
                groups.moved_at[feeder] = sample.taken_at
            groups.last_w[feeder] = value_w
        _follow(facts, state, policy, feeder, value_w, sample.taken_at, now, findings)


def _believable(facts: Fleet, feeder: int, sample: Sample) -> float:
    """The feeder's load, NaN when the sample is no load of this feeder."""
    highest_w = PLAUSIBLE_RATIO * float(facts.feeder_rating_w[feeder])
    if sample.value is None or sample.quality is not Quality.GOOD or not 0.0 <= sample.value <= highest_w:
        return math.nan
    return sample.value


def _follow(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    feeder: int,
    value_w: float,
    at: float,
    now: float,
    findings: Findings,
) -> None:
    """Count samples that find the same in a row; act when that has lasted, then count anew."""
    groups = state.groups
    rows = (facts.feeder == feeder).nonzero()[0]
    if not len(rows):
        return
    tells, was_proved = (
        comparable(facts, state, policy, feeder, rows, at),
        groups.verdict[feeder] == GroupVerdict.PROVED,
    )
    look = look_at(facts, state, policy, feeder, rows, value_w, at) if tells or was_proved else None
    finding = finding_of(look) if look is not None and tells else Finding.NOTHING
    if was_proved and look is not None and bool(look.suspects.any()):
        groups.verdict[feeder] = GroupVerdict.UNPROVEN
    if finding != groups.streak_finding[feeder]:
        groups.streak_finding[feeder], groups.streak[feeder], groups.streak_since[feeder] = finding, 0, at
    groups.streak[feeder] += 1
    lasted = groups.streak[feeder] >= STREAK_SAMPLES and at - groups.streak_since[feeder] >= STREAK_S
    if look is None or finding is Finding.NOTHING or not lasted:
        return
    groups.streak[feeder], groups.streak_since[feeder] = 0, at
    open_cases = look.caught & (state.fleet.verdict[rows] != Verdict.QUARANTINED)
    told_again = state.fleet.changed_at[rows] >= state.fleet.caught_at[rows]
    match finding:
        case Finding.ANCHORS:
            _remember(state, feeder, look)
        case Finding.AGREES if bool(open_cases.any()):  # they count as drawing, and the meter agrees with that
            settled = state.fleet.verdict[rows] == Verdict.SETTLED
            _fail(facts, state, policy, rows[open_cases & told_again & settled], feeder, now, findings)
            unheard_of = rows[open_cases & ~told_again & settled]  # the second order never arrived: once more
            state.fleet.verdict[unheard_of] = Verdict.DRIFTED
            state.fleet.retry_at[unheard_of] = now
        case Finding.AGREES:
            everybody = blind_sleepers(facts, state, rows) & ~look.caught if look.nothing_beside else look.suspects
            _prove(facts, state, feeder, look, everybody, now, findings)
            _remember(state, feeder, look)
        case Finding.RELEASES:
            state.fleet.caught[rows[look.caught]] = False
            _book(state, rows[look.caught], facts.sleep_power_w[rows[look.caught]], now)
            _prove(facts, state, feeder, look, look.suspects | look.caught, now, findings)
        case Finding.DEFICIT if look.moving:
            pass  # who falls sooner than its class is no load that was switched off
        case Finding.DEFICIT if bool(look.caught.any()):
            if bool((~open_cases | told_again)[look.caught].all()):  # some of them sleep by now, and nobody knows who
                _acquit(facts, state, rows[open_cases], now)
        case Finding.DEFICIT:  # something else on the feeder was switched off
            groups.rest_w[feeder] = max(groups.rest_w[feeder] + look.excess_w, look.lowest_rest_w)
        case _:
            _exceeds(facts, state, policy, feeder, look, bool(open_cases.any()), now, findings)


def _acquit(facts: Fleet, state: State, miners: IntArray, now: float) -> None:
    """They are believed asleep again and are suspects like any other: what the meter still shows is of some of them."""
    state.fleet.caught[miners] = False
    state.fleet.stirred[miners] = True
    _book(state, miners, facts.sleep_power_w[miners], now)


def _remember(state: State, feeder: int, look: Look) -> None:
    """From here on only what changes can be wrong."""
    state.groups.rest_w[feeder] = look.rest_w
    state.fleet.anchor_w[look.rows] = look.believed_w
    state.fleet.stirred[look.rows] = state.fleet.condition[look.rows] != Condition.ASLEEP


def _prove(
    facts: Fleet, state: State, feeder: int, look: Look, sleepers: BoolArray, now: float, findings: Findings
) -> None:
    """The meter followed: whoever went to sleep since it last agreed does sleep."""
    fleet, groups = state.fleet, state.groups
    if groups.verdict[feeder] == GroupVerdict.CONTRADICTED:
        text = f"feeder {facts.feeder_names[feeder]} draws what its miners do, and {look.rest_w:.0f} W beside them"
        findings.events.append(Event("feeder_agrees", EventLevel.INFO, text))
    proved = look.rows[sleepers]
    fleet.sleep_proved[proved] = True
    fleet.attempts[proved[fleet.failed_verb[proved] == estimator.SLEEP]] = 0
    unproved = blind_sleepers(facts, state, look.rows) & ~fleet.sleep_proved[look.rows] & ~look.caught
    groups.verdict[feeder] = GroupVerdict.UNPROVEN if bool(unproved.any()) else GroupVerdict.PROVED
    groups.proved_at[feeder], groups.excess_w[feeder] = now, 0.0


def _exceeds(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    feeder: int,
    look: Look,
    open_case: bool,
    now: float,
    findings: Findings,
) -> None:
    """More than is believed: the fault of all who may have lied, or of nobody who can be named."""
    fleet, groups = state.fleet, state.groups
    suspects = look.rows[look.suspects]
    missing_w = look.excess_w - float(look.lie_w[look.suspects].sum())
    fine = look.uncertainty_w < look.resolution_w
    # With one of several asleep the meter would show less by more than is in doubt.
    all_lied = abs(missing_w) <= look.resolution_w + (0.0 if fine else look.uncertainty_w)
    ours = bool((fleet.ours_asleep & ~fleet.parked)[suspects].all())
    # One still on its way may be the liar as well: its sleep is no more proved than theirs.
    lied = not look.moving and not open_case and all_lied and (fine or len(suspects) == 1)
    if len(suspects) and ours and lied:
        groups.verdict[feeder], groups.excess_w[feeder] = GroupVerdict.CONTRADICTED, 0.0
        fleet.caught[suspects], fleet.caught_at[suspects] = True, now
        _book(state, suspects, facts.sleep_power_w[suspects] + look.lie_w[look.suspects], now)
        _fail(facts, state, policy, suspects, feeder, now, findings)
        return
    sleepers = blind_sleepers(facts, state, look.rows) & ~look.caught
    if groups.verdict[feeder] != GroupVerdict.CONTRADICTED or groups.excess_w[feeder] == 0.0:
        named = suspects if len(suspects) else look.rows[sleepers]
        names = ", ".join(facts.miner_ids[row] for row in named) or "none of its miners"
        text = (
            f"feeder {facts.feeder_names[feeder]} draws {look.excess_w:.0f} W more than its miners should; "
            f"who says that it sleeps and may not: {names}"
        )
        findings.events.append(Event("feeder_contradicts", EventLevel.WARNING, text))
    groups.verdict[feeder], groups.excess_w[feeder] = GroupVerdict.CONTRADICTED, look.excess_w
    if not len(suspects):  # another load, or one that was proved; whoever goes to sleep from here on has no part in it
        fleet.sleep_proved[look.rows[sleepers]] = False
        _remember(state, feeder, look)
        groups.excess_w[feeder] = 0.0


def _fail(
    facts: Fleet, state: State, policy: FleetPolicy, miners: IntArray, feeder: int, now: float, findings: Findings
) -> None:
    """One more attempt to sleep has failed for each: told again, and quarantined when no attempt is left."""
    fleet = state.fleet
    fleet.attempts[miners] += 1
    fleet.failed_verb[miners] = estimator.SLEEP
    exhausted = fleet.attempts[miners] >= policy.attempts_max
    signal = np.where(exhausted, Signal.EXHAUSTED, Signal.OVERDUE).astype(np.int64)
    fleet.verdict[miners] = advance(fleet.verdict[miners], signal)
    fleet.retry_at[miners] = now
    for miner in miners.tolist():
        after_s = now - float(fleet.changed_at[miner])
        told = VerdictReport(int(fleet.command_id[miner]), miner, Verb.SLEEP.value, Verdict.STUCK.name.lower(), after_s)
        findings.verdicts.append(told)
        if fleet.verdict[miner] == Verdict.QUARANTINED:
            quarantine(facts, state, policy, miner, now, findings)
            continue
        text = f"says that it sleeps, and feeder {facts.feeder_names[feeder]} shows that it draws on; told again"
        findings.events.append(Event("miner_stuck", EventLevel.WARNING, text, facts.miner_ids[miner]))


def _book(state: State, miners: IntArray, draw_w: FloatArray, now: float) -> None:
    """Believe another draw of miners at rest; the site draws what it drew, so the offset takes up the difference."""
    before_w = estimator.expected_power_w(state.fleet, now)
    flight.take_out_of_flight(state.fleet, miners, draw_w)
    offset.revise(state, float((estimator.expected_power_w(state.fleet, now) - before_w).sum()), now)
