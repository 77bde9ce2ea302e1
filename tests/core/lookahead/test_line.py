"""The line that leads to a scheduled order, by itself; the other files of this folder have whole sites."""

from __future__ import annotations

from dataclasses import replace

from controller.core import arbiter, lookahead
from controller.core.state import ActiveOrder, OrderBook
from controller.domain.dispatch import DispatchKind
from controller.domain.plan import InputState

TARGET = DispatchKind.TARGET


def prepared(kit, facts, state, at=0.0, surplus_w=40_000.0):
    """What is wanted at loop second `at`."""
    policy = kit.policy()
    bounds = arbiter.proposals(state, policy, {}, surplus_w, 1_200.0)
    wanted = arbiter.decide(state, bounds, InputState.GOOD, 5_000.0, 1_200.0)
    return lookahead.prepare(facts, state, policy, wanted, bounds, 1_200.0, at)


def test_a_line_that_has_begun_does_not_step_back_when_those_who_boot_for_it_have_been_told(kit):
    facts = kit.fleet(4)
    state = kit.seen_state(facts, [True, True, False, False])
    now = ActiveOrder(kit.order(TARGET, 8_000), 8_000, True, ends_at=900.0)
    later = replace(kit.order(TARGET, 15_000, seq=2), not_before=kit.wall + 60.0)
    state.orders = OrderBook((now,), scheduled=(ActiveOrder(later, 15_000, False, ends_at=900.0, starts_at=60.0),))
    begun = prepared(kit, facts, state)
    # 7 kW at 100 W/s take 70 s, boots are 15 s behind, and the margin is 5 s: it should have begun 30 s ago.
    assert begun.setpoint.power_w == 15_000.0 - 100.0 * (60.0 - 15.0 - 5.0)
    state.fleet.want_hashing[:] = True
    assert prepared(kit, facts, state).setpoint == begun.setpoint
    state.led_s = {}
    assert prepared(kit, facts, state).setpoint.power_w < begun.setpoint.power_w, "from trim alone it would be lower"
