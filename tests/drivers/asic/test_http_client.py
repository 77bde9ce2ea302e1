"""The keep-alive web client: one connection and one nonce for many requests, and no write sent twice."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient, host_line
from drivers.asic.transport import BadAnswerError, NoAnswerError, NotConnectedError
from tests.drivers.asic.antminer.answers import RESET
from tests.drivers.asic.antminer.answers import http as answer
from tests.drivers.asic.antminer.script import PASSWORD, Script, scripted, until

CONF, SET = "/cgi-bin/get_miner_conf.cgi", "/cgi-bin/set_miner_conf.cgi"


def client_of(script: Script, password: str = PASSWORD) -> HttpClient:
    return HttpClient("127.0.0.1", script.web_port, Digest("root", password))


def soon(seconds: float = 3.0) -> float:
    return asyncio.get_running_loop().time() + seconds


@asynccontextmanager
async def scene(**given: Any) -> AsyncIterator[tuple[Script, HttpClient]]:
    async with scripted(**given) as script:
        client = client_of(script)
        yield script, client
        client.close()
        await until(lambda: script.open_now == 0)


# --- one connection, one nonce -------------------------------------------------------------------------------------


async def test_a_second_call_needs_one_request_on_the_same_connection() -> None:
    async with scene() as (script, client):
        assert (await client.get(CONF, give_up_at=soon())).status == 200
        assert len(script.requests) == 2  # the first one learns the challenge
        for _ in range(3):
            await client.get(CONF, give_up_at=soon())
        assert (len(script.requests), script.web_connections) == (5, 1)
        assert [request.credentials()["nc"] for request in script.requests[1:]] == [f"{n:08x}" for n in range(1, 5)]


async def test_the_body_of_a_post_arrives_and_its_answer_comes_back() -> None:
    async with scene() as (script, client):
        given = await client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon())
        assert b"M000" in given.body
        assert script.written == [{"miner-mode": 1}]
        assert script.requests[-1].headers["content-type"] == "application/json"


async def test_a_nonce_that_expired_costs_one_request_more() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.nonce = "another"
        assert (await client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon())).status == 200
        assert len(script.requests) == 4
        assert len(script.written) == 1


async def test_a_wrong_password_is_tried_once_more_with_the_new_challenge_and_no_further() -> None:
    async with scene() as (script, _):
        client = client_of(script, "wrong")
        assert (await client.get(CONF, give_up_at=soon())).status == 401
        assert len(script.requests) == 2
        client.close()


async def test_a_challenge_we_cannot_answer_is_handed_up() -> None:
    async with scene() as (script, client):
        script.challenge = 'Basic realm="antMiner Configuration"'
        assert (await client.get(CONF, give_up_at=soon())).status == 401
        assert len(script.requests) == 1


@pytest.mark.parametrize(
    ("host", "port", "line"),
    [
        ("127.0.0.1", 80, "Host: 127.0.0.1\r\n"),
        ("127.0.0.1", 8080, "Host: 127.0.0.1:8080\r\n"),
        ("::1", 80, "Host: [::1]\r\n"),
    ],
)
def test_the_host_names_its_port_unless_it_is_the_usual_one(host: str, port: int, line: str) -> None:
    assert host_line(host, port) == line


# --- connections that end ------------------------------------------------------------------------------------------


async def test_a_connection_the_miner_closed_meanwhile_is_replaced_unnoticed() -> None:
    async with scene() as (script, client):
        script.web["get_miner_conf"] = answer(200, b"{}", "Connection: close\r\n")
        for _ in range(3):
            assert (await client.get(CONF, give_up_at=soon())).status == 200
        assert script.web_connections == 3


async def test_a_connection_that_idled_long_is_not_trusted() -> None:
    async with scripted() as script:
        client = HttpClient("127.0.0.1", script.web_port, Digest("root", PASSWORD), kept_s=0.1)
        await client.get(CONF, give_up_at=soon())
        await client.get(CONF, give_up_at=soon())
        assert script.web_connections == 1
        await asyncio.sleep(0.15)
        await client.get(CONF, give_up_at=soon())
        assert script.web_connections == 2
        await until(lambda: script.open_now == 1)
        client.close()


async def test_a_get_on_a_connection_that_dies_unheard_is_sent_once_more() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["get_miner_conf"] = deque([RESET, {}])
        assert (await client.get(CONF, give_up_at=soon())).status == 200
        assert script.web_connections == 2
        assert script.names == ["get_miner_conf"] * 3


async def test_a_get_that_dies_on_a_fresh_connection_is_not_sent_again() -> None:
    async with scene() as (script, client):
        script.web["get_miner_conf"] = RESET
        with pytest.raises(NoAnswerError, match="without an answer"):
            await client.get(CONF, give_up_at=soon())
        first = script.web_connections
        await _raises(client.get(CONF, give_up_at=soon()), NoAnswerError)
        assert script.web_connections == first + 1


async def test_a_post_that_dies_unheard_is_never_sent_again() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = RESET
        await _raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon()), NoAnswerError)
        assert len(script.written) == 1


async def test_a_get_that_does_something_is_never_sent_again_either() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["reboot"] = RESET
        await _raises(client.get("/cgi-bin/reboot.cgi", give_up_at=soon(), once=True), NoAnswerError)
        assert script.names[1:] == ["reboot"]


async def test_a_get_that_was_heard_in_part_is_not_sent_again() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["get_miner_conf"] = answer(200, b"{}")[:-1]
        task = asyncio.create_task(client.get(CONF, give_up_at=soon(0.3)))
        await _raises(task, NoAnswerError)
        assert script.names == ["get_miner_conf"] * 2


async def test_bytes_nobody_asked_for_end_the_connection() -> None:
    async with scene() as (script, client):
        script.web["get_miner_conf"] = answer(200, b"{}") + answer(200, b'{"of":"nobody"}')
        assert (await client.get(CONF, give_up_at=soon())).body == b"{}"
        assert (await client.get(CONF, give_up_at=soon())).body == b"{}"
        assert script.web_connections == 2


async def test_overlapping_calls_have_a_connection_each_and_one_is_kept() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        both = await asyncio.gather(*(client.get(CONF, give_up_at=soon()) for _ in range(2)))
        assert [one.status for one in both] == [200, 200]
        await until(lambda: script.open_now == 1)


# --- errors --------------------------------------------------------------------------------------------------------


async def test_a_refused_port_is_not_connected() -> None:
    async with scripted() as script:
        port = script.web_port
    client = HttpClient("127.0.0.1", port, Digest("root", "root"))
    await _raises(client.get(CONF, give_up_at=soon()), NotConnectedError)
    await _raises(client.post_json(SET, b"{}", give_up_at=soon()), NotConnectedError)


async def test_without_time_nothing_is_sent() -> None:
    async with scene() as (script, client):
        await _raises(client.post_json(SET, b"{}", give_up_at=soon(-1.0)), NotConnectedError)
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
    await _raises(client.get(CONF, give_up_at=began + 0.3), NoAnswerError)
    assert asyncio.get_running_loop().time() - began < 1.5
    server.close()
    await asyncio.wait_for(over.wait(), 5.0)
    await asyncio.sleep(0)


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01", b"no http at all\r\n\r\n", b"HTTP/1.1 2x0 OK\r\n\r\n"])
async def test_garbage_is_a_bad_answer(garbage: bytes) -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["get_miner_conf"] = garbage
        await _raises(client.get(CONF, give_up_at=soon()), BadAnswerError)


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
                await _raises(
                    client.get(CONF, give_up_at=soon(0.02)), (NoAnswerError, BadAnswerError, NotConnectedError)
                )
        await until(lambda: script.open_now == 0)


# --- a write that takes long ---------------------------------------------------------------------------------------


async def test_a_late_posts_connection_is_left_to_its_answer() -> None:
    """A web server may kill the script behind a connection that closes."""
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = None
        await _raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon(0.1)), NoAnswerError)
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
    await _raises(client.post_json(SET, b"", give_up_at=soon(0.1)), NoAnswerError)
    assert not closed.is_set()
    released.set()
    await asyncio.wait_for(closed.wait(), 3.0)
    server.close()


async def test_of_several_late_posts_only_the_last_keeps_its_connection() -> None:
    async with scene() as (script, client):
        script.web["set_miner_conf"] = None
        for _ in range(5):
            await client.get(CONF, give_up_at=soon())
            await _raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon(0.05)), NoAnswerError)
        await until(lambda: script.open_now == 1)
        assert len(script.written) == 5
        client.close()
        await until(lambda: script.open_now == 0)


async def test_a_late_posts_connection_is_not_kept_for_ever() -> None:
    async with scripted() as script:
        client = HttpClient("127.0.0.1", script.web_port, Digest("root", PASSWORD), late_s=0.2)
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = None
        await _raises(client.post_json(SET, b"{}", give_up_at=soon(0.1)), NoAnswerError)
        await until(lambda: script.open_now == 0)


async def _raises(call: Any, error: type[Exception] | tuple[type[Exception], ...]) -> None:
    with pytest.raises(error):
        await call
