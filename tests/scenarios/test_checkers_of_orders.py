"""The harsh swarm's judge of when orders end, on answers written by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, DispatchClass, DispatchKind, Received
from tests.rig.check_miners import orders_end_in_time
from tests.rig.setup import WALL_AT_START, ClockStep, Crash, Message
from tests.scenarios.written_runs import SETUP, falling, written


def ordered(**changes):
    """One cap in force from 20 to 90 s; somebody sets the clock back at 50 s."""
    order = Dispatch(
        dispatch_id="order-1",
        issuer="grid",
        seq=1,
        issued_at=WALL_AT_START + 20.0,
        expires_at=WALL_AT_START + 90.0,
        dispatch_class=DispatchClass.NORMAL,
        kind=DispatchKind.CAP,
        power_w=50_000,
        priority=0,
    )
    message = Message(20.0, Received(order, WALL_AT_START + 20.0), obeyed=True)
    return replace(SETUP, messages=(message,), clock_steps=(ClockStep(50.0, -30.0),), **changes)


def ended(at_s, status=AnswerStatus.EXPIRED):
    record = written(falling(1.0))
    record.answers = [(at_s, Answer("order-1", "grid", status, WALL_AT_START + at_s, terminal=True))]
    return record


@pytest.mark.parametrize("at_s", [90.0, 91.5])
def test_an_order_that_ends_when_its_life_is_over_is_fine(at_s):
    assert orders_end_in_time(ordered(), ended(at_s)) == []


@pytest.mark.parametrize("at_s", [60.0, 88.0, 94.0, 120.0])
def test_an_order_that_ends_by_a_clock_that_was_set_is_seen(at_s):
    (breach,) = orders_end_in_time(ordered(), ended(at_s))
    assert f"{at_s - 90.0:+.1f} s" in breach.text


def test_an_order_that_ends_while_nobody_is_there_ends_with_the_start():
    down = Crash(85.0, 10.0)
    assert orders_end_in_time(ordered(crashes=(down,)), ended(96.0)) == []
    assert len(orders_end_in_time(ordered(crashes=(down,)), ended(99.0))) == 1


def test_an_order_that_gave_way_to_another_has_no_end_of_its_own():
    assert orders_end_in_time(ordered(), ended(40.0, AnswerStatus.SUPERSEDED)) == []
