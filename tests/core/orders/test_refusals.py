"""What the order book refuses, with which code, and what it takes that is just on the edge."""

from __future__ import annotations

import pytest

from controller.domain.dispatch import Malformed, RejectCode
from tests.core.orders.desk import CAP, FLOOR, RELEASE, Desk, S, refusal, statuses


@pytest.mark.parametrize("power_w", [0, FLOOR - 1])
def test_an_order_below_the_floor_is_clamped_and_told_the_achievable_power(desk, power_w):
    answers = desk.order(CAP, power_w)
    assert statuses(answers) == [S.RECEIVED, S.CLAMPED]
    assert answers[-1].power_w == FLOOR
    assert "1.2 kW" in answers[-1].reason
    assert desk.book.active[0].answered_w == FLOOR


def test_an_order_at_the_floor_is_taken_as_it_stands(desk):
    assert statuses(desk.order(CAP, FLOOR)) == [S.RECEIVED, S.ACCEPTED]


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        pytest.param({"issued_at": -30.1}, RejectCode.EXPIRED, id="issued too long ago"),
        pytest.param({"issued_at": 2.1}, RejectCode.INVALID_DATA, id="issued in the future"),
        pytest.param({"issued_at": 3_600.0}, RejectCode.INVALID_DATA, id="issued an hour ahead"),
        pytest.param({"issued_at": -10.0, "lasts_s": 10.0}, RejectCode.EXPIRED, id="expires this instant"),
        pytest.param({"issued_at": -10.0, "lasts_s": 5.0}, RejectCode.EXPIRED, id="expired on the way"),
        pytest.param({"issued_at": 1.5, "lasts_s": -1.0}, RejectCode.INVALID_DATA, id="expires before it was issued"),
        pytest.param({"lasts_s": 86_401.0}, RejectCode.INVALID_DATA, id="lives too long"),
        pytest.param({"power_w": -1}, RejectCode.INVALID_DATA, id="negative power"),
        pytest.param({"power_w": 40_001}, RejectCode.INVALID_DATA, id="above the site's contract"),
        pytest.param({"power_w": None}, RejectCode.INVALID_DATA, id="a cap without a figure"),
    ],
)
def test_a_faulty_order_is_refused_with_code_and_reason_and_nothing_moves(desk, fields, code):
    fields = {**fields, "issued_at": desk.wall + fields.get("issued_at", 0.0)}
    answers = desk.order(CAP, fields.pop("power_w", 10_000), **fields)
    assert refusal(answers) is code
    assert answers[-1].terminal
    assert desk.active() == []


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"issued_at": -30.0}, id="just young enough"),
        pytest.param({"issued_at": 2.0}, id="within the clocks' skew"),
        pytest.param({"lasts_s": 86_400.0}, id="the longest life"),
        pytest.param({"power_w": 40_000}, id="exactly the contract"),
    ],
)
def test_an_order_on_the_edge_of_a_limit_is_accepted(desk, fields):
    fields = {**fields, "issued_at": desk.wall + fields.get("issued_at", 0.0)}
    assert statuses(desk.order(CAP, fields.pop("power_w", 10_000), **fields))[-1] is S.ACCEPTED


def test_bytes_that_are_no_order_are_refused_for_good(desk):
    answers = desk.admit(Malformed("x-1", "desk", RejectCode.INVALID_DATA, "kw is a string"))
    assert [(a.status, a.terminal, a.code, a.reason) for a in answers] == [
        (S.REJECTED, True, RejectCode.INVALID_DATA, "kw is a string")
    ]


def test_a_retained_order_is_never_obeyed(desk, kit):
    assert refusal(desk.admit(kit.order(), retained=True)) is RejectCode.NOT_ALLOWED
    assert desk.active() == []


def test_a_duplicate_is_refused_and_the_first_answer_stands(desk, kit):
    desk.admit(kit.order())
    answers = desk.admit(kit.order())
    assert refusal(answers) is RejectCode.INVALID_ID
    assert not answers[-1].terminal
    assert desk.active() == ["desk-1"]


def test_the_duplicate_of_a_refused_order_gets_no_second_terminal_answer(desk, kit):
    first = desk.admit(kit.order(power_w=-1))
    second = desk.admit(kit.order(power_w=-1))
    assert [answer.terminal for answer in (*first, *second)] == [False, True, False, False]


@pytest.mark.parametrize("seq", [5, 4, 0])
def test_an_order_out_of_sequence_is_refused(desk, seq):
    desk.order(CAP, 10_000, seq=5)
    answers = desk.order(CAP, 20_000, seq=seq, dispatch_id="other")
    assert refusal(answers) is RejectCode.OUT_OF_SEQUENCE
    assert desk.active() == ["desk-5"]


def test_each_issuer_counts_for_itself(desk):
    desk.order(CAP, 10_000, seq=500, issuer="a")
    assert statuses(desk.order(CAP, 10_000, seq=1, issuer="b"))[-1] is S.ACCEPTED


def test_the_sequence_number_of_a_refused_order_blocks_nothing(desk):
    desk.order(CAP, -1, seq=900)
    assert statuses(desk.order(CAP, 10_000, seq=2))[-1] is S.ACCEPTED


def test_a_sequence_number_stays_used_after_its_order_ended(desk):
    desk.order(CAP, 10_000, seq=5, lasts_s=60.0)
    desk.wall += 61.0
    desk.expire()
    assert refusal(desk.order(CAP, 10_000, seq=5, dispatch_id="again")) is RejectCode.OUT_OF_SEQUENCE


def test_more_issuers_than_the_site_takes_are_refused_but_not_a_release(desk):
    for name in ("a", "b", "c"):
        desk.order(CAP, 10_000, issuer=name)
    assert refusal(desk.order(CAP, 10_000, issuer="d")) is RejectCode.NOT_ALLOWED
    assert statuses(desk.order(CAP, 9_000, issuer="a", seq=2))[-2:] == [S.ACCEPTED, S.SUPERSEDED]
    assert statuses(desk.order(RELEASE, issuer="d", seq=3))[-1] is S.REACHED


def test_garbage_under_the_id_of_an_order_in_force_does_not_end_it(desk):
    desk.order(CAP, 10_000)
    answers = desk.admit(Malformed("desk-1", "desk", RejectCode.INVALID_DATA, "truncated"))
    assert [(a.status, a.terminal) for a in answers] == [(S.REJECTED, False)]
    assert desk.active() == ["desk-1"]


def test_an_id_spent_on_garbage_is_spent(desk):
    desk.admit(Malformed("desk-1", "desk", RejectCode.INVALID_DATA, "truncated"))
    answers = desk.order(CAP, 10_000)
    assert refusal(answers) is RejectCode.INVALID_ID
    assert not answers[-1].terminal


def test_garbage_without_an_id_is_answered_every_time(desk):
    for _ in range(2):
        answers = desk.admit(Malformed("", "", RejectCode.INVALID_DATA, "not JSON"))
        assert [(a.status, a.terminal) for a in answers] == [(S.REJECTED, True)]


def test_an_order_in_force_is_known_even_when_its_id_was_crowded_out(kit):
    desk = Desk(kit, remembered_ids_max=2)
    desk.admit(kit.order(dispatch_id="long-lived"))
    for number in range(3):
        desk.order(CAP, -1, issuer="noise", seq=number)
    answers = desk.admit(kit.order(dispatch_id="long-lived"))
    assert refusal(answers) is RejectCode.INVALID_ID
    assert not answers[-1].terminal


def test_the_book_remembers_no_more_ids_than_it_may(kit):
    desk = Desk(kit, remembered_ids_max=5)
    for number in range(20):
        desk.order(CAP, 10_000, seq=number)
    assert len(desk.book.seen_ids) == 5
