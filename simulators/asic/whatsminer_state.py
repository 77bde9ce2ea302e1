"""What a simulated WhatsMiner is made of beside the physics: its firmware version, its settings, its last order.

Three firmware versions, one per model, differ in what they tell; which keys `status` has and which it leaves empty is
as owners of those versions published it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Final

from simulators.asic.bank import MinerBank
from simulators.asic.response import Mode
from simulators.asic.wire_server import Reply


def recorded(command: str) -> Reply:
    """The recorded reply to `command`."""
    text = resources.files("simulators").joinpath(f"data/whatsminer/{command}.json").read_text(encoding="utf-8")
    reply: Reply = json.loads(text)
    return reply


_POOLS: Final = recorded("pools")["POOLS"]
_STATUS_KEYS: Final = frozenset(recorded("status")["Msg"])


@dataclass(frozen=True, slots=True)
class Firmware:
    """One firmware version and what it tells."""

    version: str
    status_keys: frozenset[str] = _STATUS_KEYS
    tells_modes: bool = True
    """Whether `status` fills `power_mode` and `hash_percent`, or leaves them empty."""
    tells_standby_w: bool = True
    """Whether `summary` tells the watts of a miner that is off; else it says -1."""


FIRMWARE_OF: Final[Mapping[str, Firmware]] = {
    "m60s": Firmware("20240624.18.REL"),
    "m50s": Firmware("20230803.11.REL", _STATUS_KEYS - {"power_limit_set"}, tells_modes=False),
    "m30spp": Firmware(
        "20230208.18.Rel",
        _STATUS_KEYS - {"power_limit_set", "mineroff_reason", "mineroff_time"},
        tells_standby_w=False,
    ),
}
"""The version each model runs, by the model's key."""


@dataclass(slots=True)
class Settings:
    """What the firmware stores and the physics does not care about."""

    hostname: str
    power_limit_w: int
    power_mode: str = "Normal"
    led: str = "auto"
    pools: list[Reply] = field(default_factory=lambda: [dict(pool) for pool in _POOLS])


@dataclass(frozen=True, slots=True)
class Order:
    """The last order to stop or start, and what the miner told of itself when it came."""

    board_s: float
    """Age of the control board."""
    told_off: bool
    told_w: int
    came: str
    """The miner's own time of day, as `status` spells it."""


class Ages:
    """How long the control board has been up, and how long the mining process.

    The physics keeps one clock per miner, which starts anew with either of them. `observe` has to be called before
    anything is answered, `process_restarted` around a restart of the process.
    """

    def __init__(self, bank: MinerBank, index: int) -> None:
        self._bank = bank
        self._i = index
        self._reboots = int(bank.reboots[index])
        self._board_before_s = 0.0
        self._process_began_s = 0.0
        self.observe()

    @property
    def process_is_down(self) -> bool:
        """Whether the mining process has ended: asleep, and really so."""
        return bool(self._bank.mode[self._i] == Mode.SLEEP and not self._bank.boards_on[self._i])

    @property
    def board_s(self) -> float:
        """Seconds since the control board started."""
        return self._board_before_s + self._clock_s

    @property
    def process_s(self) -> float:
        """Seconds since the mining process started; 0.0 while there is none."""
        return 0.0 if self.process_is_down else self._clock_s - self._process_began_s

    def observe(self) -> bool:
        """Take note of what has become of the miner; whether the control board has rebooted since the last look."""
        reboots = int(self._bank.reboots[self._i])
        rebooted = reboots != self._reboots
        if rebooted:
            self._reboots = reboots
            self._board_before_s = self._process_began_s = 0.0
        if self.process_is_down:
            self._process_began_s = self._clock_s
        return rebooted

    def process_restarted(self, clock_before_s: float) -> None:
        """The process alone has just been restarted; the physics' clock stood at `clock_before_s`."""
        self._board_before_s += clock_before_s - self._clock_s
        self._process_began_s = self._clock_s

    @property
    def _clock_s(self) -> float:
        return float(self._bank.uptime_s[self._i])
