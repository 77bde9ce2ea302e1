"""LuxOS replies to reads: the recorded shapes filled with the state of one simulated miner.

Keys, types and units are those of the recordings in `simulators/data/luxminer`; where there is none (`atm`, `groups`,
`tempctrl`, `devdetails`) they follow the vendor's API documentation and its open-source tooling.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from simulators.asic.bank import MinerBank
from simulators.asic.luxos_envelope import payload
from simulators.asic.models import MinerModel
from simulators.asic.response import Mode, Phase
from simulators.asic.wire_server import Reply


def _recorded(command: str) -> Reply:
    text = resources.files("simulators").joinpath(f"data/luxminer/{command}.json").read_text(encoding="utf-8")
    reply: Reply = json.loads(text)
    return reply


_CONFIG: Final = _recorded("config")["CONFIG"][0]
_DEV: Final = _recorded("devs")["DEVS"][0]
_FANS: Final = _recorded("fans")
_POOLS: Final = _recorded("pools")["POOLS"]
_STATS: Final = _recorded("stats")["STATS"]
_SUMMARY: Final = _recorded("summary")["SUMMARY"][0]
_TEMPS: Final = _recorded("temps")
_VERSION: Final = _recorded("version")["VERSION"][0]

_FAN_MIN_RPM: Final = 1_900
_FAN_MAX_RPM: Final = 6_000
_INTAKE_DROP_C: Final = 13.0  # the recording's intake sensors stand that far below its exhaust ones


@dataclass(slots=True)
class Settings:
    """What the firmware stores and the physics does not care about."""

    host: str
    atm_enabled: bool = True


class LuxOSReads:
    """Answers the reads of miner `index` of `bank` from what its firmware reports."""

    def __init__(self, bank: MinerBank, index: int, settings: Settings) -> None:
        self._bank = bank
        self._i = index
        self._settings = settings
        self._model: MinerModel = bank.models[index]
        self.commands: Final[Mapping[str, Callable[[], Reply]]] = {
            "atm": self._atm,
            "config": self._config,
            "devdetails": self._devdetails,
            "devs": self._devs,
            "events": lambda: payload("EVENTS", [], 357, "Miner Events"),
            "fans": self._fans,
            "groups": self._groups,
            "pools": self._pools,
            "power": self._power,
            "profiles": self._profiles,
            "stats": self._stats,
            "summary": self._summary,
            "tempctrl": self._tempctrl,
            "temps": self._temps,
            "version": self._version,
        }

    def voltage(self, board: int) -> Reply | None:
        """The reply to `voltageget`, None when there is no such board."""
        if not 0 <= board < self._model.boards:
            return None
        return payload("VOLTAGE", [{"Board": board, "Voltage": self._profile.voltage_v}], 307, "Get Voltage")

    # --- the miner as its firmware sees it ---------------------------------------------------------------------

    @property
    def _profile(self) -> Any:
        return self._model.profiles[int(self._bank.profile_index[self._i])]

    @property
    def _ghs(self) -> float:
        return round(float(self._bank.reported_hashrate_th[self._i]) * 1e3, 2)

    @property
    def _mean_ghs(self) -> list[float]:
        return [round(float(mean_th) * 1e3, 2) for mean_th in self._bank.hashrate_mean_th[self._i]]

    @property
    def _powered(self) -> bool:
        return bool(self._bank.boards_on[self._i])

    @property
    def _elapsed_s(self) -> int:
        return int(self._bank.uptime_s[self._i])

    @property
    def _exhaust_c(self) -> float:
        return round(float(self._bank.temperature_c[self._i]), 1)

    @property
    def _fan_percent(self) -> int:
        if not self._powered:
            return int(_FANS["FANCTRL"][0]["PowerOffSpeed"])
        return max(20, min(100, round((self._exhaust_c - 40.0) * 3.0 + 20.0)))

    @property
    def _fan_rpm(self) -> int:
        return _FAN_MIN_RPM + round((_FAN_MAX_RPM - _FAN_MIN_RPM) * (self._fan_percent - 20) / 80)

    @property
    def _mac(self) -> str:
        return f"62:f7:5e:{self._i >> 16 & 0xFF:02x}:{self._i >> 8 & 0xFF:02x}:{self._i & 0xFF:02x}"

    # --- replies -----------------------------------------------------------------------------------------------

    def _version(self) -> Reply:
        return payload("VERSION", [{**_VERSION, "Type": self._model.name}], 22, "LUXminer versions")

    def _power(self) -> Reply:
        # PSU false: the firmware estimates the watts, the supply does not measure them.
        watts = round(float(self._bank.reported_power_w[self._i]))
        return payload("POWER", [{"PSU": False, "Watts": watts}], 311, "Power usage")

    def _config(self) -> Reply:
        asleep = self._bank.mode[self._i] == Mode.SLEEP
        row = {
            **_CONFIG,
            "ASC Count": self._model.boards,
            "CurtailMode": "Sleep" if asleep else "None",
            "Hostname": f"miner-{self._i:05d}",
            "IPAddr": self._settings.host,
            "IsAtmEnabled": self._settings.atm_enabled,
            "IsPowerSupplyOn": self._powered,
            "IsTuning": False,
            "MACAddr": self._mac,
            "Model": self._model.name,
            "NameplateTHS": self._model.nameplate.hashrate_th,
            "Profile": self._profile.name,
            "ProfileStep": str(self._profile.step),
            "SerialNumber": f"CURTAILD{self._i:09d}",
        }
        return payload("CONFIG", [row], 33, "LUXminer config")

    def _profiles(self) -> Reply:
        rows = [
            {
                "CanRestore": True,
                "Frequency": rung.frequency_mhz,
                "HasOverrides": False,
                "Hashrate": rung.hashrate_th,
                "IsDynamic": True,
                "IsTuned": False,
                "Profile Name": rung.name,
                "Step": str(rung.step),
                "Voltage": rung.voltage_v,
                "Watts": rung.power_w,
            }
            for rung in self._model.profiles
        ]
        return payload("PROFILES", rows, 323, "List profiles")

    def _summary(self) -> Reply:
        one, five, fifteen, thirty = self._mean_ghs
        row = {
            **_SUMMARY,
            "Elapsed": self._elapsed_s,
            "GHS 5s": self._ghs,
            "GHS 1m": one,
            "GHS 5m": five,
            "GHS 15m": fifteen,
            "GHS 30m": thirty,
            "GHS 24h": thirty,
            "GHS av": thirty,
            "Last getwork": int(time.time()),
            "Total MH": thirty * 1e3,
        }
        return payload("SUMMARY", [row], 11, "Summary")

    def _stats(self) -> Reply:
        boards, frequency = self._model.boards, float(self._profile.frequency_mhz)
        exhaust, intake = round(self._exhaust_c), round(self._exhaust_c - _INTAKE_DROP_C)
        sensors = f"{exhaust}-{intake}-{intake}-{exhaust}"
        thirty = self._mean_ghs[3]
        live: Reply = {
            "Elapsed": self._elapsed_s,
            "GHS 5s": self._ghs,
            "GHS av": thirty,
            "frequency": self._profile.frequency_mhz,
            "miner_count": boards,
            "miner_id": self._mac.replace(":", ""),
            "rate_30m": thirty,
            "temp1": self._exhaust_c,
            "temp2": self._exhaust_c,
            "temp3": self._exhaust_c,
            "temp_max": self._exhaust_c,
            "temp_num": boards,
            "total rate": self._ghs,
            "total_freqavg": frequency,
            "total_rateideal": round(self._profile.hashrate_th * 1e3, 2),
        }
        for board in range(1, boards + 1):
            live[f"chain_acn{board}"] = self._model.chips_per_board
            live[f"chain_acs{board}"] = " " + "o" * self._model.chips_per_board
            live[f"chain_rate{board}"] = f"{self._ghs / boards:.2f}"
            live[f"fan{board}"] = self._fan_rpm
            live[f"freq{board}"] = frequency
            live[f"temp2_{board}"] = self._exhaust_c
            live |= {f"temp_{kind}{board}": sensors for kind in ("chip", "pcb", "pic")}
        live[f"fan{boards + 1}"] = self._fan_rpm
        rows = [{**_STATS[0], "Type": self._model.name}, {**_STATS[1], **live}]
        return payload("STATS", rows, 70, "LUXminer stats")

    def _devs(self) -> Reply:
        boards = self._model.boards
        mhs = self._ghs * 1e3 / boards
        one, five, fifteen, thirty = (mean * 1e3 / boards for mean in self._mean_ghs)
        ramping = self._bank.phase[self._i] == Phase.RAMPING
        row = {
            **_DEV,
            "Device Elapsed": self._elapsed_s,
            "IsRamping": bool(self._powered and ramping),
            "IsUserShutdown": not self._powered,
            "Last Share Time": int(time.time()),
            "Last Valid Work": int(time.time()),
            "MHS 5s": mhs,
            "MHS 1m": one,
            "MHS 5m": five,
            "MHS 15m": fifteen,
            "MHS 30m": thirty,
            "MHS 60m": thirty,
            "MHS av": thirty,
            "Nominal MHS": self._profile.hashrate_th * 1e6 / boards,
            "Profile": self._profile.name,
            "Status": "Alive" if self._powered else "Dead",
            "Temperature": self._exhaust_c,
            "Total MH": thirty,
        }
        rows = [{**row, "ASC": board, "ID": board, "Connector": f"J{7 + board}"} for board in range(boards)]
        return payload("DEVS", rows, 9, f"{boards} ASC(s)")

    def _devdetails(self) -> Reply:
        rows = [
            {
                "DEVDETAILS": board,
                "Driver": "luxminer",
                "ID": board,
                "Kernel": "",
                "Model": self._model.name,
                "Name": "",
            }
            for board in range(self._model.boards)
        ]
        return payload("DEVDETAILS", rows, 69, "Device Details")

    def _fans(self) -> Reply:
        rows = [{**fan, "RPM": self._fan_rpm, "Speed": self._fan_percent} for fan in _FANS["FANS"][: self._model.fans]]
        return {"FANCTRL": _FANS["FANCTRL"], **payload("FANS", rows, 202, f"{len(rows)} Fan(s)")}

    def _temps(self) -> Reply:
        exhaust, intake = self._exhaust_c, round(self._exhaust_c - _INTAKE_DROP_C, 1)
        rows = [
            {
                "BottomLeft": exhaust,
                "BottomRight": intake,
                "ID": board,
                "TEMP": board,
                "TopLeft": exhaust,
                "TopRight": intake,
            }
            for board in range(self._model.boards)
        ]
        return {"METADATA": _TEMPS["METADATA"], **payload("TEMPS", rows, 201, f"{len(rows)} Temp(s)")}

    def _pools(self) -> Reply:
        return payload("POOLS", _POOLS, 7, f"{len(_POOLS)} Pool(s)")

    def _groups(self) -> Reply:
        numbers = sorted({pool["GROUP"] for pool in _POOLS})
        rows = [{"GROUP": n, "Name": "default" if n == 0 else f"group-{n}", "Quota": 1.0} for n in numbers]
        return payload("GROUPS", rows, 324, "List groups")

    def _tempctrl(self) -> Reply:
        row = {"Dangerous": 75.0, "Hot": 70.0, "Mode": "Automatic", "Target": 60.0}
        return payload("TEMPCTRL", [row], 200, "Temperature control")

    def _atm(self) -> Reply:
        row = {
            "Enabled": self._settings.atm_enabled,
            "MaxProfile": "default",
            "MinProfile": "",
            "PostRampMinutes": 15,
            "StartupMinutes": 15,
            "TempWindow": 5.0,
        }
        return payload("ATM", [row], 339, "ATM configuration values")
