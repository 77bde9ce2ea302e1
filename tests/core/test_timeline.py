"""The order book: every refusal, every answer, and exactly one terminal answer per order."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import timeline
from controller.core.state import OrderBook
from controller.domain.dispatch import AnswerStatus, DispatchClass, DispatchKind, Malformed, Received, RejectCode

S = AnswerStatus
CAP, TARGET, RELEASE = DispatchKind.CAP, DispatchKind.TARGET, DispatchKind.RELEASE
FLOOR = 1_200


class Desk:
    """A book with a clock; every method returns the answers it caused."""

    def __init__(self, kit, **dispatch):
        self.kit, self.wall, self.book = kit, kit.wall, OrderBook()
        self.policy = kit.policy(dispatch=dispatch)

    @property
    def now(self):
        return self.wall - self.kit.wall

    def _run(self, act):
        ledger = timeline.Ledger(self.book)
        act(ledger)
        self.book = ledger.book
        return ledger.answers

    def admit(self, message, retained=False, floor=FLOOR):
        received = Received(message, self.wall, retained)
        return self._run(lambda ledger: timeline.admit(ledger, self.policy, received, floor, self.wall, self.now))

    def order(self, *args, **fields):
        starts = fields.pop("starts_in_s", None)
        order = self.kit.order(*args, **{"issued_at": self.wall, **fields})
        return self.admit(order if starts is None else replace(order, not_before=self.wall + starts))

    def expire(self):
        """What time alone does: orders end, and begin."""

        def pass_time(ledger):
            timeline.expire(ledger, self.wall, self.now)
            timeline.begin(ledger, self.wall, self.now)

        return self._run(pass_time)

    def meter(self, measured_w, tolerance_w=800.0):
        return self._run(lambda ledger: timeline.mark_reached(ledger, measured_w, tolerance_w, self.wall))

    def active(self):
        return [entry.dispatch.dispatch_id for entry in self.book.active]

    def scheduled(self):
        return [entry.dispatch.dispatch_id for entry in self.book.scheduled]


@pytest.fixture
def desk(kit):
    return Desk(kit)


def statuses(answers):
    return [answer.status for answer in answers]


def refusal(answers):
    assert statuses(answers)[-1] is S.REJECTED
    assert answers[-1].reason
    return answers[-1].code


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_a_good_order_is_received_accepted_and_in_force(desk, kind):
    answers = desk.order(kind, 10_000)
    assert statuses(answers) == [S.RECEIVED, S.ACCEPTED]
    assert answers[-1].power_w == 10_000
    assert not any(answer.terminal for answer in answers)
    assert desk.active() == ["desk-1"]


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


# --- scheduled orders -----------------------------------------------------------------------------------------------


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


def messages(kit):
    order = st.builds(
        lambda kind, power, seq, issuer, name, age, lasts, klass, wait: replace(
            kit.order(
                kind,
                power,
                seq=seq,
                issuer=issuer,
                dispatch_id=name,
                issued_at=kit.wall - age,
                lasts_s=lasts,
                dispatch_class=klass,
            ),
            not_before=None if wait is None else kit.wall + wait,
        ),
        st.sampled_from(DispatchKind),
        st.integers(-2_000, 45_000),
        st.integers(0, 12),
        st.sampled_from(["a", "b", "c", "d", "e"]),
        st.integers(0, 12).map(lambda number: f"id-{number}"),
        st.floats(-4, 40),
        st.floats(-5, 400),
        st.sampled_from(DispatchClass),
        st.none() | st.floats(-5, 200),
    )
    garbage = st.integers(0, 12).map(lambda number: Malformed(f"id-{number}", "a", RejectCode.INVALID_DATA, "no order"))
    return st.tuples(order | garbage, st.booleans(), st.floats(0, 30), st.none() | st.floats(0, 40_000))


@given(data=st.data())
def test_every_order_gets_exactly_one_terminal_answer_whatever_comes_in(kit, data):
    desk = Desk(kit)
    answers, moved = [], {}
    for message, retained, pause_s, measured_w in data.draw(st.lists(messages(kit), max_size=30)):
        desk.wall += pause_s
        if not isinstance(message, Malformed):
            shift = desk.wall - kit.wall
            message = replace(message, issued_at=message.issued_at + shift, expires_at=message.expires_at + shift)
            if message.not_before is not None:
                message = replace(message, not_before=message.not_before + shift)
        answers += desk.expire()
        before = desk.active(), desk.scheduled()
        said = desk.admit(message, retained)
        answers += said
        if S.REJECTED in statuses(said):
            assert (desk.active(), desk.scheduled()) == before, "a refused message moved something"
        moved[message.dispatch_id] = message
        answers += desk.meter(measured_w)
    desk.wall += 100_000.0
    answers += desk.expire()
    terminal = Counter(answer.dispatch_id for answer in answers if answer.terminal)
    assert terminal == dict.fromkeys(moved, 1)
    ended = {}
    for index, answer in enumerate(answers):
        if answer.terminal:
            ended[answer.dispatch_id] = index
        elif answer.status is not S.RECEIVED and answer.code is None:
            assert answer.dispatch_id not in ended, "an answer after the terminal one"


@pytest.mark.parametrize("kind", DispatchKind)
def test_every_way_to_end_is_in_the_terminal_table(kind):
    assert S.REJECTED in timeline.TERMINAL[kind]
    assert not {S.RECEIVED, S.ACCEPTED, S.CLAMPED} & timeline.TERMINAL[kind]
