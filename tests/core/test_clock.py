"""The wall clock stepped by an hour, both ways: told, waited out, and no reason for an order to live longer or less."""

from __future__ import annotations

import pytest

from controller.core import clock, wear
from controller.domain.dispatch import AnswerStatus, DispatchKind, RejectCode
from controller.domain.plan import EventLevel, OperatorOrder, OperatorVerb
from tests.core.builders import WALL

HOUR_S = 3_600.0
STEPS = pytest.mark.parametrize("step_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])


def running(kit, **policy):
    """Four miners at work with room for all of them: what a cap lets go of shows at once."""
    site = kit.site(kit.policy(**policy), hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(20)
    return site


def answers(site):
    return [(decision.now, answer.status) for decision in site.decisions for answer in decision.answers]


def stepped(site):
    return [event for decision in site.decisions for event in decision.events if event.name == "clock_stepped"]


@STEPS
@pytest.mark.parametrize("kind", [DispatchKind.CAP, DispatchKind.TARGET])
def test_an_order_in_force_ends_when_it_would_have_ended(kit, kind, step_s):
    sites = [running(kit), running(kit)]
    for site, step in zip(sites, (0.0, step_s), strict=True):
        order = kit.order(kind, 8_500, issued_at=WALL + site.now, lasts_s=120.0)
        site.cycle(received=(site.receive(order),))
        site.cycles(40)
        site.wall_step_s = step
        site.cycles(100)
    twin, site = sites
    assert stepped(site)
    assert answers(site) == answers(twin)
    assert answers(site)[-1] == (20.0 + 120.0, AnswerStatus.EXPIRED)
    loads = [[decision.figures.measured_w for decision in each.decisions] for each in sites]
    assert all(ours <= theirs * 1.01 for theirs, ours in zip(*loads, strict=True)), "never more than without the step"


@STEPS
def test_a_persons_cap_ends_when_it_would_have_ended(kit, step_s):
    site = running(kit)
    cap = OperatorOrder(OperatorVerb.CAP, "maria", 8_500, WALL + site.now + 120.0)
    site.cycle(operator=(cap,))
    began = site.now - 1.0
    site.cycles(40)
    site.wall_step_s = step_s
    while site.now < began + 118.0:
        assert site.cycle().figures.cap_w == 8_500.0
    site.cycles(2)
    assert site.state.operator_caps == ()
    assert site.state.operator_ends == {}


def test_a_second_cap_of_a_person_has_a_life_of_its_own_and_a_release_ends_both(kit):
    site = running(kit)
    for for_s in (30.0, 90.0):
        site.cycle(operator=(OperatorOrder(OperatorVerb.CAP, "maria", 8_500, WALL + site.now + for_s),))
    site.cycles(60)
    assert len(site.state.operator_caps) == 1
    site.cycle(operator=(OperatorOrder(OperatorVerb.RELEASE, "omar"),))
    assert (site.state.operator_caps, site.state.operator_ends) == ((), {})


@STEPS
def test_a_step_is_told_once_and_nothing_is_raised_for_the_rearm_time(kit, step_s):
    site = running(kit)
    site.spare_w = 8_500.0
    site.cycles(40)
    low_w = site.load_w()
    site.spare_w = 15_500.0
    site.wall_step_s = step_s
    rearm_s = int(site.engine.policy.inputs.rearm_s)
    held = site.cycles(rearm_s)
    assert [event.level for event in stepped(site)] == [EventLevel.WARNING]
    assert f"by {HOUR_S:.1f} s" in stepped(site)[0].text
    assert not any(command.raises for decision in held for command in decision.commands)
    assert site.load_w() <= low_w
    site.cycles(120)
    assert site.load_w() > 14_000.0, "and then it goes on"
    assert len(stepped(site)) == 1


def test_what_must_be_shed_is_shed_while_the_clock_is_waited_out(kit):
    site = running(kit)
    site.wall_step_s = HOUR_S
    site.cycle()
    site.spare_w = 8_500.0
    site.cycles(10)
    assert site.now < site.state.held_until + 1.0
    assert site.load_w() <= 8_550.0


def test_a_clock_that_is_slewed_is_not_stepped(kit):
    site = running(kit)
    for _ in range(600):
        site.wall_step_s += 0.09
        site.cycle()
    assert stepped(site) == []


@STEPS
def test_what_a_miner_spent_of_its_day_is_as_long_ago_as_before(kit, step_s):
    site = running(kit)
    wear.count(site.state, [(0, 2)], WALL + site.now - 100.0)
    site.wall_step_s = step_s
    site.cycle()
    wall = WALL + site.now + step_s
    assert wear.spent(site.state, 0, wall + wear.DAY_S - 110.0) == 2
    assert wear.spent(site.state, 0, wall + wear.DAY_S - 90.0) == 0


@pytest.mark.parametrize(("step_s", "code"), [(HOUR_S, RejectCode.EXPIRED), (-HOUR_S, RejectCode.INVALID_DATA)])
def test_an_order_by_a_clock_that_is_an_hour_off_is_refused_and_says_so(kit, step_s, code):
    site = running(kit)
    site.wall_step_s = step_s
    order = kit.order(DispatchKind.CAP, 8_500, issued_at=WALL + site.now)
    said = site.cycle(received=(site.receive(order),)).answers
    assert [(answer.status, answer.code) for answer in said][1:] == [(AnswerStatus.REJECTED, code)]


def test_an_order_taken_by_the_new_clock_lives_as_long_as_it_says(kit):
    site = running(kit)
    site.wall_step_s = HOUR_S
    site.cycles(12)
    order = kit.order(DispatchKind.CAP, 8_500, issued_at=WALL + site.now + HOUR_S, lasts_s=60.0)
    site.cycle(received=(site.receive(order),))
    taken_at = site.now - 1.0
    site.cycles(80)
    assert answers(site)[-1] == (taken_at + 60.0, AnswerStatus.EXPIRED)


def test_the_first_cycle_has_nothing_to_compare_with(kit):
    state = kit.seen_state(kit.fleet(), [True] * 4)
    assert clock.watch(state, kit.policy(), WALL, 5.0) == []
    assert clock.watch(state, kit.policy(), WALL + 1.0, 6.0) == []
    assert [event.name for event in clock.watch(state, kit.policy(), WALL + 3.5, 7.0)] == ["clock_stepped"]
