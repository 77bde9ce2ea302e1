"""The site that is scored: 10 MW of three firmware families that sells regulation, and the plant it stands beside.

By rated power 40 % WhatsMiner (trimmed by percent), 25 % LuxOS (trimmed by profile), 35 % Antminer stock (on and off
only), the models of a family in equal numbers. No model draws at the wall what its nameplate says, nor says what it
draws; the miners answer at their own speed (a tenth slower or quicker, standard deviation 12 %), overshoot when they
boot; one in a hundred cannot be reached all day and one in a hundred never wakes. Meters are read every second with
0.2 % of noise, miners every 30 s.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.policy import Feedback
from simulators.asic.models import MODELS, Family, MinerModel, keys_of
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.feeder import FeederSpec, SiteSpec
from simulators.plant import PlantSpec, SurplusSource, UnitSpec
from tests.rig.fleet import core_fleet
from tests.rig.policy import Rules, site_policy
from tests.rig.score.orders import RAMP_PER_MIN, Orders
from tests.rig.setup import WALL_AT_START, Message, Outage, Setup

RATED_W = 10_000_000
SHARES = {Family.WHATSMINER: 0.40, Family.LUXOS: 0.25, Family.ANTMINER: 0.35}
FEEDERS = 4
LOSS = 0.01
AUXILIARY = 0.01
UNREACHABLE, NEVER_WAKE = 0.01, 0.01
COOL_DRAW = 0.97
"""What all draw at the wall over their nameplates, which hold at 25 degrees: the recordings begin at midnight. A T21
was seen to draw 7.3 % more in the warmest hour of a day than in the coolest (guzmanpintos.com, temperature impact)."""
MODEL_DRAW, UNIT_DRAW, MODEL_REPORT = 0.05, 0.01, 0.05
"""How far a model may be from that, and what its firmware says from what it draws (at most, evenly), and a unit from
its model (standard deviation). Makers state 5 % (Antminer S19 Pro: 3,250 W +-5 %)."""
TICK_S = 0.25
"""Of the physics. Boots and trims take seconds; a command waits an eighth of a second longer than it would."""
SWEEP_S = 30.0
METER_NOISE = 0.002
WITHIN_S = 10.0
"""What trim covers in so long is what a site can sell as regulation."""
ORDER_LIVES_S = 900.0
RULES = Rules(
    ramp_up_ratio_per_min=RAMP_PER_MIN,
    ramp_down_ratio_per_min=RAMP_PER_MIN,
    step_15s_ratio=RAMP_PER_MIN / 4.0,
    dwell_on_s=900.0,
    dwell_off_s=600.0,
    starts_per_day=6,
    margin_memory_s=4.0 * 3600.0,
    fallback_offset_s=5.0,
)


@dataclass(frozen=True, slots=True)
class Ample:
    """A surplus that never binds."""

    power_w: float

    def surplus_w(self, t_s: float) -> float:
        return self.power_w


@dataclass(frozen=True, slots=True)
class Offer:
    """What the site can sell, watts at the site meter.

    base_w: sleepers as merit order has them, trimmers in the middle. regulation_w: half of what trim covers in 10 s.
    """

    base_w: float
    regulation_w: float


@dataclass(frozen=True, slots=True)
class Site10MW:
    """The fleet in the order of its miners, and who sleeps at the start."""

    fleet: FleetSpec
    unreachable: tuple[int, ...]
    rated_w: int
    offer: Offer

    @property
    def auxiliary_w(self) -> int:
        return round(AUXILIARY * self.rated_w)


def build_site(seed: int = 1, rated_w: int = RATED_W) -> Site10MW:
    """The fleet of a seed. At the start the better half of the on/off miners hashes, every trimmer at its nameplate."""
    rng = np.random.default_rng(seed)
    dealt = [model for family, share in SHARES.items() for model in _dealt(family, share * rated_w)]
    models = [dealt[int(place)] for place in rng.permutation(len(dealt))]
    rated = round(sum(model.nameplate.power_w for model in models))
    blocks = [index for index, model in enumerate(models) if not model.trims]
    blocks.sort(key=lambda index: (models[index].efficiency_j_per_th, index))
    asleep = set(blocks[len(blocks) // 2 :])
    order = [int(index) for index in rng.permutation(len(models))]
    behaviours = [Behaviour.OBEYS] * len(models)
    for index in [one for one in order if one in asleep][: round(NEVER_WAKE * len(models))]:
        behaviours[index] = Behaviour.NEVER_WAKES
    hashing = [one for one in order if one not in asleep]
    unreachable = tuple(hashing[: round(UNREACHABLE * len(models))])
    draws, reports = _truths(models, seed)
    fleet = FleetSpec(
        models=models,
        seed=seed,
        asleep=[index in asleep for index in range(len(models))],
        behaviours=behaviours,
        response_scale=[float(one) for one in np.exp(rng.normal(0.0, 0.12, len(models))).clip(0.7, 1.3)],
        draw_ratio=draws,
        report_ratio=reports,
    )
    return Site10MW(fleet, unreachable, rated, _offer(models, asleep, set(unreachable), rated))


def _truths(models: list[MinerModel], seed: int) -> tuple[list[float], list[float]]:
    """What each miner draws over its nameplate, and what its model says over what it draws."""
    rng = np.random.default_rng((seed, len(MODELS)))
    drawn, said = (
        dict(zip(MODELS, middle + rng.uniform(-most, most, len(MODELS)), strict=True))
        for middle, most in ((COOL_DRAW, MODEL_DRAW), (1.0, MODEL_REPORT))
    )
    own = rng.normal(0.0, UNIT_DRAW, len(models))
    draws = [float(drawn[model.key] * (1.0 + part)) for model, part in zip(models, own, strict=True)]
    return draws, [float(said[model.key]) for model in models]


def _dealt(family: Family, power_w: float) -> list[MinerModel]:
    """Models of a family in turn until their nameplates reach the power."""
    models = [MODELS[key] for key in keys_of(family)]
    found: list[MinerModel] = []
    while sum(model.nameplate.power_w for model in found) < power_w:
        found.append(models[len(found) % len(models)])
    return found


def _offer(models: list[MinerModel], asleep: set[int], unreachable: set[int], rated_w: int) -> Offer:
    top_w = low_w = 0.0
    for index, model in enumerate(models):
        full_w = float(model.nameplate.power_w)
        if index in asleep:
            full_w = model.sleep_power_w
        top_w += full_w
        low_w += full_w
        if model.trims and index not in unreachable:
            trim = model.response.profile
            in_90s = (WITHIN_S - trim.dead_time.nominal_s) / trim.to_90_percent.nominal_s
            low_w -= (full_w - model.profiles[0].power_w) * (1.0 - 10.0**-in_90s)
    half_w = (top_w - low_w) / 2.0 * (1.0 + LOSS)
    return Offer(top_w * (1.0 + LOSS) + AUXILIARY * rated_w - half_w, half_w)


def score_setup(
    site: Site10MW,
    orders: Orders | None,
    duration_s: float,
    surplus: SurplusSource | None = None,
    feedback: Feedback = Feedback.METER,
) -> Setup:
    """One run of the site: orders as `target` dispatches, or none and a surplus that binds."""
    feeder_of_miner = tuple(index % FEEDERS for index in range(len(site.fleet.models)))
    rated_w, auxiliary_w = site.rated_w, site.auxiliary_w
    return Setup(
        name="score" if orders is None else orders.name,
        seed=site.fleet.seed,
        duration_s=duration_s,
        facts=core_fleet(site.fleet.models, feeder_of_miner, [rated_w] * FEEDERS),
        policy=site_policy(
            rated_w=rated_w,
            auxiliary_w=auxiliary_w,
            power_span_w=8 * rated_w,
            fleet_size=len(site.fleet.models),
            rules=replace(RULES, feedback=feedback),
        ),
        fleet=site.fleet,
        feeder_of_miner=feeder_of_miner,
        plant=_plant(float(rated_w), float(auxiliary_w)),
        surplus=surplus or Ample(1.3 * rated_w),
        meter_period_s=1.0,
        meter_noise=METER_NOISE,
        sweep_s=SWEEP_S,
        answers_lost=0.0,
        input_faults=(),
        outages=tuple(Outage(miner, -1.0, duration_s + 1.0) for miner in site.unreachable),
        reboots=(),
        plant_events=(),
        messages=() if orders is None else _messages(orders, rated_w),
        operations=(),
        heartbeats_until_s=None,
        calm_from_s=duration_s,
        tick_s=TICK_S,
        recount=False,
    )


def _messages(orders: Orders, rated_w: int) -> tuple[Message, ...]:
    """Every order as one dispatch; the next supersedes it."""
    found = []
    for number, (at_s, power_w) in enumerate(zip(orders.at_s.tolist(), orders.power_w.tolist(), strict=True), start=1):
        wall = WALL_AT_START + at_s
        dispatch = Dispatch(
            dispatch_id=f"agc-{number}",
            issuer="grid",
            seq=number,
            issued_at=wall,
            expires_at=wall + ORDER_LIVES_S,
            dispatch_class=DispatchClass.NORMAL,
            kind=DispatchKind.TARGET,
            power_w=round(min(power_w, rated_w)),
        )
        found.append(Message(at_s, Received(dispatch, wall), obeyed=True))
    return tuple(found)


def _plant(rated_w: float, auxiliary_w: float) -> PlantSpec:
    """One running unit six times the site, ramps quick enough that the surplus is what its source says."""
    size_w = 6.0 * rated_w
    return PlantSpec(
        units=(UnitSpec("unit-1", size_w, 0.4 * size_w, 0.0005 * size_w, synchronised=True),),
        auxiliary_fixed_w=0.05 * rated_w,
        auxiliary_fraction=0.06,
        despatch_base_w=2.8 * rated_w,
        despatch_step_w=1_000.0,
        despatch_held_after_trip_s=45.0,
        reserve_up_w=0.0,
        frequency_hz=50.0,
        frequency_sigma_hz=0.01,
        poi_line_v=11_000.0,
        voltage_sigma_fraction=0.002,
        wander_time_s=30.0,
        site=SiteSpec(tuple(FeederSpec(f"feeder-{i}", LOSS) for i in range(FEEDERS)), auxiliary_w),
    )
