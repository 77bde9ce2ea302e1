"""The dispatch contract over real brokers: the same behaviour on NATS and on mosquitto."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import time
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from controller.domain.dispatch import (
    Answer,
    AnswerStatus,
    Dispatch,
    DispatchClass,
    Malformed,
    RejectCode,
)
from controller.runtime.dispatcher import SiteState, send_heartbeats, send_order
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.mqtt_link import BrokerSettings, LinkLostError, TlsSettings, connected
from controller.wire.mqtt import encode_dispatch, topics_of
from tests.runtime.inbox_given import DEADLINE_S, accepted, open_files, order, running_inbox, until


async def test_an_order_arrives_decoded_and_wakes_the_cycle_once(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site) as (inbox, recorder), connected(broker.settings, None) as link:
        sent = order()
        await link.publish(topics_of(site).command, encode_dispatch(sent), 1)
        await until(lambda: recorder.received)
        (received,) = inbox.drain()
        assert received.message == sent
        assert not received.retained
        assert abs(received.received_at - time.time()) < 10
        assert recorder.received == [received]
        assert inbox.drain() == ()


async def test_a_payload_that_is_no_order_arrives_as_malformed(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site) as (inbox, recorder), connected(broker.settings, None) as link:
        for payload in (b"", b"\xff\x00", b"{}", b'{"id":"a","issuer":"b","frobnicate":1}'):
            await link.publish(topics_of(site).command, payload, 1)
        await until(lambda: len(recorder.received) == 4)
        messages = [received.message for received in inbox.drain()]
        assert all(isinstance(message, Malformed) for message in messages)
        assert "frobnicate" in messages[3].reason  # type: ignore[union-attr]  # asserted above
        assert inbox.counts.malformed == 4


async def test_an_order_out_of_the_brokers_memory_is_flagged_as_retained(broker: Any, site: str) -> None:
    topic = topics_of(site).command
    async with connected(broker.settings, None) as link:
        await link.publish(topic, encode_dispatch(order()), 1, retain=True)
        async with running_inbox(broker.settings, site) as (inbox, recorder):
            await until(lambda: recorder.received)
            assert [received.retained for received in inbox.drain()] == [True]
        await link.publish(topic, b"", 1, retain=True)


async def test_the_sender_hears_every_stage_of_its_own_order_and_no_other(broker: Any, site: str) -> None:
    sent = order(7)
    async with (
        running_inbox(broker.settings, site) as (inbox, recorder),
        aclosing(send_order(broker.settings, site, sent)) as hearing,
    ):
        first = asyncio.ensure_future(anext(hearing))
        await until(lambda: recorder.received)
        others = Answer("order-8", "desk-1", AnswerStatus.REJECTED, time.time(), True, None, RejectCode.EXPIRED, "late")
        reached = Answer("order-7", "desk-1", AnswerStatus.REACHED, time.time(), False, 400_000)
        inbox.answer((others, accepted(7), accepted(7), reached))  # delivered twice, as QoS 1 may
        heard = [await first, await anext(hearing)]
    answers = [answer for answer in heard if isinstance(answer, Answer)]
    assert [answer.status for answer in answers] == [AnswerStatus.ACCEPTED, AnswerStatus.REACHED]


async def test_the_heartbeat_counts_when_live_and_not_when_remembered(broker: Any, site: str) -> None:
    async with connected(broker.settings, None) as link:
        await link.publish(topics_of(site).heartbeat, b"{}", 1, retain=True)
        async with running_inbox(broker.settings, site) as (inbox, recorder):
            await link.publish(topics_of(site).command, b"behind the heartbeat", 1)
            await until(lambda: recorder.received)
            assert inbox.heartbeat_at is None
            beating = asyncio.create_task(send_heartbeats(broker.settings, site, 10.0))
            await until(lambda: inbox.heartbeat_at is not None)
            by_the_loop = asyncio.get_running_loop().time() - inbox.heartbeat_at
            assert 0 <= by_the_loop < 10, "stamped by a clock that nobody sets"
            beating.cancel()
            await asyncio.wait((beating,))
        await link.publish(topics_of(site).heartbeat, b"", 1, retain=True)


async def test_answers_wait_for_a_broker_that_restarts_and_stale_ones_are_dropped(own_broker: Any, site: str) -> None:
    limits, passed = InboxLimits(answer_keep_s=60.0), [0.0]

    def clock() -> float:
        return time.monotonic() + passed[0]

    async with running_inbox(own_broker.settings, site, limits, clock=clock) as (inbox, recorder):
        own_broker.stop(signal.SIGKILL)
        await until(lambda: not inbox.connected, "loss noticed")
        inbox.answer((accepted(99),))
        passed[0] = 61.0
        # By the wall clock some are an hour old: it was set forward since. They are as fresh as the others.
        inbox.answer(tuple(accepted(number, time.time() - 3600.0 * (number % 2)) for number in range(30)))
        assert inbox.waiting == (0, 31)
        own_broker.start()
        heard: list[str] = []
        async with asyncio.timeout(DEADLINE_S), connected(own_broker.settings, "listener") as link:
            # The inbox may be back before this listener: hold it to what is still waiting plus what is sent now.
            await link.subscribe(topics_of(site).answer, 1)
            await until(lambda: inbox.connected and inbox.waiting[1] == 0, "answers delivered")
            inbox.answer((accepted(100),))
            async for message in link.messages():
                heard.append(json.loads(message.payload)["id"])
                if heard[-1] == "order-100":
                    break
        assert inbox.counts.answers_sent == 31
        assert inbox.counts.answers_dropped == 1
        assert "order-99" not in heard
        assert inbox.counts.losses == 1
        assert [up for up, _ in recorder.links][:2] == [True, False]
        assert recorder.links[-1][0] is True
        async with connected(own_broker.settings, None) as link:
            await link.publish(topics_of(site).command, encode_dispatch(order(5)), 1)
            await until(lambda: recorder.received, "orders come in again")


async def test_an_order_sent_while_the_daemon_is_away_is_not_lost(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site):
        pass
    async with connected(broker.settings, None) as link:
        await link.publish(topics_of(site).command, encode_dispatch(order(3)), 1)
        async with running_inbox(broker.settings, site) as (inbox, recorder):
            await until(lambda: recorder.received)
            (received,) = inbox.drain()
            assert isinstance(received.message, Dispatch) and received.message.dispatch_id == "order-3"


async def test_answers_leave_in_order(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site) as (inbox, _), connected(broker.settings, None) as link:
        await link.subscribe(topics_of(site).answer, 1)
        inbox.answer(tuple(accepted(number) for number in range(50)))
        heard: list[str] = []
        async with asyncio.timeout(DEADLINE_S):
            async for message in link.messages():
                heard.append(json.loads(message.payload)["id"])
                if len(heard) == 50:
                    break
        assert heard == [f"order-{number}" for number in range(50)]


async def test_a_full_mailbox_refuses_with_an_answer_but_takes_an_emergency(broker: Any, site: str) -> None:
    limits = InboxLimits(incoming=3, emergency_extra=1)
    async with running_inbox(broker.settings, site, limits) as (inbox, _), connected(broker.settings, None) as link:
        await link.subscribe(topics_of(site).answer, 1)
        for number in range(5):
            await link.publish(topics_of(site).command, encode_dispatch(order(number)), 1)
        await link.publish(topics_of(site).command, encode_dispatch(order(9, DispatchClass.EMERGENCY)), 1)
        await until(lambda: inbox.counts.received == 6)
        messages = [received.message for received in inbox.drain()]
        assert [message.dispatch_id for message in messages] == ["order-0", "order-1", "order-2", "order-9"]
        refused: list[tuple[str, str]] = []
        async with asyncio.timeout(DEADLINE_S):
            async for message in link.messages():
                body = json.loads(message.payload)
                refused.append((body["id"], body["status"]))
                if len(refused) == 2:
                    break
        assert refused == [("order-3", "REJECTED"), ("order-4", "REJECTED")]
        assert inbox.counts.refused_full == 2


async def test_orders_and_answers_do_not_wait_for_nagle(broker: Any, site: str) -> None:
    """Nagle's algorithm against delayed acknowledgements costs a constant 43 ms; without it a round trip is ~1-3 ms."""
    round_trips_s: list[float] = []
    async with running_inbox(broker.settings, site) as (inbox, _), connected(broker.settings, None) as link:
        await link.subscribe(topics_of(site).answer, 1)
        hearing = aiter(link.messages())
        for number in range(30):
            began = time.perf_counter()
            await link.publish(topics_of(site).command, encode_dispatch(order(number)), 1)
            await until(inbox.drain)
            inbox.answer((accepted(number),))
            await asyncio.wait_for(anext(hearing), DEADLINE_S)
            round_trips_s.append(time.perf_counter() - began)
    assert statistics.median(round_trips_s) < 0.020


async def test_an_unreachable_broker_is_named_once_and_nobody_waits_for_it() -> None:
    settings = BrokerSettings("127.0.0.1", 1, None, None, None)
    async with running_inbox(settings, "nowhere", wait=False) as (inbox, recorder):
        await until(lambda: recorder.links)
        inbox.answer((accepted(),))
        inbox.publish_state(b"{}")
        inbox.publish_event(b"{}")
        await asyncio.sleep(0.25)  # the second try, in vain as well
        assert not inbox.connected
        ((up, text),) = recorder.links
        assert not up and "127.0.0.1:1" in text
    with pytest.raises(LinkLostError, match=r"127\.0\.0\.1:1"):
        async with connected(settings, None):
            pass


async def test_a_broker_that_accepts_and_says_nothing_costs_a_time_limit_and_no_socket() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    settings = BrokerSettings("127.0.0.1", server.sockets[0].getsockname()[1], None, None, None)
    before = open_files()

    async def connect_in_vain() -> None:
        with pytest.raises(LinkLostError):
            async with connected(settings, None):
                pass

    async def cancelled_while_connecting() -> None:
        inbox = MqttInbox(settings, "s", on_received=print, on_link=lambda up, text: None, limits=InboxLimits())
        task = asyncio.create_task(inbox.run())
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait((task,), timeout=DEADLINE_S)
        assert task.cancelled()

    await asyncio.gather(connect_in_vain(), cancelled_while_connecting())
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0.05)
    assert open_files() <= before


def test_a_password_does_not_show_when_the_settings_are_printed() -> None:
    settings = BrokerSettings("broker", 1883, "curtaild", os.urandom(4).hex(), None)
    assert settings.password and settings.password not in repr(settings) + str(settings)


async def test_the_sender_sees_that_nobody_is_behind_the_topic(broker: Any, site: str) -> None:
    async with running_inbox(broker.settings, site):
        pass
    async with aclosing(send_order(broker.settings, site, order())) as hearing:
        first = await asyncio.wait_for(anext(hearing), DEADLINE_S)
    assert isinstance(first, SiteState) and not first.online


async def test_a_guarded_broker_lets_us_in_over_tls_and_nobody_else(guarded_broker: Any, site: str) -> None:
    broker, settings = guarded_broker
    async with running_inbox(settings, site) as (_, recorder), connected(settings, None) as link:
        await link.publish(topics_of(site).command, encode_dispatch(order()), 1)
        await until(lambda: recorder.received)
    strangers = [
        replace(settings, password="wrong", tls=replace(settings.tls, certificate_file=None, key_file=None)),
        replace(settings, tls=None),
        replace(settings, tls=TlsSettings(None, settings.tls.certificate_file, settings.tls.key_file)),
        replace(settings, tls=replace(settings.tls, certificate_file="/nowhere.pem", key_file="/nowhere.key")),
    ]
    before = open_files()

    async def knock(stranger: BrokerSettings) -> None:
        with pytest.raises(LinkLostError, match=f"127.0.0.1:{broker.port}"):
            async with connected(stranger, None):
                pass

    await asyncio.gather(*(knock(stranger) for stranger in strangers))
    await asyncio.sleep(0.05)
    assert open_files() <= before


@pytest.mark.parametrize("broker", ["mosquitto"], indirect=True, scope="session")
async def test_two_daemons_of_one_name_do_not_fight_at_full_speed(broker: Any, site: str) -> None:
    """Each connect throws the other out; the pauses grow from try to try instead of starting over.

    Not on NATS: that server itself holds such clients back, for a second each time.
    """
    async with running_inbox(broker.settings, site) as (one, _), running_inbox(broker.settings, site) as (other, _):
        began = time.monotonic()
        await until(lambda: one.counts.losses + other.counts.losses >= 4)
        assert time.monotonic() - began > 0.3


async def test_a_cancelled_publish_stays_cancelled_even_when_its_confirmation_comes_at_once(
    broker: Any, site: str
) -> None:
    """Python 3.11's wait_for, which aiomqtt stands on, forgets a cancellation that meets the result it waits for."""
    async with connected(broker.settings, None) as link:

        async def publish_for_ever() -> None:
            while True:
                await link.publish(topics_of(site).event, b"{}", 1)

        for attempt in range(150):
            task = asyncio.create_task(publish_for_ever())
            await asyncio.sleep(0.0005 + 0.00001 * attempt)
            task.cancel()
            done, _ = await asyncio.wait((task,), timeout=1.0)
            assert done, f"attempt {attempt}: the cancellation was swallowed"
