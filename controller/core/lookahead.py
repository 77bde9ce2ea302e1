"""Look-ahead: what scheduled orders will ask for is prepared for, so that it is met at their time and not merely begun.

Down, the set-point follows a line that ends at the ordered power some seconds before the order begins: as steep as the
ramp, and early enough that those who must move last have moved by then. It begins no earlier than that. Up, the same
line is followed where the order will take the place of a target of its own issuer; whatever else binds, binds until
then, and only boots are begun ahead (core/commitment).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from controller.core import arbiter, estimator, ramp, timeline
from controller.core.arbiter import Proposal
from controller.core.drawn import STEP_WINDOW_S
from controller.core.flight import response_s
from controller.core.ramp import MINUTE_S
from controller.core.roster import Fall, Rise
from controller.core.state import ActiveOrder, State
from controller.domain.command import Verb
from controller.domain.dispatch import Dispatch, DispatchKind
from controller.domain.fleet import Fleet
from controller.domain.plan import Setpoint
from controller.domain.policy import Policy
from controller.domain.reasons import Bound

MARGIN_S = 5.0  # a cycle, a meter's reading, and the last tenth of a move, which takes as long as the rest
ORDER_BOUNDS = frozenset({Bound.DISPATCH_CAP, Bound.DISPATCH_TARGET, Bound.EMERGENCY_DISPATCH})


@dataclass(frozen=True, slots=True)
class Ahead:
    """What is wanted with the scheduled orders in mind, watts.

    setpoint: before ramps. fall: the lowest line down, whether it binds already or not. rise: the next way up.
    """

    setpoint: Setpoint
    fall: Fall | None = None
    rise: Rise | None = None


def prepare(
    facts: Fleet,
    state: State,
    policy: Policy,
    wanted: Setpoint,
    bounds: list[Proposal],
    floor_w: float,
    now: float,
    may_rise: bool = True,
) -> Ahead:
    """`wanted` is what the orders in force and all other `bounds` make of this moment. Keeps `state.led_s`.

    policy: with the ramps as they may be used now. may_rise: False in doubt, when what is in force binds until its end.
    """
    ahead = Ahead(wanted)
    led_before, state.led_s = state.led_s, {}
    if not state.orders.scheduled:
        return ahead
    far_at = now + _longest_s(facts, policy)
    for entry in sorted(state.orders.scheduled, key=lambda one: one.starts_at):
        if entry.starts_at > far_at:
            break
        then = _ruling_at(state, entry.starts_at, floor_w)
        if then is None or then.source != entry.dispatch.dispatch_id:
            continue  # something else will bind below it
        in_s = entry.starts_at - now
        drop_w = ahead.setpoint.power_w - then.power_w
        # Those who have moved already are asked no more, and a line that has begun must not step back for that.
        behind_s = max(_response_s(facts, state, policy, drop_w), led_before.get(then.source, 0.0))
        if drop_w > 0.0:
            rate = down_w_per_s(policy)
            line_w = then.power_w + rate * max(in_s - behind_s - MARGIN_S, 0.0)
            if ahead.fall is None or line_w < ahead.fall.line_w:
                ahead = replace(ahead, fall=Fall(line_w, then.power_w, rate))
            if line_w < ahead.setpoint.power_w:
                state.led_s[then.source] = behind_s
                ahead = replace(ahead, setpoint=_on_the_way(entry, then, line_w))
        elif may_rise and ahead.rise is None and entry.dispatch.kind is DispatchKind.TARGET:
            lines = _earlier_caps(facts, state, policy, entry, floor_w, now)
            ahead = _rise(state, policy, ahead, (entry, then), bounds, lines, in_s, behind_s)
    return ahead


def why_late(
    facts: Fleet, state: State, policy: Policy, order: Dispatch, floor_w: float, wall: float, now: float
) -> str:
    """What its issuer should know of a scheduled order that comes too late to be met at its time; else nothing."""
    if order.not_before is None or state.setpoint_w is None:
        return ""
    power_w, present_w = max(float(order.power_w or 0), floor_w), state.setpoint_w
    down = power_w < present_w
    if down:
        present_w = ramp.way_down_from_w(state, present_w, power_w, now)
    if not down and not (order.kind is DispatchKind.TARGET and _gives_way(state, order)):
        return ""
    rate = down_w_per_s(policy) if down else up_w_per_s(policy)
    behind_s = _response_s(facts, state, policy, present_w - power_w)
    short_s = abs(power_w - present_w) / rate + behind_s - (order.not_before - wall)
    from_w = present_w
    if not down:  # a cap in between, of whomever, holds until its end: the way up begins there
        begins_at = timeline.moment_of(order.not_before, wall, now)
        for entry, cap in _caps_before(state, begins_at, floor_w):
            held_s = (power_w - cap.power_w) / rate + behind_s - (begins_at - entry.ends_at)
            if entry.ends_at <= begins_at and held_s > short_s:
                short_s, from_w = held_s, min(from_w, cap.power_w)
    short_w = min(max(short_s, 0.0) * rate, abs(power_w - from_w))
    if short_w <= arbiter.REACHED_TOLERANCE_RATIO * policy.rated_w:
        return ""
    there_w = power_w + short_w if down else power_w - short_w
    return (
        f"too late to be met in time: {there_w / 1000:.1f} kW at {_clock(order.not_before)}, "
        f"{power_w / 1000:.1f} kW at {_clock(order.not_before + short_s)}"
    )


def down_w_per_s(policy: Policy) -> float:
    """What both limits of the way down allow for long."""
    return min(policy.ramp.down_w_per_min / MINUTE_S, policy.ramp.down_w_per_15s / STEP_WINDOW_S)


def up_w_per_s(policy: Policy) -> float:
    """What both limits of the way up allow for long."""
    return min(policy.ramp.up_w_per_min / MINUTE_S, policy.ramp.up_w_per_15s / STEP_WINDOW_S)


def _rise(
    state: State,
    policy: Policy,
    ahead: Ahead,
    what: tuple[ActiveOrder, Proposal],
    bounds: list[Proposal],
    lines: list[tuple[Fall, Setpoint]],
    in_s: float,
    behind_s: float,
) -> Ahead:
    """The way up to a target, within everything that will stand beside it then; `behind_s`: the load, the set-point."""
    entry, then = what
    there = {one.dispatch.dispatch_id for one in timeline.in_force_at(state.orders, entry.starts_at)}
    standing = (one.power_w for one in bounds if one.bound not in ORDER_BOUNDS or one.source in there)
    power_w = min(then.power_w, *standing)
    if power_w <= ahead.setpoint.power_w:
        return ahead
    rate = up_w_per_s(policy)
    target = arbiter.wish_of(state.orders.active)
    followed = target is not None and ahead.setpoint.source == target.source
    if not followed or not _gives_way(state, entry.dispatch):
        return replace(ahead, rise=Rise(in_s, power_w, ahead.setpoint.power_w, rate, waits=True))
    ready_s = max(in_s - behind_s - MARGIN_S, 0.0)
    rise = Rise(ready_s, power_w, power_w - rate * ready_s, rate, waits=False)
    led = _on_the_way(entry, then, rise.from_w if ahead.fall is None else min(rise.from_w, ahead.fall.line_w))
    falls = [fall for fall in (ahead.fall, *(line for line, _ in lines)) if fall is not None]
    fall = min(falls, key=lambda one: one.line_w, default=None)
    # A limit is kept as one, not as the wish that meets it: those that come, and those that are there.
    limits = [setpoint for _, setpoint in lines]
    limits += [Setpoint(b.power_w, b.bound, b.source, b.expires_at, b.bound in arbiter.SHEDDING) for b in bounds]
    tightest = min(limits, key=lambda one: (one.power_w, arbiter.RANK[one.bound]))
    if tightest.power_w <= led.power_w:
        led = tightest
    if led.power_w > ahead.setpoint.power_w:
        state.led_s[then.source] = behind_s
        ahead = replace(ahead, setpoint=led)
    return replace(ahead, fall=fall, rise=rise)


def _earlier_caps(
    facts: Fleet, state: State, policy: Policy, entry: ActiveOrder, floor_w: float, now: float
) -> list[tuple[Fall, Setpoint]]:
    """The lines down that a rise to this order has to keep to: of caps that begin before it, those too that would not
    bind if nothing were led."""
    rate, present_w, found = down_w_per_s(policy), state.setpoint_w or 0.0, []
    for cap, bound in _caps_before(state, entry.starts_at, floor_w):
        if cap.starts_at > now:
            behind_s = _response_s(facts, state, policy, max(present_w - bound.power_w, 1.0))
            line_w = bound.power_w + rate * max(cap.starts_at - now - behind_s - MARGIN_S, 0.0)
            found.append((Fall(line_w, bound.power_w, rate), _on_the_way(cap, bound, line_w)))
    return found


def _caps_before(state: State, at: float, floor_w: float) -> list[tuple[ActiveOrder, Proposal]]:
    """The caps in force or scheduled that begin before loop second `at`, at the power each can be held to."""
    entries = (one for one in (*state.orders.active, *state.orders.scheduled) if one.starts_at < at)
    return [
        (one, replace(bound, power_w=max(bound.power_w, floor_w)))
        for one in entries
        for bound in arbiter.order_bounds((one,))
    ]


def _on_the_way(entry: ActiveOrder, then: Proposal, power_w: float) -> Setpoint:
    assert entry.dispatch.not_before is not None  # nothing else is scheduled
    source = f"ahead of {then.source} at {_clock(entry.dispatch.not_before)}"
    return Setpoint(power_w, then.bound, source, then.expires_at, shed=False)


def _ruling_at(state: State, at: float, floor_w: float) -> Proposal | None:
    """The order that will bind the site at loop second `at`, at the power it can be held to."""
    orders = timeline.in_force_at(state.orders, at)
    wish = arbiter.wish_of(orders)
    found = [replace(one, power_w=max(one.power_w, floor_w)) for one in (*arbiter.order_bounds(orders), wish) if one]
    return min(found, key=lambda one: (one.power_w, arbiter.RANK[one.bound]), default=None)


def _gives_way(state: State, order: Dispatch) -> bool:
    """Whether the target that counts now is one of the same issuer: it has said of both what it wants and when."""
    target = arbiter.wish_of(state.orders.active)
    mine = (one.dispatch for one in state.orders.active if one.dispatch.issuer == order.issuer)
    return target is not None and any(one.dispatch_id == target.source for one in mine)


def _longest_s(facts: Fleet, policy: Policy) -> float:
    """No line is longer: from one end of the site's range to the other, and as far behind as the slowest class."""
    slowest_s = max(
        float(np.max(dead_s + to_90_s, initial=0.0)) for dead_s, to_90_s in (response_s(facts, verb) for verb in Verb)
    )
    return policy.rated_w / min(down_w_per_s(policy), up_w_per_s(policy)) + slowest_s + MARGIN_S


def _response_s(facts: Fleet, state: State, policy: Policy, drop_w: float) -> float:
    """Seconds by which those who must move for that many watts less (more, below 0) are behind the set-point: trimmers,
    beyond their range also those who sleep or boot. A boot is half done when its watts are due."""
    fleet, trim_s = state.fleet, estimator.trim_horizon_s(facts)
    on, rows = fleet.want_hashing, np.arange(len(facts))
    own_w = facts.level_power_w[rows, np.maximum(fleet.want_level, 0)]
    furthest_w = facts.level_power_w[:, 0] if drop_w > 0.0 else facts.level_power_w[rows, fleet.ceiling]
    range_w = float((np.abs(own_w - furthest_w) * fleet.ratio)[on & facts.trims].sum())
    beyond_w = abs(drop_w) - (range_w if policy.fleet.trim else 0.0)
    if beyond_w <= 0.0:
        return trim_s
    if drop_w > 0.0:
        return max(trim_s, float(np.max((facts.sleep_dead_s + facts.sleep_90_s)[on], initial=0.0)))
    asleep = facts.best_first[(~on & fleet.ours_asleep)[facts.best_first]]
    gain_w = (facts.level_power_w[rows, fleet.ceiling] * fleet.ratio - facts.sleep_power_w)[asleep]
    needed = asleep[np.cumsum(gain_w) - gain_w < beyond_w]
    return max(trim_s, float(np.max((facts.wake_dead_s + facts.wake_90_s - facts.boot_s)[needed], initial=0.0)))


def _clock(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%H:%M:%SZ")
