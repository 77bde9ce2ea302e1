"""Which miners exist: models, their profile ladders and the watts they draw when they do not hash.

Sources of the numbers: the S19k Pro ladder is recorded (`simulators/data/luxminer/profiles.json`). The other models
have their maker's nameplate (hash rate, watts) at the default profile; their ladders take the *relative* power and
voltage the recorded one shows at the same relative frequency, in the firmware's own steps of 25 MHz. Sleep watts are
the vendor's claim for LuxOS (about 25 W: control board only, power supply off).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Final

import numpy as np

_FREQUENCY_STEP_MHZ: Final = 25
_STEPS_BELOW: Final = 16
_STEPS_ABOVE: Final = 8


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
    """A miner model as LuxOS runs it. `profiles` is ordered by rising power; `default_profile` indexes it."""

    key: str
    name: str
    profiles: tuple[Profile, ...]
    default_profile: int
    boards: int
    chips_per_board: int
    fans: int
    sleep_power_w: float
    """Power supply off, control board alive."""
    idle_power_w: float
    """Control board and fans, boards not hashing: the draw of a miner that is rebooting."""

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


def _build() -> Mapping[str, MinerModel]:
    recorded = _recorded_ladder()

    def model(key: str, name: str, ladder: tuple[Profile, ...], chips_per_board: int) -> MinerModel:
        return MinerModel(
            key=key,
            name=name,
            profiles=ladder,
            default_profile=_default_index(ladder),
            boards=3,
            chips_per_board=chips_per_board,
            fans=4,
            sleep_power_w=25.0,
            idle_power_w=60.0,
        )

    models = (
        model("s21", "Antminer S21", _scaled_ladder(recorded, 490, 14.0, 3500, 200.0), 108),
        model("s19xp", "Antminer S19 XP", _scaled_ladder(recorded, 535, 13.6, 3010, 140.0), 110),
        model("s19kpro", "Antminer S19k Pro", recorded, 77),
        model("s19jpro", "Antminer S19j Pro", _scaled_ladder(recorded, 545, 13.4, 3068, 104.0), 126),
    )
    return {entry.key: entry for entry in models}


MODELS: Final[Mapping[str, MinerModel]] = _build()
"""Every model by key, best efficiency first: four classes from about 18 to 30 J/TH."""
