"""What a simulated stock Antminer says of itself: the recorded shapes filled with the state of its physics.

The replies on port 4028 have the keys, types and units of the recordings in `simulators/data/antminer`, and so has
`get_system_info.cgi`. `get_miner_conf.cgi` follows a published log of an S19, the other scripts follow published
descriptions and clients; `simulators/data/antminer/README.md` says which is which. There are no watts anywhere.
"""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

from simulators.asic.antminer_conf import MinerConf, Pool
from simulators.asic.bank import MinerBank
from simulators.asic.models import MinerModel, Profile
from simulators.asic.physics import HASHRATE_MEAN_WINDOWS_S
from simulators.asic.wire_server import Reply

_FAN_MIN_RPM: Final = 960
"""Also what the fans of a sleeping S19 were seen to turn."""
_FAN_MAX_RPM: Final = 6_000
_CHECKS: Final = ("rate", "network", "fans", "temp")


def _recorded(command: str) -> Reply:
    text = resources.files("simulators").joinpath(f"data/antminer/{command}.json").read_text(encoding="utf-8")
    reply: Reply = json.loads(text)
    return reply


_DEV: Final = _recorded("devs")["DEVS"][0]
_POOL: Final = _recorded("pools")["POOLS"][0]
_STATS: Final = _recorded("stats")["STATS"]
_SUMMARY: Final = _recorded("summary")["SUMMARY"][0]
_SYSTEM: Final = _recorded("system_info")
_VERSION: Final = _recorded("version")["VERSION"][0]


def status(code: int, message: str, *, error: bool = False) -> Reply:
    """The envelope every reply on port 4028 carries, here without payload."""
    entry = {
        "Code": code,
        "Description": "cgminer 1.0.0",
        "Msg": message,
        "STATUS": "E" if error else "S",
        "When": int(time.time()),
    }
    return {"STATUS": [entry], "id": 1}


@dataclass(slots=True)
class StockState:
    """What the firmware holds and the physics does not care about."""

    host: str
    conf: MinerConf
    blinking: bool = False
    process_since_s: float = 0.0
    """The miner's uptime when its mining process started."""


class AntminerReads:
    """Answers the reads of miner `index` of `bank`."""

    def __init__(self, bank: MinerBank, index: int, state: StockState) -> None:
        self._bank = bank
        self._i = index
        self._state = state
        self._model: MinerModel = bank.models[index]
        self.api: Final[Mapping[str, Callable[[], Reply]]] = {
            "devs": self._devs,
            "pools": self._pools,
            "stats": self._stats,
            "summary": self._summary,
            "version": self._version,
        }
        """Commands of port 4028."""
        self.scripts: Final[Mapping[str, Callable[[], Reply]]] = {
            "pools": self._web_pools,
            "stats": self._web_stats,
            "summary": self._web_summary,
        }
        """Scripts of the web interface that ask the mining process; port 4028 answers alike to `"new_api": true`."""
        self.facts: Final[Mapping[str, Callable[[], Reply]]] = {
            "get_blink_status": lambda: {"blink": state.blinking},
            "get_network_info": self._network_info,
            "get_system_info": self._system_info,
        }
        """Scripts that need no mining process."""

    # --- the miner as its firmware sees it ---------------------------------------------------------------------

    @property
    def process_s(self) -> float:
        """Seconds the mining process has been running."""
        uptime_s = float(self._bank.uptime_s[self._i])
        if uptime_s < self._state.process_since_s:  # the machine was restarted since, and the process with it
            self._state.process_since_s = 0.0
        return uptime_s - self._state.process_since_s

    @property
    def _profile(self) -> Profile:
        return self._model.profiles[int(self._bank.profile_index[self._i])]

    @property
    def _ghs(self) -> float:
        if not self._bank.boards_on[self._i]:
            return 0.0  # the process is newer than that, and has seen no share
        return round(float(self._bank.reported_hashrate_th[self._i]) * 1e3, 2)

    @property
    def _mean_ghs(self) -> float:
        """The mean over as long as the process can know of."""
        windows = [n for n, window_s in enumerate(HASHRATE_MEAN_WINDOWS_S) if window_s <= self.process_s]
        return round(float(self._bank.hashrate_mean_th[self._i][windows[-1]]) * 1e3, 2) if windows else self._ghs

    @property
    def _ideal_ghs(self) -> float:
        return round(self._profile.hashrate_th * 1e3, 2)

    @property
    def _exhaust_c(self) -> int:
        return round(float(self._bank.temperature_c[self._i]))

    @property
    def _fan_rpm(self) -> int:
        if not self._bank.boards_on[self._i]:
            return _FAN_MIN_RPM
        share = min(1.0, max(0.0, (self._exhaust_c - 40) / 30))
        return _FAN_MIN_RPM + round((_FAN_MAX_RPM - _FAN_MIN_RPM) * share / 10) * 10

    @property
    def _sensors_c(self) -> list[int]:
        """Inlet twice, outlet twice."""
        return [round((25.0 + self._exhaust_c) / 2)] * 2 + [self._exhaust_c] * 2

    @property
    def _used_pools(self) -> list[Pool]:
        return [pool for pool in self._state.conf.pools if pool.url]

    @property
    def _mac(self) -> str:
        return f"02:a7:5e:{self._i >> 16 & 0xFF:02x}:{self._i >> 8 & 0xFF:02x}:{self._i & 0xFF:02x}"

    # --- port 4028 ---------------------------------------------------------------------------------------------

    def _version(self) -> Reply:
        return {**status(22, "CGMiner versions"), "VERSION": [{**_VERSION, "Type": self._model.wire_name}]}

    def _summary(self) -> Reply:
        row = {
            **_SUMMARY,
            "Elapsed": int(self.process_s),
            "GHS 30m": self._mean_ghs,
            "GHS 5s": self._ghs,
            "GHS av": self._mean_ghs,
            "Last getwork": int(time.time()),
            "Total MH": self._mean_ghs * 1e3 * int(self.process_s),
        }
        return {**status(11, "Summary"), "SUMMARY": [row]}

    def _stats(self) -> Reply:
        boards, profile = self._model.boards, self._profile
        sensors = "-".join(map(str, self._sensors_c))
        live: Reply = {
            "Elapsed": int(self.process_s),
            "GHS 5s": self._ghs,
            "GHS av": self._mean_ghs,
            "fan_num": self._model.fans,
            "frequency": profile.frequency_mhz,
            "miner_count": boards,
            "miner_id": self._mac.replace(":", ""),
            "rate_30m": self._mean_ghs,
            "temp_num": boards,
            "total rate": self._mean_ghs,
            "total_acn": boards * self._model.chips_per_board,
            "total_freqavg": profile.frequency_mhz,
            "total_rateideal": self._ideal_ghs,
        }
        for board in range(1, boards + 1):
            live[f"chain_acn{board}"] = self._model.chips_per_board
            live[f"chain_acs{board}"] = _chip_map(self._model.chips_per_board)
            live[f"chain_rate{board}"] = f"{self._ghs / boards:.2f}"
            live[f"freq{board}"] = profile.frequency_mhz
            live |= {f"temp{board}": self._exhaust_c, f"temp2_{board}": self._exhaust_c}
            live |= {f"temp_{kind}{board}": sensors for kind in ("chip", "pcb", "pic")}
        live |= {f"fan{fan}": self._fan_rpm for fan in range(1, self._model.fans + 1)}
        rows = [{**_STATS[0], "Type": self._model.wire_name}, {**_STATS[1], **live}]
        return {**status(70, "CGMiner stats"), "STATS": rows}

    def _pools(self) -> Reply:
        rows = [
            {
                **_POOL,
                "POOL": slot,
                "Priority": slot,
                "Stratum Active": slot == 0,
                "Stratum URL": pool.url.partition("://")[2].partition(":")[0],
                "URL": pool.url,
                "User": pool.user,
            }
            for slot, pool in enumerate(self._used_pools)
        ]
        if not rows:
            return status(8, "No pools", error=True)
        return {**status(7, f"{len(rows)} Pool(s)"), "POOLS": rows}

    def _devs(self) -> Reply:
        row = {**_DEV, "Device Elapsed": int(self.process_s), "Last Share Time": int(time.time())}
        return {**status(9, "1 ASC(s)"), "DEVS": [row]}

    # --- web ---------------------------------------------------------------------------------------------------

    def _envelope(self, message: str) -> Reply:
        made = _VERSION["CompileTime"]
        info = {"miner_version": _VERSION["Miner"], "CompileTime": made, "type": self._model.wire_name}
        head = {"STATUS": "S", "when": int(time.time()), "Msg": message, "api_version": "1.0.0"}
        return {"STATUS": head, "INFO": info}

    @property
    def _rates(self) -> Reply:
        return {
            "elapsed": int(self.process_s),
            "rate_5s": self._ghs,
            "rate_30m": self._mean_ghs,
            "rate_avg": self._mean_ghs,
            "rate_ideal": self._ideal_ghs,
            "rate_unit": "GH/s",
        }

    def _web_summary(self) -> Reply:
        checks = [{"type": name, "status": "s", "code": 0, "msg": ""} for name in _CHECKS]
        row = {**self._rates, "hw_all": _SUMMARY["Hardware Errors"], "bestshare": _SUMMARY["Best Share"]}
        return {**self._envelope("summary"), "SUMMARY": [{**row, "status": checks}]}

    def _web_stats(self) -> Reply:
        boards, chips = self._model.boards, self._model.chips_per_board
        board = {
            "freq_avg": self._profile.frequency_mhz,
            "rate_ideal": round(self._ideal_ghs / boards, 2),
            "rate_real": round(self._ghs / boards, 2),
            "asic_num": chips,
            "asic": _chip_map(chips),
            "temp_pic": self._sensors_c,
            "temp_pcb": self._sensors_c,
            "temp_chip": self._sensors_c,
            "hw": 0,
            "eeprom_loaded": True,
            "hwp": 0.0,
            "tpl": [],
        }
        row = {
            **self._rates,
            "chain_num": boards,
            "fan_num": self._model.fans,
            "fan": [self._fan_rpm] * self._model.fans,
            "hwp_total": 0.0,
            # As configured: what the miner does about it is another matter.
            "miner-mode": int(self._state.conf.work_mode),
            "freq-level": _number(self._state.conf.freq_level),
            "chain": [{"index": n, **board, "sn": f"CURTAILD{self._i:06d}B{n}"} for n in range(boards)],
        }
        return {**self._envelope("stats"), "STATS": [row]}

    def _web_pools(self) -> Reply:
        alive = {"status": "Alive", "accepted": _POOL["Accepted"], "rejected": _POOL["Rejected"], "diff": _POOL["Diff"]}
        rows = [
            {"index": slot, "url": pool.url, "user": pool.user, "priority": slot, **alive}
            for slot, pool in enumerate(self._used_pools)
        ]
        return {**self._envelope("pools"), "POOLS": rows}

    def _system_info(self) -> Reply:
        return {
            **_SYSTEM,
            "hostname": f"miner-{self._i:05d}",
            "ipaddress": self._state.host,
            "macaddr": self._mac,
            "minertype": self._model.wire_name,
            "serinum": f"CURTAILD{self._i:09d}",
        }

    def _network_info(self) -> Reply:
        now = {key: _SYSTEM[key] for key in ("nettype", "netdevice", "netmask")}
        conf = dict.fromkeys(("conf_ipaddress", "conf_netmask", "conf_gateway", "conf_dnsservers"), "")
        conf |= {"conf_nettype": _SYSTEM["nettype"], "conf_hostname": f"miner-{self._i:05d}"}
        return {**now, "macaddr": self._mac, "ipaddress": self._state.host, **conf}


def _chip_map(chips: int) -> str:
    """One `o` for every chip that works, in threes."""
    return "".join(" " + "o" * min(3, chips - done) for done in range(0, chips, 3))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() else -1
