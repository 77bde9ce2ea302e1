"""The end of a run: report.json, and a few lines on the terminal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from simulators.demo.promises import Promise

_MARKS = {True: Text("kept", style="green"), False: Text("BROKEN", style="bold red"), None: Text("-", style="dim")}


def write_json(path: Path, report: Mapping[str, Any]) -> None:
    """Write the report, readable."""
    path.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


def figure_rows(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The figures people ask for first, as (what, how much)."""
    latency, daemon = report["signal_to_command_ms"], report["daemon"]
    total, net = report["cap_violation_s"], report["longest_cap_violation_s"]
    dispatches = report["dispatches"]
    return [
        ("surplus", f"{report['surplus_kwh']:.2f} kWh in {report['duration_s']:.0f} s"),
        ("absorbed", f"{report['absorbed_kwh']:.2f} kWh, {_pct(report['absorbed_pct'])}"),
        ("absorbable", f"{_number(report['absorbable_kwh'], 2)} kWh, {_pct(report['absorbable_pct'])}"),
        ("above the cap, net", f"{total['net']:g} s in all, {net['net']:g} s at a stretch"),
        ("above the cap, raw", f"{total['raw']:g} s in all, {net['raw']:g} s at a stretch"),
        ("moves of the load", f"{report['moves']['up']} up, {report['moves']['down']} down"),
        (
            "signal to command",
            (
                f"p50 {_number(latency['p50'], 0)} ms, p95 {_number(latency['p95'], 0)} ms, "
                f"max {_number(latency['max'], 0)} ms ({latency['answered']} answered, {latency['unanswered']} not)"
            ),
        ),
        ("commands", _counts(report["commands"])),
        ("verdicts", _counts(report["verdicts"])),
        ("quarantined", ", ".join(report["quarantined"]) or "none"),
        (
            "dispatches",
            (
                f"{dispatches['sent']} sent, {dispatches['accepted']} accepted, {dispatches['rejected']} rejected, "
                f"{dispatches['reached']} reached"
            ),
        ),
        ("daemon", f"{_number(daemon['cpu_pct'], 0)} % of a core, {_number(daemon['rss_mb'], 0)} MB"),
        (
            "control cycle",
            (
                f"p50 {_number(daemon['cycle_ms']['p50'], 1)} ms, p99 {_number(daemon['cycle_ms']['p99'], 1)} ms, "
                f"max {_number(daemon['cycle_ms']['max'], 1)} ms"
            ),
        ),
    ]


def family_rows(report: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """A headline, then a row for each family: miners, true power, and what the daemon told them and found."""
    rows: list[tuple[str, ...]] = [
        ("family", "miners", "rated", "drew on average", "commands", "verdicts", "quarantined")
    ]
    for family, entry in report["families"].items():
        rows.append(
            (
                family,
                f"{entry['miners']}",
                f"{entry['rated_kw']:.0f} kW",
                f"{_number(entry['mean_kw'], 1)} kW, {entry['energy_kwh']:.2f} kWh",
                _counts(entry["commands"]),
                _counts(entry["verdicts"]),
                ", ".join(entry["quarantined"]) or "none",
            )
        )
    return rows


def print_outcome(console: Console, report: Mapping[str, Any], promises: Sequence[Promise]) -> None:
    """Print figures and promises."""
    figures = Table.grid(padding=(0, 2))
    for what, how_much in figure_rows(report):
        figures.add_row(Text(what, style="dim"), Text(how_much))
    console.print(figures)
    console.print()
    families = Table.grid(padding=(0, 2))  # a sentence for each: seven columns would not fit 80 characters
    for family, miners, rated, drew, commands, verdicts, caught in family_rows(report)[1:]:
        text = f"{miners} miners, {rated}; drew {drew}; commands {commands}; found {verdicts}; quarantined {caught}"
        families.add_row(Text(family, style="dim"), Text(text))
    console.print(families)
    console.print()
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("promise", "wanted", "got", ""):
        table.add_column(heading)
    for promise in promises:
        table.add_row(Text(promise.name), Text(promise.wanted, style="dim"), Text(promise.got), _MARKS[promise.kept])
    console.print(table)
    console.print()


def _pct(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1f} %"


def _number(value: float | None, digits: int) -> str:
    return "unknown" if value is None else f"{value:.{digits}f}"


def _counts(counts: Mapping[str, int]) -> str:
    named = ", ".join(f"{count} {name}" for name, count in counts.items() if name != "total")
    return f"{counts.get('total', 0)}" + (f": {named}" if named else "")
