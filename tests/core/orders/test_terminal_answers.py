"""Exactly one terminal answer per order, whatever comes in."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import timeline
from controller.domain.dispatch import DispatchClass, DispatchKind, Malformed, RejectCode
from tests.core.orders.desk import Desk, S, statuses


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
