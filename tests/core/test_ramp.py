"""How fast the setpoint may move. Up 100 W/s and 2 kW in 15 s; down 200 W/s and 4 kW in 15 s; fallback 400 W/s."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import ramp
from controller.domain.reasons import Bound
from tests.core.ramps import ahead, limit, state_at, steady, wish


@pytest.mark.parametrize(
    ("wanted_w", "elapsed_s", "power_w", "bound"),
    [
        pytest.param(20_000, 1.0, 10_100, Bound.RAMP_UP, id="one second of the up rate"),
        pytest.param(20_000, 0.05, 10_005, Bound.RAMP_UP, id="an early cycle gains nothing"),
        pytest.param(20_000, 0.0, 10_000, Bound.RAMP_UP, id="no time, no move"),
        pytest.param(10_060, 1.0, 10_060, None, id="a small raise is not limited"),
        pytest.param(20_000, 600.0, 12_000, Bound.RAMP_UP, id="after a long pause the 15 s limit still holds"),
        pytest.param(0, 1.0, 9_800, Bound.RAMP_DOWN, id="one second of the down rate"),
        pytest.param(0, 0.05, 9_990, Bound.RAMP_DOWN, id="an early cycle lowers no faster"),
        pytest.param(9_900, 1.0, 9_900, None, id="a small fall is not limited"),
        pytest.param(0, 600.0, 6_000, Bound.RAMP_DOWN, id="a late cycle falls by the 15 s limit at most"),
    ],
)
def test_a_normal_move_from_a_steady_ten_kilowatts(kit, wanted_w, elapsed_s, power_w, bound):
    state = state_at(kit, 10_000.0, steady(10_000.0))
    found = limit(kit, state, wish(wanted_w), 10_000.0, elapsed_s=elapsed_s)
    assert (found.power_w, found.bound) == (pytest.approx(power_w), bound)


@pytest.mark.parametrize("bound", [Bound.TRIP, Bound.SURPLUS, Bound.DISPATCH_CAP, Bound.OPERATOR])
def test_a_waived_fall_is_one_step_to_the_cap_and_not_below(kit, bound):
    found = limit(kit, state_at(kit, 30_000.0, steady(30_000.0)), wish(3_000, bound), 30_000.0, waived=True)
    assert (found.power_w, found.bound) == (3_000, None)


def test_a_waiver_never_speeds_up_a_raise(kit):
    found = limit(kit, state_at(kit, 10_000.0, steady(10_000.0)), wish(30_000), 10_000.0, waived=True)
    assert (found.power_w, found.bound) == (pytest.approx(10_100), Bound.RAMP_UP)


def test_the_fallback_has_its_own_rate_and_no_15_second_limit(kit):
    state = state_at(kit, 30_000.0, steady(30_000.0))
    found = limit(kit, state, wish(5_000, Bound.FALLBACK), 30_000.0, elapsed_s=1.0)
    assert (found.power_w, found.bound) == (pytest.approx(29_600), Bound.RAMP_DOWN)
    slow = limit(kit, state, wish(5_000, Bound.FALLBACK), 30_000.0, elapsed_s=20.0)
    assert slow.power_w == pytest.approx(22_000)


@pytest.mark.parametrize(("bound", "rate"), [(Bound.FALLBACK, 400.0), (Bound.DISPATCH_CAP, 200.0)])
def test_a_fall_begins_at_what_the_load_was_and_not_at_a_setpoint_it_could_not_follow(kit, bound, rate):
    """Behind a lying site meter most of a load was gone, or its limit was full: the ramp from the setpoint moved
    nothing for half a minute and more."""
    state = state_at(kit, 30_000.0, steady(10_000.0))
    assert limit(kit, state, wish(5_000, bound), 10_000.0).power_w == pytest.approx(10_000.0 - rate)
    assert limit(kit, state, wish(12_000, bound), 10_000.0).power_w == 12_000, "nor is it above what is wanted"
    dipped = state_at(kit, 30_000.0, [*steady(30_000.0)[:-5], *((95.0 + second, 20_000.0) for second in range(5))])
    found = limit(kit, dipped, wish(5_000, bound), 20_000.0)
    assert found.power_w == pytest.approx(30_000.0 - rate), "no dip is followed"


def test_the_way_back_after_a_shed_is_counted_from_what_the_site_really_drew(kit):
    """A setpoint that stayed high over a shed gives no right to jump back to it."""
    history = [
        *((40.0 + second, 30_000.0) for second in range(50)),
        *((90.0 + second, 3_000.0) for second in range(11)),
    ]
    found = limit(kit, state_at(kit, 30_000.0, history), wish(30_000), 3_000.0)
    assert (found.power_w, found.bound) == (pytest.approx(5_000), Bound.RAMP_UP)


def test_the_minute_limit_counts_from_the_lowest_draw_of_the_last_minute(kit):
    history = [(41.0, 4_000.0), *((42.0 + second, 10_500.0) for second in range(59))]
    found = limit(kit, state_at(kit, 10_000.0, history), wish(30_000), 10_500.0)
    assert (found.power_w, found.bound) == (pytest.approx(10_000), Bound.RAMP_UP)


def test_a_draw_older_than_the_minute_is_forgotten(kit):
    history = [(39.0, 4_000.0), *((42.0 + second, 10_500.0) for second in range(59))]
    found = limit(kit, state_at(kit, 10_000.0, history), wish(30_000), 10_500.0)
    assert found.power_w == pytest.approx(10_100)


def test_a_load_that_cannot_follow_does_not_wind_the_setpoint_up(kit):
    found = limit(kit, state_at(kit, 25_000.0, steady(10_000.0)), wish(30_000), 10_000.0)
    assert found.power_w <= 12_000


def test_a_fall_within_15_seconds_counts_from_the_highest_draw(kit):
    history = [*((85.0 + second, 12_000.0) for second in range(10)), *((95.0 + second, 8_500.0) for second in range(6))]
    found = limit(kit, state_at(kit, 8_100.0, history), wish(0), 8_500.0)
    assert (found.power_w, found.bound) == (pytest.approx(8_000), Bound.RAMP_DOWN)


def test_the_first_setpoint_starts_from_what_the_site_draws(kit):
    found = limit(kit, state_at(kit, None), wish(40_000), 7_000.0, elapsed_s=0.0)
    assert found.power_w == pytest.approx(7_000)


def test_the_history_keeps_a_minute_at_about_one_value_a_second(kit):
    state = state_at(kit, None)
    for tick in range(2_000):  # 100 s at 20 Hz
        ramp.remember(state, float(tick), float(tick), tick * 0.05)
    moments = [at for at, _ in state.power_history]
    assert moments[0] >= 99.95 - 60.0 - 1.0
    assert len(moments) <= 76
    assert all(later - earlier >= 0.8 for earlier, later in itertools.pairwise(moments))


@given(
    last=st.none() | st.floats(0, 40_000),
    present=st.floats(0, 40_000),
    wanted=st.floats(0, 40_000),
    draws=st.lists(st.floats(0, 40_000), max_size=60),
    elapsed=st.floats(0, 120),
    waived=st.booleans(),
    bound=st.sampled_from([Bound.SURPLUS, Bound.FALLBACK, Bound.DISPATCH_CAP]),
)
def test_a_raise_is_never_faster_than_the_limits_and_a_fall_never_passes_its_goal(
    kit, last, present, wanted, draws, elapsed, waived, bound
):
    history = [(100.0 - age, watts) for age, watts in reversed(list(enumerate(draws)))]
    found = limit(kit, state_at(kit, last, history), wish(wanted, bound), present, waived, elapsed_s=elapsed)
    start = present if last is None else last
    slack = 1e-6
    if wanted >= start:
        assert found.power_w <= wanted + slack
        assert found.power_w <= max(start + 100.0 * elapsed, min(start, present)) + slack
        assert found.power_w <= max(present + 2_000.0, min(start, present)) + slack
    else:
        assert wanted - slack <= found.power_w <= start + slack
        if not waived:
            rate = 400.0 if bound is Bound.FALLBACK else 200.0
            begin = min(start, max([wanted, *draws[:16]])) if draws else start
            assert found.power_w >= begin - rate * elapsed - slack


def test_a_minute_of_cycles_stays_inside_both_up_limits(kit):
    """Closed loop with a load that follows at once: no 60 s window rises by more than 6 kW, no 15 s one by 2 kW."""
    state = state_at(kit, 5_000.0)
    load, seen = 5_000.0, []
    for second in range(240):
        found = limit(kit, state, wish(40_000), load, now=float(second))
        state.setpoint_w = load = found.power_w
        ramp.remember(state, load, load, float(second))
        seen.append(load)
    for window, most in ((60, 6_000.0), (15, 2_000.0)):
        rises = [seen[at + window] - seen[at] for at in range(len(seen) - window)]
        assert max(rises) <= most * 1.001
    assert seen[-1] > 25_000.0


def test_what_is_committed_downward_counts_before_the_meter_shows_it(kit):
    """The meter still shows 10 kW, commands in flight end at 4 kW: a raise starts from there."""
    found = limit(kit, state_at(kit, 9_000.0, steady(10_000.0)), wish(30_000), 4_000.0)
    assert (found.power_w, found.bound) == (pytest.approx(6_000), Bound.RAMP_UP)


@pytest.mark.parametrize(
    ("wanted_w", "ahead_w"),
    [
        pytest.param(30_000, 300.0, id="three seconds of the way up"),
        pytest.param(20_100, 100.0, id="to the end of the ramp and no further"),
        pytest.param(20_000, 0.0, id="nothing where it stands"),
        pytest.param(10_000, -600.0, id="three seconds of the way down"),
        pytest.param(19_900, -100.0, id="to its end"),
    ],
)
def test_a_trim_takes_seconds_and_is_ordered_so_much_ahead(kit, wanted_w, ahead_w):
    assert ahead(kit, state_at(kit, 20_000.0), wanted_w) == pytest.approx(ahead_w)


def test_nothing_is_ordered_ahead_that_the_load_may_not_do(kit):
    state = state_at(kit, 20_000.0)
    state.drawn_history = ((90.0, 18_140.0), (99.0, 19_900.0))
    assert ahead(kit, state, 30_000) == pytest.approx(10.0), "18.14 kW and 93.5 % of 2 kW"
    state.drawn_history = ((90.0, 23_620.0), (99.0, 20_100.0))
    assert ahead(kit, state, 10_000) == pytest.approx(-140.0), "23.62 less 94 % of 4 kW"


def follow(kit, state, wanted_w):
    """One second of an order: what is wanted of the set-point, and the set-point where it may fall by 150 W/s only."""
    rates = kit.policy().ramp
    wanted = ramp.meet(state, rates, wish(wanted_w, Bound.DISPATCH_TARGET), 1.0)
    state.setpoint_w = min(max(wanted.power_w, state.setpoint_w - 150.0), state.setpoint_w + 100.0)
    return wanted.power_w


def test_a_set_point_that_fell_behind_its_line_meets_it_before_it_rises(kit):
    """Otherwise a rise at the same pace would stay above what was ordered as long as it lasts."""
    state = state_at(kit, 20_000.0)
    for _ in range(10):
        assert follow(kit, state, 10_000) == 10_000, "down, as ordered"
    assert (state.setpoint_w, state.line_w) == (pytest.approx(18_500.0), pytest.approx(18_000.0))
    assert follow(kit, state, 30_000) == pytest.approx(18_100.0), "the line turned, and is below"
    assert follow(kit, state, 30_000) == pytest.approx(18_200.0)
    assert state.setpoint_w == pytest.approx(18_200.0), "they met"
    assert follow(kit, state, 30_000) == 30_000
    assert state.setpoint_w == pytest.approx(18_300.0)


def test_a_load_that_dwell_holds_up_makes_nobody_wait_who_orders_more(kit):
    """The line ran on to the end of the order while the set-point stood; an order above both waited for minutes."""
    state, rates = state_at(kit, 20_000.0), kit.policy().ramp
    for _ in range(60):
        ramp.meet(state, rates, wish(6_000, Bound.DISPATCH_TARGET), 1.0)
    assert state.line_w == pytest.approx(20_000.0 - 12.0 * rates.up_w_per_min / 60.0)
    waits = [ramp.meet(state, rates, wish(30_000, Bound.DISPATCH_TARGET), 1.0).power_w < 30_000 for _ in range(60)]
    assert sum(waits) <= 12


def test_the_line_falls_no_faster_than_either_ramp(kit):
    state = state_at(kit, 20_000.0)
    rates = kit.policy(ramp={"down_w_per_min": 40_000.0, "down_w_per_15s": 1_500.0}).ramp
    ramp.meet(state, rates, wish(6_000, Bound.DISPATCH_TARGET), 1.0)
    assert state.line_w == pytest.approx(19_900.0)


def test_what_is_no_order_has_no_line(kit):
    state = state_at(kit, 20_000.0)
    state.line_w = 15_000.0
    wanted = wish(30_000, Bound.SURPLUS)
    assert ramp.meet(state, kit.policy().ramp, wanted, 1.0) == wanted
    assert state.line_w is None
