"""What a run is made of: fleet, plant, instruments, trace, policy and dispatches, all in one frozen value.

`DEMO` is the default run. Powers that belong to the fleet are fractions of its rated power and times of dispatches are
fractions of the run, so that a run of any length and a fleet of any size keep the same shape.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from simulators.asic.models import MODELS, Family, MinerModel
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.feeder import FeederSpec, SiteSpec
from simulators.modbus_meter import DcsSpec, PanelMeterSpec, Quantity
from simulators.plant import PlantSpec, UnitSpec
from simulators.plant_host import InstrumentSpec
from simulators.trace import (
    DEMO_DAY,
    DEMO_START_SECOND_OF_DAY,
    Interpolation,
    SurplusTrace,
    bundled_trace_path,
    load_trace,
)

Rank: TypeAlias = tuple[Family, int]


@dataclass(frozen=True, slots=True)
class FleetScenario:
    """The fleet and how it stands at the start.

    Attributes:
        models: (key of `simulators.asic.models.MODELS`, number of miners).
        hashing: how many miners hash at the start, the most efficient ones; the others sleep.
        liars, refusers: by family and rank among those of it that hash, 0 = least efficient, the first of them to be
            put to sleep.
        never_wakers: by family and rank among those of it that sleep, 0 = most efficient, the first to be woken.
        seed: for the physics of the miners.
    """

    models: tuple[tuple[str, int], ...]
    hashing: int
    liars: tuple[Rank, ...]
    refusers: tuple[Rank, ...]
    never_wakers: tuple[Rank, ...]
    seed: int

    def __post_init__(self) -> None:
        if not 0 <= self.hashing <= self.size:
            raise ValueError(f"{self.hashing} of {self.size} miners cannot hash")
        self.behaviours()

    @property
    def size(self) -> int:
        """Number of miners."""
        return sum(count for _, count in self.models)

    def miners(self) -> tuple[MinerModel, ...]:
        """Return the model of every miner in merit order: least joules per terahash first, ties as listed.

        Raises:
            KeyError: a model the simulators do not know.
        """
        listed = [MODELS[key] for key, count in self.models for _ in range(count)]
        return tuple(sorted(listed, key=lambda model: model.efficiency_j_per_th))

    def behaviours(self) -> tuple[Behaviour, ...]:
        """Return the behaviour of every miner, in merit order."""
        behaviours = [Behaviour.OBEYS] * self.size
        hash_worst_first, sleep_best_first = range(self.hashing)[::-1], range(self.hashing, self.size)
        for ranks, behaviour, among in (
            (self.liars, Behaviour.LIAR_SLEEP, hash_worst_first),
            (self.refusers, Behaviour.REFUSES, hash_worst_first),
            (self.never_wakers, Behaviour.NEVER_WAKES, sleep_best_first),
        ):
            for family, rank in ranks:
                behaviours[self._at(family, rank, among)] |= behaviour
        return tuple(behaviours)

    def _at(self, family: Family, rank: int, among: Sequence[int]) -> int:
        """The index of the miner with this rank among those of its family."""
        models = self.miners()
        own = [index for index in among if models[index].family is family]
        if not 0 <= rank < len(own):
            raise ValueError(f"no {family} at rank {rank}: there are {len(own)} of them where it was looked for")
        return own[rank]

    def asleep(self) -> tuple[bool, ...]:
        """Return who sleeps at the start, in merit order."""
        return tuple(index >= self.hashing for index in range(self.size))

    def rated_w(self) -> float:
        """Return the sum of the nameplates, W."""
        return float(sum(model.nameplate.power_w for model in self.miners()))

    def spec(self) -> FleetSpec:
        """Return what the miners' physics is built from; index = place in merit order."""
        return FleetSpec(models=self.miners(), seed=self.seed, asleep=self.asleep(), behaviours=self.behaviours())


@dataclass(frozen=True, slots=True)
class TraceScenario:
    """Which signal drives the surplus; base and capacity as fractions of the fleet's rated power.

    `path` None is the bundled file; `day` None is its first day column.
    """

    path: Path | None
    day: str | None
    start_second_of_day: float
    base_fraction: float
    capacity_fraction: float
    interpolation: Interpolation


@dataclass(frozen=True, slots=True)
class PolicyScenario:
    """The numbers the daemon runs under, printed at the start of a run so that nobody has to guess them.

    `sweep_period_s` is the time between two reads of a miner, `wakes_per_cycle` the miners woken in one cycle,
    `starts_per_day` how often each may be woken, `restarts_per_day` what one that wears may write and restart.
    Ramps are fractions of rated power, `step_15s_fraction` is the most within any 15 s, up or down; H of the violation
    rule is built from the periods here and from the miners.
    """

    meter_period_s: float
    cycle_s: float
    surplus_margin_fraction: float
    ramp_up_fraction_per_min: float
    ramp_down_fraction_per_min: float
    step_15s_fraction: float
    min_hashing_s: float
    min_asleep_s: float
    sweep_period_s: float
    wakes_per_cycle: int
    starts_per_day: int
    restarts_per_day: int


@dataclass(frozen=True, slots=True)
class DispatchScenario:
    """One dispatch: when it is sent and how long it holds (fractions of the run), and how much (of rated power)."""

    at_fraction: float
    for_fraction: float
    kind: Literal["cap", "target"]
    power_fraction: float


@dataclass(frozen=True, slots=True)
class Scenario:
    """A whole run. `tick_s` is the step of the plant; `signal_fraction` of rated is a change worth a command."""

    name: str
    fleet: FleetScenario
    plant: PlantSpec
    instruments: InstrumentSpec
    trace: TraceScenario
    policy: PolicyScenario
    dispatches: tuple[DispatchScenario, ...]
    plant_seed: int
    tick_s: float
    signal_fraction: float

    def surplus_trace(self) -> SurplusTrace:
        """Load the signal.

        Raises:
            TraceError: see `simulators.trace.load_trace`.
        """
        rated_w = self.fleet.rated_w()
        path = bundled_trace_path() if self.trace.path is None else self.trace.path
        return SurplusTrace(
            trace=load_trace(path, self.trace.day),
            start_second_of_day=self.trace.start_second_of_day,
            base_w=self.trace.base_fraction * rated_w,
            capacity_w=self.trace.capacity_fraction * rated_w,
            interpolation=self.trace.interpolation,
        )


def panel_meter(quantity: Quantity, installed_sign: int, voltage_ratio: float) -> PanelMeterSpec:
    """Return a panel meter of the usual kind: new values every 200 ms, 0.1 % noise, no gain error, 1 W steps."""
    return PanelMeterSpec(
        quantity=quantity,
        installed_sign=installed_sign,
        voltage_ratio=voltage_ratio,
        refresh_s=0.2,
        noise_fraction=0.001,
        gain_error_fraction=0.0,
        resolution_w=1.0,
    )


# A plant scaled to the demo's fleet: at about 1.5 MW the meter at the point of interconnection spans four times the
# fleet's 390 kW. Ramps: 3 % of a unit per minute; stable minimum: 40 %.
DEMO_PLANT = PlantSpec(
    units=(
        UnitSpec("unit-1", available_w=2.2e6, min_stable_w=0.88e6, ramp_w_per_s=1_100.0, synchronised=True),
        UnitSpec("unit-2", available_w=2.2e6, min_stable_w=0.88e6, ramp_w_per_s=1_100.0, synchronised=False),
    ),
    auxiliary_fixed_w=20_000.0,
    auxiliary_fraction=0.06,
    despatch_base_w=1.1e6,
    despatch_step_w=1_000.0,
    despatch_held_after_trip_s=60.0,
    reserve_up_w=100_000.0,
    frequency_hz=50.0,
    frequency_sigma_hz=0.01,
    poi_line_v=11_000.0,
    voltage_sigma_fraction=0.002,
    wander_time_s=30.0,
    site=SiteSpec(
        feeders=(FeederSpec("feeder-a", 0.015), FeederSpec("feeder-b", 0.015)),
        auxiliary_w=6_000.0,
    ),
)

DEMO_INSTRUMENTS = InstrumentSpec(
    poi=panel_meter(Quantity.POI_EXPORT, installed_sign=-1, voltage_ratio=1.0),
    site=panel_meter(Quantity.SITE_LOAD, installed_sign=1, voltage_ratio=400.0 / 11_000.0),
    dcs=DcsSpec(refresh_s=0.2, heartbeat_s=1.0),
    seed=7,
    feeder=panel_meter(Quantity.FEEDER_LOAD, installed_sign=1, voltage_ratio=400.0 / 11_000.0),
)

DEMO = Scenario(
    name="demo",
    fleet=FleetScenario(
        models=(
            *(("m60s", 14), ("m50s", 20), ("m30spp", 14)),
            *(("s21stock", 16), ("s19xpstock", 16), ("s19pro", 10)),
            *(("s21", 7), ("s19xp", 7), ("s19kpro", 7), ("s19jpro", 9)),
        ),
        hashing=60,
        liars=((Family.WHATSMINER, 0),),
        refusers=((Family.ANTMINER, 0),),
        never_wakers=((Family.WHATSMINER, 0), (Family.WHATSMINER, 2), (Family.LUXOS, 0)),
        seed=2016,
    ),
    plant=DEMO_PLANT,
    instruments=DEMO_INSTRUMENTS,
    trace=TraceScenario(
        path=None,
        day=DEMO_DAY,
        start_second_of_day=DEMO_START_SECOND_OF_DAY,
        base_fraction=0.60,
        capacity_fraction=0.80,
        interpolation="hold",
    ),
    policy=PolicyScenario(
        meter_period_s=0.5,
        cycle_s=1.0,
        surplus_margin_fraction=0.01,
        ramp_up_fraction_per_min=1.0,
        ramp_down_fraction_per_min=1.0,
        step_15s_fraction=0.25,
        min_hashing_s=90.0,
        min_asleep_s=15.0,
        sweep_period_s=5.0,
        wakes_per_cycle=6,
        starts_per_day=500,
        restarts_per_day=500,
    ),
    # The cap lies below what the hashing miners draw with every one of them at its lowest profile: only sleep can keep
    # it, so that the liar is asked to sleep, and with it Antminers, which come back last. The target lies below the
    # surplus of its time.
    dispatches=(
        DispatchScenario(at_fraction=0.25, for_fraction=0.22, kind="cap", power_fraction=0.33),
        DispatchScenario(at_fraction=0.72, for_fraction=0.15, kind="target", power_fraction=0.44),
    ),
    plant_seed=11,
    tick_s=0.05,
    signal_fraction=0.02,
)
