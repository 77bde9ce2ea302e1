"""More events of one name at once than a log shall have, through a whole daemon: every miner found asleep is one."""

from __future__ import annotations

import asyncio
import json
import urllib.request
from collections import Counter

from controller.domain.journalling import RowKind
from controller.runtime.log_limits import NAME_BURST
from controller.runtime.mqtt_link import BrokerSettings, connected
from controller.wire.mqtt import topics_of
from tests.e2e.conftest import MakeSite
from tests.e2e.small_site import SmallSite
from tests.e2e.waiting import until
from tests.runtime.conftest import Broker

SLEEPERS = 70


def held_back(site: SmallSite) -> float:
    port = site.daemon.events("metrics_listening")[0]["port"]
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as reply:
        lines = reply.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("curtaild_log_events_held_back_total"))


async def test_the_log_and_the_broker_get_a_burst_the_journal_gets_all_and_what_is_missing_is_told(
    make_site: MakeSite, nats: Broker
) -> None:
    site = make_site("flooded", surplus_kw=53, models={"s21": SLEEPERS}, hashing=0)
    site.configure(nats.port, fleet={"adopt_sleepers_at_start": False})
    published: Counter[str] = Counter()
    async with connected(BrokerSettings("127.0.0.1", nats.port, None, None, None), "onlooker") as link:
        await link.subscribe(topics_of(site.id).event, 1)

        async def listen() -> None:
            async for message in link.messages():
                published[json.loads(message.payload)["name"]] += 1

        listening = asyncio.create_task(listen())
        await asyncio.to_thread(site.daemon.start)
        missing = SLEEPERS - NAME_BURST
        await asyncio.to_thread(until, lambda: held_back(site) == missing, 20.0, f"{missing} events held back")
        await asyncio.to_thread(until, lambda: published.total() >= NAME_BURST, 10.0, "the events that are published")
        assert await asyncio.to_thread(site.daemon.end) == 0
        listening.cancel()
        await asyncio.wait([listening])
    assert published["foreign_sleeper"] == NAME_BURST
    assert len(site.daemon.events("foreign_sleeper")) == NAME_BURST
    journalled = Counter(json.loads(row.body)["name"] for row in site.rows(RowKind.EVENT))
    assert journalled["foreign_sleeper"] == SLEEPERS
    (told,) = site.daemon.events("log_held_back")
    assert str(told["text"]).startswith(f"{missing} more lines of foreign_sleeper (info)")
