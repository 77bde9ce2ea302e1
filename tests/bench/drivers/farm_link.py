"""The bench's end of the simulators' process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from tests.rig.web_port import has_web_port

USERNAME = "root"
PASSWORDS = {"WhatsMiner V2": "admin", "Antminer stock": "root"}
"""As the simulated miners leave the factory, and as the published clients expect them."""


@dataclass(frozen=True, slots=True)
class Site:
    """Where one simulated miner is, and what it is."""

    family: str
    model: str
    host: str
    port: int
    web_port: int | None

    @property
    def password(self) -> str | None:
        return PASSWORDS.get(self.family)


@dataclass(frozen=True, slots=True)
class Told:
    """What the miners say of themselves: how many are told to sleep, and what came since the last question.

    said: the same for the same commands with the same content.
    """

    asleep: int
    commands: dict[str, int]
    connections: int
    said: str


class FarmLink:
    """`with FarmLink() as farm:` - blocking questions and answers, none of them while a clock runs."""

    def __init__(self) -> None:
        first = f"127.{64 + os.getpid() % 128}"
        # On the vendors' ports every published client finds its miners; that takes port 80.
        self.vendor_ports = has_web_port(f"{first}.128.1")
        network = [f"{first}.128.0/18"] if self.vendor_ports else []
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.drivers.farm_host", *network],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def fresh(self, families: list[str]) -> list[Site]:
        """New miners, all awake and knowing nobody."""
        return [Site(**row) for row in self._ask({"do": "fresh", "families": families})]

    def wake(self) -> None:
        """All awake and steady again; what they know of their clients stays."""
        self._ask({"do": "wake"})

    def told(self) -> Told:
        """What the miners say of themselves."""
        return Told(**self._ask({"do": "told"}))

    def _ask(self, order: dict[str, Any]) -> Any:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError("the simulators' process has ended; what it said is above")
        return json.loads(line)
