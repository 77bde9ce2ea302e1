"""How fast the set-point of a target goes, of what 15 s allow, and how far trim is ordered ahead of it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import ramp
from controller.core.drawn import KnownMoves, Next
from controller.domain.reasons import Bound
from tests.core.ramps import TRIMS, ahead, state_at, steady, wish


@pytest.mark.parametrize(
    ("bound", "up_w", "down_w"),
    [
        pytest.param(Bound.DISPATCH_TARGET, 94.0, 188.0, id="a target leaves the load room to arrive unevenly"),
        pytest.param(Bound.DISPATCH_CAP, 100.0, 200.0, id="a limit is kept as fast as it may be"),
    ],
)
def test_a_target_moves_by_a_little_less_than_fifteen_seconds_allow(kit, bound, up_w, down_w):
    """At the whole pace the load met its limit every fifteen seconds, stood, and made up for it too fast."""
    rates = kit.policy(ramp={"up_w_per_15s": 1_500.0, "down_w_per_15s": 3_000.0}).ramp
    state = state_at(kit, 20_000.0, steady(20_000.0))
    up = ramp.limit(state, rates, wish(30_000, bound), 20_000.0, False, 100.0, 1.0)
    down = ramp.limit(state, rates, wish(10_000, bound), 20_000.0, False, 100.0, 1.0)
    assert (up.power_w, down.power_w) == (pytest.approx(20_000.0 + up_w), pytest.approx(20_000.0 - down_w))


def test_a_fall_that_was_held_up_makes_up_for_it_in_its_own_time(kit):
    """The load's limit lets it fall after a pause as steeply as it fell 15 s before: the same lump came again every
    15 s for as long as the fall lasted, and the load moved by 5.3 % of rated within them."""
    state = state_at(kit, 20_000.0)
    state.drawn_history = ((88.0, 21_900.0), (99.0, 20_100.0))
    assert ahead(kit, state, 10_000, down_w_per_15s=3_000.0) == pytest.approx(-564.0), "three seconds of the pace"
    state.asked_w = 20_050.0
    held_up = ahead(kit, state, 10_000, down_w_per_15s=3_000.0)
    assert held_up == pytest.approx(50.0 - 1.75 * 188.0), "one second more of it, and three quarters"
    alone = ahead(kit, state, 10_000, trims=replace(TRIMS, alone=True), down_w_per_15s=3_000.0)
    assert alone < -564.0, "what trim does alone comes in no lumps"
    state.drawn_history = ((88.0, 21_400.0), (99.0, 20_100.0))
    assert ahead(kit, state, 10_000, down_w_per_15s=3_000.0) == pytest.approx(-564.0), "what begins a fall is no pause"


@pytest.mark.parametrize(
    ("fallen_w", "down_w"),
    [
        pytest.param(0.0, 225.0, id="the first twentieth, 1.8 kW, in eight seconds"),
        pytest.param(1_700.0, 225.0, id="almost there"),
        pytest.param(1_850.0, (2_820.0 - 1_800.0) / 7.0, id="the rest of 15 s goes slower for it"),
        pytest.param(2_900.0, 188.0, id="then at the pace of any other"),
    ],
)
def test_the_first_twentieth_of_a_large_fall_is_there_in_time(kit, fallen_w, down_w):
    """At an even pace a fall by 70 % of rated has moved by a twentieth of itself after 12 s (10 are allowed, T3)."""
    rates = kit.policy(ramp={"down_w_per_15s": 3_000.0}).ramp
    state = state_at(kit, 40_000.0 - fallen_w, ((50.0, 40_000.0), *steady(40_000.0 - fallen_w)[-5:]))
    fell = ramp.limit(state, rates, wish(4_000, Bound.DISPATCH_TARGET), state.setpoint_w, False, 100.0, 1.0)
    assert fell.power_w == pytest.approx(state.setpoint_w - down_w)


def test_a_smaller_fall_needs_no_haste(kit):
    rates = kit.policy(ramp={"down_w_per_15s": 3_000.0}).ramp
    state = state_at(kit, 40_000.0, steady(40_000.0))
    fell = ramp.limit(state, rates, wish(10_000, Bound.DISPATCH_TARGET), 40_000.0, False, 100.0, 1.0)
    assert fell.power_w == pytest.approx(39_812.0), "30 kW: their twentieth is there in eight seconds"


@pytest.mark.parametrize("fallen_w", [pytest.param(0.0, id="a short fall"), pytest.param(6_100.0, id="a long fall")])
def test_what_trim_does_alone_goes_closer_to_the_limit(kit, fallen_w):
    """Nobody boots or sleeps for it, and nothing comes in lumps."""
    rates = kit.policy(ramp={"up_w_per_15s": 1_500.0, "down_w_per_15s": 3_000.0}).ramp
    alone = KnownMoves(Next(alone=True), Next(alone=True))
    state = state_at(kit, 20_000.0, ((50.0, 20_000.0 + fallen_w), *steady(20_000.0)[-5:]))
    up, down = (
        ramp.limit(state, rates, wish(power_w, Bound.DISPATCH_TARGET), 20_000.0, False, 100.0, 1.0, alone)
        for power_w in (30_000, 10_000)
    )
    assert (up.power_w, down.power_w) == (pytest.approx(20_095.5), pytest.approx(19_809.0))


@pytest.mark.parametrize(
    ("wanted_w", "ahead_w"),
    [pytest.param(30_000, 282.0, id="94 % of three seconds up"), pytest.param(10_000, -564.0, id="94 % down")],
)
def test_what_is_ordered_ahead_goes_by_the_pace_of_the_set_point(kit, wanted_w, ahead_w):
    """A rise was led by the whole pace: as the order turned the load was above it, for one second in fifty hours."""
    state = state_at(kit, 20_000.0)
    assert ahead(kit, state, wanted_w, up_w_per_15s=1_500.0, down_w_per_15s=3_000.0) == pytest.approx(ahead_w)


@pytest.mark.parametrize(
    ("wanted_w", "ahead_w"),
    [pytest.param(30_000, 286.5, id="as ever up"), pytest.param(10_000, -955.0, id="two seconds more down")],
)
def test_a_fall_that_trim_does_alone_is_ordered_further_ahead(kit, wanted_w, ahead_w):
    """The load was two seconds behind in every long fall. A rise led by one more was above an order that turned."""
    alone = replace(TRIMS, alone=True)
    state = state_at(kit, 20_000.0)
    rates = {"up_w_per_15s": 1_500.0, "down_w_per_15s": 3_000.0}
    assert ahead(kit, state, wanted_w, trims=alone, **rates) == pytest.approx(ahead_w)
