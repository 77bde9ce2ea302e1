"""Orders in force: who ends whom, when an order has been reached, and the class that only tests."""

from __future__ import annotations

import pytest

from controller.domain.dispatch import DispatchClass
from tests.core.orders.desk import CAP, FLOOR, RELEASE, TARGET, S, statuses


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_a_good_order_is_received_accepted_and_in_force(desk, kind):
    answers = desk.order(kind, 10_000)
    assert statuses(answers) == [S.RECEIVED, S.ACCEPTED]
    assert answers[-1].power_w == 10_000
    assert not any(answer.terminal for answer in answers)
    assert desk.active() == ["desk-1"]


def test_the_later_order_of_an_issuer_supersedes_the_earlier_one(desk):
    desk.order(CAP, 10_000, seq=1)
    answers = desk.order(TARGET, 12_000, seq=2)
    ended = next(answer for answer in answers if answer.status is S.SUPERSEDED)
    assert (ended.dispatch_id, ended.terminal) == ("desk-1", True)
    assert "desk-2" in ended.reason
    assert desk.active() == ["desk-2"]


def test_orders_of_another_issuer_stay_in_force(desk):
    desk.order(CAP, 10_000, issuer="a")
    desk.order(CAP, 9_000, issuer="b")
    assert desk.active() == ["a-1", "b-1"]


def test_a_release_ends_the_issuers_orders_and_is_done_at_once(desk):
    desk.order(CAP, 10_000, issuer="a")
    desk.order(CAP, 9_000, issuer="b")
    answers = desk.order(RELEASE, issuer="a", seq=2)
    assert [(a.dispatch_id, a.status, a.terminal) for a in answers] == [
        ("a-2", S.RECEIVED, False),
        ("a-2", S.ACCEPTED, False),
        ("a-1", S.SUPERSEDED, True),
        ("a-2", S.REACHED, True),
    ]
    assert desk.active() == ["b-1"]


def test_an_order_expires_at_its_moment_and_not_before(desk):
    desk.order(CAP, 10_000, lasts_s=60.0)
    desk.wall += 59.9
    assert desk.expire() == []
    desk.wall += 0.1
    answers = desk.expire()
    assert [(a.dispatch_id, a.status, a.terminal) for a in answers] == [("desk-1", S.EXPIRED, True)]
    assert desk.active() == []


def test_a_cap_above_the_present_load_is_reached_at_once(desk):
    desk.order(CAP, 10_000)
    answers = desk.meter(8_000.0)
    assert [(a.status, a.terminal, a.power_w) for a in answers] == [(S.REACHED, False, 8_000)]


@pytest.mark.parametrize(
    ("kind", "measured_w", "reached"),
    [
        (CAP, 10_800.0, True),
        (CAP, 10_801.0, False),
        (CAP, 0.0, True),
        (TARGET, 10_800.0, True),
        (TARGET, 9_200.0, True),
        (TARGET, 9_199.0, False),
        (TARGET, 10_801.0, False),
        (CAP, None, False),
    ],
)
def test_reached_is_what_the_site_meter_shows_within_the_tolerance(desk, kind, measured_w, reached):
    desk.order(kind, 10_000)
    assert statuses(desk.meter(measured_w)) == ([S.REACHED] if reached else [])


def test_reached_is_said_once(desk):
    desk.order(CAP, 10_000)
    assert len(desk.meter(9_000.0)) == 1
    assert desk.meter(15_000.0) == []
    assert desk.meter(9_000.0) == []


@pytest.mark.parametrize("dispatch_class", [DispatchClass.NORMAL, DispatchClass.EMERGENCY])
@pytest.mark.parametrize(("kind", "reached"), [(CAP, True), (TARGET, False)])
def test_reached_means_the_same_in_every_class(desk, kind, dispatch_class, reached):
    desk.order(kind, 10_000, dispatch_class=dispatch_class)
    assert bool(desk.meter(5_000.0)) is reached


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_an_order_of_class_test_is_judged_answered_for_good_and_moves_nothing(desk, kind):
    desk.order(CAP, 10_000, seq=1)
    answers = desk.order(kind, 5_000, seq=2, dispatch_class=DispatchClass.TEST)
    assert [(a.status, a.terminal) for a in answers] == [(S.RECEIVED, False), (S.ACCEPTED, True)]
    assert desk.active() == ["desk-1"]


def test_a_test_below_the_floor_is_answered_with_the_achievable_power(desk):
    answers = desk.order(CAP, 0, dispatch_class=DispatchClass.TEST)
    assert [(a.status, a.terminal, a.power_w) for a in answers][-1] == (S.CLAMPED, True, FLOOR)


def test_a_release_of_class_test_ends_no_order(desk):
    desk.order(CAP, 10_000, seq=1)
    answers = desk.order(RELEASE, seq=2, dispatch_class=DispatchClass.TEST)
    assert [(a.status, a.terminal) for a in answers] == [(S.RECEIVED, False), (S.ACCEPTED, True)]
    assert desk.active() == ["desk-1"]
