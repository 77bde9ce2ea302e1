"""MQTT clients that keep what they hear."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiomqtt

WITHIN_S = 10.0
STILL_S = 0.5  # nothing more came for so long: what is not there by then is not on its way


def topic_of(site: str, kind: str) -> str:
    return f"curtaild/v1/{site}/{kind}"


class Ear:
    """A client that keeps (topic, payload) of all it hears, and what the broker granted it."""

    def __init__(self, client: aiomqtt.Client) -> None:
        self.client = client
        self.heard: list[tuple[str, str]] = []

    async def listen(self) -> None:
        async for message in self.client.messages:
            self.heard.append((message.topic.value, message.payload.decode()))

    async def subscribe(self, *filters: str, qos: int = 1) -> list[bool]:
        return [[code.value < 0x80 for code in await self.client.subscribe(each, qos)] == [True] for each in filters]


@asynccontextmanager
async def ear(client: aiomqtt.Client) -> AsyncIterator[Ear]:
    async with client:
        listener = Ear(client)
        task = asyncio.create_task(listener.listen())
        try:
            yield listener
        finally:
            task.cancel()
            await asyncio.wait([task])


async def until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + WITHIN_S
    while not condition():
        assert time.monotonic() < deadline, what
        await asyncio.sleep(0.02)
