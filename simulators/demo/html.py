"""report.html: chart and figures in one file that opens without a network."""

from __future__ import annotations

import html
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulators.demo.figures import Figures
from simulators.demo.recording import FloatArray, Recording
from simulators.demo.report import family_rows, figure_rows

STEP_S: Final = 0.5
POINTS_MAX: Final = 4_000
MARKERS_MAX: Final = 400


def write_html(path: Path, recording: Recording, figures: Figures, report: Mapping[str, Any]) -> None:
    """Write the page."""
    path.write_text(page_text(recording, figures, report), encoding="utf-8")


def page_text(recording: Recording, figures: Figures, report: Mapping[str, Any]) -> str:
    """The page: template, style sheet and chart library of the package around this run's numbers."""
    static = resources.files("simulators").joinpath("static")

    def part(name: str) -> str:
        return static.joinpath(name).read_text(encoding="utf-8")

    kept = [each["kept"] for each in report["promises"]]
    parts = {
        "UPLOT_CSS": part("uplot/uPlot.min.css"),
        "UPLOT_JS": part("uplot/uPlot.iife.min.js"),
        "DATA": _script_json(chart_data(recording, figures)),
        "REPORT": html.escape(json.dumps(report, indent=2)),
        "TITLE": html.escape(_title(report)),
        "VERDICT": "broken" if False in kept else "kept",
        "FIGURES": "\n".join(_row(what, how_much) for what, how_much in figure_rows(report)),
        "PROMISES": "\n".join(_promise(each) for each in report["promises"]),
        "FAMILIES": _table(family_rows(report)),
        "POLICY": "\n".join(_row(key, value) for key, value in report["policy"].items()),
    }
    text = part("report.html")
    for name, content in parts.items():
        text = text.replace(f"@@{name}@@", content)
    return text


def chart_data(recording: Recording, figures: Figures) -> dict[str, object]:
    """Series for the chart on one time axis: seconds, and kW with None where nothing was known."""
    truth = recording.truth
    step_s = max(STEP_S, recording.duration_s / POINTS_MAX)
    grid_s = np.arange(0.0, recording.duration_s, step_s)
    said = recording.said
    ordered_w = np.where(figures.limits.absorbable_w < truth.cap_w, figures.limits.absorbable_w, np.nan)
    series = {
        "t": [round(float(t), 2) for t in grid_s],
        "surplus": _held(grid_s, truth.t_s, truth.cap_w),
        "ordered": _held(grid_s, truth.t_s, ordered_w),
        "target": _held(grid_s, said.t_s, said.target_w),
        "measured": _held(grid_s, said.t_s, said.measured_w),
        "load": _held(grid_s, truth.t_s, truth.load_w),
    }
    markers = [
        {
            "t": round(order.sent_at_s + 0.0, 2),
            "level": "order",
            "text": f"dispatch {order.kind} {order.power_w / 1000:.0f} kW",
        }
        for order in recording.orders
    ]
    markers += [
        {"t": round(at_s, 2), "level": "order", "text": f"{order.kind} {status.lower()}"}
        for order in recording.orders
        for status, at_s in order.answers.items()
        if status in ("REACHED", "REJECTED", "EXPIRED")
    ]
    markers += [
        {"t": round(marker.at_s, 2), "level": marker.level, "text": marker.text}
        for marker in recording.markers[-MARKERS_MAX:]
    ]
    families = {
        name: _held(grid_s, recording.families.t_s, power_w) for name, power_w in recording.families.power_w.items()
    }
    return {**series, "families": families, "markers": sorted(markers, key=lambda marker: float(str(marker["t"])))}


def _held(grid_s: FloatArray, t_s: FloatArray, power_w: FloatArray) -> list[float | None]:
    """The value that held at each point of the grid, kW; None before the first and where it is unknown."""
    index = np.searchsorted(t_s, grid_s, side="right") - 1
    return [
        None if i < 0 or not np.isfinite(power_w[i]) else round(float(power_w[i]) / 1000.0, 2) for i in index.tolist()
    ]


def _title(report: Mapping[str, Any]) -> str:
    return f"{report['miners']} miners, {report['duration_s']:.0f} s of {report['trace']['day']}"


def _row(what: str, how_much: str) -> str:
    return f"<tr><th>{html.escape(what)}</th><td>{html.escape(how_much)}</td></tr>"


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Rows of a table, the first one its headings."""
    headings, *others = ([html.escape(cell) for cell in row] for row in rows)
    lines = ["<tr>" + "".join(f"<th>{cell}</th>" for cell in headings) + "</tr>"]
    lines += [f"<tr><th>{row[0]}</th>" + "".join(f"<td>{cell}</td>" for cell in row[1:]) + "</tr>" for row in others]
    return "\n".join(lines)


def _promise(promise: Mapping[str, Any]) -> str:
    mark = {True: "kept", False: "broken", None: "not judged"}[promise["kept"]]
    cells = "".join(f"<td>{html.escape(str(promise[key]))}</td>" for key in ("wanted", "got"))
    return f'<tr class="{mark.split()[0]}"><th>{html.escape(promise["name"])}</th>{cells}<td>{mark}</td></tr>'


def _script_json(data: object) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")
