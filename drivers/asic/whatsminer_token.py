"""The write tokens of one WhatsMiner: what they are made of, how long they live, and how many we may take.

A miner lends a token for `get_token`; with the password it gives the key that encrypts a write and the signature that
stands inside. It forgets a token after 30 minutes or when it reboots, and it lends at most 32 to one address in
30 minutes; beyond that it lends none to anybody at that address until one is forgotten. So:

- a token is kept and renewed while it is still good, in the wake of a read, so that a write needs one round trip;
- renewals are spread over five minutes by miner, so that a site that started at once does not renew at once;
- a renewal that failed is tried again after 30 s, 60 s, ... 10 min; after "table full" not within 200 s, because
  operators report that asking starts the miner's own waiting time anew;
- we count what we ask for, unless it never left for the miner. Renewals stop at 4 in 30 minutes, commands at 8, an
  urgent shed at 24, beyond which it asks once in 200 s; the rest of the 32 belongs to earlier lives of the daemon,
  which nobody counted, and to other programs on this machine.

Nothing here sends anything. The encryption is pyasic's, so that its bytes are those of stock pyasic.
"""

from __future__ import annotations

import re
import warnings
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Final

from drivers.asic.pyasic_miner import import_btminer

LIFE_S: Final = 1800.0
"""A miner forgets a token after this long (vendor documentation)."""

_USABLE_S: Final = LIFE_S - 60.0  # the last minute belongs to the network and to the miner's own clock
_RENEW_AFTER_S: Final = 1200.0
_RENEW_SPREAD_S: Final = 300.0
_FIRST_PAUSE_S: Final = 30.0
_LONGEST_PAUSE_S: Final = 600.0
_FULL_PAUSE_S: Final = 200.0
_SALT: Final = re.compile(r"[./0-9A-Za-z]{1,8}")
_GOLDEN: Final = 0.6180339887498949
"""Multiples of it, modulo one, are spread evenly however many are taken."""


class For(IntEnum):
    """What a token is wanted for, and how many may be asked for within a token's life when it is."""

    RENEWAL = 4
    COMMAND = 8
    SHED = 24


class TokenUnreadableError(ValueError):
    """The answer to `get_token`, or an encrypted answer, does not have the documented shape."""


class Btminer:
    """pyasic's encryption for WhatsMiners, with types; pyasic is imported when the first one is made."""

    def __init__(self) -> None:
        self._module: Any = import_btminer()

    def crypt(self, word: str, salt: str) -> str:
        """The 22 characters of MD5-crypt that follow the salt. Raises ValueError for a salt that is none."""
        if not _SALT.fullmatch(salt):
            raise ValueError(f"{salt!r} is no salt")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # pyasic's way of calling passlib
            return str(self._module._crypt(word, f"$1${salt}$").split("$")[3])

    def token_data(self, key: str, sign: str) -> Any:
        """pyasic's own token object."""
        return self._module.TokenData(host_sign=sign, host_passwd_md5=key)

    def sealed(self, token: Any, command: Mapping[str, str]) -> bytes:
        """The encrypted request."""
        request: bytes = self._module.create_privileged_cmd(token, dict(command))
        return request

    def opened(self, token: Any, answer: Mapping[str, Any]) -> object:
        """The decrypted answer. Raises TokenUnreadableError when it was encrypted with another key, or not at all."""
        try:
            return self._module.parse_btminer_priviledge_data(token, answer)
        except (ValueError, KeyError, TypeError, RecursionError) as error:  # base64, block length, UTF-8, JSON
            raise TokenUnreadableError(f"the answer cannot be decrypted ({type(error).__name__})") from error


@dataclass(frozen=True, slots=True)
class Token:
    """One token. `taken_at`: loop seconds when it was asked for, the earliest its life can have begun.

    requests: what was encrypted with it, by arguments; the same order is the same bytes.
    """

    data: Any = field(repr=False)
    taken_at: float
    requests: dict[tuple[str, ...], bytes] = field(default_factory=dict, repr=False)


class Tokens:
    """The token of one miner. All times are loop seconds, given by the caller."""

    def __init__(self, password: str, index: int) -> None:
        """index: the miner's index in the fleet, from which its share of the renewal spread follows."""
        self.crypto: Final = Btminer()
        self._password = password
        self._renew_after_s = _RENEW_AFTER_S + _RENEW_SPREAD_S * (index * _GOLDEN % 1.0)
        self._token: Token | None = None
        self._key_of: tuple[str, str] = ("", "")
        self._asked: deque[float] = deque()
        self._pause_s = 0.0
        self._paused_until = 0.0

    def usable(self, now: float) -> Token | None:
        """The token in hand, None when there is none that the miner can still know."""
        token = self._token
        return token if token is not None and now < token.taken_at + _USABLE_S else None

    def renewal_due(self, now: float) -> bool:
        """Whether a read should bring a new token along."""
        token = self._token
        if token is not None and now < token.taken_at + self._renew_after_s:
            return False
        return now >= self._paused_until and self.again_at(now, For.RENEWAL) is None

    def again_at(self, now: float, purpose: For) -> float | None:
        """When one may be asked for again; None: now."""
        while self._asked and self._asked[0] + LIFE_S <= now:
            self._asked.popleft()
        surplus = len(self._asked) - purpose
        if surplus < 0:
            return None
        free_at = self._asked[surplus] + LIFE_S
        if purpose is For.SHED:  # the grid does not wait half an hour for our own count
            free_at = min(free_at, self._asked[-1] + _FULL_PAUSE_S)
        return free_at if free_at > now else None

    def asked(self, now: float) -> None:
        """A `get_token` is about to leave: whatever comes of it, the miner may have lent one."""
        self._asked.append(now)

    def not_asked(self) -> None:
        """The last one did not leave: nothing was lent."""
        self._asked.pop()

    def take(self, answer: Mapping[str, Any], asked_at: float) -> Token:
        """Make a token of the answer to `get_token`, about 0.7 ms of arithmetic. Raises TokenUnreadableError."""
        message = answer.get("Msg")
        told = [message.get(name) for name in ("salt", "time", "newsalt")] if isinstance(message, Mapping) else []
        try:
            salt, time, newsalt = (text for text in told if isinstance(text, str))
            if self._key_of[0] != salt:  # the password's own salt: the same in every answer until it is changed
                self._key_of = (salt, self.crypto.crypt(self._password, salt))
            key = self._key_of[1]
            data = self.crypto.token_data(key, self.crypto.crypt(key + time, newsalt))
        except ValueError as error:
            raise TokenUnreadableError("a token in an unknown shape") from error
        self._token = Token(data, asked_at)
        self._pause_s = 0.0
        self._paused_until = 0.0
        return self._token

    def request(self, token: Token, command: Mapping[str, str]) -> bytes:
        """`command` encrypted with `token`."""
        key = tuple(command.values())
        request = token.requests.get(key)
        if request is None:
            request = token.requests[key] = self.crypto.sealed(token.data, command)
        return request

    def drop(self) -> None:
        """The miner has forgotten it: a reboot, or it said so."""
        self._token = None

    def failed(self, now: float, *, table_full: bool = False) -> None:
        """No token came: renewals pause, longer each time. A command may still ask."""
        self._pause_s = min(max(2 * self._pause_s, _FIRST_PAUSE_S), _LONGEST_PAUSE_S)
        if table_full:
            self._pause_s = max(self._pause_s, _FULL_PAUSE_S)
        self._paused_until = now + self._pause_s
