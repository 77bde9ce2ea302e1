"""Whole steps, cranked by hand: scheduled orders are met at their time, down and up, and not begun needlessly early."""

from __future__ import annotations

import pytest

from controller.domain.reasons import Bound
from tests.core.engine.given import CAP, RELEASE, TARGET, S
from tests.core.lookahead.desk import IN_S, TOLERANCE_W, Desk

RAMPS = [
    pytest.param({}, 200.0, id="the ramp per minute binds"),
    pytest.param({"down_w_per_min": 30_000.0}, 4_000.0 / 15.0, id="the ramp within 15 s binds"),
]


@pytest.mark.parametrize("kind", [CAP, TARGET])
@pytest.mark.parametrize(("ramp", "rate"), RAMPS)
def test_a_lower_power_is_met_at_the_ordered_time_and_not_begun_needlessly_early(kit, kind, ramp, rate):
    desk = Desk(kit, ramp=ramp)
    before = desk.site.load_w()
    begins = desk.order(kind, 24_000, IN_S)
    desk.until(begins + 60.0)
    assert desk.load_at(begins) == pytest.approx(24_000.0, abs=TOLERANCE_W)
    on_the_way_s = (before - 24_000.0) / rate + 6.0 + 10.0  # the ramp, a trim's time, and a margin
    assert min(load for at, load in desk.loads.items() if at < begins - on_the_way_s) > before - 500.0
    assert all(load <= 24_000.0 + TOLERANCE_W for at, load in desk.loads.items() if at >= begins)
    assert desk.said() == [S.RECEIVED, S.ACCEPTED, S.REACHED]
    reached = next(at for _, status, at in desk.answers if status is S.REACHED)
    assert begins <= reached <= begins + 3.0


@pytest.mark.parametrize("ramp", [{}, {"up_w_per_min": 30_000.0}], ids=["per minute", "within 15 s"])
def test_a_higher_target_of_the_same_issuer_is_met_at_its_time(kit, ramp):
    desk = Desk(kit, ramp=ramp)
    desk.order(TARGET, 24_000)
    desk.until(200.0)
    begins = desk.order(TARGET, 32_000, 300.0)
    desk.until(begins + 60.0)
    assert desk.load_at(begins - 200.0) == pytest.approx(24_000.0, abs=TOLERANCE_W)
    assert desk.load_at(begins) == pytest.approx(32_000.0, abs=TOLERANCE_W)
    assert desk.said("desk-1")[-1] is S.SUPERSEDED
    assert desk.said("desk-2") == [S.RECEIVED, S.ACCEPTED, S.REACHED]


def test_what_is_on_its_way_says_for_which_order_and_for_when(desk):
    begins = desk.order(CAP, 24_000, IN_S)
    desk.until(begins - 30.0)
    source = desk.setpoint.source
    desk.until(begins)
    assert source.startswith("ahead of desk-1 at 08:")
    assert source.endswith("Z")
    assert (desk.setpoint.source, desk.setpoint.bound) == ("desk-1", Bound.DISPATCH_CAP)


def test_a_scheduled_order_is_in_no_list_of_those_in_force_until_it_begins(desk):
    begins = desk.order(CAP, 24_000, IN_S)
    decision = desk.site.decisions[-1]
    assert (decision.active_orders, [name for name, _ in decision.scheduled_orders]) == ((), ["desk-1"])
    desk.until(begins)
    decision = desk.site.decisions[-1]
    assert (decision.active_orders, decision.scheduled_orders) == (("desk-1",), ())


def test_a_release_before_the_start_cancels_it_and_the_load_comes_back(desk):
    before = desk.site.load_w()
    begins = desk.order(CAP, 24_000, IN_S)
    desk.until(begins - 20.0)
    assert desk.site.load_w() < before - 3_000.0
    desk.order(RELEASE, None)
    desk.until(begins + 180.0)
    assert desk.said() == [S.RECEIVED, S.ACCEPTED, S.SUPERSEDED]
    assert desk.site.load_w() == pytest.approx(before, abs=TOLERANCE_W)


def test_two_windows_are_both_met_and_what_is_between_them_is_used(kit):
    desk = Desk(kit, fleet={"dwell_on_s": 30.0, "dwell_off_s": 30.0})
    first = desk.order(CAP, 26_000, 120.0, lasts_s=180.0)
    second = desk.order(CAP, 18_000, 500.0, lasts_s=700.0)
    desk.until(second + 30.0)
    assert desk.load_at(first) == pytest.approx(26_000.0, abs=TOLERANCE_W)
    assert desk.load_at(second) == pytest.approx(18_000.0, abs=TOLERANCE_W)
    assert max(load for at, load in desk.loads.items() if first + 100.0 < at < second) > 32_000.0
    assert desk.said("desk-1") == [S.RECEIVED, S.ACCEPTED, S.REACHED, S.EXPIRED]
    assert desk.said("desk-2") == [S.RECEIVED, S.ACCEPTED, S.REACHED]
