"""A scripted WhatsMiner for the driver's tests: tokens and encryption of its own, and answers by the test's rules."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from controller.domain.command import Command, Verb
from controller.domain.fleet import Level
from drivers.asic.budget import Budget
from drivers.asic.profiles import facts_of
from drivers.asic.pyasic_miner import import_factory
from drivers.asic.whatsminer import WhatsMinerV2
from simulators.asic.whatsminer_crypto import md5_crypt

FACTS = facts_of("WhatsMiner M50S", "WhatsMiner V2")
PASSWORD = "secret"
NAMEPLATE_W = FACTS.envelope.levels[-1].power_w
OK = {"STATUS": "S", "When": 1, "Code": 131, "Msg": "API command OK", "Description": ""}

SLEEP = Command(41, 0, Verb.SLEEP, None, raises=False, urgent=False, reason="test")
SHED = Command(42, 0, Verb.SLEEP, None, raises=False, urgent=True, reason="test")
WAKE = Command(43, 0, Verb.WAKE, None, raises=True, urgent=False, reason="test")


def trim(level: int | None, *, urgent: bool = False, raises: bool = False) -> Command:
    """To a level."""
    return Command(44, 0, Verb.TRIM, level, raises=raises, urgent=urgent, reason="test")


def build(
    host: str,
    port: int,
    *,
    deadline_s: float = 3.0,
    password: str | None = PASSWORD,
    restarts: int = 24,
    index: int = 0,
    ladder: tuple[Level, ...] | None = None,
) -> WhatsMinerV2:
    """Our driver for a WhatsMiner M50S."""
    return WhatsMinerV2(
        miner_id="rack-1/0",
        index=index,
        facts=FACTS,
        host=host,
        port=port,
        password=password,
        deadline_s=deadline_s,
        budget=Budget(restarts),
        ladder=ladder,
    )


def build_stock(host: str, port: int, password: str = PASSWORD) -> Any:
    """The same miner in pyasic as published; only port and password are ours."""
    factory = import_factory()
    miner = factory.MINER_CLASSES[factory.MinerTypes.WHATSMINER]["M50SVH50"](host, None)
    miner.rpc.port = port
    miner.rpc.pwd = password
    return miner


async def until(condition: Callable[[], object], within_s: float = 10.0) -> None:
    """Let time pass until `condition` holds."""
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110  # sockets tell nobody when they are gone
            await asyncio.sleep(0.01)


def error(code: int, message: str) -> dict[str, Any]:
    """What the firmware says in clear when it will not."""
    return {"STATUS": "E", "When": 1, "Code": code, "Msg": message, "Description": ""}


def summary(power_w: object = 3200, mhs: object = 124.5e6, **more: object) -> dict[str, Any]:
    """A `summary` in the recorded shape."""
    told = {"Power": power_w, "HS RT": mhs, "Power Mode": "Normal", "Power Limit": NAMEPLATE_W, "Elapsed": 25_000}
    return {
        "STATUS": [{"STATUS": "S", "Code": 11, "Msg": "Summary", "Description": "cgminer 4.9.2"}],
        "SUMMARY": [told | {name.replace("_", " "): value for name, value in more.items()}],
        "id": 1,
    }


def status(mineroff: object = "false") -> dict[str, Any]:
    """A `status` in the recorded shape."""
    return {**OK, "Msg": {"mineroff": mineroff, "mineroff_reason": "", "power_mode": "", "hash_percent": ""}}


def version(firmware: str = "20230803.11.REL", api: str = "2.0.5") -> dict[str, Any]:
    """A `get_version`."""
    return {**OK, "Msg": {"api_ver": api, "fw_ver": firmware, "platform": "H616"}}


def devdetails(model: str = "M50S_VH50") -> dict[str, Any]:
    """A `devdetails`."""
    return {"STATUS": [{"STATUS": "S", "Code": 69, "Msg": "Device Details"}], "DEVDETAILS": [{"Model": model}], "id": 1}


@dataclass(frozen=True)
class Sealed:
    """An answer that is encrypted with another key than the one asked with."""

    document: Any
    key: str


@dataclass
class Script:
    """`answers` maps a command, or `command argument=value`, to a document, raw bytes, None for silence, or a deque of
    such, of which the last one stays. The success of a write is encrypted, everything else goes in clear."""

    password: str = PASSWORD
    salt: str = "BQ5hoXV9"
    port: int = 0
    connections: int = 0
    open_now: int = 0
    asked: list[str] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    answers: dict[str, Any] = field(
        default_factory=lambda: {
            "summary": summary(),
            "status": status(),
            "get_version": version(),
            "devdetails": devdetails(),
        }
    )

    def ours(self, **given: Any) -> WhatsMinerV2:
        """Our driver in front of it."""
        return build("127.0.0.1", self.port, **given)

    def stock(self) -> Any:
        """Stock pyasic in front of it."""
        return build_stock("127.0.0.1", self.port)

    def forget(self) -> None:
        """Start the record anew."""
        self.asked.clear()
        self.raw.clear()
        self.connections = 0

    @property
    def key(self) -> str:
        """The device's key: the hash part of its stored password."""
        return md5_crypt(self.password, self.salt)

    def open(self, data: str, key: str | None = None) -> dict[str, Any]:
        """Decrypt a request. Raises ValueError."""
        plain = _cipher(key or self.key).decryptor().update(base64.b64decode(data, validate=True))
        document: dict[str, Any] = json.loads(plain.rstrip(b"\0"))
        return document

    def seal(self, document: Any, key: str | None = None) -> bytes:
        """Encrypt an answer."""
        plain = json.dumps(document).encode()
        plain += b"\0" * (-len(plain) % 16)
        return json.dumps(
            {"enc": base64.b64encode(_cipher(key or self.key).encryptor().update(plain)).decode()}
        ).encode()

    def reply_to(self, request: bytes) -> bytes | None:
        """What it says."""
        document = json.loads(request)
        if "enc" not in document:
            name = document["command"]
            self.asked.append(name)
            answer = self._scripted(name, "")
            return self._grant() if answer is _DEFAULT and name == "get_token" else _plain(answer)
        try:
            inner = self.open(document["data"])
        except ValueError:
            self.asked.append("enc")
            return _plain(error(23, "enc json load err"))
        token = inner.pop("token")
        name = inner.pop("cmd")
        arguments = ",".join(f"{key}={value}" for key, value in inner.items())
        self.asked.append(f"enc {name} {arguments}".strip())
        answer = self._scripted(name, arguments)
        if answer is _DEFAULT:
            return self.seal(OK) if token in self.tokens else _plain(error(135, "check token err"))
        if isinstance(answer, Sealed):
            return self.seal(answer.document, answer.key)
        return self.seal(answer) if isinstance(answer, dict) and answer.get("STATUS") == "S" else _plain(answer)

    def _scripted(self, name: str, arguments: str) -> Any:
        answer = self.answers.get(f"{name} {arguments}", self.answers.get(name, _DEFAULT))
        if isinstance(answer, deque):
            answer = answer.popleft() if len(answer) > 1 else answer[0]
        return answer

    def _grant(self) -> bytes:
        time, newsalt = f"{len(self.tokens):04d}", f"new{len(self.tokens):05d}"
        self.tokens.add(md5_crypt(self.key + time, newsalt))
        return _plain({**OK, "Code": 134, "Msg": {"time": time, "salt": self.salt, "newsalt": newsalt}}) or b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.open_now += 1
        try:
            request = await reader.read(65_536)
            self.raw.append(request)
            answer = self.reply_to(request)
            if answer is None:
                await reader.read()  # silent until the client gives up
            else:
                writer.write(answer)
                await writer.drain()
        except ConnectionError:
            pass  # the client gave up
        finally:
            self.open_now -= 1
            writer.close()


_DEFAULT = object()


def _plain(answer: Any) -> bytes | None:
    if answer is _DEFAULT:
        answer = error(14, "invalid cmd")
    return answer if answer is None or isinstance(answer, bytes) else json.dumps(answer).encode()


def _cipher(key: str) -> Cipher[Any]:
    return Cipher(algorithms.AES(hashlib.sha256(key.encode()).digest()), modes.ECB())  # noqa: S305  # what the firmware speaks


@asynccontextmanager
async def running() -> AsyncIterator[Script]:
    """A scripted miner on a port of its own."""
    script = Script()
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0)
    script.port = server.sockets[0].getsockname()[1]
    try:
        yield script
    finally:
        server.close()
        tasks = {task for task in asyncio.all_tasks() if "Script.serve" in repr(task.get_coro())}
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)


async def warmed(script: Script, **given: Any) -> Any:
    """Our driver after its first read, with a token in hand, and a clean record."""
    miner = script.ours(**given)
    await miner.read()
    script.forget()
    return miner
