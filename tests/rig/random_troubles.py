"""What goes wrong in the run of a seed, and when: meters, miners, feeders, the plant, the daemon, its clock."""

from __future__ import annotations

import numpy as np

from controller.domain.dispatch import Dispatch
from controller.domain.plan import OperatorOrder, OperatorVerb
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from tests.rig.setup import (
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
)


def _moment(rng: np.random.Generator, first_s: float, last_s: float) -> float:
    return float(rng.uniform(first_s, max(last_s, first_s)))


def _spell(rng: np.random.Generator, until_s: float, longest_s: float) -> tuple[float, float]:
    begin_s = float(rng.uniform(20.0, max(until_s - 20.0, 21.0)))
    return begin_s, min(begin_s + float(rng.uniform(2.0, longest_s)), until_s)


def input_faults(rng: np.random.Generator, calm_from_s: float) -> tuple[InputFault, ...]:
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


def late_faults(odd: np.random.Generator, calm_from_s: float) -> tuple[InputFault, ...]:
    """Meters that are wrong in ways that look right: another CT ratio, values of a while ago, every other read lost."""
    kinds = (InputFaultKind.TENFOLD, InputFaultKind.DELAYED, InputFaultKind.DROPS)
    found = []
    for feed in ("poi", "site"):
        if odd.random() < 0.15:
            kind = kinds[int(odd.integers(len(kinds)))]
            found.append(InputFault(feed, kind, *_spell(odd, calm_from_s, 120.0)))
    return tuple(found)


def crashes(odd: np.random.Generator, messages: tuple[Message, ...], calm_from_s: float) -> tuple[Crash, ...]:
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


def clock_steps(odd: np.random.Generator, calm_from_s: float) -> tuple[ClockStep, ...]:
    """One in four seeds, either way; half of them are set right again."""
    if odd.random() > 0.25:
        return ()
    by_s = float(odd.choice([-1.0, 1.0]) * np.exp(odd.uniform(np.log(2.0), np.log(5_000.0))))
    at_s = _moment(odd, 20.0, calm_from_s - 60.0)
    back_s = at_s + float(odd.uniform(5.0, 120.0))
    first = ClockStep(at_s, by_s)
    return (first, ClockStep(back_s, -by_s)) if odd.random() < 0.5 and back_s < calm_from_s - 35.0 else (first,)


def feeder_faults(rng: np.random.Generator, feeders: int, calm_from_s: float) -> tuple[InputFault, ...]:
    kinds = (InputFaultKind.STALE, InputFaultKind.BAD, InputFaultKind.STUCK)
    found = []
    for feeder in range(feeders):
        if rng.random() < 0.3:
            kind = kinds[int(rng.integers(len(kinds)))]
            found.append(InputFault(f"feeder-{feeder}", kind, *_spell(rng, calm_from_s, 200.0)))
    return tuple(found)


def strangers(rng: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    """Addresses at which another machine answers for a while."""
    if rng.random() > 0.2:
        return ()
    found = rng.choice(miners, size=max(miners // 50, 1), replace=False)
    return tuple(Outage(int(miner), *_spell(rng, calm_from_s, 120.0)) for miner in found)


def outages(rng: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    found = []
    for miner in np.flatnonzero(rng.random(miners) < rng.choice([0.0, 0.05])):
        begin_s, end_s = _spell(rng, calm_from_s, 90.0)
        found.append(Outage(int(miner), begin_s, end_s))
    if rng.random() < 0.15:  # a switch fails: a fifth of the fleet at once
        begin_s, end_s = _spell(rng, calm_from_s, 60.0)
        found.extend(Outage(int(miner), begin_s, end_s) for miner in np.flatnonzero(rng.random(miners) < 0.2))
    return tuple(found)


def dead_switch(luck: np.random.Generator, miners: int, calm_from_s: float) -> tuple[Outage, ...]:
    """Now and then 30 % of the fleet at once, for up to two minutes."""
    if luck.random() > 0.15:
        return ()
    begin_s, end_s = _spell(luck, calm_from_s, 120.0)
    lost = luck.choice(miners, size=int(np.ceil(0.3 * miners)), replace=False)
    return tuple(Outage(int(miner), begin_s, end_s) for miner in lost)


def trips(luck: np.random.Generator, feeders: int, calm_from_s: float) -> tuple[FeederTrip, ...]:
    """Now and then a feeder, early enough that its slowest miners are back when the calm begins."""
    latest_s = calm_from_s - 160.0
    if luck.random() > 0.25 or latest_s < 60.0:
        return ()
    begin_s = _moment(luck, 30.0, latest_s - 20.0)
    end_s = min(begin_s + float(luck.uniform(4.0, 120.0)), latest_s)
    return (FeederTrip(int(luck.integers(feeders)), begin_s, end_s),)


def reboots(rng: np.random.Generator, fleet: FleetSpec, calm_from_s: float) -> tuple[tuple[float, int], ...]:
    """Miners that restart by themselves; only well-behaved ones, whose return can be foretold."""
    behaviours = fleet.behaviours or ()
    found = []
    for miner, behaviour in enumerate(behaviours):
        if behaviour is Behaviour.OBEYS and rng.random() < 0.01:
            found.append((_moment(rng, 20.0, calm_from_s - 10.0), miner))
    return tuple(found)


def plant_events(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> tuple[PlantEvent, ...]:
    events = []
    if rng.random() < 0.3:
        at_s = _moment(rng, 30.0, calm_from_s - 90.0)
        events.append(PlantEvent(at_s, float(rng.uniform(0.1, 0.8)) * rated_w, 45.0, emergency=False))
    if rng.random() < 0.2:
        at_s = _moment(rng, 30.0, calm_from_s - 60.0)
        events.append(PlantEvent(at_s, 0.0, float(rng.uniform(10.0, 50.0)), emergency=True))
    return tuple(events)


def operations(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> tuple[Operation, ...]:
    if rng.random() > 0.15:
        return ()
    at_s = _moment(rng, 20.0, calm_from_s - 80.0)
    expires = WALL_AT_START + at_s + float(rng.uniform(10.0, 60.0))
    cap = OperatorOrder(OperatorVerb.CAP, "operator", round(float(rng.uniform(0.2, 0.9)) * rated_w), expires)
    return (Operation(at_s, cap),)
