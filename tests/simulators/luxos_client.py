"""A plain client of simulated LuxOS miners."""

import asyncio
import json
from typing import Any

from simulators.asic.farm import MinerFarm

VERSION = b'{"command": "version"}'


async def exchange(farm: MinerFarm, request: bytes = VERSION) -> bytes:
    """Send raw bytes to the first miner; returns all it sent until it closed."""
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(*farm.addresses[0])
        try:
            writer.write(request)
            return await reader.read()
        finally:
            writer.close()


async def ask(farm: MinerFarm, command: str, parameter: str = "") -> dict[str, Any]:
    """Its reply to a command."""
    reply: dict[str, Any] = json.loads(
        await exchange(farm, json.dumps({"command": command, "parameter": parameter}).encode())
    )
    return reply


def is_error(reply: dict[str, Any]) -> bool:
    """Whether a reply is a refusal."""
    return bool(reply["STATUS"][0]["STATUS"] == "E")


async def answers(farm: MinerFarm) -> bool:
    """Whether it answers a read."""
    return "VERSION" in json.loads(await exchange(farm))
