"""Everything a Modbus peer can do wrong on the wire, and what the client makes of it."""

from __future__ import annotations

import asyncio
import logging
import struct

import pytest

from controller.domain.metering import MeterError, MeterFault
from drivers.modbus.maps.model import Function
from tests.drivers.modbus.conftest import Connect
from tests.drivers.modbus.modbus_peer import (
    Peer,
    Request,
    answer,
    eventually,
    read_four,
    read_until,
    reset,
    saying,
    stay_silent,
)

GOOD = tuple(range(110, 114))


def exception(code: int):
    return saying(lambda request: request.frame(bytes((request.function | 0x80, code))))


def pdu(octets: bytes):
    return saying(lambda request: request.frame(octets))


def other_function(request: Request) -> bytes:
    return request.frame(bytes((4, 8)) + request.data())


def fewer_registers(request: Request) -> bytes:
    return request.frame(bytes((request.function, 6)) + request.data()[:6])


def more_registers(request: Request) -> bytes:
    return request.frame(bytes((request.function, 10)) + request.data() + b"\0\0")


def lying_byte_count(request: Request) -> bytes:
    return request.frame(bytes((request.function, 250)) + request.data())


def transaction_zero(request: Request) -> bytes:
    return request.frame(bytes((request.function, 8)) + request.data(), transaction=0)


async def close_cleanly(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.close()


async def reset_connection(request: Request, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def half_then_close(request: Request, writer: asyncio.StreamWriter) -> None:
    writer.write(request.good()[:9])
    await writer.drain()
    writer.close()


AT_ONCE = {
    "exception 1, illegal function": (exception(1), MeterFault.CONFIGURATION),
    "exception 2, illegal address or blocked by security": (exception(2), MeterFault.CONFIGURATION),
    "exception 3, illegal value": (exception(3), MeterFault.CONFIGURATION),
    "exception 4, device failure": (exception(4), MeterFault.DEVICE_EXCEPTION),
    "exception 5, acknowledge": (exception(5), MeterFault.DEVICE_EXCEPTION),
    "exception 6, busy": (exception(6), MeterFault.DEVICE_EXCEPTION),
    "exception 10, gateway path": (exception(10), MeterFault.DEVICE_EXCEPTION),
    "exception 11, gateway target": (exception(11), MeterFault.DEVICE_EXCEPTION),
    "exception 99, in no standard": (exception(99), MeterFault.DEVICE_EXCEPTION),
    "exception of another function": (pdu(b"\x84\x02"), MeterFault.WRONG_REPLY),
    "exception with too many octets": (pdu(b"\x83\x02\x00"), MeterFault.WRONG_REPLY),
    "another function code": (saying(other_function), MeterFault.WRONG_REPLY),
    "unknown function code": (pdu(b"\x5a\x01\x02"), MeterFault.WRONG_REPLY),
    "fewer registers than asked": (saying(fewer_registers), MeterFault.WRONG_REPLY),
    "more registers than asked": (saying(more_registers), MeterFault.WRONG_REPLY),
    "byte count that lies": (saying(lying_byte_count), MeterFault.WRONG_REPLY),
    "transaction id 0": (saying(transaction_zero), MeterFault.WRONG_REPLY),
    "garbage": (saying(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n"), MeterFault.WRONG_REPLY),
    "garbage before a good frame": (saying(lambda r: b"\x12\x34\x56" + r.good()), MeterFault.WRONG_REPLY),
    "200 octets of 0xFF": (saying(lambda _: b"\xff" * 200), MeterFault.WRONG_REPLY),
    "length field 0": (saying(lambda r: r.good()[:4] + b"\0\0" + r.good()[6:]), MeterFault.WRONG_REPLY),
    "FIN during the request": (close_cleanly, MeterFault.DISCONNECTED),
    "RST during the request": (reset_connection, MeterFault.DISCONNECTED),
    "half a frame and FIN": (half_then_close, MeterFault.DISCONNECTED),
}


@pytest.mark.parametrize("case", AT_ONCE)
async def test_a_fault_that_shows_is_told_long_before_the_deadline(case: str, peer: Peer, connect: Connect) -> None:
    peer.respond, fault = AT_ONCE[case]
    client = connect(peer.port, deadline_s=30.0)
    async with asyncio.timeout(10.0):
        with pytest.raises(MeterError) as raised:
            await read_four(client)
    assert raised.value.fault is fault
    assert "poi at 127.0.0.1" in raised.value.detail


@pytest.mark.parametrize("case", AT_ONCE)
async def test_good_data_flow_again_after_the_fault_ends(case: str, peer: Peer, connect: Connect) -> None:
    peer.respond, _ = AT_ONCE[case]
    client = connect(peer.port)
    with pytest.raises(MeterError):
        await read_four(client)
    peer.respond = answer
    await read_until(client, None)
    assert await read_four(client) == GOOD


TIME_OUT = {
    "silence": stay_silent,
    "another unit's reply": saying(lambda r: r.frame(bytes((3, 8)) + r.data(), unit_id=8)),
    "another transaction's reply": saying(lambda r: r.frame(bytes((3, 8)) + r.data(), transaction=r.transaction + 9)),
    "half a frame": saying(lambda r: r.good()[:9]),
    "more octets at once than the library keeps": saying(lambda _: b"\xff" * 300),
    "fewer octets than a header": saying(lambda r: r.good()[:3]),
}


@pytest.mark.parametrize("case", TIME_OUT)
async def test_no_usable_reply_ends_at_our_own_deadline(case: str, peer: Peer, connect: Connect) -> None:
    peer.respond = TIME_OUT[case]
    client = connect(peer.port, deadline_s=0.1)
    loop = asyncio.get_running_loop()
    began = loop.time()
    with pytest.raises(MeterError) as raised:
        await read_four(client)
    assert raised.value.fault is MeterFault.TIMEOUT
    assert 0.09 <= loop.time() - began < 10.0
    peer.respond = answer
    await read_until(client, None)
    assert await read_four(client) == GOOD


async def test_who_answers_in_place_of_the_meter_is_named_until_it_is_silent_again(
    peer: Peer, connect: Connect
) -> None:
    peer.respond = saying(lambda r: r.frame(bytes((3, 8)) + r.data(), unit_id=8))
    client = connect(peer.port, deadline_s=0.1)
    with pytest.raises(MeterError, match="unit 8 answered instead: check unit_id"):
        await read_four(client)
    peer.respond = stay_silent
    with pytest.raises(MeterError) as raised:
        await read_four(client)
    assert "instead" not in raised.value.detail


@pytest.mark.parametrize("code", [2, 6, 11])
async def test_a_device_exception_keeps_the_connection(code: int, peer: Peer, connect: Connect) -> None:
    client = connect(peer.port)
    peer.respond = exception(code)
    for _ in range(5):
        with pytest.raises(MeterError):
            await read_four(client)
    peer.respond = answer
    assert await read_four(client) == GOOD
    assert peer.connections == 1


async def test_a_reply_of_the_wrong_shape_drops_the_connection(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port)
    peer.respond = saying(fewer_registers)
    with pytest.raises(MeterError):
        await read_four(client)
    peer.respond = answer
    await read_until(client, None)
    assert peer.connections == 2


async def test_one_time_out_keeps_the_connection_and_the_second_in_a_row_drops_it(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port, deadline_s=0.08)
    for _ in range(2):  # time-outs with a good reply between them are never two in a row
        peer.respond = stay_silent
        with pytest.raises(MeterError):
            await read_four(client)
        peer.respond = answer
        assert await read_four(client) == GOOD
    assert peer.connections == 1
    peer.respond = stay_silent
    for _ in range(2):
        with pytest.raises(MeterError) as raised:
            await read_four(client)
        assert raised.value.fault is MeterFault.TIMEOUT
    await eventually(lambda: peer.connections == 2)


async def test_a_late_reply_is_not_taken_for_the_next_one(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port, deadline_s=0.1)
    peer.respond = stay_silent
    with pytest.raises(MeterError):
        await client.read(Function.HOLDING, 50, 4)

    async def late_then_right(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(peer.requests[-2].good() + request.good())

    peer.respond = late_then_right
    assert await read_four(client) == GOOD
    assert peer.connections == 1


async def test_a_late_reply_of_another_length_is_skipped_and_not_held_against_the_peer(
    peer: Peer, connect: Connect
) -> None:
    client = connect(peer.port, deadline_s=0.1)
    peer.respond = stay_silent
    with pytest.raises(MeterError):
        await client.read(Function.INPUT, 50, 20)

    async def late_then_right(request: Request, writer: asyncio.StreamWriter) -> None:
        writer.write(peer.requests[-2].good())
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(request.good())

    peer.respond = late_then_right
    assert await read_four(client) == GOOD


async def test_octets_that_come_one_by_one_make_a_good_reply(peer: Peer, connect: Connect) -> None:
    async def dribble(request: Request, writer: asyncio.StreamWriter) -> None:
        for octet in request.good():
            writer.write(bytes((octet,)))
            await writer.drain()
            await asyncio.sleep(0.001)

    peer.respond = dribble
    assert await read_four(connect(peer.port)) == GOOD


async def test_a_reply_sent_twice_is_taken_once(peer: Peer, connect: Connect) -> None:
    peer.respond = saying(lambda request: request.good() * 2)
    client = connect(peer.port)
    assert await read_four(client) == GOOD
    assert await client.read(Function.INPUT, 20, 2) == (120, 121)
    assert peer.connections == 1


async def test_a_peer_that_speaks_before_it_is_asked_is_hung_up_on(peer: Peer, connect: Connect) -> None:
    peer.greeting = b"220 mail.example ESMTP\r\n"
    client = connect(peer.port)
    with pytest.raises(MeterError):
        await read_four(client)
        await read_four(client)
    await eventually(lambda: peer.connections >= 2)


async def test_a_bad_reply_reaches_no_log_of_library_or_event_loop(
    peer: Peer, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    client = connect(peer.port, deadline_s=0.1)
    another = TIME_OUT["another transaction's reply"]
    with caplog.at_level(logging.DEBUG):
        for respond in (pdu(b"\x5a\x01\x02"), saying(lying_byte_count), saying(transaction_zero), another):
            peer.respond = respond
            with pytest.raises(MeterError):
                await read_four(client)
            peer.respond = answer
            await read_until(client, None)
    assert [record.message for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_the_request_on_the_wire_is_what_the_standard_says(peer: Peer, connect: Connect) -> None:
    client = connect(peer.port)
    await client.read(Function.HOLDING, 10, 4)
    await client.read(Function.INPUT, 0, 125)
    asked = [(r.unit_id, r.function, r.address, r.count) for r in peer.requests]
    assert asked == [(7, 3, 10, 4), (7, 4, 0, 125)]
    assert peer.requests[0].transaction != peer.requests[1].transaction


@pytest.mark.parametrize(("address", "count"), [(0, 126), (0, 0), (70_000, 2)])
async def test_an_impossible_request_is_a_meter_error_too(
    address: int, count: int, peer: Peer, connect: Connect
) -> None:
    with pytest.raises(MeterError):
        await connect(peer.port).read(Function.HOLDING, address, count)


async def test_the_largest_block_arrives_whole(peer: Peer, connect: Connect) -> None:
    words = await connect(peer.port).read(Function.HOLDING, 0, 125)
    assert words == tuple(range(100, 225))
    assert struct.calcsize(f">{len(words)}H") == 250
