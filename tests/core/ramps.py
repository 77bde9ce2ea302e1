"""What tests of the ramps are given. Up 100 W/s and 2 kW in 15 s; down 200 W/s and 4 kW in 15 s; fallback 400 W/s."""

from __future__ import annotations

import math

from controller.core import ramp
from controller.core.drawn import KnownMoves, Moment, Next
from controller.core.state import State
from controller.domain.plan import Setpoint
from controller.domain.reasons import Bound


def wish(power_w, bound=Bound.DISPATCH_CAP, shed=False):
    return Setpoint(power_w, bound, "test", None, shed)


def state_at(kit, setpoint_w, history=()):
    state = State.fresh(kit.fleet(1), 0.0)
    state.setpoint_w = setpoint_w
    state.power_history = tuple(history)
    return state


def steady(power_w, until=100.0):
    return [(until - 60 + second, power_w) for second in range(61)]


def limit(kit, state, wanted, present_w, waived=False, now=100.0, elapsed_s=1.0, **who_moves_next):
    rates = kit.policy(ramp={"up_w_per_15s": 2_000.0}).ramp
    return ramp.limit(state, rates, wanted, present_w, waived, now, elapsed_s, KnownMoves(**who_moves_next))


def alike(in_s, owed_w=0.0, then_w=None):
    """Who moves next where one is as quick as the other."""
    felt = Moment(in_s, owed_w, then_w)
    return Next(felt, felt)


TRIMS = Next(Moment(2.0), Moment(3.0))


def ahead(kit, state, wanted_w, limit_w=math.inf, trims=TRIMS, **rates):
    rates = kit.policy(ramp={"up_w_per_15s": 2_000.0, **rates}).ramp
    return ramp.ahead_w(state, rates, state.setpoint_w, wanted_w, limit_w, 100.0, 1.0, KnownMoves(trims, trims))
