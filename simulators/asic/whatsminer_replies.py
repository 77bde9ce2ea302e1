"""WhatsMiner V2 replies to reads: the recorded shapes filled with the state of one simulated miner.

Keys, types and units are those of `simulators/data/whatsminer`. Added to them: `MHS 5s`, `MHS 1m` and `MHS 15m` in
`summary`, the same and `HS RT` in `devs`, which later firmware tells and published clients read. `devdetails` follows
cgminer, which the firmware descends from.
"""

import time
from collections.abc import Callable, Mapping
from typing import Final

from simulators.asic.bank import MinerBank
from simulators.asic.models import MinerModel, Profile
from simulators.asic.response import Mode
from simulators.asic.whatsminer_state import Ages, Firmware, Order, Settings, recorded
from simulators.asic.wire_server import Reply

STALE_POWER_S: Final = 5.0
"""How long `summary` tells the watts of before a `power_off`, counted from the order."""
MINEROFF_LAG_S: Final = 2.0
"""How long `status` tells the state of before a `power_off` or `power_on`."""

OK: Final = "API command OK"
PROCESS_DOWN: Final = "btminer process is down"

_FAN_MIN_RPM: Final = 1_500
_FAN_MAX_RPM: Final = 6_000


_DEV: Final = recorded("devs")["DEVS"][0]
_ERRORS: Final = recorded("get_error_code")["Msg"]
_INFO: Final = recorded("get_miner_info")["Msg"]
_PSU: Final = recorded("get_psu")["Msg"]
_SUMMARY: Final = recorded("summary")["SUMMARY"][0]
_VERSION: Final = recorded("get_version")["Msg"]


def answer(code: int, message: object, *, error: bool = False) -> Reply:
    """What the API daemon itself says: one object, no list."""
    return {
        "STATUS": "E" if error else "S",
        "When": int(time.time()),
        "Code": code,
        "Msg": message,
        "Description": "",
    }


def rows(key: str, content: list[Reply], code: int, message: str) -> Reply:
    """What the mining process says, in the way of cgminer."""
    entry = {
        "Code": code,
        "Description": "cgminer 4.9.2",
        "Msg": message,
        "STATUS": "S",
        "When": int(time.time()),
    }
    return {"STATUS": [entry], key: content, "id": 1}


class WhatsMinerReads:
    """Answers the reads of miner `index` of `bank` from what its firmware reports."""

    def __init__(self, bank: MinerBank, index: int, settings: Settings, firmware: Firmware) -> None:
        self._bank = bank
        self._i = index
        self._settings = settings
        self._firmware = firmware
        self._model: MinerModel = bank.models[index]
        self.ages: Final = Ages(bank, index)
        self._order: Order | None = None
        self.joinable: Final[Mapping[str, Callable[[], Reply]]] = {
            "summary": self._summary,
            "devs": self._devs,
            "edevs": self._devs,
            "devdetails": self._devdetails,
            "pools": self._pools,
        }
        """Reads the mining process answers; only these can be asked several at once."""
        self.single: Final[Mapping[str, Callable[[], Reply]]] = {
            "status": self._status,
            "get_version": self._version,
            "get_miner_info": self._info,
            "get_psu": self._psu,
            "get_error_code": lambda: answer(131, _ERRORS),
        }
        """Reads the API daemon answers."""

    # --- the miner as its firmware sees it ---------------------------------------------------------------------

    @property
    def is_off(self) -> bool:
        """Whether `status` says that the miner is off; for a while it says what was so before the last order."""
        order = self._order_within(MINEROFF_LAG_S)
        return bool(self._bank.mode[self._i] == Mode.SLEEP) if order is None else order.told_off

    @property
    def power_w(self) -> int:
        """Whole watts as `summary` tells them, -1 for those it will not tell."""
        order = self._order_within(STALE_POWER_S)
        if order is not None and self._bank.mode[self._i] == Mode.SLEEP:
            return order.told_w
        if self.ages.process_is_down and not self._firmware.tells_standby_w:
            return -1
        return round(float(self._bank.reported_power_w[self._i]))

    def note_order(self) -> None:
        """An order to stop or start has come and is about to be carried out."""
        now = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime())
        self._order = Order(self.ages.board_s, self.is_off, self.power_w, now)

    def forget_order(self) -> None:
        """Something started anew: nothing lags any more."""
        self._order = None

    def _order_within(self, seconds: float) -> Order | None:
        """The last order, if it is younger than that; a miner that is slow in everything is slow in this too."""
        if self._order is None:
            return None
        age_s = self.ages.board_s - self._order.board_s
        return self._order if age_s < seconds * float(self._bank.response_scale[self._i]) else None

    @property
    def _profile(self) -> Profile:
        return self._model.profiles[int(self._bank.profile_index[self._i])]

    @property
    def _mhs(self) -> float:
        return 0.0 if self.ages.process_is_down else round(float(self._bank.reported_hashrate_th[self._i]) * 1e6, 2)

    @property
    def _hashrates(self) -> Reply:
        """Megahashes per second, now and over the windows the firmware averages."""
        means = self._bank.hashrate_mean_th[self._i] * (0.0 if self.ages.process_is_down else 1e6)
        return {
            "HS RT": self._mhs,
            "MHS 5s": self._mhs,
            "MHS 1m": round(float(means[0]), 2),
            "MHS 15m": round(float(means[2]), 2),
            "MHS av": round(float(means[3]), 2),
        }

    @property
    def _elapsed_s(self) -> int:
        return int(self.ages.process_s)

    @property
    def _temperatures(self) -> Reply:
        board_c = round(float(self._bank.temperature_c[self._i]), 1)
        chip_c = round(board_c + 6.0, 1)
        return {"Chip Temp Avg": chip_c, "Chip Temp Max": round(chip_c + 9.0, 1), "Chip Temp Min": board_c}

    @property
    def _fan_rpm(self) -> int:
        if self.ages.process_is_down:
            return 0
        share = min(1.0, max(0.0, (float(self._bank.temperature_c[self._i]) - 30.0) / 40.0))
        return _FAN_MIN_RPM + round((_FAN_MAX_RPM - _FAN_MIN_RPM) * share)

    @property
    def _mac(self) -> str:
        return f"D4:01:02:{self._i >> 16 & 0xFF:02X}:{self._i >> 8 & 0xFF:02X}:{self._i & 0xFF:02X}"

    # --- replies -----------------------------------------------------------------------------------------------

    def _summary(self) -> Reply:
        rpm = self._fan_rpm
        row = {
            **_SUMMARY,
            **self._hashrates,
            **self._temperatures,
            "Accepted": self._elapsed_s // 5,
            "Elapsed": self._elapsed_s,
            "Factory GHS": round(self._model.nameplate.hashrate_th * 1e3),
            "Fan Speed In": rpm,
            "Fan Speed Out": round(rpm * 0.98),
            "Hash Stable": self._mhs > 0.0,
            "MAC": self._mac,
            "Power": self.power_w,
            "Power Limit": 0 if self.ages.process_is_down else self._settings.power_limit_w,
            "Power Mode": self._settings.power_mode,
            "Target Freq": self._profile.frequency_mhz,
            "Uptime": int(self.ages.board_s),
        }
        return rows("SUMMARY", [row], 11, "Summary")

    def _devs(self) -> Reply:
        if self.ages.process_is_down:
            return answer(132, PROCESS_DOWN, error=True)
        boards = self._model.boards
        frequency_mhz = self._profile.frequency_mhz if self._mhs else 0
        share = {name: round(mhs / boards, 2) for name, mhs in self._hashrates.items()}
        devs = [
            {
                **_DEV,
                **share,
                **self._temperatures,
                "ASC": slot,
                "Accepted": self._elapsed_s // 5 // boards,
                "Chip Frequency": frequency_mhz,
                "Device Elapsed": self._elapsed_s,
                "Effective Chips": self._model.chips_per_board,
                "Factory GHS": round(self._model.nameplate.hashrate_th * 1e3 / boards),
                "Fan Speed In": self._fan_rpm,
                "Fan Speed Out": round(self._fan_rpm * 0.98),
                "Frequency": float(frequency_mhz),
                "ID": slot,
                "PCB SN": f"CURTAILD{self._i:011d}{slot}",
                "Slot": slot,
                "Temperature": round(float(self._bank.temperature_c[self._i]) + slot, 1),
            }
            for slot in range(boards)
        ]
        return rows("DEVS", devs, 9, f"{boards} ASC(s)")

    def _devdetails(self) -> Reply:
        if self.ages.process_is_down:
            return answer(132, PROCESS_DOWN, error=True)
        details = [
            {
                "DEVDETAILS": slot,
                "Name": "SM",
                "ID": slot,
                "Driver": "bitmicro",
                "Kernel": "",
                "Model": self._model.wire_name,
            }
            for slot in range(self._model.boards)
        ]
        return rows("DEVDETAILS", details, 69, "Device Details")

    def _pools(self) -> Reply:
        if self.ages.process_is_down:
            return answer(132, PROCESS_DOWN, error=True)
        return rows("POOLS", self._settings.pools, 7, f"{len(self._settings.pools)} Pool(s)")

    def _status(self) -> Reply:
        off, modes = self.is_off, self._firmware.tells_modes
        told = {
            "FirmwareVersion": self._firmware.version,
            # What `set_target_freq` was told. The percent of `set_power_pct` shows nowhere.
            "hash_percent": "0" if modes else "",
            "mineroff": "true" if off else "false",
            "mineroff_reason": "by whatsminer API" if off else "",
            "mineroff_time": self._order.came if off and self._order is not None else "",
            "power_limit_set": str(self._settings.power_limit_w),
            "power_mode": self._settings.power_mode.lower() if modes else "",
        }
        return answer(131, {key: value for key, value in told.items() if key in self._firmware.status_keys})

    def _version(self) -> Reply:
        return answer(131, {**_VERSION, "fw_ver": self._firmware.version})

    def _info(self) -> Reply:
        told = {"hostname": self._settings.hostname, "ledstat": self._settings.led, "mac": self._mac}
        return answer(131, {**_INFO, **told})

    def _psu(self) -> Reply:
        return answer(131, {**_PSU, "fan_speed": str(self._fan_rpm)})
