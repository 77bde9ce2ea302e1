"""How the client lives with a connection that comes and goes, and that it leaves nothing behind."""

from __future__ import annotations

import asyncio
import gc
import socket
from collections.abc import Callable

import pytest

from controller.domain.metering import MeterFault
from drivers.modbus.client import Backoff, RegisterClient
from drivers.modbus.maps.model import Function
from tests.drivers.modbus.conftest import Connect
from tests.drivers.modbus.modbus_peer import (
    Peer,
    Request,
    answer,
    eventually,
    fault_of,
    free_port,
    read_four,
    read_until,
    reset,
    saying,
    stay_silent,
)


async def test_a_refused_first_connect_is_told_and_tried_again_until_the_peer_appears(connect: Connect) -> None:
    peer = Peer(port=free_port())
    client = connect(peer.port)
    assert await fault_of(client) is MeterFault.REFUSED
    await peer.listen()
    await read_until(client, None)
    assert peer.connections == 1
    await peer.stop()


async def test_while_disconnected_a_read_fails_at_once(connect: Connect) -> None:
    client = connect(free_port(), deadline_s=30.0)
    assert await fault_of(client) is MeterFault.REFUSED
    async with asyncio.timeout(5.0):
        for _ in range(200):
            assert await fault_of(client) is MeterFault.REFUSED


async def test_the_client_comes_back_by_itself_after_an_outage(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port)
    await read_four(client)
    await peer.stop()
    await read_until(client, MeterFault.REFUSED)
    await peer.listen()
    await read_until(client, None)
    assert peer.connections == 2


async def test_a_connection_lost_between_reads_is_seen_without_a_read(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port)
    await read_four(client)
    for writer in list(peer.writers):
        reset(writer)
    await eventually(lambda: peer.connections == 2)
    assert len(peer.requests) == 1


async def test_a_connection_attempt_that_nobody_answers_is_bounded_by_its_own_deadline(connect: Connect) -> None:
    async with full_backlog() as port:
        client = connect(port, deadline_s=30.0, connect_deadline_s=0.1)
        async with asyncio.timeout(10.0):
            assert await fault_of(client) is MeterFault.DISCONNECTED


class full_backlog:  # noqa: N801  # reads as a verb in `async with`
    """A listening socket that takes no more: further SYNs are dropped, as behind a firewall that drops."""

    async def __aenter__(self) -> int:
        self._sockets = [socket.socket()]
        listener = self._sockets[0]
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        port: int = listener.getsockname()[1]
        for _ in range(8):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", port))
            self._sockets.append(filler)
        await asyncio.sleep(0.01)
        return port

    async def __aexit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()


async def test_the_first_read_waits_for_the_first_attempt_no_longer_than_its_deadline(connect: Connect) -> None:
    async with full_backlog() as port:
        client = connect(port, deadline_s=0.1, connect_deadline_s=30.0)
        assert await fault_of(client) is MeterFault.TIMEOUT


async def test_many_reads_at_once_go_out_one_at_a_time_over_one_connection(peer: Peer, connect: Connect) -> None:
    in_flight: list[int] = []
    most = 0

    async def slowly(request: Request, writer: asyncio.StreamWriter) -> None:
        nonlocal most
        in_flight.append(request.transaction)
        most = max(most, len(in_flight), int(has_unread(writer)) + 1)
        await asyncio.sleep(0.002)
        in_flight.remove(request.transaction)
        writer.write(request.good())

    peer.respond = slowly
    client = connect(peer.port)
    replies = await asyncio.gather(*(client.read(Function.HOLDING, first, 2) for first in range(40)))
    assert replies == [(100 + first, 101 + first) for first in range(40)]
    assert (most, peer.connections) == (1, 1)


def has_unread(writer: asyncio.StreamWriter) -> bool:
    """Whether a further request already lies in the peer's buffer."""
    return bool(writer.transport.get_protocol()._stream_reader._buffer)


async def test_reads_that_queue_on_a_dead_link_all_end_within_one_deadline(peer: Peer, connect: Connect) -> None:
    peer.respond = stay_silent
    client = connect(peer.port, deadline_s=0.3)
    loop = asyncio.get_running_loop()
    began = loop.time()
    faults = await asyncio.gather(*(fault_of(client) for _ in range(5)))
    assert set(faults) <= {MeterFault.TIMEOUT, MeterFault.DISCONNECTED}
    assert loop.time() - began < 0.3 * 4  # one after the other they would need five deadlines


async def test_close_during_a_read_ends_it_at_once(peer: Peer, connect: Connect) -> None:
    peer.respond = stay_silent
    client = connect(peer.port, deadline_s=30.0)
    reading = asyncio.create_task(fault_of(client))
    await eventually(lambda: len(peer.requests) == 1)
    await client.close()
    async with asyncio.timeout(5.0):
        assert await reading is MeterFault.DISCONNECTED
    await client.close()
    assert await fault_of(client) is MeterFault.DISCONNECTED


async def test_a_cancelled_read_leaves_the_connection_usable(peer: Peer, connect: Connect) -> None:
    peer.respond = stay_silent
    client = connect(peer.port)
    reading = asyncio.create_task(read_four(client))
    await eventually(lambda: len(peer.requests) == 1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    peer.respond = answer
    assert await read_four(client) == (110, 111, 112, 113)
    assert peer.connections == 1


async def test_two_hundred_faulty_reads_leave_no_socket_and_no_task(
    peer: Peer, connect: Connect, open_files: Callable[[], int]
) -> None:
    client = connect(peer.port, deadline_s=0.02)
    await read_four(client)
    await asyncio.sleep(0)
    files, tasks = open_files(), len(asyncio.all_tasks())

    async def rst(request: Request, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    faulty = [rst, stay_silent, saying(lambda _: b"\xff" * 40), saying(lambda r: r.frame(b"\x83\x04"))]
    seen = set()
    for number in range(200):
        peer.respond = faulty[number // 2 % len(faulty)]
        seen.add(await fault_of(client))
        await asyncio.sleep(0.004)
    assert {MeterFault.TIMEOUT, MeterFault.DISCONNECTED, MeterFault.WRONG_REPLY} <= seen
    peer.respond = answer
    await read_until(client, None)
    await eventually(lambda: peer.open_connections == 1)
    gc.collect()
    assert (open_files(), len(asyncio.all_tasks())) == (files, tasks)
    await client.close()
    await eventually(lambda: peer.open_connections == 0)
    assert open_files() == files - 2  # our end and the peer's


def test_the_pause_between_attempts_doubles_up_to_its_bound_and_is_cut_at_random() -> None:
    backoff = Backoff(first_s=0.1, longest_s=2.0)
    for failures, full_s in ((1, 0.1), (2, 0.2), (3, 0.4), (6, 2.0), (10_000, 2.0)):
        pauses = {backoff.pause_s(failures) for _ in range(50)}
        assert all(full_s / 2 <= pause <= full_s for pause in pauses)
        assert len(pauses) > 1


async def test_a_peer_that_accepts_and_hangs_up_is_called_less_and_less_often() -> None:
    peer = Peer(greeting=b"go away, now")
    await peer.listen()
    client = RegisterClient(
        meter_id="poi",
        host="127.0.0.1",
        port=peer.port,
        unit_id=1,
        deadline_s=5.0,
        connect_deadline_s=5.0,
        backoff=Backoff(first_s=0.01, longest_s=60.0),
    )
    await fault_of(client)
    await asyncio.sleep(0.25)
    await client.close()
    await peer.stop()
    assert 2 <= peer.connections <= 7  # pauses of at least 5, 10, 20, 40, 80, 160 ms; without growth it would be 30


@pytest.mark.parametrize(
    "wrong",
    [{"unit_id": 256}, {"unit_id": -1}, {"deadline_s": 0.0}, {"connect_deadline_s": -1.0}],
)
async def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    settings = {"unit_id": 1, "deadline_s": 1.0, "connect_deadline_s": 1.0} | wrong
    with pytest.raises(ValueError, match="poi"):
        RegisterClient(meter_id="poi", host="127.0.0.1", port=502, backoff=Backoff(0.1, 1.0), **settings)


@pytest.mark.parametrize(("first_s", "longest_s"), [(0.0, 1.0), (2.0, 1.0), (-1.0, 1.0)])
def test_a_back_off_that_cannot_grow_is_refused(first_s: float, longest_s: float) -> None:
    with pytest.raises(ValueError, match="first_s"):
        Backoff(first_s, longest_s)
