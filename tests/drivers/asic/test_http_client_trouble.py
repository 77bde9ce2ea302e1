"""The keep-alive web client in trouble: errors by name, nothing left open, and writes that take long."""

from __future__ import annotations

import asyncio

import pytest

from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient
from drivers.asic.transport import BadAnswerError, NoAnswerError, NotConnectedError
from tests.drivers.asic.antminer.answers import RESET
from tests.drivers.asic.antminer.answers import http as answer
from tests.drivers.asic.antminer.script import PASSWORD, scripted, until
from tests.drivers.asic.web_scene import CONF, SET, raises, scene, soon


async def test_a_refused_port_is_not_connected() -> None:
    async with scripted() as script:
        port = script.web_port
    client = HttpClient("127.0.0.1", port, Digest("root", "root"))
    await raises(client.get(CONF, give_up_at=soon()), NotConnectedError)
    await raises(client.post_json(SET, b"{}", give_up_at=soon()), NotConnectedError)


async def test_without_time_nothing_is_sent() -> None:
    async with scene() as (script, client):
        await raises(client.post_json(SET, b"{}", give_up_at=soon(-1.0)), NotConnectedError)
        assert script.web_connections == 0


async def test_silence_ends_at_the_deadline_and_the_socket_with_it() -> None:
    async with scene() as (script, client):
        script.web["get_miner_conf"] = None
        began = asyncio.get_running_loop().time()
        with pytest.raises(NoAnswerError, match="within the deadline"):
            await client.get(CONF, give_up_at=began + 0.2)
        assert asyncio.get_running_loop().time() - began < 1.0
        await until(lambda: script.open_now == 0)


async def test_an_answer_that_trickles_ends_at_the_deadline_all_the_same() -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + b"x" * 500:
            if writer.is_closing():
                break
            writer.write(bytes([byte]))
            await asyncio.sleep(0.005)
        writer.close()
        over.set()

    over = asyncio.Event()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    client = HttpClient("127.0.0.1", server.sockets[0].getsockname()[1], Digest("root", "root"))
    began = asyncio.get_running_loop().time()
    await raises(client.get(CONF, give_up_at=began + 0.3), NoAnswerError)
    assert asyncio.get_running_loop().time() - began < 1.5
    server.close()
    await asyncio.wait_for(over.wait(), 5.0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01", b"no http at all\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
async def test_garbage_is_a_bad_answer(garbage: bytes) -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["get_miner_conf"] = garbage
        await raises(client.get(CONF, give_up_at=soon()), BadAnswerError)


async def test_a_cancelled_call_leaves_no_socket_and_the_next_one_works() -> None:
    async with scene() as (script, client):
        script.web["get_miner_conf"] = None
        call = asyncio.create_task(client.get(CONF, give_up_at=soon()))
        await until(lambda: script.names)
        call.cancel()
        script.web["get_miner_conf"] = {}
        assert (await client.get(CONF, give_up_at=soon())).status == 200  # while the cancelled one still folds up
        await asyncio.wait([call])
        assert call.cancelled()
        await until(lambda: script.open_now == 1)


async def test_a_call_cancelled_while_it_connects_leaves_no_socket() -> None:
    async with scene() as (script, client):
        call = asyncio.create_task(client.get(CONF, give_up_at=soon()))
        await asyncio.sleep(0)
        call.cancel()
        await asyncio.wait([call])
        await until(lambda: script.open_now == 0)


async def test_faults_leave_nothing_open() -> None:
    async with scene() as (script, client):
        for fault in (RESET, b"garbage", None, answer(200, b"{}")[:-1]):
            script.web["get_miner_conf"] = fault
            for _ in range(10):
                await raises(
                    client.get(CONF, give_up_at=soon(0.02)), (NoAnswerError, BadAnswerError, NotConnectedError)
                )
        await until(lambda: script.open_now == 0)


async def test_a_late_posts_connection_is_left_to_its_answer() -> None:
    """A web server may kill the script behind a connection that closes."""
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = None
        await raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon(0.1)), NoAnswerError)
        assert script.open_now == 1
        assert (await client.get(CONF, give_up_at=soon())).status == 200
        assert script.open_now == 2
        client.close()
        await until(lambda: script.open_now == 0)


async def test_a_late_posts_connection_ends_with_its_answer() -> None:
    released = asyncio.Event()

    async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        await released.wait()
        writer.write(answer(200, b"{}"))
        await reader.read()
        closed.set()
        writer.close()

    closed = asyncio.Event()
    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    client = HttpClient("127.0.0.1", server.sockets[0].getsockname()[1], Digest("root", "root"))
    await raises(client.post_json(SET, b"", give_up_at=soon(0.1)), NoAnswerError)
    assert not closed.is_set()
    released.set()
    await asyncio.wait_for(closed.wait(), 3.0)
    server.close()


async def test_of_several_late_posts_only_the_last_keeps_its_connection() -> None:
    async with scene() as (script, client):
        script.web["set_miner_conf"] = None
        for _ in range(5):
            await client.get(CONF, give_up_at=soon())
            await raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon(0.05)), NoAnswerError)
        await until(lambda: script.open_now == 1)
        assert len(script.written) == 5
        client.close()
        await until(lambda: script.open_now == 0)


async def test_a_late_posts_connection_is_not_kept_for_ever() -> None:
    async with scripted() as script:
        client = HttpClient("127.0.0.1", script.web_port, Digest("root", PASSWORD), late_s=0.2)
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = None
        await raises(client.post_json(SET, b"{}", give_up_at=soon(0.1)), NoAnswerError)
        await until(lambda: script.open_now == 0)
