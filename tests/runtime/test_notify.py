"""sd_notify against a datagram socket such as systemd opens."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from controller.runtime.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    name = str(tmp_path / "notify") if request.param == "path" else f"@curtaild-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0", 1) if name.startswith("@") else name)
        listening.settimeout(5)
        yield listening, name


def test_every_message_reaches_systemd_in_its_own_words(systemd: tuple[socket.socket, str]) -> None:
    listening, name = systemd
    notifier = Notifier({"NOTIFY_SOCKET": name})
    notifier.ready()
    notifier.status("412 kW wanted\nbound by surplus")
    notifier.watchdog()
    notifier.reloading(12.5)
    notifier.stopping()
    notifier.draining(330.0)
    heard = [listening.recv(1000) for _ in range(6)]
    assert heard == [
        b"READY=1",
        b"STATUS=412 kW wanted bound by surplus",
        b"WATCHDOG=1",
        b"RELOADING=1\nMONOTONIC_USEC=12500000",
        b"STOPPING=1",
        b"EXTEND_TIMEOUT_USEC=330000000",
    ]
    notifier.close()


def test_without_systemd_nothing_is_said_and_nothing_fails(tmp_path: Path) -> None:
    for environment in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}, {"NOTIFY_SOCKET": "vsock:2:1234"}):
        notifier = Notifier(environment)
        notifier.ready()
        notifier.watchdog()
        notifier.close()


def test_a_systemd_that_does_not_listen_never_makes_a_cycle_wait(tmp_path: Path) -> None:
    name = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf:
        deaf.bind(name)
        notifier = Notifier({"NOTIFY_SOCKET": name})
        for _ in range(10_000):  # far more than its queue holds
            notifier.watchdog()
        notifier.close()
