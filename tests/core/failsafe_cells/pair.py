"""A site with a fault beside its twin without it, in virtual time, and the scenarios by cell of the fail-safe table."""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable
from dataclasses import replace

from controller.core import failsafe_table
from controller.core.failsafe_table import TABLE, Cell, Condition, Row
from controller.domain.dispatch import DispatchKind, Received
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import InputState, OperatorOrder, OperatorVerb
from tests.core.builders import WALL
from tests.core.conftest import Kit
from tests.core.site import Site

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
            Point.VOLTAGE_V: 11_000.0,
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


def falls_to_the_fallback(pair: Pair) -> None:
    """By its own ramp, and to its end."""
    before_w = pair.last.setpoint.power_w
    pair.both()
    step_w = pair.policy.ramp.fallback_w_per_min / 60.0
    assert before_w - pair.last.setpoint.power_w <= step_w + 1.0
    pair.both(20)
    assert pair.site.load_w() <= pair.policy.fallback_w + 1.0
