"""What one run of the rig is made of: all of it values, so that a seed and a version say everything about a run."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from controller.domain.dispatch import Received
from controller.domain.fleet import Fleet
from controller.domain.plan import OperatorOrder
from controller.domain.policy import Policy
from simulators.asic.spec import FleetSpec
from simulators.plant import PlantSpec, SurplusSource

WALL_AT_START = 1_800_000_000.0  # UTC seconds at loop second 0
TICK_S = 0.1


class InputFaultKind(StrEnum):
    """What goes wrong with one feed of measurements."""

    STALE = "stale"  # no new samples
    BAD = "bad"  # samples without a value: NaN, a sentinel, a device that says "not available"
    STUCK = "stuck"  # fresh stamps, the same value for ever
    SIGN_FLIP = "sign_flip"
    HEARTBEAT_STOPPED = "heartbeat_stopped"  # plant only: every value keeps moving but the counter
    TENFOLD = "tenfold"  # a CT ratio off by ten
    DELAYED = "delayed"  # fresh stamps, values of five seconds ago
    DROPS = "drops"  # every other read is lost, and now and then a few in a row


@dataclass(frozen=True, slots=True)
class InputFault:
    """One fault of one feed ("poi", "site", "plant" or a feeder) from `begin_s` until `end_s`."""

    feed: str
    kind: InputFaultKind
    begin_s: float
    end_s: float

    def active(self, t_s: float) -> bool:
        return self.begin_s <= t_s < self.end_s


@dataclass(frozen=True, slots=True)
class Outage:
    """A miner nobody can reach from `begin_s` until `end_s`; it goes on as it was."""

    miner: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class FeederTrip:
    """A feeder without power from `begin_s` until `end_s`; then its miners start by themselves."""

    feeder: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class PlantEvent:
    """At `at_s`: lose `lost_w` of generation for `held_s` seconds, or show the emergency flag for that long."""

    at_s: float
    lost_w: float
    held_s: float
    emergency: bool


@dataclass(frozen=True, slots=True)
class Sag:
    """A voltage sag from `begin_s` until `end_s`, ratios of what was before: line voltage, and what the miners draw.

    shown_hz: what the POI meter takes for the frequency meanwhile, None for the true one.
    """

    begin_s: float
    end_s: float
    voltage_ratio: float
    load_ratio: float = 1.0
    shown_hz: float | None = None


@dataclass(frozen=True, slots=True)
class UnitTrip:
    """A generating unit whose breaker opens at `begin_s` and closes at `end_s` (inf: it stays away)."""

    unit: int
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class WorkLoss:
    """Miners whose pools do not answer from `begin_s` until `end_s`: they idle by themselves."""

    miners: tuple[int, ...]
    begin_s: float
    end_s: float


@dataclass(frozen=True, slots=True)
class Crash:
    """The daemon dies at `at_s` and is back `down_s` later, from its journal."""

    at_s: float
    down_s: float

    @property
    def up_s(self) -> float:
        return self.at_s + self.down_s


@dataclass(frozen=True, slots=True)
class ClockStep:
    """The wall clock, ours and the dispatchers', is set by `by_s` seconds at `at_s`."""

    at_s: float
    by_s: float


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a dispatcher at loop second `at_s`; `obeyed` is what the contract says must come of it."""

    at_s: float
    received: Received
    obeyed: bool


@dataclass(frozen=True, slots=True)
class Operation:
    """One order of a person at loop second `at_s`."""

    at_s: float
    order: OperatorOrder


@dataclass(frozen=True, slots=True)
class Setup:
    """One run.

    feeder_of_miner: (n,) index. foreign: miners that were asleep by somebody else's hand.
    meter_period_s: time between two reads of one meter. sweep_s: between two reads of one miner.
    heartbeats_until_s: the dispatcher's heartbeat stops there; None when there is no dispatcher.
    calm_from_s: from here on nothing is disturbed any more and the surplus stands still.
    feeder_meters: feeders that have a meter; feeder_faults: what goes wrong with them ("feeder-0" and so on).
    strangers: spells in which another machine answers at a miner's address; the miner goes on as it was.
    writes_per_day: budget of flash writes and restarts of each miner.
    trips: feeders that lose their power.
    tick_s: how far physics goes at a time; commands and answers come to pass at its end.
    recount: whether every plan is added up anew, one miner at a time; a third of a long run's time.
    silences: spells (begin, end) without the dispatcher's heartbeat.
    frequency: corners (second, Hz) of the grid's frequency, joined by lines; empty: nominal.
    meter_step_w: what the power meters' registers count in. refusals: (miner, so many) sleeps it says no to at first.
    """

    name: str
    seed: int
    duration_s: float
    facts: Fleet
    policy: Policy
    fleet: FleetSpec
    feeder_of_miner: tuple[int, ...]
    plant: PlantSpec
    surplus: SurplusSource
    meter_period_s: float
    meter_noise: float
    sweep_s: float
    answers_lost: float
    input_faults: tuple[InputFault, ...]
    outages: tuple[Outage, ...]
    reboots: tuple[tuple[float, int], ...]
    plant_events: tuple[PlantEvent, ...]
    messages: tuple[Message, ...]
    operations: tuple[Operation, ...]
    heartbeats_until_s: float | None
    calm_from_s: float
    feeder_meters: tuple[int, ...] = ()
    feeder_faults: tuple[InputFault, ...] = ()
    strangers: tuple[Outage, ...] = ()
    writes_per_day: int = 10**6
    trips: tuple[FeederTrip, ...] = ()
    tick_s: float = TICK_S
    recount: bool = True
    silences: tuple[tuple[float, float], ...] = ()
    frequency: tuple[tuple[float, float], ...] = ()
    sags: tuple[Sag, ...] = ()
    unit_trips: tuple[UnitTrip, ...] = ()
    work_losses: tuple[WorkLoss, ...] = ()
    crashes: tuple[Crash, ...] = ()
    clock_steps: tuple[ClockStep, ...] = ()
    meter_step_w: float = 1.0
    refusals: tuple[tuple[int, int], ...] = ()

    def heard_at(self, t_s: float) -> float | None:
        """When the dispatcher was last heard, None without one."""
        if self.heartbeats_until_s is None:
            return None
        heard_s = min(t_s, self.heartbeats_until_s)
        return next((begin_s for begin_s, end_s in self.silences if begin_s <= heard_s < end_s), heard_s)

    def wall_at(self, t_s: float) -> float:
        """What the wall clock shows, UTC seconds."""
        return WALL_AT_START + t_s + self.stepped_s(t_s)

    def stepped_s(self, t_s: float) -> float:
        """By how much the wall clock was set so far."""
        return sum(step.by_s for step in self.clock_steps if step.at_s <= t_s)

    def tripped(self) -> dict[int, FeederTrip]:
        """By miner, the trip of its feeder; at most one a run."""
        return {
            miner: trip
            for trip in self.trips
            for miner, feeder in enumerate(self.feeder_of_miner)
            if feeder == trip.feeder
        }
