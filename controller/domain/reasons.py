"""Closed vocabularies: what bounds the setpoint, and why a miner is where it is."""

from __future__ import annotations

from enum import StrEnum


class Bound(StrEnum):
    """Every source that can bound or set the site's power; the order here is the order of arbitration."""

    TRIP = "trip"
    GRID_EMERGENCY = "grid_emergency"
    EMERGENCY_DISPATCH = "emergency_dispatch"
    OPERATOR = "operator"
    DISPATCH_CAP = "dispatch_cap"
    SITE_RATING = "site_rating"
    FALLBACK = "fallback"
    DISPATCH_TARGET = "dispatch_target"
    SURPLUS = "surplus"
    RAMP_UP = "ramp_up"
    RAMP_DOWN = "ramp_down"
    HOLD = "hold"


class Why(StrEnum):
    """Why a miner is where it is: the closed vocabulary of plan, preview and `curtaild explain`.

    The journal writes a member as its place in this list: new ones come last.
    """

    BASE = "base"  # hashing at its cap level, by merit
    TRIMMED = "trimmed"  # hashing below its cap level to fit the setpoint
    WAKING = "waking"
    SURPLUS_SHORT = "surplus_short"  # asleep, by merit
    DWELL_ON = "dwell_on"  # would sleep, has not hashed long enough
    DWELL_OFF = "dwell_off"  # would wake, has not slept long enough
    FEEDER_LIMIT = "feeder_limit"  # would wake or rise; its feeder, or a limit above or across it, is full
    QUARANTINED = "quarantined"
    UNREACHABLE = "unreachable"
    FOREIGN_SLEEPER = "foreign_sleeper"
    UNSEEN = "unseen"  # no telemetry yet
    OBSERVED = "observed"  # not ours to move: observe mode
    CONTRADICTS = "contradicts"  # another machine answers there than the inventory has
    BUDGET_USED = "budget_used"  # would move, and its starts, or its writes and restarts, of the day are used up
    TRIMS_LOST = "trims_lost"  # hashing at the level it has: trims to it do not arrive
    WAVE = "wave"  # would wake, and waits until those that are starting are up, or until waking goes on


class Unallocated(StrEnum):
    """Why part of the setpoint could not be placed."""

    NONE = "none"
    NO_MINERS_LEFT = "no_miners_left"
    DWELL = "dwell"
    FEEDER_LIMIT = "feeder_limit"
    BOOTING = "booting"
    WAVE = "wave"
    BUDGET_USED = "budget_used"
    STEP_SIZE = "step_size"
    AHEAD = "ahead"
    FLOOR = "floor"
