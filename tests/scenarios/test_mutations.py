"""A core that is broken on purpose is named by the checker that is there for it: a checker that cannot fail is none.

All of them: `python -m tests.rig.mutations`. Here those that a site would pay for most, each on its shortest stretch.
A seed that stops showing one, because the core decides otherwise there now: `--only NAME` finds another.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.rig.checkers import CHECKERS, HARSH
from tests.rig.mutations import MUTATIONS, ROOT, Mutation, breaches, broken_copy

OFTEN = (
    "in-flight ledger dropped",
    "emergency flag ignored",
    "loop time taken for wall time",
    "clock step not waited out",
    "blind and raising",
    "limits not looked at",
)


@pytest.mark.parametrize("mutation", [one for one in MUTATIONS if one.name in OFTEN], ids=lambda one: one.name)
def test_a_broken_core_is_named_by_the_right_checker_and_the_sound_one_by_none(
    mutation: Mutation, tmp_path: Path
) -> None:
    assert breaches(ROOT, [mutation.seed], mutation.minutes) == {mutation.seed: frozenset()}
    assert mutation.by in breaches(broken_copy(mutation, tmp_path), [mutation.seed], mutation.minutes)[mutation.seed]


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda one: one.name)
def test_every_mutation_breaks_a_line_that_is_there_and_names_a_checker(mutation: Mutation) -> None:
    text = (ROOT / "controller" / "core" / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.line) == 1
    assert mutation.line != mutation.broken
    assert mutation.by in {**CHECKERS, **HARSH}


def test_those_that_run_often_are_there() -> None:
    assert set(OFTEN) <= {one.name for one in MUTATIONS}


def test_a_line_that_is_gone_is_an_error_and_no_pass(tmp_path: Path) -> None:
    gone = Mutation("gone", "ramp.py", "no such line", "", by="ramp_up_kept", seed=1)
    with pytest.raises(LookupError, match="stands 0 times"):
        broken_copy(gone, tmp_path)
