"""docs/configuration.md says what the models say: every key, every column, every rule, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from controller.config.reference import with_tables
from controller.config.reflect import keys_of, sections

PAGE = Path(__file__).parents[2] / "docs" / "configuration.md"


def test_the_reference_lists_exactly_the_keys_of_the_models() -> None:
    listed, section = set(), ""
    keys_part = PAGE.read_text(encoding="utf-8").split("<!-- end of keys -->")[0]
    for line in keys_part.splitlines():
        if heading := re.fullmatch(r"### \[+(\w+)\]+", line):
            section = heading[1]
        elif (row := re.match(r"\| `(\w+)` \|", line)) and section:
            listed.add(f"{section}.{row[1]}")
    assert listed == {f"{name}.{key.name}" for name, model, _ in sections() for key in keys_of(name, model)}


def test_the_generated_tables_of_the_page_are_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page, "run: python -m controller.config.reference docs/configuration.md"


def test_every_key_has_a_meaning_and_a_reason() -> None:
    bare = [
        f"{key.section}.{key.name}"
        for n, model, _ in sections()
        for key in keys_of(n, model)
        if not (key.says and key.why)
    ]
    assert bare == []


def test_a_key_is_required_or_has_a_default_or_says_how_it_is_derived() -> None:
    for name, model, _ in sections():
        for key in keys_of(name, model):
            assert sum((key.required, key.default is not None, key.derived is not None)) == 1, f"{name}.{key.name}"


def test_a_page_without_its_markers_is_refused() -> None:
    with pytest.raises(ValueError, match="markers of 'keys'"):
        with_tables("# A page\n")
