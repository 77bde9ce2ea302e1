"""Writes the tables of the pages that must say what the code does: from the state tables themselves.

    python docs/render_tables.py            # rewrite the marked blocks of docs/*.md
    python docs/render_tables.py --check    # say which page is out of date; exit 1 if one is

A block stands between `<!-- NAME: generated -->` and `<!-- NAME: end -->`; a test fails when one is stale.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from controller.core import failsafe, lifecycle, timeline
from controller.core.failsafe_table import DOES, TABLE, Row, words_of
from controller.domain.dispatch import AnswerStatus, DispatchKind
from controller.domain.fleet import Verdict
from controller.domain.plan import InputState

DOCS = Path(__file__).parent

AGE_MEANS = {
    failsafe.Age.FRESH: "good again, but not yet for the re-arm time",
    failsafe.Age.REARMED: "good for the re-arm time",
    failsafe.Age.LATE: "late",
    failsafe.Age.STALE: "stale",
    failsafe.Age.GONE: "gone",
}
SIGNAL_MEANS = {
    lifecycle.Signal.NOTHING: "nothing heard",
    lifecycle.Signal.COMMANDED: "a command is sent",
    lifecycle.Signal.AGREES: "telemetry agrees",
    lifecycle.Signal.DISAGREES: "telemetry disagrees",
    lifecycle.Signal.OVERDUE: "overdue or refused",
    lifecycle.Signal.EXHAUSTED: "no attempt left",
    lifecycle.Signal.RELEASED: "quarantine over",
}


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def fail_safe_states() -> str:
    """What the site does in each state of an input."""
    return table(("state of an input", "what the site does"), ((f"`{s.value}`", words_of(s)) for s in InputState))


def fail_safe_transitions() -> str:
    """Every cell: the state of an input now (rows), what its samples say (columns), the state after; a dot for none."""
    head = ("state", *(AGE_MEANS[age] for age in failsafe.Age))
    rows = (
        (f"`{state.value}`", *(_moved(state, failsafe.moved(Row.POI, state, age)) for age in failsafe.Age))
        for state in InputState
    )
    return table(head, rows)


def fail_safe_actions() -> str:
    """Every action of the fail-safe table: what it does to the cap, and whether anything is raised meanwhile."""
    return table(
        ("action", "the cap", "raising", "in words"),
        ((f"**{a.value}**", does.effect.value, "yes" if does.raises else "no", does.words) for a, does in DOES.items()),
    )


def fail_safe_table() -> str:
    """Every cell: input, what is wrong with it, what the site does and after how long, what is told."""
    rows = []
    for row, cells in TABLE.items():
        for condition, cell in cells.items():
            told = f"`{cell.event}` ({cell.level.value})" if cell.level is not None else ""
            action = cell.action.value + (f": {cell.how}" if cell.how else "")
            rows.append((row.value, condition.value, action, cell.after.value, told))
    return table(("input", "condition", "action", "after", "event"), rows)


def verdicts() -> str:
    """Every cell: the verdict on a miner now (rows), what a cycle learned (columns), the verdict after."""
    head = ("verdict", *(SIGNAL_MEANS[signal] for signal in lifecycle.Signal))
    rows = (
        (f"`{_name(verdict)}`", *("·" if row[s] is verdict else f"`{_name(row[s])}`" for s in lifecycle.Signal))
        for verdict, row in lifecycle.TRANSITIONS.items()
    )
    return table(head, rows)


def terminal_answers() -> str:
    """Which answers end an order, by kind."""
    kinds = [*((kind.value, timeline.TERMINAL[kind]) for kind in DispatchKind)]
    kinds.append(("any of class `test`", timeline.TERMINAL_OF_TEST))
    rows = ((name, *("ends it" if status in ends else "" for status in AnswerStatus)) for name, ends in kinds)
    return table(("order", *(status.value for status in AnswerStatus)), rows)


def _moved(before: InputState, after: InputState) -> str:
    return "·" if after is before else f"`{after.value}`"


def _name(verdict: Verdict) -> str:
    return verdict.name.lower()


BLOCKS: dict[str, Callable[[], str]] = {
    "fail-safe states": fail_safe_states,
    "fail-safe transitions": fail_safe_transitions,
    "fail-safe actions": fail_safe_actions,
    "fail-safe table": fail_safe_table,
    "verdicts": verdicts,
    "terminal answers": terminal_answers,
}
PAGES: dict[str, tuple[str, ...]] = {
    "safety.md": ("fail-safe states", "fail-safe transitions", "fail-safe actions", "fail-safe table", "verdicts"),
    "dispatching.md": ("terminal answers",),
}


def rendered(page: str, text: str) -> str:
    """The page with its blocks as the code says now; raises ValueError when a block's markers are missing."""
    for name in PAGES[page]:
        begin, end = f"<!-- {name}: generated -->", f"<!-- {name}: end -->"
        block = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
        if len(block.findall(text)) != 1:
            raise ValueError(f"{page}: one block {begin} ... {end} expected")
        replacement = f"{begin}\n{BLOCKS[name]()}\n{end}"
        text = block.sub(replacement.replace("\\", r"\\"), text)
    return text


def main() -> int:
    stale = []
    for page in PAGES:
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        new = rendered(page, text)
        if new != text:
            stale.append(page)
            if "--check" not in sys.argv[1:]:
                path.write_text(new, encoding="utf-8")
    for page in stale:
        print(f"{page}: {'out of date' if '--check' in sys.argv[1:] else 'rewritten'}")
    return 1 if stale and "--check" in sys.argv[1:] else 0


if __name__ == "__main__":
    raise SystemExit(main())
