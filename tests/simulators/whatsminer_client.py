"""A tool that speaks to simulated WhatsMiners over a socket, with the vendor's encryption and no retries."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from simulators.asic.bank import MinerBank
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec
from simulators.asic.whatsminer import WhatsMiner
from simulators.asic.whatsminer_crypto import Envelope, md5_crypt
from simulators.asic.whatsminer_state import Firmware
from simulators.asic.whatsminer_tokens import FACTORY_PASSWORD
from simulators.asic.wire_server import FirmwareServer

OK = (131, "API command OK")


def outcome(reply: dict[str, Any]) -> tuple[int, object]:
    """Code and words of a reply."""
    return reply["Code"], reply["Msg"]


class Clock:
    """A clock that stands still until it is told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


class Tool:
    """One client of the miner at `host` and `port`; `token` and `envelope` are those of its last `log_on`."""

    def __init__(self, host: str, port: int, password: str = FACTORY_PASSWORD) -> None:
        self._address = (host, port)
        self._password = password
        self.token = ""
        self.envelope = Envelope("")

    async def send(self, request: bytes) -> bytes:
        """Raw bytes there, all the miner sent until it closed back."""
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection(*self._address)
            writer.write(request)
            data = await reader.read()
            writer.close()
            await writer.wait_closed()
            return data

    async def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request in clear, decoded."""
        reply: dict[str, Any] = json.loads(await self.send(json.dumps(request).encode()))
        return reply

    async def read(self, command: str) -> dict[str, Any]:
        """The reply to a read."""
        return await self.ask({"command": command})

    async def log_on(self) -> dict[str, Any]:
        """Get a token and work out what goes with it; the reply is returned whatever it is."""
        reply = await self.read("get_token")
        if reply["Code"] == 134:
            told = reply["Msg"]
            key = md5_crypt(self._password, told["salt"])
            self.token = md5_crypt(key + told["time"], told["newsalt"])
            self.envelope = Envelope(key)
        return reply

    async def write(self, command: str, **arguments: object) -> dict[str, Any]:
        """A write with the token there is: the opened reply, or the error in clear."""
        sealed = self.envelope.seal({"cmd": command, **arguments, "token": self.token})
        reply = await self.ask({"enc": 1, "data": sealed})
        if "enc" not in reply:
            return reply
        opened = self.envelope.open(reply["enc"])
        assert isinstance(opened, dict)
        return opened

    async def order(self, command: str, **arguments: object) -> dict[str, Any]:
        """Log on and write."""
        await self.log_on()
        return await self.write(command, **arguments)


class Stand:
    """One miner on a socket, its physics moved by hand, its tokens aged by `clock`."""

    def __init__(self, miner: WhatsMiner, server: FirmwareServer, clock: Clock) -> None:
        self.miner = miner
        self.bank = miner.bank
        self.faults = miner.faults
        self.clock = clock
        self._server = server

    def tool(self, password: str = FACTORY_PASSWORD) -> Tool:
        """A new client, without token."""
        return Tool(self._server.api.host, self._server.api.port, password)

    @property
    def hostname(self) -> str:
        """What the miner calls itself."""
        return self.miner.settings.hostname

    @property
    def rung(self) -> str:
        """The percent the miner is set to."""
        return self.bank.models[0].profiles[int(self.bank.profile_index[0])].name


@asynccontextmanager
async def stand(
    model: str = "m60s",
    *,
    behaviour: Behaviour = Behaviour.OBEYS,
    asleep: bool = False,
    firmware: Firmware | None = None,
) -> AsyncIterator[Stand]:
    """A miner of that model, answering until the block ends."""
    clock = Clock()
    bank = MinerBank(FleetSpec(models=[MODELS[model]], seed=5, behaviours=[behaviour], asleep=[asleep]))
    miner = WhatsMiner(bank, 0, host="127.0.0.1", firmware=firmware, now_s=clock)
    server = FirmwareServer(miner, host="127.0.0.1", port=0)
    await server.start()
    try:
        yield Stand(miner, server, clock)
    finally:
        server.stop()
        await asyncio.sleep(0)
