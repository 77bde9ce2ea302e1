"""A web port beside the API of a simulated miner, and what the faults do to it."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from simulators.asic.bank import MinerBank
from simulators.asic.luxos import WEB_PAGE, LuxOSMiner
from simulators.asic.models import MODELS
from simulators.asic.spec import FleetSpec
from simulators.asic.static_page import static_page
from simulators.asic.wire_server import FirmwareServer
from simulators.faults import Fault

REQUEST = b"GET / HTTP/1.1\r\nHost: miner\r\n\r\n"


@pytest.fixture
async def server() -> AsyncIterator[FirmwareServer]:
    bank = MinerBank(FleetSpec(models=[MODELS["s21"]], seed=1))
    miner = LuxOSMiner(bank, 0, host="127.0.0.1")
    running = FirmwareServer(miner, host="127.0.0.1", port=0, web=static_page(miner, WEB_PAGE))
    await running.start()
    yield running
    running.stop()
    await asyncio.sleep(0)


async def get(server: FirmwareServer) -> bytes:
    assert server.web is not None
    async with asyncio.timeout(5):
        reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
        try:
            writer.write(REQUEST)
            return await reader.read()
        finally:
            writer.close()


async def test_the_page_names_the_firmware(server: FirmwareServer) -> None:
    answer = await get(server)
    assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Luxor Firmware" in answer


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault.HTTP_401, b"401 Unauthorized"),
        (Fault.HTTP_403, b"403 Forbidden"),
        (Fault.HTTP_500, b"500 Internal Server Error"),
        (Fault.EMPTY_BODY, b"200 OK"),
    ],
)
async def test_an_http_fault_is_an_answer_without_a_page(server: FirmwareServer, fault: Fault, status: bytes) -> None:
    server.firmware.faults.on(fault)
    head, _, body = (await get(server)).partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"HTTP/1.1 " + status
    assert b"Content-Length: 0" in head
    assert body == b""


async def test_the_web_port_is_refused_and_swallowed_as_the_api_is(server: FirmwareServer) -> None:
    faults = server.firmware.faults
    faults.on(Fault.REFUSE)
    with pytest.raises(ConnectionRefusedError):
        await get(server)
    faults.on(Fault.BLACK_HOLE)
    faults.off(Fault.REFUSE)
    assert server.web is not None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await asyncio.open_connection(server.web.host, server.web.port)
    faults.off(Fault.BLACK_HOLE)
    assert b"Luxor Firmware" in await get(server)


async def test_the_web_port_is_reset_and_hangs_as_the_api_does(server: FirmwareServer) -> None:
    faults = server.firmware.faults
    faults.on(Fault.RESET)
    with pytest.raises(ConnectionResetError):
        await get(server)
    faults.off(Fault.RESET)
    faults.on(Fault.HANG)
    assert server.web is not None
    reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
    writer.write(REQUEST)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()


async def test_a_page_can_be_cut_and_stay_open(server: FirmwareServer) -> None:
    server.firmware.faults.on(Fault.TRUNCATE)
    assert await get(server) == WEB_PAGE[: len(WEB_PAGE) // 2]
    server.firmware.faults.clear()
    server.firmware.faults.on(Fault.KEEP_OPEN)
    assert server.web is not None
    reader, writer = await asyncio.open_connection(server.web.host, server.web.port)
    writer.write(REQUEST)
    assert await asyncio.wait_for(reader.readexactly(len(WEB_PAGE)), 5) == WEB_PAGE
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(1), 0.1)
    writer.close()


async def test_a_server_that_cannot_have_one_port_keeps_none(server: FirmwareServer) -> None:
    miner = LuxOSMiner(server.firmware.bank, 0, host="127.0.0.1")
    second = FirmwareServer(miner, host="127.0.0.1", port=0, web=static_page(miner, WEB_PAGE), web_port=server.api.port)
    with pytest.raises(OSError, match="in use"):
        await second.start()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(second.api.host, second.api.port)
