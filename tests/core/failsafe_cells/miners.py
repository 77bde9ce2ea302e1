"""Scenarios of the fail-safe table: miners, many of them, and their feeders."""

from __future__ import annotations

import pytest

from controller.core.failsafe_table import Condition, Row
from controller.domain.fleet import Condition as MinerCondition
from controller.domain.plan import OperatorOrder, OperatorVerb
from tests.core.builders import WALL
from tests.core.conftest import Kit
from tests.core.failsafe_cells.pair import HEALED_S, ROOM_W, ROSE_W, Pair, Yard, cell


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
    lost = pair.condition is Condition.LOST
    pair.invite(**(away(pair.site, miner) if lost else {}))
    for _ in range(HEALED_S):
        pair.both(**(away(pair.site, miner) if lost else {}))
        if lost:
            assert pair.last.expected_power_w[miner] == pytest.approx(drew_w, rel=1e-5)
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
