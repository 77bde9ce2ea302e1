"""The instruments on real sockets: what a client reads in health, and every fault of the wire byte by byte."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.modbus_meter import (
    PanelMeter,
)
from simulators.modbus_server import GARBAGE_BYTES, ModbusServer, RegisterBank, WireFault, WireKind
from simulators.plant import Plant
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import DEMO_INSTRUMENTS, DEMO_PLANT
from tests.simulators.modbus_truth import EXACT, Steady

ANYWHERE = ("127.0.0.1", 0)
REQUEST = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 65, 2)


# --- the wire -------------------------------------------------------------------------------------------------------


@pytest.fixture
async def server() -> AsyncIterator[ModbusServer]:
    bank = RegisterBank(((0, 72), (797, 20)))
    bank.put_f32(65, 123_456.0)
    bank.put_f64(801, 9.5)
    served = ModbusServer(bank, 1, *ANYWHERE)
    await served.start()
    yield served
    await served.stop()


async def exchange(server: ModbusServer, request: bytes = REQUEST, expect: int = 512) -> bytes:
    """Send one request; return what comes until `expect` bytes, the end, or a tenth of a second of silence."""
    reader, writer = await asyncio.open_connection(*server.address)
    received = b""
    try:
        writer.write(request)
        while len(received) < expect:
            chunk = await asyncio.wait_for(reader.read(expect), 0.1)
            if not chunk:
                break
            received += chunk
    except TimeoutError:
        pass
    finally:
        writer.transport.abort()
        await asyncio.sleep(0)
    return received


GOOD = struct.pack(">HHHBBBf", 7, 0, 7, 1, 3, 4, 123_456.0)


async def test_a_stock_client_reads_what_the_registers_hold(server: ModbusServer) -> None:
    host, port = server.address
    client = AsyncModbusTcpClient(host, port=port)
    assert await client.connect()
    try:
        power = await client.read_holding_registers(65, count=2, device_id=1)
        energy = await client.read_input_registers(801, count=4, device_id=1)
        missing = await client.read_holding_registers(70, count=3, device_id=1)
        stranger = await client.read_holding_registers(65, count=2, device_id=9)
    finally:
        client.close()
    kind = client.DATATYPE
    assert client.convert_from_registers(power.registers, kind.FLOAT32) == 123_456.0
    assert client.convert_from_registers(energy.registers, kind.FLOAT64) == 9.5
    assert (missing.exception_code, stranger.exception_code) == (2, 0x0B)


async def test_in_health_the_reply_is_exact(server: ModbusServer) -> None:
    assert await exchange(server, expect=len(GOOD)) == GOOD


async def test_requests_in_one_packet_are_all_answered_in_order(server: ModbusServer) -> None:
    second = struct.pack(">H", 8) + REQUEST[2:]
    assert await exchange(server, REQUEST + second, 2 * len(GOOD)) == GOOD + struct.pack(">H", 8) + GOOD[2:]


@pytest.mark.parametrize(
    ("pdu", "code"),
    [
        (struct.pack(">BHH", 6, 65, 1), 1),
        (struct.pack(">BHH", 3, 65, 0), 3),
        (struct.pack(">BHH", 3, 0, 126), 3),
        (struct.pack(">BH", 3, 65), 3),
        (struct.pack(">BHH", 3, 71, 2), 2),
        (struct.pack(">BHH", 4, 400, 1), 2),
    ],
)
async def test_requests_out_of_order_get_the_standard_exception(server: ModbusServer, pdu: bytes, code: int) -> None:
    request = struct.pack(">HHHB", 7, 0, len(pdu) + 1, 1) + pdu
    assert await exchange(server, request, 9) == struct.pack(">HHHBBB", 7, 0, 3, 1, pdu[0] | 0x80, code)


async def test_bytes_that_are_no_request_end_the_connection(server: ModbusServer) -> None:
    assert await exchange(server, b"GET / HTTP/1.1\r\n\r\n") == b""


@pytest.mark.parametrize(
    ("fault", "reply"),
    [
        (WireFault(WireKind.EXCEPTION, code=2), struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 2)),
        (WireFault(WireKind.EXCEPTION, code=4), struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 4)),
        (WireFault(WireKind.EXCEPTION, code=6), struct.pack(">HHHBBB", 7, 0, 3, 1, 0x83, 6)),
        (WireFault(WireKind.WRONG_UNIT), GOOD[:6] + b"\x02" + GOOD[7:]),
        (WireFault(WireKind.WRONG_FUNCTION), GOOD[:7] + b"\x04" + GOOD[8:]),
        (WireFault(WireKind.SHORT_REPLY), struct.pack(">HHHBBB", 7, 0, 5, 1, 3, 2) + GOOD[9:11]),
        (WireFault(WireKind.GARBAGE), GARBAGE_BYTES),
        (WireFault(WireKind.HALF_FRAME), GOOD[:6]),
        (WireFault(WireKind.SILENT), b""),
        (WireFault(WireKind.DELAY, delay_s=0.03), GOOD),
    ],
)
async def test_a_fault_spoils_the_reply_exactly_as_named_and_heals(
    server: ModbusServer, fault: WireFault, reply: bytes
) -> None:
    await server.set_fault(fault)
    # One byte more than the reply: nothing may follow it.
    assert await exchange(server, expect=len(reply) + 1) == reply
    await server.set_fault(None)
    assert await exchange(server, expect=len(GOOD)) == GOOD


async def test_a_delayed_reply_is_late(server: ModbusServer) -> None:
    await server.set_fault(WireFault(WireKind.DELAY, delay_s=10.0))
    assert await exchange(server) == b""


async def test_a_reset_is_an_rst_and_not_an_orderly_end(server: ModbusServer) -> None:
    await server.set_fault(WireFault(WireKind.RESET))
    with pytest.raises(ConnectionResetError):
        await exchange(server)


async def test_a_refused_server_drops_its_clients_and_comes_back_at_the_same_port(server: ModbusServer) -> None:
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(REQUEST)
    assert await reader.readexactly(len(GOOD)) == GOOD
    await server.set_fault(WireFault(WireKind.REFUSED))
    with pytest.raises(ConnectionResetError):
        await reader.readexactly(1)
    writer.transport.abort()
    with pytest.raises(ConnectionRefusedError):
        await exchange(server)
    await server.set_fault(None)
    assert await exchange(server, expect=len(GOOD)) == GOOD


async def test_stopping_with_a_client_connected_is_no_error_to_the_event_loop() -> None:
    complaints: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    server = ModbusServer(PanelMeter(EXACT, seed=1).bank, 1, *ANYWHERE)
    await server.start()
    reader, writer = await asyncio.open_connection(*server.address)
    writer.write(REQUEST)
    await reader.readexactly(9)
    await server.stop()
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()
    assert complaints == []


# --- plant, instruments and sockets together ------------------------------------------------------------------------


async def test_a_plant_that_cannot_listen_leaves_no_socket_behind(server: ModbusServer) -> None:
    host = PlantHost(
        plant=Plant(DEMO_PLANT, Steady(1e5), seed=1),
        instruments=DEMO_INSTRUMENTS,
        endpoints=Endpoints(ANYWHERE, ANYWHERE, server.address),
        miner_w_by_feeder=lambda: (0.0, 0.0),
        tick_s=0.01,
        change_w=5e3,
        record_limit=None,
    )
    with pytest.raises(OSError, match="address already in use"):
        await host.start()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(*host.endpoints.poi)
