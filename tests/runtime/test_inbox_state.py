"""The site's state over real brokers, as newcomers see it: the newest is retained, and who is gone is said to be."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.mqtt_link import BrokerSettings, connected
from controller.wire.mqtt import topics_of
from tests.runtime.inbox_given import Recorder, running_inbox

NEWCOMER_S = 5.0  # how long one newcomer looks, the time to connect included; who gives up leaves a read half done
SHOWN_WITHIN_S = 150.0  # nats-server may show newcomers the state before for two minutes (docs/brokers.md)
pytestmark = pytest.mark.timeout(2 * SHOWN_WITHIN_S + 30)


async def test_the_newest_state_is_retained_and_a_clean_stop_says_offline(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site) as (inbox, _):
        for number in range(3):
            inbox.publish_state(json.dumps({"online": True, "cycle": number}).encode())
        await until_state(broker.settings, site, lambda state: state == {"online": True, "cycle": 2})
    await until_state(
        broker.settings, site, lambda state: state == {"online": False, "reason": "stopped", "site": site}
    )


async def until_state(settings: BrokerSettings, site: str, wanted: Callable[[dict[str, object]], bool]) -> None:
    """Newcomers' view: connect afresh and read the state until it is as wanted.

    One newcomer is not enough. nats-server gives one who subscribes in the milliseconds of a retained publish neither
    the old copy's successor nor the live message, and may show the old copy to those after it for as long as it keeps
    it (docs/brokers.md).
    """
    async with asyncio.timeout(SHOWN_WITHIN_S):
        while not await _sees(settings, site, wanted):
            pass


async def _sees(settings: BrokerSettings, site: str, wanted: Callable[[dict[str, object]], bool]) -> bool:
    with suppress(TimeoutError):
        async with asyncio.timeout(NEWCOMER_S), connected(settings, None) as link:
            await link.subscribe(topics_of(site).state, 1)
            async for message in link.messages():
                if wanted(json.loads(message.payload)):
                    return True
    return False


CHILD = """
import asyncio, sys
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.mqtt_link import BrokerSettings
async def main():
    inbox = MqttInbox(BrokerSettings("127.0.0.1", int(sys.argv[1]), None, None, None), sys.argv[2],
        on_received=lambda received: None, on_link=lambda up, text: None, limits=InboxLimits())
    inbox.publish_state(b'{"online":true}')
    await inbox.run()
asyncio.run(main())
"""


async def test_a_killed_daemon_shows_as_lost_in_the_state(broker: Any, site: str, python: str) -> None:
    child = await asyncio.create_subprocess_exec(python, "-c", CHILD, str(broker.port), site)
    try:
        await until_state(broker.settings, site, lambda state: state == {"online": True})
        child.send_signal(signal.SIGKILL)
        await until_state(
            broker.settings, site, lambda state: state == {"online": False, "reason": "lost", "site": site}
        )
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def test_a_daemon_that_fails_inside_shows_as_lost_too(broker: Any, site: str) -> None:
    recorder = Recorder()
    inbox = MqttInbox(
        broker.settings, site, on_received=recorder.received.append, on_link=recorder.on_link, limits=InboxLimits()
    )
    inbox.publish_state(b'{"online":true}')
    task = asyncio.create_task(inbox.run())
    await until_state(broker.settings, site, lambda state: state == {"online": True})
    task.cancel()
    await asyncio.wait((task,))
    await until_state(broker.settings, site, lambda state: state["online"] is False)
