"""Run cases: simulated miner, fault, real driver, real core; each ends in a cell of the tables and what was true.

Most of a case is waiting for deadlines, so that many run at once: each has a miner at an address of its own, and counts
the connections to that address and the tasks begun in its own context.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Coroutine, Generator, Iterable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any
from weakref import WeakSet

from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, MinerReading, Verdict
from drivers.asic.pyasic_miner import import_btminer
from drivers.catalog import Miner, build_miner, model_named
from simulators.asic.antminer import AntminerStock, StockTraits
from simulators.asic.antminer_web import antminer_site
from simulators.asic.farm import FIRMWARES, Builder, BuildOrder, Built, MinerFarm
from simulators.asic.models import MODELS, Family, MinerModel
from simulators.asic.spec import FleetSpec
from tests.rig.contract.belief import Belief, Core
from tests.rig.contract.scenes import TROUBLE, WRITE_S, Case, Scene

MODEL_OF = {Family.LUXOS: "s19kpro", Family.WHATSMINER: "m50s", Family.ANTMINER: "s19pro"}
CREDENTIALS = {
    Family.LUXOS: (None, None),
    Family.WHATSMINER: (None, "admin"),
    Family.ANTMINER: ("root", "root"),
}
AT_ONCE = 24
RESPONSE_SCALE = 0.1  # what firmwares keep stale after a write, they keep for so much less
PHYSICS_S = 120.0
_PHYSICS_STEP_S = 0.5
_REPORTS_FRESH_S = 0.6
_WRITE_ENDS_S = 0.3
_SOCKETS_GONE_WITHIN_S = 1.5
_OPEN = {"01", "02", "08"}  # TCP states as Linux counts them: established, SYN sent, close wait

_NO_WAKE = Command(1, 0, Verb.WAKE, None, raises=True, urgent=True, reason="contract")  # of a miner that is awake

_hosts = count(os.getpid() * 64)
_started: ContextVar[WeakSet[asyncio.Task[Any]] | None] = ContextVar("_started", default=None)


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the published tables.

    outcome: what the driver reported. reads: what the next read showed. verdict, counts_as: how the core judged the
    command in the end, and whether it then counts the miner as drawing. left: connections of ours still open.
    """

    outcome: Outcome
    reads: Condition
    verdict: Verdict
    counts_as: str
    left: int


@dataclass(frozen=True, slots=True)
class Proof:
    """A cell and the truth behind it, for the rules that hold whatever the tables say."""

    cell: Cell
    report: CommandReport
    reading: MinerReading
    elapsed_s: float
    belief: Belief
    true_power_w: float
    nameplate_w: float
    tasks_left: int
    writes_received: int


async def prove_all(cases: Iterable[Case], at_once: int = AT_ONCE) -> dict[Case, Proof | Exception]:
    """Every case, many of them at a time, in the given order; an exception is a case that could not be met."""
    import_btminer()  # takes a second, which no deadline must pay for
    turns = asyncio.Semaphore(at_once)

    async def in_turn(case: Case) -> _Met | Exception:
        async with turns:
            try:
                return await _meet(case)
            except Exception as error:  # noqa: BLE001  # the other cases go on; whoever asked for this one raises it
                return error

    wanted = list(cases)
    found = await asyncio.gather(*map(in_turn, wanted))
    # The core is asked when nobody waits any more: it would hold up the deadlines of the others.
    return {case: met if isinstance(met, Exception) else met.judged() for case, met in zip(wanted, found, strict=True)}


async def prove(case: Case) -> Proof:
    """Meet one fault with one order. Takes some seconds of real time where deadlines have to pass."""
    return (await _meet(case)).judged()


@dataclass(frozen=True, slots=True)
class _Met:
    """A case before the core has judged it."""

    core: Core
    model: MinerModel
    began: float
    elapsed_s: float
    report: CommandReport
    reading: MinerReading
    true_power_w: float
    tasks_left: int
    connections_left: int
    writes_received: int

    def judged(self) -> Proof:
        """What the core makes of it in the end."""
        belief = self.core.in_the_end(self.began, self.report, self.reading)
        middle_w = (self.model.sleep_power_w + self.model.nameplate.power_w) / 2
        counts_as = "asleep" if belief.counted_w < middle_w else "drawing"
        return Proof(
            Cell(self.report.outcome, self.reading.condition, belief.verdict, counts_as, self.connections_left),
            self.report,
            self.reading,
            self.elapsed_s,
            belief,
            self.true_power_w,
            float(self.model.nameplate.power_w),
            self.tasks_left,
            self.writes_received,
        )


async def _meet(case: Case) -> _Met:
    asyncio.get_running_loop().set_task_factory(_noted)
    _started.set(WeakSet())
    model = MODELS[MODEL_OF[case.family]]
    spec = FleetSpec(models=[model], seed=7, response_scale=[RESPONSE_SCALE])
    firmwares = {**FIRMWARES, Family.ANTMINER: _writing_for(WRITE_S.get(case.scene, 0.0))}
    async with MinerFarm(spec, host=_own_host(), firmwares=firmwares) as farm:
        meeting = _Meeting(case, farm, model)
        try:
            return await meeting.met()
        finally:
            await meeting.close()


class _Meeting:
    """One case on its way."""

    def __init__(self, case: Case, farm: MinerFarm, model: MinerModel) -> None:
        self._case = case
        self._farm = farm
        self._model = model
        self._host = farm.addresses[0].host
        self._loop = asyncio.get_running_loop()
        self._miner = self._driver()

    async def met(self) -> _Met:
        case, loop = self._case, self._loop
        core = await self._begin()
        not_ours = -self._connections()
        for switch in TROUBLE.get(case.scene, ()):
            self._farm.faults[0].on(switch.fault, switch.seconds, writes_only=switch.writes_only)
        not_ours = max(not_ours + self._connections(), 0)  # a port that swallows packets is full of its own
        if case.scene is Scene.TOKENS_FULL_COLD:  # as after a restart of the daemon
            await self._miner.close()
            self._miner = self._driver()
            await self._miner.read()
        self._farm.miners[0].log.clear()
        command = core.order(loop.time(), case.order.verb, urgent=case.order.urgent)
        began = loop.time()
        report = await self._miner.perform(command)
        elapsed_s = loop.time() - began
        write_s = WRITE_S.get(case.scene)
        await asyncio.sleep(0.0 if write_s is None else began + write_s + _WRITE_ENDS_S - loop.time())
        await self._let_time_pass()
        reading = await self._miner.read()
        truth_w = float(self._farm.bank.true_power_w[0])
        left = await self._connections_left(not_ours)
        tasks = [task for task in _started.get() or () if not task.done() and "simulators" not in repr(task)]
        writes = len(self._farm.miners[0].log.writes)
        return _Met(core, self._model, began, elapsed_s, report, reading, truth_w, len(tasks), left, writes)

    async def close(self) -> None:
        """Let go of the miner."""
        self._farm.faults[0].clear()
        await self._miner.close()

    async def _begin(self) -> Core:
        """The miner as the fault finds it: hashing, or asleep by our order, and the core knows."""
        first = await self._miner.read()
        core = Core(model_named(self._model.name, self._case.family.value), first, self._loop.time())
        needs_session = self._case.scene is Scene.EXPIRED  # which an urgent order leaves behind
        if self._case.order.verb is Verb.WAKE:
            await self._put_to_sleep(core, urgent=needs_session)
        elif needs_session:
            await self._miner.perform(_NO_WAKE)
        return core

    async def _put_to_sleep(self, core: Core, *, urgent: bool) -> None:
        began = self._loop.time()
        order = replace(core.order(began, Verb.SLEEP), urgent=urgent)
        report = await self._miner.perform(order)
        await asyncio.sleep(WRITE_S.get(self._case.scene, 0.0))
        await self._let_time_pass()
        core.asleep_at_last(began, report, await self._miner.read())

    async def _let_time_pass(self) -> None:
        """Minutes of the miner's life: its power goes where it is going, a reboot or a restart ends."""
        for step in range(round(PHYSICS_S / _PHYSICS_STEP_S)):
            self._farm.bank.step(_PHYSICS_STEP_S)
            if step % 20 == 0:
                await asyncio.sleep(0)  # the other cases have deadlines
        await asyncio.sleep(_REPORTS_FRESH_S)  # what it tells is no longer of before

    def _driver(self) -> Miner:
        username, password = CREDENTIALS[self._case.family]
        address = self._farm.addresses[0]
        return build_miner(
            miner_id="m-1",
            index=0,
            model=self._model.name,
            firmware=self._case.family.value,
            host=address.host,
            port=address.port,
            web_port=address.web_port or 80,
            username=username,
            password=password,
            deadline_s=self._case.deadline_s,
        )

    async def _connections_left(self, not_ours: int) -> int:
        """Connections of ours that are open once everything but the kept ones had time to close."""
        kept = self._case.connections_kept
        until = self._loop.time() + _SOCKETS_GONE_WITHIN_S
        await asyncio.sleep(0.1)  # what is closing now is not kept
        left = self._connections() - not_ours
        while left > kept and self._loop.time() < until:
            await asyncio.sleep(0.05)
            left = self._connections() - not_ours
        return left

    def _connections(self) -> int:
        """Sockets of this process that are connected to the miner, or still trying to be."""
        # As Linux writes an address: the hexadecimal digits of a little-endian number.
        address = f"{int.from_bytes(bytes(map(int, self._host.split('.'))), 'little'):08X}"
        found = 0
        for line in Path("/proc/self/net/tcp").read_text(encoding="ascii").splitlines()[1:]:
            if address in line:
                _, _, remote, state, _, _, _, _, _, inode, *_ = line.split()
                found += remote.startswith(address) and state in _OPEN and inode != "0"  # 0: nobody holds it any more
        return found


def _own_host() -> str:
    """An address of this machine that no other case uses: ports that close and open again meet nobody else's."""
    number = next(_hosts) % (1 << 20) + (1 << 20)
    return f"127.{number >> 16}.{number >> 8 & 255}.{number & 255}"


def _writing_for(seconds: float) -> Builder:
    """Builds a stock Antminer that takes so long over a write."""

    def build(order: BuildOrder) -> Built:
        traits = StockTraits(write_s=seconds)
        firmware = AntminerStock(order.bank, order.miner, host=order.host, on_record=order.on_record, traits=traits)
        return Built(firmware, antminer_site(firmware), needs_web=True)

    return build


def _noted(
    loop: asyncio.AbstractEventLoop, coro: Coroutine[Any, Any, Any] | Generator[Any, None, Any], **more: Any
) -> asyncio.Task[Any]:
    """A task, noted by the case it was started in."""
    task = asyncio.Task(coro, loop=loop, **more)
    started = _started.get()
    if started is not None:
        started.add(task)
    return task
