"""Every cell of the fail-safe table, driven through the real step in virtual time beside a twin without the fault.

A cell without a scenario here fails, and so does a scenario without a cell. What the core has no part in is proved by
the test its cell names. Each scenario checks the same things: the moment of the reaction, the event and its level, that
nothing is raised where the cell forbids it although there is room (and that it is where the cell allows it), that the
site never draws more than its twin, and the way back.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from controller.core import failsafe_table
from controller.core.failsafe_table import DOES, TABLE, Action, Condition, Effect, Row
from controller.domain.plan import EventLevel, InputState
from tests.core.failsafe_cells import miners, orders, plant
from tests.core.failsafe_cells.pair import SCENARIOS, Pair

ROOT = Path(__file__).parents[2]
SCENES = (plant, orders, miners)  # as each is imported it enters its scenarios
CELLS = [(row, condition) for row, cells in TABLE.items() for condition in cells]
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
