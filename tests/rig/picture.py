"""A run as one SVG picture: load, cap and set-point over time, sheds and doubt as bands, events as marks."""

from __future__ import annotations

from html import escape

import numpy as np

from controller.domain.fleet import FloatArray
from tests.rig.record import Record

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 1000, 360, 55, 30, 30
POINTS = 800
COLOURS = {"cap": "#c98500", "set-point": "#888888", "load": "#1b7f4b"}


def svg(title: str, record: Record, rated_w: float) -> str:
    """The picture's text."""
    t_s, load_w, cap_w, _ = record.arrays()
    at_s = np.array([row.at_s for row in record.cycles])
    setpoint_w = np.array([row.setpoint_w for row in record.cycles])
    scale = _Scale(float(t_s[-1]), 1.15 * max(rated_w, float(load_w.max())) / 1e3)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
    parts = [
        head + f'font-size="11"><rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
        f'<text x="{LEFT}" y="16" font-size="13">{escape(title)}</text>',
    ]
    for row, after in zip(record.cycles, record.cycles[1:], strict=False):
        colour = "#f6c5c5" if row.shed else "#e6e6f5" if row.fail_safe != "good" else ""
        if colour:
            x, beyond = scale.x(row.at_s), scale.x(after.at_s)
            parts.append(
                f'<rect x="{x:.1f}" y="{TOP}" width="{beyond - x + 0.2:.1f}" height="{HEIGHT - TOP - BOTTOM}" '
                f'fill="{colour}"/>'
            )
    parts += scale.axes()
    for name, x_s, watts in (("cap", t_s, cap_w), ("set-point", at_s, setpoint_w), ("load", t_s, load_w)):
        parts.append(_line(scale, x_s, watts / 1e3, COLOURS[name]))
    for place, (name, colour) in enumerate(COLOURS.items()):
        parts.append(f'<text x="{WIDTH - 190 + 65 * place}" y="16" fill="{colour}">{name}</text>')
    for when, name in sorted({(round(event[0]), event[1]) for event in record.events}):
        x = scale.x(when)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{TOP + 8}" stroke="#a00">'
            f"<title>{when} s: {escape(name)}</title></line>"
        )
    return "\n".join([*parts, "</svg>", ""])


class _Scale:
    def __init__(self, last_s: float, top_kw: float) -> None:
        self.last_s, self.top_kw = last_s, top_kw

    def x(self, at_s: float) -> float:
        return LEFT + (WIDTH - LEFT - 10) * at_s / self.last_s

    def y(self, power_kw: float) -> float:
        return HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * power_kw / self.top_kw

    def axes(self) -> list[str]:
        """Grid lines with their numbers."""
        parts = []
        for place in range(6):
            at_s, power_kw = self.last_s * place / 5, self.top_kw * place / 5
            y = self.y(power_kw)
            parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 10}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
            parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{power_kw:.0f} kW</text>')
            parts.append(f'<text x="{self.x(at_s):.1f}" y="{HEIGHT - 12}" text-anchor="middle">{at_s:.0f} s</text>')
        return parts


def _line(scale: _Scale, t_s: FloatArray, power_kw: FloatArray, colour: str) -> str:
    every = max(len(t_s) // POINTS, 1)
    shown = zip(t_s[::every].tolist(), power_kw[::every].tolist(), strict=True)
    points = " ".join(f"{scale.x(at):.1f},{scale.y(min(power, scale.top_kw)):.1f}" for at, power in shown)
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.4"/>'
