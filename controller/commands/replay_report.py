"""What a replay found, and how people and scripts are shown it."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from controller.domain.journalling import Row, RowKind
from controller.wire.canonical import canonical, utc_text
from controller.wire.replay import PUT_OUT, RecordedCycle

SHOWN_MAX = 12  # lines of the first difference
LINE_MAX = 160
# As controller.wire.journal writes them.
FIGURES = (
    "surplus_w",
    "cap_w",
    "target_w",
    "expected_w",
    "measured_w",
    "residual_w",
    "available_up_w",
    "available_down_w",
    "floor_w",
    "expected_error_w",
)


@dataclass(frozen=True, slots=True)
class Difference:
    """The first cycle that came out otherwise: `lines` say what was recorded and what came out."""

    cycle: int
    wall: float
    lines: tuple[str, ...]


@dataclass(slots=True)
class Compared:
    """What a replay found."""

    runs: int = 0
    cycles: int = 0
    rows: int = 0
    states: int = 0
    left_out: int = 0  # cycles before the first state of a run
    missing: int = 0  # cycles the journal lost
    differing: int = 0
    kinds: Counter[str] = field(default_factory=Counter)
    first: Difference | None = None
    versions: set[str] = field(default_factory=set)

    def differ(self, cycle: RecordedCycle, before: tuple[Row, ...], after: tuple[Row, ...]) -> None:
        """Enter one cycle that came out otherwise."""
        self.differing += 1
        for kind in PUT_OUT:
            if [row.body for row in before if row.kind is kind] != [row.body for row in after if row.kind is kind]:
                self.kinds[kind.value] += 1
        if self.first is None:
            self.first = Difference(cycle.cycle, cycle.snapshot.wall, tuple(difference_lines(before, after)))


def difference_lines(before: tuple[Row, ...], after: tuple[Row, ...]) -> Iterator[str]:
    """What differs, value by value: `- ` as recorded, `+ ` as it came out."""
    lines: list[str] = []
    for kind in RowKind:
        was = [json.loads(row.body) for row in before if row.kind is kind]
        came = [json.loads(row.body) for row in after if row.kind is kind]
        if kind is not RowKind.DECISION and was != came:
            lines += [f"- {kind.value} {canonical(body)}" for body in was if body not in came]
            lines += [f"+ {kind.value} {canonical(body)}" for body in came if body not in was]
        elif was != came:
            lines += _value_lines(kind.value, was[0], came[0])
    yield from (line if len(line) <= LINE_MAX else f"{line[: LINE_MAX - 3]}..." for line in lines[:SHOWN_MAX])
    if len(lines) > SHOWN_MAX:
        yield f"  and {len(lines) - SHOWN_MAX} lines more"


def _value_lines(path: str, was: Any, came: Any) -> list[str]:
    if was == came and type(was) is type(came):
        return []
    if isinstance(was, dict) and isinstance(came, dict):
        names = sorted(set(was) | set(came))
        return [line for name in names for line in _value_lines(f"{path}.{name}", was.get(name), came.get(name))]
    if path.endswith(".figures") and isinstance(was, list) and isinstance(came, list) and len(was) == len(came):
        pairs = zip(FIGURES, was, came, strict=True)
        return [line for name, one, other in pairs for line in _value_lines(f"{path[:-7]}{name}", one, other)]
    return [f"- {path} = {canonical(was)}", f"+ {path} = {canonical(came)}"]


def page(found: Compared, asked: Compared | None) -> list[str]:
    """What people read."""
    versions = ", ".join(sorted(found.versions))
    compared = f"{found.cycles} cycles, {found.rows} rows and {found.states} states compared"
    lines = [f"{found.runs} runs by curtaild {versions}: {compared}"]
    if found.left_out:
        lines.append(f"{found.left_out} cycles left out: no state of their run stands before them (pruned)")
    if found.missing:
        lines.append(f"{found.missing} cycles are missing: the journal lost rows there, and differences may follow")
    lines += _result_lines(found, "by the recorded settings")
    if asked is not None:
        lines.append("")
        lines += _result_lines(asked, "with the settings under --config, in each of these situations")
    return lines


def _result_lines(found: Compared, how: str) -> list[str]:
    if not found.differing and not found.kinds:
        return [f"no difference {how}"]
    kinds = ", ".join(f"{count} {kind}" for kind, count in found.kinds.most_common())
    lines = [f"{found.differing} of {found.cycles} cycles differ {how} ({kinds})"]
    if found.first is not None:
        lines.append(f"first: cycle {found.first.cycle}, {utc_text(found.first.wall)}")
        lines += [f"  {line}" for line in found.first.lines]
    return lines


def view(found: Compared, asked: Compared | None) -> dict[str, object]:
    return {
        "versions": sorted(found.versions),
        "runs": found.runs,
        "left_out": found.left_out,
        "missing": found.missing,
        "recorded": _result(found),
        "config": None if asked is None else _result(asked),
    }


def _result(found: Compared) -> dict[str, object]:
    first = found.first
    return {
        "cycles": found.cycles,
        "rows": found.rows,
        "states": found.states,
        "differing": found.differing,
        "kinds": dict(found.kinds),
        "first": None
        if first is None
        else {"cycle": first.cycle, "at": utc_text(first.wall), "lines": list(first.lines)},
    }
