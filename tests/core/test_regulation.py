"""A target that is moved every few seconds is met where it will be; a single order is not led beyond its end."""

from __future__ import annotations

import math

import pytest

from controller.core import ramp, regulation
from controller.core.drawn import KnownMoves, Moment, Next
from controller.core.state import State
from controller.domain.dispatch import DispatchKind
from controller.domain.plan import Setpoint
from controller.domain.reasons import Bound

TRIMS = Next(Moment(2.0), Moment(3.0))


def signal(kit, powers_w, every_s=4.0, bound=Bound.DISPATCH_TARGET):
    """A state that has seen these, the last of them at second 100."""
    state = State.fresh(kit.fleet(1), 0.0)
    for step, power_w in enumerate(powers_w):
        at = 100.0 - every_s * (len(powers_w) - 1 - step)
        regulation.notice(state, Setpoint(power_w, bound, "test", None, False), at)
        state.setpoint_w = power_w
    return state


@pytest.mark.parametrize(
    ("powers_w", "w_per_s"),
    [
        pytest.param((20_000, 19_800, 19_500), -50.0, id="falling: the slower of its last two moves"),
        pytest.param((20_000, 20_400, 20_600), 50.0, id="rising"),
        pytest.param((20_000, 19_800, 19_900), 0.0, id="it turned"),
        pytest.param((20_000, 10_000), 0.0, id="one order down is no signal"),
        pytest.param((20_000, 19_800, 19_800), 0.0, id="said again is no move"),
    ],
)
def test_what_moved_twice_one_way_moves_on(kit, powers_w, w_per_s):
    assert regulation.w_per_s(signal(kit, powers_w), 101.0) == pytest.approx(w_per_s)


def test_a_signal_that_is_late_stands_still(kit):
    state = signal(kit, (20_000, 19_800, 19_600))
    assert [regulation.w_per_s(state, at) for at in (100.0, 106.0, 106.5)] == [
        pytest.approx(-50.0),
        pytest.approx(-50.0),
        0.0,
    ]


def test_a_dispatch_of_minutes_is_made_of_single_orders(kit):
    assert regulation.w_per_s(signal(kit, (20_000, 15_000, 10_000), every_s=300.0), 101.0) == 0.0


def test_what_is_no_target_has_no_trend(kit):
    state = signal(kit, (20_000, 19_800, 19_600))
    regulation.notice(state, Setpoint(19_500, Bound.SURPLUS, "poi", None, False), 101.0)
    assert regulation.w_per_s(state, 101.0) == 0.0


def ahead(kit, powers_w, limit_w=math.inf):
    state = signal(kit, powers_w)
    return ramp.ahead_w(
        state, kit.policy().ramp, state.setpoint_w, state.setpoint_w, limit_w, 101.0, 1.0, KnownMoves(TRIMS, TRIMS)
    )


def test_a_fall_is_met_where_it_will_be_and_a_rise_half_way(kit):
    assert ahead(kit, (20_000, 19_800, 19_600)) == pytest.approx(-200.0), "50 W/s, three seconds and a cycle"
    assert ahead(kit, (20_000, 20_200, 20_400)) == pytest.approx(100.0)
    assert ahead(kit, (20_000, 20_200, 20_400), limit_w=20_430.0) == pytest.approx(30.0), "never above a limit"
    assert ahead(kit, (20_000, 20_200, 20_400), limit_w=20_300.0) == 0.0


def test_a_site_that_is_given_a_falling_signal_is_ahead_of_it(kit):
    """34 kW, then every four seconds 400 W less, of ten miners whose rungs are 500 W."""
    site = kit.site(
        kit.policy(rated_w=60_000, site_cap_w=60_000), kit.fleet(10), hashing=[True] * 10, surplus_w=60_000.0
    )
    site.cycles(20)
    below_w = []
    for step in range(10):
        power_w, issued_at = 34_000 - 400 * max(step - 3, 0), kit.wall + site.now
        order = kit.order(DispatchKind.TARGET, power_w, seq=step + 1, issued_at=issued_at, lasts_s=600.0)
        below_w.append(site.cycle(received=(site.receive(order),)).allocation.unallocated_w)
        site.cycles(3)
    assert max(below_w[6:]) > 900.0, "400 W for three seconds and a cycle, and what a rung leaves"
