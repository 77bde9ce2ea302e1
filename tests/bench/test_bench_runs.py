"""The benchmark is a script for people; here only that it still runs and still says something about every size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_the_step_benchmark_prints_one_line_per_size() -> None:
    script = Path(__file__).with_name("bench_step.py")
    done = subprocess.run(
        [sys.executable, str(script), "--sizes", "20,60", "--cycles", "20"],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    rows = [line.split("|") for line in done.stdout.splitlines()[2:]]
    assert [int(row[1]) for row in rows] == [20, 60]
    assert all(float(row[2]) > 0 and float(row[3]) > 0 and int(row[5]) > 0 and float(row[6]) > 0 for row in rows)


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
