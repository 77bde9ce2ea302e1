"""From a seed to a whole run: fleet, plant, surplus, dispatches, faults. The same seed gives the same run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Malformed, Received, RejectCode
from controller.domain.fleet import ResponseClass
from controller.domain.plan import OperatorOrder, OperatorVerb
from simulators.asic.models import LUXOS_MODELS, MODELS, Family
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.feeder import FeederSpec, SiteSpec
from simulators.plant import PlantSpec, UnitSpec
from simulators.trace import SurplusTrace, bundled_trace_path, load_trace
from tests.rig import invented
from tests.rig.fleet import core_fleet
from tests.rig.limits import random_limits
from tests.rig.policy import Rules, site_policy
from tests.rig.setup import (
    TICK_S,
    WALL_AT_START,
    ClockStep,
    Crash,
    FeederTrip,
    InputFault,
    InputFaultKind,
    Message,
    Operation,
    Outage,
    PlantEvent,
    Setup,
)

CALM_S = 180.0
MIXED_SHARE = 0.6  # of the seeds; the others are LuxOS alone
PLAIN_SIZES = (20, 400)
FLEET_SIZES = ((20, 120), (120, 400), (400, 2_000), (2_000, 20_000))
SIZE_SHARES = (0.7, 0.25, 0.045, 0.005)  # what a large one finds in an hour, a hundred small ones do as well
TRACE_DAYS = ("2016-04-18", "2016-12-21")
LATER_STREAM = 27  # the number of the random stream that says which orders are scheduled


@dataclass(frozen=True, slots=True)
class Steps:
    """A surplus made of corners, joined by lines: steps are two corners close together. Stands still at the end."""

    at_s: tuple[float, ...]
    power_w: tuple[float, ...]

    def surplus_w(self, t_s: float) -> float:
        return float(np.interp(t_s, self.at_s, self.power_w))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded day until the calm begins, and from there its last value."""

    trace: SurplusTrace
    calm_from_s: float

    def surplus_w(self, t_s: float) -> float:
        return self.trace.surplus_w(min(t_s, self.calm_from_s))


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
    faults = _input_faults(rng, calm_from_s)
    messages = _messages(rng, seed, rated_w, calm_from_s)
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
        surplus=_surplus(rng, rated_w, calm_from_s),
        meter_period_s=max(float(rng.choice([0.2, 0.5, 1.0])), tick_s),
        meter_noise=float(rng.choice([0.0002, 0.0005, 0.001])),
        sweep_s=5.0 if len(facts) <= 400 else 10.0,
        answers_lost=float(rng.choice([0.0, 0.01, 0.03])),
        input_faults=(*faults, *_late_faults(odd, calm_from_s)) if harsh else faults,
        outages=(*_outages(rng, len(facts), calm_from_s), *_dead_switch(luck, len(facts), calm_from_s)),
        reboots=_reboots(rng, fleet, calm_from_s),
        plant_events=_plant_events(rng, rated_w, calm_from_s),
        messages=messages,
        operations=_operations(rng, rated_w, calm_from_s),
        heartbeats_until_s=None,
        calm_from_s=calm_from_s,
        feeder_meters=tuple(feeder for feeder in range(feeders) if rng.random() < 0.6),
        feeder_faults=_feeder_faults(rng, feeders, calm_from_s),
        strangers=_strangers(rng, len(facts), calm_from_s),
        writes_per_day=int(rng.choice([10**6, 24, 6], p=[0.6, 0.2, 0.2])),
        trips=_trips(luck, feeders, calm_from_s),
        tick_s=tick_s,
        crashes=_crashes(odd, messages, calm_from_s) if harsh else (),
        clock_steps=_clock_steps(odd, calm_from_s) if harsh else (),
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


def _surplus(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> Steps | Recorded:
    if rng.random() < 0.5:
        day = load_trace(bundled_trace_path(), str(rng.choice(TRACE_DAYS)))
        trace = SurplusTrace(
            trace=day,
            start_second_of_day=float(rng.uniform(day.second_of_day[0], day.second_of_day[-1] - calm_from_s)),
            base_w=float(rng.uniform(0.4, 0.9)) * rated_w,
            capacity_w=float(rng.uniform(0.2, 0.8)) * rated_w,
            interpolation="hold" if rng.random() < 0.5 else "linear",
        )
        return Recorded(trace, calm_from_s)
    at_s, power_w = [0.0], [float(rng.uniform(0.0, 1.1)) * rated_w]
    while at_s[-1] < calm_from_s:
        stay_s = float(rng.uniform(5.0, 90.0))
        at_s += [at_s[-1] + stay_s, at_s[-1] + stay_s + float(rng.choice([0.2, 4.0, 30.0, 90.0]))]
        power_w += [power_w[-1], float(rng.uniform(0.0, 1.1)) * rated_w]
    beyond = [at for at in at_s if at < calm_from_s]
    last = float(np.interp(calm_from_s, at_s, power_w))
    return Steps((*beyond, calm_from_s), (*power_w[: len(beyond)], last))


def _moment(rng: np.random.Generator, first_s: float, last_s: float) -> float:
    return float(rng.uniform(first_s, max(last_s, first_s)))


def _spell(rng: np.random.Generator, until_s: float, longest_s: float) -> tuple[float, float]:
    begin_s = float(rng.uniform(20.0, max(until_s - 20.0, 21.0)))
    return begin_s, min(begin_s + float(rng.uniform(2.0, longest_s)), until_s)


def _input_faults(rng: np.random.Generator, calm_from_s: float) -> tuple[InputFault, ...]:
    faults = []
    kinds = {
        "poi": (InputFaultKind.STALE, InputFaultKind.BAD, InputFaultKind.STUCK, InputFaultKind.SIGN_FLIP),
        "site": (InputFaultKind.STALE, InputFaultKind.BAD, InputFaultKind.STUCK, InputFaultKind.SIGN_FLIP),
        "plant": (InputFaultKind.STALE, InputFaultKind.BAD, InputFaultKind.HEARTBEAT_STOPPED),
    }
    for _ in range(int(rng.integers(0, 4))):
        feed = str(rng.choice(list(kinds)))
        kind = kinds[feed][int(rng.integers(len(kinds[feed])))]
        begin_s, end_s = _spell(rng, calm_from_s, 120.0)
        faults.append(InputFault(feed, kind, begin_s, end_s))
    return tuple(faults)


def _late_faults(odd: np.random.Generator, calm_from_s: float) -> tuple[InputFault, ...]:
    """Meters that are wrong in ways that look right: another CT ratio, values of a while ago, every other read lost."""
    kinds = (InputFaultKind.TENFOLD, InputFaultKind.DELAYED, InputFaultKind.DROPS)
    found = []
    for feed in ("poi", "site"):
        if odd.random() < 0.15:
            kind = kinds[int(odd.integers(len(kinds)))]
            found.append(InputFault(feed, kind, *_spell(odd, calm_from_s, 120.0)))
    return tuple(found)


def _crashes(odd: np.random.Generator, messages: tuple[Message, ...], calm_from_s: float) -> tuple[Crash, ...]:
    """One in three seeds; down for as long as systemd and a start take. Orders of that while wait at the broker."""
    if odd.random() > 0.35:
        return ()
    crash = Crash(_moment(odd, 20.0, calm_from_s - 40.0), float(odd.uniform(1.0, 10.0)))
    # An order that would end, or be too old, while nobody is there has no one right answer.
    waiting = [one for one in messages if crash.at_s - 1.0 <= one.at_s <= crash.up_s]
    return () if _ends_meanwhile(waiting, crash) else (crash,)


def _ends_meanwhile(waiting: list[Message], crash: Crash) -> bool:
    orders = [one.received.message for one in waiting]
    return any(isinstance(one, Dispatch) and one.expires_at - WALL_AT_START < crash.up_s + 3.0 for one in orders)


def _clock_steps(odd: np.random.Generator, calm_from_s: float) -> tuple[ClockStep, ...]:
    """One in four seeds, either way; half of them are set right again."""
    if odd.random() > 0.25:
        return ()
    by_s = float(odd.choice([-1.0, 1.0]) * np.exp(odd.uniform(np.log(2.0), np.log(5_000.0))))
    at_s = _moment(odd, 20.0, calm_from_s - 60.0)
    back_s = at_s + float(odd.uniform(5.0, 120.0))
    first = ClockStep(at_s, by_s)
    return (first, ClockStep(back_s, -by_s)) if odd.random() < 0.5 and back_s < calm_from_s - 35.0 else (first,)


def _feeder_faults(rng: np.random.Generator, feeders: int, calm_from_s: float) -> tuple[InputFault, ...]:
    kinds = (InputFaultKind.STALE, InputFaultKind.BAD, InputFaultKind.STUCK)
    found = []
    for feeder in range(feeders):
        if rng.random() < 0.3:
            kind = kinds[int(rng.integers(len(kinds)))]
            found.append(InputFault(f"feeder-{feeder}", kind, *_spell(rng, calm_from_s, 200.0)))
    return tuple(found)


def _strangers(rng: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    """Addresses at which another machine answers for a while."""
    if rng.random() > 0.2:
        return ()
    found = rng.choice(miners, size=max(miners // 50, 1), replace=False)
    return tuple(Outage(int(miner), *_spell(rng, calm_from_s, 120.0)) for miner in found)


def _outages(rng: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    found = []
    for miner in np.flatnonzero(rng.random(miners) < rng.choice([0.0, 0.05])):
        begin_s, end_s = _spell(rng, calm_from_s, 90.0)
        found.append(Outage(int(miner), begin_s, end_s))
    if rng.random() < 0.15:  # a switch fails: a fifth of the fleet at once
        begin_s, end_s = _spell(rng, calm_from_s, 60.0)
        found.extend(Outage(int(miner), begin_s, end_s) for miner in np.flatnonzero(rng.random(miners) < 0.2))
    return tuple(found)


def _dead_switch(luck: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    """Now and then 30 % of the fleet at once, for up to two minutes."""
    if luck.random() > 0.15:
        return ()
    begin_s, end_s = _spell(luck, calm_from_s, 120.0)
    lost = luck.choice(miners, size=int(np.ceil(0.3 * miners)), replace=False)
    return tuple(Outage(int(miner), begin_s, end_s) for miner in lost)


def _trips(luck: np.random.Generator, feeders: int, calm_from_s: float) -> tuple[FeederTrip, ...]:
    """Now and then a feeder, early enough that its slowest miners are back when the calm begins."""
    latest_s = calm_from_s - 160.0
    if luck.random() > 0.25 or latest_s < 60.0:
        return ()
    begin_s = _moment(luck, 30.0, latest_s - 20.0)
    end_s = min(begin_s + float(luck.uniform(4.0, 120.0)), latest_s)
    return (FeederTrip(int(luck.integers(feeders)), begin_s, end_s),)


def _reboots(rng: np.random.Generator, fleet: FleetSpec, calm_from_s: float) -> tuple[tuple[float, int], ...]:
    """Miners that restart by themselves; only well-behaved ones, whose return can be foretold."""
    behaviours = fleet.behaviours or ()
    found = []
    for miner, behaviour in enumerate(behaviours):
        if behaviour is Behaviour.OBEYS and rng.random() < 0.01:
            found.append((_moment(rng, 20.0, calm_from_s - 10.0), miner))
    return tuple(found)


def _plant_events(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> tuple[PlantEvent, ...]:
    events = []
    if rng.random() < 0.3:
        at_s = _moment(rng, 30.0, calm_from_s - 90.0)
        events.append(PlantEvent(at_s, float(rng.uniform(0.1, 0.8)) * rated_w, 45.0, emergency=False))
    if rng.random() < 0.2:
        at_s = _moment(rng, 30.0, calm_from_s - 60.0)
        events.append(PlantEvent(at_s, 0.0, float(rng.uniform(10.0, 50.0)), emergency=True))
    return tuple(events)


def _operations(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> tuple[Operation, ...]:
    if rng.random() > 0.15:
        return ()
    at_s = _moment(rng, 20.0, calm_from_s - 80.0)
    expires = WALL_AT_START + at_s + float(rng.uniform(10.0, 60.0))
    cap = OperatorOrder(OperatorVerb.CAP, "operator", round(float(rng.uniform(0.2, 0.9)) * rated_w), expires)
    return (Operation(at_s, cap),)


def _messages(rng: np.random.Generator, seed: int, rated_w: int, calm_from_s: float) -> tuple[Message, ...]:
    """Valid orders of two issuers, and everything that must be refused."""
    found: list[Message] = []
    seq = {"grid": 10, "trader": 500}
    sent: list[Dispatch] = []
    at_s = float(rng.uniform(15.0, 60.0))
    while at_s < calm_from_s - 10.0 and len(found) < 40:
        issuer = str(rng.choice(list(seq)))
        wall = WALL_AT_START + at_s
        seq[issuer] += 1
        order = _order(rng, f"{seed}-{len(found)}", issuer, seq[issuer], wall, rated_w, calm_from_s - at_s)
        order = _later(np.random.default_rng([seed, len(found), LATER_STREAM]), order, wall, calm_from_s - at_s)
        message, keeps_seq = _spoil(rng, order, wall, sent)
        if message.obeyed:
            sent.append(order)
        elif not keeps_seq:
            seq[issuer] -= 1
        found.append(replace(message, at_s=at_s))
        at_s += float(rng.exponential(45.0)) if rng.random() > 0.1 else 0.0
    return tuple(found)


def _order(
    rng: np.random.Generator, order_id: str, issuer: str, seq: int, wall: float, rated_w: int, left_s: float
) -> Dispatch:
    kind = DispatchKind(str(rng.choice(["cap", "target", "release"], p=[0.55, 0.25, 0.2])))
    urgent = kind is DispatchKind.CAP and rng.random() < 0.15
    return Dispatch(
        dispatch_id=order_id,
        issuer=issuer,
        seq=seq,
        issued_at=wall - float(rng.uniform(0.0, 2.0)),
        expires_at=wall + min(float(rng.uniform(5.0, 180.0)), left_s),
        dispatch_class=DispatchClass.EMERGENCY if urgent else DispatchClass(str(rng.choice(["normal", "economic"]))),
        kind=kind,
        power_w=None if kind is DispatchKind.RELEASE else round(float(rng.uniform(0.0, 1.0)) * rated_w),
        priority=int(rng.integers(0, 3)),
    )


def _later(rng: np.random.Generator, order: Dispatch, wall: float, left_s: float) -> Dispatch:
    """One in four of those that can be scheduled is; `rng` is its own, so that the rest of a seed stays as it was."""
    cannot = order.kind is DispatchKind.RELEASE or order.dispatch_class is DispatchClass.EMERGENCY
    if cannot or left_s < 30.0 or rng.random() > 0.25:
        return order
    begins = wall + float(rng.uniform(1.0, min(150.0, left_s - 20.0)))
    ends = min(begins + order.expires_at - wall, wall + left_s)
    return replace(order, not_before=begins, expires_at=ends)


def _spoil(rng: np.random.Generator, order: Dispatch, wall: float, sent: list[Dispatch]) -> tuple[Message, bool]:
    """The order as it is, or one of the ways in which it must be refused; and whether its number counts as used."""
    way = int(rng.integers(0, 14))
    retained = False
    message: Dispatch | Malformed = order
    match way:
        case 0 if sent:
            message = sent[int(rng.integers(len(sent)))]  # the same bytes again
        case 1:
            message = replace(order, expires_at=wall - 1.0, issued_at=wall - 20.0)
        case 2:
            message = replace(order, issued_at=wall - 300.0)
        case 3:
            message = replace(order, issued_at=wall + 60.0, expires_at=wall + 120.0)
        case 4 if order.power_w is not None:
            message = replace(order, power_w=-5_000 if rng.random() < 0.5 else 10**9)
        case 5:
            message = Malformed(order.dispatch_id, order.issuer, RejectCode.INVALID_DATA, "kw: not a number")
        case 6 if any(one.issuer == order.issuer for one in sent):
            message = replace(order, seq=order.seq - 5)
        case 7:
            retained = True
        case _:
            return Message(0.0, Received(order, wall), obeyed=True), True
    return Message(0.0, Received(message, wall, retained), obeyed=False), False
