"""What judges of a run have in common: what a breach is, what a run allows, and when a site cannot see."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from controller.domain.command import Verb
from controller.domain.fleet import BoolArray, FloatArray
from simulators.accounting import violation_horizon_s
from simulators.asic.models import MinerModel
from simulators.asic.response import Behaviour, VerbResponse
from tests.rig.record import CycleRow, Record
from tests.rig.setup import InputFaultKind, Setup

LONGEST_RUN_S = 2.0
TOLERANCE = 0.01  # of rated: what the rule allows above the cap
DRAWS_ON = Behaviour.LIAR_SLEEP | Behaviour.REFUSES | Behaviour.IGNORES | Behaviour.SILENT_DRAW
NOISE = 0.015  # of rated: boots overshoot by 3 %, meters wander


@dataclass(frozen=True, slots=True)
class Breach:
    """One breach of one rule, with the loop second it began."""

    checker: str
    at_s: float
    text: str


Checker = Callable[[Setup, Record], list[Breach]]


def horizon_s(setup: Setup) -> float:
    """H: how long after a fall of the cap the load may physically still be above it, with the slowest of the fleet."""
    slowest = max(setup.fleet.response_scale or (1.0,))
    models = {id(model): model for model in setup.fleet.models}  # their hash goes through every figure of theirs
    verb = max((_slowest_way_down(model) for model in models.values()), key=lambda one: one.slowest_total_s)
    return violation_horizon_s(
        setup.meter_period_s + setup.tick_s,
        setup.policy.cycle_s,
        verb.dead_time.high_s * slowest,
        verb.to_90_percent.high_s * slowest,
    )


def _slowest_way_down(model: MinerModel) -> VerbResponse:
    """Sleep, or trim where there is one."""
    sleep, trim = model.response.sleep, model.response.profile
    return trim if model.trims and trim.slowest_total_s > sleep.slowest_total_s else sleep


def blind_spells(setup: Setup) -> list[tuple[float, float]]:
    """When the site could not see: from a fault of an input, or a crash, until it is gone and the load had time to
    follow. A start looks at every meter and miner first."""
    faults = [(fault.begin_s, fault.end_s + horizon_s(setup)) for fault in setup.input_faults]
    return faults + [(crash.at_s, crash.up_s + setup.sweep_s + horizon_s(setup)) for crash in setup.crashes]


def deaf(setup: Setup) -> list[tuple[float, float]]:
    """When the plant's flags could not be read, or nobody was there to read them."""
    kinds = (InputFaultKind.STALE, InputFaultKind.BAD)
    faults = [(one.begin_s, one.end_s) for one in setup.input_faults if one.feed == "plant" and one.kind in kinds]
    return faults + [(crash.at_s, crash.up_s + setup.sweep_s) for crash in setup.crashes]


def blind_for_sure(setup: Setup) -> list[tuple[float, float]]:
    """Spells in which the core must know that it does not see: after its patience, until the fault ends."""
    limits = setup.policy.inputs
    after = {
        InputFaultKind.STALE: limits.hold_after_s,
        InputFaultKind.BAD: 0.0,
        InputFaultKind.SIGN_FLIP: limits.balance_after_s,
        InputFaultKind.HEARTBEAT_STOPPED: limits.dcs_heartbeat_after_s,
    }
    slack_s = 2.0 * setup.policy.cycle_s + setup.meter_period_s
    spells = []
    for fault in setup.input_faults:
        hidden = any(
            other.kind is InputFaultKind.STUCK
            and other.feed == fault.feed
            and other.begin_s < fault.end_s
            and fault.begin_s < other.end_s
            for other in setup.input_faults
        )
        if fault.kind in after and not hidden:  # a meter that stands still shows neither a missing value nor a sign
            begin_s = fault.begin_s + after[fault.kind] + slack_s
            if begin_s < fault.end_s:
                spells.append((begin_s, fault.end_s))
    # A start knows no clock before its own: a step is seen by a process that lived through it, and kept from then on.
    steps = [
        step
        for step in setup.clock_steps
        if not any(crash.at_s <= step.at_s + slack_s and crash.up_s >= step.at_s - slack_s for crash in setup.crashes)
    ]
    return spells + [(step.at_s + slack_s, step.at_s + limits.rearm_s) for step in steps]


def is_misled(setup: Setup, begin_s: float, end_s: float) -> bool:
    """Whether the site meter stands still at a load that is gone while another input is lost: nobody knows then."""
    return any(
        fault.feed == "site" and fault.kind is InputFaultKind.STUCK and fault.begin_s < end_s and begin_s < fault.end_s
        for fault in setup.input_faults
    )


def back_within_s(setup: Setup, miner: int) -> float:
    """After so long a miner that restarted by itself is at full power again, however slow it is."""
    times, slowest = setup.fleet.models[miner].response, max(setup.fleet.response_scale or (1.0,))
    return slowest * (times.reboot_off.high_s + 2.0 * times.wake.to_90_percent.high_s)


def came_back_w(setup: Setup, begin_s: float, end_s: float) -> float:
    """Power of miners that restart by themselves and come back within a spell: nobody ordered that."""
    total = 0.0
    for at_s, miner in setup.reboots:
        if begin_s - back_within_s(setup, miner) <= at_s <= end_s:
            total += setup.fleet.models[miner].nameplate.power_w
    for miner, trip in setup.tripped().items():
        if begin_s - back_within_s(setup, miner) <= trip.end_s <= end_s:
            total += setup.fleet.models[miner].nameplate.power_w
    return total


def undiscovered_w(setup: Setup, record: Record, t_s: FloatArray) -> FloatArray:
    """What draws on though it was told to sleep, at the site meter, (ticks,), until anybody can know: one that says no
    tells so by the next cycle but one, any other could be a slow one for as long as the slowest takes. To be told again
    before it was told to hash tells nothing new."""
    watts, told = np.zeros(len(t_s)), set[int]()
    behaviours = setup.fleet.behaviours or [Behaviour.OBEYS] * len(setup.facts)
    feeders = setup.plant.site.feeders
    for at_s, one in ((row.at_s, one) for row in record.cycles for one in row.commands):
        behaviour = behaviours[one.miner]
        if one.verb is Verb.WAKE:
            told.discard(one.miner)
        if one.verb is not Verb.SLEEP or one.miner in told or not behaviour & DRAWS_ON:
            continue
        told.add(one.miner)
        known_s = at_s + (2.0 * setup.policy.cycle_s if behaviour & Behaviour.REFUSES else horizon_s(setup))
        at_meter = 1.0 + feeders[setup.feeder_of_miner[one.miner]].loss_fraction
        watts[(t_s >= at_s) & (t_s < known_s)] += at_meter * setup.fleet.models[one.miner].nameplate.power_w
    return watts


@dataclass(frozen=True, slots=True)
class Exceeded:
    """A limit that carries more than its rating, as the core said, from `begin_s` until `end_s`; below: (n,) miners."""

    begin_s: float
    end_s: float
    below: BoolArray


def exceeded_limits(setup: Setup, record: Record) -> list[Exceeded]:
    """Lowering for these is no matter of ramps or dwell."""
    tree, found = setup.facts.limits, []
    open_since: dict[str, float] = {}
    said = [
        (at, name, text.split()[1]) for at, name, _, text in record.events if name in ("limit_exceeded", "limit_kept")
    ]
    for at_s, name, limit in said:
        if name == "limit_exceeded":
            open_since[limit] = at_s
        elif limit in open_since:
            found.append(Exceeded(open_since.pop(limit), at_s, tree.below(tree.names.index(limit))))
    rest = [Exceeded(at_s, np.inf, tree.below(tree.names.index(limit))) for limit, at_s in open_since.items()]
    return found + rest


def within(t_s: FloatArray, spells: list[tuple[float, float]]) -> BoolArray:
    inside = np.zeros(len(t_s), dtype=np.bool_)
    for begin_s, end_s in spells:
        inside |= (t_s >= begin_s) & (t_s < end_s)
    return inside


def runs(t_s: FloatArray, where: BoolArray) -> Iterator[tuple[float, float]]:
    """(begin, length) in seconds of every unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    for first, beyond in zip(edges[::2], edges[1::2], strict=True):
        yield float(t_s[first]), float(t_s[min(beyond, len(t_s) - 1)] - t_s[first])


def first_cycle(record: Record, at_s: float) -> CycleRow | None:
    """The cycle at or after a moment."""
    return next((row for row in record.cycles if row.at_s >= at_s - 1e-9), None)
