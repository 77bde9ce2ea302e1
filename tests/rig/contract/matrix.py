"""The matrix on record (`matrix.json`), its tables for docs/firmware.md, and the rules that hold in every cell."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from controller.domain.fleet import Condition, Outcome, Verdict
from simulators.asic.models import Family
from tests.rig.contract.run import DEADLINE_S, KEPT_OPEN, Cell, Proof
from tests.rig.contract.scenes import ABSENT, Case, Scene

RECORD = Path(__file__).with_name("matrix.json")
PAGE = Path(__file__).parents[3] / "docs" / "firmware.md"
BEGIN, END = "<!-- contract: generated -->", "<!-- contract: end -->"
SLACK_S = 0.5  # a busy machine runs our code late; the deadline itself is the driver's
_HEAD = (
    "fault",
    "shed: outcome",
    "within",
    "plain sleep: outcome",
    "within",
    "the next read",
    "the core, in the end",
    "open",
)


def recorded() -> dict[str, Cell]:
    """Every cell by the name of its case."""
    rows = json.loads(RECORD.read_text(encoding="utf-8"))
    return {
        name: Cell(
            Outcome(row["outcome"]),
            row["deadlines"],
            Condition[row["reads"]],
            Verdict[row["verdict"]],
            row["counts_as"],
            row["left"],
        )
        for name, row in rows.items()
    }


def record(cells: Mapping[str, Cell]) -> None:
    """Put cells on record; those of other cases stay."""
    rows = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {}
    for name, cell in cells.items():
        rows[name] = asdict(cell) | {"reads": cell.reads.name, "verdict": cell.verdict.name}
    RECORD.write_text(json.dumps(dict(sorted(rows.items())), indent=1) + "\n", encoding="utf-8")


def broken_rules(case: Case, proof: Proof) -> list[str]:
    """What must never be, whatever the record says; empty when all is well."""
    cell, found = proof.cell, []
    if proof.elapsed_s > cell.deadlines * DEADLINE_S + SLACK_S or cell.deadlines > 3:
        found.append(f"took {proof.elapsed_s:.2f} s, {cell.deadlines} deadlines of {DEADLINE_S:g} s")
    if proof.tasks_left:
        found.append(f"{proof.tasks_left} tasks left running")
    if cell.left > KEPT_OPEN.get(case.family, 0):
        found.append(f"{cell.left} connections left open")
    draws = proof.true_power_w > proof.nameplate_w / 2
    if draws and cell.counts_as == "asleep":
        found.append(f"believed asleep while it draws {proof.true_power_w:.0f} W")
    if cell.reads not in (Condition.HASHING, Condition.ASLEEP) and cell.counts_as == "asleep":
        found.append("believed asleep, and nothing proves it")
    if draws and cell.reads is Condition.ASLEEP:
        found.append(f"read as asleep while it draws {proof.true_power_w:.0f} W")
    if draws and cell.outcome is Outcome.APPLIED:
        found.append("reported as applied while it hashes on")
    if cell.outcome is Outcome.UNREACHABLE and proof.writes_received:
        found.append(f"reported as never sent, and the miner got {proof.writes_received} writes")
    if cell.outcome is Outcome.WITHHELD and case.urgent:
        found.append("a shed was withheld")
    return found


def tables(cells: Mapping[str, Cell]) -> str:
    """One Markdown table per family."""
    parts = []
    for family in Family:
        lines = [f"#### {family.value}", "", _row(_HEAD), _row(["---"] * len(_HEAD))]
        lines += [_row(_line(family, scene, cells)) for scene in Scene]
        parts.append("\n".join(lines))
    return "\n\n".join(parts)


def rendered(page: str, cells: Mapping[str, Cell]) -> str:
    """The page with its block made anew. Raises ValueError when it has no block."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"{PAGE.name} has no block between {BEGIN} and {END}")
    return f"{before}{BEGIN}\n\n{tables(cells)}\n\n{END}{after}"


def _line(family: Family, scene: Scene, cells: Mapping[str, Cell]) -> list[str]:
    if (family, scene) in ABSENT:
        return [scene.value, ABSENT[family, scene], *["-"] * 6]
    shed = cells[str(Case(family, scene, urgent=True))]
    plain = cells[str(Case(family, scene, urgent=False))]
    return [
        scene.value,
        shed.outcome.value,
        _within(shed),
        plain.outcome.value,
        _within(plain),
        shed.reads.name.lower(),
        _core(shed) if _core(shed) == _core(plain) else f"{_core(shed)}; plain: {_core(plain)}",
        str(max(shed.left, plain.left)) if max(shed.left, plain.left) else "-",
    ]


def _within(cell: Cell) -> str:
    return "1 deadline" if cell.deadlines == 1 else f"{cell.deadlines} deadlines"


def _core(cell: Cell) -> str:
    if cell.verdict is Verdict.APPROACHING:
        return f"waits for proof, counted as {cell.counts_as}"
    return f"{cell.verdict.name.lower()}, counted as {cell.counts_as}"


def _row(cells: list[str] | tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"
