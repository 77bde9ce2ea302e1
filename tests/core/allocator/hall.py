"""Four miners to allocate a setpoint to. Miner 0 is the best by J/TH, the last the worst.

At 2.0, 2.5, 3.0, 3.5 kW; 50 W asleep; 1 kW of auxiliaries: 15 kW all on, 9 kW all on at the lowest rung.
"""

from __future__ import annotations

import numpy as np

from controller.core import allocator, estimator
from controller.core.roster import Goal

ANY_RAMP = 1e9  # W/s: a unit woken now is asked for where the ramp ends
ALL_ON, ALL_OFF = [True] * 4, [False] * 4


class Hall:
    def __init__(self, kit, hashing, level=3, facts=None, ramp=None, **fleet):
        self.facts = facts or kit.fleet(len(hashing))
        self.policy = kit.policy(fleet=fleet, ramp={"up_w_per_15s": 50_000.0, **(ramp or {})})
        self.state = kit.seen_state(self.facts, hashing, level=level)
        self.plan = None

    @property
    def fleet(self):
        return self.state.fleet

    def allocate(
        self, power_w, lead_w=None, shed=False, waived=False, may_raise=True, now=0.0, ahead_w=0.0, exact=False
    ):
        goal = None
        if power_w is not None:
            goal = Goal(power_w, lead_w or power_w, ANY_RAMP, shed, waived, may_raise, exact, ahead_w=ahead_w)
        self.plan = allocator.allocate(self.facts, self.state, self.policy, goal, now)
        return self.plan

    def asleep(self):
        return [int(miner) for miner in np.flatnonzero(~self.plan.hashing)]

    def awake(self):
        return [int(miner) for miner in np.flatnonzero(self.plan.hashing)]

    def planned_w(self):
        return self.state.offset_w + float(
            estimator.planned_power_w(self.facts, self.fleet, self.plan.hashing, self.plan.level).sum()
        )

    def why(self, miner):
        return self.plan.why_of(miner)
