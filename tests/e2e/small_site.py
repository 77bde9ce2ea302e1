"""A small simulated site whose simulators keep answering while a test waits, and the installed daemon beside it.

The simulators live on a loop in a thread of their own. The daemon and every command are processes, used through the
front door only: the command line, the sockets, the journal file.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from controller.domain.journalling import Row, RowKind
from controller.runtime.console import ask
from controller.runtime.journal_file import read_rows
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour, ResponseTimes, Span, VerbResponse
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from simulators.feeder import FeederSpec, SiteSpec, feeder_sums_w
from simulators.modbus_meter import DcsSpec, PanelMeterSpec, Quantity
from simulators.plant import Plant, PlantFlags, PlantSpec, UnitSpec
from simulators.plant_host import Endpoints, InstrumentSpec, PlantHost, TruthSample

CURTAILD = Path(sys.executable).with_name("curtaild")
LOOPBACK = ("127.0.0.1", 0)
AUXILIARY_W = 1_000.0
POLL_S = 0.05
STOP_WITHIN_S = 30.0

# Sleep and trim as the response classes on file say; boots are quicker, for what is tested here is not patience.
RESPONSE = ResponseTimes(
    sleep=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    wake=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    profile=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    reboot_off=Span(1.0, 2.0),
)
PLANT = PlantSpec(
    units=(UnitSpec("unit-1", available_w=400e3, min_stable_w=50e3, ramp_w_per_s=20e3, synchronised=True),),
    auxiliary_fixed_w=5_000.0,
    auxiliary_fraction=0.05,
    despatch_base_w=100e3,
    despatch_step_w=1_000.0,
    despatch_held_after_trip_s=60.0,
    reserve_up_w=20e3,
    frequency_hz=50.0,
    frequency_sigma_hz=0.01,
    poi_line_v=11_000.0,
    voltage_sigma_fraction=0.002,
    wander_time_s=30.0,
    site=SiteSpec(feeders=(FeederSpec("a", 0.01), FeederSpec("b", 0.01)), auxiliary_w=AUXILIARY_W),
)
Value = str | float | bool
T = TypeVar("T")


def until(condition: Callable[[], T], within_s: float, what: str) -> T:
    """Wait until `condition` gives something true and return it; fails saying `what` did not happen."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within_s:g} s")
        time.sleep(POLL_S)
    return found


def always(condition: Callable[[], bool], for_s: float, what: str) -> None:
    """Look again and again for `for_s` seconds; fails as soon as the condition does not hold."""
    deadline = time.monotonic() + for_s
    while time.monotonic() < deadline:
        assert condition(), what
        time.sleep(POLL_S)


@dataclass(slots=True)
class SettableSurplus:
    """simulators.plant.SurplusSource under the test's hand."""

    power_w: float

    def surplus_w(self, t_s: float) -> float:
        return self.power_w


class Simulators:
    """Plant and miners on loopback sockets, from `start` to `stop`."""

    def __init__(
        self,
        *,
        surplus_kw: float,
        models: Mapping[str, int],
        hashing: int,
        behaviours: Mapping[int, Behaviour],
        response: ResponseTimes = RESPONSE,
    ) -> None:
        """The first `hashing` miners in merit order hash, the others sleep; `behaviours` by index in that order."""
        listed = [MODELS[key] for key, count in models.items() for _ in range(count)]
        self.models = sorted(listed, key=lambda model: model.efficiency_j_per_th)
        count = len(self.models)
        self.surplus = SettableSurplus(surplus_kw * 1e3)
        self._spec = FleetSpec(
            models=self.models,
            seed=7,
            asleep=[index >= hashing for index in range(count)],
            behaviours=[behaviours.get(index, Behaviour.OBEYS) for index in range(count)],
            response=response,
        )
        self.feeder_of_miner = np.arange(count) % 2
        self.ids = [f"m{index:02d}" for index in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulators", daemon=True)
        self.farm: MinerFarm
        self.host: PlantHost

    @property
    def rated_w(self) -> float:
        return sum(model.nameplate.power_w for model in self.models) * 1.02 + AUXILIARY_W

    @property
    def load_kw(self) -> float:
        """True power at the site meter."""
        return self.host.truth.site_load_w / 1e3

    @property
    def cap_kw(self) -> float:
        """The most the site may draw now."""
        return self.host.truth.cap_follow_w / 1e3

    def owner_sets(self, miner: int, profile: int) -> None:
        """As its owner would, before anybody else came: the miner runs this rung of its ladder, 0 the lowest."""

        async def set_it() -> None:
            self.farm.bank.command_profile(miner, profile)

        self.call(set_it())

    def asleep(self) -> list[str]:
        """Miners really asleep."""
        return [name for name, sleeps in zip(self.ids, self.farm.bank.is_asleep, strict=True) if sleeps]

    def fault(self, fault: Fault, miners: Iterable[int], *, on: bool) -> None:
        """Switch a fault of these miners on or off."""

        async def switched() -> None:
            for miner in miners:
                self.farm.faults[miner].on(fault) if on else self.farm.faults[miner].off(fault)

        self.call(switched())

    def emergency(self, *, on: bool) -> None:
        """The plant's grid emergency flag."""

        async def flagged() -> None:
            self.host.plant.set_flags(PlantFlags(on, trip_underfrequency=False, trip_stop_button=False, permit=True))

        self.call(flagged())

    def writes(self) -> int:
        """Commands that really reached miners."""
        return sum(len(miner.log.writes) for miner in self.farm.miners)

    @property
    def last_write_at(self) -> float:
        """When a command last reached a miner, on time.monotonic()."""
        return max((record.at_s for miner in self.farm.miners for record in tuple(miner.log.writes)), default=-math.inf)

    def stands_still(self, for_s: float = 1.5, within_kw: float = 0.1) -> bool:
        """No command is still on its way to its effect: the true power has not moved lately."""
        now = time.monotonic()
        powers = [row.site_load_w / 1e3 for row in self.truth(now - for_s)]
        return now - self.last_write_at > 3.0 and max(powers) - min(powers) < within_kw

    def truth(self, since_s: float = 0.0) -> list[TruthSample]:
        """True powers every 50 ms, oldest first, from a moment of time.monotonic() on."""

        async def copied() -> list[TruthSample]:
            return [row for row in self.host.record if row.at_s >= since_s]

        return self.call(copied())

    def raises(self, since_s: float, until_s: float = math.inf) -> int:
        """Commands for more power that reached miners between two moments of time.monotonic()."""
        writes = (record for miner in self.farm.miners for record in tuple(miner.log.writes))
        return sum(record.raises is True and since_s <= record.at_s < until_s for record in writes)

    def start(self) -> None:
        self._thread.start()
        self.call(self._start())

    def stop(self) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_WITHIN_S)
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the simulators' own loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_WITHIN_S)

    async def _start(self) -> None:
        self.farm = MinerFarm(self._spec)
        await self.farm.__aenter__()
        panel = {"voltage_ratio": 1.0, "refresh_s": 0.1, "noise_fraction": 0.0002, "gain_error_fraction": 0.0}
        instruments = InstrumentSpec(
            poi=PanelMeterSpec(quantity=Quantity.POI_EXPORT, installed_sign=-1, resolution_w=1.0, **panel),
            site=PanelMeterSpec(quantity=Quantity.SITE_LOAD, installed_sign=1, resolution_w=1.0, **panel),
            dcs=DcsSpec(refresh_s=0.1, heartbeat_s=1.0),
            seed=7,
        )
        self.host = PlantHost(
            Plant(PLANT, self.surplus, 11),
            instruments,
            Endpoints(LOOPBACK, LOOPBACK, LOOPBACK),
            lambda: feeder_sums_w(self.farm.bank.true_power_w, self.feeder_of_miner, 2),
            0.05,
            1_000.0,
            None,
        )
        await self.host.start()

    async def _stop(self) -> None:
        await self.host.stop()
        await self.farm.__aexit__(None, None, None)


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    errors: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def curtaild(*arguments: str, env: Mapping[str, str] | None = None, within_s: float = 60.0) -> Ran:
    """Run one command to its end."""
    done = subprocess.run(
        [CURTAILD, *arguments], capture_output=True, text=True, timeout=within_s, env={**os.environ, **(env or {})}
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Daemon:
    """`curtaild run` as a process, with a systemd that listens."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.log = folder / "daemon.log"
        self._config = config
        self._address = folder / "notify.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        """Beside that of the test."""
        self.told: list[str] = []
        """Everything systemd heard since the start."""

    def start(self, *, wait: bool = True) -> None:
        self.told = []
        self._address.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(self._address))
        environment = {**os.environ, **self.environment, "NOTIFY_SOCKET": str(self._address)}
        with self.log.open("ab") as log:
            command = [CURTAILD, "run", "--config", self._config]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        listener = threading.Thread(target=self._listen, args=(listening, self._process, self.told), daemon=True)
        listener.start()
        if wait:
            until(lambda: "READY=1" in self.told or not self.alive, 30.0, "READY=1")
            assert self.alive, self.log.read_text()

    @staticmethod
    def _listen(listening: socket.socket, process: subprocess.Popen[bytes], told: list[str]) -> None:
        """Until the process is gone and nothing is left to read."""
        listening.settimeout(0.1)
        with listening:
            while True:
                gone = process.poll() is not None
                try:
                    told.append(listening.recv(4096).decode())
                except TimeoutError:
                    if gone:
                        return

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "never started"
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(STOP_WITHIN_S)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log records of one name, oldest first."""
        lines = self.log.read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("event") == name]


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
