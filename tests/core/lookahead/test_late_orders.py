"""Orders that cannot be met in time say when they will be; a ramp that is slower begins earlier."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.core.engine.given import CAP, TARGET, S
from tests.core.lookahead.desk import TOLERANCE_W, Desk


def test_an_order_that_comes_too_late_is_accepted_and_says_when_it_will_be_met(desk):
    answers = []
    wall = desk.kit.wall + desk.site.now + 1.0
    order = replace(desk.kit.order(CAP, 20_000, issued_at=wall), not_before=wall + 30.0)
    answers += desk.site.cycle(received=(desk.site.receive(order),)).answers
    desk.until(95.0)
    said = next(answer for answer in answers if answer.status is S.ACCEPTED)
    # 13.5 kW at 200 W/s take 67.5 s, those who move last 6 s: 43.5 s too late, and 8.7 kW short of it when it begins.
    assert said.reason == "too late to be met in time: 28.7 kW at 08:01:31Z, 20.0 kW at 08:02:14Z"
    assert said.power_w == 20_000
    assert desk.load_at(91.0) == pytest.approx(28_700.0, abs=TOLERANCE_W)
    desk.until(138.0)
    assert desk.load_at(135.0) == pytest.approx(20_000.0, abs=TOLERANCE_W)


def test_an_order_in_time_says_nothing_of_being_late(desk):
    wall = desk.kit.wall + desk.site.now + 1.0
    order = replace(desk.kit.order(CAP, 20_000, issued_at=wall), not_before=wall + 80.0)
    assert [answer.reason for answer in desk.site.cycle(received=(desk.site.receive(order),)).answers] == ["", ""]


def test_a_target_after_a_cap_says_that_its_rise_begins_at_the_caps_end(kit):
    desk = Desk(kit, ramp={"up_w_per_min": 6_000.0})
    desk.order(TARGET, 20_000)
    desk.until(200.0)
    desk.order(CAP, 8_000, 200.0, issuer="tso", lasts_s=300.0)
    wall = kit.wall + desk.site.now + 1.0
    order = replace(kit.order(TARGET, 20_000, seq=9, issued_at=wall), not_before=wall + 329.0)
    answers = desk.site.cycle(received=(desk.site.receive(order),)).answers
    assert "too late to be met in time: 10." in answers[-1].reason


def test_after_a_ramp_was_exceeded_a_rise_begins_as_much_earlier_as_it_is_slower(kit):
    desk = Desk(kit, ramp={"up_w_per_min": 6_000.0})
    desk.order(TARGET, 24_000)
    desk.until(200.0)
    desk.site.state.rise_share, desk.site.state.slow_until = 0.5, 1e9
    begins = desk.order(TARGET, 32_000, 300.0)
    desk.until(begins)
    # 8 kW at 50 W/s take 160 s, at 100 W/s 80 s.
    assert desk.load_at(begins - 100.0) > 26_000.0
    assert desk.load_at(begins) == pytest.approx(32_000.0, abs=500.0)
    wall = kit.wall + desk.site.now + 1.0
    soon = replace(kit.order(TARGET, 34_000, seq=9, issued_at=wall), not_before=wall + 30.0)
    assert "too late to be met" in desk.site.cycle(received=(desk.site.receive(soon),)).answers[-1].reason
