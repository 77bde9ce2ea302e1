"""The keep-alive web client in front of a scripted Antminer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient
from tests.drivers.asic.antminer.script import PASSWORD, Script, scripted, until

CONF, SET = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"


def client_of(script: Script, password: str = PASSWORD) -> HttpClient:
    return HttpClient("127.0.0.1", script.web_port, Digest("root", password))


def soon(seconds: float = 3.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@asynccontextmanager
async def scene(**given: Any) -> AsyncIterator[tuple[Script, HttpClient]]:
    async with scripted(**given) as script:
        client = client_of(script)
        yield script, client
        client.close()
        await until(lambda: script.open_now == 0)


async def raises(call: Any, error: type[Exception] | tuple[type[Exception], ...]) -> None:
    with pytest.raises(error):
        await call
