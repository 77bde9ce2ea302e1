"""The one door of aiomqtt (asyncio-mqtt under its present name): one connection to the broker, our types and errors.

Everything aiomqtt and paho do to surprise a caller is dealt with here: a new client object per connection (a reused one
re-sends publishes that were reported as failed), TCP_NODELAY (without it every command and answer costs 40 ms more),
a time limit on connecting and on every publish, and no socket or task left behind when any of it fails.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import aiomqtt

KEEPALIVE_S = 10  # a half-open connection shows after two of these at the latest
CALL_TIMEOUT_S = 2.0  # connect, subscribe, publish: each, until the broker's acknowledgement
INCOMING_MAX = 1024  # messages waiting in the client; the reader never lets them wait, so reaching it is a flood


class LinkLostError(Exception):
    """The broker could not be reached, refused us, or went away. Says where and why; connect again to go on."""


@dataclass(frozen=True, slots=True)
class TlsSettings:
    """TLS towards the broker. Without `ca_file` the system's certificate store decides whom to trust."""

    ca_file: str | None
    certificate_file: str | None
    key_file: str | None


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where the broker is and who we are there. `tls` None means plain TCP."""

    host: str
    port: int
    username: str | None
    password: str | None = field(repr=False)
    tls: TlsSettings | None

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when we vanish without a word."""

    topic: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it came; `retained` ones are the broker's memory, not news."""

    topic: str
    payload: bytes
    retained: bool


class Link:
    """A live connection. Every method raises LinkLostError once it is gone."""

    def __init__(self, client: aiomqtt.Client, where: str) -> None:
        self._client = client
        self._where = where

    async def subscribe(self, topic: str, qos: int) -> None:
        """Returns when the broker has confirmed; a refused subscription (an ACL) is an error, not silence."""
        try:
            granted = await self._client.subscribe(topic, qos)
        except aiomqtt.MqttError as error:
            raise LinkLostError(f"{self._where}: subscribing to {topic}: {error}") from None
        _stay_cancelled()
        if any((code if isinstance(code, int) else code.value) >= 0x80 for code in granted):
            raise LinkLostError(f"{self._where}: subscribing to {topic} was refused; check the broker's access rules")

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """QoS 1 returns when the broker has taken it over. After an error it may or may not have."""
        try:
            await self._client.publish(topic, payload, qos, retain)
        except (aiomqtt.MqttError, ValueError) as error:  # ValueError: paho on a payload beyond the protocol's limit
            raise LinkLostError(f"{self._where}: publishing to {topic}: {error}") from None
        _stay_cancelled()

    async def messages(self) -> AsyncIterator[Message]:
        """Everything subscribed to, as it comes, until the connection is lost (LinkLostError)."""
        try:
            async for message in self._client.messages:
                yield Message(message.topic.value, message.payload, message.retain)
        except aiomqtt.MqttError as error:
            raise LinkLostError(f"{self._where}: {error}") from None


@asynccontextmanager
async def connected(
    broker: BrokerSettings, identifier: str | None, *, will: Will | None = None, keep_session: bool = False
) -> AsyncIterator[Link]:
    """A connection for the length of a `with` block; raises LinkLostError when there is none to be had.

    keep_session: the broker stores QoS 1 messages for this identifier while we are away (needs an identifier).
    """
    client = _client(broker, identifier, will, keep_session)
    try:
        await _enter(client, str(broker))
        yield Link(client, str(broker))
        with suppress(aiomqtt.MqttError):
            await client.__aexit__(None, None, None)
    finally:
        # Reached without a goodbye when the block failed: the broker then publishes the will, as it should.
        _abandon(client)


def _client(broker: BrokerSettings, identifier: str | None, will: Will | None, keep_session: bool) -> aiomqtt.Client:
    try:
        tls = None if broker.tls is None else _tls_context(broker.tls)
    except OSError as error:  # ssl.SSLError is one
        raise LinkLostError(f"{broker}: the TLS files cannot be used: {error}") from None
    client = aiomqtt.Client(
        broker.host,
        broker.port,
        identifier=identifier,
        username=broker.username,
        password=broker.password,
        protocol=aiomqtt.ProtocolVersion.V311,
        will=None if will is None else aiomqtt.Will(will.topic, will.payload, qos=1, retain=True),
        clean_session=not keep_session,
        timeout=CALL_TIMEOUT_S,
        keepalive=KEEPALIVE_S,
        max_queued_incoming_messages=INCOMING_MAX,
        tls_context=tls,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    # aiomqtt's timeout does not bound the TCP connect; paho's own, which does, is 5 s.
    client._client.connect_timeout = CALL_TIMEOUT_S
    return client


class _TidySslSocket(ssl.SSLSocket):
    """Closes itself when the handshake fails; paho drops such a socket open, one per try."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except OSError:  # all of ssl's errors, and the time limit
            self.close()
            raise


def _tls_context(tls: TlsSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=tls.ca_file)
    context.sslsocket_class = _TidySslSocket
    if tls.certificate_file is not None:
        context.load_cert_chain(tls.certificate_file, tls.key_file)
    return context


async def _enter(client: aiomqtt.Client, where: str) -> None:
    """Connect. The TCP connect runs in a thread that cannot be cancelled: on cancellation its end is awaited (at most
    two time limits), because it would otherwise hand a live socket to a loop that no longer wants it."""
    entering = asyncio.ensure_future(client.__aenter__())
    try:
        await asyncio.shield(entering)
    except (aiomqtt.MqttError, ValueError) as error:  # ValueError: a host name that cannot be one
        raise LinkLostError(f"{where}: {error}") from None
    except asyncio.CancelledError:
        with suppress(aiomqtt.MqttError, ValueError):
            await entering
        raise


def _stay_cancelled() -> None:
    """asyncio.wait_for of Python 3.11, which aiomqtt stands on, forgets a cancellation that meets the result it waits
    for. Whoever cancelled would then wait for ever, so the request is looked up and honoured here."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


def _abandon(client: aiomqtt.Client) -> None:
    """Close what aiomqtt leaves open after a failed connect or a lost connection: paho's socket and the keepalive task.

    Both are private to aiomqtt 2.5; a test counts sockets and tasks, so that a new version cannot break it unseen.
    """
    left = client._client.socket()
    if left is not None and left.fileno() >= 0:
        client._loop.remove_reader(left.fileno())
        client._loop.remove_writer(left.fileno())
        left.close()
    if client._misc_task is not None:
        client._misc_task.cancel()
