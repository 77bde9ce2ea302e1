"""The benchmark is a script for people; here only that it still runs and still says something about every size."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path


def test_the_core_benchmark_prints_one_line_per_size_and_writes_its_figures(tmp_path: Path) -> None:
    report = tmp_path / "bench-core.json"
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_core", "--sizes", "20,60", "--seconds", "60", "--json", str(report)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()[2:4]]
    assert [int(row[1]) for row in rows] == [20, 60]
    assert all(0 < float(row[2]) <= float(row[3]) and float(row[7]) > 0 and int(row[8]) > 0 for row in rows)
    figures = json.loads(report.read_text(encoding="utf-8"))
    assert set(figures["step_ms"]) == {"20", "60"} and figures["bytes_per_miner"] > 100


def test_the_metrics_benchmark_prints_a_row_for_every_way() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench.bench_metrics", "--miners", "50", "--rounds", "2", "--pause", "0"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()[2:]]
    assert len(rows) == 10
    assert all(0 < float(row[2]) <= float(row[3]) for row in rows[1:])
    assert all(float(row[6]) >= float(row[7]) for row in rows)
