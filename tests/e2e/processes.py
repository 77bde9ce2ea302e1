"""The installed daemon and its commands as processes, used through the front door only: command line and sockets."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.waiting import STOP_WITHIN_S, until

CURTAILD = Path(sys.executable).with_name("curtaild")


@dataclass(frozen=True, slots=True)
class Ran:
    """What a command left behind."""

    code: int
    out: str
    errors: str

    def json(self) -> Any:
        return json.loads(self.out)

    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def curtaild(*arguments: str, env: Mapping[str, str] | None = None, within_s: float = 60.0) -> Ran:
    """Run one command to its end."""
    done = subprocess.run(
        [CURTAILD, *arguments], capture_output=True, text=True, timeout=within_s, env={**os.environ, **(env or {})}
    )
    return Ran(done.returncode, done.stdout, done.stderr)


class Daemon:
    """`curtaild run` as a process, with a systemd that listens."""

    def __init__(self, folder: Path, config: Path) -> None:
        self.log = folder / "daemon.log"
        self._config = config
        self._address = folder / "notify.sock"
        self._process: subprocess.Popen[bytes] | None = None
        self.environment: dict[str, str] = {}
        """Beside that of the test."""
        self.told: list[str] = []
        """Everything systemd heard since the start."""

    def start(self, *, wait: bool = True) -> None:
        self.told = []
        self._address.unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        listening.bind(str(self._address))
        environment = {**os.environ, **self.environment, "NOTIFY_SOCKET": str(self._address)}
        with self.log.open("ab") as log:
            command = [CURTAILD, "run", "--config", self._config]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)
        listener = threading.Thread(target=self._listen, args=(listening, self._process, self.told), daemon=True)
        listener.start()
        if wait:
            until(lambda: "READY=1" in self.told or not self.alive, 30.0, "READY=1")
            assert self.alive, self.log.read_text()

    @staticmethod
    def _listen(listening: socket.socket, process: subprocess.Popen[bytes], told: list[str]) -> None:
        """Until the process is gone and nothing is left to read."""
        listening.settimeout(0.1)
        with listening:
            while True:
                gone = process.poll() is not None
                try:
                    told.append(listening.recv(4096).decode())
                except TimeoutError:
                    if gone:
                        return

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "never started"
        return self._process

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; returns the exit code."""
        self.process.send_signal(how)
        return self.process.wait(STOP_WITHIN_S)

    def events(self, name: str) -> list[dict[str, Any]]:
        """Log records of one name, oldest first."""
        lines = self.log.read_text().splitlines()
        records = [json.loads(line) for line in lines if line.startswith("{")]
        return [record for record in records if record.get("event") == name]
