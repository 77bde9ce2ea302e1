"""The simulators' miners as the core's inventory would describe them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from controller.domain.fleet import Fleet, Level, MinerModel, MinerUnit, ResponseClass, build_fleet
from controller.domain.limits import Limit
from simulators.asic import models

# Written down as an operator's file would hold it, not read from the physics: the middle of what the firmware does.
LUXOS_CLASS = ResponseClass(
    name="LuxOS",
    sleep_dead_s=1.0,
    sleep_90_s=4.0,
    wake_dead_s=5.0,
    wake_90_s=15.0,
    trim_dead_s=1.0,
    trim_90_s=3.0,
    sleep_power_w=25,
)


WHATSMINER_CLASS = ResponseClass(
    name="WhatsMiner V2",
    sleep_dead_s=2.0,
    sleep_90_s=3.0,
    wake_dead_s=10.0,
    wake_90_s=30.0,
    trim_dead_s=2.0,
    trim_90_s=6.0,
    sleep_power_w=25,
)
ANTMINER_CLASS = ResponseClass(
    name="Antminer stock",
    sleep_dead_s=4.0,
    sleep_90_s=4.0,
    wake_dead_s=25.0,
    wake_90_s=60.0,
    trim_dead_s=25.0,
    trim_90_s=60.0,
    sleep_power_w=30,
    wake_patience_s=300.0,
)
CLASSES = {
    models.Family.LUXOS: LUXOS_CLASS,
    models.Family.WHATSMINER: WHATSMINER_CLASS,
    models.Family.ANTMINER: ANTMINER_CLASS,
}


@dataclass(frozen=True, slots=True)
class AboveFeeders:
    """What hangs above and across a site's feeders. feeder_limit, across: of each feeder and of each miner, indices
    into `limits`; empty for none at all."""

    limits: tuple[Limit, ...] = ()
    feeder_limit: tuple[int | None, ...] = ()
    across: tuple[tuple[int, ...], ...] = ()


NOTHING_ABOVE = AboveFeeders()


def core_model(model: models.MinerModel, response: ResponseClass | None = None) -> MinerModel:
    """One simulated model as the core sees it: the whole ladder, the response class, what it cannot do. `response`:
    the class of a machine that is of no family."""
    levels = tuple(Level(rung.name, rung.power_w, rung.hashrate_th) for rung in model.profiles)
    return MinerModel(
        model.key,
        levels,
        response or CLASSES[model.family],
        nameplate_level=model.default_profile,
        trims=model.trims,
        reports_power=model.family is not models.Family.ANTMINER,
    )


def core_fleet(
    miners: Sequence[models.MinerModel],
    feeder_of_miner: Sequence[int],
    feeder_rating_w: Sequence[int],
    classes: Mapping[str, ResponseClass] | None = None,
    above: AboveFeeders = NOTHING_ABOVE,
) -> Fleet:
    """The inventory of a simulated fleet, everybody capped at its nameplate rung. `classes`: of some models, by key."""
    known = {model.key: core_model(model, (classes or {}).get(model.key)) for model in miners}
    units = tuple(
        MinerUnit(
            f"m-{index:04d}",
            known[model.key],
            feeder,
            model.default_profile,
            model.family.value,
            limits=above.across[index] if above.across else (),
        )
        for index, (model, feeder) in enumerate(zip(miners, feeder_of_miner, strict=True))
    )
    names = tuple(f"feeder-{index}" for index in range(len(feeder_rating_w)))
    return build_fleet(units, names, tuple(feeder_rating_w), limits=above.limits, feeder_limit=above.feeder_limit)
