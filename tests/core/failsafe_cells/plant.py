"""Scenarios of the fail-safe table: what the plant's meters and its DCS tell."""

from __future__ import annotations

import pytest

from controller.core.failsafe import GUARDS
from controller.core.failsafe_table import DOES, STATE_OF, TABLE, Action, Condition, Effect, Row
from controller.domain.metering import Point
from controller.domain.plan import InputState, OperatorOrder, OperatorVerb
from tests.core.builders import WALL
from tests.core.failsafe_cells.pair import Pair, cell, falls_to_the_fallback, shown, stalled
from tests.rig.instruments import FEEDS

# --- measured inputs ------------------------------------------------------------------------------------------------

BLOCKS = {Row.POI: FEEDS["poi"], Row.SITE: FEEDS["site"], Row.PLANT: FEEDS["plant"]}
POWERS = {
    Row.POI: (Point.POI_EXPORT_W,),
    Row.SITE: (Point.SITE_LOAD_W,),
    Row.PLANT: (Point.DESPATCH_EXPORT_W, Point.GROSS_W),
}


def spoiled(pair: Pair) -> None:
    yard, row = pair.site, pair.row
    match pair.condition:
        case Condition.LATE | Condition.STALE | Condition.GONE | Condition.EXCEPTION | Condition.WRONG_UNIT:
            stalled(yard, BLOCKS[row])  # a read that fails puts nothing into the mailbox
        case Condition.GARBAGE:
            shown(yard, BLOCKS[row], None)
        case Condition.IMPLAUSIBLE:
            shown(yard, POWERS[row], lambda value: 2e6)
        case Condition.CONTRADICTED:
            shown(yard, POWERS[row], lambda value: value * (1.5 if row is Row.SITE else 0.9))
        case Condition.FROZEN:
            kept = yard.readings()[POWERS[row][0]].value
            shown(yard, POWERS[row], lambda value: kept)


def a_measured_input(pair: Pair) -> None:
    name, asked = pair.row.value, STATE_OF[pair.cell.action]
    spoiled(pair)
    if pair.condition is Condition.FROZEN:  # and the rest of the site moves, where no balance shows the lie at once
        pair.site.hidden = {Point.AUXILIARY_W}
        pair.order(OperatorOrder(OperatorVerb.CAP, "omar", 4_500, WALL + 9e4))
    pair.until(lambda: pair.state_of(name) is asked)
    pair.assert_told(f"-> {asked.value}")
    assert pair.last.fail_safe is asked
    if pair.cell.action is Action.FALL_BACK:
        falls_to_the_fallback(pair)
    pair.assert_nothing_rises()
    pair.site.spoil.clear()
    pair.assert_it_rises()


def an_input_back_again(pair: Pair) -> None:
    """At once after a hold; after more than that only when it has been good for the re-arm time."""
    name = pair.row.value
    stalled(pair.site, BLOCKS[pair.row])
    pair.both(6)
    assert pair.state_of(name) is InputState.HOLD
    pair.site.spoil.clear()
    pair.both(2)
    assert pair.state_of(name) is InputState.GOOD
    for lost_s in (15, 40):
        stalled(pair.site, BLOCKS[pair.row])
        pair.both(lost_s)
        assert pair.state_of(name) in (InputState.FROZEN_UP, InputState.FALLBACK)
        pair.site.spoil.clear()
        pair.began = pair.site.now
        pair.until(lambda: pair.state_of(name) is InputState.GOOD)
        pair.assert_told("-> good")
    pair.invite()
    pair.assert_it_rises()


for measured in (Row.POI, Row.SITE, Row.PLANT):
    for one in TABLE[measured]:
        cell(measured, one)(an_input_back_again if one is Condition.BACK else a_measured_input)


# --- what else the plant tells --------------------------------------------------------------------------------------


@cell(Row.HEARTBEAT, Condition.FROZEN, Condition.GARBAGE)
@cell(Row.UNITS, Condition.STOP, Condition.GARBAGE)
@cell(Row.FREQUENCY, Condition.IMPLAUSIBLE)
def a_point_that_makes_its_block_doubtful(pair: Pair) -> None:
    point = {
        Row.HEARTBEAT: Point.DCS_HEARTBEAT,
        Row.UNITS: Point.SYNCHRONISED_UNITS,
        Row.FREQUENCY: Point.FREQUENCY_HZ,
    }[pair.row]
    block = "poi" if pair.row is Row.FREQUENCY else "plant"
    stuck = pair.site.now
    lies = {Row.HEARTBEAT: lambda value: stuck, Row.UNITS: lambda value: 0.0, Row.FREQUENCY: lambda value: 12.5}
    shown(pair.site, (point,), None if pair.condition is Condition.GARBAGE else lies[pair.row])
    pair.until(lambda: pair.state_of(block) is STATE_OF[pair.cell.action])
    pair.assert_told(f"{block}: ")
    pair.assert_nothing_rises()
    assert pair.state_of(block) in (InputState.FROZEN_UP, InputState.FALLBACK), (
        "and it goes the way of one that is lost"
    )
    pair.site.spoil.clear()
    pair.assert_it_rises()


@cell(Row.HEARTBEAT, Condition.BACK)
@cell(Row.UNITS, Condition.BACK)
def a_plant_believed_again(pair: Pair) -> None:
    point, told = {
        Row.HEARTBEAT: (Point.DCS_HEARTBEAT, pair.site.now),
        Row.UNITS: (Point.SYNCHRONISED_UNITS, 0.0),
    }[pair.row]
    shown(pair.site, (point,), lambda value: told)
    pair.both(30)
    assert pair.state_of("plant") is InputState.FROZEN_UP
    pair.site.spoil.clear()
    pair.began = pair.site.now
    pair.until(lambda: pair.state_of("plant") is InputState.GOOD)
    pair.assert_told("-> good")
    pair.invite()
    pair.assert_it_rises()


STOPS = {Row.TRIP: 1.0, Row.PERMIT: 0.0, Row.EMERGENCY: 1.0, Row.FREQUENCY: 49.2}
GUARD_ROWS = (Row.TRIP, Row.PERMIT, Row.EMERGENCY, Row.FREQUENCY)


def stop(pair: Pair) -> None:
    shown(pair.site, (GUARDS[pair.row],), lambda value: STOPS[pair.row])


def a_guard_that_says_stop(pair: Pair) -> None:
    stop(pair)
    pair.until(lambda: pair.last.setpoint.shed)
    pair.assert_told()
    assert DOES[pair.cell.action].effect is Effect.AUXILIARIES
    assert pair.last.setpoint.power_w == pytest.approx(pair.last.figures.floor_w)
    assert all(not command.raises and command.urgent for command in pair.last.commands)
    pair.both(10)
    assert pair.site.load_w() == pytest.approx(1_200.0, abs=5.0)
    pair.assert_nothing_rises()


def a_guard_that_cannot_be_read(pair: Pair) -> None:
    shown(pair.site, (GUARDS[pair.row],), None)
    pair.until(lambda: pair.state_of(pair.row.value) is STATE_OF[pair.cell.action])
    pair.assert_told(f"{pair.row.value}: ")
    pair.assert_nothing_rises()
    assert pair.state_of("poi") is pair.state_of("plant") is InputState.GOOD, "the rest of its block is believed"
    pair.site.spoil.clear()
    pair.assert_it_rises()


def a_guard_back_again(pair: Pair) -> None:
    """Also when it became unreadable meanwhile: raised until it is seen lowered, or at least nothing rises."""
    stop(pair)
    pair.both(10)
    before_w = pair.site.load_w()
    shown(pair.site, (GUARDS[pair.row],), None)
    pair.both(20)
    assert pair.last.setpoint.shed is (pair.row is not Row.FREQUENCY)
    assert pair.site.load_w() <= before_w + 1.0
    stop(pair)
    pair.both(2)
    pair.site.spoil.clear()
    pair.began = pair.site.now
    pair.until(lambda: not pair.last.setpoint.shed)
    pair.assert_told()
    setpoints = [decision.setpoint.power_w for decision in pair.site.decisions if decision.now >= pair.began]
    assert setpoints[-1] - setpoints[0] <= pair.policy.ramp.up_w_per_15s
    pair.invite()
    pair.assert_it_rises()


for guard in GUARD_ROWS:
    cell(guard, Condition.STOP)(a_guard_that_says_stop)
    cell(guard, Condition.GARBAGE)(a_guard_that_cannot_be_read)
    cell(guard, Condition.BACK)(a_guard_back_again)
