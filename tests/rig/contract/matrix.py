"""The matrix on record (`matrix.json`), its tables for docs/firmware.md, and the rules that hold in every cell."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path

from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from simulators.asic.models import Family
from tests.rig.contract.run import Cell, Proof
from tests.rig.contract.scenes import ABSENT, Case, Order, Scene, Scope

RECORD = Path(__file__).with_name("matrix.json")
PAGE = Path(__file__).parents[3] / "docs" / "firmware.md"
BEGIN, END = "<!-- contract: generated -->", "<!-- contract: end -->"
DEADLINES = 1
"""Any order of any scene ends within so many."""
SLACK_RATIO = 0.5  # a busy machine runs our code late; whoever waits for one deadline too many is later than this
_CHANGED_IT = (Outcome.ACKNOWLEDGED, Outcome.APPLIED, Outcome.ROUNDED, Outcome.UNKNOWN, Outcome.REFUSED)
"""What may have changed the miner: also one that says no."""


def recorded() -> dict[str, Cell]:
    """Every cell by the name of its case."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))
    return {
        name: Cell(
            Outcome(row["outcome"]), Condition[row["reads"]], Verdict[row["verdict"]], row["counts_as"], row["left"]
        )
        for name, row in rows.items()
    }


def record(cells: Mapping[str, Cell], names: frozenset[str]) -> None:
    """Put cells on record; those of other cases stay, as long as they are among `names`."""
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name, cell in cells.items():
        rows[name] = asdict(cell) | {"reads": cell.reads.name, "verdict": cell.verdict.name}
    kept = {name: row for name, row in sorted(rows.items()) if name in names}
    RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


# --- rules -------------------------------------------------------------------------------------------------------


def broken_rules(case: Case, proof: Proof) -> list[str]:
    """What must never be, whatever the record says; empty when all is well."""
    return [words for rule in RULES.values() if (words := rule(case, proof))]


def _draws(proof: Proof) -> bool:
    return proof.true_power_w > proof.nameplate_w / 2


def _in_time(case: Case, proof: Proof) -> str:
    late = proof.elapsed_s > (DEADLINES + SLACK_RATIO) * case.deadline_s
    return f"took {proof.elapsed_s:.2f} s, allowed {DEADLINES} x {case.deadline_s:g} s" if late else ""


def _no_task(_: Case, proof: Proof) -> str:
    return f"{proof.tasks_left} tasks left running" if proof.tasks_left else ""


def _no_connection(case: Case, proof: Proof) -> str:
    return f"{proof.cell.left} connections left open" if proof.cell.left > case.connections_kept else ""


def _no_false_sleep(_: Case, proof: Proof) -> str:
    false = _draws(proof) and proof.cell.counts_as == "asleep"
    return f"believed asleep while it draws {proof.true_power_w:.0f} W" if false else ""


def _no_unproven_sleep(case: Case, proof: Proof) -> str:
    """A wake that did not happen leaves a miner that was proved asleep before; any other silence proves no sleep."""
    unproven = proof.cell.reads not in (Condition.HASHING, Condition.ASLEEP)
    as_before = case.order.verb is Verb.WAKE and proof.cell.outcome not in _CHANGED_IT
    counted = proof.cell.counts_as == "asleep"
    return "believed asleep, and nothing proves it" if counted and unproven and not as_before else ""


def _no_false_reading(_: Case, proof: Proof) -> str:
    false = _draws(proof) and proof.cell.reads is Condition.ASLEEP
    return f"read as asleep while it draws {proof.true_power_w:.0f} W" if false else ""


def _no_false_success(case: Case, proof: Proof) -> str:
    false = proof.cell.outcome is Outcome.APPLIED and _draws(proof) is (case.order.verb is Verb.SLEEP)
    return f"reported as applied, and it draws {proof.true_power_w:.0f} W" if false else ""


def _nothing_sent(_: Case, proof: Proof) -> str:
    false = proof.cell.outcome is Outcome.UNREACHABLE and proof.writes_received
    return f"reported as never sent, and the miner got {proof.writes_received} writes" if false else ""


def _shed_goes(case: Case, proof: Proof) -> str:
    return "a shed was withheld" if proof.cell.outcome is Outcome.WITHHELD and case.order is Order.SHED else ""


RULES: Mapping[str, Callable[[Case, Proof], str]] = {
    "in time": _in_time,
    "no task left": _no_task,
    "no connection left": _no_connection,
    "no belief in a sleep that is not true": _no_false_sleep,
    "no belief in a sleep that nothing proves": _no_unproven_sleep,
    "no reading of a sleep that is not true": _no_false_reading,
    "no success that is none": _no_false_success,
    "what is reported as never sent was not received": _nothing_sent,
    "a shed is never withheld": _shed_goes,
}
"""Every rule by what it demands: given a case and its proof, what is wrong, or nothing."""


# --- tables ------------------------------------------------------------------------------------------------------

_SLEEP_HEAD = ("fault", "shed", "plain sleep", "the next read", "the core, in the end", "open")
_WAKE_HEAD = ("fault", "wake", "the next read", "the core, in the end", "open")


def tables(cells: Mapping[str, Cell]) -> str:
    """Four Markdown tables per family: a sleep and a wake, under faults of everything and of the write alone."""
    parts = []
    for family in Family:
        parts.append(f"#### {family.value}")
        for head, title, orders in (
            (_SLEEP_HEAD, "told to sleep", (Order.SHED, Order.SLEEP)),
            (_WAKE_HEAD, "told to wake", (Order.WAKE,)),
        ):
            for scope in Scope:
                scenes = [each for each in Scene if each.scope is scope and (family, each) not in ABSENT]
                rows = [_row(_line([Case(family, scene, order) for order in orders], cells)) for scene in scenes]
                table = "\n".join([_row(head), _row(["---"] * len(head)), *rows])
                parts.append(f"**{family.value}, {title}; the fault bites {scope.value}**\n\n{table}")
        parts.append(_absent(family))
    return "\n\n".join(parts)


def rendered(page: str, cells: Mapping[str, Cell]) -> str:
    """The page with its block made anew. Raises ValueError when it has no block."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no block between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables(cells)}\n\n{END}{after}"


def _absent(family: Family) -> str:
    lines_of: dict[str, list[str]] = {}
    for (other, scene), reason in ABSENT.items():
        if other is family:
            lines_of.setdefault(reason, []).append(f"*{scene.line}*")  # they have commas of their own
    reasons = "; ".join(f"{', '.join(lines)} ({reason})" for reason, lines in lines_of.items())
    return f"Cannot happen here: {reasons}."


def _line(cases: list[Case], cells: Mapping[str, Cell]) -> list[str]:
    """One scene, met by one order or by two that share most of their columns."""
    found = [cells[str(case)] for case in cases]
    left = max(cell.left for cell in found)
    return [
        cases[0].scene.line,
        *(cell.outcome.value for cell in found),
        _either([cell.reads.name.lower() for cell in found]),
        _either([_core(cell) for cell in found]),
        str(left) if left else "-",
    ]


def _either(words: list[str]) -> str:
    return words[0] if len(set(words)) == 1 else f"{words[0]}; plain: {words[1]}"


def _core(cell: Cell) -> str:
    if cell.verdict is Verdict.APPROACHING:
        return f"waits for proof, counted as {cell.counts_as}"
    return f"{cell.verdict.name.lower()}, counted as {cell.counts_as}"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
