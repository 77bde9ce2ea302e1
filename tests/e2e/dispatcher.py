"""A dispatcher's end of the broker: sends raw payloads and keeps every answer and state it hears."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from controller.runtime.mqtt_link import BrokerSettings, Link, connected
from controller.wire.mqtt import topics_of
from tests.e2e.processes import CURTAILD

WITHIN_S = 20.0


def stamp(offset_s: float = 0.0) -> str:
    """UTC now, or `offset_s` from now, as the contract writes it."""
    return datetime.fromtimestamp(time.time() + offset_s, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class Dispatcher:
    """`with Dispatcher(port, site) as dispatcher:` - connected and subscribed from the first line on."""

    def __init__(self, port: int, site: str) -> None:
        self._settings = BrokerSettings("127.0.0.1", port, None, None, None)
        self._topics = topics_of(site)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="dispatcher", daemon=True)
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None
        self._listening = threading.Event()
        self.answers: list[dict[str, Any]] = []
        self.states: list[dict[str, Any]] = []

    def __enter__(self) -> Dispatcher:
        self._thread.start()
        self._loop.call_soon_threadsafe(self._begin)
        assert self._listening.wait(WITHIN_S), "no broker"
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(WITHIN_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WITHIN_S)
        self._loop.close()

    def send_raw(self, payload: bytes, *, retain: bool = False) -> None:
        assert self._link is not None
        publish = self._link.publish(self._topics.command, payload, 1, retain=retain)
        asyncio.run_coroutine_threadsafe(publish, self._loop).result(WITHIN_S)

    def send(self, *, retain: bool = False, without: tuple[str, ...] = (), **fields: object) -> None:
        """An order with every required field; `fields` replace them, `without` leaves some out."""
        order: dict[str, object] = {
            "issuer": "dispatcher-1",
            "issued_at": stamp(),
            "expires_at": stamp(60),
            "class": "normal",
            "kind": "cap",
            "kw": 10,
            **fields,
        }
        self.send_raw(json.dumps({k: v for k, v in order.items() if k not in without}).encode(), retain=retain)

    def statuses(self, order_id: str) -> list[str]:
        """What was answered to one order, oldest first."""
        return [answer["status"] for answer in self.answers if answer["id"] == order_id]

    def last(self, order_id: str) -> dict[str, Any]:
        return [answer for answer in self.answers if answer["id"] == order_id][-1]

    def _begin(self) -> None:
        self._task = self._loop.create_task(self._listen())

    async def _listen(self) -> None:
        async with connected(self._settings, None) as link:
            self._link = link
            await link.subscribe(self._topics.answer, 1)
            await link.subscribe(self._topics.state, 0)
            self._listening.set()
            async for message in link.messages():
                heard = json.loads(message.payload)
                (self.answers if message.topic == self._topics.answer else self.states).append(heard)

    async def _end(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait([self._task])


@contextmanager
def heartbeats(site: str, port: int) -> Iterator[None]:
    """`curtaild heartbeat` beside the test, ended as a person ends it."""
    where = ("--site", site, "--broker", f"127.0.0.1:{port}")
    beating = subprocess.Popen([CURTAILD, "heartbeat", *where, "--every", "0.5s"], stdout=subprocess.PIPE, text=True)
    try:
        yield
        beating.send_signal(signal.SIGINT)
        assert beating.wait(10) == 0
    finally:
        if beating.poll() is None:
            beating.kill()
        out, _ = beating.communicate()
    assert f"heartbeats to site {site} every 0.5 s" in out
