"""Plan x observed -> the commands due now. Level, not edge: what already agrees or is on its way is not sent again."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from controller.core import arrivals, best_effort, estimator, flight, mass, starts
from controller.core.fleet_state import Away, FleetState, Wants
from controller.core.lifecycle import Signal, advance
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.policy import FleetPolicy


def commands_due(
    facts: Fleet,
    before: Wants,
    state: State,
    policy: FleetPolicy,
    shed: bool,
    reason: str,
    now: float,
    may_raise: bool = True,
    unchosen: bool = False,
) -> tuple[Command, ...]:
    """Compare what is wanted with what was wanted (`before`) and with what is seen; enter the difference in the ledger.

    unchosen: who goes to sleep now does so by no plan of ours, see core/starts.
    Lowering commands come first and are never limited; raising ones are limited per cycle, to none when in doubt.
    """
    fleet = state.fleet
    again = _due_again(fleet, now, shed)
    went_down = before.hashing & ~fleet.want_hashing
    went_up = ~before.hashing & fleet.want_hashing
    stays_on = before.hashing & fleet.want_hashing
    moved = stays_on & (before.level != fleet.want_level)
    observed_asleep = fleet.condition == Condition.ASLEEP
    sleeps = went_down | (again & ~fleet.want_hashing)  # also one still booting: it only looks asleep
    wakes = went_up | (again & fleet.want_hashing & observed_asleep)
    trims = facts.trims & (moved | (again & fleet.want_hashing & ~observed_asleep))
    if not shed and not bool((sleeps | wakes | trims).any()):
        return ()
    planned = estimator.planned_power_w(facts, fleet, fleet.want_hashing, fleet.want_level)
    falling = trims & (planned < estimator.expected_power_w(fleet, now))
    tries = np.zeros(len(facts), dtype=np.bool_)
    if shed:  # after all who can hear us
        tries[mass.to_try(fleet, now)] = True
        tries |= best_effort.to_ask(facts, state, policy, now)
        fleet.want_hashing[tries] = False

    fleet.unchosen[went_down] = unchosen
    fleet.unchosen |= sleeps & (fleet.verdict == Verdict.DRIFTED)  # it came up, or idles, by itself
    if shed:
        fleet.unchosen |= ~fleet.want_hashing & (fleet.verb == estimator.SLEEP)

    due: list[Command] = []
    for verb, who, raises in (
        (Verb.SLEEP, sleeps, False),
        (Verb.TRIM, trims & falling, False),
        (Verb.SLEEP, tries, False),
        (Verb.TRIM, trims & ~falling, True),
        (Verb.WAKE, wakes, True),
    ):
        miners: IntArray = who.nonzero()[0]
        if raises:
            allowed = max(policy.commands_per_cycle_max - len(due), 0) if may_raise else 0
            miners, late = miners[:allowed], miners[allowed:]
            _postpone(before, fleet, late)
        if not len(miners):
            continue
        fleet.told_again[miners] = before.hashing[miners] == (verb is Verb.WAKE)
        _enter(facts, state, policy, verb, miners, planned[miners], now)
        if verb is Verb.WAKE:
            starts.note(state, miners[(went_up & ~fleet.unchosen)[miners]], policy.starts_per_day, now)
        # Who is put to sleep beyond its budget is the last that can keep a limit: that is urgent, shed or no shed.
        urgent = (shed | ((verb is Verb.SLEEP) & (now < fleet.switch_again_at[miners]))) & (not raises)
        escalated = _may_escalate(fleet, now)[miners] & (shed and policy.trim and verb is Verb.SLEEP)
        due.extend(_messages(state, miners, verb, raises, urgent, reason, escalated))
    return tuple(due)


def _failed_to_sleep(fleet: FleetState) -> BoolArray:
    """(n,) who did not sleep when it was last told to."""
    failed: BoolArray = (fleet.attempts > 0) & (fleet.failed_verb == estimator.SLEEP)
    return failed


def _may_escalate(fleet: FleetState, now: float) -> BoolArray:
    """(n,) who is told to sleep by another verb now. That takes more calls: not one whose trims do not arrive, nor one
    whose last order did not (then it may not be asked again yet, but a shed does)."""
    may: BoolArray = _failed_to_sleep(fleet) & ~arrivals.held(fleet, now) & (now >= fleet.retry_at)
    return may


def _due_again(fleet: FleetState, now: float, shed: bool) -> BoolArray:
    """Who failed and is to be asked once more: stuck or drifted, reachable, and not what is wanted, or only says so."""
    failed: BoolArray = (fleet.verdict == Verdict.STUCK) | (fleet.verdict == Verdict.DRIFTED)
    if not failed.any():
        return failed
    reachable = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
    wrong = np.where(
        fleet.want_hashing,
        (fleet.condition != Condition.HASHING) | ((fleet.level >= 0) & (fleet.level != fleet.want_level)),
        (fleet.condition != Condition.ASLEEP) | fleet.caught,
    )
    # A miner that says no may have obeyed: it is looked at before it is asked again. A shed asks a second time at once:
    # that harms nobody, and who obeyed all the same is given up by no word, only by a look; see verify.
    hasty = shed & fleet.refused & _failed_to_sleep(fleet)
    looked_at = np.where(hasty, (fleet.attempts < 2) | (fleet.read_at >= fleet.retry_at), fleet.read_at > fleet.sent_at)
    # Whom no order reached has failed at none: the pace at which the deaf are tried does not hold it once it is heard.
    ready = (now >= fleet.retry_at) | (fleet.told_again & (fleet.attempts == 0) & ~fleet.want_hashing)
    due: BoolArray = failed & reachable & wrong & looked_at & ready & ~fleet.parked
    return due


def _postpone(before: Wants, fleet: FleetState, late: IntArray) -> None:
    """More raises than one cycle may send: the rest is wanted again next cycle, not forgotten as sent."""
    fleet.want_hashing[late] = before.hashing[late]
    fleet.want_level[late] = before.level[late]


def _enter(
    facts: Fleet, state: State, policy: FleetPolicy, verb: Verb, miners: IntArray, to_w: FloatArray, now: float
) -> None:
    fleet = state.fleet
    dead, to_90 = flight.response_s(facts, verb)
    patient = np.maximum(1.0 / flight.learned_ratio(facts, verb), 1.0)  # what is learned makes nobody hurry
    deadline = policy.deadline_factor * (patient * (dead + to_90))[miners] + policy.deadline_extra_s
    if verb is Verb.WAKE:
        deadline = np.maximum(deadline, facts.wake_patience_s[miners])
    if verb is Verb.SLEEP:  # who failed before, or may not hear, is believed when seen asleep: nobody rises for it
        doubtful = (fleet.attempts[miners] > 0) | (fleet.condition[miners] == Condition.UNREACHABLE)
        doubtful |= (fleet.verdict[miners] == Verdict.QUARANTINED) | (fleet.verb[miners] == estimator.SLEEP)
        to_w = np.where(doubtful, estimator.expected_power_w(fleet, now, miners), to_w)
    flight.put_in_flight(facts, state, miners, verb, to_w, now, deadline)
    fleet.command_id[miners] = state.next_command_id + np.arange(len(miners))
    state.next_command_id += len(miners)
    signal = np.full(len(miners), Signal.COMMANDED, dtype=np.int64)
    fleet.verdict[miners] = advance(fleet.verdict[miners], signal)
    if verb is not Verb.TRIM:
        fleet.changed_before[miners] = fleet.changed_at[miners]
        fleet.changed_at[miners] = now
    if verb is Verb.SLEEP:
        fleet.ours_asleep[miners] = fleet.away[miners] != Away.DARK_FOREIGN


def _messages(
    state: State, miners: IntArray, verb: Verb, raises: bool, urgent: BoolArray, reason: str, escalated: BoolArray
) -> Iterator[Command]:
    """One for each of `miners` (k,), entered in the ledger before. Plain numbers: arrays give single ones slowly."""
    fleet, priors = state.fleet, state.priors if verb is Verb.WAKE else {}
    levels: list[int | None] = fleet.want_level[miners].tolist() if verb is Verb.TRIM else [None] * len(miners)
    columns = (fleet.command_id[miners].tolist(), miners.tolist(), levels, urgent.tolist(), escalated.tolist())
    for command_id, miner, level, at_once, otherwise in zip(*columns, strict=True):
        why = f"{reason}, by another verb" if otherwise else reason
        yield Command(command_id, miner, verb, level, raises, at_once, why, priors.get(miner), otherwise)
