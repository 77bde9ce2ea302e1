"""A WhatsMiner by hand: the token once, and the order encrypted with it, which is the same bytes every time."""

from __future__ import annotations

import base64
import json
from hashlib import sha256

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from drivers.asic.pyasic_miner import import_btminer
from tests.bench.drivers.farm_link import Site
from tests.bench.drivers.raw_wire import between, one_shot


class RawWhatsminer:
    """Reads of a miner that plainly hashes need no more than `summary`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._request = b""

    async def sleep(self) -> bool:
        if not self._request:
            self._request = await self._log_on()
        return b'"enc"' in await one_shot(self._site, self._request)

    async def _log_on(self) -> bytes:
        reply = await one_shot(self._site, b'{"command": "get_token"}')
        time, salt, newsalt = (
            between(reply, b'"%s":"' % name, b'"').decode() for name in (b"time", b"salt", b"newsalt")
        )
        crypt = import_btminer()._crypt
        key = crypt(self._site.password, f"$1${salt}$").split("$")[3]
        token = crypt(key + time, f"$1${newsalt}$").split("$")[3]
        text = json.dumps({"cmd": "power_off", "respbefore": "true", "token": token}).encode()
        cipher = Cipher(algorithms.AES(sha256(key.encode()).digest()), modes.ECB())  # noqa: S305 - the miner's choice
        sealed = cipher.encryptor().update(text + bytes(-len(text) % 16))
        return b'{"enc": 1, "data": "' + base64.b64encode(sealed) + b'"}'

    async def read(self) -> bool:
        return b'"Power"' in await one_shot(self._site, b'{"command": "summary"}')

    def close(self) -> None:
        """Nothing is held."""
