"""What goes into one cycle and what comes out of it: Snapshot and Decision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np

from controller.domain.command import Command, CommandReport
from controller.domain.dispatch import Answer, Received
from controller.domain.fleet import BoolArray, FloatArray, IntArray, MinerReading
from controller.domain.metering import Readings, Sample
from controller.domain.reasons import Bound, Unallocated, Why
from controller.domain.shadow import ShadowReport


class OperatorVerb(StrEnum):
    """What a person may order over the local socket. Nothing here raises the load above a cap."""

    CAP = "cap"
    RELEASE = "release"
    ADOPT = "adopt"
    RESTORE = "restore"
    UNQUARANTINE = "unquarantine"


@dataclass(frozen=True, slots=True)
class OperatorOrder:
    """One order of a person on the machine. A CAP by a person expires; without expiry it stands until the process ends.

    miners: indices, for the verbs about miners. RESTORE lets them go: given back as their owner had them, they are not
    ours to move until ADOPT takes them (again), as they are then.
    """

    verb: OperatorVerb
    operator: str
    power_w: int | None = None
    expires_at: float | None = None
    miners: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that came in since the last cycle, frozen. `wall` is UTC seconds, for windows and the journal.

    feeders: newest load of each feeder that has a meter, by the feeder's index.
    """

    wall: float
    readings: Readings
    telemetry: tuple[MinerReading, ...] = ()
    reports: tuple[CommandReport, ...] = ()
    received: tuple[Received, ...] = ()
    operator: tuple[OperatorOrder, ...] = ()
    dispatcher_heartbeat_at: float | None = None
    journal_writable: bool = True
    feeders: Mapping[int, Sample] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Setpoint:
    """What the site should draw now: site-meter watts, what bound it, by which order, and until when (UTC)."""

    power_w: float
    bound: Bound
    source: str
    expires_at: float | None
    shed: bool


class InputState(StrEnum):
    """How much one required input is trusted; worst last."""

    GOOD = "good"
    HOLD = "hold"
    FROZEN_UP = "frozen_up"
    FALLBACK = "fallback"


@dataclass(frozen=True, slots=True)
class InputHealth:
    """One required input as the fail-safe sees it, with the condition that put it there.

    age_s: of the newest sample, believed or not; None while there never was one.
    """

    name: str
    state: InputState
    condition: str
    age_s: float | None


class EventLevel(StrEnum):
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Event:
    """Something a person wants to read about: logged, journalled and published, always with the same name."""

    name: str
    level: EventLevel
    text: str
    miner: str | None = None


@dataclass(frozen=True, slots=True)
class Allocation:
    """Setpoint x fleet. n miners.

    hashing: (n,) who should hash. level: (n,) rung for those who should. why: (n,) reason codes (index into list(Why)).
    allocated_w + unallocated_w == the setpoint it was made for, always. held_by: index of the full limit, by miner, of
    those that one keeps from waking or rising.
    """

    hashing: BoolArray
    level: IntArray
    why: IntArray
    allocated_w: float
    unallocated_w: float
    unallocated_reason: Unallocated
    held_by: Mapping[int, int] = field(default_factory=dict)

    def why_of(self, miner: int) -> Why:
        return WHYS[int(self.why[miner])]


WHYS: tuple[Why, ...] = tuple(Why)


@dataclass(frozen=True, slots=True)
class Figures:
    """The powers of one cycle, watts at the site meter; None where unknown. What /metrics and `status` show.

    cap_w: the tightest upper bound, whatever wish is followed below it. target_w: the setpoint, ramps included.
    expected_error_w: how far expected_w may be off because some miners tell no watts and are estimated; 0 when all do.
    """

    surplus_w: float | None
    cap_w: float | None
    target_w: float | None
    expected_w: float | None
    measured_w: float | None
    residual_w: float | None
    available_up_w: float | None
    available_down_w: float | None
    floor_w: float
    expected_error_w: float | None


@dataclass(frozen=True, slots=True)
class OrderProgress:
    """Seconds from the last order (or move of the setpoint) to 50, 90 and 100 % of the way; None until then."""

    label: str
    to_50_s: float | None
    to_90_s: float | None
    to_100_s: float | None


@dataclass(frozen=True, slots=True)
class VerdictReport:
    """A command's final judgement: class is the response class, verdict its name, after_s since it was sent."""

    command_id: int
    miner: int
    verb: str
    verdict: str
    after_s: float


@dataclass(frozen=True, slots=True)
class FeederReport:
    """One feeder with a meter, watts: what it shows, and what its miners are believed to draw.

    feeder: its index. load_w: None when the meter shows nothing believable. rest_w: what it showed beyond its miners
    when it last agreed with them, None before. excess_w: drawn since then by nobody who could be named. verdict:
    unproven, proved or contradicted. proved_age_s: None before the first proof. unproved: miners that tell no watts,
    say that they sleep, and are not proved to.
    """

    feeder: int
    load_w: float | None
    believed_w: float
    rest_w: float | None
    excess_w: float
    verdict: str
    proved_age_s: float | None
    unproved: int


@dataclass(frozen=True, slots=True)
class ClassReport:
    """What is expected of one response class, sleep, wake and trim in this order: as learned where `learned` says so.

    commands: obeyed ones behind that, older ones fade. boots: wakes judged, likewise; boot_success: the share of them
    that was proved hashing in time. sleep_power_w: what sleepers say that they draw. true_ratio: what the site meter
    shows of them over what they say. None where nobody can say.
    """

    name: str
    dead_s: tuple[float, float, float]
    to_90_s: tuple[float, float, float]
    learned: tuple[bool, bool, bool]
    commands: tuple[float, float, float]
    boots: float
    boot_success: float | None
    sleep_power_w: float | None
    true_ratio: float | None = None


@dataclass(frozen=True, slots=True)
class WaveReport:
    """How many miners of one class may be starting at once on one feeder (its index), and how many are.

    stopped_for_s: none is woken for so long, because too few of the last came up; None when it goes on.
    """

    class_name: str
    feeder: int
    size: int
    starting: int
    stopped_for_s: float | None


@dataclass(frozen=True, slots=True)
class Decision:
    """Everything one cycle decided: journalled, measured, logged and compared in golden tests as it stands.

    limit_power_w: (k,) watts below each limit of the fleet.
    priors: (miner, firmware's own word) first observed this cycle; journalled before anything is sent to that miner.
    expected_power_w: (n,) watts. feeders: those that have a meter. unreachable_at_once: miners that are away in a mass
    disconnect, 0 when none stands. without_work: miners whose pools do not answer, as far as is
    known, 0 when none are lost. shed_left_w: what a shed has not taken off the miners, 0 while nothing sheds.
    ramps_exceeded: rises and falls that the site meter showed beyond the ramps, since the start; rise_share: of the
    ramps that rises may use now. ask:
    miners to be read before their turn. classes, waves: all classes, and the waves that were begun. scheduled_orders:
    accepted ones whose time is still to come, with that time (UTC seconds).
    """

    cycle: int
    now: float
    wall: float
    setpoint: Setpoint
    allocation: Allocation
    figures: Figures
    inputs: tuple[InputHealth, ...]
    fail_safe: InputState
    commands: tuple[Command, ...]
    answers: tuple[Answer, ...]
    verdicts: tuple[VerdictReport, ...]
    events: tuple[Event, ...]
    priors: tuple[tuple[int, str], ...]
    counts: dict[str, int]
    active_orders: tuple[str, ...]
    progress: OrderProgress | None
    expected_power_w: FloatArray = field(compare=False)
    limit_power_w: FloatArray = field(default_factory=lambda: np.zeros(0), compare=False)
    feeders: tuple[FeederReport, ...] = ()
    shadow: ShadowReport | None = None
    unreachable_at_once: int = 0
    ask: tuple[int, ...] = ()
    classes: tuple[ClassReport, ...] = ()
    waves: tuple[WaveReport, ...] = ()
    without_work: int = 0
    shed_left_w: float = 0.0
    ramps_exceeded: tuple[int, int] = (0, 0)
    rise_share: float = 1.0
    scheduled_orders: tuple[tuple[str, float], ...] = ()
