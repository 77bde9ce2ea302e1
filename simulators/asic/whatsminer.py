"""A simulated WhatsMiner (API version 2) on its own wire: what it answers to which command.

The wire: TCP 4028, one JSON request per connection, one JSON reply, then the miner closes. Reads go in clear or
encrypted, writes only encrypted: `{"enc": 1, "data": ...}` with the command and a token inside, answered by
`{"enc": ...}`. Errors come in clear.

Recorded (`simulators/data/whatsminer`, an M50S): the replies to reads. Published by owners: what three firmware
versions put into `status`; the words `can't access write cmd`, `enc json load err` for a wrong password, `over max
connect`, `btminer process is down`; that `summary` answers while the miner is off, with a power limit of 0.

Documented by the vendor (API 2.0.5): the codes; 32 tokens for each of 16 client addresses, 30 minutes long;
`set_power_pct` acts within a second, is approximate and temporary, from 0 to 100; `adjust_power_limit` restarts;
`power_off` with `respbefore` answers before it acts.

Taken from an old firmware others took apart: the API daemon forwards most reads to the mining process, so they fail
while it is down; `+` joins only those; `power_on` starts the process anew, so a percent set before is forgotten.

Invented, not to be relied on: for how long `summary` and `status` tell the past after an order; which versions say -1
for the watts of a miner that is off; that a restart of the mining process voids all tokens as a reboot does (the
harsher of two readings); that a percent is refused while no board is up; percents are rounded to steps of 5 from 40 on;
low power is three quarters of the nameplate, high power the nameplate; a changed power mode or limit leaves a miner
that is off, off; that only the commands in `whatsminer_writes` are known (not `open_write_api`); that the answer comes
first without `respbefore` too.

This module knows no socket; `wire_server` puts it on one.
"""

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from simulators.asic.bank import MinerBank
from simulators.asic.response import Behaviour
from simulators.asic.static_page import page
from simulators.asic.whatsminer_crypto import NotBase64Error, NotJSONError
from simulators.asic.whatsminer_replies import OK, WhatsMinerReads, answer
from simulators.asic.whatsminer_state import FIRMWARE_OF, Firmware, Settings
from simulators.asic.whatsminer_tokens import FACTORY_PASSWORD, TOKEN_LIFE_S, TokenTable
from simulators.asic.whatsminer_writes import WhatsMinerWrites
from simulators.asic.wire_server import Reply, reboots_on_write
from simulators.asic.wirelog import WireLog, WireRecord
from simulators.faults import Fault, FaultSet

SEALED: Final = "enc"
"""How a request is logged that could not be decrypted."""

_OTHER_PASSWORD: Final = "changed"  # noqa: S105 - what WRONG_PASSWORD changes it to


class WhatsMiner:
    """The firmware of miner `index` of `bank`: tokens, settings, faults and the log of what it was told."""

    def __init__(
        self,
        bank: MinerBank,
        index: int,
        *,
        host: str,
        on_record: Callable[[WireRecord], None] | None = None,
        password: str = FACTORY_PASSWORD,
        firmware: Firmware | None = None,
        token_life_s: float = TOKEN_LIFE_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.bank: Final = bank
        self.index: Final = index
        self.host: Final = host
        self.faults: Final = FaultSet()
        self.log: Final = WireLog(on_record)
        self.firmware: Final = FIRMWARE_OF[bank.models[index].key] if firmware is None else firmware
        self.settings: Final = Settings(
            hostname=f"miner-{index:05d}", power_limit_w=bank.models[index].nameplate.power_w
        )
        self.reads: Final = WhatsMinerReads(bank, index, self.settings, self.firmware)
        self.tokens: Final = TokenTable(
            password=password, seed=bank.spec.seed * 1_000_003 + index, now_s=now_s, life_s=token_life_s
        )
        self._writes: Final = WhatsMinerWrites(bank, index, self.settings, self.reads, self.tokens, password)
        self.faults.listen(self._on_fault)

    def answer(self, request: object, at_s: float, client: str = "127.0.0.1") -> Reply | None:
        """The reply to a decoded request whose first byte arrived at `at_s` (CLOCK_MONOTONIC).

        `request` None stands for bytes that are no JSON; the answer None for a connection that breaks. `client` is the
        address that asks: tokens are counted by it.
        """
        if self.reads.ages.observe():
            self.tokens.clear()
            self.reads.forget_order()
        if request is None:
            return self._error(23, "json load err")
        if not isinstance(request, dict):
            return self._error(14, "invalid cmd")
        if "enc" in request:
            return self._sealed(request, at_s, client)
        name = _command(request)
        is_write = name in self._writes.commands
        self.log.add(WireRecord(at_s, name, _parameter(request), is_write))
        if Fault.DEVICE_ERROR in self.faults:
            return self._error(132, "API command ERROR")
        if is_write:
            return self._error(45, "can't access write cmd")
        return self._read(name, client)

    @property
    def web_page(self) -> bytes:
        """What port 80 answers: the web interface is on HTTPS, which is not simulated."""
        secure = f"https://{self.host}/"
        body = f'<html><body><a href="{secure}cgi-bin/luci">Moved</a></body></html>\n'
        return page(body, HTTPStatus.TEMPORARY_REDIRECT, f"Location: {secure}")

    # --- dispatch ----------------------------------------------------------------------------------------------

    def _sealed(self, request: Reply, at_s: float, client: str) -> Reply | None:
        envelope = self.tokens.envelope  # a changed password must not change the key of its own answer
        try:
            inner = envelope.open(str(request.get("data", "")))
        except (NotBase64Error, NotJSONError) as error:
            self.log.add(WireRecord(at_s, SEALED, "", True))
            wrong = (137, "base64 decode err") if isinstance(error, NotBase64Error) else (23, "enc json load err")
            return self._error(*wrong)
        if not isinstance(inner, dict):
            return self._error(14, "invalid cmd")
        name = _command(inner)
        is_write = name in self._writes.commands
        raises = self._writes.raises(name, inner)
        self.log.add(WireRecord(at_s, name, _parameter(inner), is_write, raises))
        if Fault.DEVICE_ERROR in self.faults:
            return self._error(132, "API command ERROR")
        if is_write and reboots_on_write(self):
            return None
        if (is_write and Fault.SESSION_ERROR in self.faults) or not self.tokens.holds(inner.get("token")):
            return self._error(135, "check token err")
        reply = self._write(name, inner) if is_write else self._read(name, client)
        return reply if reply.get("STATUS") == "E" else {"enc": envelope.seal(reply)}

    def _read(self, name: str, client: str) -> Reply:
        if name == "get_token":
            return self._token(client)
        read = self.reads.single.get(name) or self.reads.joinable.get(name)
        if read is not None:
            return read()
        names = name.split("+")
        if len(names) == 1:
            return self._error(14, "invalid cmd")
        if not all(each in self.reads.joinable for each in names):
            return self._error(45, "command join err")
        return {**{each: [self.reads.joinable[each]()] for each in names}, "id": 1}

    def _write(self, name: str, inner: Reply) -> Reply:
        if self.bank.behaviour[self.index] & Behaviour.REFUSES:
            return self._error(45, "can't access write cmd")
        if name == "power_off" and Fault.REFUSE_SLEEP in self.faults:
            return self._error(132, "API command ERROR")
        if Fault.IGNORE in self.faults or self.bank.behaviour[self.index] & Behaviour.IGNORES:
            return answer(131, OK)
        reply = self._writes.commands[name](inner)
        return self._error(132, "API command ERROR") if Fault.OBEY_WITH_ERROR in self.faults else reply

    @staticmethod
    def _error(code: int, message: str) -> Reply:
        return answer(code, message, error=True)

    def _token(self, client: str) -> Reply:
        full = Fault.TOKENS_FULL in self.faults or Fault.FOREIGN_SESSION in self.faults
        grant = None if full else self.tokens.grant(client)
        if grant is None:
            return self._error(136, "over max connect")
        return answer(134, {"time": grant.time, "salt": grant.salt, "newsalt": grant.newsalt})

    # --- what happens to it ------------------------------------------------------------------------------------

    def _on_fault(self, fault: Fault, is_on: bool) -> None:
        if fault is Fault.WRONG_PASSWORD:
            self.tokens.set_password(_OTHER_PASSWORD if is_on else self._writes.password)
        elif fault in (Fault.STALE_SESSION, Fault.FOREIGN_SESSION) and is_on:
            self.tokens.clear()  # the other tool's tokens have taken the place of ours


def _command(request: Reply) -> str:
    """The command of a request; clients and manuals disagree about the key."""
    name = request.get("command", request.get("cmd"))
    return name if isinstance(name, str) else ""


def _parameter(request: Reply) -> str:
    """The arguments of a request as the log keeps them."""
    return ",".join(f"{key}={value}" for key, value in request.items() if key not in ("cmd", "command", "token"))
