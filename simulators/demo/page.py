"""The live page of a run: fills the terminal it is given, and is made for 80 x 24."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich.console import Console, Group, RenderableType
from rich.live import Live as Screen
from rich.text import Text

from simulators.asic.models import Family
from simulators.demo.run import Live, Show
from simulators.demo.spark import Column, chart_lines
from simulators.demo.watch import EventSeen, StateSeen

PLAIN_PERIOD_S: Final = 5.0
CHART_STEP_S: Final = 1.0
_FIXED_LINES: Final = 13 + len(Family)  # everything but the chart and the events
_LABEL_CELLS: Final = 10
_LEVEL_STYLES: Final = {"warning": "yellow", "error": "bold red"}


@contextlib.contextmanager
def live_show(console: Console) -> Iterator[Show]:
    """A page that repaints itself in place; the terminal is as before afterwards."""
    # The caller repaints at its own beat: a thread that repaints beside it would only take CPU from the simulators.
    with Screen(console=console, auto_refresh=False, screen=True) as screen:

        def show(live: Live) -> None:
            width, height = console.size
            screen.update(page(live, width, height), refresh=True)

        yield show


class PlainShow:
    """One line every 5 s, for logs and pipes."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next_s = 0.0

    def __call__(self, live: Live) -> None:
        """Print a line when one is due."""
        if live.elapsed_s < self._next_s:
            return
        self._next_s = live.elapsed_s + PLAIN_PERIOD_S
        self._console.print(plain_line(live), markup=False, highlight=False, soft_wrap=True)


def plain_line(live: Live) -> str:
    """The run in one line."""
    truth, state = live.world.host.truth, latest(live)
    parts = [
        f"{live.elapsed_s:6.1f} s",
        f"surplus {_kw(truth.cap_follow_w)}",
        f"true load {_kw(truth.site_load_w)}",
    ]
    if state is not None:
        parts += [
            f"cap {_kw(state.power_w('cap'))} by {state.fields.get('bound')}",
            f"target {_kw(state.power_w('target'))}",
            f"expected {_kw(state.power_w('expected'))}",
            f"measured {_kw(state.power_w('measured'))}",
            _miners(state),
        ]
    return "  ".join(parts)


def page(live: Live, width: int, height: int) -> RenderableType:
    """The whole page as lines that fit `width` x `height` cells."""
    state = latest(live)
    room = max(4, height - _FIXED_LINES)
    chart_rows = max(3, min(14, room * 5 // 9))
    event_rows = max(1, room - chart_rows)
    lines: list[Text] = [_head(live, width), Text()]
    lines += _powers(live, state, width)
    lines += [Text(), *_chart(live, width, chart_rows)]
    lines.append(_scale(width))
    lines.append(Text().append("miners   ", style="dim").append(_miners(state) if state is not None else "-"))
    lines += _families(live)
    lines.append(_dispatch(live))
    lines.append(Text("events", style="dim"))
    lines += _events(live, event_rows)
    for line in lines:
        line.no_wrap = True
        line.overflow = "ellipsis"
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


def latest(live: Live) -> StateSeen | None:
    """The daemon's last state, None before the first."""
    states = live.watch.states
    return states[-1] if states and states[-1].online else None


@dataclass(frozen=True, slots=True)
class _Row:
    label: str
    power_w: float | None
    style: str
    note: str


def _head(live: Live, width: int) -> Text:
    trace = live.scenario.trace
    clock_s = trace.start_second_of_day + live.elapsed_s
    head = Text().append("curtaild demo", style="bold")
    head.append(f"  {_clock(live.elapsed_s)} of {_clock(live.seconds)}")
    head.append(f"  {trace.day or 'own signal'} {_clock(clock_s)}", style="dim")
    room = width - head.cell_len - 3
    if room >= 10:
        done = min(room, int(room * live.elapsed_s / live.seconds))
        head.append("  ").append("━" * done, style="cyan").append("━" * (room - done), style="grey35")
    return head


def _powers(live: Live, state: StateSeen | None, width: int) -> list[Text]:
    truth = live.world.host.truth
    rows = [
        _Row("surplus", truth.cap_follow_w, "yellow", "true, by the plant"),
        _Row("cap", _of(state, "cap"), "bright_yellow", _doubt(state)),
        _Row("target", _of(state, "target"), "cyan", _bound(state)),
        _Row("expected", _of(state, "expected"), "blue", "by what each miner was told"),
        _Row("measured", _of(state, "measured"), "bright_blue", "by the site meter"),
        _Row("load", truth.site_load_w, "green", "true, by the miners"),
    ]
    top_w = _top_w(live)
    room = max(10, width - _LABEL_CELLS - 10 - 30)
    lines = []
    for row in rows:
        line = Text().append(f"{row.label:<{_LABEL_CELLS}}", style="dim")
        line.append(f"{_kw(row.power_w):>9} ", style="bold" if row.label == "load" else "default")
        filled = 0.0 if row.power_w is None else min(1.0, max(0.0, row.power_w / top_w)) * room
        line.append(_bar(filled).ljust(room), style=row.style)
        line.append(f" {row.note}", style="dim")
        lines.append(line)
    return lines


def _bound(state: StateSeen | None) -> str:
    if state is None:
        return ""
    shed = ", shedding" if state.fields.get("shedding") else ""
    return f"bound by {state.fields.get('bound')}{shed}"


def _doubt(state: StateSeen | None) -> str:
    """How far the daemon trusts its inputs, where it does not quite."""
    trust = None if state is None else state.fields.get("fail_safe")
    return "" if trust in (None, "good") else f"inputs: {trust}"


def _chart(live: Live, width: int, rows: int) -> list[Text]:
    """The last minutes: true load as columns, the true surplus as a line over them."""
    record = live.world.host.record
    columns_wanted = max(20, width - 8)
    columns: list[Column] = []
    now_s = time.monotonic()
    began_s = live.began_at_s or now_s
    edge_s = now_s
    load_w: list[float] = []
    cap_w: list[float] = []
    for row in reversed(record):
        if row.at_s < began_s or len(columns) >= columns_wanted:
            break
        if row.at_s <= edge_s - CHART_STEP_S:
            columns.append(_column(load_w, cap_w))
            load_w, cap_w = [], []
            edge_s -= CHART_STEP_S
        load_w.append(row.site_load_w)
        cap_w.append(row.cap_follow_w)
    columns.reverse()
    return chart_lines(columns, columns_wanted, rows, _top_w(live))


def _column(load_w: Sequence[float], cap_w: Sequence[float]) -> Column:
    return Column(sum(load_w) / len(load_w), min(cap_w)) if load_w else Column(0.0, 0.0)


def _scale(width: int) -> Text:
    text = Text(" " * 7)
    text.append("█", style="green").append(" true load  ", style="dim")
    text.append("█", style="red").append(" above the surplus  ", style="dim")
    text.append("━", style="yellow").append(" true surplus", style="dim")
    note = f"last {max(20, width - 8)} s"
    return text.append(note.rjust(max(1, width - text.cell_len - 1)), style="dim")


def _families(live: Live) -> list[Text]:
    """A line for each family: miners, what they draw by the truth, and the daemon's verdicts on its commands."""
    miners = Counter(model.family for model in live.scenario.fleet.miners())
    power_w = live.world.family_power[-1].power_w
    lines = []
    for place, family in enumerate(Family):
        if not miners[family]:
            continue
        line = Text().append(f"{miners[family]:>4} {family.value:<15}").append(f"{_kw(power_w[place]):>9}", "green")
        counts = live.counts.get(family.value)
        if counts is not None:
            line.append(f"  {counts.commands.get('total', 0)} sent: ", style="dim")
            found = [f"{count} {name}" for name, count in counts.verdicts.items() if name != "total"]
            line.append(", ".join(found) or "none judged yet")
        lines.append(line)
    return lines


def _dispatch(live: Live) -> Text:
    line = Text().append("dispatch ", style="dim")
    if not live.orders:
        planned = sorted(live.scenario.dispatches, key=lambda each: each.at_fraction)
        first = f"none yet; the first at {planned[0].at_fraction * live.seconds:.0f} s" if planned else "none"
        return line.append(first)
    order = live.orders[-1]
    line.append(order.text(), style="bold")
    heard = [answer for answer in live.watch.answers if answer.at_s >= order.sent_at_s]
    heard = [answer for answer in heard if answer.status != "RECEIVED"] or heard  # the judgement says it, too
    for answer in heard:
        style = {"REJECTED": "bold red", "REACHED": "green"}.get(answer.status, "default")
        line.append(f"  {answer.status}", style=style).append(f" {answer.at_s - order.sent_at_s:.1f} s", style="dim")
    return line


def _events(live: Live, rows: int) -> list[Text]:
    events: list[EventSeen] = list(live.watch.events)[-rows:]
    began_s = live.began_at_s or 0.0
    lines = []
    for event in events:
        line = Text().append(f"{max(0.0, event.at_s - began_s):6.1f} s  ", style="dim")
        line.append(f"{event.name}  ", style=_LEVEL_STYLES.get(event.level, "default"))
        line.append(f"{event.miner}: {event.text}" if event.miner else event.text, style="dim")
        lines.append(line)
    return lines


def _top_w(live: Live) -> float:
    """The full length of every bar: a little more than anything this run will show."""
    return max(live.top_w, live.world.host.truth.site_load_w)


def _of(state: StateSeen | None, key: str) -> float | None:
    return None if state is None else state.power_w(key)


def _miners(state: StateSeen) -> str:
    counts = state.fields.get("miners")
    if not isinstance(counts, dict):
        return ""
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)


def _bar(cells: float) -> str:
    """A bar of so many cells, to an eighth of one."""
    whole, part = divmod(round(cells * 8), 8)
    return "█" * whole + ("", "▏", "▎", "▍", "▌", "▋", "▊", "▉")[part]


def _kw(power_w: float | None) -> str:
    return "-" if power_w is None else f"{power_w / 1000:.1f} kW"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
