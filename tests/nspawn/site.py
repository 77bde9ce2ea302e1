"""The site of the test: simulated miners and plant, their files in /etc/curtaild, and true power as it was."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from controller.runtime.console import ConsoleUnavailableError, ask
from simulators.asic.response import Behaviour
from tests.e2e.simulated import Simulators
from tests.e2e.waiting import until
from tests.nspawn.machine import Machine

SITE = "north-1"
UNIT = f"curtaild@{SITE}"
FOLDER = f"/etc/curtaild/{SITE}"
JOURNAL = f"/var/lib/curtaild/{SITE}/journal.sqlite"
SOCKET = f"/run/curtaild/{SITE}/control.sock"
METRICS_PORT = 9464
# Six of each: the WhatsMiners take a password, which comes by LoadCredential. Half of them find work.
MODELS = {"s21": 6, "m60s": 6}
HASHING = 8
SURPLUS_KW = 24.0
SETTLED_S = 8.0
QUIET_RATIO = 0.01  # of rated: what a restart may move
NEAR_RATIO = 0.04  # of rated: margin, deadband and one step of a miner below the surplus


class Site:
    """One instance, its devices and its files."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        self.sim = Simulators(surplus_kw=SURPLUS_KW, models=MODELS, hashing=HASHING, behaviours=dict[int, Behaviour]())
        self.rated_kw = round(self.sim.rated_w / 1e3)

    def write_files(self, **changes: str) -> None:
        """Site file, inventory and secret. `changes` take the place of values, by `section_key`."""
        rows = ["id,model,firmware,host,port,feeder,credential"]
        for index, model in enumerate(self.sim.models):
            host, port = self.sim.farm.addresses[index].host, self.sim.farm.addresses[index].port
            secret = "whatsminer" if model.key == "m60s" else ""
            rows.append(
                f"{self.sim.ids[index]},{model.name},{model.family.value},{host},{port},{'ab'[index % 2]},{secret}"
            )
        self._machine.write(f"{FOLDER}/fleet.csv", "\n".join(rows) + "\n")
        self._machine.write(f"{FOLDER}/secrets/whatsminer", "admin\n", 0o600)
        self._machine.path(f"{FOLDER}/secrets").chmod(0o700)
        self._machine.write(f"{FOLDER}/site.toml", self._text(changes))

    def _text(self, changes: dict[str, str]) -> str:
        keys = {
            "site_id": SITE,
            "site_rated": f"{self.rated_kw} kW",
            "site_auxiliary": "1 kW",
            "site_fallback": "3 kW",
            "site_power_span": "1 MW",
            "control_deadband_up": "1 kW",
            "ramp_up": "300 %/min",
            "ramp_down": "300 %/min",
            "ramp_up_15s": "75 %",
            "ramp_down_15s": "75 %",
            "failsafe_fallback_offset_max": "0 s",
            "failsafe_rearm_after": "2 s",
            "fleet_dwell_on": "2 min",
            "fleet_dwell_off": "2 s",
            "fleet_sweep_period": "2 s",
            "fleet_call_deadline": "1.5 s",
            "verify_telemetry_stale": "10 s",
            **changes,
        }
        sections: dict[str, list[str]] = {}
        for name, value in keys.items():
            section, _, key = name.partition("_")
            sections.setdefault(section, []).append(f'{key} = "{value}"')
        text = "\n".join("\n".join([f"[{name}]", *lines]) for name, lines in sections.items())
        text += "".join(f'\n[[feeder]]\nname = "{name}"\nrating = "100 kW"\n' for name in "ab")
        ends = self.sim.host.endpoints
        for name, feeds, meter_map, port, direction in (
            ("poi", "poi_export", "siemens_pac2200", ends.poi[1], 'direction = "import"'),
            ("site", "site_load", "siemens_pac2200", ends.site[1], 'direction = "import"'),
            ("dcs", "plant", "plant_dcs", ends.dcs[1], ""),
        ):
            text += (
                f'[[meter]]\nid = "{name}"\nfeeds = "{feeds}"\nmap = "{meter_map}"\nhost = "127.0.0.1"\nport = {port}\n'
            )
            text += f'poll = "0.5 s"\ndeadline = "0.4 s"\nresolution = "100 W"\n{direction}\n'
        return text

    # --- what systemd says ---

    def shows(self, name: str) -> str:
        return self._machine.run("systemctl", "show", "--value", "--property", name, UNIT)

    @property
    def pid(self) -> int:
        return int(self.shows("MainPID"))

    @property
    def state(self) -> str:
        return f"{self.shows('ActiveState')} ({self.shows('SubState')})"

    def log(self, since: str = "") -> str:
        """The unit's log since a cursor, see `cursor`."""
        after = [f"--after-cursor={since}"] if since else []
        return self._machine.run("journalctl", "--unit", UNIT, "--no-pager", "--output", "cat", *after, check=False)

    def keep_journal(self, folder: Path) -> Path:
        """A copy of the journal, to look at after the run."""
        for companion in ("", "-wal", "-shm"):
            source = self._machine.path(f"/var/lib/private/curtaild/{SITE}/journal.sqlite{companion}")
            target = folder / f"journal.sqlite{companion}"
            target.unlink(missing_ok=True)
            if source.exists():
                shutil.copyfile(source, target)
        return folder / "journal.sqlite"

    def cursor(self) -> str:
        """Here the log ends now."""
        line = self._machine.run("journalctl", "--show-cursor", "--lines", "0", "--no-pager")
        return line.rpartition("cursor: ")[2].strip()

    # --- what the daemon says ---

    def cli(self, *arguments: str, user: str = "root") -> tuple[int, str]:
        """The installed command line, as an account."""
        return self._machine.ran("runuser", "-u", user, "--", "/usr/local/bin/curtaild", *arguments)

    def status(self) -> dict[str, Any]:
        """What `curtaild status --json` prints, without starting a process; empty while no daemon answers."""
        try:
            return ask(self._machine.path(SOCKET), "status", {})
        except ConsoleUnavailableError:
            return {}

    def in_control(self) -> bool:
        """Up, ready, every input good."""
        return self.shows("ActiveState") == "active" and self.status().get("fail_safe") == "good"

    def settle(self, within_s: float = 90.0) -> None:
        """Until no miner was told anything for some seconds, and true power lies just below the surplus."""

        def still() -> bool:
            told_at_s = max(
                (record.at_s for miner in self.sim.farm.miners for record in tuple(miner.log.writes)), default=0.0
            )
            below_kw = self.sim.cap_kw - self.sim.load_kw
            near = 0.0 <= below_kw <= self.rated_kw * NEAR_RATIO
            return near and time.monotonic() - told_at_s > SETTLED_S and self.in_control()

        until(still, within_s, "the load at rest")

    def moved(self, since_s: float) -> tuple[float, str]:
        """Farthest the true load was from where it stood at `since_s` (monotonic): share of rated, and in words."""
        before = [row.site_load_w / 1e3 for row in self.sim.truth(since_s - 1.0) if row.at_s < since_s]
        base_kw = sum(before) / len(before)
        farthest_kw = max(abs(row.site_load_w / 1e3 - base_kw) for row in self.sim.truth(since_s))
        ratio = farthest_kw / self.rated_kw
        return ratio, f"load {base_kw:.1f} kW moved by {farthest_kw:.2f} kW at most, {ratio:.2%} of rated"


def changed_tree(source: Path, target: Path, version: str, broken: bool = False) -> None:
    """A copy of the program under another version number; `broken`: it ends at once when it is to run."""
    for name in ("controller", "drivers", "simulators", "requirements", "deploy", "docs"):
        shutil.copytree(source / name, target / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("README.md", "LICENSE"):
        shutil.copy(source / name, target / name)
    project = (source / "pyproject.toml").read_text()
    assert project.count('version = "0.') == 1
    head, _, rest = project.partition('version = "')
    (target / "pyproject.toml").write_text(f'{head}version = "{version}"{rest[rest.index(chr(34)) + 1 :]}')
    if broken:
        run = target / "controller/commands/run.py"
        run.write_text(run.read_text() + '\nraise SystemExit("this version was built broken, to be refused")\n')
