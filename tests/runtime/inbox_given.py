"""An inbox that runs in a test, what it is sent, and who listens."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from controller.domain.dispatch import (
    Answer,
    AnswerStatus,
    Dispatch,
    DispatchClass,
    DispatchKind,
    Received,
)
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.mqtt_link import BrokerSettings

DEADLINE_S = 20.0


async def until(condition: Callable[[], Any], what: str = "condition") -> None:
    """Wait until something is so; the deadline only keeps a failing test from hanging."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not come about within {DEADLINE_S} s"
        await asyncio.sleep(0.001)


def order(number: int = 1, dispatch_class: DispatchClass = DispatchClass.NORMAL) -> Dispatch:
    now = round(time.time(), 3)
    return Dispatch(
        dispatch_id=f"order-{number}",
        issuer="desk-1",
        seq=number,
        issued_at=now,
        expires_at=now + 60,
        dispatch_class=dispatch_class,
        kind=DispatchKind.CAP,
        power_w=400_000,
    )


def accepted(number: int = 1, at: float | None = None) -> Answer:
    moment = round(time.time() if at is None else at, 3)
    return Answer(f"order-{number}", "desk-1", AnswerStatus.ACCEPTED, moment, False, 400_000)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


class Recorder:
    """What the inbox calls back."""

    def __init__(self) -> None:
        self.received: list[Received] = []
        self.links: list[tuple[bool, str]] = []

    def on_link(self, up: bool, text: str) -> None:
        self.links.append((up, text))


@asynccontextmanager
async def running_inbox(
    settings: BrokerSettings,
    site: str,
    limits: InboxLimits | None = None,
    wait: bool = True,
    clock: Callable[[], float] = time.monotonic,
) -> AsyncIterator[tuple[MqttInbox, Recorder]]:
    recorder = Recorder()
    inbox = MqttInbox(
        settings,
        site,
        on_received=recorder.received.append,
        on_link=recorder.on_link,
        limits=limits or InboxLimits(),
        clock=clock,
    )
    task = asyncio.create_task(inbox.run())
    try:
        if wait:
            await until(lambda: inbox.connected, "connection")
        yield inbox, recorder
    finally:
        inbox.stop()
        await asyncio.wait_for(task, 10)
