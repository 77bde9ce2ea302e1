"""HTTP digest authentication, RFC 7616 with MD5 and `qop=auth`: all that stock miners speak. Pure.

The nonce of the last challenge is used again with a rising count, so that a request carries its credentials from the
start and needs one round trip instead of two. MD5 is the miner's choice; it protects nothing from whoever listens.
"""

from __future__ import annotations

import re
import secrets
from hashlib import md5
from typing import Final

_FIELD: Final = re.compile(r'\b(\w+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_UNFIT: Final = re.compile(r'[\x00-\x1f\x7f"\\]')


class Digest:
    """The credentials of one miner and what its last challenge asked for."""

    def __init__(self, username: str, password: str) -> None:
        """Raises ValueError for a user name that no header can carry and for one with a colon."""
        if _UNFIT.search(username) or ":" in username:
            raise ValueError("a user name must not hold quotes, backslashes, colons or control characters")
        self._username = username
        self._password = password
        self._prefix = ""  # the part of the header that stays the same for one nonce; empty without a challenge
        self._suffix = ""
        self._nonce = ""
        self._secret_hash = ""
        self._client_nonce = ""
        self._count = 0
        self._request_hashes: dict[tuple[str, str], str] = {}

    def take(self, challenges: tuple[str, ...]) -> bool:
        """Take up the first of a 401's `WWW-Authenticate` values that we can answer; False when there is none."""
        for challenge in challenges:
            scheme, _, rest = challenge.strip().partition(" ")
            if scheme.lower() != "digest":
                continue
            fields = {
                name.lower(): quoted if bare == "" else bare  # what was quoted is sent back as it came
                for name, quoted, bare in _FIELD.findall(rest)
            }
            offers = {offer.strip() for offer in fields.get("qop", "").split(",")}
            if {"realm", "nonce"} <= fields.keys() and "auth" in offers and _is_md5(fields.get("algorithm")):
                self._answer_to(fields)
                return True
        return False

    def authorization(self, method: str, path: str) -> str:
        """Value of the `Authorization` header for the next request; empty before the first challenge."""
        if not self._prefix:
            return ""
        request_hash = self._request_hashes.get((method, path))
        if request_hash is None:
            request_hash = self._request_hashes[method, path] = _hash(f"{method}:{path}")
        self._count += 1
        count = f"{self._count:08x}"
        proof = _hash(f"{self._secret_hash}:{self._nonce}:{count}:{self._client_nonce}:auth:{request_hash}")
        return f'{self._prefix}uri="{path}", response="{proof}"{self._suffix}{count}, cnonce="{self._client_nonce}"'

    def _answer_to(self, fields: dict[str, str]) -> None:
        realm, self._nonce = fields["realm"], fields["nonce"]
        self._count = 0
        self._client_nonce = secrets.token_hex(8)
        self._secret_hash = _hash(f"{self._username}:{realm}:{self._password}")
        self._prefix = f'Digest username="{self._username}", realm="{realm}", nonce="{self._nonce}", '
        opaque = f', opaque="{fields["opaque"]}"' if fields.get("opaque") else ""
        self._suffix = f", algorithm=MD5{opaque}, qop=auth, nc="


def _is_md5(algorithm: str | None) -> bool:
    return algorithm is None or algorithm.upper() == "MD5"


def _hash(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()
