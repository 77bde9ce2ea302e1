"""A small chart of characters: columns for the load, a line over them for the surplus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

_EIGHTHS = " ▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Column:
    """One moment: load and cap, W."""

    load_w: float
    cap_w: float


def chart_lines(columns: Sequence[Column], width: int, rows: int, top_w: float) -> list[Text]:
    """Draw the columns, newest at the right, on `rows` lines of `width` cells behind a scale in kW.

    Load within the cap is green, what stands above the cap is red; the cap itself is a line where no load hides it.
    """
    shown = list(columns)[-width:]
    lines = []
    for row in reversed(range(rows)):
        scale = f"{top_w * (row + 1) / rows / 1000:5.0f} ┤" if row % 2 == (rows - 1) % 2 else " " * 6 + "│"
        line = Text().append(scale, style="dim")
        line.append(" " * (width - len(shown)))
        for column in shown:
            cell, style = _cell(column, row, rows, top_w)
            line.append(cell, style=style)
        lines.append(line)
    return lines


def _cell(column: Column, row: int, rows: int, top_w: float) -> tuple[str, str]:
    """One cell: what of this column falls into this row."""
    load = min(1.0, column.load_w / top_w) * rows - row
    cap = min(1.0, column.cap_w / top_w) * rows - row
    over = column.load_w > column.cap_w
    filled = _EIGHTHS[max(0, min(8, round(load * 8)))]
    holds_cap = 0 < cap <= 1
    if over and load > 0 and cap <= 1:
        return filled, "red"
    if not holds_cap:
        return filled, "green"
    # The line lies where the cap is within its cell: at the bottom, in the middle or at the top of it.
    line = "▁" if cap < 1 / 3 else "━" if cap < 2 / 3 else "▔"
    if load <= 0:
        return line, "yellow"
    # Both in one cell: what the load leaves free under the line is the line, as long as that is thin enough for one.
    return filled, "green on yellow" if 0.75 <= load < 1 else "green"
