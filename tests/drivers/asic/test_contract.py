"""The contract suite: every family meets every fault over real sockets, and the core judges what came of it.

`python -m tests.rig.contract` prints the matrix; docs/firmware.md holds it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

from controller.domain.command import CommandReport, Outcome
from controller.domain.fleet import Condition, MinerReading, Verdict
from simulators.asic.models import Family
from tests.rig.contract import matrix
from tests.rig.contract.belief import Belief
from tests.rig.contract.run import Cell, Proof, prove_all
from tests.rig.contract.scenes import ABSENT, TROUBLE, WRITE_S, Case, Order, Scene, all_cases

pytestmark = pytest.mark.timeout(300)  # the first test of a family waits for all of them

Judged = tuple[Proof | Exception, list[str]]


def judged(case: Case, proof: Proof | Exception) -> Judged:
    """The proof, and what is wrong with it."""
    if isinstance(proof, Exception):
        return proof, [repr(proof)]
    differs = proof.cell != matrix.recorded().get(str(case))
    return proof, [*matrix.broken_rules(case, proof), *(["not as recorded"] if differs else [])]


@pytest.fixture(scope="session")
def met(request: pytest.FixtureRequest) -> Callable[[Case], Judged]:
    """How a case went. All chosen cases of its family are met at once, for most of each is waiting; what went wrong in
    the crowd is met again alone, for a busy machine is no finding."""
    wanted = [item.callspec.params.get("case") for item in request.session.items if hasattr(item, "callspec")]

    @cache
    def of_family(family: Family) -> Mapping[Case, Judged]:
        cases = [case for case in wanted if isinstance(case, Case) and case.family is family]
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            found = {case: judged(case, proof) for case, proof in runner.run(prove_all(cases)).items()}
            for case, (_, wrong) in found.items():
                if wrong:
                    found[case] = judged(case, runner.run(prove_all([case]))[case])
        return found

    return lambda case: of_family(case.family)[case]


@pytest.mark.parametrize("case", all_cases(), ids=str)
def test_a_fault_ends_as_the_matrix_says(case: Case, met: Callable[[Case], Judged]) -> None:
    proof, wrong = met(case)
    if isinstance(proof, Exception):
        raise proof
    assert wrong == [], proof


def test_the_page_holds_the_matrix() -> None:
    page = matrix.PAGE.read_text(encoding="utf-8")
    assert matrix.rendered(page, matrix.recorded()) == page, "run: python -m tests.rig.contract --record"


def test_the_record_has_every_case_and_no_other() -> None:
    assert set(matrix.recorded()) == {str(case) for case in all_cases()}
    assert all(reason for reason in ABSENT.values())
    assert set(Scene) == {Scene.HEALTHY, *TROUBLE, *WRITE_S}


# --- the rules themselves ----------------------------------------------------------------------------------------

SHED, WAKE = (Case(Family.ANTMINER, Scene.OBEYED_RESET, order) for order in (Order.SHED, Order.WAKE))
HASHING_W, ASLEEP_W = 3_250.0, 30.0


def proof_of(case: Case, *, cell: Mapping[str, Any] | None = None, **changes: Any) -> Proof:
    """A sound proof of an order that was obeyed though its answer was lost, with changes."""
    asleep = case.order is not Order.WAKE
    condition, watts = (Condition.ASLEEP, ASLEEP_W) if asleep else (Condition.HASHING, HASHING_W)
    sound = Proof(
        Cell(Outcome.UNKNOWN, condition, Verdict.SETTLED, "asleep" if asleep else "drawing", left=1),
        CommandReport(1, 0, Outcome.UNKNOWN, 0.0, 0.1),
        MinerReading(0, condition, watts, None, None, 1.0, 1.1),
        elapsed_s=case.deadline_s,
        belief=Belief(condition, Verdict.SETTLED, watts),
        true_power_w=watts,
        nameplate_w=HASHING_W,
        tasks_left=0,
        writes_received=1,
    )
    return replace(sound, cell=replace(sound.cell, **(cell or {})), **changes)


BROKEN: dict[str, list[tuple[Case, Proof]]] = {
    "in time": [(case, proof_of(case, elapsed_s=2 * case.deadline_s)) for case in (SHED, WAKE)],
    "no task left": [(SHED, proof_of(SHED, tasks_left=1))],
    "no connection left": [(SHED, proof_of(SHED, cell={"left": 2}))],
    "no belief in a sleep that is not true": [
        (SHED, proof_of(SHED, cell={"reads": Condition.HASHING}, true_power_w=HASHING_W)),
        (WAKE, proof_of(WAKE, cell={"counts_as": "asleep"})),
    ],
    "no belief in a sleep that nothing proves": [
        (SHED, proof_of(SHED, cell={"reads": Condition.UNKNOWN})),
        (SHED, proof_of(SHED, cell={"reads": Condition.UNREACHABLE, "outcome": Outcome.REFUSED})),
        (WAKE, proof_of(WAKE, cell={"reads": Condition.UNKNOWN, "counts_as": "asleep"}, true_power_w=ASLEEP_W)),
    ],
    "no reading of a sleep that is not true": [
        (SHED, proof_of(SHED, cell={"counts_as": "drawing"}, true_power_w=HASHING_W)),
        (WAKE, proof_of(WAKE, cell={"reads": Condition.ASLEEP})),
    ],
    "no success that is none": [
        (
            SHED,
            proof_of(
                SHED,
                cell={"outcome": Outcome.APPLIED, "reads": Condition.HASHING, "counts_as": "drawing"},
                true_power_w=HASHING_W,
            ),
        ),
        (
            WAKE,
            proof_of(
                WAKE,
                cell={"outcome": Outcome.APPLIED, "reads": Condition.ASLEEP, "counts_as": "asleep"},
                true_power_w=ASLEEP_W,
            ),
        ),
    ],
    "what is reported as never sent was not received": [
        (case, proof_of(case, cell={"outcome": Outcome.UNREACHABLE})) for case in (SHED, WAKE)
    ],
    "a shed is never withheld": [(SHED, proof_of(SHED, cell={"outcome": Outcome.WITHHELD}, writes_received=0))],
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_proof_that_breaks_one_rule_is_told_by_that_rule_alone(name: str) -> None:
    for case, proof in BROKEN[name]:
        assert [each for each, rule in matrix.RULES.items() if rule(case, proof)] == [name], proof
        assert len(matrix.broken_rules(case, proof)) == 1


def test_every_rule_can_be_broken() -> None:
    assert set(BROKEN) == set(matrix.RULES)


@pytest.mark.parametrize("case", [SHED, WAKE], ids=str)
def test_a_sound_proof_breaks_no_rule(case: Case) -> None:
    assert matrix.broken_rules(case, proof_of(case)) == []
    late = proof_of(case, elapsed_s=1.3 * case.deadline_s)
    assert matrix.broken_rules(case, late) == []  # by what a busy machine may take, not by a deadline more


def test_a_miner_that_was_not_woken_sleeps_as_before_though_it_cannot_be_read() -> None:
    as_before = {"outcome": Outcome.UNREACHABLE, "reads": Condition.UNREACHABLE, "counts_as": "asleep"}
    assert matrix.broken_rules(WAKE, proof_of(WAKE, cell=as_before, true_power_w=ASLEEP_W, writes_received=0)) == []
