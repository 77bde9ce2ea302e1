"""Every cell of the fail-safe table, driven through the real step in virtual time beside a twin without the fault.

A cell without a scenario here fails, and so does a scenario without a cell. What the core has no part in is proved by
the test its cell names. Each scenario checks the same things: the moment of the reaction, the event and its level, that
nothing is raised where the cell forbids it although there is room (and that it is where the cell allows it), that the
site never draws more than its twin, and the way back.
"""

from __future__ import annotations

import ast
import copy
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from controller.core import failsafe_table
from controller.core.failsafe import GUARDS
from controller.core.failsafe_table import DOES, STATE_OF, TABLE, Action, Cell, Condition, Effect, Row
from controller.domain.dispatch import AnswerStatus, DispatchKind, Malformed, Received, RejectCode
from controller.domain.fleet import Condition as MinerCondition
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import EventLevel, InputState, OperatorOrder, OperatorVerb
from tests.core.conftest import WALL, Kit, Site

ROOT = Path(__file__).parents[2]
CELLS = [(row, condition) for row, cells in TABLE.items() for condition in cells]
LIMIT_W, ROOM_W = 6_000, 15_500.0
ROSE_W = 10_000.0  # above this the site has plainly used the room it has
WATCHED_S = 25
HEALED_S = 150

Scenario = Callable[["Pair"], None]
SCENARIOS: dict[tuple[Row, Condition], Scenario] = {}


class Yard(Site):
    """The hand-cranked site with everything its plant may tell, and a way to spoil it: `spoil` by point."""

    def __init__(self, *args: object) -> None:
        super().__init__(*args)
        self.spoil: dict[Point, Callable[[Sample], Sample]] = {}
        self.heard = True
        self.hidden: set[Point] = set()

    def readings(self) -> dict[Point, Sample]:
        told = {
            Point.AUXILIARY_W: 0.0,
            Point.SYNCHRONISED_UNITS: 1.0,
            Point.DCS_HEARTBEAT: self.now,
            Point.TRIP: 0.0,
            Point.PERMIT: 1.0,
            Point.GRID_EMERGENCY: 0.0,
            Point.FREQUENCY_HZ: 50.0,
        }
        found = {**{point: Kit.sample(value, self.now) for point, value in told.items()}, **super().readings()}
        spoil = {point: self.spoil.get(point, lambda sample: sample) for point in found}
        return {point: spoil[point](sample) for point, sample in found.items() if point not in self.hidden}

    def step(self, **snapshot: object) -> None:
        if self.heard:
            self.heard_at = self.now + 1.0
        self.cycle(dispatcher_heartbeat_at=self.heard_at, **snapshot)


class Pair:
    """The site with the fault and its twin, in lockstep: settled below a person's cap, with room above it.

    What the twin drew within the last 5 s is a limit, for miners at other levels take their steps at other moments.
    `free`: it is none, where the fault itself is a miner that draws on or leaves its work to others.
    """

    row: Row
    condition: Condition

    def __init__(self, lease: bool) -> None:
        policy = Kit.policy(dispatch={"lease_required": lease})
        self.site, self.twin = (Yard(policy, Kit.fleet(), [True] * 4, ROOM_W) for _ in range(2))
        self.policy, self.free = policy, False
        self.raised: list[float] = []
        self.twin_loads_w: list[float] = []
        if lease:
            self.both()
            for yard in self.yards:
                yard.step(received=(self._order(yard),))
        self.both(20)
        self.order(OperatorOrder(OperatorVerb.CAP, "maria", LIMIT_W, WALL + 9e4))
        self.both(70)
        assert self.site.load_w() <= LIMIT_W + 100.0
        self.began = self.site.now

    @classmethod
    def of(cls, row: Row, condition: Condition) -> Pair:
        """One for this cell; settling takes a while, so it is done once for all of them."""
        pair = copy.deepcopy(settled(row is Row.DISPATCHER))
        pair.row, pair.condition = row, condition
        return pair

    @property
    def yards(self) -> tuple[Yard, Yard]:
        return self.site, self.twin

    @property
    def cell(self) -> Cell:
        return TABLE[self.row][self.condition]

    @property
    def last(self):  # type: ignore[no-untyped-def]
        return self.site.decisions[-1]

    @staticmethod
    def _order(yard: Yard) -> Received:
        return yard.receive(Kit.order(DispatchKind.RELEASE, seq=round(yard.now) + 1, issued_at=WALL + yard.now))

    def both(self, seconds: int = 1, **of_site: object) -> None:
        """Cycles of both; what is given goes to the site with the fault alone."""
        loads = self.twin_loads_w
        for _ in range(seconds):
            self.twin.step()
            self.site.step(**of_site)
            loads.append(self.twin.load_w())
            self.raised.extend(self.site.now for command in self.last.commands if command.raises)
            if not self.free:
                theirs_w = max(loads[-5:])
                assert self.site.load_w() <= theirs_w * 1.01, f"more than its twin at {self.site.now}"

    def order(self, order: OperatorOrder, **of_site: object) -> None:
        """A person orders the same of both."""
        self.twin.step(operator=(order,))
        self.site.step(operator=(order,), **of_site)
        self.twin_loads_w.append(self.twin.load_w())

    def invite(self, **of_site: object) -> None:
        """The cap that kept both down is released: whoever may rise, does."""
        self.order(OperatorOrder(OperatorVerb.RELEASE, "maria"), **of_site)

    def state_of(self, name: str) -> InputState:
        return next(entry.state for entry in self.last.inputs if entry.name == name)

    def until(self, reacted: Callable[[], bool], **of_site: object) -> float:
        """Seconds from the fault to the reaction, which has to come within [limit, limit + 2 cycles]."""
        limit_s = failsafe_table.seconds(self.cell.after, self.policy)
        latest_s = limit_s + 2 * self.policy.cycle_s
        while self.site.now < self.began + latest_s:
            self.both(**of_site)
            if reacted():
                took_s = self.site.now - self.began
                assert limit_s <= took_s <= latest_s
                return took_s
        raise AssertionError(f"no reaction within {latest_s} s: {self.last.inputs}")

    def assert_told(self, about: str = "", since: float | None = None) -> None:
        """The cell's event came at its level, at or after the moment the fault began."""
        since = self.began if since is None else since
        events = [event for decision in self.site.decisions if decision.now > since for event in decision.events]
        told = [event for event in events if event.name == self.cell.event and about in f"{event.text} {event.miner}"]
        assert told, f"{self.cell.event} was not told; {events}"
        assert {event.level for event in told} == {self.cell.level}

    def assert_nothing_rises(self, **of_site: object) -> None:
        """There is room, the twin takes it, and this site does not."""
        before_w, at = max(self.site.load_w(), self.last.setpoint.power_w), self.site.now  # a move may be under way
        self.invite(**of_site)
        self.both(WATCHED_S, **of_site)
        assert self.twin.load_w() > before_w + 1_000.0, "the twin shows that there is room"
        assert [moment for moment in self.raised if moment > at] == []
        assert self.site.load_w() <= before_w * 1.01

    def assert_it_rises(self, above_w: float = ROSE_W) -> None:
        for _ in range(HEALED_S):
            self.both()
            if self.site.load_w() > above_w:
                return
        raise AssertionError(f"still at {self.site.load_w():.0f} W: {self.last.setpoint} {self.last.inputs}")


@functools.cache
def settled(lease: bool) -> Pair:
    return Pair(lease)


def cell(row: Row, *conditions: Condition) -> Callable[[Scenario], Scenario]:
    def enter(scenario: Scenario) -> Scenario:
        for condition in conditions:
            assert (row, condition) not in SCENARIOS
            SCENARIOS[row, condition] = scenario
        return scenario

    return enter


def stalled(yard: Yard, points: tuple[Point, ...]) -> None:
    """No new samples: what was read last stays in the mailbox and grows old."""
    now = yard.readings()
    for point in points:
        yard.spoil[point] = lambda sample, kept=now[point]: kept


def shown(yard: Yard, points: tuple[Point, ...], value: Callable[[float], float] | None) -> None:
    """Fresh samples of another value; None: samples that say themselves that they are bad."""
    for point in points:
        if value is None:
            yard.spoil[point] = lambda sample: Sample(None, sample.taken_at, Quality.BAD, sample.source)
        else:
            yard.spoil[point] = lambda sample: replace(sample, value=value(sample.value))


# --- measured inputs ------------------------------------------------------------------------------------------------

BLOCKS = {
    Row.POI: (Point.POI_EXPORT_W, Point.FREQUENCY_HZ),
    Row.SITE: (Point.SITE_LOAD_W,),
    Row.PLANT: (
        Point.DESPATCH_EXPORT_W,
        Point.RESERVE_UP_W,
        Point.GROSS_W,
        Point.AVAILABLE_W,
        Point.AUXILIARY_W,
        Point.SYNCHRONISED_UNITS,
        Point.DCS_HEARTBEAT,
        Point.TRIP,
        Point.PERMIT,
        Point.GRID_EMERGENCY,
    ),
}
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


def falls_to_the_fallback(pair: Pair) -> None:
    """By its own ramp, and to its end."""
    before_w = pair.last.setpoint.power_w
    pair.both()
    step_w = pair.policy.ramp.fallback_w_per_min / 60.0
    assert before_w - pair.last.setpoint.power_w <= step_w + 1.0
    pair.both(20)
    assert pair.site.load_w() <= pair.policy.fallback_w + 1.0


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


# --- miners and their feeders ---------------------------------------------------------------------------------------


def away(yard: Yard, miner: int) -> dict[str, object]:
    silence = Kit.reading(miner, MinerCondition.UNREACHABLE, None, yard.now + 1.0)
    return {"telemetry": (*(reading for reading in yard.telemetry() if reading.miner != miner), silence)}


def told_of(pair: Pair) -> bool:
    return any(event.name == pair.cell.event for event in pair.last.events)


@cell(Row.MINER, Condition.LOST, Condition.BACK)
def a_miner_that_is_away(pair: Pair) -> None:
    """It hashes on where nobody sees it: what it drew last counts, and the others use what is left."""
    pair.free = True
    miner = int(pair.site.hashing.argmax())
    drew_w = float(pair.site.draws_w()[miner])
    if pair.condition is Condition.LOST:
        while True:
            pair.both(**away(pair.site, miner))
            if told_of(pair):
                break
            assert pair.site.now <= pair.began + 2 * pair.policy.cycle_s
    else:
        for _ in range(10):
            pair.both(**away(pair.site, miner))
        pair.began = pair.site.now
        pair.until(lambda: told_of(pair))
    pair.assert_told(f"m{miner}")
    pair.invite()
    for _ in range(HEALED_S):
        pair.both(**(away(pair.site, miner) if pair.condition is Condition.LOST else {}))
        if pair.condition is Condition.LOST:
            assert pair.last.expected_power_w[miner] == pytest.approx(drew_w)
        assert pair.site.load_w() <= ROOM_W
    assert pair.site.load_w() > ROSE_W


@cell(Row.MINER, Condition.CONTRADICTED)
def a_miner_that_does_not_do_what_it_is_told(pair: Pair) -> None:
    """It hears and draws on: asked again, quarantined, and another sleeps in its place."""
    pair.free = True
    miner = int(pair.site.hashing.argmax())
    pair.site.deaf = {miner}
    pair.order(OperatorOrder(OperatorVerb.CAP, "omar", 1_300, WALL + 9e4))
    for _ in range(240):
        pair.both()
        if told_of(pair):
            break
    pair.assert_told(f"m{miner}")
    asked = [command for command in pair.site.sent if command.miner == miner]
    assert len(asked) >= pair.policy.fleet.attempts_max
    pair.both(30)
    draws = pair.site.draws_w()
    assert draws[miner] > 1_000.0, "it still draws"
    assert pair.last.expected_power_w[miner] == pytest.approx(draws[miner], rel=0.01), "and it counts"


@cell(Row.MINER, Condition.WRONG_UNIT)
def another_machine_answers(pair: Pair) -> None:
    pair.free = True
    miner = int(pair.site.hashing.argmax())
    pair.site.strangers = {miner: "an S9 where an S19 should be"}
    pair.until(lambda: told_of(pair))
    pair.assert_told(f"m{miner}")
    sent = len(pair.site.sent)
    pair.invite()
    pair.assert_it_rises(above_w=ROSE_W - 3_500.0)
    assert all(command.miner != miner for command in pair.site.sent[sent:])


@cell(Row.MINERS, Condition.LOST, Condition.BACK)
def many_miners_that_are_away_at_once(pair: Pair) -> None:
    """A switch died, the meter still sees them draw: nothing moves, and nobody is asked again and again."""
    pair.free = True
    lost = (0, 1, 2)
    before_w, drew_w, sent = pair.site.load_w(), pair.site.draws_w(), len(pair.site.sent)
    for second in range(60):
        silence = tuple(Kit.reading(m, MinerCondition.UNREACHABLE, None, pair.site.now + 1.0) for m in lost)
        seen = tuple(reading for reading in pair.site.telemetry() if reading.miner not in lost)
        pair.both(telemetry=(*seen, *silence))
        if second == 1 and pair.condition is Condition.LOST:
            pair.assert_told()
    assert pair.site.load_w() == pytest.approx(before_w, rel=0.01)
    assert pair.last.expected_power_w[list(lost)] == pytest.approx(drew_w[list(lost)], rel=0.01)
    assert [command for command in pair.site.sent[sent:] if command.miner in lost] == []
    pair.began = pair.site.now
    if pair.condition is Condition.BACK:
        for _ in range(20):
            pair.both()
            if told_of(pair):
                break
        pair.assert_told()
    pair.invite()
    pair.assert_it_rises()


@cell(Row.FEEDER, Condition.LOST, Condition.FROZEN, Condition.GARBAGE, Condition.BACK)
def a_feeders_meter(pair: Pair) -> None:
    """No limit hangs on it: with or without, the site does the same, to the watt."""
    for yard in pair.yards:
        yard.metered = {0}
    pair.both(30)
    kept = pair.site.feeders()[0].value
    spoilt = {
        Condition.LOST: lambda at: {},
        Condition.BACK: lambda at: {},
        Condition.FROZEN: lambda at: {0: Kit.sample(kept, at)},
        Condition.GARBAGE: lambda at: {0: Kit.sample(None, at)},
    }[pair.condition]
    for _ in range(60):
        pair.both(feeders=spoilt(pair.site.now + 1.0))
    pair.invite()
    for _ in range(HEALED_S):
        pair.both(**({} if pair.condition is Condition.BACK else {"feeders": spoilt(pair.site.now + 1.0)}))
        assert pair.site.load_w() == pair.twin.load_w()
    assert pair.site.load_w() > ROSE_W
    shows = [report.load_w is not None for report in pair.last.feeders]
    assert shows == {Condition.LOST: [], Condition.GARBAGE: [False]}.get(pair.condition, [True])
    accused = [event for decision in pair.site.decisions for event in decision.events if event.miner is not None]
    assert accused == []


@cell(Row.FEEDER, Condition.CONTRADICTED)
def a_feeder_that_shows_more_than_its_miners_draw(pair: Pair) -> None:
    for yard in pair.yards:
        yard.metered = {0}
    pair.both(30)
    pair.site.feeder_extra_w = 3_000.0
    for _ in range(30):
        pair.both()
        if told_of(pair):
            break
    pair.assert_told()
    pair.both(10)
    pair.invite()
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
    pair.both(20, journal_writable=False)
    assert pair.site.load_w() <= 4_600.0
    for yard in pair.yards:
        yard.spare_w = ROOM_W
    pair.both(10, journal_writable=False)
    assert pair.site.load_w() <= 4_600.0
    pair.assert_it_rises()


@cell(Row.CLOCK, Condition.STEPPED_FORWARD, Condition.STEPPED_BACK)
def a_clock_that_is_stepped(pair: Pair) -> None:
    """For the re-arm time nothing is raised; tests/core/test_clock.py has what becomes of orders."""
    pair.site.wall_step_s = 3_600.0 if pair.condition is Condition.STEPPED_FORWARD else -3_600.0
    pair.until(lambda: pair.last.fail_safe is InputState.HOLD)
    pair.assert_told(pair.condition.value)
    pair.invite()
    pair.both(int(pair.policy.inputs.rearm_s) - 3)
    assert pair.raised == [] or pair.raised[-1] <= pair.began
    assert pair.site.load_w() <= LIMIT_W + 100.0
    assert pair.twin.load_w() > LIMIT_W + 200.0
    pair.assert_it_rises()


# --- the table as a whole -------------------------------------------------------------------------------------------

# Told outside the core: by the runtime's shells, whose own tests and the named ones see them told.
TOLD_ELSEWHERE = {
    "broker_lost",
    "broker_connected",
    "journal_not_writable",
    "journal_writable",
    "journal_corrupt",
    "reload_refused",
    "resumed",
    "safe_mode",
}
# The core has no part in these: a shell answers, or the process itself is the matter.
NOT_THE_CORES = {
    (Row.ORDER, Condition.FLOODED),
    (Row.JOURNAL, Condition.GARBAGE),
    *((row, condition) for row in (Row.OPERATOR, Row.CONFIGURATION, Row.PROCESS) for condition in TABLE[row]),
}


@pytest.mark.parametrize(("row", "condition"), CELLS, ids=[f"{row.value}, {c.value}" for row, c in CELLS])
def test_what_the_table_says_is_what_happens(row: Row, condition: Condition) -> None:
    if (row, condition) in NOT_THE_CORES:
        assert TABLE[row][condition].proved_by, "a cell the core has no part in names the test that proves it"
        return
    SCENARIOS[row, condition](Pair.of(row, condition))


def test_there_is_no_scenario_without_a_cell() -> None:
    assert set(SCENARIOS) | NOT_THE_CORES == set(CELLS)
    assert not set(SCENARIOS) & NOT_THE_CORES


def proofs() -> list[str]:
    return sorted({one.proved_by for cells in TABLE.values() for one in cells.values() if one.proved_by})


@pytest.mark.parametrize("proof", proofs())
def test_every_proof_that_is_named_exists(proof: str) -> None:
    path, name = proof.split("::")
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    named = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
    assert name in named


def test_every_event_of_the_table_is_told_somewhere_at_its_level() -> None:
    source = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "controller").rglob("*.py"))
    for cells in TABLE.values():
        for one in cells.values():
            assert (one.event == "") is (one.level is None)
            if one.event in TOLD_ELSEWHERE:
                told = re.findall(rf'"{one.event}"[^)]*?EventLevel\.(\w+)', source)
                assert one.level.name in told or "broker" in one.event, f"{one.event}: {told}"


def test_doubt_never_raises() -> None:
    for action, does in DOES.items():
        if does.effect is not Effect.NONE:
            assert not does.raises, action
    for row in (Row.POI, Row.SITE, Row.PLANT):
        for condition, one in TABLE[row].items():
            assert one.raises is (condition is Condition.BACK)


def test_the_required_inputs_know_the_same_conditions_and_their_states_have_levels() -> None:
    late, stale, gone = (Condition.LATE, Condition.STALE, Condition.GONE)
    for row in (Row.POI, Row.SITE, Row.PLANT):
        assert [TABLE[row][condition].action for condition in (late, stale, gone)] == [
            Action.HOLD,
            Action.FREEZE_UP,
            Action.FALL_BACK,
        ]
    assert {state: level.value for state, level in failsafe_table.LEVEL_OF.items()} == {
        InputState.GOOD: EventLevel.INFO,
        InputState.HOLD: EventLevel.WARNING,
        InputState.FROZEN_UP: EventLevel.WARNING,
        InputState.FALLBACK: EventLevel.ERROR,
    }
