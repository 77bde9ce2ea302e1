"""What a verdict leads to: reports, events, another attempt, a plan that follows the miner, or quarantine."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from controller.core import estimator, flight
from controller.core.fleet_state import NO_COMMAND, VERB_CODES, VERB_OF_CODE, FleetState
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, IntArray, Verdict
from controller.domain.plan import Event, EventLevel, VerdictReport
from controller.domain.policy import FleetPolicy


@dataclass(slots=True)
class Findings:
    """What one cycle's verification has to say to the outside. gone: (miner, why) who has just stopped answering.
    first: what a miner that is seen for the first time was believed to draw until then, watts."""

    verdicts: list[VerdictReport] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)
    priors: list[tuple[int, str]] = field(default_factory=list)
    gone: list[tuple[int, str]] = field(default_factory=list)
    first: dict[int, float] = field(default_factory=dict)


def follow_up(
    facts: Fleet, state: State, policy: FleetPolicy, miner: int, before: Verdict, now: float, findings: Findings
) -> None:
    """What a changed verdict means for one miner: report it, free the ledger, retry, or quarantine."""
    fleet = state.fleet
    verdict = Verdict(int(fleet.verdict[miner]))
    name = facts.miner_ids[miner]
    draw = fleet.reported_w[miner]
    verb_code = int(fleet.verb[miner])
    if verb_code != NO_COMMAND and verdict is not Verdict.APPROACHING:
        verb = VERB_OF_CODE[verb_code]
        after_s = now - float(fleet.sent_at[miner])
        report = VerdictReport(int(fleet.command_id[miner]), miner, verb.value, verdict.name.lower(), after_s)
        findings.verdicts.append(report)
        if verdict is Verdict.SETTLED and bool(woke_lower(fleet, miner)):
            plan_rung(facts, state, miner, int(fleet.level[miner]))
        known_draw = float(draw) if not np.isnan(draw) else float(fleet.from_w[miner])
        # Who says no may have obeyed: the higher end counts until it is read.
        if fleet.read_at[miner] <= fleet.sent_at[miner]:
            known_draw = max(known_draw, float(fleet.from_w[miner]), float(fleet.to_w[miner]))
        as_told = (verdict is Verdict.SETTLED and np.isnan(draw)) or fleet.caught[miner]
        settled_draw = float(fleet.to_w[miner]) if as_told else known_draw
        flight.take_out_of_flight(fleet, miner, settled_draw)
    fleet.disagreed[miner] = 0
    match verdict:
        case Verdict.SETTLED:
            # Only the kind of command that failed clears the record: a never-waker sleeps whenever it is told to.
            # And one its feeder has caught is not cleared by its own word.
            obeyed_after_all = _obeyed_after_all(fleet, miner, before)
            done = obeyed_after_all or (verb_code != NO_COMMAND and verb_code == fleet.failed_verb[miner])
            if done and not fleet.caught[miner]:
                fleet.attempts[miner] = 0
                fleet.refused[miner] = False
        case Verdict.STUCK:
            fleet.retry_at[miner] = _again_at(state, miner, now)
            if fleet.want_hashing[miner] and fleet.condition[miner] == Condition.HASHING and fleet.level[miner] >= 0:
                fleet.want_level[miner] = fleet.level[miner]  # a trim that failed is planned anew, not repeated
            findings.events.append(Event("miner_stuck", EventLevel.WARNING, _doing(state, miner), name))
        case Verdict.DRIFTED:
            _drifted(facts, state, policy, miner, before, now, findings)
        case Verdict.QUARANTINED:
            if before is not Verdict.QUARANTINED:
                quarantine(facts, state, policy, miner, now, findings)
        case Verdict.UNSEEN:
            fleet.attempts[miner] = fleet.drifts[miner] = 0
            fleet.refused[miner] = False
            fleet.read_at[miner] = now  # judged afresh by the next reading
            findings.events.append(Event("miner_released", EventLevel.INFO, "quarantine ended", name))
        case Verdict.APPROACHING:
            pass


def _again_at(state: State, miner: int, now: float) -> float:
    """When a stuck miner may be asked again: at once. A shed asks a second time without a look; after that no it waits
    for as long as a miner takes that obeyed all the same."""
    fleet = state.fleet
    if state.shed_by is None or fleet.attempts[miner] < 2 or fleet.failed_verb[miner] != VERB_CODES[Verb.SLEEP]:
        return now
    return max(now, float(fleet.sent_at[miner] + fleet.dead_s[miner] + fleet.to_90_s[miner]))


def _obeyed_after_all(fleet: FleetState, miner: int, before: Verdict) -> bool:
    """Whether a miner that said no to a sleep sleeps all the same."""
    slept = fleet.failed_verb[miner] == VERB_CODES[Verb.SLEEP] and fleet.condition[miner] == Condition.ASLEEP
    done = before is Verdict.STUCK and slept and fleet.verb[miner] == NO_COMMAND and not fleet.caught[miner]
    return bool(done)


def _drifted(
    facts: Fleet, state: State, policy: FleetPolicy, miner: int, before: Verdict, now: float, findings: Findings
) -> None:
    """A settled miner moved by itself. Asleep: a person or the miner did it, leave it. Hashing: say it again."""
    fleet = state.fleet
    name = facts.miner_ids[miner]
    if fleet.want_hashing[miner] and fleet.condition[miner] == Condition.ASLEEP:
        before_start = fleet.ours_asleep[miner] and fleet.changed_at[miner] <= state.started_at
        told = before_start and bool(sleep_may_come(facts, fleet, policy, miner, now))
        fleet.want_hashing[miner] = False
        fleet.changed_at[miner] = now
        fleet.verdict[miner] = Verdict.SETTLED
        if told or (fleet.attempts[miner] > 0 and fleet.failed_verb[miner] == VERB_CODES[Verb.WAKE]):
            return  # by our order from before a restart; or not seen awake since its wake failed: ours as before
        fleet.ours_asleep[miner] = False
        findings.events.append(Event("foreign_sleeper", EventLevel.WARNING, "fell asleep without our order", name))
        return
    if fleet.want_hashing[miner] and fleet.condition[miner] == Condition.HASHING and fleet.level[miner] >= 0:
        lower = fleet.level[miner] <= fleet.ceiling[miner]
        if lower:  # a thermal or tuning step of its own: plan with what it really does
            fleet.want_level[miner] = fleet.level[miner]
            fleet.verdict[miner] = Verdict.SETTLED
            return
    if before is not Verdict.DRIFTED:
        lately = now - fleet.drifted_at[miner] <= policy.quarantine_s
        fleet.drifts[miner] = fleet.drifts[miner] + 1 if lately else 1  # one blackout a month is no rogue
        fleet.drifted_at[miner] = now
        findings.events.append(Event("miner_drifted", EventLevel.WARNING, _doing(state, miner), name))
        if fleet.drifts[miner] > policy.attempts_max:
            fleet.verdict[miner] = Verdict.QUARANTINED
            quarantine(facts, state, policy, miner, now, findings)
            return
    fleet.retry_at[miner] = now


def sleep_may_come(facts: Fleet, fleet: FleetState, policy: FleetPolicy, rows: IntArray | int, now: float) -> BoolArray:
    """(k,) who, if it was told to sleep when it last changed, may just be found asleep though it is a slow one."""
    slow_s = estimator.LATE * (facts.sleep_dead_s + facts.sleep_90_s)[rows]
    found: BoolArray = now - fleet.changed_at[rows] <= slow_s + policy.telemetry_stale_s
    return found


def quarantine(facts: Fleet, state: State, policy: FleetPolicy, miner: int, now: float, findings: Findings) -> None:
    """No plan counts on it any more; what it really draws still counts. Each further time is twice as long."""
    fleet = state.fleet
    fleet.quarantined_until[miner] = now + policy.quarantine_s * 2.0 ** min(int(fleet.quarantines[miner]), 5)
    fleet.quarantines[miner] += 1
    text = f"{_doing(state, miner)}; left out of every plan"
    findings.events.append(Event("miner_quarantined", EventLevel.ERROR, text, facts.miner_ids[miner]))


def _doing(state: State, miner: int) -> str:
    """One clause for a person: what was asked, what is seen."""
    fleet = state.fleet
    asked = "hash" if fleet.want_hashing[miner] else "sleep"
    failures = int(fleet.attempts[miner] + fleet.drifts[miner])
    seen = Condition(int(fleet.condition[miner])).name.lower()
    watts = fleet.reported_w[miner]
    draw = "unknown power" if np.isnan(watts) else f"{watts:.0f} W"
    refused = ", refuses commands" if fleet.refused[miner] else ""
    times = "once" if failures == 1 else f"{failures} times"
    return f"should {asked}, failed {times}, seen {seen} at {draw}{refused}"


def plan_rung(facts: Fleet, state: State, miner: int, level: int) -> None:
    """The miner took another rung than the wanted one (rounded, or woken where it slept): that is the plan now."""
    fleet = state.fleet
    fleet.want_level[miner] = level
    fleet.to_w[miner] = facts.level_power_w[miner, level] * fleet.ratio[miner]


def boot_on(facts: Fleet, state: State, miner: int) -> None:
    """What was to end a miner's boot never reached it: its wake is back in the ledger, sent when it last changed, from
    what it is known to draw. What its boot will bring is not there yet."""
    fleet = state.fleet
    boot_s = float(facts.wake_dead_s[miner] + facts.wake_90_s[miner])
    fleet.verb[miner], fleet.sent_at[miner] = VERB_CODES[Verb.WAKE], fleet.changed_at[miner]
    fleet.dead_s[miner], fleet.to_90_s[miner] = facts.wake_dead_s[miner], facts.wake_90_s[miner]
    fleet.learned[miner] = flight.learned_ratio(facts, Verb.WAKE)[miner]
    fleet.deadline_at[miner] = fleet.sent_at[miner] + max(estimator.LATE * boot_s, float(facts.wake_patience_s[miner]))
    plan_rung(facts, state, miner, max(int(fleet.want_level[miner]), 0))


def woke_lower(fleet: FleetState, rows: int | slice = estimator.EVERYBODY) -> BoolArray:
    """(n,) who was woken and came back at a rung below the wanted one: the profile it slept at, which is no failure.

    rows: of this miner only.
    """
    level = fleet.level[rows]
    lower: BoolArray = (fleet.verb[rows] == estimator.WAKE) & (level >= 0) & (level < fleet.want_level[rows])
    return lower
