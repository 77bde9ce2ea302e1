"""Simulated LuxOS miners, stock pyasic against them, and our driver against them."""

from __future__ import annotations

import asyncio
import gc
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import pytest
import pytest_asyncio

from controller.domain.command import Command, Verb
from controller.domain.fleet import Level
from drivers.asic.luxos import LuxosMiner
from drivers.asic.pyasic_miner import import_factory
from drivers.catalog import build_miner
from simulators.asic.farm import MinerFarm
from simulators.asic.luxos import LuxOSMiner
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour
from simulators.asic.spec import FleetSpec

DEADLINE_S = 3.0  # far beyond what loopback needs on a busy machine; faults that run into it use a shorter one
STILL_SILENT = "still silent"


def build(host: str, port: int, deadline_s: float = DEADLINE_S, ladder: tuple[Level, ...] | None = None) -> LuxosMiner:
    """Our driver for a simulated S19k Pro."""
    miner = build_miner(
        miner_id="rack-1/0",
        index=0,
        model="Antminer S19k Pro",
        firmware="LuxOS",
        host=host,
        port=port,
        username=None,
        password=None,
        deadline_s=deadline_s,
        ladder=ladder,
    )
    assert isinstance(miner, LuxosMiner)
    return miner


def build_stock(host: str, port: int) -> Any:
    """The same miner in pyasic as published, built as its factory would; only the port is ours."""
    factory = import_factory()
    miner = factory.MINER_CLASSES[factory.MinerTypes.LUX_OS]["ANTMINER S19K PRO"](host, None)
    miner.rpc.port = port
    return miner


async def outcome_of_stock(call: Coroutine[Any, Any, Any], within_s: float = 10.0) -> Any:
    """What stock pyasic returns or raises, or "still silent" after `within_s` seconds (its own limit is 100 s)."""
    task = asyncio.create_task(call)
    await asyncio.wait({task}, timeout=within_s)
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        _close_what_stock_leaked()
        return STILL_SILENT
    error = task.exception()
    if error is not None:
        _close_what_stock_leaked()
        return error
    return task.result()


def _close_what_stock_leaked() -> None:
    """A stock call that fails or is cancelled leaves its socket open for ever; the next test must not pay for it."""
    for leaked in [item for item in gc.get_objects() if isinstance(item, asyncio.Transport)]:
        if leaked.get_extra_info("peername") is not None:
            leaked.abort()


class Orders:
    """The commands tests give to miner 0, and what stock pyasic makes of the same."""

    SLEEP = Command(41, 0, Verb.SLEEP, None, raises=False, urgent=False, reason="test")
    SHED = Command(42, 0, Verb.SLEEP, None, raises=False, urgent=True, reason="test")
    WAKE = Command(43, 0, Verb.WAKE, None, raises=True, urgent=False, reason="test")

    @staticmethod
    def trim(level: int | None, *, raises: bool = False, urgent: bool = False) -> Command:
        """To a level."""
        return Command(44, 0, Verb.TRIM, level, raises=raises, urgent=urgent, reason="test")

    @staticmethod
    async def of_stock(call: Coroutine[Any, Any, Any], within_s: float = 10.0) -> Any:
        """See `outcome_of_stock`."""
        return await outcome_of_stock(call, within_s)

    @staticmethod
    async def until(condition: Callable[[], object], within_s: float = 20.0) -> None:
        """Let time pass until `condition` holds."""
        async with asyncio.timeout(within_s):
            while not condition():  # noqa: ASYNC110  # physics and descriptors tell nobody when they change
                await asyncio.sleep(0.02)


@dataclass(frozen=True)
class Bench(Orders):
    """One simulated S19k Pro with our driver and stock pyasic in front of it."""

    farm: MinerFarm
    simulated: LuxOSMiner
    stock: Any
    ours: LuxosMiner

    def impatient(self, deadline_s: float = 0.25) -> LuxosMiner:
        """Our driver with a short deadline, for faults that run into it."""
        return build(*self.farm.addresses[0], deadline_s=deadline_s)

    def with_ladder(self, *names: str) -> LuxosMiner:
        """Our driver with only these rungs on its ladder."""
        rungs = {rung.name: rung for rung in MODELS["s19kpro"].profiles}
        ladder = tuple(Level(name, rungs[name].power_w, rungs[name].hashrate_th) for name in names)
        return build(*self.farm.addresses[0], ladder=ladder)

    def commands(self) -> list[str]:
        """Every command the miner has received since the last `forget`, in order."""
        log = self.simulated.log
        return [record.command for record in sorted((*log.reads, *log.writes), key=lambda record: record.at_s)]

    def writes(self) -> list[str]:
        """The writes among them without their session, as `command argument`."""
        return [f"{record.command} {record.parameter.split(',', 1)[1]}" for record in self.simulated.log.writes]

    def forget(self) -> None:
        """Start the record of commands anew."""
        self.simulated.log.clear()

    def profile(self) -> str:
        """The profile the simulated miner is set to."""
        return str(MODELS["s19kpro"].profiles[int(self.farm.bank.profile_index[0])].name)


@pytest_asyncio.fixture
async def bench(request: pytest.FixtureRequest) -> AsyncIterator[Bench]:
    """A bench; `@pytest.mark.parametrize("bench", [Behaviour...], indirect=True)` gives the miner a character."""
    behaviour = getattr(request, "param", Behaviour.OBEYS)
    # A miner that answers in a tenth of its usual time: the tests wait for its physics.
    spec = FleetSpec(models=[MODELS["s19kpro"]], seed=7, behaviours=[behaviour], response_scale=[0.1])
    async with MinerFarm(spec) as farm:
        host, port = farm.addresses[0]
        yield Bench(farm, farm.miners[0], build_stock(host, port), build(host, port))


@dataclass
class Script(Orders):
    """A miner that answers by the test's own rules, counts its connections and keeps every byte it got.

    `answers` maps a command (or `command argument`, session left out) to a document, to raw bytes, or to None for
    silence; a deque is used up one by one, its last entry stays.
    """

    port: int = 0
    connections: int = 0
    seen: int = 0
    requests: list[bytes] = field(default_factory=list)
    answers: dict[str, Any] = field(default_factory=dict)

    def ours(self, deadline_s: float = DEADLINE_S) -> LuxosMiner:
        """Our driver in front of it."""
        return build("127.0.0.1", self.port, deadline_s)

    def stock(self) -> Any:
        """Stock pyasic in front of it."""
        return build_stock("127.0.0.1", self.port)

    def commands(self) -> list[str]:
        """What it was told, as `command` or `command argument`, sessions left out."""
        return [_name_of(request) for request in self.requests]

    @staticmethod
    def ok(**sections: Any) -> dict[str, Any]:
        """A successful answer with these sections."""
        return {**sections, "STATUS": [{"STATUS": "S", "Code": 1, "Msg": "fine"}], "id": 1}

    @staticmethod
    def error(code: int, message: str) -> dict[str, Any]:
        """An answer that says no."""
        return {"STATUS": [{"STATUS": "E", "Code": code, "Msg": message}], "id": 1}

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        self.seen += 1
        try:
            request = await reader.read(65_536)
            if not request:
                return  # the client gave up
            self.requests.append(request)
            name = _name_of(request)
            answer = self.answers.get(name, self.answers.get(name.split()[0] if name else "", self.ok()))
            if isinstance(answer, deque):
                answer = answer.popleft() if len(answer) > 1 else answer[0]
            if answer is None:
                await reader.read()  # silent until the client gives up
            else:
                writer.write(answer if isinstance(answer, bytes) else json.dumps(answer).encode() + b"\0")
                await writer.drain()
        except ConnectionError:
            pass  # the client gave up
        finally:
            self.connections -= 1
            writer.close()


def _name_of(request: bytes) -> str:
    document = json.loads(request)
    _, _, argument = str(document.get("parameter", "")).partition(",")
    return f"{document['command']} {argument}".strip()


@pytest_asyncio.fixture
async def script() -> AsyncIterator[Script]:
    """A scripted miner that opens sessions and has its thermal control off."""
    scripted = Script()
    scripted.answers |= {
        "logon": scripted.ok(SESSION=[{"SessionID": "mine"}]),
        "session": scripted.ok(SESSION=[{"SessionID": ""}]),
        "atm": scripted.ok(ATM=[{"Enabled": False}]),
        "config": scripted.ok(CONFIG=[{"Profile": "default", "CurtailMode": "None", "IsPowerSupplyOn": True}]),
    }
    server = await asyncio.start_server(scripted.serve, "127.0.0.1", 0)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        tasks = {task for task in asyncio.all_tasks() if "Script.serve" in repr(task.get_coro())}
        if tasks:
            await asyncio.wait(tasks, timeout=1.0)
