"""The demo's dispatcher: sends the scenario's orders as anybody would, with `curtaild dispatch`."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from simulators.demo.broker import HOST
from simulators.demo.processes import Child, command_beside
from simulators.demo.settings import SITE_ID
from simulators.scenario import DispatchScenario, Scenario

ISSUER: Final = "grid-desk"
LISTEN_BEYOND_S: Final = 5.0


@dataclass(slots=True)
class Order:
    """One dispatch on its way: what was asked, when (monotonic), and the answers its sender was shown."""

    kind: str
    power_w: float
    for_s: float
    sent_at_s: float
    output: Path
    child: Child
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def dispatch_id(self) -> str | None:
        """Its id, known once somebody answered."""
        return next((str(answer["id"]) for answer in self.answers if "id" in answer), None)

    def text(self) -> str:
        """In words."""
        return f"{self.kind} {self.power_w / 1000:.0f} kW for {self.for_s:.0f} s"

    def refresh(self) -> None:
        """Read what the sending process has printed so far: one JSON object a line."""
        self.answers = [said for line in self.output.read_text(encoding="utf-8").splitlines() if (said := _json(line))]


async def send_orders(
    scenario: Scenario, began_at_s: float, seconds: float, run_dir: Path, port: int, orders: list[Order]
) -> None:
    """Send each order of the scenario at its moment of a run of `seconds`; appends to `orders`, returns after the last.

    Raises:
        DemoError: the command line is not installed.
    """
    curtaild = command_beside("curtaild")
    for number, planned in enumerate(sorted(scenario.dispatches, key=lambda each: each.at_fraction), start=1):
        await asyncio.sleep(max(0.0, began_at_s + planned.at_fraction * seconds - time.monotonic()))
        orders.append(await _send(scenario, planned, seconds, run_dir / f"dispatch-{number}", port, curtaild))


async def _send(
    scenario: Scenario, planned: DispatchScenario, seconds: float, stem: Path, port: int, curtaild: str
) -> Order:
    power_w = planned.power_fraction * scenario.fleet.rated_w()
    for_s = planned.for_fraction * seconds
    command = [curtaild, "dispatch", "--site", SITE_ID, "--broker", f"{HOST}:{port}", "--issuer", ISSUER]
    command += ["--for", f"{for_s:.1f}s", "--wait", "end", "--within", f"{for_s + LISTEN_BEYOND_S:.1f}s"]
    command += ["--json", planned.kind, f"{power_w / 1000:.1f}kW"]
    output = stem.with_suffix(".jsonl")
    sent_at_s = time.monotonic()
    child = await Child.start("dispatcher", command, stem.with_suffix(".log"), output)
    return Order(planned.kind, power_w, for_s, sent_at_s, output, child)


def _json(line: str) -> dict[str, Any] | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None  # a line that is still being written
    return said if isinstance(said, dict) else None
