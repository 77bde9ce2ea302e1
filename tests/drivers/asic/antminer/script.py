"""A scripted stock Antminer for the driver's tests: port 4028 and a web interface that answer by the test's rules.

It keeps every byte it got. Digest authentication is worked out here once more, from RFC 7616, not with the driver's.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from controller.domain.command import Command, Verb
from drivers.asic.antminer import AntminerStock
from drivers.asic.budget import Budget
from drivers.asic.profiles import ModelFacts, facts_of
from drivers.asic.pyasic_miner import import_factory
from tests.drivers.asic.antminer.answers import CONF, OK, RESET, conf, http, summary, version, web_summary

FACTS = facts_of("Antminer S19 Pro", "Antminer stock")
LOW, NORMAL = FACTS.envelope.levels
REALM = "antMiner Configuration"
PASSWORD = "secret"

SLEEP = Command(41, 0, Verb.SLEEP, None, raises=False, urgent=False, reason="test")
SHED = Command(42, 0, Verb.SLEEP, None, raises=False, urgent=True, reason="test")
WAKE = Command(43, 0, Verb.WAKE, None, raises=True, urgent=False, reason="test", prior="0")


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Let time pass until `condition` holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # sockets tell nobody when they are gone
            await asyncio.sleep(0.01)


def quick(facts: ModelFacts = FACTS) -> ModelFacts:
    """The same model with dead times of no length: what a slow miner needs minutes for is over at once."""
    response = replace(facts.envelope.response, wake_dead_s=0.0, sleep_dead_s=0.0, sleep_90_s=0.0, wake_patience_s=0.0)
    return replace(facts, envelope=replace(facts.envelope, response=response))


@dataclass(frozen=True)
class Asked:
    """One web request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    raw: bytes

    @property
    def name(self) -> str:
        """`get_miner_conf`, say."""
        return self.path.removeprefix("/cgi-bin/").removesuffix(".cgi")

    def credentials(self) -> dict[str, str]:
        """The fields of its `Authorization`, quotes left out."""
        found = re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', self.headers.get("authorization", ""))
        return {name: quoted or bare for name, quoted, bare in found}


@dataclass
class Script:
    """`api` answers commands of port 4028, `web` scripts of the web interface: a document, raw bytes (of the web: of
    the whole answer), a status code, RESET, None for silence, or a deque of such, of which the last one stays."""

    password: str = PASSWORD
    port: int = 0
    web_port: int = 0
    api: dict[str, Any] = field(default_factory=lambda: {"summary": summary(), "version": version()})
    web: dict[str, Any] = field(
        default_factory=lambda: {
            "get_miner_conf": CONF,
            "set_miner_conf": OK,
            "summary": web_summary(),
            "get_system_info": {"minertype": "Antminer S19 Pro"},
        }
    )
    obeys: bool = True
    """Whether a write that is answered OK changes the mode that `get_miner_conf` tells."""
    nonce: str = "7d9c8566fed24a4148b8b7a362c8cdf1"
    challenge: str = 'Digest realm="{realm}", nonce="{nonce}", qop="auth"'
    close_web_after: int = 0
    """Close the web port after so many requests; 0: never."""
    web_server: asyncio.Server | None = None
    asked: list[str] = field(default_factory=list)
    asked_raw: list[bytes] = field(default_factory=list)
    requests: list[Asked] = field(default_factory=list)
    web_connections: int = 0
    open_now: int = 0
    writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def ours(self, **given: Any) -> AntminerStock:
        """Our driver in front of it."""
        arguments: dict[str, Any] = {
            "miner_id": "rack-1/0",
            "index": 0,
            "host": "127.0.0.1",
            "port": self.port,
            "web_port": self.web_port,
            "facts": FACTS,
            "deadline_s": 3.0,
            "budget": Budget(12),
            "password": PASSWORD,
        }
        return AntminerStock(**(arguments | given))

    def stock(self, password: str = PASSWORD) -> Any:
        """Stock pyasic in front of it."""
        return build_stock("127.0.0.1", self.port, self.web_port, password)

    @property
    def names(self) -> list[str]:
        """What the web was asked for and what of it was let in, 401s left out."""
        return [request.name for request in self.requests if self._knows(request)]

    @property
    def written(self) -> list[dict[str, Any]]:
        """The configurations sent to it."""
        sent = [request for request in self.requests if request.name == "set_miner_conf" and self._knows(request)]
        return [json.loads(request.body) for request in sent]

    def _knows(self, request: Asked) -> bool:
        given = request.credentials()
        if given.get("nonce") != self.nonce:
            return False
        secret, what = _md5(f"root:{REALM}:{self.password}"), _md5(f"{request.method}:{request.path}")
        proof = _md5(f"{secret}:{given['nonce']}:{given['nc']}:{given['cnonce']}:{given['qop']}:{what}")
        return given == given | {"username": "root", "realm": REALM, "uri": request.path, "response": proof}

    async def serve_api(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to port 4028."""
        self.open_now += 1
        self.writers.add(writer)
        try:
            request = await reader.read(65_536)
            command = json.loads(request)["command"]
            self.asked.append(command)
            self.asked_raw.append(request)
            answer = _next(self.api, command)
            if answer is None:
                await reader.read()
            elif answer is not RESET:
                writer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\0")
                await writer.drain()
        except (ConnectionError, json.JSONDecodeError):
            pass
        finally:
            self.open_now -= 1
            writer.transport.abort() if answer is RESET else writer.close()

    async def serve_web(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection to the web interface, kept open as long as the client likes."""
        self.open_now += 1
        self.web_connections += 1
        self.writers.add(writer)
        try:
            while (request := await _request(reader)) is not None:
                self.requests.append(request)
                if len(self.requests) == self.close_web_after and self.web_server is not None:
                    self.web_server.close()
                if not self._knows(request):
                    challenge = self.challenge.format(realm=REALM, nonce=self.nonce)
                    writer.write(http(401, b"", f"WWW-Authenticate: {challenge}\r\n"))
                    continue
                answer = _next(self.web, request.name)
                if answer is None:
                    await reader.read()
                    return
                if answer is RESET:
                    writer.transport.abort()
                    return
                told = self.web["get_miner_conf"]
                if self.obeys and answer is OK and isinstance(told, dict):
                    mode = str(json.loads(request.body)["miner-mode"])
                    self.web["get_miner_conf"] = told | {"bitmain-work-mode": mode}
                writer.write(_http_of(answer))
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            self.open_now -= 1
            writer.close()


def asleep(script: Script, mode: str = "1", **changed: Any) -> None:
    """The miner sleeps, as its configuration says."""
    script.web["get_miner_conf"] = conf(mode, **changed)
    script.api["summary"] = summary(0.0)


def build_stock(host: str, port: int, web_port: int, password: str) -> Any:
    """An S19 Pro in pyasic as published; only ports and password are ours."""
    factory = import_factory()
    miner = factory.MINER_CLASSES[factory.MinerTypes.ANTMINER]["ANTMINER S19 PRO"](host, None)
    miner.rpc.port = port
    miner.web.port = web_port
    miner.web.pwd = password
    return miner


def _http_of(answer: Any) -> bytes:
    if isinstance(answer, bytes):
        return answer
    if isinstance(answer, int):
        return http(answer, b"<html></html>")
    return http(200, json.dumps(answer).encode(), "Content-Type: application/json\r\n")


def _next(answers: dict[str, Any], name: str) -> Any:
    answer = answers.get(name, 404)
    if isinstance(answer, deque):
        return answer.popleft() if len(answer) > 1 else answer[0]
    return answer


async def _request(reader: asyncio.StreamReader) -> Asked | None:
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    first, *lines = head.decode().removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, path, headers, body, head + body)


def _md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


@asynccontextmanager
async def scripted(**given: Any) -> AsyncIterator[Script]:
    """A scripted Antminer on ports of its own."""
    script = Script(**given)
    api = await asyncio.start_server(script.serve_api, "127.0.0.1", 0)
    web = await asyncio.start_server(script.serve_web, "127.0.0.1", 0)
    script.port = api.sockets[0].getsockname()[1]
    script.web_server = web
    script.web_port = web.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        api.close()
        web.close()
        for writer in script.writers:
            writer.transport.abort()
        serving = {task for task in asyncio.all_tasks() if "Script.serve" in repr(task.get_coro())}
        if serving:
            await asyncio.wait(serving, timeout=3.0)
        for _ in range(2):
            await asyncio.sleep(0)  # transports close their sockets in the loop's next turn
