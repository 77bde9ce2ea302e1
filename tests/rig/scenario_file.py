"""A scenario file: what happens on a site and what must come of it, in words. See docs/simulators.md.

Percents are of the fleet's rated power unless the key says otherwise. A key nobody knows is an error.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from controller.domain.dispatch import DispatchClass, DispatchKind
from tests.rig.setup import InputFaultKind

FOLDER = Path(__file__).parents[1] / "scenarios"
STEP_S = 0.2  # how long a step takes


class ScenarioError(ValueError):
    """A scenario file cannot be used. The message names the file, the key and what to do."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


Percent: TypeAlias = Annotated[float, Field(ge=0, le=200)]
Seconds: TypeAlias = Annotated[float, Field(ge=0, le=7_200)]


class Surplus(_Strict):
    """The surplus goes to `percent`, in a line that takes `over_s`."""

    t: Seconds
    do: Literal["surplus"]
    percent: Percent
    over_s: Seconds = STEP_S


class Swing(_Strict):
    """For `for_s` the surplus swings by up to `percent` either way, with a new value every `every_s`."""

    t: Seconds
    do: Literal["swing"]
    percent: Percent
    for_s: Seconds
    every_s: float = Field(default=4.0, ge=1, le=60)


class Frequency(_Strict):
    """The grid's frequency goes to `hz`, in a line that takes `over_s`."""

    t: Seconds
    do: Literal["frequency"]
    hz: float = Field(ge=0, le=70)
    over_s: Seconds = STEP_S


class VoltageSag(_Strict):
    """The voltage falls to `voltage_percent` of what it was; meanwhile the miners draw `load_percent` of what they did,
    and `restarting_percent` of them restart because of it. shown_hz: what the POI meter takes for the frequency."""

    t: Seconds
    do: Literal["sag"]
    voltage_percent: float = Field(ge=0, le=120)
    for_s: float = Field(gt=0, le=10)
    load_percent: Percent = 100.0
    restarting_percent: float = Field(default=0.0, ge=0, le=100)
    shown_hz: float | None = None


class UnitTrips(_Strict):
    """A generating unit, counted from 1, is off the bars, for good when `for_s` is not given."""

    t: Seconds
    do: Literal["unit_trips"]
    unit: int = Field(ge=1)
    for_s: Seconds | None = None


class GenerationLost(_Strict):
    """Unit 1 loses power at once; despatch stays for `for_s`, until the system operator has noticed."""

    t: Seconds
    do: Literal["generation_lost"]
    percent: Percent
    for_s: Seconds


class Blackout(_Strict):
    """Every unit and every feeder of the miners is without power; meters and our own machine are on batteries."""

    t: Seconds
    do: Literal["blackout"]
    for_s: Seconds


class PoolsLost(_Strict):
    """So many of the miners get no work and idle by themselves."""

    t: Seconds
    do: Literal["pools_lost"]
    for_s: Seconds
    miners_percent: float = Field(default=100.0, gt=0, le=100)


class Meter(_Strict):
    """Something is wrong with one feed of measurements."""

    t: Seconds
    do: Literal["meter"]
    feed: Literal["poi", "site", "plant"]
    fault: InputFaultKind
    for_s: Seconds


class Emergency(_Strict):
    """The plant raises its emergency flag."""

    t: Seconds
    do: Literal["emergency"]
    for_s: Seconds


class Order(_Strict):
    """The dispatcher orders something under the name `order`. It begins `ahead_s` later and holds `for_s` from then."""

    t: Seconds
    do: Literal["order"]
    order: str
    kind: DispatchKind
    percent: Percent | None = None
    for_s: Seconds
    ahead_s: Seconds = 0.0
    order_class: DispatchClass = DispatchClass.NORMAL

    @model_validator(mode="after")
    def _says_how_much(self) -> Self:
        if (self.percent is None) != (self.kind is DispatchKind.RELEASE):
            raise ValueError("a cap or target needs a percent, a release has none")
        return self


class Silence(_Strict):
    """The dispatcher's heartbeat does not arrive."""

    t: Seconds
    do: Literal["silence"]
    for_s: Seconds


Happening: TypeAlias = Annotated[
    Surplus
    | Swing
    | Frequency
    | VoltageSag
    | UnitTrips
    | GenerationLost
    | Blackout
    | PoolsLost
    | Meter
    | Emergency
    | Order
    | Silence,
    Field(discriminator="do"),
]


class Fleet(_Strict):
    """How many miners of each family, dealt from all models we know; the worst of them sleep at the start."""

    luxos: int = Field(default=0, ge=0, le=500)
    whatsminer: int = Field(default=0, ge=0, le=500)
    antminer: int = Field(default=0, ge=0, le=500)
    asleep_percent: float = Field(default=0.0, ge=0, le=100)


class RulesGiven(_Strict):
    """Where the site's rules differ from the rig's defaults."""

    ramp_up_percent_per_min: float = Field(default=40.0, gt=0)
    ramp_down_percent_per_min: float = Field(default=40.0, gt=0)
    step_15s_percent: float = Field(default=10.0, gt=0)
    dwell_on_s: Seconds = 60.0
    dwell_off_s: Seconds = 30.0
    lease: Literal["none", "required"] = "none"


class SiteGiven(_Strict):
    fleet: Fleet
    surplus_percent: Percent
    units: int = Field(default=1, ge=1, le=4)
    dispatcher: bool = False
    meter_period_s: float = Field(default=1.0, ge=0.1, le=10)
    meter_noise_percent: float = Field(default=0.05, ge=0, le=5)
    feeder_meters: bool = True
    rules: RulesGiven = RulesGiven()


class Expect(_Strict):
    """Sentences of tests/rig/expectations.py."""

    holds: tuple[str, ...] = Field(min_length=1)


class Scenario(_Strict):
    """One file."""

    why: str = Field(min_length=20)
    source: str = Field(min_length=5)
    minutes: float = Field(gt=0, le=60)
    seed: int = 1
    site: SiteGiven
    at: tuple[Happening, ...]
    expect: Expect

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        late = [f"{one.do} at {one.t:g} s" for one in self.at if one.t >= 60.0 * self.minutes]
        if late:
            raise ValueError(f"after the end of the run: {', '.join(late)}")
        units = self.site.units
        if any(isinstance(one, UnitTrips) and one.unit > units for one in self.at):
            raise ValueError(f"the site has {units} units; a unit that trips must be one of them")
        if sum(isinstance(one, Blackout) for one in self.at) > 1:
            raise ValueError("a run has one blackout at most")
        if not self.site.dispatcher and any(isinstance(one, Order | Silence) for one in self.at):
            raise ValueError("orders and silence need site.dispatcher = true")
        return self


def names() -> list[str]:
    """Of every scenario there is."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(path: Path) -> Scenario:
    """Read and check one file. Raises ScenarioError."""
    try:
        return Scenario.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise ScenarioError(f"{path}: {error}") from error
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        raise ScenarioError(f"{path}: {said}") from error
