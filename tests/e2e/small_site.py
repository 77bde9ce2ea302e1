"""A small simulated site: its files, its daemon and what its journal and its control socket tell."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from controller.domain.journalling import Row, RowKind
from controller.runtime.console import ask
from controller.runtime.journal_file import read_rows
from tests.e2e.processes import Daemon, Ran, curtaild
from tests.e2e.simulated import Simulators

Value = str | float | bool


class SmallSite:
    """Simulators, site file, inventory and daemon in one folder."""

    def __init__(self, folder: Path, site_id: str, simulators: Simulators) -> None:
        self.folder = folder
        self.id = site_id
        self.sim = simulators
        self.config = folder / "site.toml"
        self.daemon = Daemon(folder, self.config)

    def configure(self, broker_port: int | None = None, **changes: Mapping[str, Value]) -> None:
        """Write inventory and site file; `changes` by section take the place of single keys."""
        rows = ["id,model,firmware,host,port,feeder"]
        for index, model in enumerate(self.sim.models):
            host, port = self.sim.farm.addresses[index]
            rows.append(f"{self.sim.ids[index]},{model.name},LuxOS,{host},{port},{'ab'[index % 2]}")
        (self.folder / "fleet.csv").write_text("\n".join(rows) + "\n")
        sections = self._defaults()
        if broker_port is not None:
            sections["dispatch"] = {"host": "127.0.0.1", "port": broker_port}
        for section, keys in changes.items():
            sections.setdefault(section, {}).update(keys)
        text = "\n".join(f"[{name}]\n{_keys(keys)}" for name, keys in sections.items())
        self.config.write_text(text + "\n" + "\n".join(self._tables(sections)))

    def _defaults(self) -> dict[str, dict[str, Value]]:
        return {
            "site": {
                "id": self.id,
                "rated": f"{self.sim.rated_w / 1e3:.1f} kW",
                "auxiliary": "1 kW",
                "fallback": "5 kW",
                "power_span": "1 MW",
            },
            "control": {"cycle": "0.25 s", "deadband_up": "0.5 kW"},
            "ramp": {"up": "1000 %/min", "down": "1000 %/min", "up_15s": "100 %", "down_15s": "100 %"},
            "failsafe": {"hold_after": "1 s", "fallback_offset_max": "0 s", "rearm_after": "1 s"},
            "fleet": {
                "dwell_on": "20 s",  # no less than the slowest boot on file
                "dwell_off": "1 s",
                "margin_memory": "5 s",
                "sweep_period": "1 s",
                "call_deadline": "0.9 s",
                "wakes_per_cycle": 8,
                "adopt_sleepers_at_start": True,
            },
            "verify": {"deadline_factor": 1.5, "deadline_extra": "1 s", "attempts": 1, "telemetry_stale": "10 s"},
            "metrics": {"listen": "127.0.0.1:0"},
            "log": {"format": "json"},
        }

    def _tables(self, sections: Mapping[str, Mapping[str, Value]]) -> Iterator[str]:
        for feeder in "ab":
            yield f'[[feeder]]\nname = "{feeder}"\nrating = "100 kW"\n'
        ends = self.sim.host.endpoints
        for name, feeds, meter_map, port, direction in (
            ("poi", "poi_export", "siemens_pac2200", ends.poi[1], "import"),
            ("site", "site_load", "siemens_pac2200", ends.site[1], "import"),
            ("dcs", "plant", "plant_dcs", ends.dcs[1], None),
        ):
            keys: dict[str, Value] = {
                "id": name,
                "feeds": feeds,
                "map": meter_map,
                "host": "127.0.0.1",
                "port": port,
                "poll": "0.1 s",
                "deadline": "0.09 s",
                "resolution": "100 W",
            }
            if direction:
                keys["direction"] = direction
            yield f"[[meter]]\n{_keys(keys)}"

    @property
    def journal(self) -> Path:
        return self.folder / "state" / self.id / "journal.sqlite"

    def rows(self, *kinds: RowKind) -> list[Row]:
        """Journal rows of these kinds (all, when none is named), oldest first."""
        return list(read_rows(self.journal, kinds or tuple(RowKind)))

    def cli(self, command: str, *arguments: str) -> Ran:
        """A command about this site."""
        return curtaild(command, "--config", str(self.config), *arguments)

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """What a command with --json prints, without the half second a process takes to start."""
        return ask(self.journal.with_name("control.sock"), op, arguments)

    def status(self) -> dict[str, Any]:
        return self.ask("status")

    def close(self) -> None:
        try:
            if self.daemon.alive:
                self.daemon.end(signal.SIGKILL)
        finally:
            self.sim.stop()


def _keys(keys: Mapping[str, Value]) -> str:
    return "".join(f"{name} = {_toml(value)}\n" for name, value in keys.items())


def _toml(value: Value) -> str:
    return json.dumps(value)  # strings, numbers and booleans of TOML are written as JSON writes them
