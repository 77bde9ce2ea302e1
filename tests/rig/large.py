"""How long one step takes on a large site: real physics, a surplus that moves, everything in flight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from simulators.asic.fleet import mixed_fleet
from tests.rig.fleet import core_fleet
from tests.rig.policy import Rules, site_policy
from tests.rig.random_site import random_setup
from tests.rig.setup import Setup
from tests.rig.site import Site
from tests.rig.surplus import Steps

LARGE = 5_000
LARGE_RULES = Rules(ramp_up_ratio_per_min=1.0, ramp_down_ratio_per_min=1.0, step_15s_ratio=0.25)


def large_setup(miners: int, seconds: float) -> Setup:
    """`miners` on one site, half asleep, one in a hundred misbehaving, under a surplus that goes up and down."""
    base = random_setup(1, 1.0)
    odd = miners // 300
    fleet = mixed_fleet(miners, seed=7, asleep=miners // 2, liars=odd, never_wakers=odd, refusers=odd)
    rated_w = sum(model.nameplate.power_w for model in fleet.models)
    scale = rated_w / base.policy.rated_w
    corners = np.arange(0.0, seconds + 20.0, 20.0)
    shares = np.where(np.arange(len(corners)) % 2 == 0, 0.75, 0.35)
    feeders = len(base.plant.site.feeders)
    feeder_of_miner = tuple(index % feeders for index in range(miners))
    unit = base.plant.units[0]
    grown = replace(
        unit,
        available_w=unit.available_w * scale,
        min_stable_w=unit.min_stable_w * scale,
        ramp_w_per_s=unit.ramp_w_per_s * scale,
    )
    policy = site_policy(
        rated_w=rated_w,
        auxiliary_w=round(base.policy.auxiliary_w * scale),
        power_span_w=8 * rated_w,
        fleet_size=miners,
        rules=LARGE_RULES,
    )
    return replace(
        base,
        name="large",
        duration_s=seconds,
        facts=core_fleet(fleet.models, feeder_of_miner, [rated_w] * feeders),
        policy=policy,
        fleet=fleet,
        feeder_of_miner=feeder_of_miner,
        plant=replace(
            base.plant,
            units=(grown,),
            despatch_base_w=base.plant.despatch_base_w * scale,
            reserve_up_w=0.0,
            site=replace(base.plant.site, auxiliary_w=float(policy.auxiliary_w)),
        ),
        surplus=Steps(tuple(float(at) for at in corners), tuple(float(share) * rated_w for share in shares)),
        input_faults=(),
        outages=(),
        reboots=(),
        plant_events=(),
        messages=(),
        operations=(),
        calm_from_s=seconds,
        feeder_meters=(),
        feeder_faults=(),
        strangers=(),
        writes_per_day=10**6,
    )


def large_site_ms(miners: int = LARGE, seconds: float = 120.0) -> tuple[float, float]:
    """p50 and p99 of one step, milliseconds, on this machine now."""
    record = Site(large_setup(miners, seconds)).run()
    times = [row.step_ms for row in record.cycles]
    return float(np.percentile(times, 50)), float(np.percentile(times, 99))
