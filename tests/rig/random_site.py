"""From a seed to a whole run: fleet, plant, surplus, dispatches, faults. The same seed gives the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from controller.domain.fleet import ResponseClass
from simulators.asic.models import LUXOS_MODELS, MODELS, Family
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.feeder import FeederSpec, SiteSpec
from simulators.plant import PlantSpec, UnitSpec
from tests.rig import invented, random_orders, random_troubles
from tests.rig.fleet import core_fleet
from tests.rig.limits import random_limits
from tests.rig.policy import Rules, site_policy
from tests.rig.setup import TICK_S, Setup
from tests.rig.surplus import random_surplus

CALM_S = 180.0
MIXED_SHARE = 0.6  # of the seeds; the others are LuxOS alone
PLAIN_SIZES = (20, 400)
FLEET_SIZES = ((20, 120), (120, 400), (400, 2_000), (2_000, 20_000))
SIZE_SHARES = (0.7, 0.25, 0.045, 0.005)  # what a large one finds in an hour, a hundred small ones do as well


def random_setup(seed: int, minutes: float, harsh: bool = False) -> Setup:
    """The run of one seed; the last three minutes of it are calm. harsh: crashes, stepped clocks, invented machines,
    meters that are wrong in ways that look right, and fleets of up to 20,000."""
    rng = np.random.default_rng(seed)
    luck = np.random.default_rng([seed, 1])  # of its own: a new kind of trouble leaves a seed's other troubles alone
    duration_s = 60.0 * minutes
    calm_from_s = max(duration_s - CALM_S, 0.4 * duration_s)
    mixed = bool(rng.random() < MIXED_SHARE)
    odd = np.random.default_rng([seed, 2])  # and so of later kinds
    fleet = _fleet(rng, seed, mixed, _sizes(odd) if harsh else PLAIN_SIZES)
    classes: Mapping[str, ResponseClass] = {}
    if harsh:
        fleet, classes = invented.mixed_in(odd, fleet)
    tick_s = float(odd.choice([0.1, 0.25, 0.5], p=[0.15, 0.35, 0.5])) if harsh else TICK_S
    rated_w = round(float(sum(model.nameplate.power_w for model in fleet.models)))
    feeders = int(rng.integers(1, 4))
    feeder_of_miner = tuple(int(feeder) for feeder in rng.integers(0, feeders, len(fleet.models)))
    auxiliary_w = round(float(rng.uniform(0.005, 0.03)) * rated_w)
    plant = _plant(rng, rated_w, feeders, auxiliary_w)
    rules = Rules(
        ramp_up_ratio_per_min=float(rng.choice([0.4, 0.6, 1.0])),
        ramp_down_ratio_per_min=float(rng.choice([0.4, 0.6, 1.0])),
        step_15s_ratio=float(rng.choice([0.10, 0.15, 0.25])),
        dwell_on_s=float(rng.choice([20.0, 60.0, 120.0])),
        dwell_off_s=float(rng.choice([15.0, 30.0, 60.0])),
        trim_reserve_ratio=float(rng.choice([0.0, 0.05, 0.10, 0.20])),
        margin_memory_s=float(rng.choice([20.0, 60.0, 300.0])),
        fallback_offset_s=float(rng.uniform(0.0, 20.0)),
        adopt_sleepers_at_start=bool(rng.random() < 0.8),
    )
    faults = random_troubles.input_faults(rng, calm_from_s)
    messages = random_orders.messages(rng, seed, rated_w, calm_from_s)
    ratings_w, above = random_limits(np.random.default_rng([seed, 3]), fleet.models, feeder_of_miner, feeders, rated_w)
    facts = core_fleet(fleet.models, feeder_of_miner, ratings_w, classes, above)
    policy = site_policy(
        rated_w=rated_w,
        auxiliary_w=auxiliary_w,
        power_span_w=8 * rated_w,
        fleet_size=len(facts),
        rules=rules,
    )
    return Setup(
        name=f"seed-{seed}",
        seed=seed,
        duration_s=duration_s,
        facts=facts,
        policy=replace(policy, cycle_s=float(odd.choice([1.0, 2.0], p=[0.75, 0.25])) if harsh else policy.cycle_s),
        fleet=fleet,
        feeder_of_miner=feeder_of_miner,
        plant=plant,
        surplus=random_surplus(rng, rated_w, calm_from_s),
        meter_period_s=max(float(rng.choice([0.2, 0.5, 1.0])), tick_s),
        meter_noise=float(rng.choice([0.0002, 0.0005, 0.001])),
        sweep_s=5.0 if len(facts) <= 400 else 10.0,
        answers_lost=float(rng.choice([0.0, 0.01, 0.03])),
        input_faults=(*faults, *random_troubles.late_faults(odd, calm_from_s)) if harsh else faults,
        outages=(
            *random_troubles.outages(rng, len(facts), calm_from_s),
            *random_troubles.dead_switch(luck, len(facts), calm_from_s),
        ),
        reboots=random_troubles.reboots(rng, fleet, calm_from_s),
        plant_events=random_troubles.plant_events(rng, rated_w, calm_from_s),
        messages=messages,
        operations=random_troubles.operations(rng, rated_w, calm_from_s),
        heartbeats_until_s=None,
        calm_from_s=calm_from_s,
        feeder_meters=tuple(feeder for feeder in range(feeders) if rng.random() < 0.6),
        feeder_faults=random_troubles.feeder_faults(rng, feeders, calm_from_s),
        strangers=random_troubles.strangers(rng, len(facts), calm_from_s),
        writes_per_day=int(rng.choice([10**6, 24, 6], p=[0.6, 0.2, 0.2])),
        trips=random_troubles.trips(luck, feeders, calm_from_s),
        tick_s=tick_s,
        crashes=random_troubles.crashes(odd, messages, calm_from_s) if harsh else (),
        clock_steps=random_troubles.clock_steps(odd, calm_from_s) if harsh else (),
        # 1 kW is a meter that the fail-safe takes for a dead one.
        meter_step_w=float(odd.choice([1.0, 10.0, 100.0, 1_000.0])) if harsh else 1.0,
    )


def _sizes(odd: np.random.Generator) -> tuple[int, int]:
    return FLEET_SIZES[int(odd.choice(len(FLEET_SIZES), p=SIZE_SHARES))]


def _fleet(rng: np.random.Generator, seed: int, mixed: bool, sizes: tuple[int, int]) -> FleetSpec:
    """`sizes` miners of one to four models, of one family or several; now and then everybody behaves."""
    count = int(np.exp(rng.uniform(np.log(sizes[0]), np.log(sizes[1]))))
    known = list(MODELS) if mixed else list(LUXOS_MODELS)
    keys = [str(key) for key in rng.permutation(known)[: int(rng.integers(1, 5))]]
    listed = [MODELS[keys[int(pick)]] for pick in rng.integers(0, len(keys), count)]
    asleep = rng.random(count) < rng.choice([0.0, 0.3, 0.5, 1.0], p=[0.2, 0.3, 0.4, 0.1])
    behaviours = [Behaviour.OBEYS] * count
    for flag, share in ((Behaviour.LIAR_SLEEP, 0.02), (Behaviour.REFUSES, 0.02), (Behaviour.NEVER_WAKES, 0.03)):
        if rng.random() < 0.6:
            for miner in rng.choice(count, size=int(np.ceil(share * count)), replace=False):
                behaviours[int(miner)] |= flag
    stock = [miner for miner, model in enumerate(listed) if model.family is Family.ANTMINER]
    if stock and rng.random() < 0.5:
        for miner in rng.choice(stock, size=int(np.ceil(0.03 * len(stock))), replace=False):
            behaviours[int(miner)] |= Behaviour.SILENT_DRAW
    scale = np.exp(rng.normal(0.0, 0.12, count)).clip(0.7, 1.3)
    return FleetSpec(
        models=listed,
        seed=seed,
        asleep=[bool(sleeping) for sleeping in asleep],
        behaviours=behaviours,
        response_scale=[float(one) for one in scale],
    )


def _plant(rng: np.random.Generator, rated_w: float, feeders: int, auxiliary_w: float) -> PlantSpec:
    """One running unit about six times the fleet; the fleet is a quarter of what the POI meter spans."""
    size_w = 6.0 * rated_w
    return PlantSpec(
        units=(
            UnitSpec("unit-1", size_w, 0.4 * size_w, 0.0005 * size_w, synchronised=True),
            UnitSpec("unit-2", size_w, 0.4 * size_w, 0.0005 * size_w, synchronised=False),
        ),
        auxiliary_fixed_w=0.05 * rated_w,
        auxiliary_fraction=0.06,
        despatch_base_w=2.8 * rated_w,
        despatch_step_w=1_000.0,
        despatch_held_after_trip_s=45.0,
        reserve_up_w=0.3 * rated_w,
        frequency_hz=50.0,
        frequency_sigma_hz=0.01,
        poi_line_v=11_000.0,
        voltage_sigma_fraction=0.002,
        wander_time_s=30.0,
        site=SiteSpec(
            feeders=tuple(FeederSpec(f"feeder-{i}", float(rng.uniform(0.005, 0.03))) for i in range(feeders)),
            auxiliary_w=auxiliary_w,
        ),
    )
