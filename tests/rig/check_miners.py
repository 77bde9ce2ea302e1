"""Judges of what was planned, said and told to whom: plan, answers, dwell, quarantine, commands, mass disconnects."""

from __future__ import annotations

import numpy as np

from controller.domain.command import Verb
from controller.domain.dispatch import AnswerStatus, Dispatch, DispatchKind, Malformed
from simulators.asic.response import Behaviour
from tests.rig.breaches import Breach, back_within_s, exceeded_limits, horizon_s
from tests.rig.miners import NOBODY_ANSWERS_S
from tests.rig.record import CycleRow, Record
from tests.rig.setup import WALL_AT_START, Setup


def plan_adds_up(setup: Setup, record: Record) -> list[Breach]:
    """plan + unallocated = set-point, and the plan's watts are those of its arrays."""
    del setup
    return [
        Breach("plan_adds_up", row.at_s, f"gap {row.plan_gap_w:.3f} W, recount {row.recount_gap_w:.3f} W")
        for row in record.cycles
        if abs(row.plan_gap_w) > 1e-3 or (abs(row.recount_gap_w) > 1.0 and row.bound != "hold")
    ]


def dwell_kept(setup: Setup, record: Record) -> list[Breach]:
    """Nobody is woken before its rest is over, nor put to sleep early unless what is under way would pass a limit
    of the site, or a limit above it was exceeded, or its stay had ended by itself as many vanished.

    Above a limit is the site too while its meter lies that it is: nobody can know better before the lie gives itself
    away. What is held after a start, until everybody was read, is a limit too: what boots bring has to come off. A
    repeated sleep that cannot have arrived begins no rest anew, nor such a wake a stay."""
    policy = setup.policy.fleet
    t_s, load_w, _, _ = record.arrays()
    trips, exceeded, ahead = setup.tripped(), exceeded_limits(setup, record), _caps_ahead(setup)
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
                if not _cannot_arrive(setup, command.miner, row.at_s):
                    woke[command.miner] = row.at_s
            elif command.verb is Verb.SLEEP:
                again = command.miner in slept and slept[command.miner] > woke.get(command.miner, -np.inf)
                ran = row.at_s - woke.get(command.miner, -np.inf)
                led = any(begin_s <= row.at_s <= end_s for begin_s, end_s in ahead)
                led |= row.fail_safe != "good" or _held_by_a_start(setup, row)
                limit_w = row.setpoint_w if led else max(row.cap_w or 0.0, row.setpoint_w)
                drawn_w = float(np.interp(row.at_s, t_s, load_w))
                if row.fail_safe in (
                    "frozen_up",
                    "fallback",
                ):  # late boots pass what is held all the same
                    coming = (t_s >= row.at_s) & (t_s <= row.at_s + horizon_s(setup))
                    drawn_w = max(drawn_w, float(load_w[coming].max(initial=0.0)))
                must_fall = max(row.committed_w, drawn_w, _falsely_shown_w(setup, row)) > limit_w
                trip = trips.get(command.miner)
                relieved = any(one.begin_s <= row.at_s <= one.end_s and one.below[command.miner] for one in exceeded)
                cut_off = trip is not None and woke.get(command.miner, np.inf) <= trip.end_s < row.at_s
                cut_off |= _restarted_unseen(setup, record, command.miner, row.at_s - ran, row.at_s)
                if not (again or row.shed or must_fall or relieved or cut_off) and ran < policy.dwell_on_s - 1e-6:
                    found.append(
                        Breach("dwell_kept", row.at_s, f"miner {command.miner} put to sleep after {ran:.1f} s")
                    )
                if not (again and _cannot_arrive(setup, command.miner, row.at_s)):
                    slept[command.miner] = row.at_s
    return found


def _falsely_shown_w(setup: Setup, row: CycleRow) -> float:
    """What the site meter shows while it has a fault, watts; 0 while it has none."""
    lies = any(fault.feed == "site" and fault.active(row.at_s) for fault in setup.input_faults)
    return row.shown_w if lies else 0.0


def _held_by_a_start(setup: Setup, row: CycleRow) -> bool:
    """Whether the load is held where a start found it, for some were not read since."""
    read_s = setup.policy.fleet.telemetry_stale_s + 2.0 * setup.policy.cycle_s
    return row.bound == "hold" and any(crash.up_s <= row.at_s <= crash.up_s + read_s for crash in setup.crashes)


def _cannot_arrive(setup: Setup, miner: int, at_s: float) -> bool:
    """Whether a miner is out of reach for as long as a command sent at `at_s` is tried; of one whose feeder tripped,
    whether it may be."""
    scales, off = setup.fleet.response_scale or (1.0,), setup.fleet.models[miner].response.reboot_off
    off_s = min(scales) * off.low_s
    restarts = [(began_s, began_s + off_s) for began_s, one in setup.reboots if one == miner]
    outages = [(away.begin_s, away.end_s) for away in (*setup.outages, *setup.strangers) if away.miner == miner]
    trip = setup.tripped().get(miner)
    if trip is not None:
        outages.append((trip.begin_s, trip.end_s + max(scales) * off.high_s))
    tried_until_s = at_s + 2.0 * NOBODY_ANSWERS_S  # behind a read that finds nobody, then itself
    return any(begin_s <= at_s and tried_until_s <= end_s for begin_s, end_s in (*restarts, *outages))


def _restarted_unseen(setup: Setup, record: Record, miner: int, woke_s: float, at_s: float) -> bool:
    """Whether a miner restarted by itself since it was woken, in a mass disconnect: nobody can tell it from those that
    lost their power and start all at once, and these are put to sleep when first heard."""
    return any(
        one == miner
        and woke_s < began_s < at_s <= began_s + back_within_s(setup, miner) + setup.sweep_s
        and _went_with_many(setup, record, miner, began_s, at_s)
        for began_s, one in setup.reboots
    )


def _went_with_many(setup: Setup, record: Record, miner: int, began_s: float, until_s: float) -> bool:
    """Whether a miner that went at `began_s` may count to a crowd told of by `until_s`: one of then, not a later one.

    A crowd told of when a sweep had missed the miner names its feeder; one told of before that may have been joined.
    """
    window_s, facts = setup.policy.fleet.mass_disconnect_window_s, setup.facts
    feeder = f" {facts.feeder_names[facts.feeder[miner]]} ("
    missed_s = began_s + setup.sweep_s
    return any(
        began_s - window_s <= at <= min(missed_s + window_s, until_s) and (at <= missed_s or feeder in text)
        for at, name, _, text in record.events
        if name == "mass_disconnect"
    )


def _caps_ahead(setup: Setup) -> list[tuple[float, float]]:
    """From when to when a cap for later was known and had not begun: the set-point that leads to it is a limit."""
    spans = []
    for message in setup.messages:
        order = message.received.message
        if isinstance(order, Dispatch) and order.kind is DispatchKind.CAP and order.not_before is not None:
            spans.append((message.at_s, order.not_before - WALL_AT_START))
    return spans


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
        heard_by_s = message.at_s + setup.policy.cycle_s  # until then a crash may come before it is read
        heard_s = max([message.at_s, *(crash.up_s for crash in setup.crashes if crash.at_s <= heard_by_s)])
        if first is None or first - heard_s > 2.0:
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


def orders_end_in_time(setup: Setup, record: Record) -> list[Breach]:
    """An order runs out when the life it was accepted with is over, whatever somebody does to the wall clock."""
    ended = {answer.dispatch_id: at_s for at_s, answer in record.answers if answer.status is AnswerStatus.EXPIRED}
    found = []
    for message in setup.messages:
        order = message.received.message
        if not message.obeyed or not isinstance(order, Dispatch) or order.dispatch_id not in ended:
            continue  # superseded, or never accepted: orders_answered knows
        due_s = order.expires_at - WALL_AT_START
        told_s = due_s + setup.policy.cycle_s  # by the next cycle, where there is one
        up_s = max((crash.up_s for crash in setup.crashes if crash.at_s <= told_s), default=due_s)
        early_s, at_s = due_s - setup.tick_s, ended[order.dispatch_id]
        if not early_s <= at_s <= max(due_s, up_s) + 2.0 * setup.policy.cycle_s:
            found.append(Breach("orders_end_in_time", at_s, f"{order.dispatch_id} ended {at_s - due_s:+.1f} s late"))
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
        resumed = any(trip.begin_s <= crash.up_s <= at_s + 15.0 for crash in setup.crashes)
        if resumed or not known or miner in elsewhere or behaviours[miner] is not Behaviour.OBEYS:
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


def _ended(setup: Setup, order: Dispatch) -> bool:
    """Whether the order's life is over before the run is."""
    if order.kind is DispatchKind.RELEASE:
        return True
    return order.expires_at - WALL_AT_START < setup.duration_s - 2.0
