"""Dispatch in, answers and state out, over MQTT: a mailbox that never makes the cycle wait and never gives up.

Callers only touch bounded queues; one task owns the connection, fills and empties them, and reconnects for ever.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, DispatchClass, Received, RejectCode
from controller.runtime.mqtt_link import BrokerSettings, Link, LinkLostError, Will, connected
from controller.wire.mqtt import decode_dispatch, encode_answer, encode_offline, topics_of

PIPELINED = 8  # publishes under way at once: order is kept, a slow broker costs one round trip per eight
STATE_PERIOD_S = 2.0
BACKOFF_FIRST_S, BACKOFF_MAX_S = 0.2, 5.0
STEADY_S = 5.0


@dataclass(frozen=True, slots=True)
class InboxLimits:
    """How much may wait. Emergency orders have `emergency_extra` places that no flood of others can take.

    answer_keep_s: an answer that could not be delivered for so long is of no use to its issuer any more.
    """

    incoming: int = 256
    emergency_extra: int = 32
    answers: int = 1024
    answer_keep_s: float = 600.0
    events: int = 256


@dataclass(slots=True)
class InboxCounts:
    """What went through and what did not; for metrics, only ever rising."""

    received: int = 0
    malformed: int = 0
    retained: int = 0
    refused_full: int = 0
    answers_sent: int = 0
    answers_dropped: int = 0
    events_dropped: int = 0
    connects: int = 0
    losses: int = 0


class MqttInbox:
    """controller.ports.Inbox over an MQTT broker, plus the retained state, events and the dispatcher's heartbeat.

    `run()` owns the connection until `stop()`; everything else returns at once and may be called at any time on the
    loop. `on_received` is called on the loop for every message right after it was queued: to look, not to act.
    `on_link` is told of every change: up, and down with the reason.
    """

    def __init__(
        self,
        broker: BrokerSettings,
        site: str,
        *,
        on_received: Callable[[Received], None],
        on_link: Callable[[bool, str], None],
        limits: InboxLimits,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._broker = broker
        self._site = site
        self._topics = topics_of(site)
        self._on_received = on_received
        self._on_link = on_link
        self._limits = limits
        self._incoming: deque[Received] = deque()
        self._clock = clock  # for how long answers wait: a wall clock set forward must not make them all too old
        self._answers: deque[tuple[float, Answer]] = deque()
        self._events: deque[bytes] = deque()
        self._state: bytes | None = None
        self._state_dirty = False
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._says_offline = True
        self._connected_at: float | None = None
        self._state_sent_at: float | None = None
        self._heartbeat_at: float | None = None
        self._said: tuple[bool, str] | None = None
        self.counts = InboxCounts()

    def drain(self) -> tuple[Received, ...]:
        """All orders that came since the last call, oldest first."""
        taken = tuple(self._incoming)
        self._incoming.clear()
        return taken

    def answer(self, answers: tuple[Answer, ...]) -> None:
        """Queue answers; they survive a lost connection. When too many wait, the oldest are dropped and counted."""
        now = self._clock()
        self._answers.extend((now, answer) for answer in answers)
        while len(self._answers) > self._limits.answers:
            self._answers.popleft()
            self.counts.answers_dropped += 1
        if answers:
            self._wake.set()

    def publish_state(self, payload: bytes) -> None:
        """The newest state; published retained every 2 s, older ones are never sent. Nothing new, nothing published."""
        self._state, self._state_dirty = payload, True
        if self._state_sent_at is None or time.monotonic() - self._state_sent_at >= STATE_PERIOD_S:
            self._wake.set()

    def publish_event(self, payload: bytes) -> None:
        """Queue one event for people and alerting; the oldest are dropped when too many wait."""
        if len(self._events) >= self._limits.events:
            self._events.popleft()
            self.counts.events_dropped += 1
        self._events.append(payload)
        self._wake.set()

    @property
    def connected(self) -> bool:
        return self._connected_at is not None

    @property
    def heartbeat_at(self) -> float | None:
        """Loop seconds of the dispatcher's last live heartbeat, None before the first. No wall clock: one that is set
        back by an hour would keep a dead dispatcher alive for as long."""
        return self._heartbeat_at

    @property
    def waiting(self) -> tuple[int, int]:
        """Orders not yet drained, answers not yet delivered."""
        return len(self._incoming), len(self._answers)

    async def run(self) -> None:
        """Stay connected until `stop()`; only cancellation ends it otherwise."""
        failures = 0
        while not self._stopping.is_set():
            try:
                await self._one_connection()
                return
            except LinkLostError as lost:
                lasted_s = 0.0 if self._connected_at is None else time.monotonic() - self._connected_at
                self.counts.losses += self._connected_at is not None
                self._connected_at = None
                # A connection that does not last is no success: two daemons of one name would else fight at full speed.
                failures = 1 if lasted_s >= STEADY_S else failures + 1
                self._say(False, str(lost))
            finally:
                self._connected_at = None
            # Jittered, so that a hundred sites do not return to a restarted broker in the same instant.
            ceiling = min(BACKOFF_MAX_S, BACKOFF_FIRST_S * 2 ** min(failures - 1, 10))
            with suppress(TimeoutError):
                async with asyncio.timeout(ceiling * random.uniform(0.5, 1.0)):
                    await self._stopping.wait()

    def stop(self, *, offline: bool = True) -> None:
        """Deliver what waits if the broker is there, say goodbye, end `run()`.

        offline: whether the retained state says so; not when we are back in a moment.
        """
        self._says_offline = offline
        self._stopping.set()
        self._wake.set()

    def _say(self, up: bool, text: str) -> None:
        """Tell of every change, not of every fruitless try."""
        if self._said != (up, text):
            self._said = (up, text)
            self._on_link(up, text)

    async def _one_connection(self) -> None:
        will = Will(self._topics.state, encode_offline(self._site, "lost"))
        # The session is kept so that an order sent while we restart is answered, not lost; its age is core's to judge.
        async with connected(self._broker, f"curtaild-{self._site}", will=will, keep_session=True) as link:
            reader = asyncio.create_task(self._read(link))
            try:
                await link.subscribe(self._topics.command, 1)
                # QoS 0 on purpose: a heartbeat that a broker kept for us proves nothing about now.
                await link.subscribe(self._topics.heartbeat, 0)
                self._connected_at = time.monotonic()
                self._state_sent_at = None
                self.counts.connects += 1
                self._say(True, str(self._broker))
                await self._write_until_stopped(link, reader)
                if self._says_offline:
                    await link.publish(self._topics.state, encode_offline(self._site, "stopped"), 1, retain=True)
            finally:
                await _ended(reader)

    async def _read(self, link: Link) -> None:
        async for message in link.messages():
            if message.topic == self._topics.heartbeat:
                if not message.retained:
                    self._heartbeat_at = asyncio.get_running_loop().time()
            else:
                self._take(Received(decode_dispatch(message.payload), time.time(), message.retained))

    def _take(self, received: Received) -> None:
        message = received.message
        self.counts.received += 1
        self.counts.retained += received.retained
        self.counts.malformed += not isinstance(message, Dispatch)
        urgent = isinstance(message, Dispatch) and message.dispatch_class is DispatchClass.EMERGENCY
        places = self._limits.incoming + (self._limits.emergency_extra if urgent else 0)
        if len(self._incoming) >= places:
            self.counts.refused_full += 1
            reason = f"{len(self._incoming)} orders are waiting already; send again later"
            self.answer((_refusal(received, reason),))
            return
        self._incoming.append(received)
        self._on_received(received)

    async def _write_until_stopped(self, link: Link, reader: asyncio.Task[None]) -> None:
        while True:
            self._wake.clear()
            await self._send_answers(link)
            await self._send_events(link)
            due_in_s = await self._send_state(link)
            if self._stopping.is_set() and not self._answers and not self._events:
                return
            if self._wake.is_set():
                continue
            wake = asyncio.create_task(self._wake.wait())
            try:
                await asyncio.wait((wake, reader), timeout=due_in_s, return_when=asyncio.FIRST_COMPLETED)
            finally:
                await _ended(wake)
            if reader.done():
                reader.result()  # the reader only ends by LinkLostError

    async def _send_answers(self, link: Link) -> None:
        """Deliver the waiting answers in order; what is not confirmed stays and is sent again: at least once."""
        while self._answers:
            batch = [self._answers.popleft() for _ in range(min(PIPELINED, len(self._answers)))]
            oldest = self._clock() - self._limits.answer_keep_s
            fresh = [(since, answer) for since, answer in batch if since >= oldest]
            self.counts.answers_dropped += len(batch) - len(fresh)
            publishes = (link.publish(self._topics.answer, encode_answer(answer), 1) for _, answer in fresh)
            try:
                results = await asyncio.gather(*publishes, return_exceptions=True)
            except asyncio.CancelledError:
                self._answers.extendleft(reversed(fresh))
                raise
            failed = [entry for entry, result in zip(fresh, results, strict=True) if result is not None]
            self._answers.extendleft(reversed(failed))
            self.counts.answers_sent += len(fresh) - len(failed)
            _raise_first(results)

    async def _send_events(self, link: Link) -> None:
        while self._events:
            event = self._events.popleft()
            try:
                await link.publish(self._topics.event, event, 1)
            except LinkLostError:
                self._events.appendleft(event)
                raise

    async def _send_state(self, link: Link) -> float:
        """Publish the state when it is new and 2 s have passed; returns the seconds until it may be due again.

        QoS 1, so that a silent link shows within the call's time limit instead of two keepalives.
        """
        now = time.monotonic()
        since_s = STATE_PERIOD_S if self._state_sent_at is None else now - self._state_sent_at
        if since_s < STATE_PERIOD_S:
            return STATE_PERIOD_S - since_s
        if self._state is not None and self._state_dirty:
            self._state_dirty, self._state_sent_at = False, now
            await link.publish(self._topics.state, self._state, 1, retain=True)
        return STATE_PERIOD_S


def _refusal(received: Received, reason: str) -> Answer:
    message = received.message
    return Answer(
        dispatch_id=message.dispatch_id,
        issuer=message.issuer,
        status=AnswerStatus.REJECTED,
        at=received.received_at,
        terminal=True,
        code=RejectCode.NOT_ALLOWED,
        reason=reason,
    )


async def _ended(task: asyncio.Task[Any]) -> None:
    """Cancel and see off a task whose own end, however it came, no longer matters."""
    task.cancel()
    await asyncio.wait((task,))
    if not task.cancelled():
        task.exception()


def _raise_first(results: list[BaseException | None]) -> None:
    for result in results:
        if result is not None:
            raise result
