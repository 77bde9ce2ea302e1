"""Which miners exist: models, the firmware family each runs, their profile ladders, and the watts without hashing.

Sources of the numbers: the S19k Pro ladder is recorded (`simulators/data/luxminer/profiles.json`). The other models
have their maker's nameplate (hash rate, watts) at the default profile. LuxOS ladders take the *relative* power and
voltage the recorded one shows at the same relative frequency, in the firmware's own steps of 25 MHz. WhatsMiner rungs
are percents of the nameplate power; that the hash rate falls a little slower than the power (exponent 0.9, close to
the recorded LuxOS ladder) is an assumption. Antminer stock has its two documented work modes; low power is a flat
under-clock by a quarter, its watts (68 %) are an assumption. Sleep watts: the vendor's claim for LuxOS (control board
only, power supply off), assumptions for the other two. Chip frequencies and voltages of the other two are plausible
fillers for fields nothing depends on.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import resources
from typing import Final

import numpy as np

from simulators.asic.response import ANTMINER_RESPONSE, LUXOS_RESPONSE, WHATSMINER_RESPONSE, ResponseTimes

_FREQUENCY_STEP_MHZ: Final = 25
_STEPS_BELOW: Final = 16
_STEPS_ABOVE: Final = 8
_PERCENT_RUNGS: Final = tuple(range(40, 101, 5))
_HASHRATE_EXPONENT: Final = 0.9
_LOW_POWER_WATTS: Final = 0.68
_LOW_POWER_HASHRATE: Final = 0.75


class Family(StrEnum):
    """The firmware a miner runs; the value is its name in an inventory."""

    LUXOS = "LuxOS"
    WHATSMINER = "WhatsMiner V2"
    ANTMINER = "Antminer stock"


@dataclass(frozen=True, slots=True)
class Profile:
    """One rung of a model's ladder: a frequency and voltage pair and what it draws and yields at the nameplate."""

    name: str
    step: int
    frequency_mhz: int
    voltage_v: float
    power_w: int
    hashrate_th: float


@dataclass(frozen=True, slots=True)
class MinerModel:
    """A miner model as its firmware runs it. `profiles` is ordered by rising power; `default_profile` indexes it."""

    key: str
    name: str
    """As people and inventories call it. Two families may run the same machine under the same name."""
    wire_name: str
    """As the firmware spells the model on the wire: `M60S_VK30` in a WhatsMiner's `devdetails`, else as `name`."""
    family: Family
    response: ResponseTimes
    profiles: tuple[Profile, ...]
    default_profile: int
    boards: int
    chips_per_board: int
    fans: int
    sleep_power_w: float
    """Power supply off, control board alive."""
    idle_power_w: float
    """Control board and fans, boards not hashing: the draw of a miner that is rebooting."""
    trims: bool
    """Whether the machine hashes on through a change of profile; else the change restarts the mining process."""
    profile_lost_at_restart: bool
    """Whether the profile is forgotten when the mining process starts anew, be it after a sleep, a restart or a reboot:
    the miner then comes back at what its configuration says."""
    sleep_lost_at_reboot: bool
    """Whether a sleeping one boots straight into hashing when it is restarted, or its power comes back."""

    @property
    def nameplate(self) -> Profile:
        """The rung the maker advertises."""
        return self.profiles[self.default_profile]

    @property
    def efficiency_j_per_th(self) -> float:
        """Joules per terahash at the nameplate."""
        return self.nameplate.power_w / self.nameplate.hashrate_th

    def profile_index(self, name: str) -> int | None:
        """Index of the rung called `name`, None when the ladder has no such rung."""
        for index, profile in enumerate(self.profiles):
            if profile.name == name:
                return index
        return None


def _recorded_ladder() -> tuple[Profile, ...]:
    text = resources.files("simulators").joinpath("data/luxminer/profiles.json").read_text(encoding="utf-8")
    return tuple(
        Profile(
            name=row["Profile Name"],
            step=int(row["Step"]),
            frequency_mhz=row["Frequency"],
            voltage_v=row["Voltage"],
            power_w=row["Watts"],
            hashrate_th=row["Hashrate"],
        )
        for row in json.loads(text)["PROFILES"]
    )


def _default_index(ladder: tuple[Profile, ...]) -> int:
    return next(index for index, profile in enumerate(ladder) if profile.step == 0)


def _scaled_ladder(
    recorded: tuple[Profile, ...], frequency_mhz: int, voltage_v: float, power_w: int, hashrate_th: float
) -> tuple[Profile, ...]:
    """The ladder of another model around its nameplate, cut to the relative frequencies the recording covers."""
    plate = recorded[_default_index(recorded)]
    relative_frequency = np.array([rung.frequency_mhz / plate.frequency_mhz for rung in recorded])
    relative_power = np.array([rung.power_w / plate.power_w for rung in recorded])
    relative_voltage = np.array([rung.voltage_v / plate.voltage_v for rung in recorded])
    ladder: list[Profile] = []
    for step in range(-_STEPS_BELOW, _STEPS_ABOVE + 1):
        rung_mhz = frequency_mhz + step * _FREQUENCY_STEP_MHZ
        ratio = rung_mhz / frequency_mhz
        if not relative_frequency[0] <= ratio <= relative_frequency[-1]:
            continue
        ladder.append(
            Profile(
                # The firmware calls the nameplate rung "default", never by its frequency.
                name="default" if step == 0 else f"{rung_mhz}MHz",
                step=step,
                frequency_mhz=rung_mhz,
                voltage_v=round(voltage_v * float(np.interp(ratio, relative_frequency, relative_voltage)), 2),
                power_w=round(power_w * float(np.interp(ratio, relative_frequency, relative_power))),
                hashrate_th=round(hashrate_th * ratio, 1),
            )
        )
    return tuple(ladder)


def _percent_ladder(power_w: int, hashrate_th: float, frequency_mhz: int, voltage_v: float) -> tuple[Profile, ...]:
    """A WhatsMiner's rungs: so many percent of the nameplate power, called by the number."""
    return tuple(
        Profile(
            name=str(percent),
            step=(percent - 100) // 5,
            frequency_mhz=round(frequency_mhz * (percent / 100) ** _HASHRATE_EXPONENT),
            voltage_v=voltage_v,
            power_w=round(power_w * percent / 100),
            hashrate_th=round(hashrate_th * (percent / 100) ** _HASHRATE_EXPONENT, 1),
        )
        for percent in _PERCENT_RUNGS
    )


def _mode_ladder(power_w: int, hashrate_th: float, frequency_mhz: int, voltage_v: float) -> tuple[Profile, ...]:
    """An Antminer's two work modes that hash."""
    low = Profile(
        name="low",
        step=-1,
        frequency_mhz=round(frequency_mhz * _LOW_POWER_HASHRATE),
        voltage_v=voltage_v,
        power_w=round(power_w * _LOW_POWER_WATTS),
        hashrate_th=round(hashrate_th * _LOW_POWER_HASHRATE, 1),
    )
    return low, Profile("normal", 0, frequency_mhz, voltage_v, power_w, hashrate_th)


def _luxos(key: str, name: str, ladder: tuple[Profile, ...], chips_per_board: int) -> MinerModel:
    return MinerModel(
        key=key,
        name=name,
        wire_name=name,
        family=Family.LUXOS,
        response=LUXOS_RESPONSE,
        profiles=ladder,
        default_profile=_default_index(ladder),
        boards=3,
        chips_per_board=chips_per_board,
        fans=4,
        sleep_power_w=25.0,
        idle_power_w=60.0,
        trims=True,
        profile_lost_at_restart=False,
        sleep_lost_at_reboot=False,
    )


def _whatsminer(key: str, name: str, wire_name: str, ladder: tuple[Profile, ...], chips_per_board: int) -> MinerModel:
    return MinerModel(
        key=key,
        name=name,
        wire_name=wire_name,
        family=Family.WHATSMINER,
        response=WHATSMINER_RESPONSE,
        profiles=ladder,
        default_profile=_default_index(ladder),
        boards=3,
        chips_per_board=chips_per_board,
        fans=2,
        sleep_power_w=25.0,
        idle_power_w=60.0,
        trims=True,
        profile_lost_at_restart=True,
        sleep_lost_at_reboot=True,
    )


def _antminer(key: str, name: str, ladder: tuple[Profile, ...], chips_per_board: int) -> MinerModel:
    return MinerModel(
        key=key,
        name=name,
        wire_name=name,
        family=Family.ANTMINER,
        response=ANTMINER_RESPONSE,
        profiles=ladder,
        default_profile=_default_index(ladder),
        boards=3,
        chips_per_board=chips_per_board,
        fans=4,
        sleep_power_w=30.0,
        idle_power_w=60.0,
        trims=False,
        profile_lost_at_restart=False,
        sleep_lost_at_reboot=False,
    )


def _build() -> Mapping[str, MinerModel]:
    recorded = _recorded_ladder()
    models = (
        _luxos("s21", "Antminer S21", _scaled_ladder(recorded, 490, 14.0, 3500, 200.0), 108),
        _luxos("s19xp", "Antminer S19 XP", _scaled_ladder(recorded, 535, 13.6, 3010, 140.0), 110),
        _luxos("s19kpro", "Antminer S19k Pro", recorded, 77),
        _luxos("s19jpro", "Antminer S19j Pro", _scaled_ladder(recorded, 545, 13.4, 3068, 104.0), 126),
        _whatsminer("m60s", "WhatsMiner M60S", "M60S_VK30", _percent_ladder(3441, 186.0, 560, 14.2), 245),
        _whatsminer("m50s", "WhatsMiner M50S", "M50S_VH50", _percent_ladder(3276, 126.0, 640, 14.4), 135),
        _whatsminer("m30spp", "WhatsMiner M30S++", "M30S++_VH50", _percent_ladder(3472, 112.0, 660, 14.5), 74),
        _antminer("s21stock", "Antminer S21", _mode_ladder(3500, 200.0, 490, 14.0), 108),
        _antminer("s19xpstock", "Antminer S19 XP", _mode_ladder(3010, 140.0, 535, 13.6), 110),
        _antminer("s19pro", "Antminer S19 Pro", _mode_ladder(3250, 110.0, 675, 13.7), 114),
    )
    return {entry.key: entry for entry in sorted(models, key=lambda entry: entry.efficiency_j_per_th)}


MODELS: Final[Mapping[str, MinerModel]] = _build()
"""Every model of every family by key, best efficiency first, from about 18 to 31 J/TH."""


def keys_of(family: Family) -> tuple[str, ...]:
    """Keys of a family's models, best efficiency first."""
    return tuple(key for key, model in MODELS.items() if model.family is family)


LUXOS_MODELS: Final = keys_of(Family.LUXOS)
"""The four LuxOS models: what a fleet is made of where nothing else is said."""
