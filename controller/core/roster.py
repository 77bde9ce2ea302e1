"""One cycle's roster of the fleet: who may be moved, what each will draw soon, and the hands that move the wants."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np

from controller.core import arrivals, estimator, mass, work
from controller.core.fleet_state import NO_COMMAND
from controller.core.starts import DAY_S
from controller.core.state import State
from controller.core.telemetry import UP_RATIO
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, Verdict
from controller.domain.policy import FleetPolicy


@dataclass(frozen=True, slots=True)
class Rise:
    """A rise that is ordered for later, watts: in `in_s` seconds from `from_w` or less to `power_w`.

    waits: what binds now binds until then, and the site rises from then on; else it is there by then, on a line.
    """

    in_s: float
    power_w: float
    from_w: float
    up_w_per_s: float
    waits: bool

    def lead_w(self, after_s: float) -> float:
        """Where the setpoint may be because of it, `after_s` seconds from now."""
        if self.waits and after_s < self.in_s:
            return 0.0
        return min(self.power_w, self.from_w + self.up_w_per_s * (after_s - self.in_s if self.waits else after_s))


@dataclass(frozen=True, slots=True)
class Fall:
    """A fall that is ordered for later, watts: a line that is at `line_w` now and ends at `power_w`."""

    line_w: float
    power_w: float
    down_w_per_s: float

    def lead_w(self, after_s: float) -> float:
        """Where the setpoint may be at most because of it, `after_s` seconds from now."""
        return max(self.line_w - self.down_w_per_s * after_s, self.power_w)


@dataclass(frozen=True, slots=True)
class Goal:
    """What the allocator is asked for, watts at the site meter.

    power_w: the ramped setpoint. wanted_w: where the ramp ends that holds it back, above it or below it.
    up_w_per_s: how fast the setpoint may rise. shed: sleep rather than trim, at once. waived: a limit is to be
    kept, so dwell decides only who goes first. empty: there is no surplus above what nothing can take off.
    may_raise: False in doubt, when nothing is woken or trimmed up. exact: the goal is an order or a fixed limit,
    not the measured surplus with its noise. fall, rise: what is ordered for later. ahead_w: so far beyond power_w
    trim is ordered already, for it needs seconds to arrive. blind: an input has been in doubt for so long that the
    load may only fall. limit_w: what the load may not pass, however far below it a wish is that waits for dwell.
    """

    power_w: float
    wanted_w: float
    up_w_per_s: float
    shed: bool
    waived: bool
    may_raise: bool = True
    exact: bool = False
    fall: Fall | None = None
    rise: Rise | None = None
    ahead_w: float = 0.0
    blind: bool = False
    limit_w: float = math.inf
    empty: bool = False

    def lead_w(self, boot_s: float) -> float:
        """Where the setpoint may be when a unit woken now has booted, `boot_s` seconds from now."""
        lead_w = min(self.wanted_w, self.power_w + self.up_w_per_s * boot_s)
        if self.rise is not None:
            lead_w = max(lead_w, self.rise.lead_w(boot_s))
        return lead_w if self.fall is None else min(lead_w, self.fall.lead_w(boot_s))


@dataclass(slots=True)
class Roster:
    """The cycle's working view, all arrays (n,): who may be moved, what each will draw soon, the merit order.

    steady: on and through with booting. switchable: may be put to sleep and woken without overdrawing its budget of
    writes and restarts. started: how often in the last 24 hours; startable: and once more, see core/starts.
    held_by_limit: the full limit that keeps it from waking or rising, -1 none. held_untrimmed: at its level, for trims
    to it do not arrive.
    """

    facts: Fleet
    state: State
    policy: FleetPolicy
    now: float
    movable: BoolArray
    on: BoolArray
    steady: BoolArray
    trimmable: BoolArray
    switchable: BoolArray
    started: IntArray
    startable: BoolArray
    soon_w: FloatArray
    floor_w: FloatArray
    ceiling_w: FloatArray
    best_first: IntArray
    held_by_dwell: BoolArray
    held_by_limit: IntArray
    held_by_budget: BoolArray
    held_untrimmed: BoolArray
    held_by_wave: BoolArray

    @property
    def offset_w(self) -> float:
        return self.state.offset_w or 0.0

    def predicted_w(self) -> float:
        return self.offset_w + float(self.soon_w.sum())


def roster_of(facts: Fleet, state: State, policy: FleetPolicy, now: float) -> Roster:
    fleet = state.fleet
    hashing, asleep = fleet.condition == Condition.HASHING, fleet.condition == Condition.ASLEEP
    heard = now - fleet.read_at <= policy.telemetry_stale_s
    trusted = (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN)
    foreign = asleep & ~fleet.ours_asleep & ~fleet.want_hashing
    movable = (hashing | asleep) & heard & trusted & ~foreign & ~fleet.parked
    on = movable & fleet.want_hashing & (fleet.verdict != Verdict.STUCK)
    steady = on & (fleet.verb != estimator.WAKE) & hashing
    started = np.count_nonzero(state.starts_at > now - DAY_S, axis=1)
    rows = np.arange(len(facts))
    trims_lost, workless = arrivals.held(fleet, now), work.lost(fleet)
    highest = np.where(on & trims_lost, np.minimum(fleet.want_level, fleet.ceiling), fleet.ceiling)
    soon_w = estimator.expected_soon_w(fleet, now, estimator.trim_horizon_s(facts))
    rung_w = facts.level_power_w[rows, fleet.want_level] * fleet.ratio
    restarts = estimator.still_climbs(facts, fleet, now) & (fleet.back_at > fleet.changed_at)
    restarts &= fleet.reported_w < UP_RATIO * rung_w
    ceiling_w = facts.level_power_w[rows, highest] * fleet.ratio
    return Roster(
        facts=facts,
        state=state,
        policy=policy,
        now=now,
        movable=movable,
        on=on,
        steady=steady,
        trimmable=steady & facts.trims & (now >= fleet.trim_again_at) & ~trims_lost & ~workless & ~restarts,
        switchable=now >= fleet.switch_again_at,
        started=started,
        startable=started < policy.starts_per_day,
        soon_w=soon_w,
        floor_w=facts.level_power_w[:, 0] * fleet.ratio,
        ceiling_w=np.where(on & workless, soon_w, ceiling_w),  # no work, no more watts
        best_first=facts.best_first,
        held_by_dwell=np.zeros(len(facts), dtype=np.bool_),
        held_by_limit=np.full(len(facts), -1, dtype=np.int64),
        held_by_budget=np.zeros(len(facts), dtype=np.bool_),
        held_untrimmed=trims_lost,
        held_by_wave=np.zeros(len(facts), dtype=np.bool_),
    )


def sleeping_ours(roster: Roster) -> BoolArray:
    """Asleep, allowed to be woken, and nothing on its way."""
    fleet = roster.state.fleet
    asleep = roster.movable & ~fleet.want_hashing & (fleet.condition == Condition.ASLEEP)
    ours: BoolArray = asleep & (fleet.verb == NO_COMMAND) & fleet.ours_asleep
    return ours


def wakeable(roster: Roster) -> BoolArray:
    """Who may be woken now: has slept long enough, and no attempt has failed to reach it a moment ago."""
    ready = slept_long(roster) & (roster.now >= roster.state.fleet.retry_at) & roster.switchable
    return work.wakeable(roster.facts, roster.state, sleeping_ours(roster) & ready & roster.startable)


def hashed_long(roster: Roster) -> BoolArray:
    """(n,) who has hashed for its dwell, the boot not counted."""
    boot_s = roster.facts.wake_dead_s + roster.facts.wake_90_s
    rested: BoolArray = roster.now - roster.state.fleet.changed_at >= roster.policy.dwell_on_s + boot_s
    return rested


def slept_long(roster: Roster) -> BoolArray:
    """(n,) who has slept for its dwell."""
    rested: BoolArray = roster.now - roster.state.fleet.changed_at >= roster.policy.dwell_off_s
    return rested


def fewest_first(roster: Roster, miners: IntArray) -> IntArray:
    """`miners`, (k,) in an order of merit; those who are alike in it to the whole J/TH by their starts of the day."""
    started = roster.started[miners]
    if not bool(started.any()):
        return miners
    merit = np.rint(roster.facts.joule_per_th[miners])
    alike = np.concatenate(([0], np.cumsum(merit[1:] != merit[:-1])))
    return miners[np.lexsort((started, alike))]


def beside_w(facts: Fleet, state: State) -> FloatArray:
    """What the feeders' meters show there beside the miners, below each limit, (k + 1,)."""
    groups = state.groups
    rest_w = np.where(np.isnan(groups.rest_w), 0.0, groups.rest_w)
    return facts.limits.feeders_w(np.maximum(rest_w + groups.excess_w, 0.0))


def limit_room_w(roster: Roster, untrimmed: bool = False) -> FloatArray:
    """Watts left below each limit's rating once everything in flight has arrived, (k + 1,), the last endless.

    untrimmed: and those that are on are back at their ceilings. Nobody is woken into the room that they will need.
    """
    fleet = roster.state.fleet
    settled = np.maximum(roster.soon_w, np.where(fleet.unheard, fleet.from_w, fleet.to_w))
    rung_w = estimator.planned_power_w(roster.facts, fleet, fleet.want_hashing, fleet.want_level)
    climbs = estimator.still_climbs(roster.facts, fleet, roster.now) | estimator.read_half_way(roster.facts, fleet)
    settled = np.where(climbs, np.maximum(settled, rung_w), settled)
    # Who has not been read since the start may draw all it can: silence is not zero, nor what another machine says.
    silent = ~np.isfinite(fleet.read_at) | (fleet.condition == Condition.CONTRADICTS) | mass.dark(fleet)
    settled = np.where(silent | (roster.on & untrimmed), np.maximum(settled, roster.ceiling_w), settled)
    limits = roster.facts.limits
    return limits.rating_w - beside_w(roster.facts, roster.state) - limits.miners_w(settled)


def tightest(roster: Roster, room_w: FloatArray, miner: int) -> tuple[int, float]:
    """Of the limits on a miner's ways to the roots the one with the least room, and that room, watts."""
    ways = roster.facts.limits.of_miner[miner]
    rooms = room_w[ways]
    place = int(rooms.argmin())
    return int(ways[place]), float(rooms[place])


def boot_levels(roster: Roster, rows: int | slice = estimator.EVERYBODY) -> IntArray:
    """Rung at which each miner would come up, (n,): the one it shows asleep, the ceiling when it shows none.

    It may be above the ceiling, where a firmware forgets with every restart what its owner had set. rows: of this miner
    only.
    """
    fleet = roster.state.fleet
    return np.where(fleet.level[rows] >= 0, fleet.level[rows], fleet.ceiling[rows])


def rung_below(roster: Roster, miner: int, power_w: float) -> int:
    """The rung nearest below `power_w`, within the miner's ladder and ceiling."""
    fleet = roster.state.fleet
    ladder = roster.facts.level_power_w[miner, : int(fleet.ceiling[miner]) + 1] * fleet.ratio[miner]
    return max(bisect_right(ladder.tolist(), power_w) - 1, 0)


def want_asleep(roster: Roster, miners: IntArray) -> None:
    fleet = roster.state.fleet
    fleet.want_hashing[miners] = False
    roster.on[miners] = False
    roster.steady[miners] = False
    roster.trimmable[miners] = False
    roster.soon_w[miners] = roster.facts.sleep_power_w[miners]


def want_awake(roster: Roster, miner: int) -> None:
    """A miner boots at the rung it slept at: that is what to expect of it; trim takes it from there."""
    fleet = roster.state.fleet
    fleet.want_hashing[miner] = True
    fleet.want_level[miner] = boot_levels(roster, miner)
    roster.on[miner] = True


def want_rung(roster: Roster, miner: int, level: int) -> None:
    fleet = roster.state.fleet
    fleet.want_level[miner] = level
    roster.soon_w[miner] = roster.facts.level_power_w[miner, level] * fleet.ratio[miner]
