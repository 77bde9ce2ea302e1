"""The shipped brokers let everybody do what is theirs, and nothing else: real brokers, certificates and clients."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from pathlib import Path

import aiomqtt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.hazmat.primitives.hashes import SHA256

from controller.runtime.mqtt_link import Will, connected
from tests.deploy.brokers import DESKS, HELLO, OBSERVERS, SITES, Mosquitto, ShippedBroker, make_programme
from tests.deploy.ears import STILL_S, Ear, ear, topic_of, until
from tests.runtime.conftest import installed

EVERYBODY = (*SITES, *(f"desk.{name}" for name in DESKS), *(f"observer.{name}" for name in OBSERVERS))
ORDERS = {"desk.national": set(SITES), "desk.north": {"dasu-1", "dasu-2"}}
SEES = {"observer.programme": set(SITES), "observer.dasu-1": {"dasu-1"}}
DOWN, UP = ("cmd", "heartbeat"), ("ack", "state", "event")

# What somebody might try who was refused the plain topic: wildcards of MQTT and of NATS, and NATS's inner subjects.
BROAD_FILTERS = (
    "#", "+/+/+/+", "curtaild/#", "curtaild/v1/+/cmd", "curtaild/v1/*/cmd", ">", "curtaild.v1.>", "$MQTT/#",
    "$MQTT/msgs/#", "$MQTT/sub/#", "$JS/#", "$SYS/#",
)  # fmt: skip
DISGUISES = ("{}/", "{}/x", "/{}", "$MQTT/msgs/{}", "$MQTT/rmsgs/{}", "$MQTT/sub/{}", "$share/x/{}")


def may_publish(who: str, site: str, kind: str) -> bool:
    return site in ORDERS.get(who, ()) if kind in DOWN else who == site


def may_hear(who: str, site: str, kind: str) -> bool:
    return who == site if kind in DOWN else site in ORDERS.get(who, ()) or site in SEES.get(who, ())


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
    with pytest.raises(refused):
        broker.greets(broker.tls_context("dasu-1", issued=expired(broker.certificates, "dasu-1", tmp_path)))
    with pytest.raises(ssl.SSLCertVerificationError):
        broker.greets(broker.tls_context("observer.programme", trusts=others))


def expired(certificates: Path, identity: str, folder: Path) -> Path:
    """A folder with that identity's key and a certificate of the same authority that ended yesterday."""
    authority = x509.load_pem_x509_certificate((certificates / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((certificates / "ca.key").read_bytes(), None)
    assert isinstance(signer, EllipticCurvePrivateKey)
    good = x509.load_pem_x509_certificate((certificates / f"{identity}.pem").read_bytes())
    old = (
        x509.CertificateBuilder(good.issuer, good.subject, good.public_key(), x509.random_serial_number())
        .not_valid_before(authority.not_valid_before_utc - timedelta(days=2))
        .not_valid_after(authority.not_valid_before_utc - timedelta(days=1))
    )
    for extension in good.extensions:
        old = old.add_extension(extension.value, extension.critical)
    (folder / f"{identity}.pem").write_bytes(old.sign(signer, SHA256()).public_bytes(serialization.Encoding.PEM))
    shutil.copy(certificates / f"{identity}.key", folder)
    return folder


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


@pytest.fixture
def passwords(programme: Path, tmp_path: Path) -> Iterator[Mosquitto]:
    """mosquitto with passwords for two names, made as passwords.conf says."""
    installed("mosquitto")
    broker = Mosquitto(tmp_path / "passwords", programme)
    for name in ("desk.north", "observer.programme"):
        subprocess.run(["mosquitto_passwd", "-b", broker.passwords, name, f"secret of {name}"], check=True)
    with broker:
        yield broker


async def test_a_desk_with_a_password_may_do_what_its_certificate_may(passwords: Mosquitto) -> None:
    def with_password(name: str | None, password: str | None) -> aiomqtt.Client:
        return aiomqtt.Client(
            "127.0.0.1",
            passwords.password_port,
            username=name,
            password=password,
            timeout=5,
            tls_context=passwords.tls_context(None),
        )

    for name, password in (
        ("desk.north", "wrong"),
        ("desk.north", None),
        ("dasu-1", "secret of desk.north"),
        (None,) * 2,
    ):
        with pytest.raises(aiomqtt.MqttError, match=r"(?i)not authori"):
            async with with_password(name, password):
                pass
    async with (
        ear(passwords.client("dasu-1")) as ours,
        ear(passwords.client("kandiah-1")) as not_ours,
        with_password("desk.north", "secret of desk.north") as desk,
        with_password("observer.programme", "secret of observer.programme") as observer,
    ):
        for listener, site in ((ours, "dasu-1"), (not_ours, "kandiah-1")):
            await listener.subscribe(topic_of(site, "cmd"))
            await observer.publish(topic_of(site, "cmd"), "observer", 1)
            await desk.publish(topic_of(site, "cmd"), "desk", 1)
        await until(lambda: ours.heard, "the desk's order")
        await asyncio.sleep(STILL_S)
        assert (ours.heard, not_ours.heard) == ([(topic_of("dasu-1", "cmd"), "desk")], [])
