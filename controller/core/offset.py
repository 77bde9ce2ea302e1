"""What the site meter shows beyond the miners: auxiliaries, losses, every bias of the miners' own figures.

Set anew by each sample: the meter is trusted, the model only bridges what is in flight.
"""

from __future__ import annotations

import math

import numpy as np

from controller.core import estimator
from controller.core.fleet_state import NO_COMMAND, FleetState
from controller.core.state import State
from controller.domain.fleet import Condition, Fleet
from controller.domain.metering import Sample
from controller.domain.policy import Feedback, Policy

TIMING_S = 40.0  # how long what moves in flight could explain is taken for theirs
METER_NOISE_S = 2.0  # how long one noisy reading of the site meter is felt


def revise(state: State, change_w: float, now: float, first_read: bool = False, boots_w: float = 0.0) -> None:
    """What we believe of miners changed by `change_w`. While the site meter tells what the site draws, that did not
    change, and the offset takes up the difference; with the meter gone, miners are all there is to go by. first_read:
    of one never read before; its watts were in what the meter last showed, however long ago. boots_w: of the change
    what is of boots, through sooner than expected, or never to come: others are as late as those were early."""
    state.corrected_w += change_w
    if state.offset_w is not None and (now <= state.offset_until or (first_read and state.offset_at > -math.inf)):
        state.offset_w -= change_w
        state.revised_w += change_w
        early_w, state.early_w = state.early_w, max(state.early_w - max(change_w, 0.0), 0.0)
        state.late_w = max(state.late_w + boots_w - min(early_w - state.early_w, max(boots_w, 0.0)), 0.0)


def follow_meter(facts: Fleet, state: State, policy: Policy, sample: Sample | None, now: float) -> None:
    """Set the offset from a site-meter sample (loop-second stamp); without feedback it stays the configured one."""
    if policy.fleet.feedback is Feedback.OPEN_LOOP:
        state.offset_w = float(policy.auxiliary_w)
        return
    if sample is None or sample.value is None or sample.taken_at <= state.offset_at:
        if now > state.offset_until:
            _late_ones_arrive(state, now)
        return
    shown = _shown_w(state, policy.fleet.deadband_down_w, sample.value, sample.taken_at)
    before_w = shown if state.offset_w is None else state.offset_w
    booting = (state.fleet.verb == estimator.WAKE).nonzero()[0]
    most_ahead_w, most_behind_w = estimator.ahead_and_behind_w(state.fleet, booting, sample.taken_at)
    # What late boots have made good is nothing that they are ahead by.
    ahead_w = shown - (before_w + state.late_w - state.early_w)
    state.early_w = min(max(ahead_w, 0.0), float(most_ahead_w.sum()))
    # After a restart nobody knows what it was before; it cannot have been less than the auxiliaries.
    behind_w = max(before_w + state.late_w, float(policy.auxiliary_w)) - shown
    state.behind_w = float(most_behind_w.sum())
    state.late_w = min(max(behind_w, 0.0), state.behind_w)
    state.offset_w = shown
    # Miners that tell their own watts are a witness too: a meter that shows less than they do stands still, or lies.
    told_w = (1.0 - policy.fleet.tolerance_ratio) * _told_w(facts, state.fleet, policy, now)
    state.offset_w = max(state.offset_w, told_w - float(estimator.expected_power_w(state.fleet, now).sum()))
    state.offset_at = sample.taken_at
    state.offset_until = sample.taken_at + policy.inputs.hold_after_s


def _late_ones_arrive(state: State, now: float) -> None:
    """With the meter gone nobody sees late boots arrive: what the offset is below by them goes as they do, or as they
    are told to sleep."""
    fleet = state.fleet
    if state.late_w <= 0.0 or state.behind_w <= 0.0 or state.offset_w is None:
        return
    booting = ((fleet.verb == estimator.WAKE) & (fleet.sent_at <= state.offset_at)).nonzero()[0]
    left_w = min(float(estimator.ahead_and_behind_w(fleet, booting, now)[1].sum()), state.behind_w)
    arrived_w = state.late_w * (1.0 - left_w / state.behind_w)
    state.offset_w, state.late_w, state.behind_w = state.offset_w + arrived_w, state.late_w - arrived_w, left_w


def _shown_w(state: State, noise_w: float, value_w: float, at: float) -> float:
    """What a sample of the site meter shows beyond the miners, watts.

    The meter corrects at once what the timing of sleeps and trims in flight cannot explain: a miner that is half a
    second late looks like a load that will stay, and answering it would shed the same watts twice. What they could
    explain it corrects slowly, for what stays is none of theirs. A difference below `noise_w` could be the meter's.
    """
    lowest_w, middle_w, highest_w = estimator.bracket_w(state.fleet, at)
    if state.offset_w is None:
        return value_w - middle_w
    since_s = at - state.offset_at
    apart_w = min(max(value_w - middle_w - state.offset_w, -noise_w), noise_w)
    known_w = state.offset_w - apart_w * math.expm1(-since_s / TIMING_S)
    shown_w = min(max(known_w, value_w - highest_w), value_w - lowest_w)
    if abs(shown_w - known_w) > noise_w:
        return shown_w
    return known_w - (shown_w - known_w) * math.expm1(-since_s / METER_NOISE_S)


def _told_w(facts: Fleet, fleet: FleetState, policy: Policy, now: float) -> float:
    """What miners that hash have lately said that they draw, watts; of those on the way down, nothing."""
    lately = facts.reports_power & (now - fleet.read_at <= policy.fleet.telemetry_stale_s)
    holds = (fleet.verb == NO_COMMAND) | ((fleet.verb == estimator.WAKE) & fleet.want_hashing)
    who = lately & holds & (fleet.condition == Condition.HASHING) & ~np.isnan(fleet.reported_w)
    return float(fleet.reported_w[who].sum())


def load_at_w(state: State, sample: Sample | None, at: float) -> float | None:
    """Site load at time `at`: the site meter's sample moved there by what the fleet is expected to have done since.

    Two meters are never read in one instant; while the load moves, export and load of different moments add up to a
    surplus that never was. Without a sample it is what the model says, None when nothing is known.
    """
    there_w = float(estimator.expected_power_w(state.fleet, at).sum())
    if sample is not None and sample.value is not None:
        return sample.value + there_w - float(estimator.expected_power_w(state.fleet, sample.taken_at).sum())
    return None if state.offset_w is None else state.offset_w + there_w
