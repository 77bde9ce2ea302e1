"""What was decided in one run, in few lines: one when something changed, never two of a slow move within 10 s."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from controller.domain.command import Command, Verb
from tests.rig.record import CycleRow, Record

APART_S = 10.0
MOVED_SHARE = 0.05  # of rated
HEADING = "# second  set-point kW  bound  inputs  commands since the line before  what was said"


@dataclass(slots=True)
class _Counts:
    """Commands by kind since the last line."""

    by_kind: dict[str, int] = field(default_factory=dict)

    def add(self, commands: tuple[Command, ...]) -> None:
        for one in commands:
            kind = one.verb.value if one.verb is not Verb.TRIM else ("trim+" if one.raises else "trim-")
            self.by_kind[kind] = self.by_kind.get(kind, 0) + 1

    def take(self) -> str:
        said = " ".join(f"{kind}:{count}" for kind, count in sorted(self.by_kind.items())) or "-"
        self.by_kind = {}
        return said


def lines(record: Record, rated_w: float) -> Iterator[str]:
    """The decisions of a run, heading first."""
    yield HEADING
    said = _said(record)
    counts, last = _Counts(), None
    for row in record.cycles:
        counts.add(row.commands)
        now = said.get(row.at_s, "")
        if last is None or now or _jumped(last, row) or _moved(last, row, rated_w) or row is record.cycles[-1]:
            state = f"{row.bound}{'!' if row.shed else ''}  {row.fail_safe}"
            yield f"{row.at_s:8.1f}  {row.setpoint_w / 1e3:8.1f}  {state}  {counts.take()}  {now}".rstrip()
            last = row


def _jumped(last: CycleRow, row: CycleRow) -> bool:
    return (last.shed, last.fail_safe) != (row.shed, row.fail_safe)


def _moved(last: CycleRow, row: CycleRow, rated_w: float) -> bool:
    if row.at_s - last.at_s < APART_S:
        return False
    return last.bound != row.bound or abs(last.setpoint_w - row.setpoint_w) > MOVED_SHARE * rated_w


def _said(record: Record) -> dict[float, str]:
    """Events and answers by the cycle that said them, each once with how often."""
    found: dict[float, dict[str, int]] = {}
    for at_s, name, _, _ in record.events:
        by_name = found.setdefault(at_s, {})
        by_name[name] = by_name.get(name, 0) + 1
    for at_s, answer in record.answers:
        by_name = found.setdefault(at_s, {})
        by_name[f"{answer.dispatch_id}={answer.status.value}"] = 1
    return {
        at_s: ", ".join(name if count == 1 else f"{name} x{count}" for name, count in by_name.items())
        for at_s, by_name in found.items()
    }
