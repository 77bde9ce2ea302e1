"""Many miners that vanish at once: one event instead of hundreds, and a way back that is no crowd.

A switch that died and a feeder that tripped look the same on the wire. The meters tell them apart: who is still drawn
keeps its last known power and nothing follows when it answers again; who draws nothing is planned asleep, and one that
comes back hashing by itself is put to sleep at first sight and let in by the ramps like any other sleeper. Nobody is
judged by what it did not do while it could not be reached.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from typing import Any

import numpy as np

from controller.core import estimator, flight, mass_words, offset, verify
from controller.core.consequences import Findings
from controller.core.fleet_state import NO_COMMAND, Away, FleetState
from controller.core.state import MassState, State
from controller.core.telemetry import UP_RATIO
from controller.domain.fleet import BoolArray, ByteArray, Condition, Fleet, IntArray, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

LEAST = 3  # miners: one of four that fails is no mass disconnect
SUSPECT_RATIO = 0.25  # of the limit: so many gone, and the rest of the fleet is read now instead of in its turn
ASK_AGAIN_S = 3.0  # while dark ones come back, the others are looked for this often
FRESH_S = 2.0  # who was read this lately need not be asked
STARTED_RATIO = 0.5  # of its last known power: one that comes back below it has just started
TRIED_AT_ONCE, TRY_AGAIN_S = 16, 15.0  # a shed asks the unreachable as well: so many at a time, each so often


def limit_of(policy: FleetPolicy, miners: int) -> int:
    """So many of `miners` gone at once are a mass disconnect."""
    return max(LEAST, math.ceil(policy.mass_disconnect_ratio * miners - 1e-9))


def away(fleet: FleetState) -> BoolArray:
    """(n,) who vanished with many others and has not been heard of since."""
    lost: BoolArray = (fleet.away != Away.NO) & np.isfinite(fleet.gone_at)
    return lost


def missing(state: State, policy: FleetPolicy) -> BoolArray:
    """(n,) who is away in the mass disconnect that stands; nobody while none does."""
    since = math.inf if state.mass.since is None else state.mass.since
    return away(state.fleet) & (state.fleet.gone_at >= since - policy.mass_disconnect_window_s)


def dark(fleet: FleetState) -> BoolArray:
    """(n,) who draws nothing now and may come back hashing at any moment."""
    waiting: BoolArray = fleet.away >= Away.DARK
    return waiting


def answered_since(state: State) -> BoolArray:
    """(n,) who was read after the site's meter had shown that the newest crowd draws nothing: it had its power still,
    and whatever became of it since is another thing."""
    since: BoolArray = state.fleet.read_at > state.mass.dropped_at
    return since


def notice(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    fresh: BoolArray,
    stopped: BoolArray,
    now: float,
    findings: Findings,
) -> tuple[int, ...]:
    """Who is gone, who is back (`fresh`: read anew, `stopped`: and has lost its hash rate, (n,)), and whether that is a
    mass disconnect.

    Returns the miners to be read before their turn.
    """
    fleet, window_s = state.fleet, policy.mass_disconnect_window_s
    back = fresh & (fleet.away == Away.NO) & np.isfinite(fleet.gone_at)
    _take_up_restarts(state, back, now)
    # Who was asleep and hashes when it is back has started with its power: that is no noise of one reading.
    started = back & ~fleet.want_hashing & (fleet.condition == Condition.HASHING) & (fleet.verb == NO_COMMAND)
    fleet.disagreed[started] = policy.drift_reads
    for miner in (fresh & (fleet.away != Away.NO)).nonzero()[0].tolist():
        _seen(facts, state, policy, miner, bool(stopped[miner]), now, findings)
    heard = fresh | (fleet.condition == Condition.CONTRADICTS)
    fleet.gone_at[heard], fleet.gone_said[heard] = -math.inf, False
    newly = np.array([miner for miner, _ in findings.gone], dtype=np.int64)
    newly = newly[np.isneginf(fleet.gone_at[newly])]  # who never answered cannot vanish
    fleet.gone_at[newly] = now
    out = fleet.condition == Condition.UNREACHABLE
    gone = out & np.isfinite(fleet.gone_at)
    recent = gone & (now - fleet.gone_at <= window_s)
    base = len(facts) - int(np.count_nonzero(out & ~recent))  # who was not there before does not count
    if int(np.count_nonzero(recent)) >= limit_of(policy, base):
        others = recent & answered_since(state)
        if now - state.mass.crowd_at > window_s:
            _begin(state, recent, window_s, now)
        elif int(np.count_nonzero(others)) >= limit_of(policy, base):
            _begin(state, others, window_s, now)
        state.mass.crowd_at = float(fleet.gone_at[recent].max())
    mass = state.mass
    joining = mass.since is not None and now - mass.crowd_at <= window_s
    if joining:
        fleet.away[recent & (fleet.away == Away.NO)] = Away.DRAWS
        mass.most = max(mass.most, int(missing(state, policy).sum()))
    standing = missing(state, policy)
    mass_words.say_one_by_one(facts, state, policy, gone & ~standing, now, findings)
    mass_words.say_absent(facts, state, policy, standing, now, findings)
    return _to_ask(state, policy, recent, base, bool(len(newly)) and not joining, now)


def to_try(fleet: FleetState, now: float) -> IntArray:
    """Miners out of reach that a shed asks to sleep all the same, for one that hears us may be among them: a few at a
    time, whoever waited longest first. Of whom nothing was heard by the deadline of its order is asked again."""
    deaf = (fleet.condition == Condition.UNREACHABLE) & ~dark(fleet) & ~fleet.parked
    deaf &= (fleet.verdict != Verdict.UNSEEN) & (fleet.verdict != Verdict.QUARANTINED)
    told = fleet.verb == estimator.SLEEP
    under_way = int((deaf & told & (now < fleet.deadline_at)).sum())
    untold = (fleet.verb == NO_COMMAND) & (fleet.want_hashing | (fleet.verdict == Verdict.STUCK))
    waits = untold | (told & (now >= fleet.deadline_at))
    due: IntArray = (deaf & waits & (now >= fleet.retry_at)).nonzero()[0]
    due = due[np.argsort(fleet.retry_at[due], kind="stable")][: max(TRIED_AT_ONCE - under_way, 0)]
    fleet.retry_at[due] = now + TRY_AGAIN_S
    return due


def _begin(state: State, crowd: BoolArray, window_s: float, now: float) -> None:
    """A `crowd`, (n,), is gone: a mass disconnect, or another one while the last still stands."""
    if state.mass.since is None:
        state.mass = MassState(since=now, **_kept(state.mass))
    mass, fleet = state.mass, state.fleet
    first_at, answered_at = float(fleet.gone_at[crowd].min()), float(fleet.read_at[crowd].min())
    mass.said = mass.said_dark = False
    mass.crowd_from, mass.dark_since, mass.dropped_at = first_at, (), math.inf
    mass.offset_w = _offset_before(mass, first_at - 0.5 * window_s, answered_at)


def end(state: State) -> None:
    """None stands any more; who is dark is still, and is still looked for."""
    state.mass = MassState(**_kept(state.mass))


def _kept(mass: MassState) -> dict[str, Any]:
    return {name: getattr(mass, name) for name in ("offsets", "answered_at", "asked_at")}


def _seen(
    facts: Fleet, state: State, policy: FleetPolicy, miner: int, stopped: bool, now: float, findings: Findings
) -> None:
    """One of them answers: judged afresh, and put to sleep at once when it hashes and nobody asked it to."""
    fleet = state.fleet
    code, condition = int(fleet.away[miner]), int(fleet.condition[miner])
    if not math.isfinite(fleet.gone_at[miner]):
        _seen_again(facts, state, policy, miner, now, findings)
        return
    fleet.back_at[miner] = state.mass.answered_at = now
    told = int(fleet.verb[miner])
    told_lately = fleet.changed_at[miner] >= fleet.gone_at[miner] - policy.mass_disconnect_window_s
    hashes = condition == Condition.HASHING
    before_w = estimator.expected_one_w(fleet, miner, now)
    drew_w = findings.first.get(miner, before_w)  # at first sight its belief is what it says already
    if fleet.level[miner] >= 0:  # who runs at its rung was there before, whatever a lost trim would have made of it
        drew_w = min(drew_w, float(facts.level_power_w[miner, fleet.level[miner]] * fleet.ratio[miner]))
    rung_w = float(facts.level_power_w[miner, fleet.want_level[miner]] * fleet.ratio[miner])
    draw_w = float(fleet.reported_w[miner])
    if math.isnan(draw_w):
        draw_w = rung_w if hashes else float(facts.sleep_power_w[miner])
    # Whom we woke a moment before boots on, however little it shows yet: waves and ramps have let it in.
    # Not who sleeps when it should long have shown life: its wake may never have arrived, and is no failure of its own.
    waking = told == estimator.WAKE and bool(fleet.want_hashing[miner]) and now < fleet.deadline_at[miner]
    if waking and not hashes:
        patience_s = float(verify.life_patience_s(facts, fleet, policy, np.array([miner]))[0])
        waking = now < fleet.sent_at[miner] + patience_s
    boots_on = waking and code == Away.DRAWS and not stopped and draw_w < UP_RATIO * rung_w
    has_started = fleet.power_error_w[miner] == 0.0 and fleet.reported_w[miner] < STARTED_RATIO * drew_w  # NaN: false
    if code == Away.DRAWS and hashes and not boots_on and (has_started or stopped):  # not all tell watts
        code = int(dark_codes(facts, fleet, policy, np.array([miner]))[0])
    if not boots_on:
        flight.take_out_of_flight(fleet, miner, draw_w)
        offset.revise(state, draw_w - before_w, now)
    fleet.attempts[miner] = fleet.drifts[miner] = fleet.disagreed[miner] = 0
    fleet.refused[miner] = False
    fleet.away[miner] = Away.NO
    if fleet.parked[miner] or fleet.verdict[miner] == Verdict.QUARANTINED:
        return
    unseen = fleet.verdict[miner] == Verdict.UNSEEN  # a restart in between: what it does now is what we want of it
    if hashes and (code != Away.DRAWS or not fleet.want_hashing[miner]):
        _idle(state, miner, now, foreign=code == Away.DARK_FOREIGN)
    elif code != Away.DRAWS:  # asleep as it was, or still starting: then it has the time of a boot to show it
        fleet.want_hashing[miner] = False
        fleet.verdict[miner] = Verdict.SETTLED
        fleet.away[miner] = code if not fleet.ours_asleep[miner] and code == Away.DARK else Away.NO
    elif not unseen and not boots_on:
        fleet.verdict[miner] = Verdict.SETTLED
        if hashes and fleet.level[miner] >= 0:
            fleet.want_level[miner] = fleet.level[miner]  # a trim may have been on its way
        elif not hashes and (told == estimator.WAKE or told_lately):
            fleet.want_hashing[miner] = False  # a wake that never arrived, or a sleep that did: ours, the ramps wake it


def _take_up_restarts(state: State, back: BoolArray, now: float) -> None:
    """Who of those that went and are `back` one by one, (n,), draws so little that it has just started by itself: it
    boots to where it was, whatever was on its way to it. None of that is a failure of its own."""
    fleet = state.fleet
    ours = ~fleet.parked & (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN)
    boots = back & ours & fleet.want_hashing & (fleet.condition == Condition.HASHING) & (fleet.verb != estimator.WAKE)
    rows: IntArray = (boots & (fleet.power_error_w == 0.0)).nonzero()[0]
    if not len(rows):
        return
    before_w, drawn_w = estimator.expected_power_w(fleet, now, rows), fleet.reported_w[rows]
    started = drawn_w < STARTED_RATIO * before_w  # no watts told, NaN, compares false
    rows, before_w, drawn_w = rows[started], before_w[started], drawn_w[started]
    flight.take_out_of_flight(fleet, rows, drawn_w)
    offset.revise(state, float((drawn_w - before_w).sum()), now)
    fleet.back_at[rows], fleet.verdict[rows], fleet.disagreed[rows] = now, Verdict.SETTLED, 0
    fleet.want_level[rows] = np.where(fleet.level[rows] >= 0, fleet.level[rows], fleet.want_level[rows])


def _seen_again(facts: Fleet, state: State, policy: FleetPolicy, miner: int, now: float, findings: Findings) -> None:
    """One that was dark and has answered before."""
    fleet = state.fleet
    asleep = fleet.condition[miner] == Condition.ASLEEP
    if fleet.away[miner] == Away.DARK_FOREIGN:
        fleet.away[miner] = Away.NO if asleep else Away.DARK_FOREIGN  # ours_asleep was not set meanwhile
        return
    boot_s = float(facts.wake_dead_s[miner] + facts.wake_90_s[miner])
    patience_s = max(policy.deadline_factor * boot_s + policy.deadline_extra_s, float(facts.wake_patience_s[miner]))
    if not asleep or fleet.want_hashing[miner]:
        fleet.away[miner] = Away.NO
        if not asleep and not fleet.want_hashing[miner]:
            _idle(state, miner, now, foreign=False)
    elif now - fleet.back_at[miner] >= patience_s:
        fleet.away[miner] = Away.NO
        text = "came back asleep, and not by our order: left alone until adopted"
        findings.events.append(Event("foreign_sleeper", EventLevel.WARNING, text, facts.miner_ids[miner]))


def _idle(state: State, miner: int, now: float, *, foreign: bool) -> None:
    """To be told to sleep in this very cycle; see reconcile. No failure of its own: its power came back."""
    fleet = state.fleet
    fleet.want_hashing[miner] = False
    fleet.verdict[miner] = Verdict.DRIFTED
    fleet.retry_at[miner] = now
    fleet.away[miner] = Away.DARK_FOREIGN if foreign else Away.NO
    state.mass.idled += 1


def dark_codes(facts: Fleet, fleet: FleetState, policy: FleetPolicy, rows: IntArray) -> ByteArray:
    """What each of `rows` (k,) is when it is dark: ours to let in again, or one that slept by another's hand.

    Nothing is wanted yet of one that was not read since the start: what it drew when it was last known tells.
    """
    drew = fleet.to_w[rows] > facts.sleep_power_w[rows] + policy.tolerance_w
    hashed = fleet.want_hashing[rows] | ((fleet.verdict[rows] == Verdict.UNSEEN) & drew)
    return np.where(hashed | fleet.ours_asleep[rows], Away.DARK, Away.DARK_FOREIGN).astype(np.int8)


def _offset_before(mass: MassState, latest_at: float, answered_at: float) -> float | None:
    """The same before they went, which is a while before the first of them was missed: the middle of what it was.

    No more than the meter has shown since all of them still answered: what it missed by then is nothing of theirs.
    """
    before = [offset_w for at, offset_w in mass.offsets if at <= latest_at]
    before = before or [offset_w for _, offset_w in mass.offsets[:1]]
    if not before:
        return None
    # `answered_at`: the oldest of their last answers. What the meter showed then was entered at or before it.
    place = bisect_right(mass.offsets, answered_at, key=lambda entry: entry[0]) - 1
    if place < 0:  # longer ago than is remembered
        return float(np.median(before))
    since = [offset_w for _, offset_w in mass.offsets[place:]]
    return min(float(np.median(before)), max(since))


def _to_ask(state: State, policy: FleetPolicy, recent: BoolArray, base: int, news: bool, now: float) -> tuple[int, ...]:
    """Whom to read now: everybody, once, when many may be gone; the other dark ones, and those of their crowd too few
    for a meter to tell, again and again as some return."""
    fleet, mass = state.fleet, state.mass
    window_s = policy.mass_disconnect_window_s
    suspect = max(math.ceil(SUSPECT_RATIO * limit_of(policy, base)), 2)
    asked = np.zeros(len(fleet.away), dtype=np.bool_)
    if news and int(recent.sum()) >= suspect and now - mass.asked_at >= window_s:
        answers = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
        asked = answers & (now - fleet.read_at > FRESH_S)
    elif now - mass.answered_at <= window_s and now - mass.asked_at >= ASK_AGAIN_S:
        may_be_dark = (fleet.gone_at >= mass.crowd_from) & ~answered_since(state) & mass.said_dark
        asked = away(fleet) & (dark(fleet) | may_be_dark)
    if bool(asked.any()):
        mass.asked_at = now
    return tuple(asked.nonzero()[0].tolist())
