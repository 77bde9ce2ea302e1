"""What the shipped brokers keep when they are killed, reloaded, bridged and clustered: real processes."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import aiomqtt
import pytest

from tests.deploy.brokers import (
    Mosquitto,
    Nats,
    ShippedBroker,
    free_port,
    make_certificates,
    make_programme,
    replace,
    shipped,
)
from tests.deploy.ears import STILL_S, ear, topic_of, until
from tests.runtime.conftest import installed


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


def test_what_was_put_in_place_is_not_replaced_again() -> None:
    """A port of the test's own that began like one of the file's, 42229, was: NATS refused to listen on 368419."""
    ports = {"0.0.0.0:8883": "127.0.0.1:42229", "127.0.0.1:4222": "127.0.0.1:36841"}
    assert replace("0.0.0.0:8883 127.0.0.1:4222", ports, "it") == "127.0.0.1:42229 127.0.0.1:36841"


async def round_trip_s(broker: ShippedBroker, count: int) -> float:
    """Seconds from an order's publication to the desk's hearing the site's answer: what a quarter of them stay below.
    (A busy machine makes some slow, but none fast; the wait this is about is in all of them.)"""
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
    return statistics.quantiles(took, n=4)[0]


async def test_an_order_is_not_held_back_by_nagle(programme: Path, tmp_path: Path) -> None:
    """mosquitto with the shipped file, and with its one line about it taken out: how much it is that the line saves."""
    installed("mosquitto")
    took_s: dict[str, float] = {}
    for name, text in (("shipped", "set_tcp_nodelay true"), ("without", "set_tcp_nodelay false")):
        broker = Mosquitto(tmp_path / name, programme)
        conf = broker.conf("curtaild")
        conf.write_text(replace(conf.read_text(), {"set_tcp_nodelay true": text}, "curtaild.conf"))
        with broker:
            took_s[name] = await round_trip_s(broker, 20)
    print({name: f"{seconds * 1e3:.1f} ms" for name, seconds in took_s.items()})
    assert took_s["shipped"] < took_s["without"] / 2, took_s


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


@pytest.fixture
def bridged(programme: Path, tmp_path: Path) -> Iterator[tuple[Mosquitto, Mosquitto]]:
    """A site's own broker with an authority of its own, and the centre's: (site, centre)."""
    installed("mosquitto")
    centre = Mosquitto(tmp_path / "centre", programme)
    site = Mosquitto(tmp_path / "site", make_programme(tmp_path / "plant"))
    certs = site.certificate.parent
    shutil.copy(programme / "ca.pem", certs / "centre-ca.pem")
    for kind in ("pem", "key"):
        shutil.copy(programme / f"dasu-1.{kind}", certs)
    etc = {"/etc/mosquitto": str(site.folder / "etc"), "centre.example.org:8883": f"127.0.0.1:{centre.port}"}
    site.conf("bridge").write_text(shipped("mosquitto/bridge.conf", etc))
    with centre, site:
        yield site, centre


async def test_a_bridged_site_goes_on_without_its_centre_and_tells_it_later(
    bridged: tuple[Mosquitto, Mosquitto],
) -> None:
    at_site, at_centre = bridged
    command, answer, state = (topic_of("dasu-1", kind) for kind in ("cmd", "ack", "state"))
    async with ear(at_site.client("dasu-1")) as site, ear(at_site.client("desk.north")) as near:
        await site.subscribe(command)
        await near.subscribe(answer)

        async def heard_within_s(seconds: float) -> None:
            """Orders from the centre until the bridge, which needs a second to come up, carries one."""
            async with asyncio.timeout(seconds):
                while not site.heard:
                    await far.client.publish(command, "far", 1)
                    await asyncio.sleep(0.1)

        async with ear(at_centre.client("desk.national", client_id="far", keep_session=True)) as far:
            await far.subscribe(answer)
            await heard_within_s(20)
            assert set(site.heard) == {(command, "far")}
            await site.client.publish(answer, "to both", 1)
            await until(lambda: near.heard and far.heard, "an answer at both ends")

        await asyncio.sleep(STILL_S)
        at_centre.stop(signal.SIGKILL)
        site.heard.clear()
        near.heard.clear()
        await near.client.publish(command, "near", 1)
        await until(lambda: site.heard, "an order of the plant's own desk while the centre is gone")
        await site.client.publish(answer, "while gone", 1)
        for number in range(3):
            await site.client.publish(state, f"while gone {number}", 1, retain=True)
        await until(lambda: near.heard, "its answer")

        at_centre.start()
        async with (
            ear(at_centre.client("desk.national", client_id="far", keep_session=True)) as far,
            ear(at_centre.client("observer.programme")) as observer,
        ):
            await observer.subscribe(state)
            await until(lambda: far.heard and observer.heard, "what the centre missed")
            await asyncio.sleep(STILL_S)
            assert (far.heard, observer.heard) == ([(answer, "while gone")], [(state, "while gone 2")])


@pytest.fixture
def cluster(programme: Path, tmp_path: Path) -> Iterator[list[Nats]]:
    """Three nodes on the shipped files with cluster.conf included."""
    ports = [free_port() for _ in range(3)]
    routes = {f"centre-{n}.example.org:6222": f"127.0.0.1:{port}" for n, port in enumerate(ports, 1)}
    nodes = [Nats(tmp_path / f"node-{n}", programme) for n in range(1, 4)]
    with ExitStack() as stack:
        for number, (node, port) in enumerate(zip(nodes, ports, strict=True), 1):
            own = {"server_name: centre-1": f"server_name: centre-{number}", "# include cluster": "include cluster"}
            node.main.write_text(replace(node.main.read_text(), own, "nats-server.conf"))
            here = {"/etc/nats": str(node.folder / "etc"), "0.0.0.0:6222": f"127.0.0.1:{port}"}
            (node.folder / "etc" / "cluster.conf").write_text(shipped("nats/cluster.conf", {**here, **routes}))
            node.start(wait=False)
            stack.callback(node.stop)
        for node in nodes:
            node.wait_until_ready()
        yield nodes


async def test_a_cluster_that_loses_a_node_keeps_orders_and_goes_on(cluster: list[Nats]) -> None:
    """The node that is killed is the one both were connected to; the others may first have to elect a leader."""
    command, state = topic_of("dasu-1", "cmd"), topic_of("dasu-1", "state")

    async def persistently(node: Nats, who: str, topic: str, payload: str) -> None:
        """Until the node has taken it over: while a leader is elected nobody does, for some seconds."""
        async with asyncio.timeout(30):
            while True:
                with suppress(aiomqtt.MqttError):
                    async with node.client(who) as client:
                        await client.publish(topic, payload, 1, retain=topic == state)
                        return

    async with ear(cluster[0].client("dasu-1", client_id="curtaild-dasu-1", keep_session=True)) as site:
        await site.subscribe(command)
    for number in range(5):
        await persistently(cluster[0], "desk.national", command, f"before {number}")
    await persistently(cluster[0], "dasu-1", state, "before")
    cluster[0].stop(signal.SIGKILL)
    await persistently(cluster[1], "desk.national", command, "after")

    async def gather(into: set[str], client: aiomqtt.Client, *topics: str) -> None:
        """All that comes in a moment; nothing while the node cannot serve."""
        with suppress(aiomqtt.MqttError):
            async with ear(client) as listener:
                try:
                    await listener.subscribe(*topics)
                    await asyncio.sleep(STILL_S)
                finally:
                    into.update(payload for _, payload in listener.heard)

    orders: set[str] = set()
    states: set[str] = set()
    async with asyncio.timeout(30):
        while len(orders) < 6 or not states:
            await gather(orders, cluster[2].client("dasu-1", client_id="curtaild-dasu-1", keep_session=True))
            await gather(states, cluster[2].client("observer.programme"), state)
    assert orders == {*(f"before {number}" for number in range(5)), "after"}
    assert states == {"before"}
