"""What is prepared gives way to what binds before it: caps, other issuers, the surplus, a person, an emergency."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.dispatch import DispatchClass
from controller.domain.reasons import Bound
from tests.core.engine.given import CAP, TARGET, cap_by
from tests.core.lookahead.desk import IN_S, TOLERANCE_W, Desk


def test_a_cap_that_comes_raises_nothing_before_its_time(desk):
    desk.order(CAP, 20_000)
    desk.until(200.0)
    begins = desk.order(CAP, 30_000, 200.0)
    desk.until(begins - 1.0)
    late = [load for at, load in desk.loads.items() if 260.0 < at < begins]
    assert max(late) <= 20_000.0 + 100.0
    assert not [command for command in desk.site.sent[-20:] if command.verb is Verb.WAKE and command.raises]


def test_somebody_elses_order_binds_until_its_end_whatever_comes_after_it(desk):
    desk.order(TARGET, 20_000, issuer="other", lasts_s=400.0)
    desk.until(200.0)
    begins = desk.order(TARGET, 30_000, 262.0)
    desk.until(begins)
    assert max(load for at, load in desk.loads.items() if 250.0 < at < begins) < 20_000.0 + TOLERANCE_W


def test_the_surplus_binds_beside_what_is_prepared(kit):
    desk = Desk(kit)
    desk.order(TARGET, 20_000)
    desk.until(150.0)
    desk.site.spare_w = 25_000.0
    begins = desk.order(TARGET, 33_000, 120.0)
    desk.until(begins + 60.0)
    assert max(load for at, load in desk.loads.items() if at > 180.0) <= 25_000.0 + 100.0


def test_a_person_who_holds_the_site_lower_is_not_overruled_by_what_is_prepared(desk):
    desk.order(TARGET, 20_000)
    desk.until(150.0)
    desk.site.cycle(operator=(cap_by(15_000),))
    begins = desk.order(TARGET, 30_000, 120.0)
    desk.until(begins + 30.0)
    assert max(load for at, load in desk.loads.items() if at > 210.0) < 15_000.0 + 500.0


@pytest.mark.parametrize("cap_w", [8_000, 15_000], ids=["below the target in force", "above it"])
def test_a_rise_that_is_led_keeps_to_another_issuers_cap_that_begins_before_it(kit, cap_w):
    desk = Desk(kit, ramp={"up_w_per_min": 3_000.0})
    desk.order(TARGET, 12_000, lasts_s=3_000.0)
    desk.until(130.0)
    desk.order(TARGET, 34_000, 520.0, lasts_s=3_000.0)
    cap_at = desk.order(CAP, cap_w, 440.0, issuer="tso", lasts_s=500.0)
    desk.until(cap_at + 58.0)
    assert max(desk.loads.values()) > 20_000.0
    assert max(load for at, load in desk.loads.items() if at >= cap_at) <= cap_w + 200.0
    assert desk.setpoint.source == "tso-3"


def test_a_surplus_that_falls_below_a_rise_that_is_led_is_a_limit_and_waits_for_no_dwell(kit):
    desk = Desk(
        kit, ramp={"up_w_per_min": 20_000.0, "up_w_per_15s": 8_000.0}, fleet={"trim": False, "dwell_on_s": 900.0}
    )
    desk.site.spare_w = 40_000.0
    desk.order(TARGET, 12_000, lasts_s=3_000.0)
    desk.until(200.0)
    begins = desk.order(TARGET, 36_000, 200.0, lasts_s=3_000.0)
    desk.until(begins - 20.0)
    desk.site.spare_w = desk.site.load_w() + 1_000.0
    for _ in range(18):
        desk.site.spare_w -= 130.0
        desk.until(desk.site.now + 1.0)
    assert (desk.setpoint.bound, desk.setpoint.source) == (Bound.SURPLUS, "poi")
    assert desk.site.load_w() <= desk.site.spare_w


def test_an_emergency_of_its_own_issuer_outlives_a_start_that_was_ordered_before_it(desk):
    begins = desk.order(TARGET, 30_000, IN_S)
    desk.until(begins - 60.0)
    desk.order(CAP, 5_000, dispatch_class=DispatchClass.EMERGENCY, lasts_s=300.0)
    desk.until(begins + 60.0)
    assert max(load for at, load in desk.loads.items() if at > begins - 40.0) < 6_000.0
    assert set(desk.site.decisions[-1].active_orders) == {"desk-1", "desk-2"}
