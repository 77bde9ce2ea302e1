"""Judges of the load: under the cap, low when blind, by the ramps, as ordered, and where it should be in the end."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from controller.domain.command import Verb
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind
from controller.domain.fleet import FloatArray
from controller.domain.plan import OperatorVerb
from simulators.accounting import holding_times_s, trailing_max
from tests.rig.breaches import (
    LONGEST_RUN_S,
    NOISE,
    TOLERANCE,
    Breach,
    back_within_s,
    blind_for_sure,
    blind_spells,
    came_back_w,
    deaf,
    horizon_s,
    is_misled,
    runs,
    undiscovered_w,
    within,
)
from tests.rig.reach import reachable_w
from tests.rig.record import Record
from tests.rig.setup import WALL_AT_START, InputFaultKind, Setup

LIMIT_NOISE = 0.03  # of a rating: every machine is a little off its nameplate
STEP_WINDOW_S = 15.0  # of the ramps
SETTLED = 0.06  # of rated: one miner's step, the margin, a meter's noise


def load_under_cap(setup: Setup, record: Record) -> list[Breach]:
    """True load above the surplus cap - or what no order can take off - for longer than physics allows: H for the fall,
    and once more H where somebody draws on that was told to sleep, for the others to take its place."""
    t_s, load_w, cap_w, stubborn_w = record.arrays()
    limit_w = np.maximum(cap_w + undiscovered_w(setup, record, t_s), stubborn_w)
    above = load_w > trailing_max(t_s, limit_w, horizon_s(setup)) + TOLERANCE * setup.policy.rated_w
    above &= ~within(t_s, blind_spells(setup)) & (t_s > horizon_s(setup) + setup.sweep_s)
    return [
        Breach("load_under_cap", begin, f"above the cap for {length:.1f} s")
        for begin, length in runs(t_s, above)
        if length > LONGEST_RUN_S
    ]


def raw_violation_s(setup: Setup, record: Record) -> float:
    """Seconds above the cap with no allowance for physics at all (H = 0), blind spells included."""
    t_s, load_w, cap_w, _ = record.arrays()
    return float(holding_times_s(t_s)[load_w > cap_w + TOLERANCE * setup.policy.rated_w].sum())


def blind_only_down(setup: Setup, record: Record) -> list[Breach]:
    """While an input is gone or known to be false: no command that raises, and the load never climbs; but by who draws
    on though told to sleep, until that can be known and others have taken its place."""
    found: list[Breach] = []
    t_s, load_w, _, _ = record.arrays()
    drawn_on_w = trailing_max(t_s, undiscovered_w(setup, record, t_s), horizon_s(setup))
    for begin_s, end_s in blind_for_sure(setup):
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
        if not inside.any() or is_misled(setup, begin_s, end_s):
            continue
        lookback = (t_s >= begin_s - 15.0) & (t_s <= begin_s + 2.0)
        ordered = [row.setpoint_w for row in record.cycles if begin_s - 10.0 <= row.at_s <= begin_s]
        ceiling_w = max([float(load_w[lookback].max(initial=0.0)), *ordered]) + NOISE * setup.policy.rated_w
        ceiling_w += came_back_w(setup, begin_s, end_s)
        above = inside & (load_w > ceiling_w + drawn_on_w)
        if above.any():
            at = float(t_s[above][0])
            text = f"load up to {load_w[above].max() / 1e3:.1f} kW, {ceiling_w / 1e3:.1f} kW when it went blind"
            found.append(Breach("blind_only_down", at, text))
    return found


def blind_ends_low(setup: Setup, record: Record) -> list[Breach]:
    """Blind for long enough: the load has ramped to the fallback, or to what no order can take off. Who comes back into
    reach is taken off by the same ramp."""
    spells = [spell for spell in blind_for_sure(setup) if not is_misled(setup, *spell)]
    if not spells:
        return []
    limits, ramp = setup.policy.inputs, setup.policy.ramp
    t_s, load_w, _, stubborn_w = record.arrays()
    ramped_w = _falling_by(t_s, np.maximum(stubborn_w, setup.policy.fallback_w), ramp.fallback_w_per_min / 60.0)
    allowed_w = trailing_max(t_s, ramped_w, horizon_s(setup)) + 2.0 * NOISE * setup.policy.rated_w
    found = []
    for begin_s, end_s in spells:
        start_w = float(np.interp(begin_s, t_s, load_w))
        there_s = begin_s + limits.fallback_after_s + limits.fallback_offset_s
        there_s += start_w / ramp.fallback_w_per_min * 60.0 + horizon_s(setup) + 10.0
        inside = (t_s >= there_s) & (t_s < end_s)
        over = inside & (load_w > allowed_w)
        if over.any():
            found.append(Breach("blind_ends_low", float(t_s[over][0]), f"{load_w[over].max() / 1e3:.1f} kW"))
    return found


def _falling_by(t_s: FloatArray, limit_w: FloatArray, w_per_s: float) -> FloatArray:
    """The limit, for one that follows its falls no faster than by a ramp."""
    followed_w: FloatArray = np.maximum.accumulate(limit_w + w_per_s * t_s) - w_per_s * t_s
    return followed_w


def ramp_up_kept(setup: Setup, record: Record) -> list[Breach]:
    """The load rises no faster than the ramp, per minute and within 15 s, unless the site meter lies about it. What
    started by itself with its feeder's power is not ours until it could be put to sleep; and while the daemon is dead
    nobody is trimmed for the boots that are under way, which bring what they were told to and no more."""
    lies = (InputFaultKind.STUCK, InputFaultKind.SIGN_FLIP, InputFaultKind.TENFOLD, InputFaultKind.DELAYED)
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
        over &= ~within(began, [(begin_s - window_s, end_s) for begin_s, end_s in misled])
        for crash in setup.crashes:
            alone = within(began, [(crash.at_s - window_s, crash.up_s + setup.sweep_s)])
            over &= ~(alone & (load_w[steps:] <= _ordered_w(setup, record, crash.at_s) + NOISE * rated_w))
        if over.any():
            at = int(np.argmax(over))
            text = f"rose {rise_w[over].max() / 1e3:.1f} kW in {window_s:g} s, {allowed_w / 1e3:.1f} kW allowed"
            found.append(Breach("ramp_up_kept", float(began[at]), text))
    return found


def _ordered_w(setup: Setup, record: Record, at_s: float) -> float:
    """What the site would draw with all that was ordered before `at_s` obeyed, watts."""
    rows = [row for row in record.cycles if row.at_s < at_s]
    if not rows:
        return 0.0
    woken = [one.miner for one in rows[-1].commands if one.verb is Verb.WAKE]
    return rows[-1].committed_w + sum(setup.fleet.models[miner].nameplate.power_w for miner in woken)


def limits_kept(setup: Setup, record: Record) -> list[Breach]:
    """No raise takes what hangs below a feeder or a [[limit]] above its rating, but for what estimates are off by."""
    del setup
    return [
        Breach("limits_kept", row.at_s, f"a raise takes {row.fullest} to {row.fullest_ratio:.1%} of its rating")
        for row in record.cycles
        if row.fullest_ratio > 1.0 + LIMIT_NOISE
    ]


def caps_obeyed(setup: Setup, record: Record) -> list[Breach]:
    """A dispatcher's or operator's cap holds once ramp and physics had their time, and the others of who draws on; an
    emergency has no ramp, an order for later only what of it did not fit before its start."""
    t_s, load_w, _, stubborn_w = record.arrays()
    drawn_on_w = trailing_max(t_s, undiscovered_w(setup, record, t_s), horizon_s(setup))
    found = []
    for said_s, begin_s, end_s, cap_w, urgent, name in caps_in_force(setup):
        before = (t_s >= said_s) & (t_s <= begin_s)
        start_w, most_w = _ramps_from_w(setup, record, begin_s), float(load_w[before].max(initial=0.0))
        ramp = setup.policy.ramp
        slow = max(ramp.down_w_per_min / 60.0, 1.0)
        quick = max(ramp.down_w_per_15s / 15.0, 1.0)
        ramp_s = 0.0 if urgent else max(start_w - cap_w, 0.0) / min(slow, quick)
        slack_s = 10.0 if urgent else 20.0
        if begin_s > said_s:
            slack_s = 5.0
            ramp_s = min(ramp_s, max(max(most_w - cap_w, 0.0) / min(slow, quick) - (begin_s - said_s), 0.0))
        there_s = begin_s + ramp_s + slack_s + horizon_s(setup)
        limit_w = np.maximum(cap_w + drawn_on_w, stubborn_w) + 2.0 * TOLERANCE * setup.policy.rated_w
        over = (t_s >= there_s) & (t_s < end_s) & (load_w > limit_w) & ~within(t_s, blind_spells(setup))
        for begin, length in runs(t_s, over):
            if length > LONGEST_RUN_S:
                found.append(Breach("caps_obeyed", begin, f"{name}: above {cap_w / 1e3:.1f} kW for {length:.1f} s"))
    return found


def _ramps_from_w(setup: Setup, record: Record, begin_s: float) -> float:
    """Where a ramp down begins: at the most that was drawn lately, and what was on its way up when it began."""
    t_s, load_w = np.array(record.t_s), np.array(record.load_w)
    near = (t_s >= begin_s - STEP_WINDOW_S) & (t_s <= begin_s + horizon_s(setup))
    return float(load_w[near].max(initial=0.0))


def sheds_at_once(setup: Setup, record: Record) -> list[Breach]:
    """The emergency flag: 95 % of what can be shed is gone within 10 s (plus what slow miners of the run need), and of
    what comes into reach later what had that time too."""
    if not any(event.emergency for event in setup.plant_events):
        return []
    t_s, load_w, _, stubborn_w = record.arrays()
    stubborn_w = trailing_max(t_s, stubborn_w, horizon_s(setup))
    found = []
    for event in setup.plant_events:
        if not event.emergency or event.held_s < 20.0:
            continue
        before_w = float(np.interp(event.at_s, t_s, load_w))
        for after_s, share in ((max(10.0, horizon_s(setup)), 0.95), (30.0, 0.99)):
            at = int(np.searchsorted(t_s, event.at_s + after_s))
            if after_s >= event.held_s or any(s <= event.at_s + after_s and e >= event.at_s for s, e in deaf(setup)):
                continue
            left_w = float(load_w[at] - stubborn_w[at])
            allowed_w = (1.0 - share) * max(before_w - float(stubborn_w[at]), 0.0) + 500.0
            if left_w > allowed_w:
                text = f"{left_w / 1e3:.1f} kW sheddable left after {after_s:g} s, {allowed_w / 1e3:.1f} kW allowed"
                found.append(Breach("sheds_at_once", event.at_s, text))
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
    best_w = min(reachable_w(setup, record) + stubborn, climbed_w)
    if load > max(cap, stubborn) + TOLERANCE * rated_w:
        return [Breach("settles", setup.duration_s - 20.0, f"{load / 1e3:.1f} kW over the cap of {cap / 1e3:.1f} kW")]
    if load < min(aim_w, best_w) - max(SETTLED * rated_w, 4_000.0):
        return [
            Breach("settles", setup.duration_s - 20.0, f"{load / 1e3:.1f} kW, could be {min(aim_w, best_w) / 1e3:.1f}")
        ]
    return []


def caps_in_force(setup: Setup) -> Iterator[tuple[float, float, float, float, bool, str]]:
    """(said_s, begin_s, end_s, cap_w, urgent, name) of every cap the run's messages and operators impose."""
    valid = [
        (message.at_s, message.received.message)
        for message in setup.messages
        if message.obeyed and isinstance(message.received.message, Dispatch)
    ]
    for index, (at_s, order) in enumerate(valid):
        if order.kind is not DispatchKind.CAP or order.power_w is None:
            continue
        begin_s, urgent = _begins_s(setup, at_s, order), order.dispatch_class is DispatchClass.EMERGENCY
        ends = [order.expires_at - WALL_AT_START]
        for place, (other_at_s, other) in enumerate(valid):
            if place == index or other.issuer != order.issuer:
                continue
            if other.kind is DispatchKind.RELEASE:
                ends += [other_at_s] if place > index else []
                continue
            ends_it = (begin_s, index) < (_begins_s(setup, other_at_s, other), place)
            spared = urgent and other.not_before is not None  # nobody meant to end an emergency beforehand
            ends += [_begins_s(setup, other_at_s, other)] if ends_it and not spared else []
        if min(ends) > begin_s:
            yield at_s, begin_s, min(ends), float(order.power_w), urgent, order.dispatch_id
    for operation in setup.operations:
        order_by_hand = operation.order
        if order_by_hand.verb is OperatorVerb.CAP and order_by_hand.power_w is not None:
            end_s = (order_by_hand.expires_at or np.inf) - WALL_AT_START
            yield operation.at_s, operation.at_s, end_s, float(order_by_hand.power_w), False, "operator"


def _begins_s(setup: Setup, at_s: float, order: Dispatch) -> float:
    """When an order that came at `at_s` begins, and takes the place of its issuer's running one."""
    begins_s = at_s if order.not_before is None else order.not_before - WALL_AT_START
    return begins_s if begins_s > at_s + setup.policy.dispatch.clock_skew_s else at_s


def _reboots_w(setup: Setup, began: FloatArray, window_s: float) -> FloatArray:
    """The same for every window that begins at `began`, (k,)."""
    extra = np.zeros(len(began))
    for at_s, miner in setup.reboots:
        touched = (began >= at_s - window_s) & (began <= at_s + back_within_s(setup, miner))
        extra[touched] += setup.fleet.models[miner].nameplate.power_w
    return extra
