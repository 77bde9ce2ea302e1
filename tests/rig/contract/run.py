"""Run one case: simulated miner, fault, real driver, real core; returns the cell of the table and what was true."""

from __future__ import annotations

import asyncio
import math
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path

from controller.domain.fleet import Command, CommandReport, Condition, MinerReading, Outcome, Verb, Verdict
from drivers.catalog import Miner, build_miner, model_named
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family
from simulators.asic.spec import FleetSpec
from tests.rig.contract.belief import Belief, Core
from tests.rig.contract.scenes import DRIP_APART_S, FAULT_OF, Case, Scene

DEADLINE_S = 0.6
MODEL_OF = {Family.LUXOS: "s19kpro", Family.WHATSMINER: "m50s", Family.ANTMINER: "s19pro"}
KEPT_OPEN = {Family.ANTMINER: 1}  # the keep-alive connection to the web interface
CREDENTIALS = {
    Family.LUXOS: (None, None),
    Family.WHATSMINER: (None, "admin"),
    Family.ANTMINER: ("root", "root"),
}
RESPONSE_SCALE = 0.05  # what firmwares keep stale after a write, they keep for so much less
PHYSICS_S = 120.0
_PHYSICS_STEP_S = 0.5
_REPORTS_FRESH_S = 0.4
_SOCKETS_GONE_WITHIN_S = 1.0
_SYN_SENT, _CONNECTED = 2, {1, 8}  # as Linux counts TCP states: established, close wait


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell of the published table.

    outcome: what the driver reported. deadlines: within how many of its deadlines. reads: what the next read showed.
    verdict, believed: how the core judged the command in the end, and whether it then counts the miner as drawing.
    left: connections of ours still open afterwards.
    """

    outcome: Outcome
    deadlines: int
    reads: Condition
    verdict: Verdict
    counts_as: str
    left: int


@dataclass(frozen=True, slots=True)
class Proof:
    """A cell and the truth behind it, for the rules that hold whatever the table says."""

    cell: Cell
    report: CommandReport
    reading: MinerReading
    elapsed_s: float
    belief: Belief
    true_power_w: float
    nameplate_w: float
    tasks_left: int
    writes_received: int


async def prove(case: Case) -> Proof:
    """Meet one fault with one sleep command. Takes some seconds of real time where a deadline has to pass."""
    model = MODELS[MODEL_OF[case.family]]
    spec = FleetSpec(models=[model], seed=7, response_scale=[RESPONSE_SCALE])
    async with MinerFarm(spec) as farm:
        address = farm.addresses[0]
        username, password = CREDENTIALS[case.family]
        miner = build_miner(
            miner_id="m-1",
            index=0,
            model=model.name,
            firmware=case.family.value,
            host=address.host,
            port=address.port,
            web_port=address.web_port or 80,
            username=username,
            password=password,
            deadline_s=DEADLINE_S,
        )
        try:
            return await _meet(case, farm, miner)
        finally:
            farm.faults[0].clear()
            await miner.close()


async def _meet(case: Case, farm: MinerFarm, miner: Miner) -> Proof:
    loop = asyncio.get_running_loop()
    model = MODELS[MODEL_OF[case.family]]
    first = await miner.read()
    if case.scene is Scene.EXPIRED:  # credentials to lose
        await miner.perform(Command(1, 0, Verb.WAKE, None, raises=True, urgent=True, reason="contract"))
        first = await miner.read()
    core = Core(model_named(model.name, case.family.value), first, loop.time())
    tasks = asyncio.all_tasks()
    farm.miners[0].log.clear()
    stuffed = -_count_connections(farm)
    if case.scene in FAULT_OF:
        seconds = DRIP_APART_S if case.scene is Scene.DRIP else None
        farm.faults[0].on(FAULT_OF[case.scene], seconds)
    stuffed += _count_connections(farm)  # a port that swallows packets is full of connections of its own
    stuffed = max(stuffed, 0)
    command = core.order(loop.time(), urgent=case.urgent)
    began = loop.time()
    report = await miner.perform(command)
    elapsed_s = loop.time() - began
    _let_time_pass(farm)
    await asyncio.sleep(_REPORTS_FRESH_S)
    reading = await miner.read()
    truth_w = float(farm.bank.true_power_w[0])
    belief = core.in_the_end(began, report, reading)
    left = await _connections_left(farm, stuffed, KEPT_OPEN.get(case.family, 0))
    cell = Cell(
        report.outcome,
        max(1, math.ceil(elapsed_s / DEADLINE_S - 0.25)),
        reading.condition,
        belief.verdict,
        _counts_as(belief, model.sleep_power_w, model.nameplate.power_w),
        left,
    )
    started = {task for task in asyncio.all_tasks() - tasks if not task.done() and "simulators" not in repr(task)}
    writes = len(farm.miners[0].log.writes)
    return Proof(
        cell, report, reading, elapsed_s, belief, truth_w, float(model.nameplate.power_w), len(started), writes
    )


def _counts_as(belief: Belief, sleep_w: float, nameplate_w: float) -> str:
    """`asleep` or `drawing`: which of the two the watts counted for the miner are nearer to."""
    return "asleep" if belief.counted_w < (sleep_w + nameplate_w) / 2 else "drawing"


def _let_time_pass(farm: MinerFarm) -> None:
    """Minutes of the miner's life at once: its power goes where it is going, a reboot or a restart ends."""
    for _ in range(round(PHYSICS_S / _PHYSICS_STEP_S)):
        farm.bank.step(_PHYSICS_STEP_S)


async def _connections_left(farm: MinerFarm, not_ours: int, kept: int) -> int:
    """Connections of ours to the miner that are open once everything but the `kept` ones had time to close."""
    until = asyncio.get_running_loop().time() + _SOCKETS_GONE_WITHIN_S
    await asyncio.sleep(0.1)  # what is closing now is not kept
    left = _count_connections(farm) - not_ours
    while left > kept and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0.05)
        left = _count_connections(farm) - not_ours
    return left


def _count_connections(farm: MinerFarm) -> int:
    """Sockets of this process that are connected to the miner, or still trying to be to anybody."""
    ports = {farm.addresses[0].port, farm.addresses[0].web_port}
    return sum(1 for entry in Path("/proc/self/fd").iterdir() if _is_ours(int(entry.name), ports))


def _is_ours(descriptor: int, ports: set[int | None]) -> bool:
    try:
        if not stat.S_ISSOCK(os.fstat(descriptor).st_mode):
            return False
        with socket.socket(fileno=os.dup(descriptor)) as sock:
            if sock.family is not socket.AF_INET or sock.type is not socket.SOCK_STREAM:
                return False
            state = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            return state == _SYN_SENT or (state in _CONNECTED and sock.getpeername()[1] in ports)
    except OSError:  # closed in this very moment
        return False
