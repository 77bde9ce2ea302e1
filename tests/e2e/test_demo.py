"""`curtaild-sim demo` as a newcomer starts it: a process, its reports, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from simulators.demo.figures import ANSWER_WITHIN_S

pytestmark = pytest.mark.timeout(300)  # ends by itself in half a minute; how long its report takes is the machine's
DEMO = (str(Path(sys.executable).with_name("curtaild-sim")), "demo")
READY_WITHIN_S = 60.0

# A machine that runs other tests beside this one may be slow; everything else has to be right on any machine.
MAY_BREAK_UNDER_LOAD = {"control cycle, p99"}


def started(folder: Path, *options: str) -> subprocess.Popen[str]:
    command = [*DEMO, "--report", str(folder / "report.json"), *options]
    return subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "TMPDIR": str(folder), "COLUMNS": "200"},
        start_new_session=True,
    )


def ended(demo: subprocess.Popen[str], within_s: float) -> str:
    try:
        return demo.communicate(timeout=within_s)[0]
    except subprocess.TimeoutExpired:
        os.killpg(demo.pid, signal.SIGKILL)
        demo.communicate()  # or the next test is told of what was left unread
        raise


def report_in(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    return content


def added_up(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for of_one in counts:
        assert of_one.get("total", 0) == sum(value for name, value in of_one.items() if name != "total")
        total.update(of_one)
    return dict(total)


def broken(report: dict[str, Any]) -> set[str]:
    return {promise["name"] for promise in report["promises"] if promise["kept"] is False}


def processes_of(folder: Path) -> Sequence[str]:
    """Command lines of living processes that work in the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if str(folder) in line:
                found.append(line)
    return found


def wait_until_running(folder: Path, demo: subprocess.Popen[str]) -> None:
    """Return when the daemon of the demo has said that it is ready."""
    deadline_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < deadline_s:
        assert demo.poll() is None, demo.communicate()[0]
        for log in folder.glob("curtaild-demo-*/daemon.log"):
            if '"event": "ready"' in log.read_text(encoding="utf-8"):
                return
        time.sleep(0.1)
    pytest.fail("the demo's daemon was not ready in time")


def test_a_short_demo_keeps_its_promises_and_leaves_nothing_behind(tmp_path: Path) -> None:
    demo = started(tmp_path, "--seconds", "30")
    text = ended(demo, within_s=240.0)
    report = report_in(tmp_path)
    assert broken(report) <= MAY_BREAK_UNDER_LOAD, text
    assert demo.returncode == (1 if broken(report) else 0), text
    assert report["miners"] == 120 and report["duration_s"] == pytest.approx(30.0, abs=2.0)
    assert report["absorbed_kwh"] > 0.0
    assert report["commands"]["total"] > 0 and report["verdicts"]["total"] > 0
    families = report["families"]
    assert set(families) == {"LuxOS", "WhatsMiner V2", "Antminer stock"}
    assert sum(family["miners"] for family in families.values()) == 120
    for count in ("commands", "verdicts"):
        assert added_up(family[count] for family in families.values()) == report[count]
    assert all(family["commands"]["total"] > 0 for family in families.values())
    # A WhatsMiner takes longer than this run to boot, so that it may not have been judged yet.
    assert all(families[quick]["verdicts"]["total"] > 0 for quick in ("LuxOS", "Antminer stock"))
    assert report["dispatches"] == {"sent": 2, "accepted": 2, "rejected": 0, "reached": report["dispatches"]["reached"]}
    assert report["daemon"]["exit_code"] == 0 and report["daemon"]["rss_mb"] > 0
    latency = report["signal_to_command_ms"]
    assert latency["answered"] >= 1, "the signal rises above the load once the cap is over"
    assert 0.0 < latency["p50"] <= latency["p95"] <= latency["max"] <= 1000.0 * ANSWER_WITHIN_S
    assert "ramp.up" in text and "signal to command" in text, "policy and figures stand on the screen"
    assert "uPlot" in (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not processes_of(tmp_path)
    if not broken(report):
        assert not list(tmp_path.glob("curtaild-demo-*")), "the run directory of a good run is removed"


def test_ctrl_c_ends_a_demo_early_with_its_report(tmp_path: Path) -> None:
    demo = started(tmp_path, "--seconds", "300", "--miners", "40", "--keep")
    try:
        wait_until_running(tmp_path, demo)
        time.sleep(3.0)
    finally:
        demo.send_signal(signal.SIGINT)
    text = ended(demo, within_s=120.0)
    assert demo.returncode == 130, text
    report = report_in(tmp_path)
    assert report["interrupted"] is True and 0.0 < report["duration_s"] < 60.0
    assert report["daemon"]["exit_code"] == 0, "the daemon was stopped in order"
    assert not processes_of(tmp_path)


def test_a_daemon_that_allocates_nothing_fails_the_demo(tmp_path: Path) -> None:
    trace = tmp_path / "falls.csv"
    trace.write_text("seconds_of_day,own\n0,0\n6,60\n100,60\n", encoding="utf-8")
    demo = started(
        tmp_path,
        "--seconds",
        "25",
        "--miners",
        "40",
        "--without",
        "allocation",
        "--trace",
        str(trace),
        "--start-second",
        "0",
    )
    text = ended(demo, within_s=240.0)
    report = report_in(tmp_path)
    assert demo.returncode == 1, text
    assert "time above the cap" in broken(report), "the surplus fell and nobody was put to sleep"
    assert report["without"] == ["allocation"] and report["trace"]["day"] == "own"


def test_a_signal_that_cannot_be_used_is_refused_before_anything_starts(tmp_path: Path) -> None:
    demo = started(tmp_path, "--seconds", "10", "--day", "2016-02-30")
    text = ended(demo, within_s=60.0)
    assert demo.returncode == 2
    assert "2016-02-30" in text and "2016-04-18" in text
    assert not (tmp_path / "report.json").exists()
    assert not processes_of(tmp_path)
