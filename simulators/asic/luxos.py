"""A simulated LuxOS miner on its own wire: what it answers to which command.

The wire is the vendor's: TCP 4028, one JSON request per connection, `{"command": ..., "parameter": "a,b"}` without
newline, a JSON reply, then the server closes. `a+b` asks several parameterless commands at once. Writes need a session
id as first parameter. Codes and messages are recorded or documented wherever the vendor publishes them. Inventions,
not to be relied on: the numbers of an invalid session (403), an invalid parameter (400) and a device error (500),
and the replies to `logoff`, `kill` and reboots. Refusals use cgminer's own 45.

This module knows no socket; `wire_server` puts it on one.
"""

import time
from collections.abc import Callable
from typing import Final

from simulators.asic.bank import MinerBank
from simulators.asic.luxos_envelope import payload, status
from simulators.asic.luxos_replies import LuxOSReads, Settings
from simulators.asic.luxos_session import SESSION_TTL_S, Session
from simulators.asic.response import Answer, Behaviour
from simulators.asic.static_page import page
from simulators.asic.wire_server import Reply, reboots_on_write
from simulators.asic.wirelog import WireLog, WireRecord
from simulators.faults import Fault, FaultSet

WRITE_COMMANDS: Final = frozenset({"curtail", "profileset", "atmset", "rebootdevice", "resetminer"})
"""Commands that change the device; each needs a session."""

_CURTAIL_ACTIONS: Final = {"sleep": "sleep mode", "wakeup": "wake up"}
_LEGACY_BOARDS: Final = frozenset("0123")

WEB_PAGE: Final = page("<!doctype html><html><head><title>LuxOS</title></head><body>Luxor Firmware</body></html>\n")
"""What port 80 answers: enough for identification."""


class LuxOSMiner:
    """The firmware of miner `index` of `bank`: session, settings, faults and the log of what it was told."""

    def __init__(
        self,
        bank: MinerBank,
        index: int,
        *,
        host: str,
        session_ttl_s: float = SESSION_TTL_S,
        on_record: Callable[[WireRecord], None] | None = None,
    ) -> None:
        self.bank: Final = bank
        self.index: Final = index
        self.faults: Final = FaultSet()
        self.log: Final = WireLog(on_record)
        self.session: Final = Session(
            seed=bank.spec.seed * 1_000_003 + index, ttl_s=session_ttl_s, now_s=time.monotonic
        )
        self.settings: Final = Settings(host=host)
        self._reads = LuxOSReads(bank, index, self.settings)
        self._writes: Final[dict[str, Callable[[list[str]], Reply]]] = {
            "curtail": self._curtail,
            "profileset": self._profileset,
            "atmset": self._atmset,
            "rebootdevice": self._reboot,
            "resetminer": self._reboot,
        }
        self.faults.listen(self._on_fault)

    def answer(self, request: object, at_s: float) -> Reply | None:
        """See `simulators.asic.wire_server.ApiFirmware`."""
        if request is None:
            return status(23, "Invalid JSON", error=True)
        if not isinstance(request, dict) or not isinstance(request.get("command"), str):
            return status(24, "Missing JSON 'command'", error=True)
        command: str = request["command"]
        given = request.get("parameter")
        parameter = "" if given is None else str(given)
        names = command.split("+")
        for name in names:
            self.log.add(WireRecord(at_s, name, parameter, name in WRITE_COMMANDS, self._raises(name, parameter)))
        if not WRITE_COMMANDS.isdisjoint(names) and reboots_on_write(self):
            return None
        if Fault.DEVICE_ERROR in self.faults:
            return status(500, "Internal error", error=True)
        if len(names) == 1:
            return self._execute(command, parameter)
        if parameter:
            return self._invalid_command(command)
        return {**{name: [self._execute(name, "")] for name in names}, "id": 1}

    # --- dispatch ----------------------------------------------------------------------------------------------

    def _execute(self, command: str, parameter: str) -> Reply:
        read = self._reads.commands.get(command)
        if read is not None:
            return read()
        write = self._writes.get(command)
        if write is not None:
            session_id, *arguments = parameter.split(",")
            if Fault.SESSION_ERROR in self.faults or not self.session.use(session_id):
                return self._invalid_session()
            if self.bank.behaviour[self.index] & Behaviour.REFUSES:
                return status(45, f"Access denied to '{command}' command", error=True)
            reply = write(arguments)
            return status(500, "Internal error", error=True) if Fault.OBEY_WITH_ERROR in self.faults else reply
        match command:
            case "session":
                return payload("SESSION", [{"SessionID": self.session.active_id}], 319, "Session information")
            case "logon":
                return self._logon()
            case "logoff":
                return self._logoff(parameter)
            case "kill":
                self.session.drop()
                return status(318, "Session killed")
            case "voltageget":
                return self._voltageget(parameter)
            case _:
                return self._invalid_command(command)

    def _raises(self, command: str, parameter: str) -> bool | None:
        """Whether a command asks for more power than the miner is set to, or for less; None for neither."""
        argument = parameter.rpartition(",")[2]
        if command == "curtail" and argument in _CURTAIL_ACTIONS:
            return argument == "wakeup"
        wanted = self.bank.models[self.index].profile_index(argument) if command == "profileset" else None
        present = int(self.bank.profile_index[self.index])
        return None if wanted is None or wanted == present else wanted > present

    @staticmethod
    def _invalid_command(command: str) -> Reply:
        return status(14, f"Invalid command '{command[:80]}'", error=True)

    @staticmethod
    def _invalid_parameter(what: str) -> Reply:
        return status(400, f"Invalid parameter: {what[:80]}", error=True)

    @staticmethod
    def _invalid_session() -> Reply:
        return status(403, "Invalid session", error=True)

    def _logon(self) -> Reply:
        session_id = self.session.open()
        if not session_id:
            return status(402, "Another session is active", error=True)
        return payload("SESSION", [{"SessionID": session_id}], 316, "Session created")

    def _logoff(self, parameter: str) -> Reply:
        if not self.session.use(parameter.split(",")[0]):
            return self._invalid_session()
        self.session.drop()
        return status(317, "Session dropped")

    def _voltageget(self, parameter: str) -> Reply:
        board = parameter.split(",")[0]
        reply = self._reads.voltage(int(board)) if board.isascii() and board.isdigit() else None
        return reply if reply is not None else self._invalid_parameter(f"board {board}")

    # --- writes, session already checked -----------------------------------------------------------------------

    @property
    def _keeps_settings(self) -> bool:
        return Fault.IGNORE in self.faults or bool(self.bank.behaviour[self.index] & Behaviour.IGNORES)

    def _act(self, verb: Callable[[], Answer]) -> Answer:
        """Do it, or only say so."""
        return Answer.ACKNOWLEDGED if Fault.IGNORE in self.faults else verb()

    def _curtail(self, arguments: list[str]) -> Reply:
        action = arguments[0] if arguments else ""
        if action not in _CURTAIL_ACTIONS:
            return self._invalid_parameter(f"action '{action}'")
        verb = self.bank.command_sleep if action == "sleep" else self.bank.command_wake
        if action == "sleep" and Fault.REFUSE_SLEEP in self.faults:
            return status(45, "Access denied to 'curtail' command", error=True)
        if self._act(lambda: verb(self.index)) is Answer.REFUSED:
            return status(45, "Access denied to 'curtail' command", error=True)
        return payload("CURTAIL", [{"Action": _CURTAIL_ACTIONS[action]}], 335, "Curtailment command sent")

    def _profileset(self, arguments: list[str]) -> Reply:
        # Older clients name a board first; the firmware sets the whole machine either way.
        if len(arguments) > 1 and arguments[0] in _LEGACY_BOARDS:
            arguments = arguments[1:]
        name = arguments[0] if arguments else ""
        profile_index = self.bank.models[self.index].profile_index(name)
        if profile_index is None:
            return self._invalid_parameter(f"profile '{name}'")
        if self._act(lambda: self.bank.command_profile(self.index, profile_index)) is Answer.REFUSED:
            return status(45, "Access denied to 'profileset' command", error=True)
        row = {"Board": 0, "FrequencyStep": 5, "Profile": name, "VoltageStep": 0.05}
        return payload("PROFILE", [row], 321, "Profile Set")

    def _atmset(self, arguments: list[str]) -> Reply:
        enabled = self.settings.atm_enabled
        for argument in arguments:
            key, _, value = argument.partition("=")
            if key == "enabled":
                if value not in ("true", "false"):
                    return self._invalid_parameter(argument)
                enabled = value == "true"
        if not self._keeps_settings:
            self.settings.atm_enabled = enabled
        return status(340, "Advanced Thermal Management configuration updated")

    def _reboot(self, _arguments: list[str]) -> Reply:
        if self._act(lambda: self.bank.reboot(self.index)) is Answer.REFUSED:
            return status(45, "Access denied to 'rebootdevice' command", error=True)
        if not self._keeps_settings:
            self.session.drop()
        return status(328, "Rebooting device")

    def _on_fault(self, fault: Fault, is_on: bool) -> None:
        if fault is Fault.STALE_SESSION and is_on:
            self.session.drop()
        elif fault is Fault.FOREIGN_SESSION:
            self.session.hold(foreign=is_on)
