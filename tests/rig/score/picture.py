"""A day as an SVG: the reference and the true load of every contestant; how far ours was off; its score."""

from __future__ import annotations

import numpy as np

from controller.domain.fleet import FloatArray
from tests.rig.score.judge import Day, hours_of

WIDTH, TALL, LOW, LEFT, GAP = 1200, 150, 70, 64, 30
POINTS = 1200
COLOURS = {"reference": "#999", "load": "#1660a8", "error": "#b03030", "score": "#2a7a3a"}
NAMES = {
    "ours": "ours",
    "hysteresis": "(a) on/off with hysteresis",
    "reconciler_30s": "(b) 30 s reconciler",
    "open_loop": "(c) ours without the meter",
    "lagged": "(d) ideal site, 30 s + 10 s late",
    "oracle": "(e) perfect foresight",
}


def picture(day: Day, loads_w: dict[str, FloatArray], titles: dict[str, str]) -> str:
    """One strip a contestant over the scored hours; `titles` is what is written above each."""
    reference_mw = day.reference_w[day.scored] / 1e6
    strips: list[str] = []
    top = 44.0
    low, high = float(reference_mw.min()), float(reference_mw.max())
    pad = 0.1 * max(high - low, 0.1)
    for name, load_w in loads_w.items():
        load_mw = load_w[day.scored] / 1e6
        frame = Frame(top, TALL, min(low, float(load_mw.min())) - pad, max(high, float(load_mw.max())) + pad)
        title = f"{NAMES.get(name, name)}: {titles.get(name, '')}"
        strips.append(frame.box(title, "MW"))
        strips.append(frame.line(reference_mw, COLOURS["reference"], 2.0))
        strips.append(frame.line(load_mw, COLOURS["load"], 0.9))
        top += TALL + GAP
    ours_w = loads_w["ours"]
    error_kw = (ours_w - day.reference_w)[day.scored] / 1e3
    reach = float(np.percentile(np.abs(error_kw), 99.5)) or 1.0
    frame = Frame(top, LOW, -reach, reach)
    strips.append(frame.box("ours less the reference", "kW"))
    strips.append(frame.line(np.clip(error_kw, -reach, reach), COLOURS["error"], 0.8))
    top += LOW + GAP
    steps = hours_of(day, ours_w, day.reference_w).steps
    steps = np.mean(steps[~np.isnan(steps).any(axis=1)], axis=1)  # the last ten minutes have no whole window
    frame = Frame(top, LOW, 0.5, 1.0)
    strips.append(frame.box("ours: accuracy, delay and precision at each step, their mean", ""))
    strips.append(frame.line(np.clip(steps, 0.5, 1.0), COLOURS["score"], 0.8))
    top += LOW + GAP
    hours = round(len(reference_mw) / 3600)
    for hour in range(hours + 1):
        x = LEFT + hour / max(hours, 1) * WIDTH
        strips.append(f'<text x="{x:.0f}" y="{top - 8:.0f}" text-anchor="middle">{hour} h</text>')
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH + LEFT + 20} {top + 6:.0f}" '
        'font-family="sans-serif" font-size="11"><rect width="100%" height="100%" fill="white"/>'
        f'<text x="{LEFT}" y="14" font-size="13">{day.orders.name}: the order within the ramps grids allow (grey) '
        "and the true load (blue)</text>"
    )
    return "\n".join([head, *strips, "</svg>"]) + "\n"


class Frame:
    """A strip of a picture: where it is and what its lowest and highest values are."""

    def __init__(self, top: float, height: float, low: float, high: float) -> None:
        self._top, self._height, self._low, self._high = top, height, low, high

    def box(self, title: str, unit: str) -> str:
        x, top, bottom = LEFT - 6, self._top, self._top + self._height
        return (
            f'<path d="M{LEFT},{top:.0f} v{self._height:.0f} h{WIDTH}" fill="none" stroke="#888"/>'
            f'<text x="{LEFT}" y="{top - 5:.0f}" font-weight="bold">{title}</text>'
            f'<text x="{x}" y="{top + 9:.0f}" text-anchor="end">{self._high:.3g} {unit}</text>'
            f'<text x="{x}" y="{bottom:.0f}" text-anchor="end">{self._low:.3g}</text>'
        )

    def line(self, values: FloatArray, colour: str, width: float) -> str:
        every = max(len(values) // POINTS, 1)
        shown = values[::every]
        xs = LEFT + np.arange(len(shown)) / max(len(shown) - 1, 1) * WIDTH
        ys = self._top + self._height * (1.0 - (shown - self._low) / (self._high - self._low))
        points = " ".join(f"{x:.0f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
        return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>'
