"""Whether the load has kept the ramps, by the site meter: a count of the times it did not, and slower rises after one.

The governor (core/ramp) goes by what is committed and expected. Where miners do otherwise - boots all quicker than
their class, a pool that comes back, auxiliaries that start - only the meter shows it. Then the next rises leave more
room. A fall is counted and said, and stays as quick as it may be: a slower one would break the limit that asked for it.
"""

from __future__ import annotations

from dataclasses import replace

from controller.core.drawn import STEP_WINDOW_S, within
from controller.core.ramp import MINUTE_S
from controller.core.state import State
from controller.domain.fleet import Fleet
from controller.domain.metering import Sample
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import Policy, RampPolicy

TOLERANCE = 1.15
"""Beyond this, one unit and the meter's noise a ramp counts as exceeded; less is how miners of one class differ."""
SLOWER, SLOWEST = 0.8, 0.4
SLOWER_FOR_S = 900.0
ARRIVES_S = 15.0
"""After a fall that knew no ramp: so long its last orders may take to arrive."""


def watch(
    facts: Fleet, state: State, policy: Policy, sample: Sample | None, now: float, lied: bool = False
) -> list[Event]:
    """Judge the newest sample of the site meter; an event for each ramp that was exceeded, once a minute at most.

    lied: it shows what cannot be. What it showed before is nothing to judge by either: it may have stood still since.
    """
    if lied:
        state.metered = ()
    if state.falls_freely:
        state.fall_judged_from = now + ARRIVES_S
    if now >= state.slow_until:
        state.rise_share = 1.0
    if sample is None or sample.value is None or (state.metered and sample.taken_at <= state.metered[-1][0]):
        return []
    at, load_w = sample.taken_at, sample.value
    state.metered = (*within(state.metered, MINUTE_S, at), (at, load_w))
    ramp, spare_w = policy.ramp, float(facts.level_power_w.max(initial=0.0)) + policy.fleet.deadband_down_w
    found = []
    for window_s, up_w, down_w in (
        (MINUTE_S, ramp.up_w_per_min, ramp.down_w_per_min),
        (STEP_WINDOW_S, ramp.up_w_per_15s, ramp.down_w_per_15s),
    ):
        lately = within(state.metered, window_s, at)
        rose_w = load_w - min(power_w for one_at, power_w in lately if one_at >= min(state.rise_judged_from, at))
        fell_w = max(power_w for one_at, power_w in lately if one_at >= min(state.fall_judged_from, at)) - load_w
        if rose_w > TOLERANCE * up_w + spare_w:
            state.rise_judged_from = at
            if at - state.rise_said_at >= MINUTE_S:  # what goes on is the same rise
                state.rises_exceeded, state.rise_said_at = state.rises_exceeded + 1, at
                state.rise_share, state.slow_until = max(SLOWER * state.rise_share, SLOWEST), now + SLOWER_FOR_S
                then = f"for {SLOWER_FOR_S / 60:.0f} min it rises at {state.rise_share:.0%} of the ramps"
                found.append(_event("rose", rose_w, window_s, up_w, then))
        if fell_w > TOLERANCE * down_w + spare_w:
            state.fall_judged_from = at
            if at - state.fall_said_at >= MINUTE_S:
                state.falls_exceeded, state.fall_said_at = state.falls_exceeded + 1, at
                found.append(_event("fell", fell_w, window_s, down_w, "falls stay as quick as they may be"))
    return found


def _event(moved: str, by_w: float, window_s: float, limit_w: float, then: str) -> Event:
    text = (
        f"the load {moved} by {by_w / 1e3:.1f} kW within {window_s:.0f} s, {limit_w / 1e3:.1f} kW are allowed; {then}"
    )
    return Event("ramp_exceeded", EventLevel.WARNING, text)


def slowed(facts: Fleet, state: State, policy: Policy) -> RampPolicy:
    """The ramps as they may be used now: never so slow that the set-point could not leave the deadband by one unit."""
    ramp, share = policy.ramp, state.rise_share
    if share == 1.0:
        return ramp
    least_w = policy.fleet.deadband_up_w + max(policy.fleet.deadband_up_w, float(facts.level_power_w.max(initial=0.0)))
    up_15s_w = max(share * ramp.up_w_per_15s, min(ramp.up_w_per_15s, least_w))
    return replace(ramp, up_w_per_min=share * ramp.up_w_per_min, up_w_per_15s=up_15s_w)
