"""The pages over HTTP as Prometheus, a browser and a hostile client ask for them."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import AsyncGenerator, AsyncIterator

import pytest

from controller.runtime.metrics_server import (
    ASK_WITHIN_S,
    CLIENTS_MAX,
    HEAD_MAX_BYTES,
    KEPT_S,
    TAKE_WITHIN_S,
    MetricsServer,
    MetricsUnavailableError,
)

PARTS = 40
HUGE_BYTES = 32_000_000
PROMETHEUS = (
    "GET /metrics HTTP/1.1\r\nHost: x\r\nUser-Agent: Prometheus/3\r\nAccept: application/openmetrics-text,"
    "text/plain;version=0.0.4;q=0.3\r\nAccept-Encoding: gzip\r\nX-Prometheus-Scrape-Timeout-Seconds: 10\r\n\r\n"
)


class Pages:
    """Two pages; the longer one says how often it was made, and what else the loop did meanwhile."""

    def __init__(self) -> None:
        self.made = 0
        self.turns = 0

    async def short(self) -> AsyncGenerator[str, None]:
        yield "curtaild_cap_watts 1\n"

    async def long(self) -> AsyncGenerator[str, None]:
        self.made += 1
        for number in range(PARTS):
            yield f"# part {number}, made {self.made}\n" * 1000

    async def huge(self) -> AsyncGenerator[str, None]:
        """More than the kernel keeps for a client that does not read."""
        for _ in range(PARTS):
            yield "#" * (HUGE_BYTES // PARTS - 1) + "\n"

    async def turn(self) -> None:
        while True:
            self.turns += 1
            await asyncio.sleep(0)


@pytest.fixture
def pages() -> Pages:
    return Pages()


@pytest.fixture
async def port(pages: Pages) -> AsyncIterator[int]:
    server = MetricsServer({"/metrics": pages.short, "/metrics/miners": pages.long, "/huge": pages.huge})
    yield await server.start("127.0.0.1", 0)
    await server.close()


async def ask(port: int, request: str) -> tuple[str, dict[str, str], bytes]:
    """Status, headers (their names in lower case) and body of one reply, read until the other side hangs up."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request.encode())
        raw = await reader.read()
    finally:
        writer.transport.abort()
    head, _, body = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    return status, headers, body


async def test_a_page_comes_as_text_and_packed_for_who_takes_it(port: int) -> None:
    status, headers, body = await ask(port, "GET /metrics?x=1 HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (status, body) == ("HTTP/1.1 200 OK", b"curtaild_cap_watts 1\n")
    assert headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert int(headers["content-length"]) == len(body)
    status, headers, packed = await ask(port, PROMETHEUS)
    assert (status, headers["content-encoding"]) == ("HTTP/1.1 200 OK", "gzip")
    assert int(headers["content-length"]) == len(packed)
    assert gzip.decompress(packed) == body
    refusing = PROMETHEUS.replace("Encoding: gzip", "Encoding: deflate, gzip;q=0")
    assert (await ask(port, refusing))[2] == body
    status, headers, nothing = await ask(port, PROMETHEUS.replace("GET", "HEAD"))
    assert (status, nothing) == ("HTTP/1.1 200 OK", b"")
    assert int(headers["content-length"]) == len(packed)


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ("GET / HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("GET /metrics/miners/ HTTP/1.1\r\n\r\n", "404 Not Found"),
        ("POST /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "405 Method Not Allowed"),
        ("GET /metrics\r\n\r\n", "400 Bad Request"),
        ("\x16\x03\x01\r\n\r\n", "400 Bad Request"),
        ("GET /metrics HTTP/1.1\r\nX: " + HEAD_MAX_BYTES * "x" + "\r\n\r\n", "431 Request Header Fields Too Large"),
    ],
)
async def test_what_makes_no_sense_is_refused_by_name(port: int, request_: str, status: str) -> None:
    said, _, body = await ask(port, request_)
    assert said == f"HTTP/1.1 {status}"
    assert body.decode().endswith("\n")


async def test_the_loop_turns_between_any_two_parts_of_a_page_as_it_is_made(port: int, pages: Pages) -> None:
    """Packed: what is sent is then so little that the turns can only have come before it."""
    turning = asyncio.create_task(pages.turn())
    _, _, packed = await ask(port, PROMETHEUS.replace("/metrics", "/metrics/miners"))
    turning.cancel()
    assert gzip.decompress(packed).count(b"\n") == PARTS * 1000
    assert pages.turns > PARTS


async def test_the_loop_turns_between_any_two_parts_of_a_page_as_it_is_sent(port: int, pages: Pages) -> None:
    await ask(port, "GET /metrics/miners HTTP/1.1\r\n\r\n")  # made here, and kept for the next
    turning = asyncio.create_task(pages.turn())
    _, _, body = await ask(port, "GET /metrics/miners HTTP/1.1\r\n\r\n")
    turning.cancel()
    assert pages.made == 1
    assert body.count(b"\n") == PARTS * 1000
    assert pages.turns > PARTS


@pytest.mark.virtual_time
async def test_who_asks_again_at_once_gets_the_same_page(port: int, pages: Pages) -> None:
    several = await asyncio.gather(*(ask(port, "GET /metrics/miners HTTP/1.1\r\n\r\n") for _ in range(8)))
    assert pages.made == 1
    assert len({body for _, _, body in several}) == 1
    await asyncio.sleep(KEPT_S)
    assert (await ask(port, "GET /metrics/miners HTTP/1.1\r\n\r\n"))[2] != several[0][2]


@pytest.mark.virtual_time
async def test_who_says_nothing_or_does_not_read_loses_its_place_and_holds_nobody_up(port: int) -> None:
    nothing = ("", {}, b"")
    loop = asyncio.get_running_loop()
    clients = [await asyncio.open_connection("127.0.0.1", port) for _ in range(CLIENTS_MAX - 1)]
    try:
        (deaf, asks), (half, begins) = clients[:2]
        asks.write(b"GET /huge HTTP/1.1\r\n\r\n")
        await deaf.readexactly(100)
        asks.transport.pause_reading()
        begins.write(b"GET /met")
        assert (await ask(port, PROMETHEUS))[0] == "HTTP/1.1 200 OK"
        clients.append(await asyncio.open_connection("127.0.0.1", port))
        assert await ask(port, PROMETHEUS) == nothing, "every place is taken"
        began = loop.time()
        assert await half.read() == b""
        assert loop.time() - began == pytest.approx(ASK_WITHIN_S, abs=0.5)
        assert (await ask(port, PROMETHEUS))[0] == "HTTP/1.1 200 OK"
        await asyncio.sleep(TAKE_WITHIN_S)
        asks.transport.resume_reading()
        assert len(await deaf.read()) < HUGE_BYTES / 2, "the rest was given up"
    finally:
        for _, writer in clients:
            writer.transport.abort()


async def test_closing_waits_for_no_client(pages: Pages) -> None:
    server = MetricsServer({"/metrics/miners": pages.long})
    port = await server.start("127.0.0.1", 0)
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    async with asyncio.timeout(1):
        await server.close()
    writer.transport.abort()
    again = MetricsServer({})
    assert await again.start("127.0.0.1", port) == port
    await again.close()


async def test_a_taken_port_is_named(port: int) -> None:
    with pytest.raises(MetricsUnavailableError, match=f"127.0.0.1:{port} for /metrics"):
        await MetricsServer({}).start("127.0.0.1", port)
