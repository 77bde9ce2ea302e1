"""The pyasic door and its transport: nothing left behind, nothing let through."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from controller.domain.fleet import CommandReport, Condition, MinerReading, Outcome
from drivers.asic.pyasic_miner import PyasicMiner, ReplyKind
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault

MINERS = 10
CALLS_EACH = 50


def open_files() -> int:
    """Descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_500_faulty_calls_leave_no_socket_and_no_task_behind(bench: Any) -> None:
    await bench.ours.read()  # what a first call opens once, it may keep
    files, tasks = open_files(), asyncio.all_tasks()
    outcomes: set[object] = set()
    async with MinerFarm(FleetSpec(models=[MODELS["s19kpro"]] * MINERS, seed=1)) as farm:
        await asyncio.gather(*(_suffer(farm, index, bench, outcomes) for index in range(MINERS)))
    assert {Outcome.UNREACHABLE, Outcome.REFUSED, Condition.UNREACHABLE, Condition.UNKNOWN} <= outcomes
    await bench.until(lambda: open_files() <= files and not asyncio.all_tasks() - tasks)


async def _suffer(farm: MinerFarm, index: int, bench: Any, outcomes: set[object]) -> None:
    chance = random.Random(index)
    miner = bench.beside(*farm.addresses[index], deadline_s=0.03)
    commands = [bench.SLEEP, bench.SHED, bench.WAKE, bench.trim(3)]
    for _ in range(CALLS_EACH):
        faults = farm.faults[index]
        faults.clear()
        fault = chance.choice(sorted(set(Fault) - {Fault.STALE_SESSION}))
        faults.on(fault, 0.05 if fault is Fault.DELAY else None)
        answer: MinerReading | CommandReport
        answer = await (miner.read() if chance.random() < 0.3 else miner.perform(chance.choice(commands)))
        outcomes.add(answer.condition if isinstance(answer, MinerReading) else answer.outcome)
    faults.clear()
    await miner.close()


async def test_an_abandoned_read_closes_its_socket_at_once(script: Any) -> None:
    script.answers["power+summary+config"] = None
    reading = asyncio.create_task(script.ours(60.0).read())
    await script.until(lambda: script.connections == 1 and script.requests)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await script.until(lambda: script.connections == 0)  # the miner saw it go, long before any deadline


def door(port: int, host: str = "127.0.0.1", family: str = "LUX_OS", model: str = "Antminer S19k Pro") -> PyasicMiner:
    """A door without a driver behind it."""
    return PyasicMiner(family=family, model=model, host=host, port=port, username="admin", password="secret")


async def test_a_call_cancelled_in_the_moment_it_fails_leaves_no_complaint_behind() -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        wire = door(nobody_listens.getsockname()[1])
        for turns in range(12):  # one of them is the very turn in which the refusal arrives
            call = asyncio.create_task(wire.send("config", session=None, deadline_s=1.0))
            for _ in range(turns):
                await asyncio.sleep(0)
            call.cancel()
            await asyncio.wait({call})
            del call
            gc.collect()
    assert complaints == []


async def test_no_time_left_sends_nothing(script: Any) -> None:
    reply = await door(script.port).send("config", session=None, deadline_s=0.0)
    assert (reply.kind, script.requests) == (ReplyKind.NOT_SENT, [])


async def test_whatever_the_library_raises_comes_back_as_a_malformed_reply(script: Any) -> None:
    reply = await door(script.port).send("curtail", 7, session="mine", deadline_s=1.0)  # type: ignore[arg-type]  # on purpose
    assert reply.kind is ReplyKind.MALFORMED
    assert reply.detail.startswith("TypeError: ")


async def test_two_calls_at_once_keep_their_own_deadlines(script: Any) -> None:
    script.answers["power"] = None
    wire = door(script.port)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    short, long = await asyncio.gather(
        wire.send("power", session=None, deadline_s=0.2), wire.send("config", session=None, deadline_s=60.0)
    )
    assert (short.kind, long.kind) == (ReplyKind.NO_ANSWER, ReplyKind.ACCEPTED)
    assert loop.time() - started_at < 30.0


async def test_a_host_that_swallows_the_connection_attempt_is_not_sent_within_the_deadline() -> None:
    # A listener whose queue is full answers no connection attempt, as a miner behind a dead switch port.
    with _full_listener() as port:
        reply = await door(port).send("config", session=None, deadline_s=0.25)
    assert (reply.kind, reply.detail) == (ReplyKind.NOT_SENT, "no connection within 0.25 s")


class _full_listener:  # noqa: N801  # a context manager, used like a function
    def __enter__(self) -> int:
        import socket

        self._listener = socket.create_server(("127.0.0.1", 0), backlog=0)
        port = int(self._listener.getsockname()[1])
        self._waiting = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            self._waiting.append(client)
        return port

    def __exit__(self, *_: object) -> None:
        for sock in (*self._waiting, self._listener):
            sock.close()


def test_a_host_name_and_an_unknown_family_are_refused_when_the_miner_is_built() -> None:
    with pytest.raises(ValueError, match="miner-7"):
        door(1, host="miner-7.example")
    with pytest.raises(ValueError, match="NO_SUCH"):
        door(1, family="NO_SUCH")


async def test_a_model_pyasic_does_not_list_speaks_its_familys_wire(script: Any) -> None:
    reply = await door(script.port, model="Antminer S99").send("config", session=None, deadline_s=60.0)
    assert reply.kind is ReplyKind.ACCEPTED


def test_importing_pyasic_leaves_the_applications_logging_alone() -> None:
    code = """
import logging
root = logging.getLogger()
root.setLevel(logging.INFO)
from drivers.asic import luxos, pyasic_miner
import sys
assert "pyasic" not in sys.modules, "imported before a miner was built"
pyasic_miner.import_factory()
assert "pyasic" in sys.modules
print(root.level, root.handlers, logging.getLogger("asyncssh").level)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("20 [] 0\n", "")
