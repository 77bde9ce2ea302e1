"""Orders for later through a stepped clock, a crash, a lost meter and a lease."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.core import checkpoint
from controller.domain.metering import Point
from tests.core.engine.given import CAP, TARGET, S
from tests.core.lookahead.desk import IN_S, TOLERANCE_W, Desk


@pytest.mark.parametrize("step_s", [-3_600.0, 3_600.0])
def test_a_clock_that_is_stepped_moves_no_start(desk, step_s):
    begins = desk.order(CAP, 24_000, IN_S)
    desk.until(begins - 100.0)
    desk.site.wall_step_s = step_s
    desk.until(begins + 10.0)
    assert desk.load_at(begins) == pytest.approx(24_000.0, abs=TOLERANCE_W)
    assert [at for _, status, at in desk.answers if status is S.REACHED] == [begins]


@pytest.mark.parametrize("away_s", [10.0, 100.0], ids=["back before the start", "back after it"])
def test_a_crash_between_acceptance_and_start_forgets_no_start(desk, away_s):
    begins = desk.order(CAP, 24_000, IN_S)
    desk.until(begins - 80.0)
    facts, went = desk.site.facts, desk.site.now
    record = json.loads(json.dumps(checkpoint.to_record(facts, desk.site.state, went)))
    desk.site.now += away_s
    back = checkpoint.from_record(facts, record, desk.site.now - away_s, desk.kit.wall + went)
    back.started_at = back.now = desk.site.now
    desk.site.state = back
    desk.until(begins + 120.0)
    assert desk.said() == [S.RECEIVED, S.ACCEPTED, S.REACHED]
    assert min(at for at, load in desk.loads.items() if load < 24_000.0 + TOLERANCE_W) <= max(
        begins, went + away_s + 70.0
    )
    assert desk.load_at(begins + 120.0) == pytest.approx(24_000.0, abs=TOLERANCE_W)


def test_in_a_lease_an_order_for_later_does_not_end_the_fail_safe(kit):
    desk = Desk(kit, dispatch={"lease_required": True})
    heard = {"dispatcher_heartbeat_at": desk.site.now}
    wall = kit.wall + desk.site.now + 1.0
    later = replace(kit.order(CAP, 30_000, issued_at=wall), not_before=wall + 60.0)
    desk.site.cycle(received=(desk.site.receive(later),), **heard)
    desk.site.cycle(**heard)
    assert desk.site.decisions[-1].fail_safe.value == "fallback"
    now = kit.order(CAP, 30_000, seq=2, issued_at=kit.wall + desk.site.now + 1.0)
    desk.site.cycle(received=(desk.site.receive(now),), **heard)
    desk.site.cycle(**heard)
    assert desk.site.decisions[-1].fail_safe.value == "good"


def test_a_rise_that_is_led_ends_when_a_meter_is_lost_and_the_site_goes_to_its_fallback(kit):
    desk = Desk(kit, fallback_w=16_000, ramp={"up_w_per_min": 3_000.0})
    desk.order(TARGET, 12_000)
    desk.until(130.0)
    desk.order(TARGET, 34_000, 520.0)
    desk.until(420.0)
    assert desk.site.load_w() > 20_000.0
    desk.site.meter_lost = {Point.POI_EXPORT_W}
    desk.until(600.0)
    assert desk.site.decisions[-1].fail_safe.value == "fallback"
    assert desk.site.load_w() <= 16_000.0


def test_in_a_lease_orders_stamped_with_the_time_of_a_clock_a_little_ahead_are_orders_of_now(kit):
    desk = Desk(kit, dispatch={"lease_required": True})
    wall = kit.wall + desk.site.now + 1.0
    order = replace(kit.order(CAP, 30_000, issued_at=wall + 0.3), not_before=wall + 0.3)
    for received in ((desk.site.receive(order),), ()):
        desk.site.cycle(received=received, dispatcher_heartbeat_at=desk.site.now)
    assert desk.site.decisions[-1].fail_safe.value == "good"
