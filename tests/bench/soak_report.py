"""What a soak's samples say: flat or not, in words, as JSON and as a picture."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

WARM_UP_SHARE = 0.33  # of the run: by then every kind of fault was there, and the journal has reached its bound
# What counts as flat: the first and the last third after the warm-up may differ by so much. Of files, sockets and tasks
# the lower tenth of the quiet times counts: what is open always. Above it are calls in flight, which come and go with
# the faults.
LIMITS = {"rss_mb": 0.03, "files": 0.10, "sockets": 0.10, "tasks": 0.02, "threads": 0.0, "journal_mb": 0.10}
ALWAYS_OPEN = ("files", "sockets", "tasks")
NAMES = {
    "rss_mb": "resident memory, MB",
    "files": "open files",
    "sockets": "of them sockets",
    "tasks": "asyncio tasks",
    "threads": "threads",
    "journal_mb": "journal on disk, MB",
}
WIDTH, HEIGHT, LEFT, GAP = 760, 96, 70, 34


@dataclass(frozen=True, slots=True)
class Sample:
    """One look at the daemon, `at_s` seconds into the run; quiet: no miner has had a fault for a while."""

    at_s: float
    rss_mb: float
    threads: int
    files: int
    sockets: int
    tasks: float
    journal_mb: float
    log_mb: float
    cpu_s: float
    cycles: float
    overruns: float
    load_kw: float
    surplus_kw: float
    fail_safe: float
    quiet: bool = True


def write_report(samples: Sequence[Sample], miners: int, folder: Path) -> int:
    """Print the verdict, write soak.json and soak.svg; 0 when everything stayed flat."""
    after = [sample for sample in samples if sample.at_s >= WARM_UP_SHARE * samples[-1].at_s]
    rows: dict[str, Any] = {}
    for name, limit in LIMITS.items():
        third, share = max(len(after) // 3, 1), 10 if name in ALWAYS_OPEN else 50
        early, late = (
            float(np.percentile(_counted(part, name) or [math.nan], share)) for part in (after[:third], after[-third:])
        )
        grew, most = (late - early) / early if early else 0.0, max(getattr(sample, name) for sample in after)
        rows[name] = {"early": early, "late": late, "grew": grew, "most": float(most), "flat": grew <= limit}
    first, last = samples[0], samples[-1]
    hours = (last.at_s - first.at_s) / 3600.0
    summary = {
        "hours": hours,
        "miners": miners,
        "cpu_of_a_core": (last.cpu_s - first.cpu_s) / (last.at_s - first.at_s),
        "cycles": last.cycles,
        "overruns": last.overruns,
        "log_mb_per_hour": (last.log_mb - first.log_mb) / hours,
        "after_warm_up": rows,
    }
    (folder / "soak.json").write_text(json.dumps(summary, indent=1) + "\n")
    (folder / "soak.svg").write_text(picture(samples, after[0].at_s))
    lines = [f"{miners} miners, {hours:.2f} h, {last.cycles:.0f} cycles, {last.overruns:.0f} overruns,"]
    lines[0] += f" {100 * summary['cpu_of_a_core']:.0f} % of a core, log {summary['log_mb_per_hour']:.2f} MB/h"
    for name, row in rows.items():
        word = "flat" if row["flat"] else "GREW"
        moved = f"{row['early']:9.1f} -> {row['late']:9.1f}  ({row['grew']:+.1%}, most {row['most']:.1f})"
        which = ", at least" if name in ALWAYS_OPEN else ""
        lines.append(f"{NAMES[name] + which:<24} {moved}  {word}")
    sys.stdout.write("\n".join([*lines, str(folder / "soak.svg")]) + "\n")
    return 0 if all(row["flat"] for row in rows.values()) else 1


def _counted(samples: Sequence[Sample], name: str) -> list[float]:
    return [float(getattr(sample, name)) for sample in samples if sample.quiet or name not in ALWAYS_OPEN]


def picture(samples: Sequence[Sample], warm_at_s: float) -> str:
    """An SVG: one strip a quantity over the hours, the warm-up shaded."""
    end_s = samples[-1].at_s
    strips = [*((name, NAMES[name]) for name in LIMITS), ("load_kw", "site load, kW")]
    total = len(strips) * (HEIGHT + GAP) + 30
    size = f"0 0 {WIDTH + LEFT + 20} {total}"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="{size}" font-family="sans-serif" font-size="11">',
        '<rect width="100%" height="100%" fill="white"/>',
    ]
    for place, (name, title) in enumerate(strips):
        top = 20 + place * (HEIGHT + GAP)
        parts.append(_strip(samples, name, title, top, end_s, warm_at_s))
    hours = range(int(end_s // 1800) + 1)
    for half in hours:
        x = LEFT + half * 1800 / end_s * WIDTH
        parts.append(f'<text x="{x:.0f}" y="{total - 8}" text-anchor="middle">{half / 2:g} h</text>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _strip(samples: Sequence[Sample], name: str, title: str, top: float, end_s: float, warm_at_s: float) -> str:
    values = np.array([getattr(sample, name) for sample in samples], dtype=np.float64)
    high = float(values.max()) * 1.1 or 1.0
    xs = np.array([sample.at_s for sample in samples]) / end_s * WIDTH + LEFT
    ys = top + HEIGHT * (1 - values / high)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    shade = warm_at_s / end_s * WIDTH
    return (
        f'<rect x="{LEFT}" y="{top}" width="{shade:.1f}" height="{HEIGHT}" fill="#eee"/>'
        f'<path d="M{LEFT},{top} v{HEIGHT} h{WIDTH}" fill="none" stroke="#888"/>'
        f'<text x="{LEFT}" y="{top - 6}" font-weight="bold">{title}</text>'
        f'<text x="{LEFT - 6}" y="{top + 10}" text-anchor="end">{high:.4g}</text>'
        f'<text x="{LEFT - 6}" y="{top + HEIGHT}" text-anchor="end">0</text>'
        f'<polyline points="{points}" fill="none" stroke="#1660a8" stroke-width="1.2"/>'
    )
