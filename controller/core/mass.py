"""Many miners that vanish at once: one event instead of hundreds, and a way back that is no crowd.

A switch that died and a feeder that tripped look the same on the wire. The meters tell them apart: who is still drawn
keeps its last known power and nothing follows when it answers again; who draws nothing is planned asleep, and one that
comes back hashing by itself is put to sleep at first sight and let in by the ramps like any other sleeper. Nobody is
judged by what it did not do while it could not be reached.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from controller.core import estimator, mass_words
from controller.core.consequences import Findings
from controller.core.mass_words import DARK_RATIO
from controller.core.state import Away, FleetState, MassState, State
from controller.domain.fleet import BoolArray, Condition, Fleet, IntArray, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy, Policy

LEAST = 3  # miners: one of four that fails is no mass disconnect
SUSPECT_RATIO = 0.25  # of the limit: so many gone, and the rest of the fleet is read now instead of in its turn
ASK_AGAIN_S = 3.0  # while dark ones come back, the others are looked for this often
FRESH_S = 2.0  # who was read this lately need not be asked
LEAST_RATIO = 0.01  # of the site's rating or the feeder's: what sleepers draw is too little for a meter to miss
DARK_AFTER_S = 2.0  # what a meter shows for so long is no dip
STARTED_RATIO = 0.5  # of its last known power: one that comes back below it has just started
TRIED_AT_ONCE, TRY_AGAIN_S = 16, 15.0  # a shed asks the unreachable as well: so many at a time, each so often


def limit_of(policy: FleetPolicy, miners: int) -> int:
    """So many of `miners` gone at once are a mass disconnect."""
    return max(LEAST, math.ceil(policy.mass_disconnect_ratio * miners - 1e-9))


def away(fleet: FleetState) -> BoolArray:
    """(n,) who vanished with many others and has not been heard of since."""
    lost: BoolArray = (fleet.away != Away.NO) & np.isfinite(fleet.gone_at)
    return lost


def dark(fleet: FleetState) -> BoolArray:
    """(n,) who draws nothing now and may come back hashing at any moment."""
    waiting: BoolArray = fleet.away >= Away.DARK
    return waiting


def notice(
    facts: Fleet, state: State, policy: FleetPolicy, fresh: BoolArray, now: float, findings: Findings
) -> tuple[int, ...]:
    """Who is gone, who is back (`fresh`: read anew, (n,)), and whether that is a mass disconnect.

    Returns the miners to be read before their turn.
    """
    fleet, mass = state.fleet, state.mass
    for miner in np.flatnonzero(fresh & (fleet.away != Away.NO)).tolist():
        _seen(facts, state, policy, miner, now, findings)
    reached = (fresh | (fleet.condition == Condition.CONTRADICTS)) & np.isfinite(fleet.gone_at)
    fleet.gone_at[reached], fleet.gone_said[reached] = -math.inf, False
    newly = [miner for miner, _ in findings.gone]
    fleet.gone_at[newly] = now
    gone = (fleet.condition == Condition.UNREACHABLE) & np.isfinite(fleet.gone_at)
    recent = gone & (now - fleet.gone_at <= policy.mass_disconnect_window_s)
    base = len(facts) - int((gone & ~recent).sum())  # who was not there before cannot vanish
    if mass.since is None and int(recent.sum()) >= limit_of(policy, base):
        first_at = float(fleet.gone_at[recent].min())
        mass.since, mass.offset_w = now, _offset_before(mass, first_at - 0.5 * policy.mass_disconnect_window_s)
        mass.dark_since = (math.inf,) * (len(facts.feeder_names) + 1)
    if mass.since is not None:
        joins = recent & (fleet.away == Away.NO)
        fleet.away[joins] = Away.DRAWS
        mass.most = max(mass.most, int(away(fleet).sum()))
    else:
        mass_words.say_one_by_one(facts, state, policy, gone, now, findings)
    return _to_ask(state, policy, recent, base, bool(newly), now)


def weigh(facts: Fleet, state: State, policy: Policy, now: float, findings: Findings) -> None:
    """What the meters say of those that are away; says the event, and when it is over. After the site meter's sample
    of this cycle has been entered."""
    fleet, mass, rules = state.fleet, state.mass, policy.fleet
    window_s = rules.mass_disconnect_window_s
    if mass.since is None:
        if state.offset_w is not None:
            _remember_offset(mass, state.offset_w + state.revised_w, window_s, now)
        return
    missing_w, lost_w = 0.0, 0.0
    turned_dark = 0
    for place, rows, place_missing_w, place_lost_w, shown_at in list(_places(facts, state, policy, now)):
        missing_w, lost_w = missing_w + place_missing_w, lost_w + place_lost_w
        missing = place_missing_w >= DARK_RATIO * place_lost_w
        since = min(mass.dark_since[place], shown_at) if missing else math.inf
        mass.dark_since = (*mass.dark_since[:place], since, *mass.dark_since[place + 1 :])
        if shown_at - since >= DARK_AFTER_S:
            turned_dark += len(rows)
            _plan_idle(facts, state, rows, now)
    if turned_dark and state.setpoint_w is not None and state.offset_w is not None:
        # Once: a ramp down that runs begins at the load that is left, not at one that has gone by itself.
        soon_w = estimator.expected_soon_w(fleet, now, estimator.trim_horizon_s(facts))
        state.setpoint_w = min(state.setpoint_w, state.offset_w + float(soon_w.sum()))
    if not mass.said:
        mass_words.say_gone(facts, state, rules, away(fleet), missing_w, lost_w, findings)
    elif turned_dark and not mass.said_dark:
        mass.said_dark = True
        text = f"the meters show {missing_w / 1e3:.1f} kW gone: {turned_dark} of the miners that vanished are dark"
        findings.events.append(Event("mass_dark", EventLevel.WARNING, text))
    left = away(fleet)
    few = int(left.sum()) < max(limit_of(rules, len(facts)) / 2.0, 1.0)
    mass.few_since = (now if mass.few_since is None else mass.few_since) if few else None
    if mass.few_since is not None and now - mass.few_since >= window_s:
        mass_words.say_back(facts, state, left, now, findings)
        state.mass = MassState(asked_at=mass.asked_at)


def to_try(fleet: FleetState, now: float) -> IntArray:
    """Miners out of reach that a shed asks to sleep all the same, for one that hears us may be among them: a few at a
    time, whoever waited longest first."""
    deaf = (fleet.condition == Condition.UNREACHABLE) & ~dark(fleet) & ~fleet.parked
    deaf &= (fleet.verdict != Verdict.UNSEEN) & (fleet.verdict != Verdict.QUARANTINED)
    under_way = int((deaf & (fleet.verb == estimator.SLEEP)).sum())
    due: IntArray = np.flatnonzero(deaf & fleet.want_hashing & (fleet.verb == 0) & (now >= fleet.retry_at))
    due = due[np.argsort(fleet.retry_at[due], kind="stable")][: max(TRIED_AT_ONCE - under_way, 0)]
    fleet.retry_at[due] = now + TRY_AGAIN_S
    return due


def _seen(facts: Fleet, state: State, policy: FleetPolicy, miner: int, now: float, findings: Findings) -> None:
    """One of them answers: judged afresh, and put to sleep at once when it hashes and nobody asked it to."""
    fleet = state.fleet
    code, condition = int(fleet.away[miner]), int(fleet.condition[miner])
    if not math.isfinite(fleet.gone_at[miner]):
        _seen_again(facts, state, policy, miner, now, findings)
        return
    fleet.back_at[miner] = state.mass.answered_at = now
    told = int(fleet.verb[miner])
    hashes = condition == Condition.HASHING
    before_w = estimator.expected_one_w(fleet, miner, now)
    has_started = fleet.power_error_w[miner] == 0.0 and fleet.reported_w[miner] < STARTED_RATIO * before_w  # NaN: false
    if code == Away.DRAWS and hashes and has_started:
        code = int(_dark_code(fleet, miner))
    rung_w = float(facts.level_power_w[miner, fleet.want_level[miner]] * fleet.ratio[miner])
    draw_w = float(fleet.reported_w[miner])
    if math.isnan(draw_w):
        draw_w = rung_w if hashes else float(facts.sleep_power_w[miner])
    estimator.take_out_of_flight(fleet, np.array([miner]), draw_w)
    estimator.revise(state, draw_w - before_w, now)
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
    elif not unseen:
        fleet.verdict[miner] = Verdict.SETTLED
        if hashes and fleet.level[miner] >= 0:
            fleet.want_level[miner] = fleet.level[miner]  # a trim may have been on its way
        elif not hashes and told == estimator.WAKE:
            fleet.want_hashing[miner] = False  # a wake that never arrived: the ramps ask for it anew


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


def _plan_idle(facts: Fleet, state: State, rows: IntArray, now: float) -> None:
    """They draw nothing, the meters say: planned asleep, and their watts are not counted on any more."""
    fleet = state.fleet
    before_w = estimator.expected_power_w(fleet, now, rows)
    estimator.take_out_of_flight(fleet, rows, 0.0)
    estimator.revise(state, -float(before_w.sum()), now)
    if state.mass.offset_w is not None:
        state.mass.offset_w -= float(before_w.sum())  # of what the site's meter misses that much is explained
    for miner in rows.tolist():
        fleet.away[miner] = _dark_code(fleet, miner)
    mine = rows[~fleet.parked[rows]]
    fleet.ours_asleep[mine[fleet.want_hashing[mine]]] = False  # not told to sleep: it shall be known when it is
    fleet.want_hashing[mine] = False


def _dark_code(fleet: FleetState, miner: int) -> Away:
    foreign = not fleet.want_hashing[miner] and not fleet.ours_asleep[miner]
    return Away.DARK_FOREIGN if foreign else Away.DARK


def _places(
    facts: Fleet, state: State, policy: Policy, now: float
) -> Iterator[tuple[int, IntArray, float, float, float]]:
    """(place, its lost miners not known to be dark, watts missing at its meter, watts these drew, when it was shown):
    each feeder with a meter of its own, then all others by the site's."""
    fleet, groups, mass = state.fleet, state.groups, state.mass
    lost = (fleet.away == Away.DRAWS) & np.isfinite(fleet.gone_at)
    if not bool(lost.any()):
        return
    since = float(fleet.gone_at[lost].min())
    elsewhere = lost.copy()
    pending_w = 0.0
    for feeder in range(len(facts.feeder_names)):
        on_it = facts.feeder == feeder
        shown_at = float(groups.sample_at[feeder])
        metered = not math.isnan(groups.load_w[feeder]) and now - shown_at <= policy.inputs.hold_after_s
        if not metered or not bool((lost & on_it).any()):
            continue
        elsewhere &= ~on_it
        if shown_at < since:
            continue
        believed_w = float(estimator.expected_power_w(fleet, now, np.flatnonzero(on_it)).sum())
        beside_w = max(float(np.nan_to_num(groups.rest_w[feeder])), 0.0)
        missing_w = believed_w + beside_w - float(groups.load_w[feeder])
        rows = np.flatnonzero(lost & on_it)
        lost_w = float(estimator.expected_power_w(fleet, now, rows).sum())
        if lost_w >= LEAST_RATIO * float(facts.feeder_rating_w[feeder]):
            yield feeder, rows, missing_w, lost_w, shown_at
        if bool((fleet.away[rows] == Away.DRAWS).all()):
            pending_w += max(missing_w, 0.0)
    rows = np.flatnonzero(elsewhere)
    shown = state.offset_w is not None and since <= state.offset_at and now <= state.offset_until
    if len(rows) and shown and state.offset_w is not None and mass.offset_w is not None:
        missing_w = mass.offset_w - state.offset_w - state.revised_w - pending_w
        lost_w = float(estimator.expected_power_w(fleet, now, rows).sum())
        if lost_w >= LEAST_RATIO * policy.rated_w:
            yield len(facts.feeder_names), rows, missing_w, lost_w, state.offset_at


def _remember_offset(mass: MassState, offset_w: float, window_s: float, now: float) -> None:
    """What the site meter showed beyond the miners lately, about one value a second."""
    if mass.offsets and now - mass.offsets[-1][0] < 0.8:
        return
    mass.offsets = (*(entry for entry in mass.offsets if now - entry[0] <= 2.0 * window_s), (now, offset_w))


def _offset_before(mass: MassState, latest_at: float) -> float | None:
    """The same before they went, which is a while before the first of them was missed: the middle of what it was."""
    before = [offset_w for at, offset_w in mass.offsets if at <= latest_at]
    before = before or [offset_w for _, offset_w in mass.offsets[:1]]
    return float(np.median(before)) if before else None


def _to_ask(state: State, policy: FleetPolicy, recent: BoolArray, base: int, news: bool, now: float) -> tuple[int, ...]:
    """Whom to read now: everybody, once, when many may be gone; the other dark ones again and again as some return."""
    fleet, mass = state.fleet, state.mass
    window_s = policy.mass_disconnect_window_s
    if mass.since is None:
        suspect = max(math.ceil(SUSPECT_RATIO * limit_of(policy, base)), 2)
        if not news or int(recent.sum()) < suspect or now - mass.asked_at < window_s:
            return ()
        answers = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
        asked = answers & (now - fleet.read_at > FRESH_S)
    else:
        if now - mass.answered_at > window_s or now - mass.asked_at < ASK_AGAIN_S:
            return ()
        asked = away(fleet) & dark(fleet)
    if bool(asked.any()):
        mass.asked_at = now
    return tuple(np.flatnonzero(asked).tolist())
