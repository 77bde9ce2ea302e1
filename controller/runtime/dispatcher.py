"""The other end of the dispatch contract: send one order, hear its answers. What `curtaild dispatch` stands on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from controller.domain.dispatch import Answer, Dispatch
from controller.runtime.mqtt_link import BrokerSettings, connected
from controller.wire.mqtt import decode_answer, decode_state, encode_dispatch, topics_of


@dataclass(frozen=True, slots=True)
class SiteState:
    """What the site's retained state says: whether a daemon is behind it, and all its figures."""

    online: bool
    fields: dict[str, object]


async def send_order(broker: BrokerSettings, site: str, order: Dispatch) -> AsyncGenerator[Answer | SiteState, None]:
    """Publish one order and yield its answers as they come, for ever: the caller decides when it has heard enough.

    The site's state comes in between, first of all as the broker remembers it. Answers may come twice (QoS 1): those
    of the same status are yielded once. Raises LinkLostError when the broker is not there or goes away.
    """
    topics = topics_of(site)
    heard: set[str] = set()
    async with connected(broker, None) as link:
        await link.subscribe(topics.answer, 1)
        await link.subscribe(topics.state, 0)
        await link.publish(topics.command, encode_dispatch(order), 1)
        async for message in link.messages():
            try:
                if message.topic == topics.state:
                    fields = decode_state(message.payload)
                    yield SiteState(fields.get("online") is True, fields)
                    continue
                answer = decode_answer(message.payload)
            except ValueError:
                continue  # somebody else's payload on our topic; nothing to tell the person who waits for an answer
            if (answer.dispatch_id, answer.issuer) == (order.dispatch_id, order.issuer) and answer.status not in heard:
                heard.add(answer.status)
                yield answer


async def send_heartbeats(broker: BrokerSettings, site: str, period_s: float) -> None:
    """Tell the site every `period_s` that its dispatcher is alive, until cancelled; raises LinkLostError."""
    async with connected(broker, None) as link:
        while True:
            await link.publish(topics_of(site).heartbeat, b"{}", 1)
            await asyncio.sleep(period_s)
