"""A plain client of simulated LuxOS miners."""

import asyncio
import json
from typing import Any

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS

MODEL = MODELS["s19kpro"]
VERSION = b'{"command": "version"}'


async def exchange(farm: MinerFarm, request: bytes = VERSION, miner: int = 0, *, end: bool = False) -> bytes:
    """Send raw bytes to a miner, and no more if it is the `end`; returns all it sent until it closed."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*farm.addresses[miner])
        try:
            writer.write(request)
            if end:
                writer.write_eof()
            return await reader.read()
        finally:
            writer.close()


async def ask(farm: MinerFarm, command: str, parameter: str | None = None, miner: int = 0) -> dict[str, Any]:
    """Its reply to a command."""
    request = {"command": command} | ({} if parameter is None else {"parameter": parameter})
    reply: dict[str, Any] = json.loads(await exchange(farm, json.dumps(request).encode(), miner))
    return reply


async def logon(farm: MinerFarm, miner: int = 0) -> str:
    """The session it gives."""
    session_id: str = (await ask(farm, "logon", miner=miner))["SESSION"][0]["SessionID"]
    return session_id


def outcome(reply: dict[str, Any]) -> tuple[str, int]:
    """Status and code of a reply."""
    return reply["STATUS"][0]["STATUS"], reply["STATUS"][0]["Code"]


def is_error(reply: dict[str, Any]) -> bool:
    """Whether a reply is a refusal."""
    return outcome(reply)[0] == "E"


async def answers(farm: MinerFarm) -> bool:
    """Whether it answers a read."""
    return "VERSION" in json.loads(await exchange(farm))
