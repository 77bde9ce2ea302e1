"""The shipped brokers let everybody do what is theirs, and nothing else: real brokers, certificates and clients."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
import ssl
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import replace as replace_fields
from pathlib import Path

import aiomqtt
import pytest

from controller.runtime.mqtt_link import LinkLostError, Will, connected
from tests.deploy.brokers import (
    DESKS,
    HELLO,
    KINDS,
    OBSERVERS,
    SITES,
    Mosquitto,
    ShippedBroker,
    make_certificates,
    make_programme,
    replace,
)
from tests.runtime.conftest import installed

EVERYBODY = (*SITES, *(f"desk.{name}" for name in DESKS), *(f"observer.{name}" for name in OBSERVERS))
ORDERS = {"desk.national": set(SITES), "desk.north": {"dasu-1", "dasu-2"}}
SEES = {"observer.programme": set(SITES), "observer.dasu-1": {"dasu-1"}}
DOWN, UP = ("cmd", "heartbeat"), ("ack", "state", "event")
WITHIN_S = 10.0
STILL_S = 0.5  # nothing more came for so long: what is not there by then is not on its way

# What somebody might try who was refused the plain topic: wildcards of MQTT and of NATS, and NATS's inner subjects.
BROAD_FILTERS = (
    "#", "+/+/+/+", "curtaild/#", "curtaild/v1/+/cmd", "curtaild/v1/*/cmd", ">", "curtaild.v1.>", "$MQTT/#",
    "$MQTT/msgs/#", "$MQTT/sub/#", "$JS/#", "$SYS/#",
)  # fmt: skip
DISGUISES = ("{}/", "{}/x", "/{}", "$MQTT/msgs/{}", "$MQTT/rmsgs/{}", "$MQTT/sub/{}", "$share/x/{}")


@pytest.fixture(scope="session")
def programme(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_programme(tmp_path_factory.mktemp("programme"))


@pytest.fixture(scope="module", params=["nats", "mosquitto"])
def broker(
    request: pytest.FixtureRequest, programme: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ShippedBroker]:
    """A broker on the shipped files, for tests that leave it as it was."""
    kind = installed(request.param)
    with KINDS[kind](tmp_path_factory.mktemp(kind), programme) as running:
        yield running


@pytest.fixture(params=["nats", "mosquitto"])
def own_broker(request: pytest.FixtureRequest, programme: Path, tmp_path: Path) -> Iterator[ShippedBroker]:
    """A broker for one test to kill, reload and change."""
    with KINDS[installed(request.param)](tmp_path, programme) as running:
        yield running


def topic_of(site: str, kind: str) -> str:
    return f"curtaild/v1/{site}/{kind}"


def may_publish(who: str, site: str, kind: str) -> bool:
    return site in ORDERS.get(who, ()) if kind in DOWN else who == site


def may_hear(who: str, site: str, kind: str) -> bool:
    return who == site if kind in DOWN else site in ORDERS.get(who, ()) or site in SEES.get(who, ())


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


async def test_everybody_is_heard_where_it_may_speak_and_hears_what_it_may_and_no_message_beyond(
    broker: ShippedBroker,
) -> None:
    """Everybody subscribes to everything and publishes everywhere; who heard whom is compared with the roles."""
    topics = {topic_of(site, kind): (site, kind) for site in SITES for kind in (*DOWN, *UP)}
    async with AsyncExitStack() as stack:
        ears: dict[str, Ear] = {}
        for who in EVERYBODY:
            with suppress(aiomqtt.MqttError):  # NATS does not even let a certificate in whose name it does not know
                ears[who] = await stack.enter_async_context(ear(broker.client(who)))
        assert set(EVERYBODY) - set(ears) <= {"desk.stranger", "observer.stranger"}
        for who, listener in ears.items():
            await listener.subscribe(*topics, *BROAD_FILTERS, f"$share/{who}/curtaild/v1/+/cmd")
        for who, listener in ears.items():
            for topic, form in itertools.product(topics, ("{}", *DISGUISES)):
                with suppress(aiomqtt.MqttError):
                    await listener.client.publish(form.format(topic), f"{who} {form.format(topic)}", 1)
        expected = {
            (hearer, topic, f"{speaker} {topic}")
            for topic, (site, kind) in topics.items()
            for speaker, hearer in itertools.product(EVERYBODY, EVERYBODY)
            if may_publish(speaker, site, kind) and may_hear(hearer, site, kind)
        }

        def heard() -> set[tuple[str, str, str]]:
            return {(who, *each) for who, listener in ears.items() for each in listener.heard}

        await until(lambda: expected <= heard(), "not everything that is allowed arrived")
        await asyncio.sleep(STILL_S)
        assert heard() - expected == set()
    assert len(expected) == 37, "orders and heartbeats 2 x (2 + 2 + 1); answers, states and events 3 x (4 + 3 + 2)"


async def test_the_observer_is_refused_or_ignored_when_it_asks_for_orders(broker: ShippedBroker) -> None:
    """What docs/brokers.md says about noticing: NATS refuses such a subscription, mosquitto 2.0 confirms it."""
    async with ear(broker.client("observer.programme")) as observer:
        granted = await observer.subscribe(topic_of("dasu-1", "cmd"), topic_of("dasu-1", "state"))
        assert granted == [broker.kind == "mosquitto", True]
        async with broker.client("desk.national") as desk:
            await desk.publish(topic_of("dasu-1", "cmd"), b"order", 1)
        async with broker.client("dasu-1") as site:
            await site.publish(topic_of("dasu-1", "state"), b"on", 1)
        await until(lambda: observer.heard, "the state")
        assert observer.heard == [(topic_of("dasu-1", "state"), "on")]


async def test_a_last_will_and_a_retained_message_go_by_the_same_rules(broker: ShippedBroker) -> None:
    state = topic_of("dasu-1", "state")

    async def die(who: str, topic: str) -> None:
        """Connect with a will and vanish without a word."""
        with suppress(RuntimeError):
            async with connected(broker.settings(who), "dying", will=Will(topic, f"will of {who}".encode())):
                raise RuntimeError

    async with (
        ear(broker.client("dasu-1")) as site,
        ear(broker.client("observer.programme")) as observer,
        broker.client("dasu-2") as forger,
    ):
        await site.subscribe(topic_of("dasu-1", "cmd"))
        await observer.subscribe(state)
        await forger.publish(state, b"forged", 1, retain=True)
        await die("observer.programme", topic_of("dasu-1", "cmd"))
        for who in ("dasu-2", "desk.north", "dasu-1"):
            await die(who, state)
        await until(lambda: observer.heard, "the will of the site itself")
        await asyncio.sleep(STILL_S)
        assert (site.heard, observer.heard) == ([], [(state, "will of dasu-1")])
    async with ear(broker.client("observer.dasu-1")) as later:
        await later.subscribe(state)
        await until(lambda: later.heard, "the retained state")
        assert later.heard == [(state, "will of dasu-1")]


async def test_whoever_takes_a_sites_session_over_gets_none_of_its_orders(broker: ShippedBroker) -> None:
    """Client ids are nobody's property: a session can be taken, its content cannot."""
    command = topic_of("dasu-2", "cmd")
    async with ear(broker.client("dasu-2", client_id="curtaild-dasu-2", keep_session=True)) as site:
        await site.subscribe(command)
    async with broker.client("desk.national") as desk:
        await desk.publish(command, b"while away", 1)
        async with ear(broker.client("observer.programme", client_id="curtaild-dasu-2", keep_session=True)) as thief:
            await desk.publish(command, b"while taken", 1)
            await asyncio.sleep(STILL_S)
            assert thief.heard == []


def test_without_a_certificate_of_this_authority_nobody_comes_in(broker: ShippedBroker, tmp_path: Path) -> None:
    assert broker.greets(broker.tls_context("observer.programme"))
    others = make_programme(tmp_path / "others")
    refused = (ssl.SSLError, ConnectionError)
    with pytest.raises(refused):
        broker.greets(broker.tls_context(None))
    with pytest.raises(refused):  # the same name of another authority
        broker.greets(broker.tls_context("observer.programme", issued=others))
    with pytest.raises(ssl.SSLCertVerificationError):
        broker.greets(broker.tls_context("observer.programme", trusts=others))


async def test_the_daemons_own_link_is_refused_without_a_certificate_and_says_where(broker: ShippedBroker) -> None:
    settings = broker.settings("dasu-1")
    assert settings.tls is not None
    nobody = replace_fields(settings, tls=replace_fields(settings.tls, certificate_file=None, key_file=None))
    with pytest.raises(LinkLostError, match=f"127.0.0.1:{broker.port}"):
        async with connected(nobody, None):
            pass


def test_nothing_listens_in_plain_text_beyond_this_machine(broker: ShippedBroker) -> None:
    """Every port the process listens on: MQTT without TLS gets no answer, and what is not MQTT over TLS is loopback."""
    listening = listening_ports(broker.pid)
    assert broker.port in listening
    if isinstance(broker, Mosquitto):
        assert listening == {broker.port, broker.password_port}
    assert 1883 not in listening
    for port in listening:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plain:
            plain.sendall(HELLO)
            plain.settimeout(0.5)
            with suppress(OSError):
                assert plain.recv(4)[:1] != b"\x20", f"port {port} speaks MQTT in plain text"


def listening_ports(pid: int) -> set[int]:
    """TCP ports on which a process accepts connections."""
    inodes = {link.readlink().name for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()}
    rows = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()
    ]
    return {int(row[1].rpartition(":")[2], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in inodes}


async def test_a_queued_order_and_a_retained_state_survive_the_death_of_the_broker(own_broker: ShippedBroker) -> None:
    """SIGKILL, and nothing the broker took over may be gone. NATS acknowledges what is on disk; mosquitto acknowledges
    first and saves in the same round of its loop, so it is given a moment (docs/brokers.md says what that means)."""
    command, state = topic_of("dasu-1", "cmd"), topic_of("dasu-1", "state")
    async with ear(own_broker.client("dasu-1", client_id="curtaild-dasu-1", keep_session=True)) as site:
        await site.subscribe(command)
        await site.client.publish(state, b"before", 1, retain=True)
    async with own_broker.client("desk.national") as desk:
        for number in range(20):
            await desk.publish(command, f"order {number}", 1)
        if own_broker.kind == "mosquitto":
            await asyncio.sleep(0.5)
        own_broker.stop(signal.SIGKILL)
    own_broker.start()
    async with (
        ear(own_broker.client("observer.programme")) as observer,
        ear(own_broker.client("dasu-1", client_id="curtaild-dasu-1", keep_session=True)) as site,
    ):
        await observer.subscribe(state)
        await until(lambda: len(set(site.heard)) == 20 and observer.heard, "all orders and the state")
        assert [payload for _, payload in site.heard] == [f"order {number}" for number in range(20)]
        assert observer.heard == [(state, "before")]


async def round_trip_s(broker: ShippedBroker, count: int) -> float:
    """Median seconds from an order's publication to the desk's hearing the site's answer."""
    command, answer = topic_of("dasu-1", "cmd"), topic_of("dasu-1", "ack")
    async with broker.client("dasu-1") as site, broker.client("desk.national") as desk:
        await site.subscribe(command, 1)
        await desk.subscribe(answer, 1)

        async def obey() -> None:
            async for message in site.messages:
                await site.publish(answer, message.payload, 1)

        obeying = asyncio.create_task(obey())
        took: list[float] = []
        for _ in range(count):
            began = time.perf_counter()
            await desk.publish(command, b"order", 1)
            async for _ in desk.messages:
                break
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.05)  # what Nagle and the delayed ACK wait for each other over is a quiet connection
        obeying.cancel()
        await asyncio.wait([obeying])
    return statistics.median(took)


async def test_an_order_is_not_held_back_by_nagle(programme: Path, tmp_path: Path) -> None:
    """mosquitto with the shipped file, and with its one line about it taken out: how much it is that the line saves."""
    installed("mosquitto")
    medians: dict[str, float] = {}
    for name, text in (("shipped", "set_tcp_nodelay true"), ("without", "set_tcp_nodelay false")):
        broker = Mosquitto(tmp_path / name, programme)
        conf = broker.conf("curtaild")
        conf.write_text(replace(conf.read_text(), {"set_tcp_nodelay true": text}, "curtaild.conf"))
        with broker:
            medians[name] = await round_trip_s(broker, 15)
    print({name: f"{median * 1e3:.1f} ms" for name, median in medians.items()})
    assert medians["shipped"] < medians["without"] / 3, medians


async def test_a_new_certificate_and_a_locked_out_site_take_effect_on_reload(own_broker: ShippedBroker) -> None:
    """Rotation without an interruption: who is connected stays so; the next one sees the new certificate."""

    def serial() -> object:
        context = own_broker.tls_context("observer.programme")
        with (
            socket.create_connection(("127.0.0.1", own_broker.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            certificate = client.getpeercert()
            assert certificate
            return certificate["serialNumber"]

    old = serial()
    made = make_certificates(own_broker.certificates, "broker", f"next-{own_broker.kind}", "127.0.0.1")
    assert made.returncode == 0, made.stderr
    state = topic_of("dasu-1", "state")
    async with (
        ear(own_broker.client("observer.programme")) as observer,
        own_broker.client("dasu-1") as site,
    ):
        await observer.subscribe(state, topic_of("dasu-2", "state"))
        own_broker.install_certificate(f"next-{own_broker.kind}")
        own_broker.lock_out("dasu-2")
        own_broker.reload()
        await until(lambda: serial() != old, "the new certificate")
        with suppress(aiomqtt.MqttError):  # NATS does not let it in; mosquitto does not let it speak
            async with own_broker.client("dasu-2") as locked_out:
                await locked_out.publish(topic_of("dasu-2", "state"), b"locked out", 1)
        await site.publish(state, b"still here", 1)
        await until(lambda: observer.heard, "the state of a site that stayed connected")
        await asyncio.sleep(STILL_S)
        assert observer.heard == [(state, "still here")]
