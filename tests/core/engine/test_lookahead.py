"""Whole steps, cranked by hand: scheduled orders are met at their time, down and up, and not begun needlessly early."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.core import checkpoint
from controller.domain.dispatch import DispatchClass
from controller.domain.fleet import Verb
from controller.domain.metering import Point
from controller.domain.reasons import Bound
from tests.core.builders import RESPONSE
from tests.core.engine.given import CAP, RELEASE, TARGET, S, cap_by

TOLERANCE_W = 1_750.0  # half a miner: one put to sleep is gone before the trim that makes up for it
IN_S = 120.0


@pytest.fixture
def desk(kit):
    return Desk(kit)


class Desk:
    """A site of ten miners (36 kW with all on) that follows a surplus of 34 kW, and its dispatcher."""

    def __init__(self, kit, response=RESPONSE, **policy):
        self.kit = kit
        facts = kit.fleet(10, response=response)
        self.site = kit.site(kit.policy(**policy), facts, hashing=[True] * 10, surplus_w=34_000.0)
        self.site.cycles(60)
        self.answers, self.loads, self.seq = [], {}, 0

    def order(self, kind, power_w, in_s=None, **fields):
        """Sends it in the next cycle; `in_s` counts from then on."""
        self.seq += 1
        wall = self.kit.wall + self.site.now + 1.0 + self.site.wall_step_s
        begins = None if in_s is None else wall + in_s
        order = self.kit.order(kind, power_w, **{"seq": self.seq, "issued_at": wall, "lasts_s": 600.0, **fields})
        order = replace(order, not_before=begins)
        self._note(self.site.cycle(received=(self.site.receive(order),)))
        return self.site.now if in_s is None else self.site.now + in_s

    def until(self, at):
        while self.site.now < at:
            self._note(self.site.cycle())

    def _note(self, decision):
        self.answers += [(answer.dispatch_id, answer.status, self.site.now) for answer in decision.answers]
        self.loads[self.site.now] = self.site.load_w()

    def said(self, dispatch_id="desk-1"):
        return [status for name, status, _ in self.answers if name == dispatch_id]

    def load_at(self, at):
        return self.loads[at]

    @property
    def setpoint(self):
        return self.site.decisions[-1].setpoint


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


def test_boots_under_way_below_the_line_are_left_alone_and_no_more_are_begun(kit):
    desk = Desk(kit)
    desk.order(CAP, 8_000)
    desk.until(160.0)
    desk.order(RELEASE, None)
    while not any(command.verb is Verb.WAKE for command in desk.site.decisions[-1].commands):
        desk.until(desk.site.now + 1.0)
    desk.until(desk.site.now + 5.0)
    told, begins = len(desk.site.sent), desk.order(CAP, 12_000, 60.0)
    desk.until(begins - 25.0)
    assert {command.verb for command in desk.site.sent[told:]} <= {Verb.TRIM}
    desk.until(begins + 5.0)
    assert desk.load_at(begins) == pytest.approx(12_000.0, abs=TOLERANCE_W)


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
    assert prepared_s <= begun_s - 3.0


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


def test_the_surplus_binds_beside_what_is_prepared(kit):
    desk = Desk(kit)
    desk.order(TARGET, 20_000)
    desk.until(150.0)
    desk.site.spare_w = 25_000.0
    begins = desk.order(TARGET, 33_000, 120.0)
    desk.until(begins + 60.0)
    assert max(load for at, load in desk.loads.items() if at > 180.0) <= 25_000.0 + 100.0


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


def test_an_emergency_of_its_own_issuer_outlives_a_start_that_was_ordered_before_it(desk):
    begins = desk.order(TARGET, 30_000, IN_S)
    desk.until(begins - 60.0)
    desk.order(CAP, 5_000, dispatch_class=DispatchClass.EMERGENCY, lasts_s=300.0)
    desk.until(begins + 60.0)
    assert max(load for at, load in desk.loads.items() if at > begins - 40.0) < 6_000.0
    assert set(desk.site.decisions[-1].active_orders) == {"desk-1", "desk-2"}


def test_a_person_who_holds_the_site_lower_is_not_overruled_by_what_is_prepared(desk):
    desk.order(TARGET, 20_000)
    desk.until(150.0)
    desk.site.cycle(operator=(cap_by(15_000),))
    begins = desk.order(TARGET, 30_000, 120.0)
    desk.until(begins + 30.0)
    assert max(load for at, load in desk.loads.items() if at > 210.0) < 15_000.0 + 500.0


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


def test_a_target_after_a_cap_says_that_its_rise_begins_at_the_caps_end(kit):
    desk = Desk(kit, ramp={"up_w_per_min": 6_000.0})
    desk.order(TARGET, 20_000)
    desk.until(200.0)
    desk.order(CAP, 8_000, 200.0, issuer="tso", lasts_s=300.0)
    wall = kit.wall + desk.site.now + 1.0
    order = replace(kit.order(TARGET, 20_000, seq=9, issued_at=wall), not_before=wall + 329.0)
    answers = desk.site.cycle(received=(desk.site.receive(order),)).answers
    assert "too late to be met in time: 10." in answers[-1].reason


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


def test_in_a_lease_orders_stamped_with_the_time_of_a_clock_a_little_ahead_are_orders_of_now(kit):
    desk = Desk(kit, dispatch={"lease_required": True})
    wall = kit.wall + desk.site.now + 1.0
    order = replace(kit.order(CAP, 30_000, issued_at=wall + 0.3), not_before=wall + 0.3)
    for received in ((desk.site.receive(order),), ()):
        desk.site.cycle(received=received, dispatcher_heartbeat_at=desk.site.now)
    assert desk.site.decisions[-1].fail_safe.value == "good"


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
