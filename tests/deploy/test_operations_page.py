"""docs/operations.md has an answer to everything that can call a person: no alarm, no event is without its place."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from tests.deploy.watching import OPERATIONS, ROOT, alerts

LOUD = {"warning", "error", "exception", "critical", "failure"}  # failure: controller.runtime.logs says it as a warning


def heading_anchors(page: Path = OPERATIONS) -> set[str]:
    """As GitHub makes them: lower case, no punctuation, hyphens for blanks."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def sections() -> dict[str, str]:
    """The text below each heading of an alert."""
    parts = re.split(r"^#+ (.+)$", OPERATIONS.read_text(), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def events_of_the_page() -> list[str]:
    return re.findall(r"^\| `([a-z_]+)`(?: \*)? \|", sections()["Events"], re.M)


def loud_names(source: str) -> Iterator[str]:
    """Names of events, and of log lines, that may be more than information, in one module."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not node.args:
            continue
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        method = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        # An event, or a row of a table of events: its name, and behind it its level.
        for name, level in pairwise(node.args):
            said = ast.unparse(level)
            loud = "EventLevel.WARNING" in said or "EventLevel.ERROR" in said
            if loud or (called == "Event" and name is node.args[0] and said != "EventLevel.INFO"):
                yield from _words(name)
        if method in LOUD and "log" in ast.unparse(node.func).lower():
            yield from _words(node.args[0])


def _words(name: ast.expr) -> Iterator[str]:
    """Every constant a name may be: `"a" if up else "b"` is two."""
    for part in ast.walk(name):
        if isinstance(part, ast.Constant) and re.fullmatch(r"[a-z_]+", str(part.value)):
            yield str(part.value)


def in_the_code() -> set[str]:
    found: set[str] = set()
    for module in (ROOT / "controller").rglob("*.py"):
        found.update(loud_names(module.read_text()))
    return found


def test_events_are_found_in_code_however_they_are_written() -> None:
    source = (
        'tell(Event("a", EventLevel.ERROR, text))\nEvent("b", EventLevel.INFO, text)\n'
        'Event("c" if up else "d", level, text)\nself._log.failure("e", key)\nlog.info("f")\nparser.error("g")\n'
        'ROW = Cell(After.AT_ONCE, "h", EventLevel.WARNING, "words of it")\n'
    )
    assert set(loud_names(source)) == {"a", "c", "d", "e", "h"}


def test_every_loud_event_of_the_code_has_its_row_and_no_row_is_about_nothing() -> None:
    rows = events_of_the_page()
    assert len(rows) == len(set(rows)) > 15
    assert in_the_code() - set(rows) == set()
    assert set(rows) - in_the_code() == set()


def test_every_alert_has_a_section_its_link_leads_to() -> None:
    for name, rule in alerts().items():
        link = rule["annotations"]["runbook_url"]
        assert link == f"{{{{ $externalLabels.curtaild_docs }}}}/operations.md#{name.lower()}"
        assert name.lower() in heading_anchors(), f"docs/operations.md has no heading {name}"
    written = {title for title in sections() if title.startswith("Curtaild")}
    assert written == set(alerts()), "headings of alerts that are gone"


@pytest.mark.parametrize("name", sorted(alerts()))
def test_a_section_says_what_it_means_what_happens_by_itself_and_what_to_do(name: str) -> None:
    text = sections()[name]
    for question in ("**Means.**", "**By itself.**", "**Do.**"):
        assert question in text, f"{name}: {question}"


def test_the_page_is_reached_from_where_people_start() -> None:
    assert "operations.md" in (ROOT / "README.md").read_text()
    assert "operations.md" in (ROOT / "docs" / "install.md").read_text()


def test_commands_and_files_the_page_names_exist() -> None:
    text = OPERATIONS.read_text()
    paths = re.findall(r"`(deploy/[\w./-]+)`", text)
    assert len(paths) >= 5
    assert [path for path in paths if not (ROOT / path).exists()] == []
    commands = {path.stem for path in (ROOT / "controller" / "commands").glob("*.py")}
    spoken = set(re.findall(r"`curtaild ([a-z]+)", text))
    known = commands | {"explain", "cap", "release", "adopt", "restore", "unquarantine", "run"}
    assert spoken <= known, spoken - known


def test_the_links_of_the_page_lead_somewhere() -> None:
    links = re.findall(r"\]\(([^)#]*)(?:#([\w-]+))?\)", OPERATIONS.read_text())
    assert len(links) > 20
    for file, anchor in links:
        page = OPERATIONS.parent / file if file else OPERATIONS
        assert page.exists(), file
        assert not anchor or anchor in heading_anchors(page), f"{file}#{anchor}"
