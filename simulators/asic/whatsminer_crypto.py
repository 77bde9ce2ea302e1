"""The two primitives of a WhatsMiner's write API: md5-crypt of the password, AES-256-ECB around a JSON object.

md5-crypt is written out here because every alternative is worse: `crypt` has left the standard library, `passlib` is no
longer maintained and warns at import from Python 3.12 on. Nobody should protect anything with either primitive; they
are what the firmware speaks.
"""

import base64
import binascii
import hashlib
import json
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

SALT_ALPHABET: Final = "./0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
"""The 64 letters of md5-crypt, in the order of their values."""

_ROUNDS: Final = 1_000
_BLOCK: Final = AES.block_size // 8
# Which three bytes of the digest make up each group of four letters; the byte left over makes the last two.
_GROUPS: Final = ((0, 6, 12), (1, 7, 13), (2, 8, 14), (3, 9, 15), (4, 10, 5))
_LEFT_OVER: Final = 11


class NotBase64Error(ValueError):
    """What should have been base64 is not."""


class NotJSONError(ValueError):
    """What was decrypted is no JSON: as a rule it was encrypted with another password."""


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).digest()


@lru_cache(maxsize=4_096)
def md5_crypt(word: str, salt: str) -> str:
    """The 22 letters md5-crypt makes of `word`: what stands after the last `$` of `$1$salt$...`."""
    secret, grain = word.encode(), salt.encode()
    inner = _md5(secret + grain + secret)
    text = secret + b"$1$" + grain + (inner * (len(secret) // len(inner) + 1))[: len(secret)]
    left = len(secret)
    while left:
        text += b"\0" if left & 1 else secret[:1]
        left >>= 1
    digest = _md5(text)
    for turn in range(_ROUNDS):
        middle = (grain if turn % 3 else b"") + (secret if turn % 7 else b"")
        digest = _md5(secret + middle + digest if turn & 1 else digest + middle + secret)
    letters = [_letters(digest[a] << 16 | digest[b] << 8 | digest[c], 4) for a, b, c in _GROUPS]
    return "".join(letters) + _letters(digest[_LEFT_OVER], 2)


def _letters(value: int, count: int) -> str:
    return "".join(SALT_ALPHABET[value >> 6 * place & 63] for place in range(count))


class Envelope:
    """Seals and opens what goes over the wire encrypted. `key` is `md5_crypt` of the password and the device's salt."""

    def __init__(self, key: str) -> None:
        self._cipher = Cipher(AES(hashlib.sha256(key.encode()).digest()), ECB())  # noqa: S305 - the firmware's choice

    def seal(self, content: dict[str, Any]) -> str:
        """Compact JSON, zero-padded to whole blocks, encrypted, base64 without line breaks."""
        plain = json.dumps(content, separators=(",", ":")).encode()
        encryptor = self._cipher.encryptor()
        sealed = encryptor.update(plain + b"\0" * (-len(plain) % _BLOCK)) + encryptor.finalize()
        return base64.b64encode(sealed).decode()

    def open(self, sealed: str) -> object:
        """The JSON value inside. Raises NotBase64Error and NotJSONError."""
        try:
            blocks = base64.b64decode(sealed, validate=True)
        except (binascii.Error, ValueError) as error:
            raise NotBase64Error(str(error)) from error
        if not blocks or len(blocks) % _BLOCK:
            raise NotJSONError("no whole number of blocks")
        decryptor = self._cipher.decryptor()
        plain = decryptor.update(blocks) + decryptor.finalize()
        try:
            return json.loads(plain.rstrip(b"\0").decode())
        except (ValueError, RecursionError) as error:
            raise NotJSONError(str(error)) from error
