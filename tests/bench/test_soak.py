"""The soak: that it still runs, and that it tells what grows from what does not."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from simulators.faults import Fault, FaultEvent, FaultSchedule
from tests.bench.soak import with_quiet_times
from tests.bench.soak_report import LIMITS, Sample, write_report

STEADY = Sample(0.0, 110.0, 5, 24, 14, 320.0, 24.0, 0.1, 0.0, 0.0, 0.0, 500.0, 550.0, 0.0)


def hours_of(**growing: float) -> list[Sample]:
    """Two hours; each named quantity grows by so much an hour."""
    samples = []
    for minute in range(121):
        grown = {name: getattr(STEADY, name) + per_hour * minute / 60 for name, per_hour in growing.items()}
        samples.append(replace(STEADY, at_s=60.0 * minute, cpu_s=3.0 * minute, cycles=60.0 * minute, **grown))
    return samples


def test_what_stays_as_it_is_passes_and_leaves_a_picture(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write_report(hours_of(), 300, tmp_path) == 0
    assert capsys.readouterr().out.count("  flat") == len(LIMITS)
    assert (tmp_path / "soak.svg").read_text().count("<polyline") == len(LIMITS) + 1


@pytest.mark.parametrize(
    ("name", "per_hour"),
    [("rss_mb", 6.0), ("files", 5.0), ("sockets", 5.0), ("tasks", 20.0), ("threads", 1.0), ("journal_mb", 6.0)],
)
def test_what_grows_fails_and_is_named(tmp_path: Path, name: str, per_hour: float) -> None:
    assert write_report(hours_of(**{name: per_hour}), 300, tmp_path) == 1
    rows = json.loads((tmp_path / "soak.json").read_text())["after_warm_up"]
    assert [found for found, row in rows.items() if not row["flat"]] == [name]


def test_calls_in_flight_while_faults_last_are_no_growth(tmp_path: Path) -> None:
    samples = [
        replace(sample, sockets=14 + number // 4, quiet=False) if number % 10 else sample
        for number, sample in enumerate(hours_of())
    ]
    assert write_report(samples, 300, tmp_path) == 0


def test_no_fault_begins_or_lasts_in_a_quiet_time() -> None:
    events = [FaultEvent(at_s, 0, Fault.HANG, 100.0) for at_s in (100.0, 480.0, 520.0, 610.0)]
    kept = with_quiet_times(FaultSchedule(events)).events
    assert [(event.at_s, event.duration_s) for event in kept] == [(100.0, 100.0), (480.0, 30.0), (610.0, 100.0)]


def test_what_only_grew_while_it_warmed_up_is_no_growth(tmp_path: Path) -> None:
    samples = hours_of()
    warming = [replace(sample, rss_mb=90.0 + sample.at_s / 120.0) for sample in samples[:20]]
    assert write_report([*warming, *samples[20:]], 300, tmp_path) == 0


def test_a_short_one_runs_from_end_to_end(tmp_path: Path) -> None:
    words = f"--hours 0.004 --miners 12 --every 2 --site soak-in-short --out {tmp_path}"
    subprocess.run(
        [sys.executable, "-m", "tests.bench.soak", *words.split()],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        timeout=100,
        check=False,  # half a minute is no time to be flat in
    )
    (table,) = tmp_path.glob("*/samples.csv")
    with table.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) >= 5
    assert all(float(row["rss_mb"]) > 30 and float(row["tasks"]) > 12 and int(row["sockets"]) > 4 for row in rows)
    assert float(rows[-1]["cycles"]) > float(rows[0]["cycles"])
