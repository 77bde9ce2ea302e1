"""What the tests of simulated stock Antminers share: one of them, and clients of both its ports."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from simulators.asic.antminer import AntminerStock, StockTraits
from simulators.asic.antminer_web import antminer_site
from simulators.asic.bank import MinerBank
from simulators.asic.farm import MinerAddress
from simulators.asic.http_server import KeepAlive
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.asic.wire_server import FirmwareServer

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares every client the loading of certificates
MODEL = MODELS["s19pro"]
GET = b"GET /cgi-bin/get_miner_conf.cgi HTTP/1.1\r\nHost: miner\r\n\r\n"
NORMAL, SLEEP, LOW_POWER = "0", "1", "3"
CONF_KEYS = [
    "pools",
    "api-listen",
    "api-network",
    "api-groups",
    "api-allow",
    "bitmain-fan-ctrl",
    "bitmain-fan-pwm",
    "bitmain-use-vil",
    "bitmain-freq",
    "bitmain-voltage",
    "bitmain-ccdelay",
    "bitmain-pwth",
    "bitmain-work-mode",
    "bitmain-freq-level",
]
"""Of the configuration, in the order of the published log."""


class Stock:
    """One miner, and where it listens."""

    def __init__(self, miner: AntminerStock, address: MinerAddress) -> None:
        assert address.web_port is not None
        self.miner = miner
        self.bank = miner.bank
        self.faults = miner.faults
        self.host, self.port = address
        self.web_port = address.web_port
        self.url = f"http://{self.host}:{self.web_port}"

    @property
    def mode(self) -> str:
        return self.miner.state.conf.work_mode

    async def ask(self, command: str, **more: Any) -> dict[str, Any]:
        """A request to port 4028. Raises OSError when it does not answer."""
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(self.host, self.port)
            try:
                writer.write(json.dumps({"command": command, **more}).encode())
                reply: dict[str, Any] = json.loads(await reader.read())
            finally:
                writer.close()
            return reply

    async def rate_ghs(self) -> float:
        rate: float = (await self.ask("summary"))["SUMMARY"][0]["GHS 5s"]
        return rate

    @asynccontextmanager
    async def browser(self, password: str = "root") -> AsyncIterator[httpx.AsyncClient]:  # noqa: S107 - as shipped
        """A client that keeps its connection and its nonce, as a browser does."""
        auth = httpx.DigestAuth("root", password)
        async with httpx.AsyncClient(
            base_url=self.url, auth=auth, timeout=5, trust_env=False, verify=_NO_TLS
        ) as client:
            yield client

    async def script(self, name: str, sent: object = None) -> httpx.Response:
        """One request to a script below `/cgi-bin/`: a POST when something is sent."""
        async with self.browser() as client:
            if sent is None:
                return await client.get(f"/cgi-bin/{name}.cgi")
            return await client.post(f"/cgi-bin/{name}.cgi", json=sent)

    async def conf(self) -> dict[str, Any]:
        """The configuration as the web interface returns it."""
        found: dict[str, Any] = (await self.script("get_miner_conf")).json()
        return found

    async def set_mode(self, mode: int) -> dict[str, Any]:
        """What a careful client does: read, change the mode, write everything back under the names for writing."""
        conf = await self.conf()
        sent = {
            "bitmain-fan-ctrl": conf["bitmain-fan-ctrl"],
            "bitmain-fan-pwm": conf["bitmain-fan-pwm"],
            "freq-level": conf["bitmain-freq-level"],
            "miner-mode": mode,
            "pools": conf["pools"],
        }
        answer: dict[str, Any] = (await self.script("set_miner_conf", sent)).json()
        return answer


@asynccontextmanager
async def stock(
    traits: StockTraits | None = None,
    *,
    behaviour: Behaviour = Behaviour.OBEYS,
    asleep: bool = False,
    profile: int | None = None,
    keep_alive: KeepAlive | None = None,
) -> AsyncIterator[Stock]:
    """An Antminer S19 Pro on free ports. Its physics stands still until `bank.step`."""
    spec = FleetSpec(
        models=[MODEL],
        seed=7,
        behaviours=[behaviour],
        asleep=[asleep],
        profile_index=None if profile is None else [profile],
    )
    miner = AntminerStock(MinerBank(spec), 0, host="127.0.0.1", traits=traits)
    site = antminer_site(miner, keep_alive=keep_alive)
    server = FirmwareServer(miner, host="127.0.0.1", port=0, web=site)
    await server.start()
    try:
        assert server.web is not None
        yield Stock(miner, MinerAddress(server.api.host, server.api.port, server.web.port))
    finally:
        server.stop()
        await asyncio.sleep(0)


@asynccontextmanager
async def connected(miner: Stock) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection to the web port."""
    reader, writer = await asyncio.open_connection(miner.host, miner.web_port)
    try:
        async with asyncio.timeout(5):
            yield reader, writer
    finally:
        writer.close()


async def head(reader: asyncio.StreamReader) -> str:
    """The head of an HTTP answer."""
    return (await reader.readuntil(b"\r\n\r\n")).decode()


async def answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    """One answer with a Content-Length: its status and its body."""
    text = await head(reader)
    length = int(text.lower().split("content-length: ")[1].split("\r\n")[0])
    return int(text.split(" ")[1]), await reader.readexactly(length)
