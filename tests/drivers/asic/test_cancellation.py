"""A call given up in any turn of the loop: nothing of it stays, and the calls after it find a miner that works.

The actuator gives a read up for a command and sends the command in the same turn, before the read has unwound; only the
end of the daemon gives a command up.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, MinerReading
from drivers.catalog import Miner, build_miner
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family
from simulators.asic.spec import FleetSpec
from simulators.asic.whatsminer import WhatsMiner
from tests.drivers.asic.antminer.script import until
from tests.rig.contract.run import CREDENTIALS, MODEL_OF

SLEEP = Command(41, 0, Verb.SLEEP, None, raises=False, urgent=False, reason="test")
SHED = Command(42, 0, Verb.SLEEP, None, raises=False, urgent=True, reason="test")
WAKE = Command(43, 0, Verb.WAKE, None, raises=True, urgent=False, reason="test")
TRIM = Command(44, 0, Verb.TRIM, 0, raises=False, urgent=False, reason="test")

CALLS: dict[str, Callable[[Miner], Coroutine[Any, Any, object]]] = {
    "read": lambda miner: miner.read(),
    "shed": lambda miner: miner.perform(SHED),
    "sleep": lambda miner: miner.perform(SLEEP),
    "wake": lambda miner: miner.perform(WAKE),
    "trim": lambda miner: miner.perform(TRIM),
    "restore": lambda miner: miner.restore("3"),
    "ladder": lambda miner: miner.read_ladder(),
}
OBEYED = (Outcome.ACKNOWLEDGED, Outcome.APPLIED)
MOST_TURNS = 400  # of the longest call; one that takes more has hung
CASES = [
    (family, call) for family, call in itertools.product(Family, CALLS) if (family, call) != (Family.ANTMINER, "trim")
]


@dataclass
class Stand:
    """A simulated miner that hashes, and what the loop complained about meanwhile."""

    family: Family
    farm: MinerFarm
    complaints: list[str] = field(default_factory=list)

    def ours(self) -> Miner:
        """A driver that knows nothing yet, in front of a miner that has lent nothing and was told nothing."""
        simulated = self.farm.miners[0]
        if isinstance(simulated, WhatsMiner):
            simulated.tokens.clear()
        username, password = CREDENTIALS[self.family]
        address = self.farm.addresses[0]
        return build_miner(
            miner_id="m-1",
            index=0,
            model=MODELS[MODEL_OF[self.family]].name,
            firmware=self.family.value,
            host=address.host,
            port=address.port,
            web_port=address.web_port or 80,
            username=username,
            password=password,
            deadline_s=5.0,
            writes_per_day=10_000,
        )

    async def nothing_left(self, files: int, tasks: set[asyncio.Task[Any]]) -> None:
        """Wait until the sockets are closed, the miner's as well; then neither a task nor a complaint may be left."""
        await until(lambda: open_files() <= files)
        assert asyncio.all_tasks() <= tasks
        assert self.complaints == []


def open_files() -> int:
    """Descriptors of this process."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@asynccontextmanager
async def standing(family: Family) -> AsyncIterator[Stand]:
    """A stand with a miner of this family."""
    async with MinerFarm(FleetSpec(models=[MODELS[MODEL_OF[family]]], seed=7), tick_s=0.5) as farm:
        stand = Stand(family, farm)
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: stand.complaints.append(str(context)))
        yield stand


async def given_up_after(turns: int, call: Coroutine[Any, Any, object]) -> asyncio.Task[object]:
    """`call`, cancelled after so many turns of the loop and not awaited any more."""
    task = asyncio.ensure_future(call)
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    return task


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize(("family", "call"), CASES)
async def test_a_call_given_up_in_any_turn_leaves_nothing_and_the_next_ones_work(
    family: Family, call: str, warm: bool
) -> None:
    async with standing(family) as stand:
        files, tasks = open_files(), asyncio.all_tasks()
        for turns in itertools.count():
            assert turns < MOST_TURNS
            miner = stand.ours()
            if warm:
                await miner.read()
            task = await given_up_after(turns, CALLS[call](miner))
            report = await miner.perform(SHED)  # in the very turn, as the actuator does
            reading = await miner.read()
            assert task.done()
            await miner.close()
            await stand.nothing_left(files, tasks)
            assert report.outcome in OBEYED, (turns, report)
            assert reading.condition is not Condition.UNREACHABLE, (turns, reading)
            woken = await miner.perform(WAKE)
            assert woken.outcome in OBEYED, (turns, woken)
            await miner.close()
            if not task.cancelled():
                assert isinstance(task.result(), MinerReading | CommandReport | tuple)
                assert turns > 2, "given up in the middle, too"
                break
