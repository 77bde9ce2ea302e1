"""A plan added up anew from its arrays and the core's belief of each miner, another way than the allocator's."""

from __future__ import annotations

import numpy as np

from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.command import Command
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import Decision
from tests.rig.setup import Setup


def recount_gap_w(setup: Setup, state: State, decision: Decision, sent: tuple[Command, ...]) -> float:
    """The plan's watts less those added up anew: rung or sleep watts for those a plan counts on, and what the others
    are believed to draw. One that failed, is out of reach or tells nothing, and is asked again this cycle, may be
    either."""
    fleet, facts, plan = state.fleet, setup.facts, decision.allocation
    rung_w = facts.level_power_w[np.arange(len(facts)), plan.level] * fleet.ratio
    planned_w = np.where(plan.hashing, rung_w, facts.sleep_power_w)
    seen = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
    trusted = (fleet.verdict != Verdict.QUARANTINED) & (fleet.verdict != Verdict.UNSEEN)
    trusted &= fleet.verdict != Verdict.STUCK
    heard = fleet.read_at >= decision.now - setup.policy.fleet.telemetry_stale_s
    allowed = (fleet.condition == Condition.HASHING) | fleet.ours_asleep | plan.hashing
    counted_on = seen & trusted & heard & allowed & (plan.hashing | ~fleet.caught)
    least_w = np.where(counted_on, planned_w, fleet.to_w)
    most_w = least_w.copy()
    if sent:
        failed = (fleet.attempts + fleet.drifts > 0) | (fleet.condition == Condition.UNREACHABLE)
        failed |= (fleet.condition == Condition.UNKNOWN) | fleet.told_again
        again = [one.miner for one in sent if failed[one.miner]]
        least_w[again] = np.minimum(planned_w, fleet.from_w)[again]
        most_w[again] = np.maximum(planned_w, fleet.from_w)[again]
    offset_w = state.offset_w or 0.0
    least, most = offset_w + float(least_w.sum()), offset_w + float(most_w.sum())
    return plan.allocated_w - min(max(plan.allocated_w, least), most)


def committed_w(state: State) -> float:
    """What the site would draw with every order obeyed, but those that lower the deaf: these may not have arrived."""
    fleet = state.fleet
    deaf = (fleet.condition == Condition.UNREACHABLE) & (fleet.verb != NO_COMMAND)
    to_w = np.where(deaf, np.maximum(fleet.from_w, fleet.to_w), fleet.to_w)
    return (state.offset_w or 0.0) + float(to_w.sum())
