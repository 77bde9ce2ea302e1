"""What a simulated WhatsMiner does when it is told to: every write, once its token has been checked."""

from collections.abc import Callable, Mapping
from typing import Final

from simulators.asic.bank import MinerBank
from simulators.asic.models import MinerModel
from simulators.asic.response import Mode
from simulators.asic.whatsminer_replies import OK, PROCESS_DOWN, WhatsMinerReads, answer
from simulators.asic.whatsminer_state import Settings
from simulators.asic.whatsminer_tokens import TokenTable
from simulators.asic.wire_server import Reply

_SHARE_OF_MODE: Final = {"low": 0.75, "normal": 1.0, "high": 1.0}
_STORED: Final = (
    "adjust_upfreq_speed",
    "disable_btminer_fast_boot",
    "disable_web_pools",
    "enable_btminer_fast_boot",
    "enable_web_pools",
    "set_fan_zero_speed",
    "set_poweroff_cool",
    "set_temp_offset",
)
"""Settings the simulation has no use for: acknowledged, nothing else."""
_DIGITS: Final = 9


class WhatsMinerWrites:
    """Carries out the writes of miner `index` of `bank`."""

    def __init__(
        self, bank: MinerBank, index: int, settings: Settings, reads: WhatsMinerReads, tokens: TokenTable, password: str
    ) -> None:
        self._bank = bank
        self._i = index
        self._settings = settings
        self._reads = reads
        self._tokens = tokens
        self._model: MinerModel = bank.models[index]
        self.password = password
        """What the device's owner has set it to."""
        self.commands: Final[Mapping[str, Callable[[Reply], Reply]]] = {
            "power_off": self._power_off,
            "power_on": self._power_on,
            "set_power_pct": self._power_percent,
            "set_power_pct_v2": self._power_percent,
            "restore_power_pct": lambda _: self._to_percent(100),
            "adjust_power_limit": self._power_limit,
            **{f"set_{mode}_power": self._power_mode(mode) for mode in _SHARE_OF_MODE},
            "restart_btminer": self._restart,
            "reboot": self._reboot,
            "set_led": self._led,
            "set_hostname": self._hostname,
            "update_pools": self._update_pools,
            "update_pwd": self._update_password,
            "pre_power_on": lambda _: answer(131, {"complete": "true", "msg": "adjust complete"}),
            **dict.fromkeys(_STORED, lambda _: answer(131, OK)),
        }

    def raises(self, name: str, arguments: Reply) -> bool | None:
        """Whether a command asks for more power than the miner is set to, or for less; None for neither."""
        if name in ("power_on", "power_off"):
            return name == "power_on"
        if name == "restart_btminer" and self._bank.mode[self._i] == Mode.SLEEP:
            return True
        rung = self._rung_after(name, arguments)
        present = int(self._bank.profile_index[self._i])
        return None if rung is None or rung == present else rung > present

    def _rung_after(self, name: str, arguments: Reply) -> int | None:
        """The rung a command leads to, None for one that has no say in it."""
        if name in ("set_power_pct", "set_power_pct_v2"):
            percent = _whole(arguments.get("percent"))
            return None if percent is None else self._rung_of_percent(percent)
        if name == "adjust_power_limit":
            limit_w = _whole(arguments.get("power_limit"))
            return None if limit_w is None else self._rung_within(limit_w)
        share = next((share for mode, share in _SHARE_OF_MODE.items() if name == f"set_{mode}_power"), None)
        if share is not None:
            return self._rung_within(self._model.nameplate.power_w * share)
        forgets_percent = name in ("restore_power_pct", "restart_btminer", "reboot")
        return int(self._bank.configured_profile[self._i]) if forgets_percent else None

    def _rung_of_percent(self, percent: int) -> int:
        """The rung nearest to `percent` of what is configured."""
        ladder = self._model.profiles
        wanted_w = ladder[int(self._bank.configured_profile[self._i])].power_w * percent / 100
        return min(range(len(ladder)), key=lambda rung: abs(ladder[rung].power_w - wanted_w))

    def _rung_within(self, limit_w: float) -> int:
        """The highest rung that draws no more than `limit_w`, the lowest when none does."""
        within = [rung for rung, profile in enumerate(self._model.profiles) if profile.power_w <= limit_w]
        return max(within, default=0)

    # --- power -------------------------------------------------------------------------------------------------

    def _power_off(self, _: Reply) -> Reply:
        self._reads.note_order()
        self._bank.command_sleep(self._i)
        return answer(131, OK)

    def _power_on(self, _: Reply) -> Reply:
        self._reads.note_order()
        self._bank.command_wake(self._i)
        return answer(131, OK)

    def _power_percent(self, arguments: Reply) -> Reply:
        percent = _whole(arguments.get("percent"))
        return _failed() if percent is None or percent > 100 else self._to_percent(percent)

    def _to_percent(self, percent: int) -> Reply:
        if not self._bank.boards_on[self._i]:
            return _failed(PROCESS_DOWN)
        self._bank.command_profile(self._i, self._rung_of_percent(percent))
        return answer(131, OK)

    def _power_limit(self, arguments: Reply) -> Reply:
        limit_w = _whole(arguments.get("power_limit"))
        if limit_w is None or limit_w > self._model.nameplate.power_w:
            return _failed()
        return self._limited_to(limit_w)

    def _power_mode(self, mode: str) -> Callable[[Reply], Reply]:
        def switch(_: Reply) -> Reply:
            self._settings.power_mode = mode.capitalize()
            return self._limited_to(round(self._model.nameplate.power_w * _SHARE_OF_MODE[mode]))

        return switch

    def _limited_to(self, limit_w: int) -> Reply:
        self._settings.power_limit_w = limit_w
        return self._restarted(self._rung_within(limit_w), asleep=None)

    def _restart(self, _: Reply) -> Reply:
        return self._restarted(None, asleep=False)

    def _restarted(self, rung: int | None, *, asleep: bool | None) -> Reply:
        clock_s = float(self._bank.uptime_s[self._i])
        self._bank.command_restart(self._i, rung, asleep=asleep)
        self._reads.ages.process_restarted(clock_s)
        self._reads.forget_order()
        self._tokens.clear()
        return answer(131, OK)

    def _reboot(self, _: Reply) -> Reply:
        self._bank.reboot(self._i)
        return answer(131, OK)

    # --- the rest ----------------------------------------------------------------------------------------------

    def _led(self, arguments: Reply) -> Reply:
        self._settings.led = "auto" if arguments.get("param") == "auto" else "manual"
        return answer(131, OK)

    def _hostname(self, arguments: Reply) -> Reply:
        self._settings.hostname = str(arguments.get("hostname", ""))
        return answer(131, OK)

    def _update_pools(self, arguments: Reply) -> Reply:
        for place, pool in enumerate(self._settings.pools, 1):
            pool["URL"], pool["User"] = str(arguments.get(f"pool{place}", "")), str(arguments.get(f"worker{place}", ""))
        return answer(131, OK)

    def _update_password(self, arguments: Reply) -> Reply:
        if arguments.get("old") != self.password:
            return _failed()
        self.password = str(arguments.get("new", ""))
        self._tokens.set_password(self.password)
        return answer(131, OK)


def _failed(message: str = "API command ERROR") -> Reply:
    return answer(132, message, error=True)


def _whole(value: object) -> int | None:
    """A whole number from 0 up, which the wire carries as text or as a number; None for anything else."""
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _DIGITS else None
