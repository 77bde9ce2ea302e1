"""The token table of a WhatsMiner: who may write, for how long, and how many at a time.

From the vendor's API manual: a token lives 30 minutes; one client address may hold 32, and 16 client addresses may hold
some. A further `get_token` is refused until one expires; use does not prolong a token, nothing gives one back.

Taken together with what others found in an old firmware: the salt belongs to the stored password and stays until that
changes, so every token of a device shares one AES key; `time` is the last four digits of the device's clock; the table
is in memory, and a reboot empties it.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from simulators.asic.whatsminer_crypto import SALT_ALPHABET, Envelope, md5_crypt

FACTORY_PASSWORD: Final = "admin"  # noqa: S105 - the vendor's
FACTORY_SALT: Final = "BQ5hoXV9"
"""What every miner salts its password with until somebody changes it: it comes with the firmware."""
TOKEN_LIFE_S: Final = 1_800.0
TOKENS_PER_CLIENT: Final = 32
CLIENTS: Final = 16

_SALT_LENGTH: Final = 8


@dataclass(frozen=True, slots=True)
class Grant:
    """What a client needs, with the password, to work out its token."""

    time: str
    salt: str
    newsalt: str


class TokenTable:
    """Tokens by client address. `now_s` is any clock that only runs forward."""

    def __init__(self, *, password: str, seed: int, now_s: Callable[[], float], life_s: float = TOKEN_LIFE_S) -> None:
        self._random = random.Random(seed)
        self._now_s = now_s
        self._life_s = life_s
        self._expiries_s: dict[str, dict[str, float]] = {}
        self._salt = ""
        self._key = ""
        self.envelope = Envelope("")
        self._store(password, FACTORY_SALT if password == FACTORY_PASSWORD else self._draw_salt())

    def set_password(self, password: str) -> None:
        """Store another password: a new salt, a new AES key, and every token is void."""
        self._store(password, self._draw_salt())

    def _store(self, password: str, salt: str) -> None:
        self._salt = salt
        self._key = md5_crypt(password, salt)
        self.envelope = Envelope(self._key)
        self.clear()

    def grant(self, client: str) -> Grant | None:
        """A new token for `client`, None when it or the device has no room for one."""
        self._expire()
        held = self._expiries_s.get(client, {})
        if len(held) >= TOKENS_PER_CLIENT or (not held and len(self._expiries_s) >= CLIENTS):
            return None
        grant = Grant(time=f"{self._random.randrange(10_000):04d}", salt=self._salt, newsalt=self._draw_salt())
        token = md5_crypt(self._key + grant.time, grant.newsalt)
        self._expiries_s.setdefault(client, {})[token] = self._now_s() + self._life_s
        return grant

    def holds(self, token: object) -> bool:
        """Whether `token` was granted to anybody and has not expired."""
        self._expire()
        return isinstance(token, str) and any(token in held for held in self._expiries_s.values())

    def clear(self) -> None:
        """Forget every token."""
        self._expiries_s.clear()

    def __len__(self) -> int:
        self._expire()
        return sum(map(len, self._expiries_s.values()))

    def _expire(self) -> None:
        now_s = self._now_s()
        for client, held in tuple(self._expiries_s.items()):
            for token in [token for token, expires_s in held.items() if expires_s <= now_s]:
                del held[token]
            if not held:
                del self._expiries_s[client]

    def _draw_salt(self) -> str:
        return "".join(self._random.choices(SALT_ALPHABET, k=_SALT_LENGTH))
