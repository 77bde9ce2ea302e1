"""Web clients that put a miner to sleep by a GET and a POST: ours, ours around other parsers, and others' whole."""

from __future__ import annotations

import asyncio
import importlib.util
import json
from collections.abc import Callable
from typing import Any, Protocol

import h11
import httpx

from controller.domain.command import Command, Verb
from drivers.asic.antminer import AntminerStock
from drivers.asic.budget import Budget
from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient
from drivers.asic.http_answer import HttpAnswer
from drivers.asic.profiles import facts_of
from drivers.asic.pyasic_miner import import_factory
from drivers.asic.transport import BadAnswerError

DEADLINE_S = 30.0
GET_PATH, POST_PATH = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"
POOL = {"url": "stratum+tcp://pool.example:3333", "user": "site.worker", "pass": "x"}
CONF = {
    "pools": [POOL, POOL, POOL],
    "api-listen": True,
    "api-network": True,
    "api-groups": "A:stats:pools:devs:summary:version",
    "api-allow": "A:0/0,W:*",
    "bitmain-fan-ctrl": False,
    "bitmain-fan-pwm": "100",
    "bitmain-use-vil": True,
    "bitmain-freq": "525",
    "bitmain-voltage": "1350",
    "bitmain-ccdelay": "1",
    "bitmain-pwth": "1",
    "bitmain-work-mode": "0",
    "bitmain-freq-level": "100",
}
BODY = json.dumps(
    {"bitmain-fan-ctrl": False, "bitmain-fan-pwm": "100", "freq-level": "100", "miner-mode": 1, "pools": CONF["pools"]},
    separators=(",", ":"),
).encode()


class Client(Protocol):
    async def sleep(self) -> None: ...

    async def close(self) -> None: ...


class ByHand:
    """The least that sends the same bytes: no deadline, no parsing, no judgement."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._digest = Digest("root", "root")
        self._line: _Line | None = None

    async def sleep(self) -> None:
        if self._line is None:
            loop = asyncio.get_running_loop()
            _, self._line = await loop.create_connection(_Line, "127.0.0.1", self._port)
            await self._line.ask(b"GET / HTTP/1.1\r\nHost: m\r\n\r\n")
            self._digest.take(('Digest realm="antMiner Configuration", nonce="7d9c85", qop="auth"',))
        host = f"Host: 127.0.0.1:{self._port}\r\n"
        credentials = self._digest.authorization("GET", GET_PATH)
        await self._line.ask(f"GET {GET_PATH} HTTP/1.1\r\n{host}Authorization: {credentials}\r\n\r\n".encode())
        credentials = self._digest.authorization("POST", POST_PATH)
        head = f"POST {POST_PATH} HTTP/1.1\r\n{host}Content-Length: {len(BODY)}\r\nContent-Type: application/json\r\n"
        await self._line.ask(f"{head}Authorization: {credentials}\r\n\r\n".encode() + BODY)

    async def close(self) -> None:
        if self._line is not None:
            self._line.transport.abort()


class _Line(asyncio.Protocol):
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._received = b""

    def ask(self, request: bytes) -> asyncio.Future[bytes]:
        self._answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        return self._answer

    def data_received(self, data: bytes) -> None:
        self._received += data
        if data.endswith(b"}"):
            self._answer.set_result(self._received)
            self._received = b""


class Ours:
    """`drivers.asic.http`, with the parser of `make_parser` in place of its own where given."""

    def __init__(self, port: int) -> None:
        self._client = HttpClient("127.0.0.1", port, Digest("root", "root"))

    async def sleep(self) -> None:
        give_up_at = asyncio.get_running_loop().time() + DEADLINE_S
        await self._client.get(GET_PATH, give_up_at=give_up_at)
        await self._client.post_json(POST_PATH, BODY, give_up_at=give_up_at)

    async def close(self) -> None:
        self._client.close()


class WholeDriver:
    """The driver of a stock Antminer on top of ours: what a shed really costs, JSON and judgement included."""

    SHED = Command(1, 0, Verb.SLEEP, None, raises=False, urgent=True, reason="bench")

    def __init__(self, port: int) -> None:
        self._driver = AntminerStock(
            miner_id="bench",
            index=0,
            host="127.0.0.1",
            port=1,
            web_port=port,
            facts=facts_of("Antminer S19 Pro", "Antminer stock"),
            deadline_s=DEADLINE_S,
            budget=Budget(1_000_000),
        )

    async def sleep(self) -> None:
        await self._driver.perform(self.SHED)

    async def close(self) -> None:
        await self._driver.close()


class H11Parser:
    """An `AnswerParser` with h11 inside; h11 wants to have seen the request as well."""

    def __init__(self) -> None:
        self.heard = False
        self._h11 = h11.Connection(h11.CLIENT)
        self._h11.send(h11.Request(method="GET", target="/", headers=[("Host", "m")]))
        self._h11.send(h11.EndOfMessage())
        self._body: list[bytes] = []
        self._status = 0
        self._challenges: tuple[str, ...] = ()

    def feed(self, data: bytes) -> HttpAnswer | None:
        self.heard = True
        self._h11.receive_data(data)
        while True:
            event = self._h11.next_event()
            if isinstance(event, h11.Response):
                self._status = event.status_code
                self._challenges = tuple(v.decode() for k, v in event.headers if k == b"www-authenticate")
            elif isinstance(event, h11.Data):
                self._body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return HttpAnswer(self._status, b"".join(self._body), self._challenges, keeps_open=True)
            elif event is h11.NEED_DATA:
                return None
            else:
                raise BadAnswerError(repr(event))


class HttptoolsParser:
    """An `AnswerParser` with httptools inside."""

    def __init__(self) -> None:
        import httptools

        self.heard = False
        self._parser: Any = httptools.HttpResponseParser(self)
        self._body: list[bytes] = []
        self._challenges: list[str] = []
        self._done = self._keeps_open = False

    def on_header(self, name: bytes, value: bytes) -> None:
        if name.lower() == b"www-authenticate":
            self._challenges.append(value.decode())

    def on_body(self, body: bytes) -> None:
        self._body.append(body)

    def on_message_complete(self) -> None:
        self._done = True
        self._keeps_open = self._parser.should_keep_alive()  # later it always says no

    def feed(self, data: bytes) -> HttpAnswer | None:
        self.heard = True
        self._parser.feed_data(data)
        if not self._done:
            return None
        status = self._parser.get_status_code()
        self._parser = None  # it refers to us: a cycle per answer keeps the collector busy
        return HttpAnswer(status, b"".join(self._body), tuple(self._challenges), self._keeps_open)


class Httpx:
    """httpx with a client and a DigestAuth per miner."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}"
        self._client = httpx.AsyncClient(transport=httpx.AsyncHTTPTransport(verify=False), timeout=DEADLINE_S)
        self._auth = httpx.DigestAuth("root", "root")

    async def sleep(self) -> None:
        await self._client.get(self._base + GET_PATH, auth=self._auth)
        await self._client.post(
            self._base + POST_PATH, auth=self._auth, content=BODY, headers={"Content-Type": "application/json"}
        )

    async def close(self) -> None:
        await self._client.aclose()


class Aiohttp:
    """aiohttp with a session and its digest middleware per miner."""

    def __init__(self, port: int) -> None:
        import aiohttp

        self._base = f"http://127.0.0.1:{port}"
        digest = aiohttp.DigestAuthMiddleware("root", "root")
        timeout = aiohttp.ClientTimeout(total=DEADLINE_S)
        self._session = aiohttp.ClientSession(middlewares=(digest,), timeout=timeout)

    async def sleep(self) -> None:
        async with self._session.get(self._base + GET_PATH) as answer:
            await answer.read()
        headers = {"Content-Type": "application/json"}
        async with self._session.post(self._base + POST_PATH, data=BODY, headers=headers) as answer:
            await answer.read()

    async def close(self) -> None:
        await self._session.close()


class StockPyasic:
    """`stop_mining()` as published: a client per request, every request sent twice for its challenge."""

    def __init__(self, port: int) -> None:
        factory = import_factory()
        self._miner = factory.MINER_CLASSES[factory.MinerTypes.ANTMINER]["ANTMINER S19 PRO"]("127.0.0.1", None)
        self._miner.web.port = port

    async def sleep(self) -> None:
        await self._miner.stop_mining()

    async def close(self) -> None:
        """Nothing is held."""


def contestants() -> dict[str, tuple[Callable[[int], Client], Any]]:
    """Name -> how to build one, and the parser to put into ours."""
    import drivers.asic.http as ours

    found: dict[str, tuple[Callable[[int], Client], Any]] = {
        "by hand, keep-alive": (ByHand, None),
        "ours": (Ours, ours.AnswerParser),
        "ours, the whole driver": (WholeDriver, ours.AnswerParser),
        "ours around h11": (Ours, H11Parser),
        "httpx, client per miner": (Httpx, None),
        "stock pyasic": (StockPyasic, None),
    }
    if importlib.util.find_spec("httptools"):
        found["ours around httptools"] = (Ours, HttptoolsParser)
    if importlib.util.find_spec("aiohttp"):
        found["aiohttp, session per miner"] = (Aiohttp, None)
    return found
