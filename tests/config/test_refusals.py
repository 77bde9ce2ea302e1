"""Each way to get a site wrong is refused in words that say what to mend."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from controller.config.checks import Severity
from controller.config.wiring import RULES
from tests.config.contradictory import CONTRADICTIONS
from tests.config.spoiled import FORM, INVENTORY, SITE

if TYPE_CHECKING:
    from tests.config.conftest import Disk


ROWS = {**FORM, **CONTRADICTIONS, **INVENTORY}


@pytest.mark.parametrize("name", ROWS)
def test_a_spoiled_site_is_refused_in_words_that_say_what_to_mend(disk: Disk, name: str) -> None:
    row = ROWS[name]
    disk.edit(disk.site if row.file == SITE else disk.fleet, row.old, row.new)
    text = str(disk.refused(row.env))
    position = 0
    for part in row.says:
        found = text.find(part, position)
        assert found >= 0, f"{part!r} is not in, or not in this order in: {text}"
        position = found


def test_every_rule_that_refuses_has_a_row_that_breaks_it(disk: Disk) -> None:
    good = (disk.site.read_text(), disk.fleet.read_text())
    seen = ""
    for row in ROWS.values():
        disk.write(*good)
        disk.edit(disk.site if row.file == SITE else disk.fleet, row.old, row.new)
        seen += str(disk.refused(row.env)) + "\n"
    unbroken = [
        rule.states for rule in RULES if rule.severity is Severity.REFUSE and f"(rule: {rule.states}" not in seen
    ]
    assert unbroken == []


def test_all_problems_of_a_file_come_at_once_up_to_twenty(disk: Disk) -> None:
    rows = "".join(f"x-{n},Big,LuxOS,10.0.2.{n},0,zz,,,\n" for n in range(1, 16))
    disk.fleet.write_text(disk.fleet.read_text() + rows)
    error = disk.refused()
    assert len(error.problems) == 30
    lines = str(error).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 10 more; mend these first"


def test_a_missing_site_file_and_a_missing_inventory_are_said_so(disk: Disk) -> None:
    disk.fleet.unlink()
    assert "fleet.csv: inventory: this file does not exist" in str(disk.refused())
    disk.site.unlink()
    assert "site.toml: site file: this file does not exist" in str(disk.refused())
