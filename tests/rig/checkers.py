"""Judges of a run, each independent of the core and of the others: they know the setup, true power and what was said.

A checker returns the breaches it found; an empty list is a clean run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from controller.domain.dispatch import AnswerStatus, Dispatch, DispatchClass, DispatchKind, Malformed
from controller.domain.fleet import BoolArray, FloatArray, Verb
from controller.domain.plan import OperatorVerb
from simulators.accounting import holding_times_s, trailing_max, violation_horizon_s
from simulators.asic.models import MinerModel
from simulators.asic.response import Behaviour, VerbResponse
from tests.rig.record import CycleRow, Record
from tests.rig.setup import WALL_AT_START, InputFaultKind, Setup

LONGEST_RUN_S = 2.0
TOLERANCE = 0.01  # of rated: what the rule allows above the cap
NOISE = 0.015  # of rated: boots overshoot by 3 %, meters wander
SETTLED = 0.06  # of rated: one miner's step, the margin, a meter's noise


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
    verb = max((_slowest_way_down(model) for model in set(setup.fleet.models)), key=lambda one: one.slowest_total_s)
    return violation_horizon_s(
        setup.meter_period_s,
        setup.policy.cycle_s,
        verb.dead_time.high_s * slowest,
        verb.to_90_percent.high_s * slowest,
    )


def _slowest_way_down(model: MinerModel) -> VerbResponse:
    """Sleep, or trim where there is one."""
    sleep, trim = model.response.sleep, model.response.profile
    return trim if model.trims and trim.slowest_total_s > sleep.slowest_total_s else sleep


def blind_spells(setup: Setup) -> list[tuple[float, float]]:
    """When the site could not see: from a fault of an input until it is gone and the load had time to follow."""
    return [(fault.begin_s, fault.end_s + horizon_s(setup)) for fault in setup.input_faults]


def load_under_cap(setup: Setup, record: Record) -> list[Breach]:
    """True load above the surplus cap - or what no order can take off - for longer than physics allows."""
    t_s, load_w, cap_w, stubborn_w = record.arrays()
    limit_w = np.maximum(cap_w, stubborn_w)
    above = load_w > trailing_max(t_s, limit_w, horizon_s(setup)) + TOLERANCE * setup.policy.rated_w
    above &= ~_within(t_s, blind_spells(setup)) & (t_s > horizon_s(setup) + setup.sweep_s)
    return [
        Breach("load_under_cap", begin, f"above the cap for {length:.1f} s")
        for begin, length in _runs(t_s, above)
        if length > LONGEST_RUN_S
    ]


def raw_violation_s(setup: Setup, record: Record) -> float:
    """Seconds above the cap with no allowance for physics at all (H = 0), blind spells included."""
    t_s, load_w, cap_w, _ = record.arrays()
    return float(holding_times_s(t_s)[load_w > cap_w + TOLERANCE * setup.policy.rated_w].sum())


def blind_only_down(setup: Setup, record: Record) -> list[Breach]:
    """While an input is gone or known to be false: no command that raises, and the load never climbs."""
    found: list[Breach] = []
    t_s, load_w, _, _ = record.arrays()
    for begin_s, end_s in _blind_for_sure(setup):
        raising = [
            (row, [one for one in row.commands if one.raises or one.verb is Verb.WAKE])
            for row in record.cycles
            if begin_s <= row.at_s < end_s
        ]
        found.extend(
            Breach("blind_only_down", row.at_s, f"{len(commands)} raising commands, first {commands[0]}")
            for row, commands in raising
            if commands
        )
        # What was ordered before the light went out still arrives: allow it, and nothing more.
        inside = (t_s >= begin_s) & (t_s < end_s)
        if not inside.any() or _misled(setup, begin_s, end_s):
            continue
        lookback = (t_s >= begin_s - 15.0) & (t_s <= begin_s + 2.0)
        ordered = [row.setpoint_w for row in record.cycles if begin_s - 10.0 <= row.at_s <= begin_s]
        ceiling_w = max([float(load_w[lookback].max(initial=0.0)), *ordered]) + NOISE * setup.policy.rated_w
        ceiling_w += _came_back_w(setup, begin_s, end_s)
        above = inside & (load_w > ceiling_w)
        if above.any():
            at = float(t_s[above][0])
            text = f"load up to {load_w[above].max() / 1e3:.1f} kW, {ceiling_w / 1e3:.1f} kW when it went blind"
            found.append(Breach("blind_only_down", at, text))
    return found


def blind_ends_low(setup: Setup, record: Record) -> list[Breach]:
    """Blind for long enough: the load has ramped to the fallback, or to what no order can take off."""
    limits, ramp = setup.policy.inputs, setup.policy.ramp
    t_s, load_w, _, stubborn_w = record.arrays()
    found = []
    for begin_s, end_s in _blind_for_sure(setup):
        if _misled(setup, begin_s, end_s):
            continue
        start_w = float(np.interp(begin_s, t_s, load_w))
        there_s = begin_s + limits.fallback_after_s + limits.fallback_offset_s
        there_s += start_w / ramp.fallback_w_per_min * 60.0 + horizon_s(setup) + 10.0
        inside = (t_s >= there_s) & (t_s < end_s)
        allowed_w = np.maximum(stubborn_w, setup.policy.fallback_w) + 2.0 * NOISE * setup.policy.rated_w
        over = inside & (load_w > allowed_w)
        if over.any():
            found.append(Breach("blind_ends_low", float(t_s[over][0]), f"{load_w[over].max() / 1e3:.1f} kW"))
    return found


def plan_adds_up(setup: Setup, record: Record) -> list[Breach]:
    """plan + unallocated = set-point, and the plan's watts are those of its arrays."""
    del setup
    return [
        Breach("plan_adds_up", row.at_s, f"gap {row.plan_gap_w:.3f} W, recount {row.recount_gap_w:.3f} W")
        for row in record.cycles
        if abs(row.plan_gap_w) > 1e-3 or (abs(row.recount_gap_w) > 1.0 and row.bound != "hold")
    ]


def ramp_up_kept(setup: Setup, record: Record) -> list[Breach]:
    """The load rises no faster than the ramp, per minute and within 15 s, unless the site meter lies about it. What
    started by itself with its feeder's power is not ours until it could be put to sleep."""
    lies = (InputFaultKind.STUCK, InputFaultKind.SIGN_FLIP)
    misled = [
        (fault.begin_s, fault.end_s) for fault in setup.input_faults if fault.feed == "site" and fault.kind in lies
    ]
    t_s, load_w, _, _ = record.arrays()
    self_w = np.array(record.self_started_w)
    ramp, rated_w = setup.policy.ramp, setup.policy.rated_w
    found = []
    for window_s, allowed_w in ((60.0, ramp.up_w_per_min), (15.0, ramp.up_w_per_15s)):
        steps = round(window_s / (t_s[1] - t_s[0]))
        if len(t_s) <= steps:
            continue
        rise_w = load_w[steps:] - load_w[:-steps]
        began = t_s[:-steps]
        over = rise_w > 1.05 * allowed_w + 2.0 * NOISE * rated_w + _reboots_w(setup, began, window_s) + self_w[steps:]
        over &= ~_within(began, [(begin_s - window_s, end_s) for begin_s, end_s in misled])
        if over.any():
            at = int(np.argmax(over))
            text = f"rose {rise_w[over].max() / 1e3:.1f} kW in {window_s:g} s, {allowed_w / 1e3:.1f} kW allowed"
            found.append(Breach("ramp_up_kept", float(began[at]), text))
    return found


def dwell_kept(setup: Setup, record: Record) -> list[Breach]:
    """Nobody is woken before its rest is over, nor put to sleep early unless what is under way would pass a limit."""
    policy = setup.policy.fleet
    t_s, load_w, _, _ = record.arrays()
    trips = setup.tripped()
    slept: dict[int, float] = {}
    woke: dict[int, float] = {}
    found = []
    for row in record.cycles:
        for command in row.commands:
            if command.verb is Verb.WAKE:
                rested = row.at_s - slept.get(command.miner, -np.inf)
                again = command.miner in woke and woke[command.miner] > slept.get(command.miner, -np.inf)
                if not again and rested < policy.dwell_off_s - 1e-6:
                    found.append(Breach("dwell_kept", row.at_s, f"miner {command.miner} woken after {rested:.1f} s"))
                woke[command.miner] = row.at_s
            elif command.verb is Verb.SLEEP:
                again = command.miner in slept and slept[command.miner] > woke.get(command.miner, -np.inf)
                ran = row.at_s - woke.get(command.miner, -np.inf)
                limit_w = row.setpoint_w if row.fail_safe != "good" else max(row.cap_w or 0.0, row.setpoint_w)
                must_fall = max(row.committed_w, float(np.interp(row.at_s, t_s, load_w))) > limit_w
                trip = trips.get(command.miner)
                cut_off = trip is not None and woke.get(command.miner, np.inf) <= trip.end_s < row.at_s
                if not (again or row.shed or must_fall or cut_off) and ran < policy.dwell_on_s - 1e-6:
                    found.append(
                        Breach("dwell_kept", row.at_s, f"miner {command.miner} put to sleep after {ran:.1f} s")
                    )
                slept[command.miner] = row.at_s
    return found


def orders_answered(setup: Setup, record: Record) -> list[Breach]:
    """A valid order: received, accepted or clamped, one terminal answer in the end. An invalid one: rejected only."""
    found = []
    by_id: dict[str, list[tuple[float, AnswerStatus, bool]]] = {}
    for at_s, answer in record.answers:
        by_id.setdefault(answer.dispatch_id, []).append((at_s, answer.status, answer.terminal))
    accepting = (AnswerStatus.ACCEPTED, AnswerStatus.CLAMPED)
    valid = {message.received.message.dispatch_id: message for message in setup.messages if message.obeyed}
    for message in setup.messages:
        order_id = message.received.message.dispatch_id
        said = by_id.get(order_id, [])
        first = next((at for at, _, _ in said if at >= message.at_s - 1e-9), None)
        if first is None or first - message.at_s > 2.0:
            found.append(Breach("orders_answered", message.at_s, f"{order_id} got no answer within 2 s"))
        terminals = sum(terminal for _, _, terminal in said)
        order = message.received.message
        ended = isinstance(order, Malformed) or not message.obeyed or _ended(setup, order)
        if ended and terminals != 1:
            found.append(
                Breach("orders_answered", message.at_s, f"{order_id} got {terminals} terminal answers: {said}")
            )
        accepted = any(status in accepting for _, status, _ in said)
        if accepted != (order_id in valid):
            found.append(Breach("orders_answered", message.at_s, f"{order_id}: accepted {accepted}: {said}"))
    return found


def caps_obeyed(setup: Setup, record: Record) -> list[Breach]:
    """A dispatcher's or operator's cap holds once ramp and physics had their time; an emergency one without ramp."""
    t_s, load_w, _, stubborn_w = record.arrays()
    found = []
    for begin_s, end_s, cap_w, urgent, name in caps_in_force(setup):
        start_w = float(np.interp(begin_s, t_s, load_w))
        ramp = setup.policy.ramp
        slow = max(ramp.down_w_per_min / 60.0, 1.0)
        quick = max(ramp.down_w_per_15s / 15.0, 1.0)
        ramp_s = 0.0 if urgent else max(start_w - cap_w, 0.0) / min(slow, quick)
        there_s = begin_s + ramp_s + (10.0 if urgent else 20.0) + horizon_s(setup)
        limit_w = np.maximum(cap_w, stubborn_w) + 2.0 * TOLERANCE * setup.policy.rated_w
        over = (t_s >= there_s) & (t_s < end_s) & (load_w > limit_w) & ~_within(t_s, blind_spells(setup))
        for begin, length in _runs(t_s, over):
            if length > LONGEST_RUN_S:
                found.append(Breach("caps_obeyed", begin, f"{name}: above {cap_w / 1e3:.1f} kW for {length:.1f} s"))
    return found


def sheds_at_once(setup: Setup, record: Record) -> list[Breach]:
    """The emergency flag: 95 % of what can be shed is gone within 10 s (plus what slow miners of the run need)."""
    t_s, load_w, _, stubborn_w = record.arrays()
    found = []
    for event in setup.plant_events:
        if not event.emergency or event.held_s < 20.0:
            continue
        before_w = float(np.interp(event.at_s, t_s, load_w))
        for after_s, share in ((max(10.0, horizon_s(setup)), 0.95), (30.0, 0.99)):
            at = int(np.searchsorted(t_s, event.at_s + after_s))
            if after_s >= event.held_s or any(s <= event.at_s + after_s and e >= event.at_s for s, e in _deaf(setup)):
                continue
            left_w = float(load_w[at] - stubborn_w[at])
            allowed_w = (1.0 - share) * max(before_w - float(stubborn_w[at]), 0.0) + 500.0
            if left_w > allowed_w:
                text = f"{left_w / 1e3:.1f} kW sheddable left after {after_s:g} s, {allowed_w / 1e3:.1f} kW allowed"
                found.append(Breach("sheds_at_once", event.at_s, text))
    return found


def well_behaved_stay(setup: Setup, record: Record) -> list[Breach]:
    """No miner that obeys is ever quarantined."""
    behaviours = setup.fleet.behaviours or ()
    return [
        Breach("well_behaved_stay", at_s, f"miner {miner} obeys and was quarantined")
        for miner, at_s in record.quarantined_at.items()
        if behaviours[miner] is Behaviour.OBEYS
    ]


def misbehaving_go(setup: Setup, record: Record) -> list[Breach]:
    """Who was asked often enough for what it does not do, and had time to do it, is in quarantine at the end."""
    behaviours = setup.fleet.behaviours or ()
    asked: dict[int, list[float]] = {}
    put_to_sleep: dict[int, list[float]] = {}
    troubled = {outage.miner for outage in (*setup.outages, *setup.strangers)} | setup.tripped().keys()
    for row in record.cycles:
        for command in row.commands:
            behaviour = behaviours[command.miner]
            if command.verb is Verb.SLEEP:
                put_to_sleep.setdefault(command.miner, []).append(row.at_s)
            exercised = (
                bool(behaviour & Behaviour.REFUSES)
                or (command.verb is Verb.SLEEP and bool(behaviour & Behaviour.LIAR_SLEEP))
                or (command.verb is Verb.WAKE and bool(behaviour & Behaviour.NEVER_WAKES))
            )
            if exercised:
                asked.setdefault(command.miner, []).append(row.at_s)
    found = []
    for miner, times in asked.items():
        boot_s = float(setup.facts.wake_dead_s[miner] + setup.facts.wake_90_s[miner])
        patience = 2.0 * boot_s + 5.0 + 2.0 * setup.sweep_s
        wakes = bool(behaviours[miner] & Behaviour.NEVER_WAKES)
        stops = [*(put_to_sleep.get(miner, []) if wakes else []), np.inf]
        in_time = [at for at in times if min(stop for stop in stops if stop > at) - at >= patience]
        tried = len([at for at in in_time if at <= setup.duration_s - 2.0 * patience])
        if tried >= 3 and miner not in record.quarantined_at and miner not in troubled:
            found.append(Breach("misbehaving_go", times[0], f"miner {miner} asked {len(times)} times, not quarantined"))
    return found


def commands_bounded(setup: Setup, record: Record) -> list[Breach]:
    """No miner is talked to without end: at most one command in eight seconds on average, and none in a quiet end."""
    counts = np.zeros(len(setup.facts), dtype=np.int64)
    quiet = 0
    for row in record.cycles:
        for command in row.commands:
            counts[command.miner] += 1
        if row.at_s > setup.duration_s - 60.0:
            quiet += len(row.commands)
    found = []
    if counts.max(initial=0) > setup.duration_s / 8.0:
        found.append(Breach("commands_bounded", 0.0, f"miner {int(counts.argmax())} got {counts.max()} commands"))
    allowed = 10 + len(setup.facts)
    if setup.calm_from_s < setup.duration_s - 120.0 and quiet > allowed:
        found.append(Breach("commands_bounded", setup.duration_s - 60.0, f"{quiet} commands in a calm minute"))
    return found


def settles(setup: Setup, record: Record) -> list[Breach]:
    """Faults over and the surplus still: the load is where it should be - as high as it can, under the cap."""
    if setup.duration_s - setup.calm_from_s < 170.0:
        return []
    t_s, load_w, cap_w, stubborn_w = record.arrays()
    last = t_s > setup.duration_s - 20.0
    load, cap, stubborn = float(load_w[last].mean()), float(cap_w[last].mean()), float(stubborn_w[last].mean())
    rated_w = setup.policy.rated_w
    aim_w = min(max(cap - setup.policy.surplus_margin_w, stubborn), rated_w)
    ramp = setup.policy.ramp
    # A fault that ended with the calm keeps the load low until its input is trusted again; then the first boot is due.
    begins = (t_s >= setup.calm_from_s) & (t_s <= setup.calm_from_s + setup.policy.inputs.rearm_s + 15.0)
    calm_w = float(load_w[begins].min())
    quick_w_per_s = min(ramp.up_w_per_min / 60.0, ramp.up_w_per_15s / 15.0)
    boot_s = float(setup.facts.boot_s.max())
    climbed_w = calm_w + 0.6 * quick_w_per_s * (setup.duration_s - setup.calm_from_s - 17.5 - boot_s)
    best_w = min(_reachable_w(setup, record) + stubborn, climbed_w)
    if load > max(cap, stubborn) + TOLERANCE * rated_w:
        return [Breach("settles", setup.duration_s - 20.0, f"{load / 1e3:.1f} kW over the cap of {cap / 1e3:.1f} kW")]
    if load < min(aim_w, best_w) - max(SETTLED * rated_w, 4_000.0):
        return [
            Breach("settles", setup.duration_s - 20.0, f"{load / 1e3:.1f} kW, could be {min(aim_w, best_w) / 1e3:.1f}")
        ]
    return []


def power_back_is_idled(setup: Setup, record: Record) -> list[Breach]:
    """Whoever starts hashing by itself with its feeder's power is told to sleep as soon as it could have been seen,
    where it was known to be dark before."""
    behaviours, trips = setup.fleet.behaviours or (), setup.tripped()
    elsewhere = {outage.miner for outage in (*setup.outages, *setup.strangers)} | {one for _, one in setup.reboots}
    dark_at = [at for at, name, _, text in record.events if name == "mass_dark" or text.endswith(": dark")]
    told = [(row.at_s, one.miner) for row in record.cycles for one in row.commands if one.verb is Verb.SLEEP]
    found = []
    for miner, at_s in record.self_started_s.items():
        trip = trips[miner]
        known = any(trip.begin_s <= at <= trip.end_s for at in dark_at)
        if not known or miner in elsewhere or behaviours[miner] is not Behaviour.OBEYS:
            continue
        latest_s = at_s + setup.sweep_s + 2.0 * setup.policy.cycle_s + 0.5
        if latest_s < setup.duration_s and not any(one == miner and at_s <= at <= latest_s for at, one in told):
            found.append(Breach("power_back_is_idled", at_s, f"miner {miner} started by itself and was left at it"))
    return found


def many_are_one_event(setup: Setup, record: Record) -> list[Breach]:
    """A dead switch or a tripped feeder is one mass disconnect, and never a flood of events about single miners."""
    causes = len(setup.trips) + len({(outage.begin_s, outage.end_s) for outage in setup.outages})
    said = [at for at, name, _, _ in record.events if name == "mass_disconnect"]
    found = []
    if len(said) > causes:
        found.append(Breach("many_are_one_event", said[-1], f"{len(said)} mass disconnects of {causes} causes"))
    single = [at for at, name, _, _ in record.events if name == "miner_unreachable"]
    for at in said:
        flood = sum(at - 5.0 <= one <= at for one in single)
        if flood > 10:
            found.append(Breach("many_are_one_event", at, f"{flood} events about single miners in the 5 s before"))
    return found


CHECKERS: dict[str, Checker] = {
    check.__name__: check
    for check in (
        load_under_cap,
        blind_only_down,
        blind_ends_low,
        plan_adds_up,
        ramp_up_kept,
        dwell_kept,
        orders_answered,
        caps_obeyed,
        sheds_at_once,
        well_behaved_stay,
        misbehaving_go,
        commands_bounded,
        settles,
        power_back_is_idled,
        many_are_one_event,
    )
}


def judge(setup: Setup, record: Record) -> list[Breach]:
    """Every checker's breaches, earliest first."""
    found = [breach for check in CHECKERS.values() for breach in check(setup, record)]
    return sorted(found, key=lambda breach: breach.at_s)


def caps_in_force(setup: Setup) -> Iterator[tuple[float, float, float, bool, str]]:
    """(begin_s, end_s, cap_w, urgent, name) of every cap the run's messages and operators impose."""
    valid = [message for message in setup.messages if message.obeyed]
    for index, message in enumerate(valid):
        order = message.received.message
        if not isinstance(order, Dispatch) or order.kind is not DispatchKind.CAP or order.power_w is None:
            continue
        later = [
            other.at_s
            for other in valid[index + 1 :]
            if isinstance(other.received.message, Dispatch) and other.received.message.issuer == order.issuer
        ]
        end_s = min([order.expires_at - WALL_AT_START, *later])
        urgent = order.dispatch_class is DispatchClass.EMERGENCY
        yield message.at_s, end_s, float(order.power_w), urgent, order.dispatch_id
    for operation in setup.operations:
        order_by_hand = operation.order
        if order_by_hand.verb is OperatorVerb.CAP and order_by_hand.power_w is not None:
            end_s = (order_by_hand.expires_at or np.inf) - WALL_AT_START
            yield operation.at_s, end_s, float(order_by_hand.power_w), False, "operator"


def _ended(setup: Setup, order: Dispatch) -> bool:
    """Whether the order's life is over before the run is."""
    if order.kind is DispatchKind.RELEASE:
        return True
    return order.expires_at - WALL_AT_START < setup.duration_s - 2.0


def _deaf(setup: Setup) -> list[tuple[float, float]]:
    """When the plant's flags could not be read."""
    kinds = (InputFaultKind.STALE, InputFaultKind.BAD)
    return [(one.begin_s, one.end_s) for one in setup.input_faults if one.feed == "plant" and one.kind in kinds]


def _blind_for_sure(setup: Setup) -> list[tuple[float, float]]:
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
    return spells


def _misled(setup: Setup, begin_s: float, end_s: float) -> bool:
    """Whether the site meter stands still at a load that is gone while another input is lost: nobody knows then."""
    return any(
        fault.feed == "site" and fault.kind is InputFaultKind.STUCK and fault.begin_s < end_s and begin_s < fault.end_s
        for fault in setup.input_faults
    )


def _back_within_s(setup: Setup, miner: int) -> float:
    """After so long a miner that restarted by itself is at full power again, however slow it is."""
    times, slowest = setup.fleet.models[miner].response, max(setup.fleet.response_scale or (1.0,))
    return slowest * (times.reboot_off.high_s + 2.0 * times.wake.to_90_percent.high_s)


def _came_back_w(setup: Setup, begin_s: float, end_s: float) -> float:
    """Power of miners that restart by themselves and come back within a spell: nobody ordered that."""
    total = 0.0
    for at_s, miner in setup.reboots:
        if begin_s - _back_within_s(setup, miner) <= at_s <= end_s:
            total += setup.fleet.models[miner].nameplate.power_w
    for miner, trip in setup.tripped().items():
        if begin_s - _back_within_s(setup, miner) <= trip.end_s <= end_s:
            total += setup.fleet.models[miner].nameplate.power_w
    return total


def _reboots_w(setup: Setup, began: FloatArray, window_s: float) -> FloatArray:
    """The same for every window that begins at `began`, (k,)."""
    extra = np.zeros(len(began))
    for at_s, miner in setup.reboots:
        touched = (began >= at_s - window_s) & (began <= at_s + _back_within_s(setup, miner))
        extra[touched] += setup.fleet.models[miner].nameplate.power_w
    return extra


def _reachable_w(setup: Setup, record: Record) -> float:
    """Nameplates of the miners that obey and that the core may use."""
    behaviours, asleep = setup.fleet.behaviours or (), setup.fleet.asleep or ()
    spent = {miner for _, name, miner, _ in record.events if name == "miner_budget_used"}
    total = 0.0
    for miner, model in enumerate(setup.fleet.models):
        foreign = asleep[miner] and not setup.policy.fleet.adopt_sleepers_at_start
        usable = not foreign and setup.facts.miner_ids[miner] not in spent and miner not in record.quarantined_at
        if behaviours[miner] is Behaviour.OBEYS and usable:
            total += model.nameplate.power_w
    return total


def _within(t_s: FloatArray, spells: list[tuple[float, float]]) -> BoolArray:
    inside = np.zeros(len(t_s), dtype=np.bool_)
    for begin_s, end_s in spells:
        inside |= (t_s >= begin_s) & (t_s < end_s)
    return inside


def _runs(t_s: FloatArray, where: BoolArray) -> Iterator[tuple[float, float]]:
    """(begin, length) in seconds of every unbroken run of True."""
    edges = np.flatnonzero(np.diff(np.concatenate(([False], where, [False])).astype(np.int8)))
    for first, beyond in zip(edges[::2], edges[1::2], strict=True):
        yield float(t_s[first]), float(t_s[min(beyond, len(t_s) - 1)] - t_s[first])


def first_cycle(record: Record, at_s: float) -> CycleRow | None:
    """The cycle at or after a moment."""
    return next((row for row in record.cycles if row.at_s >= at_s - 1e-9), None)
