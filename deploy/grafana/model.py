"""What a dashboard is made of, as far as ours need it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

# How a number or a band looks, to be given as **NONE_IS_GOOD and its like.
NO_YES = {0: "no", 1: "yes"}
NONE_IS_GOOD: Mapping[str, Any] = {"steps": ((None, "green"), (1, "red"))}
NO_IS_GOOD: Mapping[str, Any] = {**NONE_IS_GOOD, "words": NO_YES}
YES_IS_GOOD: Mapping[str, Any] = {"steps": ((None, "red"), (1, "green")), "words": NO_YES}

Steps = Sequence[tuple[float | None, str]]


@dataclass(frozen=True, slots=True)
class Query:
    expr: str
    legend: str = "{{site}}"


@dataclass(frozen=True, slots=True)
class Panel:
    """text: what the reader may not know. unit: Grafana's name. steps: (from this value, colour), the lowest first."""

    title: str
    text: str
    unit: str
    queries: Sequence[Query]
    kind: str = "timeseries"
    width: int = 12
    height: int = 8
    steps: Steps = ()
    words: Mapping[int, str] = field(default_factory=dict)
    least: float | None = None
    custom: Mapping[str, Any] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Row:
    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Dashboard:
    uid: str
    title: str
    text: str
    rows: Sequence[Row]


def q(metric: str, legend: str = "{{site}}", more: str = "") -> Query:
    """One family of the chosen sites, as it is."""
    return Query(of(metric, more), legend)


def of(metric: str, more: str = "") -> str:
    """A selector: the family, of the chosen sites, and what else its labels must be."""
    return f'{metric}{{site=~"$site", instance=~"$instance"{", " + more if more else ""}}}'


def rate(metric: str, more: str = "") -> str:
    return f"rate({of(metric, more)}[$__rate_interval])"


def per_second(metric: str, legend: str = "{{site}}") -> Query:
    """How fast a counter of the chosen sites rises."""
    return Query(rate(metric), legend)


def lines(title: str, text: str, unit: str, *queries: Query, **other: Any) -> Panel:
    """Lines over time."""
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return Panel(title, text, unit, queries, options=options, **{"least": 0, **other})


def stacked(title: str, text: str, unit: str, *queries: Query, **other: Any) -> Panel:
    """Lines on top of each other: their sum means something."""
    custom = {"stacking": {"mode": "normal", "group": "A"}, "fillOpacity": 40, "lineWidth": 1}
    return lines(title, text, unit, *queries, custom=custom, **other)


def number(title: str, text: str, unit: str, *queries: Query, **other: Any) -> Panel:
    """The newest value, large, in the colour of its step."""
    options = {
        "colorMode": "background" if other.get("steps") else "value",
        "graphMode": "none",
        "textMode": other.pop("shows", "auto"),
        "reduceOptions": {"calcs": ["lastNotNull"], "values": False},
    }
    return Panel(title, text, unit, queries, kind="stat", options=options, **{"width": 4, "height": 4, **other})


def states(title: str, text: str, *queries: Query, **other: Any) -> Panel:
    """One band for each series, coloured by its value."""
    options = {"showValue": "never", "mergeValues": True, "rowHeight": 0.8, "legend": {"showLegend": False}}
    return Panel(title, text, "short", queries, kind="state-timeline", options=options, **{"height": 6, **other})


def table(title: str, text: str, unit: str, *queries: Query, **other: Any) -> Panel:
    """The newest values with all their labels."""
    return Panel(title, text, unit, queries, kind="table", options={"showHeader": True}, **other)


def heatmap(title: str, text: str, unit: str, *queries: Query, **other: Any) -> Panel:
    """A histogram's buckets over time."""
    options = {"calculate": False, "yAxis": {"unit": unit}, "color": {"scheme": "Blues", "mode": "scheme"}}
    return Panel(title, text, unit, queries, kind="heatmap", options=options, **other)
