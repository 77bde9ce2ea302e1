"""Whole steps, cranked by hand: following the surplus by the ramps, and shedding at once."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.dispatch import DispatchClass, DispatchKind
from controller.domain.metering import Point
from controller.domain.plan import InputState
from controller.domain.reasons import Bound
from tests.core.engine.given import CAP, DEADBAND

# --- following the surplus ------------------------------------------------------------------------------------------


def test_a_rising_surplus_is_followed_within_the_ramp_and_never_passed(kit):
    site = kit.site(surplus_w=15_500.0)
    loads = []
    for _ in range(200):
        site.cycle()
        loads.append(site.load_w())
    assert loads[-1] == pytest.approx(15_000.0)
    assert max(loads) <= 15_500.0
    rises = [later - earlier for earlier, later in zip(loads, loads[60:], strict=False)]
    assert max(rises) <= 6_000.0 + 3_500.0, "the minute's limit, and one unit that boots in a step here"


def test_a_site_whose_units_are_larger_than_its_15_second_ramp_still_wakes_them_once_each(kit):
    policy = kit.policy(ramp={"up_w_per_15s": 1_500.0}, fleet={"dwell_on_s": 900.0})
    site = kit.site(policy, hashing=[False] * 4, surplus_w=15_500.0)
    site.cycles(600)
    assert site.load_w() == pytest.approx(15_000.0)
    assert [command.verb for command in site.sent].count(Verb.WAKE) == 4


def test_a_boot_that_is_early_is_not_put_back_to_sleep_for_what_may_still_come(kit):
    """It is ahead, the meter shows that; that it may be further ahead makes it pass no limit in the end."""
    policy = kit.policy(ramp={"up_w_per_min": 60_000.0, "up_w_per_15s": 20_000.0}, fleet={"dwell_on_s": 900.0})
    site = kit.site(policy, hashing=[False] * 4, surplus_w=5_000.0)
    site._times = lambda _: (6.5, 19.5)  # its class: 10 s and 30 s
    site.cycles(60)
    assert [command.verb for command in site.sent] == [Verb.WAKE]
    assert site.load_w() == pytest.approx(4_650.0)


def test_boots_that_are_late_do_not_pass_the_surplus_as_they_catch_up(kit):
    """Found by harsh seeds 11231 and 11368: it was known what they were late by, and room was made as the meter showed
    it come, which is a trim's time too late."""
    pace = {f"{way}_w_per_{time}": watts for way in ("up", "down") for time, watts in (("min", 12e4), ("15s", 6e4))}
    site = kit.site(kit.policy(ramp=pace), kit.fleet(10), hashing=[row < 2 for row in range(10)], surplus_w=9_000.0)
    site.cycles(30)
    site.spare_w = 28_000.0
    loads = []
    for _ in range(100):
        site.cycle()
        slower = site.boots & (site.moved_at == site.now)
        site.dead_s[slower] *= 1.5
        site.way_s[slower] *= 1.5
        loads.append(site.load_w())
    assert max(loads) <= 28_000.0 + 2.0 * DEADBAND
    assert loads[-1] >= 27_500.0


def test_what_is_let_go_for_lower_peaks_is_taken_up_by_others_as_it_goes(kit):
    """Found by harsh seed 11166: the load sank by a whole deadband, unit by unit, and was raised by it in one, again
    and again: 1 % of rated up and down every 33 s."""
    pace = {f"{way}_w_per_{time}": watts for way in ("up", "down") for time, watts in (("min", 6e4), ("15s", 15e3))}
    wide = {"deadband_up_w": 8_000.0, "margin_memory_s": 300.0}
    policy = kit.policy(rated_w=160_000, site_cap_w=160_000, ramp=pace, fleet=wide)
    site = kit.site(policy, kit.fleet(40), hashing=[True] * 40, surplus_w=142_000.0)
    site.cycles(60)
    site.spare_w = 100_000.0
    site.cycles(60)
    before = int(site.hashing.sum())
    loads = [site.load_w() for _ in range(340) if site.cycle()]
    assert before - int(site.hashing.sum()) >= 4
    assert max(loads) - min(loads) <= 3_000.0, "a unit and the quarter; 7.8 kW without"
    assert max(loads) <= 100_000.0


def test_a_falling_surplus_is_met_in_the_same_cycle(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(20)
    site.spare_w = 6_000.0
    decision = site.cycle()
    assert decision.setpoint.bound is Bound.SURPLUS
    assert decision.setpoint.power_w == pytest.approx(6_000.0, abs=1.0)
    site.cycles(12)
    assert site.load_w() <= 6_000.0 + DEADBAND
    assert site.load_w() >= 3_000.0, "to the cap, not to the ground"


def test_a_surplus_below_zero_ends_at_the_floor(kit):
    site = kit.site(surplus_w=8_100.0)
    site.cycles(5)
    site.spare_w = -50_000.0
    site.cycles(20)
    assert site.load_w() == pytest.approx(1_200.0, abs=1.0)


def test_what_the_floor_believes_too_much_is_no_room_for_anybody(kit):
    """Found by harsh seed 10459: the set-point stood at the floor, for there was no surplus; a feeder had tripped, and
    one was woken for what its sleepers were believed to draw."""
    site = kit.site(kit.policy(auxiliary_w=5_000), hashing=[False] * 4, surplus_w=0.0)
    site.cycles(200)
    decision = site.decisions[-1]
    assert decision.setpoint.power_w == pytest.approx(5_200.0)
    assert site.load_w() == pytest.approx(1_200.0)
    assert site.sent == []
    site.spare_w = 15_500.0
    site.cycles(300)
    assert site.load_w() > 8_000.0, "with a surplus above it they are woken"


def test_nor_does_it_spare_one_that_hashes_when_there_is_no_surplus(kit):
    site = kit.site(kit.policy(auxiliary_w=5_000), hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    assert site.load_w() > 8_000.0
    site.spare_w = 0.0
    site.cycles(20)
    assert site.load_w() == pytest.approx(1_200.0, abs=1.0)


def test_the_margin_stays_free(kit):
    site = kit.site(kit.policy(surplus_margin_w=1_000), hashing=[True] * 4, surplus_w=12_000.0)
    site.cycles(60)
    assert site.load_w() <= 11_000.0


def test_a_tighter_order_does_not_slow_the_answer_to_a_falling_surplus(kit):
    """The order ramps the site down gently; the surplus that falls meanwhile is a limit at once."""
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    site.cycle(received=(site.receive(kit.order(CAP, 3_000, issued_at=kit.wall + site.now)),))
    site.spare_w = 9_000.0
    site.cycles(12)
    assert site.load_w() <= 9_000.0 + DEADBAND


@pytest.mark.parametrize("missing", [Point.GROSS_W, Point.AVAILABLE_W, Point.RESERVE_UP_W])
def test_the_grid_gets_its_despatch_even_while_the_reserve_is_unknown(kit, missing):
    """Without the plant's figures there is no surplus to compute, yet export and despatch alone show who pays."""
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    site.meter_lost = {missing}
    site.cycle()
    site.spare_w = 9_000.0
    site.cycles(12)
    assert site.load_w() <= 9_000.0 + 400.0 + DEADBAND, "restored but for the tolerance"


# --- shedding -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("flag", "bound"),
    [
        ({Point.TRIP: 1.0}, Bound.TRIP),
        ({Point.PERMIT: 0.0}, Bound.TRIP),
        ({Point.GRID_EMERGENCY: 1.0}, Bound.GRID_EMERGENCY),
        ({Point.FREQUENCY_HZ: 49.4}, Bound.GRID_EMERGENCY),
    ],
)
def test_a_shed_puts_everybody_to_sleep_in_one_cycle(kit, flag, bound):
    policy = kit.policy(fleet={"dwell_on_s": 900.0, "commands_per_cycle_max": 1})
    site = kit.site(policy, hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(20)
    if Point.FREQUENCY_HZ in flag:
        site.extra = kit.readings(site.now + 1.0, frequency_hz=49.4)
        assert not site.cycle().setpoint.shed
    site.extra = {point: kit.sample(value, site.now + 1.0) for point, value in flag.items()}
    decision = site.cycle()
    assert (decision.setpoint.bound, decision.setpoint.shed) == (bound, True)
    assert [(command.verb, command.urgent) for command in decision.commands] == [(Verb.SLEEP, True)] * 4
    assert decision.setpoint.power_w == pytest.approx(1_200.0, abs=1.0)


def test_a_trip_sheds_before_any_meter_was_read(kit):
    site = kit.site()
    site.cycle(readings={})
    decision = site.cycle(readings={Point.TRIP: kit.sample(1.0, 2.0)})
    assert sorted(command.miner for command in decision.commands) == [0, 1]


def test_after_a_shed_the_way_back_is_ramped(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    site.extra = {Point.TRIP: kit.sample(1.0, 21.0)}
    site.cycles(20)
    assert site.load_w() == pytest.approx(1_200.0, abs=1.0)
    site.extra = {Point.TRIP: kit.sample(0.0, 41.0)}
    setpoints = [site.cycle().setpoint.power_w for _ in range(15)]
    assert max(setpoints) <= 1_200.0 + 1_500.0 + 1.0
    site.cycles(300)
    assert site.load_w() == pytest.approx(15_000.0)


def test_an_emergency_order_sheds_to_its_power_at_once_and_not_to_the_ground(kit):
    site = kit.site(kit.policy(fleet={"dwell_on_s": 900.0}), hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    order = kit.order(CAP, 8_500, issued_at=kit.wall + site.now, dispatch_class=DispatchClass.EMERGENCY)
    decision = site.cycle(received=(site.receive(order),))
    assert decision.setpoint.bound is Bound.EMERGENCY_DISPATCH
    assert all(command.urgent for command in decision.commands)
    site.cycles(10)
    assert 4_500.0 <= site.load_w() <= 8_500.0 + DEADBAND


# --- everything at once ---------------------------------------------------------------------------------------------


def test_an_emergency_order_sheds_at_once_though_a_lower_cap_or_the_fallback_is_on_its_way_by_a_ramp(kit):
    site = kit.site(kit.policy(), kit.fleet(8), hashing=[True] * 8, surplus_w=60_000)
    site.cycles(20)
    gentle = kit.order(DispatchKind.CAP, 4_000, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(gentle),))
    site.cycles(5)
    assert site.decisions[-1].setpoint.power_w > 20_000
    order = kit.order(
        DispatchKind.CAP,
        12_000,
        issuer="grid",
        issued_at=kit.wall + site.now,
        dispatch_class=DispatchClass.EMERGENCY,
    )
    decision = site.cycle(received=(site.receive(order),))
    assert (decision.setpoint.power_w, decision.setpoint.bound, decision.setpoint.shed) == (
        12_000,
        Bound.EMERGENCY_DISPATCH,
        True,
    )
    site.cycles(8)
    assert site.load_w() <= 12_000
    site.cycles(90)
    assert site.decisions[-1].setpoint.power_w == 4_000
    assert site.load_w() <= 4_000


def test_an_export_that_stands_still_gives_the_room_it_shows_once_and_not_again_with_every_watt_raised(kit):
    site = kit.site(surplus_w=11_000.0)  # two hash: 8.1 kW
    site.cycle()
    shown_w = site.despatch_w + site.spare_w - site.load_w()
    for _ in range(50):  # it is found to be frozen after 60 s
        site.extra[Point.POI_EXPORT_W] = kit.sample(shown_w, site.now + 1.0)
        assert site.cycle().fail_safe is not InputState.FALLBACK
    assert site.load_w() > 9_000.0, "the room that was there is used"
    assert site.load_w() <= 11_400.0, "1 % of rated above what there is"
