"""A stock Antminer by hand: one kept connection, one nonce, and a body that was worked out when first needed."""

from __future__ import annotations

import asyncio
import json
import secrets
from hashlib import md5

from drivers.asic.antminer_conf import SLEEP, with_mode
from tests.bench.drivers.farm_link import USERNAME, Site
from tests.bench.drivers.raw_wire import KeptConnection, between, one_shot

_GET, _SET = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"


def _hash(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


class RawAntminer:
    """Two requests a write, as the configuration has to be read before it is written."""

    def __init__(self, site: Site) -> None:
        self._site = site
        port = f":{site.web_port}" if site.web_port != 80 else ""
        self._host = f"Host: {site.host}{port}\r\n"
        self._connection: KeptConnection | None = None
        self._count = 0
        self._secret = self._nonce = self._opening = self._closing = ""
        self._client_nonce = secrets.token_hex(8)
        self._request_hashes = {_GET: _hash(f"GET:{_GET}"), _SET: _hash(f"POST:{_SET}")}
        self._body = b""

    async def sleep(self) -> bool:
        if self._connection is None:
            await self._log_on()
        assert self._connection is not None
        conf = await self._connection.ask(f"GET {_GET} HTTP/1.1\r\n{self._host}{self._proof(_GET)}\r\n".encode())
        if not self._body:
            start, end = conf.index(b"\r\n{") + 2, conf.rindex(b"}") + 1
            self._body = with_mode(json.loads(conf[start:end]), SLEEP).body
        length = f"Content-Length: {len(self._body)}\r\n"
        head = f"{self._host}{length}Content-Type: application/json\r\n{self._proof(_SET)}\r\n"
        reply = await self._connection.ask(f"POST {_SET} HTTP/1.1\r\n{head}".encode() + self._body)
        return b"M000" in reply

    async def _log_on(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._site.web_port is not None
        _, self._connection = await loop.create_connection(KeptConnection, self._site.host, self._site.web_port)
        refusal = await self._connection.ask(f"GET {_GET} HTTP/1.1\r\n{self._host}\r\n".encode())
        realm = between(refusal, b'realm="', b'"').decode()
        self._nonce = between(refusal, b'nonce="', b'"').decode()
        self._secret = _hash(f"{USERNAME}:{realm}:{self._site.password}")
        self._opening = f'Authorization: Digest username="{USERNAME}", realm="{realm}", nonce="{self._nonce}", '

    def _proof(self, path: str) -> str:
        self._count += 1
        count = f"{self._count:08x}"
        proof = _hash(f"{self._secret}:{self._nonce}:{count}:{self._client_nonce}:auth:{self._request_hashes[path]}")
        return (
            f'{self._opening}uri="{path}", response="{proof}", algorithm=MD5, qop=auth, nc={count}, '
            f'cnonce="{self._client_nonce}"\r\n'
        )

    async def read(self) -> bool:
        return b'"GHS 5s"' in await one_shot(self._site, b'{"command": "summary"}')

    def close(self) -> None:
        if self._connection is not None:
            self._connection.transport.abort()
