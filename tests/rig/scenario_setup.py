"""A scenario file as a run of the rig: its site, its plant, and everything that happens."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np

from controller.domain.dispatch import Dispatch, Received
from simulators.asic.fleet import keys_by_share, mixed_fleet
from simulators.asic.models import Family
from simulators.asic.spec import FleetSpec
from simulators.feeder import FeederSpec, SiteSpec
from simulators.plant import PlantSpec, UnitSpec
from tests.rig.fleet import core_fleet
from tests.rig.policy import Rules, site_policy
from tests.rig.scenario_file import (
    Blackout,
    Emergency,
    Fleet,
    Frequency,
    GenerationLost,
    Happening,
    Meter,
    Order,
    PoolsLost,
    Scenario,
    ScenarioError,
    Silence,
    Surplus,
    Swing,
    UnitTrips,
    VoltageSag,
)
from tests.rig.setup import (
    WALL_AT_START,
    FeederTrip,
    InputFault,
    Message,
    PlantEvent,
    Sag,
    Setup,
    UnitTrip,
    WorkLoss,
)
from tests.rig.surplus import Steps

FEEDERS = 3
AUXILIARY_RATIO = 0.02
SIZE_RATIO = 6.0  # all units together, of the fleet
DESPATCH_RATIO = 2.8


def setup_of(name: str, scenario: Scenario) -> Setup:
    """The run of a scenario."""
    site, duration_s = scenario.site, 60.0 * scenario.minutes
    fleet = _fleet(site.fleet, scenario.seed)
    rated_w = round(float(sum(model.nameplate.power_w for model in fleet.models)))
    feeder_of_miner = tuple(index % FEEDERS for index in range(len(fleet.models)))
    auxiliary_w = round(AUXILIARY_RATIO * rated_w)
    facts = core_fleet(fleet.models, feeder_of_miner, [rated_w] * FEEDERS)
    rules = site.rules
    core_rules = Rules(
        ramp_up_ratio_per_min=rules.ramp_up_percent_per_min / 100.0,
        ramp_down_ratio_per_min=rules.ramp_down_percent_per_min / 100.0,
        step_15s_ratio=rules.step_15s_percent / 100.0,
        dwell_on_s=rules.dwell_on_s,
        dwell_off_s=rules.dwell_off_s,
        lease_required=rules.lease == "required",
    )
    policy = site_policy(
        rated_w=rated_w, auxiliary_w=auxiliary_w, power_span_w=8 * rated_w, fleet_size=len(facts), rules=core_rules
    )
    plain = Setup(
        name=name,
        seed=scenario.seed,
        duration_s=duration_s,
        facts=facts,
        policy=policy,
        fleet=fleet,
        feeder_of_miner=feeder_of_miner,
        plant=_plant(rated_w, auxiliary_w, site.units),
        surplus=_surplus(scenario, rated_w),
        meter_period_s=site.meter_period_s,
        meter_noise=site.meter_noise_percent / 100.0,
        sweep_s=5.0,
        answers_lost=0.0,
        input_faults=(),
        outages=(),
        reboots=(),
        plant_events=(),
        messages=(),
        operations=(),
        heartbeats_until_s=duration_s if site.dispatcher else None,
        calm_from_s=duration_s,
        feeder_meters=tuple(range(FEEDERS)) if site.feeder_meters else (),
        frequency=_frequency(scenario),
    )
    done = plain
    for number, one in enumerate(scenario.at, start=1):
        done = _with(done, one, np.random.default_rng([scenario.seed, number]), number)
    return done


def _fleet(given: Fleet, seed: int) -> FleetSpec:
    shares = {Family.LUXOS: given.luxos, Family.WHATSMINER: given.whatsminer, Family.ANTMINER: given.antminer}
    count = sum(shares.values())
    keys = keys_by_share(count, {family: float(share) for family, share in shares.items()})
    return mixed_fleet(count, seed=seed, model_keys=keys, asleep=round(given.asleep_percent / 100.0 * count))


def _plant(rated_w: int, auxiliary_w: int, units: int) -> PlantSpec:
    """Units of one size, six times the fleet together."""
    size_w = SIZE_RATIO * rated_w / units
    return PlantSpec(
        units=tuple(
            UnitSpec(f"unit-{number}", size_w, 0.4 * size_w, 0.001 * size_w, synchronised=True)
            for number in range(1, units + 1)
        ),
        auxiliary_fixed_w=0.05 * rated_w,
        auxiliary_fraction=0.06,
        despatch_base_w=DESPATCH_RATIO * rated_w,
        despatch_step_w=1_000.0,
        despatch_held_after_trip_s=45.0,
        reserve_up_w=0.3 * rated_w,
        frequency_hz=50.0,
        frequency_sigma_hz=0.005,
        poi_line_v=11_000.0,
        voltage_sigma_fraction=0.002,
        wander_time_s=30.0,
        site=SiteSpec(
            feeders=tuple(FeederSpec(f"feeder-{index}", 0.015) for index in range(FEEDERS)),
            auxiliary_w=float(auxiliary_w),
        ),
    )


def _surplus(scenario: Scenario, rated_w: float) -> Steps:
    at_s, percents = [0.0], [scenario.site.surplus_percent]
    for number, one in enumerate(scenario.at, start=1):
        if isinstance(one, Surplus):
            at_s += [one.t, one.t + one.over_s]
            percents += [percents[-1], one.percent]
        elif isinstance(one, Swing):
            level, rng = percents[-1], np.random.default_rng([scenario.seed, number])
            corners = [one.t + place * one.every_s for place in range(1, int(one.for_s / one.every_s))]
            at_s += [one.t, *corners, one.t + one.for_s]
            percents += [level, *(level + one.percent * value for value in _regulation(rng, len(corners))), level]
    if any(later < earlier for earlier, later in pairwise(at_s)):
        raise ScenarioError("the surplus is told to move before an earlier move is over; put them one after the other")
    return Steps(tuple(at_s), tuple(percent / 100.0 * rated_w for percent in percents))


def _regulation(rng: np.random.Generator, count: int) -> list[float]:
    """A signal within [-1, 1] that turns about every half minute and comes back to nothing: fast and energy-neutral."""
    value, drift, found = 0.0, 0.0, []
    for kick in rng.standard_normal(count):
        value = float(np.clip(0.85 * value + 0.5 * kick - 0.15 * drift, -1.0, 1.0))
        drift = 0.95 * drift + 0.05 * value * 20.0
        found.append(value)
    return found


def _frequency(scenario: Scenario) -> tuple[tuple[float, float], ...]:
    corners: list[tuple[float, float]] = []
    hz = 50.0
    for one in scenario.at:
        if isinstance(one, Frequency):
            corners += [(one.t, hz), (one.t + one.over_s, one.hz)]
            hz = one.hz
    return tuple(corners)


def _with(setup: Setup, one: Happening, rng: np.random.Generator, number: int) -> Setup:
    """The run with one more thing that happens."""
    begin_s, rated_w, miners = one.t, setup.policy.rated_w, len(setup.facts)
    match one:
        case VoltageSag():
            sag = Sag(begin_s, begin_s + one.for_s, one.voltage_percent / 100.0, one.load_percent / 100.0, one.shown_hz)
            restarting = rng.choice(miners, size=round(one.restarting_percent / 100.0 * miners), replace=False)
            reboots = (*setup.reboots, *((begin_s, int(miner)) for miner in sorted(restarting)))
            return replace(setup, sags=(*setup.sags, sag), reboots=reboots)
        case UnitTrips():
            end_s = math.inf if one.for_s is None else begin_s + one.for_s
            return replace(setup, unit_trips=(*setup.unit_trips, UnitTrip(one.unit - 1, begin_s, end_s)))
        case GenerationLost():
            lost = PlantEvent(begin_s, one.percent / 100.0 * rated_w, one.for_s, emergency=False)
            return replace(setup, plant_events=(*setup.plant_events, lost))
        case Emergency():
            flag = PlantEvent(begin_s, 0.0, one.for_s, emergency=True)
            return replace(setup, plant_events=(*setup.plant_events, flag))
        case Blackout():
            end_s = begin_s + one.for_s
            units = tuple(UnitTrip(unit, begin_s, end_s) for unit in range(len(setup.plant.units)))
            feeders = tuple(FeederTrip(feeder, begin_s, end_s) for feeder in range(FEEDERS))
            return replace(setup, unit_trips=(*setup.unit_trips, *units), trips=(*setup.trips, *feeders))
        case PoolsLost():
            idle = rng.choice(miners, size=round(one.miners_percent / 100.0 * miners), replace=False)
            loss = WorkLoss(tuple(sorted(int(miner) for miner in idle)), begin_s, begin_s + one.for_s)
            return replace(setup, work_losses=(*setup.work_losses, loss))
        case Meter():
            fault = InputFault(one.feed, one.fault, begin_s, begin_s + one.for_s)
            return replace(setup, input_faults=(*setup.input_faults, fault))
        case Silence():
            return replace(setup, silences=(*setup.silences, (begin_s, begin_s + one.for_s)))
        case Order():
            return replace(setup, messages=(*setup.messages, _message(one, number, rated_w)))
        case Surplus() | Swing() | Frequency():
            return setup


def _message(one: Order, number: int, rated_w: float) -> Message:
    wall = WALL_AT_START + one.t
    dispatch = Dispatch(
        dispatch_id=one.order,
        issuer="grid",
        seq=number,
        issued_at=wall,
        expires_at=wall + one.ahead_s + one.for_s,
        dispatch_class=one.order_class,
        kind=one.kind,
        power_w=None if one.percent is None else round(one.percent / 100.0 * rated_w),
        not_before=wall + one.ahead_s if one.ahead_s else None,
    )
    return Message(one.t, Received(dispatch, wall), obeyed=True)
