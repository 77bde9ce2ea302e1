"""What the daemon counts of itself: its /metrics page, read as any scraper would, and the counts in it."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from simulators.demo.processes import DemoError

SCRAPE_WITHIN_S: Final = 10.0
FAMILY: Final = "family"  # the label with the firmware of the miners that were counted
_COUNTER = re.compile(r"^curtaild_(?P<counter>\w+)_total\{(?P<labels>[^}]*)\} (?P<value>[0-9.e+]+)$", re.M)
_LABEL = re.compile(r'(\w+)="([^"]*)"')


@dataclass(frozen=True, slots=True)
class FamilyCounts:
    """Of one family: commands by verb and verdicts by name; `total` stands in front."""

    commands: Mapping[str, int]
    verdicts: Mapping[str, int]


def counts_by(metrics: str, counter: str, label: str, **where: str) -> dict[str, int]:
    """Sum a counter of a /metrics page by one of its labels, of those series whose labels are as in `where`."""
    counts: dict[str, int] = {}
    for labels, value in _series(metrics, counter):
        if all(labels.get(name) == wanted for name, wanted in where.items()):
            name = labels.get(label, "")
            counts[name] = counts.get(name, 0) + value
    return {"total": sum(counts.values()), **dict(sorted(counts.items()))}


def counts_by_family(metrics: str) -> dict[str, FamilyCounts]:
    """Commands and verdicts of every family that has any, by its name."""
    counted = ("commands", "verdicts")
    families = {labels.get(FAMILY, "") for counter in counted for labels, _ in _series(metrics, counter)}
    return {
        family: FamilyCounts(
            commands=counts_by(metrics, "commands", "verb", **{FAMILY: family}),
            verdicts=counts_by(metrics, "verdicts", "verdict", **{FAMILY: family}),
        )
        for family in sorted(families)
    }


async def scrape(log: str) -> str:
    """The daemon's /metrics; its log says where they are. Raises DemoError."""
    port = None
    for line in log.splitlines():
        with contextlib.suppress(ValueError):
            said = json.loads(line)
            if isinstance(said, dict) and said.get("event") == "metrics_listening":
                port = int(said["port"])
    if port is None:
        raise DemoError("the daemon's log does not say where its metrics are")
    return await asyncio.to_thread(_fetch, port)


def _fetch(port: int) -> str:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=SCRAPE_WITHIN_S) as reply:
            page: bytes = reply.read()
    except (OSError, urllib.error.URLError) as error:
        raise DemoError(f"no metrics from the daemon on port {port}: {error}") from error
    return page.decode()


def _series(metrics: str, counter: str) -> Iterator[tuple[dict[str, str], int]]:
    for found in _COUNTER.finditer(metrics):
        if found["counter"] == counter:
            yield dict(_LABEL.findall(found["labels"])), round(float(found["value"]))
