"""The benchmark of the drivers is for people; here only that it runs, is complete, and counts at the miner."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench.bench_drivers import SHARES
from tests.bench.drivers import report
from tests.bench.drivers.contestants import Contestant, Ours
from tests.bench.drivers.farm_link import FarmLink, Site
from tests.bench.drivers.measure import run

MINERS = 20


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a short run of the whole bench wrote."""
    path = tmp_path_factory.mktemp("bench") / "figures.json"
    command = [sys.executable, "-m", "tests.bench.bench_drivers"]
    done = subprocess.run(
        [*command, "--miners", str(MINERS), "--rounds", "1", "--json", str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "FAILED" not in done.stdout
    assert done.stdout.count("reached") + done.stdout.count("REACHED") >= 3
    document: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return document


def test_it_has_the_six_figures_of_ours(found: dict[str, Any]) -> None:
    figures = found[f"mixed_{MINERS}"]
    assert set(figures) == {
        "warm_s",
        "cold_s",
        "cpu_ms_per_miner",
        "cpu_ratio_to_raw",
        "loop_block_ms_max",
        "sweep_cpu_s",
    }
    assert all(value > 0 for value in figures.values())


def test_it_has_every_contestant_in_the_mix_and_in_every_family(found: dict[str, Any]) -> None:
    python = {report.GATHER, *report.SEMAPHORES.values(), report.OURS, report.RAW}
    assert python | {report.ACTUATOR} <= set(found["mixed"])
    assert set(found["families"]) == set(SHARES)
    for family in found["families"].values():
        assert python <= set(family)
        for name in python:
            assert family[name]["warm_s"]["min"] <= family[name]["warm_s"]["median"] <= family[name]["warm_s"]["max"]


def test_every_command_was_carried_out(found: dict[str, Any]) -> None:
    for block in (found["mixed"], *found["families"].values()):
        for name in report.TITLES:
            assert block.get(name, {"failed": []})["failed"] == []


def test_by_hand_says_what_ours_says_over_as_many_connections(found: dict[str, Any]) -> None:
    for block in (found["mixed"], *found["families"].values()):
        assert block[report.RAW]["commands"] == block[report.OURS]["commands"]
        assert block[report.RAW]["said"] == block[report.OURS]["said"]
        assert block[report.OURS]["said"]["cold"] != block[report.OURS]["said"]["sweep"] != ""


@pytest.fixture
def farm() -> Iterator[FarmLink]:
    with FarmLink() as link:
        yield link


class Liar(Contestant):
    """Says that all went well and sends nothing."""

    async def prepare(self, sites: Sequence[Site]) -> None:
        self.sites = sites

    async def sleep(self, index: int) -> bool:
        await asyncio.sleep(0)
        return True

    async def read(self, index: int) -> bool:
        return False


def test_who_says_yes_and_sends_nothing_has_failed_and_is_not_fast(farm: FarmLink) -> None:
    liar = run(Liar(None), farm, ["LuxOS"] * 3)
    assert liar.cold.failed == "0 of 3 miners were told to sleep, 3 called acknowledged"
    assert report.median([liar], report.warm, report.wall) is None
    honest = run(Ours(), farm, ["LuxOS"] * 3)
    assert (honest.cold.failed, honest.warm.failed) == ("", "")
    block = {report.OURS: [liar], report.RAW: [honest]}
    assert report.reach(block, 3)["warm_s"] == {"limit": 1.0, "measured": None, "reached": None}
    assert report.cpu_ratio(block) is None
