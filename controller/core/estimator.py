"""What the fleet draws, will draw, and what is on its way: the in-flight ledger over the response classes.

Predicted site power = offset + sum of expected miner watts; see core/offset.
"""

from __future__ import annotations

import math

import numpy as np

from controller.core.fleet_state import NO_COMMAND, VERB_CODES, FleetState
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, Fleet, FloatArray, IntArray

SLEEP, WAKE = VERB_CODES[Verb.SLEEP], VERB_CODES[Verb.WAKE]
EVERYBODY = slice(None)
# A class's figures are the middle of what its miners do: one needs half the time, another half as much again.
EARLY, LATE = 0.5, 1.6
HASTY = 0.65  # how much sooner than the middle the boots may be that a limit must be kept against


def share_left(fleet: FleetState, miners: IntArray, at: float, stretch: float | FloatArray | None = None) -> FloatArray:
    """Share of the commanded moves of `miners`, (k,), all in flight, that has not happened yet at time `at`, in [0, 1].

    Sleep and trim fall off exponentially (a tenth left after the 90 % time); a boot climbs in a straight line,
    which is nearer to a boot's S-shape and never promises the watts too late. `stretch` multiplies dead and 90 % time,
    of each miner or of all.
    """
    dead_s, to_90_s = fleet.dead_s[miners], fleet.to_90_s[miners]
    if stretch is not None:
        dead_s, to_90_s = dead_s * stretch, to_90_s * stretch
    in_90s = np.maximum(at - fleet.sent_at[miners] - dead_s, 0.0) / to_90_s
    share: FloatArray = np.power(10.0, -np.minimum(in_90s, 12.0))
    boots = fleet.verb[miners] == WAKE
    if boots.any():
        share = np.where(boots, np.maximum(1.0 - 0.9 * in_90s, 0.0), share)
    share[fleet.doubted[miners]] = 1.0  # a fall that nobody has seen
    return share


def expected_power_w(fleet: FleetState, at: float, rows: IntArray | None = None) -> FloatArray:
    """Each miner's draw at time `at`, (n,) watts, if it obeys as its class does; with `rows`, of these only."""
    power_w = fleet.to_w.copy() if rows is None else fleet.to_w[rows]
    flying = (fleet.verb if rows is None else fleet.verb[rows]).nonzero()[0]  # most are at rest most of the time
    if len(flying):
        miners = flying if rows is None else rows[flying]
        power_w[flying] += (fleet.from_w[miners] - power_w[flying]) * share_left(fleet, miners, at)
    return power_w


def expected_one_w(fleet: FleetState, miner: int, at: float) -> float:
    """The same for one miner, watts, without walking the fleet."""
    if fleet.verb[miner] == NO_COMMAND:
        return float(fleet.to_w[miner])
    if fleet.doubted[miner]:
        return float(fleet.from_w[miner])
    in_90s = max(at - float(fleet.sent_at[miner]) - float(fleet.dead_s[miner]), 0.0) / float(fleet.to_90_s[miner])
    share = max(1.0 - 0.9 * in_90s, 0.0) if fleet.verb[miner] == WAKE else 10.0 ** -min(in_90s, 12.0)
    return float(fleet.to_w[miner] + (fleet.from_w[miner] - fleet.to_w[miner]) * share)


def expected_soon_w(fleet: FleetState, now: float, horizon_s: float) -> FloatArray:
    """Each miner's draw when a trim ordered now has worked, (n,) watts: quick moves count whole, boots as far as
    they will be by then."""
    soon_w = fleet.to_w.copy()
    slow = ((fleet.verb == WAKE) | (fleet.doubted & (fleet.verb != NO_COMMAND))).nonzero()[0]
    if len(slow):
        soon_w[slow] += (fleet.from_w[slow] - soon_w[slow]) * share_left(fleet, slow, now + horizon_s)
    return soon_w


def boots_between_w(fleet: FleetState, now: float, soon_s: float, later_s: float) -> float:
    """What boots in flight bring between `soon_s` and `later_s` seconds from now, watts for the whole fleet."""
    booting = (fleet.verb == WAKE).nonzero()[0]
    if not len(booting):
        return 0.0
    comes = share_left(fleet, booting, now + soon_s) - share_left(fleet, booting, now + later_s)
    return float(((fleet.to_w[booting] - fleet.from_w[booting]) * comes).sum())


def boots_ahead_w(state: State, now: float, horizon_s: float) -> float:
    """By how much the boots may be ahead of `expected_soon_w`, watts for the whole fleet: trim needs seconds to make
    room, and boots that come early pass the limit in the meantime. Among many the quick and the slow even out.

    Below zero where less is left of them than their class would bring by then.
    """
    fleet, at = state.fleet, now + horizon_s
    booting = (fleet.verb == WAKE).nonzero()[0]
    if not len(booting):
        return 0.0
    most_w = float(ahead_and_behind_w(fleet, booting, at)[0].sum())
    return min(most_w / math.sqrt(len(booting)), boots_left_w(state, at))


def boots_left_w(state: State, at: float) -> float:
    """What the boots can still bring after time `at`, watts: no boot goes beyond its rung, and by how much they are
    ahead of their class the site meter has shown."""
    return -way_left_w(state.fleet, (state.fleet.verb == WAKE).nonzero()[0], at) - state.early_w


def catches_up_w(state: State, now: float, horizon_s: float) -> float:
    """What boots that are behind their class bring until `horizon_s` from now beyond what is expected of them, watts:
    nothing of one that may fall behind further, and all of it in the end."""
    booting = (state.fleet.verb == WAKE).nonzero()[0]
    behind_w, then_w = (ahead_and_behind_w(state.fleet, booting, at)[1] for at in (now, now + horizon_s))
    most_w = float(behind_w.sum())
    return state.late_w * float(np.maximum(behind_w - then_w, 0.0).sum()) / most_w if most_w > 0.0 else state.late_w


def ahead_and_behind_w(fleet: FleetState, booting: IntArray, at: float) -> tuple[FloatArray, FloatArray]:
    """What each of `booting`, (k,), draws at time `at` beyond what is expected if it is as quick as the quick ones, and
    short of it if it is as late as miners can be."""
    learned, middle = 1.0 / fleet.learned[booting], share_left(fleet, booting, at)
    quick = share_left(fleet, booting, at, HASTY * np.minimum(learned, 1.0))
    slow = share_left(fleet, booting, at, LATE * np.maximum(learned, 1.0))
    way_w = (fleet.to_w - fleet.from_w)[booting]
    return way_w * (middle - quick), way_w * (slow - middle)


def booted_early_w(fleet: FleetState, booting: IntArray, at: float) -> FloatArray:
    """What each of `booting`, (k,), will draw at time `at` if it is as quick as the quick ones, watts."""
    return fleet.to_w[booting] + (fleet.from_w - fleet.to_w)[booting] * share_left(fleet, booting, at, HASTY)


def at_least_w(fleet: FleetState, at: float, rows: IntArray) -> FloatArray:
    """What each of `rows`, (k,), surely draws at time `at` if it has its power: who is on its way up may be as late as
    miners can be."""
    power_w = expected_power_w(fleet, at, rows)
    rises = ((fleet.verb[rows] != NO_COMMAND) & (fleet.to_w[rows] > fleet.from_w[rows])).nonzero()[0]
    if len(rises):
        miners = rows[rises]
        left = share_left(fleet, miners, at, LATE * np.maximum(1.0 / fleet.learned[miners], 1.0))
        power_w[rises] = fleet.to_w[miners] + (fleet.from_w[miners] - fleet.to_w[miners]) * left
    return power_w


def still_climbs(facts: Fleet, fleet: FleetState, at: FloatArray | float) -> BoolArray:
    """(n,) woken, or back from a restart of its own, so lately that a slow one of its class may have the last tenth of
    its way before it at time `at`: a boot counts as done before that, and what it draws then is less than it will."""
    since = np.maximum(fleet.changed_at, fleet.back_at)
    climbs: BoolArray = fleet.want_hashing & (at < since + LATE * (facts.wake_dead_s + facts.wake_90_s))
    return climbs


def read_half_way(facts: Fleet, fleet: FleetState) -> BoolArray:
    """(n,) whose last reading is from so shortly after a trim that a slow one of its class was still on its way: nine
    tenths are taken for arrived, and what it told then is not what it will draw."""
    slow_s = LATE * (facts.trim_dead_s + facts.trim_90_s)
    half_way: BoolArray = fleet.want_hashing & facts.trims & (fleet.read_at < fleet.sent_at + slow_s)
    return half_way


def still_falling_w(facts: Fleet, fleet: FleetState, now: float) -> float:
    """What is on its way down and will still be drawn when the quickest trim ordered now has worked, watts: a raise
    into the room that slow sleepers are about to make would be there before it."""
    falling = (fleet.verb != NO_COMMAND) & (fleet.verb != WAKE) & (fleet.to_w < fleet.from_w) & ~fleet.doubted
    if not bool(falling.any()):
        return 0.0
    at = now + float((facts.trim_dead_s + facts.trim_90_s)[facts.trims].min(initial=math.inf))
    total_w = 0.0
    # Of a slow one that tells watts telemetry says so; a blind one may be as late as miners can be.
    for who, stretch in ((falling & facts.reports_power, None), (falling & ~facts.reports_power, LATE)):
        rows = who.nonzero()[0]
        total_w += float(((fleet.from_w[rows] - fleet.to_w[rows]) * share_left(fleet, rows, at, stretch)).sum())
    return total_w


def owed_w(fleet: FleetState, at: float) -> float:
    """What trims and sleeps in flight still leave to come down at time `at`, watts; negative: to come up."""
    quick = (fleet.verb != NO_COMMAND) & (fleet.verb != WAKE) & ~fleet.doubted
    return way_left_w(fleet, quick.nonzero()[0], at)


def way_left_w(fleet: FleetState, rows: IntArray, at: float) -> float:
    """What `rows`, (k,), have to come down yet at time `at`, watts for all; negative: up."""
    return float(((fleet.from_w[rows] - fleet.to_w[rows]) * share_left(fleet, rows, at)).sum()) if len(rows) else 0.0


def planned_power_w(facts: Fleet, fleet: FleetState, hashing: BoolArray, level: IntArray) -> FloatArray:
    """What a plan will draw, (n,) watts: the rung's nameplate times each miner's own ratio, or sleep watts."""
    rung = facts.level_power_w[np.arange(len(facts)), np.maximum(level, 0)]
    return np.where(hashing, rung * fleet.ratio, facts.sleep_power_w)


def bracket_w(fleet: FleetState, at: float) -> tuple[float, float, float]:
    """Fleet power at time `at` if every quick move in flight is as far from its aim as miners can be, as its class has
    it, or as near: the least of these, the middle and the most."""
    base_w = float(fleet.to_w.sum())
    flying = fleet.verb.nonzero()[0]
    if not len(flying):
        return base_w, base_w, base_w
    to_w = fleet.to_w[flying]
    way_w = fleet.from_w[flying] - to_w
    middle = share_left(fleet, flying, at)
    boots = fleet.verb[flying] == WAKE  # slow enough to be corrected on the way
    # What a class was learned to do narrows nothing: who keeps to the configured figures is within as well.
    learned = 1.0 / fleet.learned[flying]
    early = np.where(boots, middle, share_left(fleet, flying, at, EARLY * np.minimum(learned, 1.0)))
    late = np.where(boots, middle, share_left(fleet, flying, at, LATE * np.maximum(learned, 1.0)))
    expected_w, lowest_w, highest_w = fleet.to_w.copy(), np.zeros(len(fleet.verb)), np.zeros(len(fleet.verb))
    expected_w[flying] += way_w * middle
    lowest_w[flying] = np.minimum(way_w * early, way_w * late)
    highest_w[flying] = np.maximum(way_w * early, way_w * late)
    return base_w + float(lowest_w.sum()), float(expected_w.sum()), base_w + float(highest_w.sum())


def trim_horizon_s(facts: Fleet) -> float:
    """Seconds after which a trim ordered now has worked on the slowest class that trims; a sleep where none does."""
    trim_s = np.where(facts.trims, facts.trim_dead_s + facts.trim_90_s, -math.inf).max(initial=-math.inf)
    if trim_s > -math.inf:
        return float(trim_s)
    return float(np.max(facts.sleep_dead_s + facts.sleep_90_s, initial=0.0))
