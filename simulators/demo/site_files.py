"""The daemon's configuration for the demo, written as text: a site file and an inventory, as an operator would."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from simulators.asic.farm import MinerAddress
from simulators.asic.models import Family
from simulators.demo.settings import SITE_ID, Part
from simulators.plant_host import DCS_UNIT_ID, PANEL_UNIT_ID, Endpoints
from simulators.scenario import Scenario

SITE_FILE = "site.toml"
FLEET_FILE = "fleet.csv"
CONSOLE_SOCKET = "console.sock"
CREDENTIALS = "credentials"
# What the miners of a family are opened with: the name of the secret and the secret, the makers' own here. A LuxOS
# miner asks for none.
SECRETS = {Family.WHATSMINER: ("whatsminer", "admin"), Family.ANTMINER: ("antminer", "root:root")}
_SPAN = 1.5  # a meter that shows more than this times what the plant can generate is not believed
_ROOM = 1.03  # site.rated over the sum of nameplates: losses and a rounding up


@dataclass(frozen=True, slots=True)
class Wiring:
    """Where the demo's hardware listens."""

    miners: Sequence[MinerAddress]
    meters: Endpoints
    broker_port: int


def miner_id(index: int) -> str:
    """The inventory's name of the miner at `index` of the simulated fleet."""
    return f"m-{index + 1:03d}"


def feeder_of(index: int, scenario: Scenario) -> int:
    """Index of the feeder the miner hangs on: they are dealt in turn."""
    return index % len(scenario.plant.site.feeders)


def policy_lines(scenario: Scenario) -> list[tuple[str, str]]:
    """Every policy number of the demo as (site-file key, value), for the site file, the screen and the report."""
    policy, rated_kw = scenario.policy, scenario.fleet.rated_w() / 1000.0
    return [
        ("control.cycle", f"{policy.cycle_s:g} s"),
        ("control.surplus_margin", f"{policy.surplus_margin_fraction * rated_kw:.2f} kW"),
        ("meter.poll", f"{policy.meter_period_s:g} s"),
        ("ramp.up", f"{policy.ramp_up_fraction_per_min * rated_kw:.1f} kW/min"),
        ("ramp.down", f"{policy.ramp_down_fraction_per_min * rated_kw:.1f} kW/min"),
        ("ramp.up_15s", f"{policy.step_15s_fraction * rated_kw:.1f} kW"),
        ("ramp.down_15s", f"{policy.step_15s_fraction * rated_kw:.1f} kW"),
        ("fleet.dwell_on", f"{policy.min_hashing_s:g} s"),
        ("fleet.dwell_off", f"{policy.min_asleep_s:g} s"),
        ("fleet.sweep_period", f"{policy.sweep_period_s:g} s"),
        ("fleet.wakes_per_cycle", f"{policy.wakes_per_cycle}"),
        ("fleet.starts_per_day", f"{policy.starts_per_day}"),
        ("fleet.restarts_per_day", f"{policy.restarts_per_day}"),
    ]


def write_site(run_dir: Path, scenario: Scenario, wiring: Wiring, without: Sequence[Part]) -> Path:
    """Write site file, inventory and credentials; returns the path of the site file."""
    _write_fleet(run_dir / FLEET_FILE, scenario, wiring.miners)
    _write_secrets(run_dir / CREDENTIALS)
    path = run_dir / SITE_FILE
    path.write_text(_site_text(run_dir, scenario, wiring, without), encoding="utf-8")
    return path


def environment_of(run_dir: Path) -> dict[str, str]:
    """What the environment of a daemon on this site says beside the usual, as a service manager would set it."""
    return {"CREDENTIALS_DIRECTORY": str(run_dir / CREDENTIALS)}


def _write_secrets(folder: Path) -> None:
    folder.mkdir(mode=0o700)
    for name, secret in SECRETS.values():
        path = folder / name
        path.touch(mode=0o600)
        path.write_text(f"{secret}\n", encoding="utf-8")


def _write_fleet(path: Path, scenario: Scenario, addresses: Sequence[MinerAddress]) -> None:
    feeders = scenario.plant.site.feeders
    with path.open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(("id", "model", "firmware", "host", "port", "web_port", "feeder", "credential"))
        for index, (model, address) in enumerate(zip(scenario.fleet.miners(), addresses, strict=True)):
            feeder = feeders[feeder_of(index, scenario)].name
            web_port = "" if address.web_port is None else address.web_port
            secret, _ = SECRETS.get(model.family, ("", ""))
            row = (miner_id(index), model.name, model.family.value, address.host, address.port, web_port)
            table.writerow((*row, feeder, secret))


def _site_text(run_dir: Path, scenario: Scenario, wiring: Wiring, without: Sequence[Part]) -> str:
    plant, rules = scenario.plant, dict(policy_lines(scenario))
    sleep_w = sum(model.sleep_power_w for model in scenario.fleet.miners())
    auxiliary_w = plant.site.auxiliary_w
    rated_kw = math.ceil((scenario.fleet.rated_w() * _ROOM + auxiliary_w) / 1000.0)
    span_w = _SPAN * sum(unit.available_w for unit in plant.units)
    lines = [
        "# The demo's site. Powers are shares of the fleet's; times are short, so that minutes show what days do.",
        "[site]",
        f'id = "{SITE_ID}"',
        f'rated = "{rated_kw} kW"',
        f'auxiliary = "{auxiliary_w / 1000.0:.2f} kW"',
        f'fallback = "{(auxiliary_w + 1.1 * sleep_w) / 1000.0:.2f} kW"',
        f'power_span = "{span_w / 1e6:.2f} MW"',
        "",
        "[control]",
        f'mode = "{"observe" if "allocation" in without else "control"}"',
        f"trim = {'false' if 'trim' in without else 'true'}",
        f'feedback = "{"open_loop" if "feedback" in without else "meter"}"',
        *_keys("control", rules),
        "",
        "[ramp]",
        *_keys("ramp", rules),
        "",
        "[fleet]",
        f'inventory = "{FLEET_FILE}"',
        "adopt_sleepers_at_start = true",
        *_keys("fleet", rules),
    ]
    for feeder in plant.site.feeders:
        lines += ["", "[[feeder]]", f'name = "{feeder.name}"', f'rating = "{rated_kw} kW"']
    meters = wiring.meters
    # Directions as the instruments are wired: the POI meter's CTs are turned round, it counts import as positive.
    lines += _meter("poi", "poi_export", "siemens_pac2200", meters.poi, PANEL_UNIT_ID, "import", rules["meter.poll"])
    lines += _meter("site", "site_load", "siemens_pac2200", meters.site, PANEL_UNIT_ID, "import", rules["meter.poll"])
    lines += _meter("dcs", "plant", "plant_dcs", meters.dcs, DCS_UNIT_ID, None, rules["meter.poll"])
    for feeder, address in zip(plant.site.feeders, meters.feeders, strict=True):
        named = f"{feeder.name}-meter"
        lines += _meter(named, "feeder", "siemens_pac2200", address, PANEL_UNIT_ID, "import", rules["meter.poll"])
        lines.append(f'feeder = "{feeder.name}"')
    lines += [
        "",
        "[dispatch]",
        'host = "127.0.0.1"',
        f"port = {wiring.broker_port}",
        "",
        "[metrics]",
        'listen = "127.0.0.1:0"',
        "",
        "[console]",
        f'socket = "{run_dir / CONSOLE_SOCKET}"',
        "",
        "[journal]",
        f'directory = "{run_dir / "journal"}"',
        "",
        "[log]",
        'format = "json"',
    ]
    return "\n".join(lines) + "\n"


def _keys(section: str, rules: dict[str, str]) -> list[str]:
    """The lines of one section; plain numbers stand without quotes."""
    own = {key.removeprefix(f"{section}."): value for key, value in rules.items() if key.startswith(f"{section}.")}
    return [f"{key} = {value}" if value.isdigit() else f'{key} = "{value}"' for key, value in own.items()]


def _meter(
    name: str, feeds: str, register_map: str, address: tuple[str, int], unit: int, direction: str | None, poll: str
) -> list[str]:
    lines = [
        "",
        "[[meter]]",
        f'id = "{name}"',
        f'feeds = "{feeds}"',
        f'map = "{register_map}"',
        f'host = "{address[0]}"',
        f"port = {address[1]}",
        f"unit_id = {unit}",
        f'poll = "{poll}"',
        'deadline = "0.4 s"',
    ]
    return lines if direction is None else [*lines, f'direction = "{direction}"']
