"""What the demo writes: a site the daemon accepts, and a page that needs no network."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import re
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

from simulators.asic.farm import MinerAddress
from simulators.asic.models import Family
from simulators.demo.figures import figures_of, report_of
from simulators.demo.html import page_text
from simulators.demo.metrics import FamilyCounts, counts_by, counts_by_family
from simulators.demo.promises import Expected, judge
from simulators.demo.recording import Marker
from simulators.demo.settings import DemoSettings, Part, scenario_of
from simulators.demo.site_files import CREDENTIALS, FLEET_FILE, Wiring, environment_of, policy_lines, write_site
from simulators.demo.spark import Column, chart_lines
from simulators.demo.watch import Watch
from simulators.plant_host import Endpoints
from simulators.scenario import DEMO, Scenario
from tests.simulators.demo_recordings import cap_order, recording_of

UPLOT_SHA256 = {
    "uPlot.iife.min.js": "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    "uPlot.min.css": "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    "LICENSE": "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
}


def settings_of(**changes: Any) -> DemoSettings:
    given: dict[str, Any] = {
        "seconds": 60.0,
        "report": Path("report.json"),
        "day": None,
        "start_second": None,
        "trace": None,
        "seed": DEMO.fleet.seed,
        "miners": 120,
        "without": (),
        "keep": False,
        "page": False,
    }
    return DemoSettings(**{**given, **changes})


def written(folder: Path, scenario: Scenario, without: tuple[Part, ...] = ()) -> Path:
    miners = [
        MinerAddress("127.0.0.1", 20_000 + i, web_port=30_000 + i if model.family is Family.ANTMINER else None)
        for i, model in enumerate(scenario.fleet.miners())
    ]
    feeders = tuple(("127.0.0.1", 15_010 + i) for i in range(len(scenario.plant.site.feeders)))
    meters = Endpoints(("127.0.0.1", 15_001), ("127.0.0.1", 15_002), ("127.0.0.1", 15_003), feeders)
    return write_site(folder, scenario, Wiring(miners, meters, 11_883), without)


def checked(site_file: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("curtaild")), "check", "--config", str(site_file)]
    environment = {**os.environ, **environment_of(site_file.parent)}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


@pytest.mark.parametrize("miners", [40, 120, 301])
def test_the_daemon_accepts_the_site_the_demo_writes(tmp_path: Path, miners: int) -> None:
    done = checked(written(tmp_path, scenario_of(settings_of(miners=miners))))
    assert done.returncode == 0, done.stderr
    assert "warning" not in done.stderr.lower(), done.stderr
    assert len((tmp_path / FLEET_FILE).read_text(encoding="utf-8").splitlines()) == miners + 1


def test_each_family_stands_in_the_inventory_with_what_opens_it(tmp_path: Path) -> None:
    written(tmp_path, DEMO)
    with (tmp_path / FLEET_FILE).open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert {row["firmware"] for row in rows} == set(Family)
    for row, model in zip(rows, DEMO.fleet.miners(), strict=True):
        assert row["firmware"] == model.family
        assert bool(row["web_port"]) is (model.family is Family.ANTMINER)
        assert bool(row["credential"]) is (model.family is not Family.LUXOS)
    for name in {row["credential"] for row in rows} - {""}:
        assert (tmp_path / CREDENTIALS / name).stat().st_mode & 0o077 == 0, "a secret is for its owner alone"


def test_switched_off_parts_stand_in_the_site_file(tmp_path: Path) -> None:
    path = written(tmp_path, DEMO, without=("trim", "allocation", "feedback"))
    text = path.read_text(encoding="utf-8")
    assert "trim = false" in text and 'mode = "observe"' in text and 'feedback = "open_loop"' in text
    assert checked(path).returncode == 0


def test_every_policy_number_on_the_screen_is_one_of_the_site_file(tmp_path: Path) -> None:
    text = written(tmp_path, DEMO).read_text(encoding="utf-8")
    for key, value in policy_lines(DEMO):
        leaf = key.rpartition(".")[2]
        assert re.search(rf'^{leaf} = "?{re.escape(value)}"?$', text, re.M), key


def test_another_fleet_keeps_the_shape_of_the_demo() -> None:
    scenario = scenario_of(settings_of(miners=241))
    assert scenario.fleet.size == 241
    assert scenario.fleet.hashing == 241 * DEMO.fleet.hashing // DEMO.fleet.size
    assert len([b for b in scenario.fleet.behaviours() if b]) == 5
    shares = [
        {family: sum(model.family is family for model in fleet.miners()) / fleet.size for family in Family}
        for fleet in (DEMO.fleet, scenario.fleet)
    ]
    assert shares[1] == pytest.approx(shares[0], abs=0.01)
    assert scenario.plant.units[0].available_w == pytest.approx(DEMO.plant.units[0].available_w * 241 / 120)


@pytest.mark.parametrize("seed", [0, 7, DEMO.fleet.seed + 1])
def test_another_seed_changes_miners_meters_and_plant(seed: int) -> None:
    default, scenario = scenario_of(settings_of()), scenario_of(settings_of(seed=seed))
    assert scenario.fleet.seed != default.fleet.seed
    assert scenario.plant_seed != default.plant_seed
    assert scenario.instruments.seed != default.instruments.seed
    assert len({scenario.fleet.seed, scenario.plant_seed, scenario.instruments.seed}) == 3


@pytest.mark.parametrize(("name", "digest"), UPLOT_SHA256.items())
def test_the_chart_library_is_the_published_one(name: str, digest: str) -> None:
    content = resources.files("simulators").joinpath("static", "uplot", name).read_bytes()
    assert hashlib.sha256(content).hexdigest() == digest


def page() -> str:
    markers = [Marker(12.0, "error", "m-060: </script><script>alert(1)</script>")]
    recording = recording_of(
        seconds=30.0,
        load_w=lambda _: 90_000.0,
        cap_w=lambda _: 100_000.0,
        orders=[cap_order(50_000.0, 10.0, 10.0)],
        markers=markers,
    )
    figures = figures_of(recording, DEMO)
    extra: dict[str, object] = {"dispatches_planned": 1, "policy": {"control.cycle": "1 s"}, "trace": {"day": "<b>"}}
    report = report_of(recording, figures, DEMO, extra)
    report["promises"] = [
        {"name": each.name, "wanted": each.wanted, "got": each.got, "kept": each.kept}
        for each in judge(report, Expected([], []))
    ]
    return page_text(recording, figures, report)


def test_the_page_fetches_nothing() -> None:
    text = page()
    assert not re.search(
        r"""(?:src|href)\s*=|url\(|@import|https?://(?!leeoniya|www\.w3\.org)""", _without_library(text)
    )
    assert "@@" not in text


def test_what_the_page_shows_cannot_become_markup() -> None:
    text = page()
    assert "</script><script>alert" not in text
    assert "<b>," not in text and "of <b>" not in text


def test_the_page_holds_its_series_on_one_axis() -> None:
    found = re.search(r'<script id="data" type="application/json">(.*?)</script>', page(), re.S)
    assert found is not None
    data = json.loads(found[1])
    lengths = {name: len(data[name]) for name in ("t", "surplus", "ordered", "target", "measured", "load")}
    assert set(lengths.values()) == {60}
    assert data["load"][10] == pytest.approx(90.0)
    assert data["target"][0] is None, "the daemon said nothing yet"
    assert data["ordered"][0] is None and data["ordered"][38] == pytest.approx(50.0, abs=1.0)
    assert any(marker["level"] == "order" for marker in data["markers"])
    assert set(data["families"]) == set(Family)
    assert sum(powers[10] for powers in data["families"].values()) == pytest.approx(90.0)


def _without_library(text: str) -> str:
    start = text.index("<script>")
    return text[:start] + text[text.index("</script>", start) :]


def test_counters_are_summed_by_one_label() -> None:
    metrics = (
        'curtaild_commands_total{urgent="false",verb="trim"} 7.0\n'
        'curtaild_commands_total{urgent="true",verb="trim"} 2.0\n'
        'curtaild_commands_total{urgent="false",verb="wake"} 1.0\n'
        'curtaild_verdicts_total{response_class="LuxOS",verb="wake",verdict="settled"} 1.0\n'
    )
    assert counts_by(metrics, "commands", "verb") == {"total": 10, "trim": 9, "wake": 1}
    assert counts_by(metrics, "verdicts", "verdict") == {"total": 1, "settled": 1}


def test_counters_of_a_family_are_its_own() -> None:
    metrics = (
        'curtaild_commands_total{family="LuxOS",urgent="false",verb="trim"} 7.0\n'
        'curtaild_commands_total{family="Antminer stock",urgent="false",verb="sleep"} 2.0\n'
        'curtaild_verdicts_total{family="LuxOS",verb="trim",verdict="settled"} 6.0\n'
    )
    assert counts_by_family(metrics) == {
        "Antminer stock": FamilyCounts({"total": 2, "sleep": 2}, {"total": 0}),
        "LuxOS": FamilyCounts({"total": 7, "trim": 7}, {"total": 6, "settled": 6}),
    }


def test_the_watch_survives_what_is_no_message_of_ours() -> None:
    watch = Watch(1)
    for payload in (b"", b"{", b"[]", b"\xff", None, b'{"online": false, "site": "demo"}'):
        watch.take("state", payload)
    assert [state.online for state in watch.states] == [False]
    watch.take("state", b'{"online": true, "cap_kw": 12.5, "measured_kw": null}')
    assert watch.states[-1].power_w("cap") == 12_500.0
    assert watch.states[-1].power_w("measured") is None


def test_the_character_chart_paints_what_is_above_the_cap_red() -> None:
    lines = chart_lines([Column(50.0, 100.0), Column(100.0, 50.0)], width=4, rows=4, top_w=100.0)
    assert len(lines) == 4 and all(line.cell_len == 7 + 4 for line in lines)
    top = lines[0]
    assert top.plain.endswith("▔█") and str(top.spans[-1].style) == "red"
    assert lines[3].plain.endswith("██") and str(lines[3].spans[-1].style) == "green"
