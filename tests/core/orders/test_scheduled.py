"""Orders for later: in force from their time on, corrected, released, superseded, and limited in number."""

from __future__ import annotations

import pytest

from controller.core import timeline
from controller.domain.dispatch import DispatchClass, RejectCode
from tests.core.orders.desk import CAP, FLOOR, RELEASE, TARGET, S, refusal, statuses


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_an_order_for_later_is_accepted_now_and_in_force_from_its_time_on(desk, kind):
    assert statuses(desk.order(kind, 10_000, starts_in_s=60.0)) == [S.RECEIVED, S.ACCEPTED]
    assert (desk.active(), desk.scheduled()) == ([], ["desk-1"])
    assert desk.meter(10_000.0) == [], "not reached before it begins"
    desk.wall += 59.9
    assert desk.expire() == []
    assert desk.active() == []
    desk.wall += 0.1
    assert desk.expire() == []
    assert (desk.active(), desk.scheduled()) == (["desk-1"], [])
    assert statuses(desk.meter(10_000.0)) == [S.REACHED]


@pytest.mark.parametrize("starts_in_s", [2.0, 0.3, 0.0, -20.0])
def test_a_start_that_has_passed_or_is_nearer_than_clocks_agree_is_one_at_once(desk, starts_in_s):
    assert statuses(desk.order(CAP, 10_000, starts_in_s=starts_in_s)) == [S.RECEIVED, S.ACCEPTED]
    assert (desk.active(), desk.scheduled()) == (["desk-1"], [])


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"kind": RELEASE, "power_w": None}, "leave out not_before"),
        ({"dispatch_class": DispatchClass.EMERGENCY}, "an emergency is never scheduled"),
        ({"dispatch_class": DispatchClass.EMERGENCY, "starts_in_s": -5.0}, "an emergency is never scheduled"),
        ({"starts_in_s": 900.0}, "expires_at is not after not_before"),
        ({"starts_in_s": 86_300.0, "lasts_s": 86_401.0}, "would live longer than 86400 s, the wait for not_before"),
        ({"dispatch_class": DispatchClass.TEST, "starts_in_s": 901.0}, "expires_at is not after not_before"),
    ],
)
def test_a_start_that_cannot_be_is_refused_with_words(desk, fields, says):
    fields = {"kind": CAP, "power_w": 10_000, "starts_in_s": 60.0, **fields}
    answers = desk.order(fields.pop("kind"), fields.pop("power_w"), **fields)
    assert refusal(answers) is RejectCode.INVALID_DATA
    assert says in answers[-1].reason
    assert (desk.active(), desk.scheduled()) == ([], [])


def test_a_test_for_later_is_judged_and_waits_for_nothing(desk):
    answers = desk.order(CAP, 0, starts_in_s=60.0, dispatch_class=DispatchClass.TEST)
    assert [(a.status, a.terminal, a.power_w) for a in answers][-1] == (S.CLAMPED, True, FLOOR)
    assert desk.scheduled() == []


def test_the_running_order_is_superseded_when_the_scheduled_one_begins_and_not_before(desk):
    desk.order(CAP, 10_000)
    assert statuses(desk.order(CAP, 8_000, seq=2, starts_in_s=60.0)) == [S.RECEIVED, S.ACCEPTED]
    assert desk.active() == ["desk-1"]
    desk.wall += 60.0
    assert [(a.dispatch_id, a.status, a.reason) for a in desk.expire()] == [("desk-1", S.SUPERSEDED, "by desk-2")]
    assert desk.active() == ["desk-2"]


def test_an_order_at_once_leaves_those_for_later_alone(desk):
    desk.order(CAP, 10_000)
    desk.order(CAP, 8_000, seq=2, starts_in_s=60.0)
    desk.order(CAP, 9_000, seq=3)
    assert (desk.active(), desk.scheduled()) == (["desk-3"], ["desk-2"])
    desk.wall += 60.0
    assert [(a.dispatch_id, a.status) for a in desk.expire()] == [("desk-3", S.SUPERSEDED)]


def test_an_order_for_the_very_same_time_corrects_the_one_before(desk):
    desk.order(CAP, 8_000, starts_in_s=60.0)
    answers = desk.order(CAP, 7_000, seq=2, starts_in_s=60.0)
    assert [(a.dispatch_id, a.status) for a in answers][-1] == ("desk-1", S.SUPERSEDED)
    desk.order(CAP, 6_000, issuer="other", starts_in_s=60.0)
    assert desk.scheduled() == ["desk-2", "other-1"], "another issuer's stays"


def test_a_release_ends_what_is_scheduled_too(desk):
    desk.order(CAP, 10_000, seq=1)
    desk.order(CAP, 8_000, seq=2, starts_in_s=60.0)
    desk.order(CAP, 7_000, seq=3, starts_in_s=120.0)
    ended = [a.dispatch_id for a in desk.order(RELEASE, None, seq=4) if a.status is S.SUPERSEDED]
    assert (ended, desk.active(), desk.scheduled()) == (["desk-1", "desk-2", "desk-3"], [], [])


def test_an_emergency_is_not_ended_by_a_start_that_was_ordered_before_it(desk):
    desk.order(TARGET, 10_000, starts_in_s=60.0)
    desk.order(CAP, 0, seq=2, dispatch_class=DispatchClass.EMERGENCY)
    desk.wall += 60.0
    assert desk.expire() == []
    assert desk.active() == ["desk-2", "desk-1"]
    assert statuses(desk.order(CAP, 9_000, seq=3)) == [S.RECEIVED, S.ACCEPTED, S.SUPERSEDED, S.SUPERSEDED]


def test_scheduled_orders_have_a_limit_of_their_own_and_keep_nobodys_order_at_once_out(desk):
    for seq in (1, 2, 3):
        assert statuses(desk.order(CAP, 10_000, seq=seq, starts_in_s=60.0 * seq))[-1] is S.ACCEPTED
    answers = desk.order(CAP, 10_000, issuer="other", starts_in_s=240.0)
    assert refusal(answers) is RejectCode.NOT_ALLOWED
    assert answers[-1].reason == "3 other orders are scheduled, the most allowed"
    assert statuses(desk.order(CAP, 9_000, seq=5, starts_in_s=120.0))[-1] is S.SUPERSEDED, "a correction"
    for issuer in ("a", "b", "desk"):
        assert statuses(desk.order(CAP, 10_000, seq=6, issuer=issuer))[-1] is S.ACCEPTED
    assert statuses(desk.order(CAP, 9_000, seq=7))[-1] is S.SUPERSEDED, "one that replaces its issuer's is none more"
    answers = desk.order(CAP, 10_000, issuer="c")
    assert answers[-1].reason == "3 other orders are in force, the most allowed"


def test_what_will_be_in_force_is_known_beforehand(desk):
    desk.order(TARGET, 10_000, lasts_s=100.0)
    desk.order(CAP, 8_000, issuer="other", starts_in_s=30.0, lasts_s=120.0)
    desk.order(TARGET, 9_000, seq=2, starts_in_s=60.0)
    found = {
        at: [entry.dispatch.dispatch_id for entry in timeline.in_force_at(desk.book, desk.now + at)]
        for at in (0.0, 30.0, 60.0, 120.0)
    }
    assert found == {
        0.0: ["desk-1"],
        30.0: ["desk-1", "other-1"],
        60.0: ["other-1", "desk-2"],
        120.0: ["desk-2"],
    }
