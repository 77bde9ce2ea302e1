"""HTTP digest authentication (RFC 2617, MD5, qop "auth") as a server checks it.

A nonce lives `lifetime_s` and is good for any number of requests, each with a higher count than the last. An answer to
a nonce that is unknown, too old or counted backwards is *stale*: the credentials may be right, and a client that knows
the protocol tries again at once with the nonce it is given. Wrong credentials are not: trying again is pointless.
"""

import random
import re
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import Enum, auto
from hashlib import md5
from typing import Final

NONCE_LIFETIME_S: Final = 600.0
"""As lighttpd has it from 1.4.41 on (2016); the 1.4.32 seen on miners takes a nonce for ever."""
NONCES_KEPT: Final = 256
"""The oldest is forgotten beyond that many: a client that asks for a new one each time cannot fill the memory."""

_FIELD: Final = re.compile(r'(\w+)=(?:"([^"]*)"|([^\s,]+))')
_NEEDED: Final = ("username", "realm", "nonce", "uri", "qop", "nc", "cnonce", "response")


class Verdict(Enum):
    """What a request's credentials are worth."""

    GOOD = auto()
    MISSING = auto()
    MALFORMED = auto()
    WRONG = auto()
    STALE = auto()


class _Nonce:
    __slots__ = ("expires_s", "last_count")

    def __init__(self, expires_s: float) -> None:
        self.expires_s = expires_s
        self.last_count = 0


class DigestGate:
    """The nonces of one server and its one user. Same seed, same nonces. `now_s` is a clock in seconds."""

    def __init__(
        self,
        realm: str,
        username: str,
        *,
        seed: int,
        lifetime_s: float = NONCE_LIFETIME_S,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._realm = realm
        self._username = username
        self._lifetime_s = lifetime_s
        self._now_s = now_s
        self._rng = random.Random(seed)
        self._nonces: OrderedDict[str, _Nonce] = OrderedDict()
        self._secrets: dict[str, str] = {}

    def challenge(self, *, stale: bool) -> str:
        """The value of a `WWW-Authenticate` header with a nonce nobody has used yet."""
        nonce = f"{self._rng.getrandbits(128):032x}"
        self._nonces[nonce] = _Nonce(self._now_s() + self._lifetime_s)
        if len(self._nonces) > NONCES_KEPT:
            self._nonces.popitem(last=False)
        return f'Digest realm="{self._realm}", nonce="{nonce}", qop="auth"' + (", stale=true" if stale else "")

    def expire(self) -> None:
        """Forget every nonce."""
        self._nonces.clear()

    def check(self, method: str, target: str, authorization: str | None, password: str) -> Verdict:
        """Judge the `Authorization` header of a request for `target`, None when it has none."""
        if authorization is None:
            return Verdict.MISSING
        if not authorization.startswith("Digest "):
            return Verdict.MALFORMED
        given = {name: quoted or bare for name, quoted, bare in _FIELD.findall(authorization)}
        if any(name not in given for name in _NEEDED) or given["uri"] != target or given["qop"] != "auth":
            return Verdict.MALFORMED
        try:
            count = int(given["nc"], 16)
        except ValueError:
            return Verdict.MALFORMED
        answer = f"{given['nonce']}:{given['nc']}:{given['cnonce']}:auth"
        expected = _md5(f"{self._secret(password)}:{answer}:{_md5(f'{method}:{target}')}")
        if given["username"] != self._username or given["realm"] != self._realm or given["response"] != expected:
            return Verdict.WRONG
        nonce = self._nonces.get(given["nonce"])
        if nonce is None or self._now_s() >= nonce.expires_s or count <= nonce.last_count:
            return Verdict.STALE
        nonce.last_count = count
        return Verdict.GOOD

    def _secret(self, password: str) -> str:
        secret = self._secrets.get(password)
        if secret is None:
            secret = self._secrets[password] = _md5(f"{self._username}:{self._realm}:{password}")
        return secret


def _md5(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
