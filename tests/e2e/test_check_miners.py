"""`curtaild check --miners` against miners on their own wire."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import pytest

from controller.commands.check import check
from simulators.asic.farm import MinerFarm
from simulators.asic.fleet import mixed_fleet
from simulators.faults import Fault

SITE = """
[site]
id = "check"
rated = "20 kW"
auxiliary = "1 kW"
power_span = "40 kW"
[[feeder]]
name = "a"
rating = "20 kW"
[[meter]]
id = "poi"
feeds = "poi_export"
map = "siemens_pac2200"
host = "127.0.0.1"
port = 15021
direction = "export"
[[meter]]
id = "site"
feeds = "site_load"
map = "siemens_pac2200"
host = "127.0.0.1"
port = 15022
direction = "import"
[[meter]]
id = "dcs"
feeds = "plant"
map = "plant_dcs"
host = "127.0.0.1"
port = 15023
[fleet]
call_deadline = "0.5 s"
"""


@pytest.fixture
async def farm():
    async with MinerFarm(mixed_fleet(3, seed=1, model_keys=("s19kpro",))) as running:
        yield running


def site_of(farm, folder: Path, models=("Antminer S19k Pro",) * 3) -> Path:
    rows = [
        f"m{n},{model},LuxOS,{host},{port},a"
        for n, (model, (host, port)) in enumerate(zip(models, farm.addresses, strict=True))
    ]
    (folder / "fleet.csv").write_text("id,model,firmware,host,port,feeder\n" + "\n".join(rows) + "\n")
    (folder / "site.toml").write_text(SITE)
    return folder / "site.toml"


async def run(path: Path) -> tuple[int, str]:
    """In a thread: the command runs a loop of its own, the miners answer on this one."""
    out = io.StringIO()
    code = await asyncio.to_thread(check, path, miners=True, out=out)
    return code, out.getvalue()


async def test_miners_that_are_what_the_inventory_says_pass(farm, tmp_path):
    code, text = await run(site_of(farm, tmp_path))
    assert code == 0
    assert "3 asked, 0 to look at" in text


async def test_a_miner_of_another_model_and_one_that_is_away_are_named(farm, tmp_path):
    farm.faults[2].on(Fault.REFUSE)
    path = site_of(farm, tmp_path, ("Antminer S19k Pro", "Antminer S21", "Antminer S19k Pro"))
    code, text = await run(path)
    assert code == 3
    assert "3 asked, 2 to look at" in text
    assert text.count("\nm1: ") == 1
    assert text.count("\nm2: ") == 1
