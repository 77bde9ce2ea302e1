"""What the site meter shows of the ramps: 6 kW a minute and 5 kW in 15 s up, 12 kW and 4 kW down, units of 3.5 kW."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import ramp_watch
from controller.domain.metering import Point
from controller.domain.plan import EventLevel, InputState
from controller.domain.policy import Mode

UP_15S_W = 1.15 * 5_000.0 + 3_500.0  # and the deadband for the meter's noise, 0 here
DOWN_15S_W = 1.15 * 4_000.0 + 3_500.0


@pytest.fixture
def meter(kit):
    """Show loads, one a second; returns the events."""
    ramps = {"up_w_per_min": 6_000.0, "up_w_per_15s": 5_000.0, "down_w_per_min": 12_000.0, "down_w_per_15s": 4_000.0}
    policy, facts = kit.policy(ramp=ramps, fleet={"deadband_down_w": 0.0}), kit.fleet(4)
    state = kit.seen_state(facts, [True] * 4)

    def show(*loads_w, falls_freely=False, lied=False):
        found = []
        for load_w in loads_w:
            state.now += 1.0
            state.falls_freely = falls_freely
            sample = None if lied else kit.sample(load_w, state.now)
            found += ramp_watch.watch(facts, state, policy, sample, state.now, lied)
        return found

    show.state, show.policy, show.facts = state, policy, facts
    return show


def slowed(meter):
    return ramp_watch.slowed(meter.facts, meter.state, meter.policy)


def rises_w_per_min(meter):
    return slowed(meter).up_w_per_min


def test_a_rise_within_the_ramps_one_unit_and_a_little_is_none(meter):
    assert meter(*[20_000.0] * 60, 20_000.0 + UP_15S_W) == []
    assert (meter.state.rises_exceeded, rises_w_per_min(meter)) == (0, 6_000.0)


def test_a_rise_beyond_is_counted_once_said_and_slows_the_next_ones(meter):
    (event,) = meter(*[20_000.0] * 60, 20_010.0 + UP_15S_W, 20_020.0 + UP_15S_W)
    assert (event.name, event.level) == ("ramp_exceeded", EventLevel.WARNING)
    assert event.text == (
        "the load rose by 9.3 kW within 15 s, 5.0 kW are allowed; for 15 min it rises at 80% of the ramps"
    )
    assert (meter.state.rises_exceeded, meter.state.falls_exceeded) == (1, 0)
    assert rises_w_per_min(meter) == pytest.approx(4_800.0)


def test_one_rise_however_long_counts_once_a_minute(meter):
    meter(*[20_000.0] * 60)
    assert len(meter(*[20_000.0 + 6_000.0 * second for second in range(1, 31)])) == 1
    assert meter.state.rises_exceeded == 1


def test_slowed_it_still_leaves_the_deadband_by_one_unit(meter):
    meter.state.rise_share = 0.4
    meter.policy = replace(meter.policy, fleet=replace(meter.policy.fleet, deadband_up_w=400.0))
    assert slowed(meter).up_w_per_15s == pytest.approx(400.0 + 3_500.0), "40 % of 5 kW is less than a unit"
    assert slowed(meter).up_w_per_min == pytest.approx(2_400.0)


def test_a_slow_rise_is_judged_over_its_minute(meter):
    steps = [20_000.0 + 180.0 * second for second in range(61)]  # 10.8 kW in a minute, 2.7 kW in 15 s
    (event,) = meter(*steps)
    assert "within 60 s, 6.0 kW are allowed" in event.text


def test_each_more_slows_further_down_to_a_floor_and_a_quiet_quarter_of_an_hour_ends_it(meter):
    load_w = 20_000.0
    for times in range(1, 8):
        meter(*[load_w] * 61)
        load_w += 10_000.0
        meter(load_w)
        assert meter.state.rises_exceeded == times
        assert rises_w_per_min(meter) == pytest.approx(6_000.0 * max(0.8**times, 0.4))
    meter(*[load_w] * 899)
    assert rises_w_per_min(meter) == pytest.approx(2_400.0)
    meter(load_w)
    assert rises_w_per_min(meter) == 6_000.0


def test_a_fall_beyond_is_counted_and_the_next_ones_stay_as_quick(meter):
    (event,) = meter(*[40_000.0] * 60, 39_900.0 - DOWN_15S_W)
    assert "the load fell by 8.2 kW within 15 s" in event.text
    assert (meter.state.rises_exceeded, meter.state.falls_exceeded) == (0, 1)
    assert slowed(meter) == meter.policy.ramp


def test_what_is_shed_and_what_of_it_comes_a_little_later_is_no_fall_beyond_the_ramps(meter):
    assert meter(*[40_000.0] * 60) == []
    assert meter(30_000.0, 20_000.0, falls_freely=True) == []
    assert meter(12_000.0, 5_000.0, *[1_000.0] * 60) == []
    assert meter.state.falls_exceeded == 0


def test_the_same_sample_is_judged_once_and_none_is_no_load(meter, kit):
    meter(*[20_000.0] * 60)
    sample = kit.sample(40_000.0, 61.0)
    judge = lambda shown, now: ramp_watch.watch(kit.fleet(4), meter.state, meter.policy, shown, now)  # noqa: E731
    assert len(judge(sample, 61.0)) == 1
    assert judge(sample, 62.0) == judge(None, 63.0) == []
    assert meter.state.rises_exceeded == 1


def test_a_meter_that_stood_still_until_it_was_not_believed_has_shown_no_rise_when_it_is_back(meter):
    assert meter(*[20_000.0] * 60) == []
    assert meter(*[20_000.0] * 10, lied=True) == []
    assert meter(*[60_000.0] * 60) == []
    assert meter.state.rises_exceeded == 0
    assert len(meter(80_000.0)) == 1, "from there on it is a witness as before"


def test_a_gap_in_its_samples_hides_no_rise(meter):
    meter(*[20_000.0] * 60)
    meter.state.now += 8.0
    assert len(meter(60_000.0)) == 1


def test_the_rise_that_a_stuck_meter_shows_when_it_moves_again_slows_nobody(kit):
    site = kit.site(kit.policy(), kit.fleet(10), hashing=[True] * 2 + [False] * 8, surplus_w=8_000.0)
    site.cycles(70)
    stuck_w = site.load_w()
    site.deaf = set(range(2, 7))
    for miner in site.deaf:
        site.set_hashing(miner, True)
    for _ in range(40):
        site.extra[Point.SITE_LOAD_W] = kit.sample(stuck_w, site.now + 1.0)
        site.extra[Point.AUXILIARY_W] = kit.sample(0.0, site.now + 1.0)  # so that the powers can be added up
        site.cycle()
    assert site.decisions[-1].fail_safe is not InputState.GOOD
    assert site.load_w() > stuck_w + 1.15 * 6_000.0 + 3_600.0
    del site.extra[Point.SITE_LOAD_W]
    decisions = site.cycles(30)
    assert decisions[-1].ramps_exceeded[0] == 0
    assert decisions[-1].rise_share == 1.0


@pytest.mark.parametrize("mode", [Mode.OBSERVE, Mode.SHADOW])
def test_who_does_not_control_judges_nobodys_ramps(kit, mode):
    site = kit.site(kit.policy(mode=mode), kit.fleet(10), hashing=[True] * 5 + [False] * 5, surplus_w=18_600.0)
    site.cycles(70)
    for miner in range(5, 10):
        site.set_hashing(miner, True)
    assert [one.ramps_exceeded for one in site.cycles(3)] == [(0, 0)] * 3


def test_a_fall_to_the_fallback_is_none_beyond_the_ramps(kit):
    site = kit.site(kit.policy(), kit.fleet(11), hashing=[True] * 10 + [False], surplus_w=36_000.0)
    site.cycles(70)
    site.meter_lost = {Point.POI_EXPORT_W, Point.DESPATCH_EXPORT_W}
    decisions = site.cycles(180)
    assert site.load_w() < 12_000.0
    assert decisions[-1].ramps_exceeded == (0, 0)


def test_a_site_whose_miners_come_up_by_themselves_says_so_and_rises_more_slowly(kit):
    """A pool or a breaker gives five of ten miners their work back at once: the load jumps, and not by our order."""
    site = kit.site(kit.policy(), kit.fleet(10), hashing=[True] * 5 + [False] * 5, surplus_w=18_600.0)
    site.cycles(70)
    for miner in range(5, 10):
        site.set_hashing(miner, True)
    decisions = site.cycles(3)
    assert [event.name for one in decisions for event in one.events].count("ramp_exceeded") >= 1
    assert decisions[-1].ramps_exceeded[0] >= 1
    assert decisions[-1].rise_share < 1.0
