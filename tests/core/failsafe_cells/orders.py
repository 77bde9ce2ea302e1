"""Scenarios of the fail-safe table: the dispatcher, its orders and the broker, the journal and the clock."""

from __future__ import annotations

from dataclasses import replace

from controller.core.failsafe_table import Condition, Row
from controller.domain.dispatch import AnswerStatus, Malformed, Received, RejectCode
from controller.domain.plan import InputState
from tests.core.builders import WALL
from tests.core.conftest import Kit
from tests.core.failsafe_cells.pair import LIMIT_W, ROOM_W, Pair, cell, falls_to_the_fallback

# --- the dispatcher, its orders and the broker ----------------------------------------------------------------------


@cell(Row.DISPATCHER, Condition.LOST)
def a_dispatcher_lost_under_a_lease(pair: Pair) -> None:
    pair.site.heard = False
    pair.until(lambda: pair.state_of("dispatcher") is InputState.FALLBACK)
    pair.assert_told("dispatcher: ")
    falls_to_the_fallback(pair)
    pair.assert_nothing_rises()


@cell(Row.DISPATCHER, Condition.UNCONFIRMED)
def a_heartbeat_alone(pair: Pair) -> None:
    pair.site.heard = False
    pair.both(130)
    pair.site.heard = True
    pair.began = pair.site.now
    pair.until(lambda: pair.state_of("dispatcher") is InputState.FALLBACK)
    pair.both(30)
    assert pair.state_of("dispatcher") is InputState.FALLBACK
    assert pair.site.load_w() <= pair.policy.fallback_w + 1.0
    pair.assert_nothing_rises()


@cell(Row.DISPATCHER, Condition.BACK)
def a_dispatcher_back_with_an_order(pair: Pair) -> None:
    a_heartbeat_alone(pair)
    pair.began = pair.site.now
    pair.site.step(received=(Pair._order(pair.site),))
    pair.twin.step()
    pair.until(lambda: pair.state_of("dispatcher") is InputState.GOOD)
    pair.assert_told("dispatcher: ")
    pair.assert_it_rises()


@cell(Row.NO_DISPATCHER, Condition.LOST)
def a_dispatcher_nobody_waits_for(pair: Pair) -> None:
    pair.site.heard = False
    pair.site.heard_at = None
    pair.both(150)
    pair.invite()
    pair.assert_it_rises()
    assert pair.site.load_w() == pair.twin.load_w()


@cell(Row.ORDER, Condition.GARBAGE, Condition.LATE, Condition.RETAINED, Condition.REPEATED, Condition.OUT_OF_SEQUENCE)
def an_order_that_is_refused(pair: Pair) -> None:
    """It would lower the site, and the twin never hears of it: both draw the same, to the watt."""
    good = Kit.order(seq=7, power_w=9_000, issued_at=WALL + pair.site.now)
    for yard in pair.yards:
        yard.step(received=(yard.receive(good),))
    wall = WALL + pair.site.now
    low = Kit.order(seq=8, power_w=2_000, issued_at=wall)
    message, retained, code = {
        Condition.GARBAGE: (
            Malformed("x-1", "desk", RejectCode.INVALID_DATA, "no JSON"),
            False,
            RejectCode.INVALID_DATA,
        ),
        Condition.LATE: (Kit.order(seq=8, power_w=2_000, issued_at=wall - 31.0), False, RejectCode.EXPIRED),
        Condition.RETAINED: (low, True, RejectCode.NOT_ALLOWED),
        Condition.REPEATED: (replace(low, dispatch_id=good.dispatch_id), False, RejectCode.INVALID_ID),
        Condition.OUT_OF_SEQUENCE: (replace(low, seq=7), False, RejectCode.OUT_OF_SEQUENCE),
    }[pair.condition]
    pair.both(received=(Received(message, wall, retained),))
    (refused,) = [answer for answer in pair.last.answers if answer.status is AnswerStatus.REJECTED]
    assert refused.code is code
    assert refused.reason
    for _ in range(60):
        pair.both()
        assert pair.site.load_w() == pair.twin.load_w()
    pair.invite()
    pair.both(60)
    assert LIMIT_W < pair.site.load_w() <= 9_100.0, "the order in force stays in force, and what it leaves is used"


@cell(Row.BROKER, Condition.LOST, Condition.BACK)
def a_broker_lost_for_longer_than_an_order_lives(pair: Pair) -> None:
    """What is in force runs to its end without another word, then the surplus is followed; the answers wait."""
    order = Kit.order(seq=7, power_w=7_000, issued_at=WALL + pair.site.now, lasts_s=60.0)
    for yard in pair.yards:
        yard.step(received=(yard.receive(order),))
    pair.site.heard = False
    pair.invite()
    pair.both(50)
    assert pair.site.load_w() <= 7_100.0
    pair.both(20)
    answers = [answer.status for decision in pair.site.decisions for answer in decision.answers]
    assert answers[-1] is AnswerStatus.EXPIRED
    pair.assert_it_rises()


# --- the journal and the clock --------------------------------------------------------------------------------------


@cell(Row.JOURNAL, Condition.LOST, Condition.HUNG, Condition.BACK)
def a_journal_that_takes_no_rows(pair: Pair) -> None:
    """Nothing is raised unrecorded; what lowers goes on. (When a commit counts as hung is runtime/journal's to say.)"""
    if pair.condition is Condition.LOST:
        pair.until(lambda: pair.site.state.doubtful, journal_writable=False)
    pair.assert_nothing_rises(journal_writable=False)
    assert pair.last.setpoint.source == "journal not writable"
    for yard in pair.yards:
        yard.spare_w = 4_500.0
    raised, pair.free = list(pair.raised), True  # from other loads than its twin it falls by other steps, both below it
    pair.both(20, journal_writable=False)
    assert pair.site.load_w() <= 4_600.0
    for yard in pair.yards:
        yard.spare_w = ROOM_W
    pair.both(10, journal_writable=False)
    assert pair.site.load_w() <= 4_600.0
    assert pair.raised == raised
    pair.assert_it_rises()


@cell(Row.CLOCK, Condition.STEPPED_FORWARD, Condition.STEPPED_BACK)
def a_clock_that_is_stepped(pair: Pair) -> None:
    """For the re-arm time nothing is raised; tests/core/test_clock.py has what becomes of orders."""
    pair.site.wall_step_s = 3_600.0 if pair.condition is Condition.STEPPED_FORWARD else -3_600.0
    pair.until(lambda: pair.last.fail_safe is InputState.HOLD)
    pair.assert_told(pair.condition.value)
    held_w = pair.twin.load_w()
    pair.invite()
    pair.both(int(pair.policy.inputs.rearm_s) - 3)
    assert pair.raised == [] or pair.raised[-1] <= pair.began
    assert pair.site.load_w() <= held_w + 100.0
    assert pair.twin.load_w() > held_w + 400.0
    pair.assert_it_rises()
