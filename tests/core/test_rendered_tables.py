"""The pages say what the code does: their tables are rendered from the state tables, and held to them here."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

from controller.core import failsafe, failsafe_table, lifecycle
from controller.domain.plan import InputState
from controller.runtime.journal import JournalLimits

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "docs" / "render_tables.py"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("render_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("page", ["safety.md", "dispatching.md"])
def test_the_page_holds_the_tables_as_the_code_has_them(tables, page):
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    assert tables.rendered(page, text) == text, "run: python docs/render_tables.py"


def test_a_hanging_commit_counts_as_long_as_the_table_says():
    limits = JournalLimits(keep_s=1.0, keep_bytes=1)
    assert failsafe_table.After.COMMIT.value == f"{limits.stalled_after_s:g} s"


def test_a_changed_table_is_noticed(tables):
    text = (ROOT / "docs" / "safety.md").read_text(encoding="utf-8")
    assert "`frozen_up`" in text
    assert tables.rendered("safety.md", text.replace("`frozen_up`", "`good`")) == text


def test_a_page_without_its_block_is_refused(tables):
    with pytest.raises(ValueError, match="fail-safe states"):
        tables.rendered("safety.md", "no blocks here")


def test_every_cell_is_rendered(tables):
    rows = tables.fail_safe_transitions().splitlines()[2:]
    assert len(rows) == len(InputState)
    assert all(row.count("|") == len(failsafe.Age) + 2 for row in rows)
    rows = tables.verdicts().splitlines()[2:]
    assert len(rows) == len(lifecycle.TRANSITIONS)
    assert all(row.count("|") == len(lifecycle.Signal) + 2 for row in rows)


def test_every_kind_of_order_has_a_row_and_every_row_an_end(tables):
    rows = tables.terminal_answers().splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["cap", "target", "release", "any of class `test`"]
    assert all("ends it" in row for row in rows)


def test_the_check_says_nothing_when_all_is_well():
    done = subprocess.run([sys.executable, str(SCRIPT), "--check"], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (0, "")
