"""Sent is not done: what telemetry proves about every command, and what follows when it proves the contrary.

A reading proves a command only if it *began* after the command was sent and its dead time was over. Missing readings
prove nothing. The transitions themselves are data, in core/lifecycle; what they lead to is in core/consequences.
"""

from __future__ import annotations

import numpy as np

from controller.core import arrivals, estimator, flight, offset, starts
from controller.core.consequences import Findings, boot_on, follow_up, plan_rung, woke_lower
from controller.core.fleet_state import NO_COMMAND, VERB_CODES, VERB_OF_CODE, FleetState
from controller.core.lifecycle import Signal, advance
from controller.core.state import State
from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

BOOTED_RATIO = 0.05  # a boot this near to its rung is over before its time
AS_BEFORE_RATIO = 0.9  # of what it drew when it was told: so much is no move
RATIO_GAIN = 0.3  # how fast a miner's own watts-to-nameplate ratio follows its readings
RATIO_MIN, RATIO_MAX = 0.7, 1.3  # beyond this the reading is a fault, not a ratio
BUDGET_TOLD_S = 86_400.0  # a used budget is said once a day for each miner
HELD_S = 60.0
ASK_AGAIN_S = 5.0  # after a command that never arrived: the same answer would come at once, and another miner may do
FAILED = (Outcome.REFUSED, Outcome.UNSUPPORTED)
NEVER_ARRIVED = (Outcome.UNREACHABLE, Outcome.WITHHELD)


def take_reports(
    facts: Fleet, state: State, reports: tuple[CommandReport, ...], now: float, findings: Findings
) -> BoolArray:
    """Enter what drivers learned into the ledger; returns (n,) who said no: a failed attempt, like an overdue one."""
    fleet = state.fleet
    said_no = np.zeros(len(facts), dtype=np.bool_)
    for report in reports:
        miner = report.miner
        if fleet.verb[miner] == NO_COMMAND or fleet.command_id[miner] != report.command_id:
            continue  # about a command that a newer one replaced
        trim = fleet.verb[miner] == VERB_CODES[Verb.TRIM]
        if trim and report.outcome in arrivals.ARRIVED:
            arrivals.arrived(state, miner, now, findings)
        lowered = report.outcome is Outcome.ROUNDED and fleet.verb[miner] == estimator.SLEEP
        if report.outcome in FAILED or lowered:
            said_no[miner] = True
            fleet.refused[miner] = True
        elif report.outcome in NEVER_ARRIVED:
            verb = VERB_OF_CODE[int(fleet.verb[miner])]
            gone = report.outcome is Outcome.UNREACHABLE
            if gone and trim:  # one that answers its reads is not out of reach for want of a trim
                gone = not arrivals.lost(facts, state, miner, now)
            _forget(facts, state, miner, now)
            # Who is held by somebody else is so for a while: the others come first meanwhile.
            again_s = HELD_S if report.outcome is Outcome.WITHHELD else ASK_AGAIN_S
            fleet.retry_at[miner] = max(float(fleet.retry_at[miner]), now + again_s)
            if report.again_at is not None:
                _spare(facts, state, verb, report, report.again_at, now, findings)
            if gone and fleet.condition[miner] != Condition.UNREACHABLE:
                fleet.condition[miner] = Condition.UNREACHABLE
                findings.gone.append((miner, report.detail))
        elif report.sent_at is not None:
            fleet.deadline_at[miner] += report.sent_at - fleet.sent_at[miner]
            fleet.sent_at[miner] = report.sent_at
            if report.rounded_to_level is not None and trim:
                plan_rung(facts, state, miner, report.rounded_to_level)
    arrivals.say(state, findings)
    return said_no


def judge(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    fresh: BoolArray,
    said_no: BoolArray,
    now: float,
    findings: Findings,
) -> None:
    """Move every miner's verdict by one step of the table, and act on what changed."""
    fleet = state.fleet
    flying = fleet.verb != NO_COMMAND
    fleet.condition[_only_says_awake(facts, fleet, policy)] = Condition.ASLEEP
    begun = fleet.read_at >= fleet.sent_at + fleet.dead_s
    agrees = _agreement(facts, state, policy)
    proves = fresh & (~flying | (begun & (_arrived(fleet, policy) | ~agrees)))
    failed, wrong = said_no, flying & proves & ~agrees
    if wrong.any():
        overdue = (now >= fleet.deadline_at) | _shows_no_life(facts, fleet, policy)
        if state.shed_by is not None and policy.attempts_max > 1:
            overdue |= _moves_no_watt(fleet)
        failed = said_no | (wrong & overdue)
    fleet.attempts[failed] += 1
    fleet.failed_verb[failed] = fleet.verb[failed]
    exhausted = failed & (fleet.attempts >= policy.attempts_max)
    if (
        state.shed_by is not None
    ):  # so quickly asked again, nobody is convicted by a no: who obeyed all the same shows it
        by_word = said_no & (fleet.verb == estimator.SLEEP) & ~fleet.caught
        exhausted = (exhausted & ~by_word) | _given_up(fleet, policy, proves & ~agrees)
    fleet.disagreed = np.where(proves & ~flying, np.where(agrees, 0, fleet.disagreed + 1), fleet.disagreed)
    moved = proves & ~flying & (fleet.disagreed >= policy.drift_reads)
    fleet.verdict[moved & (fleet.verdict == Verdict.APPROACHING)] = Verdict.SETTLED  # its order was taken back
    released = (fleet.verdict == Verdict.QUARANTINED) & (now >= fleet.quarantined_until)

    signal = np.zeros(len(facts), dtype=np.int64)  # Signal.NOTHING
    signal[wrong] = Signal.DISAGREES
    signal[moved] = Signal.DISAGREES
    signal[proves & agrees] = Signal.AGREES
    signal[failed] = Signal.OVERDUE
    signal[exhausted] = Signal.EXHAUSTED
    signal[released] = Signal.RELEASED
    signal[fleet.parked] = Signal.NOTHING  # not ours: nothing it does is right or wrong
    before = fleet.verdict.copy()
    fleet.verdict = advance(fleet.verdict, signal)

    expected, booting = estimator.expected_power_w(fleet, now), fleet.verb == estimator.WAKE
    # Who obeys what a shed asked in spite of its quarantine stays in it; what it was told is over.
    fleet.verb[(fleet.verdict == Verdict.QUARANTINED) & flying & proves & agrees] = NO_COMMAND
    fleet.unheard = _unheard(fleet, now)
    fleet.doubted = fleet.unheard & ~_shown_meanwhile(state, policy, now)
    for miner in ((fleet.verdict != before) | failed).nonzero()[0]:
        follow_up(facts, state, policy, int(miner), Verdict(int(before[miner])), now, findings)
    _learn_draw(facts, state, proves & (fleet.verb == NO_COMMAND))
    change_w = estimator.expected_power_w(fleet, now) - expected
    offset.revise(state, float(change_w.sum()), now, boots_w=float(change_w[booting].sum()))


def _arrived(fleet: FleetState, policy: FleetPolicy) -> BoolArray:
    """(n,) whose move is over: asleep by its own watts, at the end of its time, or booted all the way before.

    Any other agreement would take half a move for the whole: a rung or a state changes at once, and its watts seconds
    later. The watts that a blind sleeper still draws would look like a load that stays, and be shed a second time.
    """
    in_time = fleet.read_at >= fleet.sent_at + fleet.dead_s + fleet.to_90_s
    missing_w = fleet.to_w - fleet.reported_w  # NaN compares false: no watts, no early end
    booted = (fleet.verb == estimator.WAKE) & (missing_w <= np.maximum(policy.tolerance_w, BOOTED_RATIO * fleet.to_w))
    tells_watts = ~np.isnan(fleet.reported_w) & (fleet.power_error_w == 0.0)
    arrived: BoolArray = in_time | booted | (~fleet.want_hashing & tells_watts)
    return arrived


def _given_up(fleet: FleetState, policy: FleetPolicy, disagrees: BoolArray) -> BoolArray:
    """(n,) who said no to its last sleep, and whom a read shows hashing when it had the time to obey."""
    said_all = (fleet.verdict == Verdict.STUCK) & (fleet.attempts >= policy.attempts_max) & ~fleet.want_hashing
    in_time = fleet.read_at >= fleet.sent_at + fleet.dead_s + fleet.to_90_s
    given_up: BoolArray = disagrees & said_all & in_time & (fleet.failed_verb == estimator.SLEEP)
    return given_up


def _unheard(fleet: FleetState, now: float) -> BoolArray:
    """(n,) told to draw less, of whom no reading since says what became of it, though even a slow one had the time."""
    unheard: BoolArray = (fleet.verb != NO_COMMAND) & (fleet.to_w < fleet.from_w) & (now >= fleet.deadline_at)
    if unheard.any():
        unheard &= fleet.read_at < fleet.sent_at + fleet.dead_s
    return unheard


def _shown_meanwhile(state: State, policy: FleetPolicy, now: float) -> BoolArray:
    """(n,) whose next reading is merely not due yet, while the site meter has shown what became of its fall.

    The offset has that then, wherever the fall went. To count the miner as it was would be wrong twice as soon as it is
    moved again: it starts from watts that it no longer draws, and what it rises by looks like watts that it gives back.
    """
    fleet = state.fleet
    answers = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
    shown_until = state.offset_until if now <= state.offset_until else state.offset_at
    shown: BoolArray = answers & (now - fleet.read_at <= policy.telemetry_stale_s) & (fleet.deadline_at <= shown_until)
    return shown


def _only_says_awake(facts: Fleet, fleet: FleetState, policy: FleetPolicy) -> BoolArray:
    """(n,) whom we woke, who says it is awake and draws, by its own watts, no more than asleep: so it does when
    it is not wanted any more."""
    asleep: BoolArray = (fleet.verb == estimator.WAKE) | ((fleet.attempts > 0) & (fleet.failed_verb == estimator.WAKE))
    if asleep.any():
        asleep &= (fleet.condition == Condition.HASHING) & (fleet.power_error_w == 0.0)
        asleep &= fleet.reported_w <= facts.sleep_power_w + policy.tolerance_w  # no watts told, NaN, compares false
    return asleep


def life_patience_s(facts: Fleet, fleet: FleetState, policy: FleetPolicy, rows: IntArray) -> FloatArray:
    """Seconds after its wake at which even a slow one of its class would have begun to boot: `rows` (k,)."""
    slow_s = policy.deadline_factor * fleet.dead_s[rows] + policy.deadline_extra_s
    patience_s: FloatArray = np.maximum(slow_s, facts.wake_patience_s[rows])
    return patience_s


def _shows_no_life(facts: Fleet, fleet: FleetState, policy: FleetPolicy) -> BoolArray:
    """(n,) who was woken and still sleeps when even a slow one of its class would have begun to boot.

    Who was out of reach with many others meanwhile has that time again: its wake may have come late, or never.
    """
    woken: BoolArray = (fleet.verb == estimator.WAKE) & fleet.want_hashing & (fleet.condition == Condition.ASLEEP)
    rows = woken.nonzero()[0]
    since = np.maximum(fleet.sent_at[rows], fleet.back_at[rows])
    woken[rows] = fleet.read_at[rows] >= since + life_patience_s(facts, fleet, policy, rows)
    return woken


def _moves_no_watt(fleet: FleetState) -> BoolArray:
    """(n,) told to sleep once, and by its own watts just as before when most have come nine tenths of the way.

    In a shed that is enough to ask once more; its last attempt has all the time that a slow one of its class needs.
    """
    in_time = fleet.read_at >= fleet.sent_at + fleet.dead_s + fleet.to_90_s
    own_watts = (fleet.condition == Condition.HASHING) & (fleet.power_error_w == 0.0)
    as_before = own_watts & (fleet.reported_w >= AS_BEFORE_RATIO * fleet.from_w)  # no watts told, NaN, compares false
    unmoved: BoolArray = (fleet.verb == estimator.SLEEP) & (fleet.attempts == 0) & in_time & as_before
    return unmoved


def _agreement(facts: Fleet, state: State, policy: FleetPolicy) -> BoolArray:
    """(n,) whether telemetry shows what is wanted: the state always, the watts where they are told or estimated.

    An estimate never disagrees by less than it may be off.
    """
    fleet = state.fleet
    came_lower = woke_lower(fleet)
    own_rung_w = facts.level_power_w[np.arange(len(facts)), np.maximum(fleet.level, 0)] * fleet.ratio
    own_rung = came_lower | (fleet.want_hashing & ~facts.trims & (fleet.level >= 0))
    goal_w = np.where(own_rung, own_rung_w, fleet.to_w)
    tolerance = np.maximum(policy.tolerance_w, policy.tolerance_ratio * np.maximum(goal_w, fleet.reported_w))
    tolerance = np.maximum(tolerance, fleet.power_error_w)
    right_state = np.where(
        fleet.want_hashing, fleet.condition == Condition.HASHING, fleet.condition == Condition.ASLEEP
    )
    right_watts = np.isnan(fleet.reported_w) | (np.abs(fleet.reported_w - goal_w) <= tolerance)
    asleep_watts = fleet.reported_w <= facts.sleep_power_w + np.maximum(policy.tolerance_w, fleet.power_error_w)
    right_watts = np.where(fleet.want_hashing, right_watts, np.isnan(fleet.reported_w) | asleep_watts)
    # A settled miner wanders around its rung; only a change of state or rung is a drift.
    flying = fleet.verb != NO_COMMAND
    same_rung = ~fleet.want_hashing | (fleet.level < 0) | (fleet.level == fleet.want_level) | came_lower
    agrees: BoolArray = right_state & np.where(flying, right_watts & same_rung, same_rung)
    return agrees


def _forget(facts: Fleet, state: State, miner: int, now: float) -> None:
    """The command never reached the miner: it goes on as before, and the plan will ask again."""
    fleet = state.fleet
    verb = VERB_OF_CODE[int(fleet.verb[miner])]
    draw_w = estimator.expected_one_w(fleet, miner, now)
    if verb is Verb.WAKE:
        starts.take_back(state, miner, float(fleet.sent_at[miner]))
    again = verb is Verb.SLEEP and bool(fleet.told_again[miner])
    unseen = fleet.condition[miner] not in (Condition.HASHING, Condition.ASLEEP)
    if again and unseen:  # it may sleep by the order before, and if it does not it is told once more
        if fleet.verdict[miner] == Verdict.APPROACHING:
            fleet.verdict[miner] = Verdict.STUCK
    elif verb is not Verb.TRIM:
        fleet.want_hashing[miner] = verb is Verb.SLEEP and not fleet.caught[miner]
        fleet.changed_at[miner] = fleet.changed_before[miner]
    elif fleet.level[miner] >= 0:
        fleet.want_level[miner] = fleet.level[miner]
    if fleet.to_w[miner] < fleet.from_w[miner] or verb is Verb.SLEEP:  # not a watt of it is gone
        draw_w = float(np.fmax(max(draw_w, float(fleet.from_w[miner])), fleet.reported_w[miner]))  # NaN: nothing told
    flight.take_out_of_flight(fleet, miner, draw_w)
    boots_until = fleet.changed_at[miner] + facts.wake_dead_s[miner] + facts.wake_90_s[miner]
    if verb is Verb.SLEEP and not again and now <= boots_until:  # it was woken a moment before, and boots on
        boot_on(facts, state, miner)


def _spare(
    facts: Fleet, state: State, verb: Verb, report: CommandReport, again_at: float, now: float, findings: Findings
) -> None:
    """Its budget of writes and restarts is used up: until `again_at` others are asked first."""
    fleet, miner = state.fleet, report.miner
    if verb is Verb.TRIM:
        fleet.trim_again_at[miner] = again_at
    else:
        fleet.switch_again_at[miner] = fleet.retry_at[miner] = again_at
    if now - fleet.budget_told_at[miner] >= BUDGET_TOLD_S:
        fleet.budget_told_at[miner] = now
        text = f"{verb.value} withheld: {report.detail}; asked again in {(again_at - now) / 3600.0:.1f} h"
        findings.events.append(Event("miner_budget_used", EventLevel.WARNING, text, facts.miner_ids[miner]))


def _learn_draw(facts: Fleet, state: State, proves: BoolArray) -> None:
    """Settled miners draw what they report, or their sleep watts where they tell none; hashing ones also teach their
    ratio to the nameplate of their rung.

    An estimate is made from that nameplate and can teach it nothing; nor can what a boot draws on its last tenth.
    """
    fleet = state.fleet
    silent = np.isnan(fleet.reported_w)
    proves = proves & ~fleet.caught
    sleepers = (proves & silent & (fleet.condition == Condition.ASLEEP)).nonzero()[0]
    flight.take_out_of_flight(fleet, sleepers, facts.sleep_power_w[sleepers])
    told: IntArray = (proves & ~silent).nonzero()[0]
    if not len(told):
        return
    flight.take_out_of_flight(fleet, told, fleet.reported_w[told])
    own_watts = facts.reports_power[told] & (fleet.power_error_w[told] == 0.0)
    rung = told[own_watts & (fleet.condition[told] == Condition.HASHING) & (fleet.level[told] >= 0)]
    seen = fleet.reported_w[rung] / facts.level_power_w[rung, fleet.level[rung]]
    partway = estimator.still_climbs(facts, fleet, fleet.read_at)[rung]
    partway &= seen < (1.0 - BOOTED_RATIO) * fleet.ratio[rung]
    sane = (seen >= RATIO_MIN) & (seen <= RATIO_MAX) & ~partway
    fleet.ratio[rung[sane]] += RATIO_GAIN * (seen[sane] - fleet.ratio[rung[sane]])
