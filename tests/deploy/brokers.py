"""The brokers as they are shipped: real processes on the files of deploy/, with certificates of the shipped script.

Only what a test machine cannot have is replaced in those files: paths, ports, addresses. A text to be replaced that is
not there fails the test, so that file and test cannot drift apart unseen.
"""

from __future__ import annotations

import re
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import aiomqtt

from controller.runtime.mqtt_link import BrokerSettings, TlsSettings
from tests.runtime.conftest import find_mosquitto, find_nats

DEPLOY = Path(__file__).parents[2] / "deploy"
MAKE_CERTIFICATES = DEPLOY / "mosquitto" / "make-certificates.sh"
READY_WITHIN_S = 20.0
HELLO = b"\x10\x0d\x00\x04MQTT\x04\x02\x00\x05\x00\x01p"  # CONNECT: 3.1.1, clean session, client id "p"

SITES = ("dasu-1", "dasu-2", "kandiah-1")
DESKS = ("national", "north", "stranger")
OBSERVERS = ("programme", "dasu-1", "stranger")

# What Debian's package installs as /etc/mosquitto/mosquitto.conf; ours is what it includes.
DEBIAN_MOSQUITTO_CONF = """pid_file /run/mosquitto/mosquitto.pid
persistence true
persistence_location /var/lib/mosquitto/
log_dest file /var/log/mosquitto/mosquitto.log
include_dir /etc/mosquitto/conf.d
"""


def make_certificates(folder: Path, *arguments: str, days: int | None = None) -> subprocess.CompletedProcess[str]:
    """Run the shipped script for one folder."""
    environment = {"PATH": "/usr/bin:/bin", **({} if days is None else {"DAYS": str(days)})}
    return subprocess.run(
        [MAKE_CERTIFICATES, folder, *arguments], capture_output=True, text=True, timeout=60, env=environment
    )


def make_programme(folder: Path) -> Path:
    """An authority, a broker on loopback and everybody the shipped access rules speak of - and two strangers."""
    for arguments in (
        ("authority",),
        ("broker", "centre", "127.0.0.1", "localhost"),
        ("site", *SITES),
        ("desk", *DESKS),
        ("observer", *OBSERVERS),
    ):
        made = make_certificates(folder, *arguments)
        assert made.returncode == 0, made.stderr
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def shipped(path: str, replaced: Mapping[str, str]) -> str:
    """A file of deploy/ with `replaced` put in place."""
    return replace((DEPLOY / path).read_text(), replaced, path)


def replace(text: str, replaced: Mapping[str, str], what: str) -> str:
    """In one pass: what was put in place is text of its own, however much it looks like something to replace."""
    for old in replaced:
        assert old in text, f"{what} does not say {old!r} any more"
    return re.sub("|".join(map(re.escape, replaced)), lambda found: replaced[found[0]], text)


class ShippedBroker:
    """One broker process, running inside `with`; `folder` is its /etc, /var and /run.

    Which files a subclass installs, `install` says; they may be changed between `install` and `start`, or before a
    `reload`.
    """

    kind: str

    def __init__(self, folder: Path, certificates: Path) -> None:
        self.folder = folder
        self.certificates = certificates
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self.install()

    def __enter__(self) -> ShippedBroker:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def install(self) -> None:
        raise NotImplementedError

    def command(self) -> list[str]:
        raise NotImplementedError

    @property
    def log(self) -> Path:
        return self.folder / "broker.log"

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def install_certificate(self, broker: str = "centre") -> None:
        """Certificate and key under the names the configuration has for them."""
        for kind in ("pem", "key"):
            shutil.copy(self.certificates / f"broker.{broker}.{kind}", self.certificate.with_suffix(f".{kind}"))
        shutil.copy(self.certificates / "ca.pem", self.certificate.with_name("ca.pem"))

    @property
    def certificate(self) -> Path:
        raise NotImplementedError

    def start(self, *, wait: bool = True) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        if wait:
            try:
                self.wait_until_ready()
            except BaseException:
                self.stop(signal.SIGKILL)
                raise

    def wait_until_ready(self) -> None:
        """Until it greets the observer: then the listener, TLS, users and the store are all there."""
        deadline = time.monotonic() + READY_WITHIN_S
        while time.monotonic() < deadline:
            assert self._process and self._process.poll() is None, self.said()
            with suppress(OSError):
                if self.greets(self.tls_context("observer.programme")):
                    return
            time.sleep(0.05)
        raise AssertionError(f"{self.kind} did not come up: {self.said()}")

    def greets(self, context: ssl.SSLContext) -> bool:
        """Whether a CONNECT over this TLS is accepted. A refused certificate raises an OSError, early or late."""
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=5.0) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as client,
        ):
            client.sendall(HELLO)
            accepted = client.recv(4) == b"\x20\x02\x00\x00"
            if accepted:
                client.sendall(b"\xe0\x00")
            return accepted

    def said(self) -> str:
        return self.log.read_text()

    def reload(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGHUP)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def tls_context(
        self, identity: str | None, *, issued: Path | None = None, trusts: Path | None = None
    ) -> ssl.SSLContext:
        """Somebody's end of TLS: `issued` and `trusts` are folders of another authority, where it is not ours."""
        context = ssl.create_default_context(cafile=(trusts or self.certificates) / "ca.pem")
        if identity is not None:
            folder = issued or self.certificates
            context.load_cert_chain(folder / f"{identity}.pem", folder / f"{identity}.key")
        return context

    def settings(self, identity: str) -> BrokerSettings:
        """How curtaild's own link connects as somebody."""
        files = (str(self.certificates / name) for name in ("ca.pem", f"{identity}.pem", f"{identity}.key"))
        return BrokerSettings("127.0.0.1", self.port, None, None, TlsSettings(*files))

    def client(self, identity: str, *, client_id: str | None = None, keep_session: bool = False) -> aiomqtt.Client:
        """Anybody's MQTT client, none of ours."""
        return aiomqtt.Client(
            "127.0.0.1",
            self.port,
            identifier=client_id,
            clean_session=not keep_session,
            timeout=5,
            tls_context=self.tls_context(identity),
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )


class Mosquitto(ShippedBroker):
    """Debian's mosquitto with conf.d/curtaild.conf, the passwords' listener beside it."""

    kind = "mosquitto"

    def install(self) -> None:
        self.password_port = free_port()
        for name in ("etc/conf.d", "etc/certs", "lib", "log", "run"):
            (self.folder / name).mkdir(parents=True)
        self.install_certificate()
        self.main.write_text(
            # Started by root it would become a user that cannot read the test's folder.
            replace(DEBIAN_MOSQUITTO_CONF, self._paths(), "mosquitto.conf") + "user root\n"
        )
        etc = {"/etc/mosquitto": str(self.folder / "etc")}
        self.conf("curtaild").write_text(
            shipped("mosquitto/curtaild.conf", {**etc, "listener 8883": f"listener {self.port} 127.0.0.1"})
        )
        self.conf("passwords").write_text(
            shipped("mosquitto/passwords.conf", {**etc, "listener 8884": f"listener {self.password_port} 127.0.0.1"})
        )
        shutil.copy(DEPLOY / "mosquitto" / "curtaild.acl", self.acl)
        self.passwords.touch(0o600)

    def _paths(self) -> dict[str, str]:
        return {
            "/etc/mosquitto": str(self.folder / "etc"),
            "/var/lib/mosquitto": str(self.folder / "lib"),
            "/var/log/mosquitto": str(self.folder / "log"),
            "/run/mosquitto": str(self.folder / "run"),
        }

    @property
    def main(self) -> Path:
        return self.folder / "etc" / "mosquitto.conf"

    @property
    def acl(self) -> Path:
        return self.folder / "etc" / "curtaild.acl"

    @property
    def passwords(self) -> Path:
        return self.folder / "etc" / "curtaild.passwords"

    def conf(self, name: str) -> Path:
        return self.folder / "etc" / "conf.d" / f"{name}.conf"

    @property
    def certificate(self) -> Path:
        return self.folder / "etc" / "certs" / "broker.pem"

    def command(self) -> list[str]:
        binary = find_mosquitto()
        assert binary
        return [binary, "-c", str(self.main)]

    def said(self) -> str:
        written = self.folder / "log" / "mosquitto.log"
        return super().said() + (written.read_text() if written.exists() else "")

    def lock_out(self, identity: str) -> None:
        """As the end of the access rules says it is done."""
        with self.acl.open("a") as rules:
            rules.write(f"user {identity}\ntopic deny curtaild/v1/#\n")


class Nats(ShippedBroker):
    """NATS with nats-server.conf and accounts.conf."""

    kind = "nats"

    def install(self) -> None:
        for name in ("etc", "lib"):
            (self.folder / name).mkdir(parents=True)
        self.install_certificate()
        self.main.write_text(
            shipped(
                "nats/nats-server.conf",
                {
                    "/etc/nats": str(self.folder / "etc"),
                    "/var/lib/nats": str(self.folder / "lib"),
                    "0.0.0.0:8883": f"127.0.0.1:{self.port}",
                    "127.0.0.1:4222": f"127.0.0.1:{free_port()}",
                    "127.0.0.1:8222": f"127.0.0.1:{free_port()}",
                },
            )
        )
        shutil.copy(DEPLOY / "nats" / "accounts.conf", self.accounts)

    @property
    def main(self) -> Path:
        return self.folder / "etc" / "nats-server.conf"

    @property
    def accounts(self) -> Path:
        return self.folder / "etc" / "accounts.conf"

    @property
    def certificate(self) -> Path:
        return self.folder / "etc" / "broker.pem"

    def command(self) -> list[str]:
        return [find_nats(), "-c", str(self.main)]

    def lock_out(self, identity: str) -> None:
        """The user is taken out: the name leads nowhere any more."""
        self.accounts.write_text(replace(self.accounts.read_text(), {f'"CN={identity}"': '"CN=nobody"'}, "accounts"))


KINDS: Mapping[str, type[ShippedBroker]] = {"mosquitto": Mosquitto, "nats": Nats}
