"""The wire under every miner: nothing left behind, nothing let through."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, MinerReading
from drivers.asic.profiles import ModelFacts, all_facts
from drivers.asic.pyasic_miner import import_factory
from drivers.asic.rpc import ReplyKind, RpcWire
from drivers.asic.transport import NotConnectedError, exchange
from drivers.catalog import Miner, build_miner
from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS, Family
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, until
from tests.rig.contract.run import CREDENTIALS, MODEL_OF

MINERS = 10
CALLS_EACH = 50
DEADLINE_S = 0.05
SECONDS = {Fault.DELAY: 0.07, Fault.DRIP: 0.001}  # an answer that meets the next call; one that is whole in time
OVER_HTTP = {Fault.HTTP_401, Fault.HTTP_403, Fault.HTTP_500}
NEVER_OF = {
    Family.LUXOS: OVER_HTTP | {Fault.WRONG_PASSWORD, Fault.TOKENS_FULL},
    Family.WHATSMINER: OVER_HTTP,
    Family.ANTMINER: {Fault.TOKENS_FULL},
}
TRIM = Command(44, 0, Verb.TRIM, 3, raises=False, urgent=False, reason="test")
REQUEST = b'{"command": "config"}'


def open_files() -> int:
    """Descriptors of this process."""
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.parametrize("family", Family)
async def test_500_mixed_faulty_calls_leave_no_socket_and_no_task_behind(family: Family) -> None:
    models = [MODELS[MODEL_OF[family]]] * MINERS
    spec = FleetSpec(models=models, seed=1, response_scale=[0.001] * MINERS)  # a reboot is over before the next call
    outcomes: set[object] = set()
    async with MinerFarm(spec) as farm:
        files, tasks = open_files(), asyncio.all_tasks()  # the miners' ends of all connections are among them
        await asyncio.gather(*(_suffer(farm, family, index, outcomes) for index in range(MINERS)))
        # A web server closes what was left open after 5 s; by then it has to be gone.
        await until(lambda: open_files() <= files and not asyncio.all_tasks() - tasks, within_s=4.0)
    assert {Outcome.REFUSED, Outcome.UNKNOWN, Condition.UNREACHABLE, Condition.UNKNOWN, Condition.HASHING} <= outcomes


async def _suffer(farm: MinerFarm, family: Family, index: int, outcomes: set[object]) -> None:
    chance = random.Random(index)
    miner, faults = _impatient(farm, family, index), farm.faults[index]
    own = sorted(set(Fault) - NEVER_OF[family])
    commands = [SLEEP, SHED, WAKE, *([] if family is Family.ANTMINER else [TRIM])]
    for _ in range(CALLS_EACH):
        faults.clear()
        fault = chance.choice(own)
        faults.on(fault, SECONDS.get(fault))
        answer: MinerReading | CommandReport
        answer = await (miner.read() if chance.random() < 0.3 else miner.perform(chance.choice(commands)))
        outcomes.add(answer.condition if isinstance(answer, MinerReading) else answer.outcome)
    faults.clear()
    await miner.close()


def _impatient(farm: MinerFarm, family: Family, index: int) -> Miner:
    """Our driver with a short deadline and no budget."""
    address = farm.addresses[index]
    username, password = CREDENTIALS[family]
    return build_miner(
        miner_id=f"m-{index}",
        index=index,
        model=MODELS[MODEL_OF[family]].name,
        firmware=family.value,
        host=address.host,
        port=address.port,
        web_port=address.web_port or 80,
        username=username,
        password=password,
        deadline_s=DEADLINE_S,
        writes_per_day=10_000,
    )


async def test_an_abandoned_read_closes_its_socket_at_once(script: Any) -> None:
    script.answers["power+summary+config"] = None
    reading = asyncio.create_task(script.ours(60.0).read())
    await script.until(lambda: script.connections == 1 and script.requests)
    reading.cancel()
    await asyncio.wait({reading})
    assert reading.cancelled()
    await script.until(lambda: script.connections == 0)  # the miner saw it go, long before any deadline


@contextmanager
def only_what_comes_is_collected() -> Iterator[None]:
    """A collection walks what is made from here on, and not all that other tests left in memory."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


async def test_a_call_cancelled_in_the_moment_it_ends_leaves_no_complaint_and_no_socket_behind(script: Any) -> None:
    complaints: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: complaints.append(context["message"]))
    files = open_files()
    with socket.socket() as nobody_listens, only_what_comes_is_collected():
        nobody_listens.bind(("127.0.0.1", 0))
        for port in (nobody_listens.getsockname()[1], script.port):
            for turns in range(12):  # one of them is the very turn in which the refusal, or the answer, arrives
                call = asyncio.create_task(RpcWire(host="127.0.0.1", port=port).send("config", deadline_s=1.0))
                for _ in range(turns):
                    await asyncio.sleep(0)
                call.cancel()
                await asyncio.wait({call})
                del call
                gc.collect()
    await script.until(lambda: script.connections == 0 and open_files() <= files)
    assert complaints == []


async def test_a_call_given_up_in_the_moment_it_connects_sends_nothing(script: Any) -> None:
    loop = asyncio.get_running_loop()
    call = asyncio.create_task(exchange("127.0.0.1", script.port, REQUEST, deadline_s=5.0))
    await asyncio.sleep(0)  # it has begun to connect
    loop.call_soon(call.cancel)
    time.sleep(0.05)  # noqa: ASYNC251  # connected meanwhile: the loop learns of both in the same turn
    await asyncio.wait({call})
    await script.until(lambda: script.seen == 1 and script.connections == 0)
    assert (call.cancelled(), script.requests) == (True, [])


async def test_no_time_left_sends_nothing(script: Any) -> None:
    reply = await RpcWire(host="127.0.0.1", port=script.port).send("config", deadline_s=0.0)
    assert (reply.kind, script.requests) == (ReplyKind.NOT_SENT, [])


async def test_two_calls_at_once_keep_their_own_deadlines(script: Any) -> None:
    script.answers["power"] = None
    wire = RpcWire(host="127.0.0.1", port=script.port)
    loop = asyncio.get_running_loop()
    started_at = loop.time()
    short, long = await asyncio.gather(wire.send("power", deadline_s=0.2), wire.send("config", deadline_s=60.0))
    assert (short.kind, long.kind) == (ReplyKind.NO_ANSWER, ReplyKind.ACCEPTED)
    assert loop.time() - started_at < 30.0


async def test_a_host_that_swallows_the_connection_attempt_is_not_sent_within_the_deadline() -> None:
    with full_listener() as port:
        reply = await RpcWire(host="127.0.0.1", port=port).send("config", deadline_s=0.25)
    assert (reply.kind, reply.detail) == (ReplyKind.NOT_SENT, "no connection within 0.25 s")


@contextmanager
def full_listener() -> Iterator[int]:
    """A listener whose queue is full answers no connection attempt, as a miner behind a dead switch port."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = int(listener.getsockname()[1])
    waiting = [socket.socket() for _ in range(4)]
    for client in waiting:
        client.setblocking(False)
        client.connect_ex(("127.0.0.1", port))
    try:
        yield port
    finally:
        for sock in (*waiting, listener):
            sock.close()


def test_a_host_name_is_refused_when_the_miner_is_built() -> None:
    with pytest.raises(ValueError, match="miner-7"):
        RpcWire(host="miner-7.example", port=4028)


async def test_a_miner_may_have_an_ipv6_address() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b'{"id":1}')
        writer.close()

    server = await asyncio.start_server(answer, "::1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert await exchange("::1", port, REQUEST, deadline_s=5.0) == {"id": 1}


async def test_out_of_descriptors_is_not_connected(script: Any) -> None:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken = os.open("/dev/null", os.O_RDONLY)  # the lowest free number: the limit goes right there
    os.close(taken)
    resource.setrlimit(resource.RLIMIT_NOFILE, (taken, hard))
    try:
        with pytest.raises(NotConnectedError, match="Too many open files"):
            await exchange("127.0.0.1", script.port, REQUEST, deadline_s=1.0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.parametrize("facts", all_facts().values(), ids=all_facts())
def test_pyasic_knows_every_model_on_file_by_the_name_we_have_for_it(facts: ModelFacts) -> None:
    factory = import_factory()
    assert facts.pyasic_model.upper() in factory.MINER_CLASSES[factory.MinerTypes[facts.pyasic_family]]


def test_importing_pyasic_leaves_the_applications_logging_alone() -> None:
    code = """
import logging
root = logging.getLogger()
root.setLevel(logging.INFO)
from drivers.asic import luxos, pyasic_miner
import sys
assert "pyasic" not in sys.modules, "imported before it was needed"
pyasic_miner.import_factory()
assert "pyasic" in sys.modules
print(root.level, root.handlers, logging.getLogger("asyncssh").level)
"""
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert (done.stdout, done.stderr) == ("20 [] 0\n", "")
