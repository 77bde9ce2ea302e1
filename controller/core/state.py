"""All that the core remembers between two cycles: the fleet (core/fleet_state), its feeders, small values for the site.

`step` works on a copy, so a state handed out is never changed behind its holder's back.
"""

from __future__ import annotations

import math
from copy import copy as shallow
from dataclasses import dataclass, field, fields
from operator import attrgetter

import numpy as np

from controller.core.class_state import ClassState, WaveState
from controller.core.fleet_state import FleetState
from controller.core.frequency import Low
from controller.core.shadow_state import ShadowState
from controller.core.trend import Track
from controller.domain.dispatch import Dispatch
from controller.domain.fleet import BoolArray, ByteArray, Fleet, FloatArray, GroupVerdict, IntArray
from controller.domain.metering import Point, Sample
from controller.domain.plan import InputState, OperatorOrder, OrderProgress
from controller.domain.reasons import Bound


@dataclass(slots=True)
class GroupState:
    """One entry per feeder, all arrays (f,); see core/groups. Times are loop seconds, -inf for "never".

    sample_at, load_w, last_w: the newest sample, what it shows (NaN not believable), the newest believable. moved_at:
    when that last changed. rest_w: what it showed beyond its miners when it last agreed, NaN never. streak: samples in
    a row that found the same, streak_finding, since streak_since. proved_at: the last proof. excess_w: drawn by nobody
    who could be named.
    """

    verdict: ByteArray
    sample_at: FloatArray
    load_w: FloatArray
    last_w: FloatArray
    moved_at: FloatArray
    rest_w: FloatArray
    streak: IntArray
    streak_finding: ByteArray
    streak_since: FloatArray
    proved_at: FloatArray
    excess_w: FloatArray

    def copy(self) -> GroupState:
        return GroupState(*map(np.ndarray.copy, _FEEDERS(self)))

    @classmethod
    def unproven(cls, feeders: int) -> GroupState:
        never, unknown = np.full(feeders, -math.inf), np.full(feeders, math.nan)
        return cls(
            verdict=np.full(feeders, GroupVerdict.UNPROVEN, dtype=np.int8),
            sample_at=never.copy(),
            load_w=unknown.copy(),
            last_w=unknown.copy(),
            moved_at=never.copy(),
            rest_w=unknown.copy(),
            streak=np.zeros(feeders, dtype=np.int64),
            streak_finding=np.zeros(feeders, dtype=np.int8),
            streak_since=never.copy(),
            proved_at=never.copy(),
            excess_w=np.zeros(feeders),
        )


@dataclass(slots=True)
class MassState:
    """A mass disconnect; see core/mass. Times are loop seconds.

    since: None while none stands. crowd_from, crowd_at: when the first and the last of the newest crowd were missed;
    who goes a window later goes for itself. said: its event is out; said_dark: and that some of them are dark. most: so
    many were away at once. idled: came back hashing and were put to sleep. offset_w: what the site meter showed beyond
    the miners before they went, State.revised_w added; offsets: the same of late, (at, W).
    dark_since: since when a place (each feeder, then all without a meter) shows that its lost draw nothing, inf never.
    dropped_at: since when the site's meter has shown so much less, which is before they were missed, inf never.
    few_since: since when enough are back. answered_at, asked_at: the last return; when others were last asked for.
    """

    since: float | None = None
    crowd_from: float = -math.inf
    crowd_at: float = -math.inf
    said: bool = False
    said_dark: bool = False
    most: int = 0
    idled: int = 0
    offset_w: float | None = None
    offsets: tuple[tuple[float, float], ...] = ()
    dark_since: tuple[float, ...] = ()
    dropped_at: float = math.inf
    few_since: float | None = None
    answered_at: float = -math.inf
    asked_at: float = -math.inf


@dataclass(slots=True)
class WorkState:
    """A loss of work; see core/work. since: None while none stands. most: so many had none. asked_at: when the others
    were last asked for before their turn. Loop seconds. rests_w: what each feeder showed beside its miners when nobody
    idled yet, None unknown: what its meter lost since was no load that somebody switched off."""

    since: float | None = None
    most: int = 0
    asked_at: float = -math.inf
    rests_w: tuple[float | None, ...] = ()


@dataclass(frozen=True, slots=True)
class ActiveOrder:
    """An accepted dispatch; `answered_w` is what we hold ourselves to, `reached` whether its REACHED has been said.

    ends_at, starts_at: loop seconds, counted from its acceptance: a wall clock set back or forward moves neither.
    starts_at is -inf for one that began as it was accepted.
    """

    dispatch: Dispatch
    answered_w: int | None
    reached: bool
    ends_at: float
    starts_at: float = -math.inf


@dataclass(frozen=True, slots=True)
class OrderBook:
    """Dispatches in force, those whose time is still to come, the last sequence of each issuer, and the ids already
    answered (oldest first).

    lease_order_at, lease_heard_at: when an order was last accepted, and a heartbeat last heard; -inf never.
    """

    active: tuple[ActiveOrder, ...] = ()
    last_seq: dict[str, int] = field(default_factory=dict)
    seen_ids: tuple[str, ...] = ()
    lease_held: bool = False
    lease_order_at: float = -math.inf
    lease_heard_at: float = -math.inf
    scheduled: tuple[ActiveOrder, ...] = ()


@dataclass(frozen=True, slots=True)
class InputMemory:
    """What the fail-safe remembers of one input: state, last trusted moment, and since when it is good again."""

    state: InputState
    trusted_at: float
    good_since: float | None


@dataclass(frozen=True, slots=True)
class StillMemory:
    """Since when a point shows the very same value, what the other meter showed then, and what the miners may have
    drawn, at least and at most, State.corrected_w taken off: to catch a frozen one."""

    value: float
    since: float
    others_w: float
    least_w: float = 0.0
    most_w: float = math.inf


@dataclass(slots=True)
class State:
    """The whole of the core's memory. Loop seconds throughout; core/checkpoint turns them into ages.

    offset_w is from the site-meter sample of offset_at, and the meter counts as there until offset_until. revised_w:
    what it gave way to beliefs of miners that changed; with it added it moves with the load alone. corrected_w: what
    those changes were in all, with the meter gone as well. early_w: of the offset, what is probably drawn by boots that
    are ahead of their class, and no more once they are through. late_w: so much less it shows because boots are behind
    their class, probably: what they will bring all the same; behind_w: the most that could be.
    wear: when commands wrote to a miner's flash or restarted it, whole UTC seconds, by miner; see core/wear.
    operator_ends: by person, loop seconds at which their cap ends, counted from when it was taken.
    wall_ahead_s: the wall clock less loop time at the last cycle, None before the first; held_until: nothing is raised
    before it, for the wall clock was stepped; see core/clock. heart_beats: the DCS's heart was seen to beat since the
    start. contacts: the plant's, as they were last read. shed_by: what sheds the site now, None while nothing does;
    shed_since: since when that, or what did so last, does; shed_said_at: when to say what it left, inf when that is
    said or nothing sheds. low_frequency: readings of the frequency below its guard, None once it is clearly above; see
    core/frequency. trims_told: so many miners were said to be held because trims to them do not arrive; 0 while there
    is nothing to say. limit_load_w, limit_over_since: (k,) what each limit will carry soon, and since when that has
    been too much, inf while it is not; see core/limits.
    asked_w: of a target, what its set-point and what was ordered ahead of it came to in the last cycle; see core/ramp.
    target_moves: the last three powers of a target and when each was first seen; see core/regulation. drawn_history:
    what the load was believed to draw in the last 15 s; see core/drawn.
    surplus_track: the surplus as its meters have it while they are good; see core/trend.
    led_s: the scheduled orders on whose way the site is, and the seconds by which it is behind the set-point there; see
    core/lookahead.
    """

    fleet: FleetState
    groups: GroupState
    mass: MassState
    classes: ClassState
    waves: WaveState
    started_at: float
    now: float
    limit_load_w: FloatArray
    limit_over_since: FloatArray
    starts_at: FloatArray
    truth_silent: BoolArray
    cycle: int = 0
    next_command_id: int = 1
    setpoint_w: float | None = None
    line_w: float | None = None
    asked_w: float | None = None
    surplus_cap_w: float | None = None
    surplus_track: Track | None = None
    cap_peak_w: float = 0.0
    cap_trough_w: float = math.inf
    offset_w: float | None = None
    offset_at: float = -math.inf
    offset_until: float = -math.inf
    revised_w: float = 0.0
    corrected_w: float = 0.0
    early_w: float = 0.0
    late_w: float = 0.0
    behind_w: float = 0.0
    inputs: dict[str, InputMemory] = field(default_factory=dict)
    still: dict[Point, StillMemory] = field(default_factory=dict)
    heartbeat: tuple[float, float] | None = None
    heart_beats: bool = False
    doubtful: bool = False
    blind_from_w: float = math.inf
    unbalanced_since: float | None = None
    fallback_since: float | None = None
    power_history: tuple[tuple[float, float], ...] = ()
    drawn_history: tuple[tuple[float, float], ...] = ()
    target_moves: tuple[tuple[float, float], ...] = ()
    metered: tuple[tuple[float, float], ...] = ()
    falls_freely: bool = False
    rise_judged_from: float = -math.inf
    fall_judged_from: float = -math.inf
    rise_said_at: float = -math.inf
    fall_said_at: float = -math.inf
    rises_exceeded: int = 0
    falls_exceeded: int = 0
    rise_share: float = 1.0
    slow_until: float = -math.inf
    truth_at: float = -math.inf
    truth_load_w: float = 0.0
    orders: OrderBook = field(default_factory=OrderBook)
    operator_caps: tuple[OperatorOrder, ...] = ()
    operator_ends: dict[str, float] = field(default_factory=dict)
    wall_ahead_s: float | None = None
    held_until: float = -math.inf
    contacts: dict[Point, Sample] = field(default_factory=dict)
    shed_by: Bound | None = None
    shed_since: float = -math.inf
    shed_said_at: float = math.inf
    low_frequency: Low | None = None
    trims_told: int = 0
    led_s: dict[str, float] = field(default_factory=dict)
    progress: OrderProgress | None = None
    progress_from_w: float = 0.0
    progress_to_w: float = 0.0
    progress_since: float = 0.0
    priors: dict[int, str] = field(default_factory=dict)
    wear: dict[int, tuple[int, ...]] = field(default_factory=dict)
    shadow: ShadowState | None = None
    work: WorkState = field(default_factory=WorkState)

    @classmethod
    def fresh(cls, fleet: Fleet, now: float) -> State:
        groups = GroupState.unproven(len(fleet.feeder_names))
        limits = len(fleet.limits.names)
        return cls(
            fleet=FleetState.unseen(fleet),
            groups=groups,
            mass=MassState(),
            classes=ClassState.untaught(fleet),
            waves=WaveState.untried(fleet),
            started_at=now,
            now=now,
            limit_load_w=np.zeros(limits),
            limit_over_since=np.full(limits, math.inf),
            starts_at=np.empty((len(fleet), 0)),
            truth_silent=np.zeros(len(fleet), dtype=np.bool_),
        )

    def copy(self) -> State:
        """A state that shares nothing mutable with this one."""
        other = State(*_EVERYTHING(self))
        other.fleet, other.groups = self.fleet.copy(), self.groups.copy()
        other.classes, other.waves = self.classes.copy(), self.waves.copy()
        other.mass, other.work = shallow(self.mass), shallow(self.work)
        other.inputs, other.still, other.contacts = dict(self.inputs), dict(self.still), dict(self.contacts)
        other.operator_ends, other.priors, other.wear = dict(self.operator_ends), dict(self.priors), dict(self.wear)
        other.shadow = None if self.shadow is None else self.shadow.copy()
        return other


# Every cycle copies them all.
_FEEDERS = attrgetter(*(entry.name for entry in fields(GroupState)))
_EVERYTHING = attrgetter(*(entry.name for entry in fields(State)))
