"""What the daemon says of itself over MQTT: its state, its events and its answers to dispatches, kept for the run."""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import aiomqtt

from simulators.demo.broker import HOST
from simulators.demo.settings import SITE_ID

ROOT = f"curtaild/v1/{SITE_ID}"
EVENTS_KEPT = 5_000


@dataclass(frozen=True, slots=True)
class StateSeen:
    """One state message: when it was decided (monotonic) and what it said; powers in W, None where it knows none."""

    at_s: float
    fields: Mapping[str, Any]

    @property
    def online(self) -> bool:
        return self.fields.get("online") is True

    def power_w(self, key: str) -> float | None:
        """A power of the state by its key without `_kw`, in W."""
        value = self.fields.get(f"{key}_kw")
        return float(value) * 1000.0 if isinstance(value, int | float) else None


@dataclass(frozen=True, slots=True)
class EventSeen:
    """One event: when it came (monotonic), its name, level, text and miner."""

    at_s: float
    name: str
    level: str
    text: str
    miner: str | None


@dataclass(frozen=True, slots=True)
class AnswerSeen:
    """One answer to a dispatch: when it came (monotonic), and what it said."""

    at_s: float
    dispatch_id: str
    issuer: str
    status: str
    power_w: float | None
    reason: str


@dataclass(slots=True)
class Watch:
    """Everything heard so far, oldest first. `run` listens until it is cancelled."""

    port: int
    states: list[StateSeen] = field(default_factory=list)
    events: deque[EventSeen] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    answers: list[AnswerSeen] = field(default_factory=list)
    _online: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Listen; a lost connection is taken up again."""
        while True:
            try:
                async with aiomqtt.Client(HOST, self.port, timeout=5.0) as client:
                    await client.subscribe([(f"{ROOT}/{leaf}", 1) for leaf in ("state", "event", "ack")])
                    async for message in client.messages:
                        self.take(str(message.topic).rpartition("/")[2], message.payload)
            except aiomqtt.MqttError:
                await asyncio.sleep(0.5)

    async def wait_online(self) -> None:
        """Return once a living daemon has spoken."""
        await self._online.wait()

    def take(self, leaf: str, payload: object) -> None:
        """Enter one message; what is no JSON object is none of ours."""
        if not isinstance(payload, bytes | bytearray):
            return
        try:
            said = json.loads(payload)
        except ValueError:
            return
        if not isinstance(said, dict):
            return
        now_s = time.monotonic()
        if leaf == "state":
            state = StateSeen(_decided_at_s(said, now_s), said)
            self.states.append(state)
            if state.online:
                self._online.set()
        elif leaf == "event":
            self.events.append(
                EventSeen(
                    now_s,
                    str(said.get("name", "")),
                    str(said.get("level", "")),
                    str(said.get("text", "")),
                    said.get("miner"),
                )
            )
        elif leaf == "ack":
            kw = said.get("kw")
            self.answers.append(
                AnswerSeen(
                    now_s,
                    str(said.get("id", "")),
                    str(said.get("issuer", "")),
                    str(said.get("status", "")),
                    float(kw) * 1000.0 if isinstance(kw, int | float) else None,
                    str(said.get("reason", "")),
                )
            )


def _decided_at_s(said: Mapping[str, Any], now_s: float) -> float:
    """The moment a state speaks of, on the monotonic clock: it is told every 2 s and is that old when it comes."""
    try:
        wall = datetime.fromisoformat(str(said["at"])).timestamp()
    except (KeyError, ValueError):
        return now_s
    return min(now_s, now_s - (time.time() - wall))
