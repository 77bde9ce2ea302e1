"""What the user asked the demo for, and the scenario that follows from it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from simulators.plant import PlantSpec
from simulators.scenario import DEMO, FleetScenario, Scenario

SITE_ID = "demo"
_PLANT_STREAM, _METER_STREAM = 1_000_000, 2_000_000
Part = Literal["trim", "allocation", "feedback"]


@dataclass(frozen=True, slots=True)
class DemoSettings:
    """The demo's options. `without` names parts of the daemon to switch off, to see the run fail."""

    seconds: float
    report: Path
    day: str | None
    start_second: float | None
    trace: Path | None
    seed: int
    miners: int
    without: tuple[Part, ...]
    keep: bool
    page: bool


def scenario_of(settings: DemoSettings) -> Scenario:
    """Return the demo's scenario with the user's day, start, seed and fleet size."""
    trace = replace(
        DEMO.trace,
        path=settings.trace,
        day=settings.day if settings.day is not None or settings.trace is not None else DEMO.trace.day,
        start_second_of_day=(
            DEMO.trace.start_second_of_day if settings.start_second is None else settings.start_second
        ),
    )
    return replace(
        DEMO,
        trace=trace,
        fleet=_fleet(settings.miners, settings.seed),
        plant=_plant(settings.miners / DEMO.fleet.size),
        # Streams of their own: noise of the plant, its meters and the miners must not march in step.
        plant_seed=settings.seed + _PLANT_STREAM,
        instruments=replace(DEMO.instruments, seed=settings.seed + _METER_STREAM),
    )


def _fleet(size: int, seed: int) -> FleetScenario:
    """The demo's fleet at another size: the same shares of models, the same share of it hashing."""
    fleet = DEMO.fleet
    ends = list(itertools.accumulate(count for _, count in fleet.models))
    scaled = [0, *((end * size + fleet.size // 2) // fleet.size for end in ends)]
    models = tuple((key, b - a) for (key, _), (a, b) in zip(fleet.models, itertools.pairwise(scaled), strict=True))
    return replace(fleet, models=models, hashing=size * fleet.hashing // fleet.size, seed=seed)


def _plant(factor: float) -> PlantSpec:
    """The demo's plant, grown with the fleet so that its meters span the fleet as they do in the demo."""
    plant = DEMO.plant
    units = tuple(
        replace(
            unit,
            available_w=unit.available_w * factor,
            min_stable_w=unit.min_stable_w * factor,
            ramp_w_per_s=unit.ramp_w_per_s * factor,
        )
        for unit in plant.units
    )
    return replace(
        plant,
        units=units,
        auxiliary_fixed_w=plant.auxiliary_fixed_w * factor,
        despatch_base_w=plant.despatch_base_w * factor,
        reserve_up_w=plant.reserve_up_w * factor,
        site=replace(plant.site, auxiliary_w=plant.site.auxiliary_w * factor),
    )
