"""The keep-alive web client: one connection and one nonce for many requests, and no write sent twice."""

from __future__ import annotations

import asyncio
from collections import deque

import pytest

from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient, host_line
from drivers.asic.transport import NoAnswerError
from tests.drivers.asic.antminer.answers import RESET
from tests.drivers.asic.antminer.answers import http as answer
from tests.drivers.asic.antminer.script import PASSWORD, scripted, until
from tests.drivers.asic.web_scene import CONF, SET, client_of, raises, scene, soon


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
        await raises(client.get(CONF, give_up_at=soon()), NoAnswerError)
        assert script.web_connections == first + 1


async def test_a_post_that_dies_unheard_is_never_sent_again() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["set_miner_conf"] = RESET
        await raises(client.post_json(SET, b'{"miner-mode":1}', give_up_at=soon()), NoAnswerError)
        assert len(script.written) == 1


async def test_a_get_that_does_something_is_never_sent_again_either() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["reboot"] = RESET
        await raises(client.get("/cgi-bin/reboot.cgi", give_up_at=soon(), once=True), NoAnswerError)
        assert script.names[1:] == ["reboot"]


async def test_a_get_that_was_heard_in_part_is_not_sent_again() -> None:
    async with scene() as (script, client):
        await client.get(CONF, give_up_at=soon())
        script.web["get_miner_conf"] = answer(200, b"{}")[:-1]
        task = asyncio.create_task(client.get(CONF, give_up_at=soon(0.3)))
        await raises(task, NoAnswerError)
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
