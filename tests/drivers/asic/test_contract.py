"""The contract suite: every family meets every fault over real sockets, and the core judges what came of it.

`python -m tests.rig.contract` prints the matrix; docs/firmware.md holds it.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.rig.contract import matrix
from tests.rig.contract.run import prove
from tests.rig.contract.scenes import ABSENT, Case, Scene, all_cases


@pytest.mark.parametrize("case", all_cases(), ids=str)
async def test_a_fault_ends_as_the_matrix_says(case: Case) -> None:
    proof = await prove(case)
    assert matrix.broken_rules(case, proof) == [], proof
    known = matrix.recorded()[str(case)]
    assert proof.cell == known, f"{proof.report.detail!r}, {proof.reading.detail!r}"


def test_the_page_holds_the_matrix() -> None:
    page = matrix.PAGE.read_text(encoding="utf-8")
    assert matrix.rendered(page, matrix.recorded()) == page, "run: python -m tests.rig.contract --record"


def test_the_record_has_every_case_and_no_other() -> None:
    assert set(matrix.recorded()) == {str(case) for case in all_cases()}
    assert all(reason for reason in ABSENT.values())
    assert len(Scene) >= 20


async def test_a_belief_in_sleep_that_is_not_true_breaks_a_rule() -> None:
    case = next(case for case in all_cases() if case.scene is Scene.HEALTHY)
    proof = await prove(case)
    assert matrix.broken_rules(case, proof) == []
    lying = replace(proof, true_power_w=proof.nameplate_w)
    assert len(matrix.broken_rules(case, lying)) >= 2  # read as asleep, and believed
