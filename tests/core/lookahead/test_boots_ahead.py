"""Boots that an order for later takes: begun ahead of it, and never above what binds until then."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.command import Verb
from tests.core.builders import RESPONSE
from tests.core.engine.given import CAP, RELEASE, TARGET
from tests.core.lookahead.desk import TOLERANCE_W, Desk


def test_boots_under_way_below_the_line_are_left_alone_and_no_more_are_begun(kit):
    desk = Desk(kit)
    desk.order(CAP, 8_000)
    desk.until(240.0)  # until the fall is over
    desk.order(RELEASE, None)
    while not any(command.verb is Verb.WAKE for command in desk.site.decisions[-1].commands):
        desk.until(desk.site.now + 1.0)
    desk.until(desk.site.now + 5.0)
    told, begins = len(desk.site.sent), desk.order(CAP, 12_000, 60.0)
    desk.until(begins - 25.0)
    assert {command.verb for command in desk.site.sent[told:]} <= {Verb.TRIM}
    desk.until(begins + 5.0)
    assert desk.load_at(begins) == pytest.approx(12_000.0, abs=TOLERANCE_W)


def _risen_s(kit, scheduled):
    """Seconds from the start of a target of 32 kW until 25 kW are there, after a cap of 13 kW on miners that only sleep
    and wake; the highest load before that start, and when somebody was woken before it."""
    desk = Desk(kit, ramp={"up_w_per_min": 30_000.0, "up_w_per_15s": 8_000.0}, fleet={"trim": False})
    desk.order(CAP, 13_000)
    desk.until(200.0)
    begins = 300.0
    if scheduled:
        desk.order(TARGET, 32_000, begins - 201.0)
    desk.until(begins - 1.0)
    woken = [d.now for d in desk.site.decisions[205:] if any(one.verb is Verb.WAKE for one in d.commands)]
    if not scheduled:
        desk.order(TARGET, 32_000)
    desk.until(begins + 150.0)
    there = min(at for at, load in desk.loads.items() if at >= begins and load >= 25_000.0)
    return there - begins, max(load for at, load in desk.loads.items() if 200.0 < at < begins), woken


def test_boots_are_begun_ahead_of_a_target_that_a_cap_holds_back_until_then(kit):
    prepared_s, highest_w, woken = _risen_s(kit, scheduled=True)
    begun_s, _, never = _risen_s(kit, scheduled=False)
    assert never == []
    assert woken
    assert min(woken) > 300.0 - 40.0, "a boot takes 10 s and then 30 s to 90 %"
    assert highest_w <= 13_000.0 + 100.0
    assert prepared_s <= begun_s - 1.0


def test_boots_that_come_early_do_not_pass_what_binds_until_then(kit):
    """One that draws a second after it was woken would be a third up by the start for which it was woken half a minute
    ahead, and others would sleep to make room for it. The cap leaves 250 W."""
    slow = replace(RESPONSE, wake_dead_s=1, wake_90_s=60)
    desk = Desk(kit, slow, ramp={"up_w_per_min": 60_000.0, "up_w_per_15s": 15_000.0}, fleet={"trim": False})
    desk.order(CAP, 12_100)
    desk.until(200.0)
    begins = desk.order(TARGET, 32_000, 100.0)
    desk.until(begins + 100.0)
    before = [load for at, load in desk.loads.items() if 200.0 < at <= begins]
    assert before == pytest.approx([11_850.0] * len(before))
    assert desk.load_at(begins + 100.0) > 25_000.0


@pytest.mark.parametrize(("w_per_min", "takes_s"), [(20_000.0, 60.0), (6_000.0, 200.0)])
def test_a_higher_target_that_takes_boots_begins_earlier_by_what_they_are_behind_and_never_steps_back(
    kit, w_per_min, takes_s
):
    desk = Desk(kit, ramp={"up_w_per_min": w_per_min, "up_w_per_15s": 8_000.0}, fleet={"trim": False})
    desk.site.spare_w = 40_000.0
    desk.order(TARGET, 16_000)
    desk.until(200.0)
    begins = desk.order(TARGET, 36_000, 280.0)
    desk.until(begins)
    assert desk.load_at(begins) >= 36_000.0 - TOLERANCE_W
    setpoints = [decision.setpoint.power_w for decision in desk.site.decisions[205:]]
    assert setpoints == sorted(setpoints)
    assert desk.load_at(begins - takes_s - 30.0) < 17_000.0
