"""Back from a stop or a crash: what the journal still tells, and what a damaged one costs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from controller.core import checkpoint, wear
from controller.core.state import ActiveOrder, OrderBook, State
from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.fleet import Fleet, Verdict
from controller.domain.journalling import Row, RowKind
from controller.domain.plan import EventLevel, OperatorOrder, OperatorVerb, Snapshot
from controller.runtime.journal_file import JournalFile
from controller.runtime.resume import ON_EXIT, Resumed, resume
from controller.wire.canonical import canonical
from controller.wire.journal import CycleRecorder
from controller.wire.rows import prior_row, start_row, stop_row
from tests.core.builders import WALL
from tests.core.conftest import Kit
from tests.runtime.fakes import command

NOW = 1000.0


class Past:
    """A journal of an earlier run, written row by row; `resume` reads it `away_s` after its last checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = JournalFile(path)

    def start(self, facts: Fleet) -> None:
        self._file.append([start_row(WALL, {}, facts.miner_ids)])

    def checkpoint(self, facts: Fleet, state: State, at: float = 500.0) -> None:
        self.raw(RowKind.CHECKPOINT, canonical(checkpoint.to_record(facts, state, at)))

    def commands(self, *sent: tuple[int, int, Verb], wall: float = WALL) -> None:
        entries = []
        for number, miner, verb in sent:
            one = command(number, miner, verb)
            entries.append([one.command_id, one.miner, one.verb.value, one.level, one.raises, one.urgent, one.reason])
        self._file.append([Row(wall, RowKind.COMMAND, canonical({"commands": entries}))])

    def prior(self, miner_id: str, prior: str) -> None:
        self._file.append([prior_row(WALL, miner_id, prior)])

    def raw(self, kind: RowKind, body: str) -> None:
        self._file.append([Row(WALL, kind, body)])

    def rows(self, *rows: Row) -> None:
        self._file.append(rows)

    def prune(self) -> None:
        self._file.prune_slice(0.0, 0)

    def resumed(self, facts: Fleet, away_s: float = 0.0) -> Resumed:
        return resume(self.path, facts, NOW, WALL + away_s)


@pytest.fixture
def past(tmp_path: Path) -> Past:
    return Past(tmp_path / "journal.sqlite")


def ours(found: Resumed) -> list[int]:
    return [int(row) for row in np.flatnonzero(found.state.fleet.ours_asleep)]


def test_an_empty_journal_gives_a_fresh_state(past: Past) -> None:
    found = past.resumed(Kit.fleet())
    assert found.event.name == "fresh_start"
    assert (found.state.cycle, found.state.next_command_id, ours(found)) == (0, 1, [])
    assert found.state.started_at == NOW


def test_commands_behind_the_checkpoint_count_and_their_numbers_are_not_used_again(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True, True, True, False])
    state.cycle, state.next_command_id = 77, 5
    past.start(facts)
    past.commands((3, 0, Verb.SLEEP), (4, 0, Verb.WAKE))  # before the checkpoint, which knows how it ended
    past.checkpoint(facts, state)
    past.commands((5, 2, Verb.SLEEP), (6, 1, Verb.TRIM), wall=WALL - 30)  # the clock was set back
    found = past.resumed(facts, away_s=4)
    assert found.event.name == "resumed"
    assert "4 s ago, cycle 77" in found.event.text
    assert ours(found) == [2, 3]
    assert (found.state.cycle, found.state.next_command_id) == (77, 7)


def test_commands_of_two_runs_behind_one_checkpoint_go_by_the_names_of_their_own_run(past: Past) -> None:
    before, after = Kit.fleet(4), Kit.fleet(2)
    past.start(before)
    past.checkpoint(before, Kit.seen_state(before, [True] * 4))
    past.commands((1, 3, Verb.SLEEP))  # m3, no longer in the inventory
    past.start(after)
    past.commands((2, 1, Verb.SLEEP))
    found = past.resumed(after)
    assert ours(found) == [1]
    assert found.state.next_command_id == 3


def test_what_commands_cost_is_remembered_for_a_day(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    wear.count(state, [(0, 3), (1, 1)], WALL - 30)
    past.start(facts)
    past.checkpoint(facts, state)
    worn = CommandReport(7, 1, Outcome.ACKNOWLEDGED, 1.0, 2.0, wear=2)
    free = CommandReport(8, 2, Outcome.ACKNOWLEDGED, 1.0, 2.0)
    rows = CycleRecorder().rows_of_cycle(Snapshot(WALL, {}, reports=(worn, free)), Kit.site(facts=facts).cycle())
    past.rows(*(row for row in rows if row.kind is RowKind.OUTCOME), stop_row(WALL, "signal"))  # a stop waited for them
    found = past.resumed(facts).state
    assert [wear.spent(found, miner, WALL + 60) for miner in range(4)] == [3, 3, 0, 0]
    assert [wear.spent(found, miner, WALL + wear.DAY_S - 10) for miner in range(4)] == [0, 2, 0, 0]


def test_miners_that_left_the_inventory_are_forgotten_and_the_others_keep_what_is_theirs(past: Past) -> None:
    before = Kit.fleet(4)
    state = Kit.seen_state(before, [True, False, True, False])
    state.priors = {0: "eco", 1: "default", 3: "turbo"}
    past.start(before)
    past.checkpoint(before, state)
    past.prior("m9", "gone")
    found = past.resumed(Kit.fleet(2))
    assert ours(found) == [1]
    assert found.state.priors == {0: "eco", 1: "default"}


def test_dwell_and_quarantine_went_on_while_we_were_away(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    state.fleet.changed_at[1] = 480.0
    state.fleet.verdict[2] = Verdict.QUARANTINED
    state.fleet.quarantined_until[2] = 560.0
    past.start(facts)
    past.checkpoint(facts, state, at=500.0)
    found = past.resumed(facts, away_s=45)
    assert NOW - found.state.fleet.changed_at[1] == pytest.approx(20 + 45)
    assert found.state.fleet.quarantined_until[2] - NOW == pytest.approx(60 - 45)
    assert found.state.fleet.verdict[2] == Verdict.QUARANTINED


def test_of_two_prior_modes_the_later_counts_for_only_an_adoption_writes_a_second(past: Past) -> None:
    facts = Kit.fleet()
    past.start(facts)
    past.prior("m1", "default")
    past.prior("m1", "490MHz")
    assert past.resumed(facts).state.priors == {1: "490MHz"}


def test_orders_in_force_and_the_numbers_of_their_issuers_survive(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    order = ActiveOrder(Kit.order(seq=9), 10_000, reached=True, ends_at=500.0 + 600.0)
    state.orders = OrderBook((order,), {"desk": 9}, ("desk-9",))
    past.start(facts)
    past.checkpoint(facts, state, at=500.0)
    kept = replace(order, ends_at=NOW + 600.0 - 45.0)
    assert past.resumed(facts, away_s=45).state.orders == replace(state.orders, active=(kept,))


def test_the_cap_of_a_stop_ends_with_the_process_and_a_persons_cap_does_not(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    person = OperatorOrder(OperatorVerb.CAP, "uid 1000", 9_000, WALL + 3600)
    state.operator_ends = {"uid 1000": 500.0 + 3600.0}
    state.operator_caps = (person, OperatorOrder(OperatorVerb.CAP, ON_EXIT, 5_000, None))
    past.start(facts)
    past.checkpoint(facts, state)
    found = past.resumed(facts).state
    assert (found.operator_caps, found.operator_ends) == ((person,), {"uid 1000": NOW + 3600.0})


BROKEN = (
    "{",
    "[]",
    "null",
    '{"version":99}',
    '{"version":1}',
    '{"version":1,"cycle":1,"next_command_id":1,"miners":7}',
)


@pytest.mark.parametrize("body", BROKEN)
def test_a_broken_checkpoint_starts_afresh_says_so_and_keeps_priors_and_command_numbers(past: Past, body: str) -> None:
    facts = Kit.fleet()
    past.start(facts)
    past.commands((41, 0, Verb.SLEEP), (42, 1, Verb.SLEEP))
    past.prior("m0", "default")
    past.raw(RowKind.CHECKPOINT, body)
    found = past.resumed(facts)
    assert (found.event.name, found.event.level) == ("resume_failed", EventLevel.ERROR)
    assert ours(found) == []
    assert found.state.priors == {0: "default"}
    assert found.state.next_command_id == 43


def test_a_broken_checkpoint_is_no_fresh_budget_for_miners_that_wear(past: Past) -> None:
    facts = Kit.fleet()
    past.start(facts)
    worn = CommandReport(7, 1, Outcome.ACKNOWLEDGED, 1.0, 2.0, wear=2)
    rows = CycleRecorder().rows_of_cycle(Snapshot(WALL, {}, reports=(worn,)), Kit.site(facts=facts).cycle())
    past.rows(*(row for row in rows if row.kind is RowKind.OUTCOME))
    past.raw(RowKind.CHECKPOINT, "{")
    found = past.resumed(facts).state
    assert [wear.spent(found, miner, WALL + 60) for miner in range(4)] == [0, 2, 0, 0]


def test_a_journal_pruned_in_the_middle_of_a_long_run_still_names_its_miners(past: Past) -> None:
    facts = Kit.fleet()
    past.start(facts)
    for number in range(1, 20):
        past.commands((number, 0, Verb.TRIM))
    past.checkpoint(facts, Kit.seen_state(facts, [True] * 4))
    past.commands((20, 3, Verb.SLEEP))
    past.raw(RowKind.EVENT, "{}")
    past.prune()
    past.commands((21, 2, Verb.SLEEP))
    found = past.resumed(facts)
    assert found.event.name == "resumed"
    assert 2 in ours(found)
    assert found.state.next_command_id == 22


def test_no_journal_at_all_is_said_and_survived(tmp_path: Path) -> None:
    found = resume(tmp_path / "missing.sqlite", Kit.fleet(), NOW, WALL)
    assert found.event.name == "resume_failed"
    assert found.state.next_command_id == 1


AWAY = pytest.mark.parametrize(
    ("by_wall_s", "by_loop_s", "away_s"),
    [
        pytest.param(5.0, 5.0, 5.0, id="both clocks agree"),
        pytest.param(3605.0, 5.0, 5.0, id="the wall clock was set forward by an hour"),
        pytest.param(-3595.0, 5.0, 5.0, id="the wall clock was set back by an hour"),
        pytest.param(300.0, -7000.0, 300.0, id="the machine was started anew"),
        pytest.param(300.0, 120.0, 120.0, id="it was, and runs for longer already than it had"),
        pytest.param(-50.0, -7000.0, 0.0, id="it was, and its wall clock is behind"),
    ],
)


@AWAY
def test_neither_clock_alone_ends_an_order_or_a_cap_while_we_are_away(
    past: Past, by_wall_s: float, by_loop_s: float, away_s: float
) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    taken_at = NOW - by_loop_s
    order = ActiveOrder(Kit.order(seq=9), 10_000, reached=True, ends_at=taken_at + 600.0)
    state.orders = OrderBook((order,), {"desk": 9}, ("desk-9",))
    state.operator_caps = (OperatorOrder(OperatorVerb.CAP, "maria", 9_000, WALL + 700.0),)
    state.operator_ends = {"maria": taken_at + 700.0}
    wear.count(state, [(0, 2)], WALL - 100.0)
    past.start(facts)
    past.checkpoint(facts, state, at=taken_at)
    worn = CommandReport(7, 1, Outcome.ACKNOWLEDGED, 1.0, 2.0, wear=1)
    rows = CycleRecorder().rows_of_cycle(Snapshot(WALL, {}, reports=(worn,)), Kit.site(facts=facts).cycle())
    past.rows(*(row for row in rows if row.kind is RowKind.OUTCOME))
    found = past.resumed(facts, away_s=by_wall_s)
    assert found.event.name == "resumed"
    assert f"checkpoint of {away_s:.0f} s ago" in found.event.text
    assert ("set anew" in found.event.text) is (by_wall_s != away_s)
    assert [entry.ends_at - NOW for entry in found.state.orders.active] == [600.0 - away_s]
    assert found.state.operator_ends == {"maria": NOW + 700.0 - away_s}
    for miner, age_s in ((0, 100.0 + away_s), (1, away_s)):
        full = WALL + by_wall_s + wear.DAY_S - age_s
        assert wear.spent(found.state, miner, full - 2.0) == (2, 1)[miner]
        assert wear.spent(found.state, miner, full + 2.0) == 0


def test_a_checkpoint_from_before_orders_had_a_life_of_their_own_goes_by_what_they_say(past: Past) -> None:
    facts = Kit.fleet()
    state = Kit.seen_state(facts, [True] * 4)
    state.orders = OrderBook((ActiveOrder(Kit.order(seq=9, lasts_s=900.0), 10_000, False, 1.0),), {"desk": 9})
    state.operator_caps = (OperatorOrder(OperatorVerb.CAP, "maria", 9_000, WALL + 700.0),)
    state.operator_ends = {"maria": 1.0}
    record = checkpoint.to_record(facts, state, 500.0)
    del record["taken_at"], record["operator_ends_in_s"], record["orders"][0]["ends_in_s"]
    past.start(facts)
    past.raw(RowKind.CHECKPOINT, canonical(record))
    found = past.resumed(facts, away_s=100.0).state
    assert [entry.ends_at - NOW for entry in found.orders.active] == [800.0]
    assert found.operator_ends == {"maria": NOW + 600.0}


def test_writes_of_a_clock_that_was_years_ahead_count_for_a_day_and_not_for_years(past: Past) -> None:
    facts = Kit.fleet()
    past.start(facts)
    worn = CommandReport(7, 1, Outcome.ACKNOWLEDGED, 1.0, 2.0, wear=2)
    ahead = Snapshot(WALL + 1e8, {}, reports=(worn,))
    rows = CycleRecorder().rows_of_cycle(ahead, Kit.site(facts=facts).cycle())
    past.rows(*(row for row in rows if row.kind is RowKind.OUTCOME))
    for broken in (False, True):
        if broken:
            past.raw(RowKind.CHECKPOINT, "{")
        found = past.resumed(facts).state
        assert wear.spent(found, 1, WALL + 60.0) == 2
        assert wear.spent(found, 1, WALL + wear.DAY_S + 2.0) == 0
