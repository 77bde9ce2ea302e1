"""Whole steps, cranked by hand: what dispatchers and people order, within the surplus."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.command import Verb
from controller.domain.dispatch import DispatchClass, DispatchKind
from controller.domain.metering import Point
from controller.domain.plan import OperatorOrder, OperatorVerb
from controller.domain.reasons import Bound
from tests.core.engine.given import CAP, DEADBAND, TARGET, S, cap_by

# --- orders ---------------------------------------------------------------------------------------------------------


def answers_of(site, order, count=1):
    answers = list(site.cycle(received=(site.receive(order),)).answers)
    for _ in range(count - 1):
        answers += site.cycle().answers
    return [(answer.dispatch_id, answer.status) for answer in answers]


def test_a_cap_above_the_load_is_reached_in_the_cycle_that_takes_it(kit):
    site = kit.site(surplus_w=8_100.0)
    site.cycles(5)
    order = kit.order(CAP, 12_000, issued_at=kit.wall + site.now)
    assert answers_of(site, order) == [("desk-1", S.RECEIVED), ("desk-1", S.ACCEPTED), ("desk-1", S.REACHED)]


def test_a_cap_lowers_the_site_by_the_ramp_and_is_reached(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    order = kit.order(CAP, 8_500, issued_at=kit.wall + site.now, lasts_s=60.0)
    found = answers_of(site, order, count=50)
    assert found == [("desk-1", S.RECEIVED), ("desk-1", S.ACCEPTED), ("desk-1", S.REACHED)]
    assert site.load_w() <= 8_500.0 + DEADBAND
    assert site.decisions[-1].active_orders == ("desk-1",)
    assert site.decisions[-1].progress.to_100_s > 10.0, "13 kW/min, not at once"
    ended = [answer.status for _ in range(15) for answer in site.cycle().answers]
    assert ended == [S.EXPIRED]
    site.cycles(200)
    assert site.load_w() == pytest.approx(15_000.0)


def test_a_target_is_held_below_the_surplus(kit):
    site = kit.site(surplus_w=15_500.0)
    site.cycles(20)
    site.cycle(received=(site.receive(kit.order(TARGET, 10_000, issued_at=kit.wall + site.now, lasts_s=3_600.0)),))
    site.cycles(200)
    assert site.load_w() == pytest.approx(10_000.0, abs=500.0)


def test_a_small_site_falls_to_a_target_no_faster_than_its_ramp_though_most_will_be_needed_no_more(kit):
    """One unit let go a cycle is 35 % of the site in 15 s."""
    policy = kit.policy(fleet={"margin_memory_s": 1.0})
    site = kit.site(policy, kit.fleet(10), hashing=[True] * 10, surplus_w=50_000.0)
    site.cycles(20)
    site.cycle(received=(site.receive(kit.order(TARGET, 6_000, issued_at=kit.wall + site.now)),))
    loads_w = []
    for _ in range(200):
        site.cycle()
        loads_w.append(site.load_w())
    falls_w = [before - after for before, after in zip(loads_w, loads_w[15:], strict=False)]
    assert max(falls_w) < policy.ramp.down_w_per_15s + 3_500.0
    assert loads_w[-1] == pytest.approx(6_000.0, abs=500.0)


def test_a_long_fall_of_a_target_makes_up_for_its_pauses_slowly(kit):
    """What is asked for comes to rest once in 15 s, as the load meets its limit, and goes on by 1.75 times the pace."""
    n, pace_w_per_s = 60, 0.94 * 700.0
    ramp = {"down_w_per_min": 42_000.0, "down_w_per_15s": 15.0 * 700.0}
    deadbands = dict.fromkeys(("deadband_up_w", "deadband_down_w", "deadband_order_w"), 500.0)
    policy = kit.policy(ramp=ramp, fleet=deadbands, rated_w=n * 3_500, site_cap_w=n * 4_000)
    site = kit.site(policy, kit.fleet(n), hashing=[True] * n, surplus_w=300_000.0)
    site.cycles(20)
    site.cycle(received=(site.receive(kit.order(TARGET, 70_000, issued_at=kit.wall + site.now)),))
    asked_w = []
    for _ in range(80):
        site.cycle()
        asked_w.append(site.state.asked_w)
    fell_w_per_s = -np.diff(asked_w)[15:]
    assert fell_w_per_s.max() == pytest.approx(1.75 * pace_w_per_s)
    assert np.count_nonzero(fell_w_per_s < 0.25 * pace_w_per_s) > 3, "and it did come to rest"
    assert site.load_w() < 165_000.0, "all the way at about its pace"


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_no_order_raises_the_site_above_its_surplus(kit, kind):
    site = kit.site(surplus_w=8_500.0)
    site.cycles(20)
    site.cycle(received=(site.receive(kit.order(kind, 15_000, issued_at=kit.wall + site.now)),))
    for _ in range(100):
        site.cycle()
        assert site.load_w() <= 8_500.0 + DEADBAND


def test_an_order_of_class_test_moves_nothing_and_starts_no_progress(kit):
    site = kit.site(surplus_w=8_100.0)
    site.cycles(20)
    order = kit.order(CAP, 2_000, issued_at=kit.wall + site.now, dispatch_class=DispatchClass.TEST)
    assert answers_of(site, order, count=20) == [("desk-1", S.RECEIVED), ("desk-1", S.ACCEPTED)]
    assert site.load_w() == pytest.approx(8_100.0)
    assert site.sent == []
    assert site.decisions[-1].progress is None


def test_a_refused_order_moves_nothing(kit):
    site = kit.site(surplus_w=8_100.0)
    site.cycles(20)
    order = kit.order(CAP, 2_000, issued_at=kit.wall - 1_000.0)
    assert answers_of(site, order, count=20) == [("desk-1", S.RECEIVED), ("desk-1", S.REJECTED)]
    assert site.sent == []


def _told_while_all_dwell(kit):
    """Four miners of 15 kW that have just come up, and a target of 8.5 kW."""
    site = kit.site(kit.policy(fleet={"trim": False, "dwell_on_s": 900.0}), hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.state.fleet.changed_at[:] = 0.0
    site.cycle(received=(site.receive(kit.order(TARGET, 8_500, issued_at=kit.wall + site.now)),))
    return site


def test_a_wish_waits_for_a_dwell_even_while_it_is_being_approached(kit):
    site = _told_while_all_dwell(kit)
    site.cycles(100)
    assert site.load_w() == pytest.approx(15_000.0)


def test_a_limit_above_a_wish_that_waits_waits_for_nothing(kit):
    """Found by harsh seed 4663: boots wanted no more came up above the surplus, for the target below it."""
    site = _told_while_all_dwell(kit)
    site.cycles(60)
    site.spare_w = 12_000.0
    site.cycles(10)
    assert site.load_w() == pytest.approx(11_550.0, abs=20.0), "one for the limit, and the others dwell on"
    site.cycles(60)
    assert site.hashing.tolist() == [True, True, True, False]


# --- people ---------------------------------------------------------------------------------------------------------


def test_a_person_lowers_the_site_until_the_order_expires(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    site.cycle(operator=(cap_by(8_500, kit.wall + site.now + 90.0),))
    site.cycles(60)
    assert site.load_w() <= 8_500.0 + DEADBAND
    assert site.decisions[-1].setpoint.source == "maria"
    site.cycles(300)
    assert site.load_w() == pytest.approx(15_000.0)
    assert site.state.operator_caps == ()


def test_a_person_releases_what_a_person_ordered(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycle(operator=(cap_by(8_500, kit.wall + 900.0),))
    site.cycle(operator=(OperatorOrder(OperatorVerb.RELEASE, "omar"),))
    assert site.state.operator_caps == ()


def test_of_several_caps_by_persons_the_tightest_holds_and_a_release_leaves_the_standing_one(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycle(operator=(cap_by(8_500, kit.wall + 900.0), OperatorOrder(OperatorVerb.CAP, "on_exit", 9_000)))
    site.cycles(40)
    assert site.decisions[-1].figures.cap_w == 8_500
    site.cycle(operator=(OperatorOrder(OperatorVerb.RELEASE, "maria"),))
    assert site.decisions[-1].figures.cap_w == 9_000


def test_before_anything_was_read_every_power_is_unknown_and_none_is_zero(kit):
    site = kit.site()
    site.meter_lost.update(Point)
    figures = site.cycle(telemetry=()).figures
    told = (figures.surplus_w, figures.cap_w, figures.target_w, figures.expected_w, figures.measured_w)
    assert told == (None,) * 5
    assert (figures.available_up_w, figures.available_down_w, figures.residual_w) == (None, None, None)


def test_the_cap_is_the_tightest_bound_also_while_a_wish_below_it_is_followed(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=14_000.0)
    site.cycle(received=(site.receive(kit.order(DispatchKind.TARGET, 9_000)),))
    decision = site.cycles(30)[-1]
    assert (decision.figures.cap_w, decision.setpoint.bound) == (pytest.approx(14_000.0), Bound.DISPATCH_TARGET)
    assert decision.figures.target_w == 9_000.0


def test_while_the_journal_cannot_be_written_nothing_is_raised_and_nothing_waits_in_vain(kit):
    site = kit.site(hashing=[True, True, False, False], surplus_w=15_500.0)
    for _ in range(30):
        assert site.cycle(journal_writable=False).counts["waking"] == 0
    assert site.sent == []
    site.cycles(30)
    assert any(command.verb is Verb.WAKE for command in site.sent)


def test_a_journal_that_cannot_be_written_does_not_walk_the_site_down(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.spare_w = 30_000.0
    noise_w = np.random.default_rng(1).normal(0.0, 150.0, 120)
    for noise in noise_w:  # nothing asks for less; only the meter wavers
        site.extra = {Point.SITE_LOAD_W: kit.sample(site.load_w() + noise, site.now + 1.0)}
        site.cycle(journal_writable=False)
    assert site.load_w() >= 14_000.0


def test_a_lowering_command_does_not_ask_whether_the_journal_can_be_written(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(3)
    site.spare_w = 8_000.0
    for _ in range(12):
        site.cycle(journal_writable=False)
    assert site.load_w() <= 8_100.0
