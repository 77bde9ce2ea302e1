"""Pools that stop answering: many miners idle by themselves at once, and return at once: large steps for a grid.

Who idles draws next to nothing and obeys; nobody is blamed. Those without work are put to sleep, but for a few that are
left awake to see it come back, and the ramps let them in again. Meanwhile a sleeper is woken only where most still
have work: it would idle as well.
"""

from __future__ import annotations

import math

import numpy as np

from controller.core import estimator, flight, offset
from controller.core.consequences import Findings
from controller.core.fleet_state import FleetState, Work
from controller.core.mass import FRESH_S, limit_of
from controller.core.state import State, WorkState
from controller.domain.fleet import BoolArray, Condition, Fleet, MinerReading, Verdict
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import FleetPolicy

WATCH_RATIO, WATCH_LEAST = 0.03, 1  # of the fleet: so many stay awake, few enough to come back without a step
RATE_RATIO = 0.1  # of the lowest rung's rate: less is what is left of a mean
DRAW_RATIO = 0.5  # of the lowest rung's watts: more is no idling
SUSPECT = 2  # so many at once, and the rest of the fleet is read now instead of in its turn


def take_rates(facts: Fleet, fleet: FleetState, fresh: BoolArray, readings: tuple[MinerReading, ...]) -> BoolArray:
    """Enter the hash rates of those that were read (`fresh`, (n,)); NaN of one that tells none: that is not zero.

    Returns (n,) who had a rate when it was last read and says that it has none.
    """
    stopped = np.zeros(len(facts), dtype=np.bool_)
    told = {reading.miner: reading.hashrate_th for reading in readings if fresh[reading.miner]}
    rows = np.array(list(told), dtype=np.int64)
    if not len(rows):
        return stopped
    had = fleet.has_rate[rows]
    fleet.rate_th[rows] = [math.nan if rate is None else rate for rate in told.values()]
    fleet.has_rate[rows] = fleet.rate_th[rows] > RATE_RATIO * facts.level_power_w[rows, 0] / facts.joule_per_th[rows]
    stopped[rows] = had & ~fleet.has_rate[rows] & np.isfinite(fleet.rate_th[rows])
    return stopped


def notice(
    facts: Fleet,
    state: State,
    policy: FleetPolicy,
    fresh: BoolArray,
    stopped: BoolArray,
    now: float,
    findings: Findings,
) -> tuple[int, ...]:
    """Who idles and who hashes (`fresh`: read anew, `stopped`: see `take_rates`, (n,)), and whether that is a loss of
    work.

    Returns the miners to be read before their turn.
    """
    fleet, work = state.fleet, state.work
    hashing = fleet.condition == Condition.HASHING
    idle = fresh & hashing & ~fleet.has_rate & np.isfinite(fleet.rate_th) & _draws_little(facts, fleet)
    patience_s = np.maximum(policy.deadline_factor * fleet.dead_s + policy.deadline_extra_s, facts.wake_patience_s)
    up_s = np.minimum(fleet.dead_s + fleet.to_90_s, patience_s)  # no later than it would be called lifeless
    booting = (fleet.verb == estimator.WAKE) & (fleet.read_at < fleet.sent_at + up_s)
    judged = ~fleet.parked & (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN)
    idle &= judged & fleet.want_hashing & (fleet.verb != estimator.SLEEP)
    turned = idle & ~booting & (stopped | (fleet.verb == estimator.WAKE)) & (fleet.work == Work.HAS)
    fleet.idle_at[turned] = now
    fleet.idle_at[fresh & (fleet.has_rate | ~hashing)] = -math.inf
    recent = (now - fleet.idle_at <= policy.mass_disconnect_window_s) & fleet.want_hashing
    base = int(np.count_nonzero(hashing & fleet.want_hashing & judged))
    if work.since is None and not bool(recent.any()):
        work.rests_w = tuple(None if math.isnan(rest_w) else rest_w for rest_w in state.groups.rest_w.tolist())
    if work.since is None and int(recent.sum()) >= limit_of(policy, base):
        work.since = now
        for feeder, rest_w in enumerate(work.rests_w):
            state.groups.rest_w[feeder] = math.nan if rest_w is None else rest_w
        idle |= recent
        _say_lost(facts, state, recent, base, findings)
    if work.since is not None:
        mostly = _mostly_lost(state)
        _put_to_sleep(facts, state, idle & (mostly | ~booting), now)
        fleet.work[(fleet.work == Work.LOST) & fresh & fleet.has_rate & fleet.want_hashing] = Work.BACK
        _watch(state, now, findings)
    if bool(turned.any()) and int(recent.sum()) >= SUSPECT and now - work.asked_at >= policy.mass_disconnect_window_s:
        work.asked_at = now
        asked = hashing & (now - fleet.read_at > FRESH_S)
        return tuple(asked.nonzero()[0].tolist())
    return ()


def missing(state: State) -> int:
    """Miners without work in the loss that stands, asleep or watching; 0 while none does."""
    return 0 if state.work.since is None else int(np.count_nonzero(state.fleet.work == Work.LOST))


def lost(fleet: FleetState) -> BoolArray:
    """(n,) who has no work as far as anybody knows: nothing that is asked of it changes what it draws."""
    waits: BoolArray = fleet.work == Work.LOST
    return waits


def wakeable(facts: Fleet, state: State, ready: BoolArray) -> BoolArray:
    """Who of those `ready` to be woken may be: with work lost, who has lost none, or one that looks for it."""
    fleet = state.fleet
    if state.work.since is None:
        return ready
    awake = _seen_awake(fleet)
    chosen: BoolArray = ready & (fleet.work == Work.HAS) & (not _mostly_lost(state))
    looks = ready & ~chosen & (fleet.work == Work.LOST)
    if not bool(looks.any()) and not bool(awake.any()):
        looks = ready  # those without work rest, or are out of reach: anybody can look, and nobody would else
    awake &= fleet.work != Work.HAS
    rows = facts.best_first[looks[facts.best_first]]
    chosen[rows[: max(_watchers(facts) - int(awake.sum()), 0)]] = True
    return chosen


def _seen_awake(fleet: FleetState) -> BoolArray:
    """(n,) who hashes or boots, by our wish; one out of reach sees nothing."""
    seen: BoolArray = (fleet.condition == Condition.HASHING) | (fleet.verb == estimator.WAKE)
    return seen & fleet.want_hashing


def _draws_little(facts: Fleet, fleet: FleetState) -> BoolArray:
    """(n,) whose watts, as far as they are told and known, are not those of one that hashes."""
    least_w = np.where(np.isnan(fleet.reported_w), 0.0, fleet.reported_w) - fleet.power_error_w
    little: BoolArray = least_w <= DRAW_RATIO * facts.level_power_w[:, 0]
    return little


def _mostly_lost(state: State) -> bool:
    fleet = state.fleet
    works = (fleet.condition == Condition.HASHING) & fleet.has_rate & fleet.want_hashing
    return int((fleet.work == Work.LOST).sum()) >= int(works.sum())


def _watchers(facts: Fleet) -> int:
    return max(WATCH_LEAST, math.floor(WATCH_RATIO * len(facts)))


def _put_to_sleep(facts: Fleet, state: State, idle: BoolArray, now: float) -> None:
    """Told in this very cycle (see reconcile), but for a few; what was on its way to them proves nothing any more."""
    fleet = state.fleet
    rows = facts.best_first[idle[facts.best_first]]
    if not len(rows):
        return
    rows = rows[np.argsort(~facts.reports_power[rows], kind="stable")]  # who tells watts is the better watcher
    before_w = estimator.expected_power_w(fleet, now, rows)
    low_w = fleet.reported_w[rows] - fleet.power_error_w[rows]  # of an estimate its low end: it is known to idle
    draw_w = np.where(np.isnan(low_w), facts.sleep_power_w[rows], low_w)
    flight.take_out_of_flight(fleet, rows, draw_w)
    offset.revise(state, float((draw_w - before_w).sum()), now)
    known = _seen_awake(fleet) & (fleet.work != Work.HAS)
    fleet.work[rows], fleet.disagreed[rows], fleet.verdict[rows] = Work.LOST, 0, Verdict.SETTLED
    room = max(_watchers(facts) - int((known & ~idle).sum()), 0)
    told = rows[room:]
    fleet.want_hashing[told] = False
    fleet.verdict[told], fleet.retry_at[told] = Verdict.DRIFTED, now
    state.work.most = max(state.work.most, int((fleet.work == Work.LOST).sum()))


def _watch(state: State, now: float, findings: Findings) -> None:
    """It is over when as many of the watchers hash again as wait on."""
    fleet, work = state.fleet, state.work
    awake = fleet.want_hashing & (fleet.condition == Condition.HASHING)
    looked = fleet.work == Work.BACK
    if not bool((fleet.want_hashing & (fleet.work != Work.HAS)).any()):  # see `wakeable`
        looked = fleet.changed_at > (work.since or now)
    back = int((awake & fleet.has_rate & looked).sum())
    if back == 0 or back < int((awake & (fleet.work == Work.LOST)).sum()):
        return
    after_s = now - (work.since or now)
    text = f"work is back after {after_s:.0f} s; {work.most} miners had none, the ramps let them in"
    findings.events.append(Event("work_back", EventLevel.INFO, text))
    fleet.work[:] = Work.HAS
    state.work = WorkState(asked_at=work.asked_at)


def _say_lost(facts: Fleet, state: State, rows: BoolArray, base: int, findings: Findings) -> None:
    counts = np.bincount(facts.feeder[rows], minlength=len(facts.feeder_names))
    feeders = ", ".join(f"{facts.feeder_names[place]} ({counts[place]})" for place in counts.nonzero()[0])
    text = (
        f"{int(rows.sum())} of {base} miners that should hash idle by themselves so far, by feeder {feeders}: "
        "do their pools answer? Who has no work is put to sleep, nobody is blamed"
    )
    findings.events.append(Event("work_lost", EventLevel.ERROR, text))
