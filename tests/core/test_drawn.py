"""What the load itself may do within 15 s, by what it was believed to draw and what the site meter showed.

Up 2 kW, down 4 kW.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core.drawn import Moment, Next
from controller.domain.reasons import Bound
from tests.core.ramps import alike, limit, state_at, steady, wish


def test_where_slow_miners_and_quick_ones_take_turns_their_falls_do_not_add_up(kit):
    """Committed were 4 kW less in the last 15 s, drawn 4.5 kW less: the seconds of the slow ones came on top."""
    state = state_at(kit, 20_500.0, steady(20_600.0))
    state.drawn_history = tuple((100.0 - age, 22_000.0 + 180.0 * age) for age in range(15, -1, -1))
    found = limit(kit, state, wish(10_000), 20_500.0)
    assert (found.power_w, found.bound) == (pytest.approx(20_500.0), Bound.RAMP_DOWN), "24.7 less 4 kW is no room"
    slow = alike(in_s=2.0, owed_w=300.0)
    found = limit(kit, state, wish(10_000), 20_500.0, falls=slow)
    assert found.power_w == pytest.approx(20_300.0), "24.34 less 4 kW, and 300 W of it come only later"
    state.setpoint_w = 20_400.0
    found = limit(kit, state, wish(10_000, Bound.DISPATCH_TARGET), 20_500.0, falls=slow)
    assert found.power_w == pytest.approx(20_280.0), "what follows a target takes 94 % of them"
    found = limit(kit, state, wish(10_000, Bound.DISPATCH_TARGET), 20_500.0, falls=replace(slow, alone=True))
    assert found.power_w == pytest.approx(20_240.0), "and 95 % where all of it is trim's"


def test_a_peak_that_is_still_to_come_is_where_a_fall_is_counted_from(kit):
    """Orders on their way up arrive after the one that turned: what they bring falls within the same 15 s."""
    state = state_at(kit, 20_500.0, steady(20_600.0))
    state.drawn_history = ((95.0, 20_000.0), (99.0, 20_300.0))
    peak = alike(in_s=2.0, owed_w=0.0, then_w=24_400.0)
    target = wish(10_000, Bound.DISPATCH_TARGET)
    found = limit(kit, state, target, 20_500.0, falls=peak)
    assert found.power_w == pytest.approx(20_400.0), "24.4 less 4 kW"
    assert limit(kit, state, target, 20_500.0).power_w == pytest.approx(20_300.0), "without it one second's pace"


@pytest.mark.parametrize(
    ("fifteen_ago_w", "least_w"),
    [
        pytest.param(22_000.0, 19_760.0, id="the peak is a turn: 23 kW less 81 % of 4"),
        pytest.param(22_950.0, 19_600.0, id="a bump on a long fall is none: one second's pace"),
        pytest.param(23_000.0, 19_600.0, id="an even fall"),
    ],
)
def test_where_the_load_turned_down_a_fall_keeps_more_of_a_margin(kit, fifteen_ago_w, least_w):
    """The peak is what the model knows least; with a margin for even falls the load moved by 5.4 % in 15 s there."""
    state = state_at(kit, 19_800.0, steady(20_600.0))
    state.drawn_history = ((88.0, fifteen_ago_w), (92.0, 23_000.0), (99.0, 20_500.0))
    found = limit(kit, state, wish(10_000, Bound.DISPATCH_TARGET), 20_500.0)
    assert found.power_w == pytest.approx(least_w)


def test_where_the_load_turned_up_a_rise_keeps_more_of_a_margin(kit):
    state = state_at(kit, 20_440.0, steady(20_000.0))
    state.drawn_history = ((88.0, 18_600.0), (99.0, 19_500.0))
    even = limit(kit, state, wish(30_000), 20_360.0)
    assert even.power_w == pytest.approx(20_470.0), "18.6 kW and 93.5 % of 2 kW"
    state.drawn_history = ((88.0, 18_800.0), (92.0, 18_600.0), (99.0, 19_500.0))
    turned = limit(kit, state, wish(30_000), 20_360.0)
    assert turned.power_w == pytest.approx(20_360.0), "18.6 kW and 81 % of 2 kW is no room"


def test_a_rise_leaves_room_for_what_slow_miners_still_owe(kit):
    state = state_at(kit, 20_500.0, steady(20_000.0))
    state.drawn_history = ((90.0, 18_600.0), (99.0, 19_000.0))
    alone = limit(kit, state, wish(30_000), 20_500.0)
    assert alone.power_w == pytest.approx(20_500.0), "18.6 kW and 93.5 % of 2 kW is no room"
    owed = limit(kit, state, wish(30_000), 20_500.0, rises=alike(in_s=2.0, owed_w=-500.0))
    assert owed.power_w == pytest.approx(20_600.0), "what is owed is not there yet: the load has room for it"


def test_what_comes_when_the_middling_ones_have_moved_counts_as_well(kit):
    """Boots, for which trim that is ordered now comes too late; and small sleepers that are quicker than trim."""
    state = state_at(kit, 20_500.0, steady(20_000.0))
    state.drawn_history = ((90.0, 18_900.0), (99.0, 19_100.0))
    rises = limit(kit, state, wish(30_000), 20_500.0, rises=Next(Moment(2.0), Moment(3.0, owed_w=250.0)))
    assert rises.power_w == pytest.approx(20_520.0), "18.9 kW and 93.5 % of 2 kW, and boots bring 250 W"
    state = state_at(kit, 20_500.0, steady(20_600.0))
    state.drawn_history = ((88.0, 24_300.0), (92.0, 24_000.0), (99.0, 20_700.0))
    slow, quick = alike(4.0), Next(Moment(1.0, owed_w=100.0), Moment(4.0))
    target = wish(10_000, Bound.DISPATCH_TARGET)
    falls = [limit(kit, state, target, 20_500.0, falls=one).power_w for one in (slow, quick)]
    assert falls == [pytest.approx(20_300.0), pytest.approx(20_440.0)], "24.3 kW are not gone yet when the quick move"


def seen(state, fell_w):
    """The load fell by 100 W/s as was believed, and in the last seconds the meter shows `fell_w` less than that."""
    state.drawn_history = tuple((100.0 - age, 20_000.0 + 100.0 * age) for age in range(15, -1, -1))
    state.metered = tuple(
        (100.0 - age, 20_000.0 + 100.0 * age + (40.0 if age % 2 else -40.0) - (fell_w if age < 6 else 0.0))
        for age in range(60, -1, -1)
    )
    return state


def test_a_load_that_fell_further_than_was_believed_has_less_room_to_fall(kit):
    """Miners that draw less at their lowest rung than they are thought to: the load moved by 5.45 % in 15 s."""
    wanted, rates = wish(10_000, Bound.DISPATCH_TARGET), {"falls": alike(in_s=1.0, owed_w=-2_100.0)}
    believed = limit(kit, seen(state_at(kit, 20_000.0, steady(20_000.0)), 0.0), wanted, 20_000.0, **rates)
    further = limit(kit, seen(state_at(kit, 20_000.0, steady(20_000.0)), 500.0), wanted, 20_000.0, **rates)
    assert believed.power_w == pytest.approx(19_800.0, abs=1.0), "one second's pace"
    assert further.power_w == pytest.approx(20_000.0), "500 W are gone already"
    limited = wish(10_000)
    assert limit(kit, seen(state_at(kit, 20_000.0, steady(20_000.0)), 500.0), limited, 20_000.0).power_w < 20_000.0


def test_a_limit_is_given_no_more_than_the_load_left_by_its_meter(kit):
    """Found by harsh seed 11084: the load had been 4 of 37 kW more than was believed, and fell by 18 kW for 10."""
    state = state_at(kit, 20_000.0, steady(20_000.0))
    state.drawn_history = tuple((100.0 - age, 20_000.0 + 200.0 * age) for age in range(15, -1, -1))
    found = []
    for beyond_w in (0.0, 1_100.0):
        state.metered = tuple((at, watts + beyond_w) for at, watts in state.drawn_history)
        found.append(limit(kit, state, wish(10_000), 20_000.0).power_w)
    assert found == [pytest.approx(19_800.0), pytest.approx(20_000.0)], "24.1 kW less 4: 100 W more than it draws"


def test_a_silent_site_meter_says_nothing_of_what_was_believed(kit):
    wanted, rates = wish(10_000, Bound.DISPATCH_TARGET), {"falls": alike(in_s=1.0, owed_w=-2_100.0)}
    state = seen(state_at(kit, 20_000.0, steady(20_000.0)), 500.0)
    state.metered = tuple(entry for entry in state.metered if entry[0] < 96.0)
    assert limit(kit, state, wanted, 20_000.0, **rates).power_w == pytest.approx(19_800.0, abs=1.0)


def test_a_load_that_rose_further_than_was_believed_has_less_room_to_rise(kit):
    """Of an order and of a limit: boots all quicker than their class show on the meter first."""
    found = {}
    for rose_w in (0.0, 500.0):
        state = state_at(kit, 20_000.0, steady(20_000.0))
        state.drawn_history = tuple((100.0 - age, 20_000.0 - 100.0 * age) for age in range(15, -1, -1))
        state.metered = tuple(
            (100.0 - age, 20_000.0 - 100.0 * age + (rose_w if age < 6 else 0.0)) for age in range(60, -1, -1)
        )
        found[rose_w] = limit(kit, state, wish(30_000), 20_000.0, rises=alike(in_s=1.0, owed_w=300.0)).power_w
    assert found[0.0] == pytest.approx(20_100.0, abs=90.0)
    assert found[500.0] == pytest.approx(20_000.0), "500 W are there already"
