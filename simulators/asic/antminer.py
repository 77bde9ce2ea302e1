"""A simulated Antminer with its maker's firmware (web interface of 2020 and later): port 4028, and what a write does.

Port 4028 is cgminer's: one JSON request per connection, reads only, `a+b` is no command here. The web interface beside
it (`antminer_web`) holds the configuration. Writing that costs flash. A change of the work mode restarts the mining
process, and port 4028 is mute until it is up again; any other change is taken over without. What the configuration says
is what was ordered, never what the boards do.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from simulators.asic.antminer_conf import LOW_POWER, NORMAL, SLEEP, MinerConf, Unsent, conf_of
from simulators.asic.antminer_replies import AntminerReads, StockState, status
from simulators.asic.bank import MinerBank
from simulators.asic.response import Mode
from simulators.asic.wire_server import Reply
from simulators.asic.wirelog import WireLog, WireRecord
from simulators.faults import Fault, FaultSet

_RUNG: Final = {NORMAL: "normal", LOW_POWER: "low"}
_RISING_POWER: Final = (SLEEP, LOW_POWER, NORMAL)


class ConfRead(StrEnum):
    """What `get_miner_conf.cgi` gives; a switch for tests of clients that read before they write."""

    SOUND = "sound"
    FAILS = "fails"
    """Status 500."""
    NO_POOLS = "no-pools"
    """The rest of the file, without its pools."""
    CUT = "cut"
    """The file ends in the middle, the answer does not: a configuration that was not written to its end."""


@dataclass(frozen=True, slots=True)
class StockTraits:
    """How versions of the firmware differ, and what nobody publishes."""

    unsent: Unsent = Unsent.LOST
    """What a write does to keys it does not bring."""
    modes: frozenset[str] = frozenset(_RISING_POWER)
    """Work modes a write may set. Any other is passed over, and the write succeeds. Published scripts take 0 and 1, or
    0 to 2, or 0 to 3; this simulator knows no watts for 2."""
    write_s: float = 0.0
    """Seconds until a write is in the file and answered. Published: more than 5 on an S19, 21 on an S19j Pro; 0 keeps
    tests quick."""
    process_start_s: float = 8.0
    """Seconds for which a mining process that starts leaves port 4028 mute; assumed."""
    api_while_asleep: bool = True
    """Whether port 4028 answers in sleep mode. An S19 was seen to, with zero rates."""


class AntminerStock:
    """The firmware of miner `index` of `bank`: configuration, faults and the log of what it was told."""

    def __init__(
        self,
        bank: MinerBank,
        index: int,
        *,
        host: str,
        on_record: Callable[[WireRecord], None] | None = None,
        username: str = "root",
        password: str = "root",  # noqa: S107 - what these miners are shipped with
        traits: StockTraits | None = None,
    ) -> None:
        self.bank: Final = bank
        self.index: Final = index
        self.faults: Final = FaultSet()
        self.log: Final = WireLog(on_record)
        self.username: Final = username
        self.password: Final = password
        self.traits: Final = traits or StockTraits()
        model = bank.models[index]
        self._rungs = {mode: model.profile_index(name) for mode, name in _RUNG.items()}
        self.state: Final = StockState(host, conf_of(index, model.nameplate.frequency_mhz))
        self.reads: Final = AntminerReads(bank, index, self.state)
        self.config_writes = 0
        """Times the configuration was written to flash."""
        self.restarts = 0
        """Times a write restarted the mining process."""
        self.conf_read = ConfRead.SOUND
        self.web_connections = 0
        """Connections to the web interface so far; those to port 4028 are in the log."""
        self.challenges = 0
        """Requests turned away with 401 so far."""
        self._writing: asyncio.TimerHandle | None = None
        lowered = bank.profile_index[index] == self._rungs[LOW_POWER]
        mode = SLEEP if bank.mode[index] == Mode.SLEEP else LOW_POWER if lowered else NORMAL
        self.state.conf = replace(self.state.conf, work_mode=mode)

    # --- port 4028 ---------------------------------------------------------------------------------------------

    @property
    def process_is_up(self) -> bool:
        """Whether the mining process answers, on port 4028 and to the scripts that ask it."""
        mute = self.state.conf.work_mode == SLEEP and not self.traits.api_while_asleep
        return not mute and self.reads.process_s >= self.traits.process_start_s

    def answer(self, request: object, at_s: float) -> Reply | None:
        """See `ApiFirmware`."""
        if not self.process_is_up:
            return None
        if request is None:
            return status(23, "Invalid JSON", error=True)
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            return status(24, "Missing JSON 'command'", error=True)
        command: str = request["command"]
        self.log.add(WireRecord(at_s, command, str(request.get("parameter", "")), is_write=False))
        if Fault.DEVICE_ERROR in self.faults:
            return status(500, "Internal error", error=True)
        is_new = request.get("new_api") is True
        read = self.reads.scripts.get(command) if is_new else self.reads.api.get(command)
        return read() if read is not None else status(14, "Invalid command", error=True)

    # --- writes, made by the web interface ---------------------------------------------------------------------

    @property
    def is_writing(self) -> bool:
        """Whether a write has begun and is not in the file yet."""
        return self._writing is not None

    def write(self, sent: Mapping[str, Any]) -> None:
        """Write the configuration and act on it, both after as long as that takes."""
        if self.traits.write_s > 0:
            loop = asyncio.get_running_loop()
            self._writing = loop.call_later(self.traits.write_s, self._write, dict(sent))
        else:
            self._write(sent)

    def raises_power(self, sent: Mapping[str, Any]) -> bool | None:
        """Whether a write of `sent` asks for more power than is configured; None when it leaves the mode alone."""
        asked = _RISING_POWER.index(self._written(sent).work_mode)
        configured = _RISING_POWER.index(self.state.conf.work_mode)
        return None if asked == configured else asked > configured

    def _written(self, sent: Mapping[str, Any]) -> MinerConf:
        return self.state.conf.written(sent, unsent=self.traits.unsent, modes=self.traits.modes)

    def _write(self, sent: Mapping[str, Any]) -> None:
        self._writing = None
        old, self.state.conf = self.state.conf, self._written(sent)
        self.config_writes += 1
        mode = self.state.conf.work_mode
        if mode == old.work_mode:
            return
        self.restarts += 1
        self.bank.command_restart(self.index, self._rungs.get(mode), asleep=mode == SLEEP)
        self.state.process_since_s = float(self.bank.uptime_s[self.index])
