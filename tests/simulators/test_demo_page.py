"""The live page fits the terminal it is given and shows the truth beside what the daemon says."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path

import pytest
from rich.console import Console

from simulators.asic.models import Family
from simulators.demo.metrics import FamilyCounts
from simulators.demo.page import page, plain_line
from simulators.demo.run import Live
from simulators.demo.settings import DemoSettings, scenario_of
from simulators.demo.watch import Watch
from simulators.demo.world import open_world
from simulators.scenario import DEMO

STATE = {
    "online": True,
    "surplus_kw": 73.1,
    "cap_kw": 71.9,
    "target_kw": 70.5,
    "expected_kw": 69.5,
    "measured_kw": None,
    "bound": "ramp_up",
    "shedding": True,
    "fail_safe": "hold",
    "miners": {"hashing": 20, "asleep": 20, "waking": 0},
}
EVENT = {"name": "miner_stuck", "level": "warning", "text": "should hash " + "and does not " * 30, "miner": "m-021"}


def settings() -> DemoSettings:
    return DemoSettings(
        seconds=60.0,
        report=Path("report.json"),
        day=None,
        start_second=None,
        trace=None,
        seed=DEMO.fleet.seed,
        miners=40,
        without=(),
        keep=False,
        page=True,
    )


def painted(live: Live, width: int, height: int) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width, height=height).print(page(live, width, height))
    return out.getvalue().splitlines()


async def filled(live: Live) -> Live:
    """A run of some seconds: the plant ticks by hand, the daemon speaks through the watch."""
    live.began_at_s = time.monotonic() - 5.0
    for _ in range(4):
        live.world.host.tick()
    live.watch.take("state", json.dumps(STATE).encode())
    for _ in range(20):
        live.watch.take("event", json.dumps(EVENT).encode())
    return live


@pytest.mark.parametrize(("width", "height"), [(80, 24), (100, 30), (150, 44), (60, 20)])
async def test_the_page_fits_the_terminal(width: int, height: int, tmp_path: Path) -> None:
    scenario = scenario_of(settings())
    async with open_world(scenario) as world:
        live = await filled(Live(scenario, 60.0, tmp_path, world, Watch(1)))
        counts = FamilyCounts({"total": 223}, {"total": 178, "quarantined": 1, "settled": 174, "stuck": 3})
        live.counts = {Family.ANTMINER.value: counts}
        lines = painted(live, width, height)
    assert len(lines) <= height
    assert max(len(line) for line in lines) <= width
    text = "\n".join(lines)
    for word in ("surplus", "bound by ramp_up, shedding", "inputs: hold", "20 hashing, 20 asleep", "m-021"):
        assert word in text, word
    assert "waking" not in text, "nobody is waking"
    for family in Family:
        line = next(line for line in lines if family.value in line)
        assert "kW" in line, "every family with what it draws"
    verdicts = "223 sent: 1 quarantined" + (", 174 settled, 3 stuck" if width >= 80 else "")
    assert any("Antminer stock" in line and verdicts in line for line in lines)


async def test_the_page_knows_nothing_before_the_daemon_speaks(tmp_path: Path) -> None:
    scenario = scenario_of(settings())
    async with open_world(scenario) as world:
        live = Live(scenario, 60.0, tmp_path, world, Watch(1))
        lines = painted(live, 80, 24)
        plain = plain_line(live)
    assert any(line.startswith("measured") and " - " in line for line in lines)
    assert "the first at 15 s" in "\n".join(lines)
    assert "measured" not in plain and "true load" in plain


async def test_a_line_shows_what_the_daemon_says_beside_the_truth(tmp_path: Path) -> None:
    scenario = scenario_of(settings())
    async with open_world(scenario) as world:
        live = await filled(Live(scenario, 60.0, tmp_path, world, Watch(1)))
        line = plain_line(live)
    assert "cap 71.9 kW by ramp_up" in line and "measured -" in line and "20 hashing" in line


async def test_the_surplus_waits_until_the_daemon_is_there(tmp_path: Path) -> None:
    scenario = scenario_of(settings())
    async with open_world(scenario) as world:
        start_w = scenario.surplus_trace().surplus_w(0.0)
        assert [world.trace.surplus_w(t_s) for t_s in (0.0, 17.0, 23.0)] == [start_w] * 3
        world.trace.release()
        assert world.trace.surplus_w(23.0 + 40.0) == scenario.surplus_trace().surplus_w(40.0)
