"""The HTTP of simulated miners, byte by byte: how answers are framed, and how long connections live."""

import asyncio
import time

import pytest

from simulators.asic.http_server import MAX_BODY_BYTES, MAX_HEAD_BYTES, KeepAlive
from tests.simulators.antminer_client import GET, answer, connected, head, stock


async def test_a_script_answers_in_chunks_and_names_no_content_type() -> None:
    async with stock() as miner, miner.browser() as client:
        script = await client.get("/cgi-bin/get_miner_conf.cgi")
        assert script.headers["transfer-encoding"] == "chunked"
        assert not {"content-length", "content-type"} & set(script.headers)
        page = await client.get("/cgi-bin/none.cgi")
        assert page.status_code == 404
        assert int(page.headers["content-length"]) == len(page.content)
        assert {script.headers["server"], page.headers["server"]} == {"lighttpd/1.4.32"}


async def test_a_client_that_keeps_its_connection_makes_one() -> None:
    async with stock() as miner, miner.browser() as client:
        for _ in range(8):
            assert (await client.get("/cgi-bin/get_miner_conf.cgi")).status_code == 200
        assert miner.miner.web_connections == 1
        assert miner.miner.log.connections == 0  # those of port 4028


async def test_the_seventeenth_answer_ends_the_connection() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        for number in range(1, 18):
            writer.write(GET)
            text = await head(reader)
            assert ("connection: close" in text.lower()) == (number == 17)
            await reader.readexactly(int(text.lower().split("content-length: ")[1].split("\r\n")[0]))
        assert await reader.read() == b""
        assert miner.miner.challenges == 17


async def test_a_client_that_asks_for_the_end_gets_it() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        writer.write(GET.replace(b"Host", b"Connection: Close\r\nHost"))
        assert "connection: close" in (await reader.read()).decode().lower()


async def test_a_silent_connection_is_closed_and_a_busy_one_is_not() -> None:
    async with stock(keep_alive=KeepAlive(idle_s=0.3)) as miner, connected(miner) as (reader, writer):
        started_s = time.monotonic()
        for _ in range(4):
            writer.write(GET)
            assert (await answer(reader))[0] == 401
            await asyncio.sleep(0.12)
        assert time.monotonic() - started_s > 0.4
        assert await reader.read() == b""


async def test_requests_may_arrive_in_pieces_and_two_at_once() -> None:
    async with stock() as miner, connected(miner) as (reader, writer):
        for piece in (GET[:3], GET[3:40], GET[40:]):
            writer.write(piece)
            await asyncio.sleep(0.01)
        assert (await answer(reader))[0] == 401
        writer.write(GET + GET)
        assert (await answer(reader))[0] == 401
        assert (await answer(reader))[0] == 401


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"hello\r\n\r\n", 400),
        (b"GET no-slash HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.0\r\n\r\n", 505),
        (b"DELETE / HTTP/1.1\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 5_000 + b"\r\n\r\n", 413),
        (b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1), 413),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", 411),
        (b"GET /" + b"a" * MAX_HEAD_BYTES + b" HTTP/1.1\r\n\r\n", 414),
        (b"x" * (MAX_HEAD_BYTES + 1), 414),
        (b"\x16\x03\x01\x00\xfe\r\n\r\n", 400),
    ],
)
async def test_what_cannot_be_served_is_refused_and_hurts_nobody(request_bytes: bytes, status: int) -> None:
    async with stock() as miner:
        async with connected(miner) as (reader, writer):
            writer.write(request_bytes)
            assert (await answer(reader))[0] == status
            assert await reader.read() == b""
        assert (await miner.script("get_miner_conf")).status_code == 200


async def test_clients_that_go_away_in_the_middle_hurt_nobody() -> None:
    async with stock() as miner:
        for part in (b"", GET[:20], GET, b"POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\nabc"):
            _, writer = await asyncio.open_connection(miner.host, miner.web_port)
            writer.write(part)
            writer.transport.abort()
        assert (await miner.script("get_miner_conf")).status_code == 200
