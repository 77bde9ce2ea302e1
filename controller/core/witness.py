"""What one sample of a feeder's meter says about the miners on that feeder; core/groups acts on it.

What a feeder's meter showed beyond its miners when it last agreed is taken for something else on the feeder: from there
on only what has changed can be wrong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from controller.core import estimator
from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.policy import FleetPolicy

IDLE_RATIO = 0.6  # of its rung: a blind miner whose own estimate stays below this says that it hashes and hardly does
LOSS_RATIO = 0.03  # what cables and a transformer between meter and miners take at most, as a share of what they carry


class Finding(IntEnum):
    """What one sample says."""

    NOTHING = 0
    ANCHORS = 1  # the first that can be compared: nothing is known of what hangs there beside the miners
    AGREES = 2
    EXCESS = 3
    DEFICIT = 4
    RELEASES = 5  # a deficit that shows that those who were caught lying sleep by now


@dataclass(frozen=True, slots=True)
class Look:
    """One feeder at one sample: who is on it, and what the sample says of them, watts; arrays are (rows,).

    believed_w: what each draws, as far as its own word goes. suspects: blind, gone to sleep since the meter last
    agreed. caught: have lied, and count as drawing. lie_w: what each would draw more if it did not sleep. rest_w: what
    the meter shows beyond the believed. excess_w: of that, what is new. uncertainty_w: of excess_w. resolution_w: half
    of the smallest lie, less cannot be told from nothing. nothing_beside: what the meter shows is these miners, so
    finely that none of them could lie, new or not. moving: a blind one is on its way; under_way: anybody is.
    lowest_rest_w: by so much beliefs may be off in sum; a rest below that is no rest, and some belief is wrong.
    """

    rows: IntArray
    believed_w: FloatArray
    suspects: BoolArray
    caught: BoolArray
    lie_w: FloatArray
    rest_w: float
    excess_w: float
    uncertainty_w: float
    resolution_w: float
    nothing_beside: bool
    moving: bool
    under_way: bool
    lowest_rest_w: float


def blind_sleepers(facts: Fleet, state: State, rows: IntArray) -> BoolArray:
    """(rows,) who tell no watts and say that they sleep."""
    fleet = state.fleet
    sleepers: BoolArray = ~facts.reports_power[rows] & (fleet.condition[rows] == Condition.ASLEEP)
    sleepers &= ~fleet.want_hashing[rows] & (fleet.verb[rows] == NO_COMMAND)
    return sleepers


def look_at(
    facts: Fleet, state: State, policy: FleetPolicy, feeder: int, rows: IntArray, value_w: float, at: float
) -> Look:
    fleet, groups = state.fleet, state.groups
    blind, still = ~facts.reports_power[rows], fleet.verb[rows] == NO_COMMAND
    awake_w = _awake_w(facts, state, rows)
    draws = fleet.caught[rows] | (fleet.condition[rows] == Condition.HASHING)
    # An estimate wanders with the hash rate, the draw does not: a blind miner counts by its state alone.
    by_state_w = np.where(draws, awake_w, facts.sleep_power_w[rows])
    believed_w = np.where(blind & still, by_state_w, estimator.expected_power_w(fleet, at, rows))
    lie_w = np.maximum(awake_w - facts.sleep_power_w[rows], 0.0)
    asleep = blind_sleepers(facts, state, rows)
    anchored_w = np.where(np.isnan(fleet.anchor_w[rows]), believed_w, fleet.anchor_w[rows])
    suspects = asleep & fleet.stirred[rows] & ~fleet.caught[rows] & ~fleet.sleep_proved[rows]
    suspects &= (fleet.verdict[rows] != Verdict.QUARANTINED) & (fleet.verdict[rows] != Verdict.UNSEEN)
    smallest_w = lie_w[asleep] if bool(asleep.any()) else lie_w
    changed_w = believed_w - anchored_w
    # A sleep that failed before is booked once it is proved: until then it may swing by all there is to fall.
    aim_w = np.where(fleet.verb[rows] == estimator.SLEEP, facts.sleep_power_w[rows], fleet.to_w[rows])
    swing_w = np.abs(aim_w - fleet.from_w[rows])[~still]
    resolution_w = 0.5 * float(np.min(smallest_w))

    def doubt_w(watts: FloatArray) -> float:
        """How far a sum of beliefs may be off: losses for all together, its own error for each, half of every move."""
        own_w = policy.tolerance_ratio * math.sqrt(float(np.square(watts).sum()))
        return 0.5 * LOSS_RATIO * abs(float(watts.sum())) + own_w + 0.5 * float(swing_w.sum())

    rest_w = value_w - float(believed_w.sum())
    beside_w = rest_w - 0.5 * LOSS_RATIO * float(believed_w.sum())
    return Look(
        rows=rows,
        believed_w=believed_w,
        suspects=suspects,
        caught=fleet.caught[rows],
        lie_w=lie_w,
        rest_w=rest_w,
        excess_w=rest_w - float(groups.rest_w[feeder]),
        uncertainty_w=doubt_w(changed_w),
        resolution_w=resolution_w,
        moving=bool((blind & ~still).any()),
        under_way=not bool(still.all()),
        lowest_rest_w=-doubt_w(believed_w),
        nothing_beside=abs(beside_w) <= resolution_w and doubt_w(believed_w) < resolution_w,
    )


def _awake_w(facts: Fleet, state: State, rows: IntArray) -> FloatArray:
    """(rows,) watts of each at the rung it shows, or may come to, while it hashes."""
    fleet = state.fleet
    rung = np.where(fleet.level[rows] >= 0, fleet.level[rows], fleet.ceiling[rows])
    return facts.level_power_w[rows, rung] * fleet.ratio[rows]


def finding_of(look: Look) -> Finding:
    """Half of the smallest lie is where nobody lying ends and somebody lying begins, as long as less is in doubt.

    Where more is, a meter agrees with those at rest: by how much boots are late is nothing that hangs on the feeder.
    """
    fine = look.uncertainty_w < look.resolution_w
    limit_w = look.resolution_w if fine else look.uncertainty_w + look.resolution_w
    if math.isnan(look.excess_w):
        return Finding.ANCHORS if fine else Finding.NOTHING
    if look.excess_w > limit_w:
        return Finding.EXCESS
    if look.excess_w < -limit_w:
        slept_w = -float(look.lie_w[look.caught].sum())
        return Finding.RELEASES if slept_w < 0.0 and abs(look.excess_w - slept_w) <= limit_w else Finding.DEFICIT
    return Finding.AGREES if fine or not (look.under_way or look.suspects.any()) else Finding.NOTHING


def comparable(facts: Fleet, state: State, policy: FleetPolicy, feeder: int, rows: IntArray, at: float) -> bool:
    """Whether a sample can be held against what is believed: everybody known, nobody awake without hashing, and a meter
    that has moved since the last of them was told to sleep or wake.

    A blind miner that lost its pools counts at its rung and draws who knows what: no sum that holds it proves anything.
    """
    fleet = state.fleet
    if state.work.since is not None:  # nor while many have none: one that boots without looks like one that boots
        return False
    moved_at = float(state.groups.moved_at[feeder])
    if not math.isfinite(moved_at) or moved_at <= float(fleet.changed_at[rows].max()):
        return False
    hashing = fleet.condition[rows] == Condition.HASHING
    known = hashing | (fleet.condition[rows] == Condition.ASLEEP)
    known &= at - fleet.read_at[rows] <= policy.telemetry_stale_s
    if not bool(known.all()):
        return False
    idle = hashing & (fleet.verb[rows] == NO_COMMAND) & ~facts.reports_power[rows]
    highest_w = fleet.reported_w[rows] + fleet.power_error_w[rows]  # NaN, no estimate at all, compares false
    return not bool((idle & (highest_w < IDLE_RATIO * _awake_w(facts, state, rows))).any())
