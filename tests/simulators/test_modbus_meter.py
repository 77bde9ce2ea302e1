"""The instruments on real sockets: what a client reads in health, and every fault byte by byte."""

from __future__ import annotations

import asyncio
import math
import struct
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
from pymodbus.client import AsyncModbusTcpClient

from simulators.modbus_meter import (
    DcsAddress,
    DcsBlock,
    DcsSpec,
    DeviceFault,
    PanelMeter,
    PanelMeterSpec,
    QualityBit,
    Quantity,
)
from simulators.modbus_server import GARBAGE_BYTES, ModbusServer, RegisterBank, WireFault, WireKind
from simulators.plant import Plant, PlantFlags, PlantTruth
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import DEMO, DEMO_INSTRUMENTS, DEMO_PLANT

EXACT = replace(DEMO_INSTRUMENTS.poi, noise_fraction=0.0)
EXACT_SITE = replace(DEMO_INSTRUMENTS.site, noise_fraction=0.0)
ANYWHERE = ("127.0.0.1", 0)
REQUEST = struct.pack(">HHHBBHH", 7, 0, 6, 1, 3, 65, 2)


class Steady:
    """A surplus that can be set by hand."""

    def __init__(self, surplus_w: float) -> None:
        self.now_w = surplus_w

    def surplus_w(self, t_s: float) -> float:
        return self.now_w


def truth_now(miners_w: float = 200e3) -> PlantTruth:
    return Plant(DEMO_PLANT, Steady(250e3), seed=1).step(1.0, (miners_w / 2, miners_w / 2))


def read(bank: RegisterBank, address: int, shape: str) -> float:
    data = bank.read(address, struct.calcsize(shape) // 2)
    assert data is not None
    return float(struct.unpack(">" + shape, data)[0])


# --- the panel meter ---


def test_the_poi_meter_counts_import_positive_and_so_shows_export_as_negative() -> None:
    meter, truth = PanelMeter(EXACT, seed=1), truth_now()
    meter.step(0.0, truth)
    assert truth.poi_export_w > 1e6
    assert read(meter.bank, 65, "f") == pytest.approx(-truth.poi_export_w, abs=1.0)
    assert read(meter.bank, 55, "f") == pytest.approx(truth.frequency_hz)
    assert read(meter.bank, 1, "f") == pytest.approx(truth.poi_line_v / math.sqrt(3))


def test_the_site_meter_shows_the_load_with_losses_and_auxiliaries() -> None:
    meter, truth = PanelMeter(EXACT_SITE, seed=1), truth_now()
    meter.step(0.0, truth)
    assert read(meter.bank, 65, "f") == pytest.approx(200e3 * 1.015 + 6e3, abs=1.0)
    assert read(meter.bank, 1, "f") == pytest.approx(231.0, rel=0.02)


def test_turning_the_transformers_round_flips_the_sign() -> None:
    meter, truth = PanelMeter(EXACT_SITE, seed=1), truth_now()
    meter.flip_installation()
    meter.step(0.0, truth)
    assert read(meter.bank, 65, "f") < -200e3


def test_the_energy_counters_integrate_power_in_its_own_direction() -> None:
    poi, site, truth = PanelMeter(EXACT, seed=1), PanelMeter(EXACT_SITE, seed=1), truth_now()
    for _ in range(60):
        poi.step(60.0, truth)
        site.step(60.0, truth)
    assert read(poi.bank, 801, "d") == 0.0
    assert read(poi.bank, 809, "d") == pytest.approx(truth.poi_export_w)
    assert read(site.bank, 801, "d") == pytest.approx(truth.site_load_w)
    assert read(site.bank, 809, "d") == 0.0


def test_registers_change_once_per_refresh_period_only() -> None:
    meter = PanelMeter(replace(EXACT_SITE, refresh_s=0.2), seed=1)
    changed = [meter.step(0.05, truth_now()) for _ in range(41)]
    assert changed[0]
    assert sum(changed) == pytest.approx(1 + 40 * 0.05 / 0.2, abs=1)


def test_noise_is_a_fraction_of_the_reading_and_gain_error_is_fixed() -> None:
    meter = PanelMeter(replace(EXACT_SITE, noise_fraction=0.001, gain_error_fraction=0.005), seed=4)
    truth = truth_now()
    readings = []
    for _ in range(2000):
        meter.step(1.0, truth)
        readings.append(read(meter.bank, 65, "f") / truth.site_load_w - 1.0)
    mean = sum(readings) / len(readings)
    sigma = math.sqrt(sum((value - mean) ** 2 for value in readings) / len(readings))
    assert mean == pytest.approx(0.005, abs=1e-4)
    assert sigma == pytest.approx(0.001, rel=0.1)


def test_resolution_is_the_smallest_step_of_power() -> None:
    meter = PanelMeter(replace(EXACT_SITE, resolution_w=500.0), seed=1)
    meter.step(0.0, truth_now(200_333.0))
    assert read(meter.bank, 65, "f") % 500.0 == 0.0


def test_a_stuck_meter_keeps_its_registers_while_power_moves() -> None:
    meter = PanelMeter(EXACT_SITE, seed=1)
    meter.step(0.0, truth_now(200e3))
    before = meter.bank.read(0, 72)
    meter.fault = DeviceFault.STUCK
    assert not meter.step(1.0, truth_now(300e3))
    assert meter.bank.read(0, 72) == before
    meter.fault = None
    meter.step(1.0, truth_now(300e3))
    assert meter.bank.read(0, 72) != before


def test_a_meter_without_a_value_shows_quiet_nan_for_power_only() -> None:
    meter = PanelMeter(EXACT_SITE, seed=1)
    meter.fault = DeviceFault.NOT_A_NUMBER
    meter.step(0.0, truth_now())
    assert meter.bank.read(65, 2) == bytes.fromhex("7fc00000")
    assert read(meter.bank, 55, "f") == pytest.approx(50.0, abs=0.1)


@pytest.mark.parametrize("change", [{"installed_sign": 0}, {"refresh_s": 0.0}, {"noise_fraction": -1.0}])
def test_a_meter_that_cannot_be_built_is_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        PanelMeterSpec(**{**{name: getattr(EXACT, name) for name in EXACT.__slots__}, **change})


# --- the DCS block ---


def test_the_dcs_block_shows_the_plant_at_the_published_addresses() -> None:
    block, truth = DcsBlock(DcsSpec(0.2, 1.0)), truth_now()
    block.step(0.0, truth, unix_s=1_800_000_000)
    kilowatts = {
        2: truth.gross_w, 4: 2.2e6, 6: 0.88e6, 10: truth.auxiliary_w, 12: truth.poi_export_w,
        14: truth.despatch_w, 18: 100e3, 20: 0.0, 41: 0.0, 43: 2.2e6,
    }  # fmt: skip
    for address, power_w in kilowatts.items():
        assert read(block.bank, address, "i") == round(power_w / 1000.0), address
    assert read(block.bank, 8, "i") == 66  # 1.1 kW/s
    assert (read(block.bank, 1, "H"), read(block.bank, 40, "H")) == (1, 0)
    assert read(block.bank, 16, "I") == truth.despatch_seq
    assert read(block.bank, 23, "H") == 8  # permit
    assert read(block.bank, 24, "I") == round(truth.frequency_hz * 1000)
    assert read(block.bank, 26, "I") == round(truth.poi_line_v)
    assert read(block.bank, 28, "I") == 1_800_000_000
    assert read(block.bank, 30, "H") == 0


@pytest.mark.parametrize(
    ("flags", "word"),
    [
        (PlantFlags(True, False, False, True), 12),
        (PlantFlags(False, True, False, True), 9),
        (PlantFlags(False, False, True, True), 10),
        (PlantFlags(False, False, False, False), 0),
    ],
)
def test_every_contact_has_its_own_bit(flags: PlantFlags, word: int) -> None:
    block = DcsBlock(DcsSpec(0.2, 1.0))
    block.step(0.0, replace(truth_now(), flags=flags), unix_s=0)
    assert read(block.bank, DcsAddress.FLAGS, "H") == word


def test_the_heartbeat_counts_seconds_and_can_freeze_while_the_rest_moves() -> None:
    block, truth = DcsBlock(DcsSpec(0.2, 1.0)), truth_now()
    for _ in range(51):
        block.step(0.1, truth, unix_s=0)
    assert read(block.bank, 0, "H") == 5
    block.fault = DeviceFault.HEARTBEAT_FROZEN
    for _ in range(30):
        block.step(0.1, truth, unix_s=77)
    assert (read(block.bank, 0, "H"), read(block.bank, 28, "I")) == (5, 77)
    block.fault = None
    for _ in range(20):
        block.step(0.1, truth, unix_s=0)
    assert read(block.bank, 0, "H") == 7


def test_signals_the_plant_doubts_are_marked_in_the_quality_word() -> None:
    block = DcsBlock(DcsSpec(0.2, 1.0))
    block.quality = QualityBit.DESPATCH | QualityBit.RESERVE
    block.step(0.0, truth_now(), unix_s=0)
    assert read(block.bank, 30, "H") == 6


def test_missing_powers_carry_the_not_available_number_of_their_type() -> None:
    block = DcsBlock(DcsSpec(0.2, 1.0))
    block.fault = DeviceFault.NOT_A_NUMBER
    block.step(0.0, truth_now(), unix_s=0)
    assert block.bank.read(DcsAddress.POI_KW, 2) == bytes.fromhex("80000000")


# --- the wire ---


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


# --- plant, instruments and sockets together ---


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def host_with(source: Steady, clock: Clock, record_limit: int | None = None) -> PlantHost:
    return PlantHost(
        plant=Plant(DEMO_PLANT, source, seed=1),
        instruments=replace(DEMO_INSTRUMENTS, poi=EXACT, site=EXACT_SITE),
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: (100e3, 100e3),
        tick_s=0.05,
        change_w=5e3,
        record_limit=record_limit,
        clock=clock,
        wall_s=lambda: 1.8e9,
    )


def test_a_change_is_stamped_when_the_registers_show_it() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock)
    host.tick()
    source.now_w = 200e3
    clock.now_s += 0.15  # the block refreshes every 0.2 s: the plant has moved, the registers have not
    host.tick()
    assert host.changes == []
    clock.now_s += 0.05
    host.tick()
    (change,) = host.changes
    assert change.at_s == pytest.approx(100.2)
    assert change.from_w == pytest.approx(250e3, abs=500.0)
    assert change.to_w == pytest.approx(200e3, abs=500.0)
    data = host.dcs.bank.read(DcsAddress.DESPATCH_KW, 2)
    assert data is not None
    assert struct.unpack(">i", data)[0] == round(host.truth.despatch_w / 1000)


def test_changes_too_small_to_act_on_are_not_counted() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock)
    for step in range(10):
        source.now_w = 250e3 + (4e3 if step % 2 else 0.0)
        clock.now_s += 0.2
        host.tick()
    assert host.changes == []


def test_the_record_is_the_truth_and_keeps_to_its_limit() -> None:
    source, clock = Steady(250e3), Clock()
    host = host_with(source, clock, record_limit=3)
    for _ in range(5):
        clock.now_s += 1.0
        truth = host.tick()
    assert [row.at_s for row in host.record] == [103.0, 104.0, 105.0]
    last = host.record[-1]
    assert (last.site_load_w, last.cap_follow_w) == (truth.site_load_w, truth.cap_follow_w)


async def test_a_running_plant_shows_a_consistent_balance_to_a_stock_client() -> None:
    host = PlantHost(
        plant=Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1),
        instruments=DEMO_INSTRUMENTS,
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: (100e3, 100e3),
        tick_s=0.01,
        change_w=5e3,
        record_limit=None,
    )
    await host.start()
    try:
        shown_w = []
        for address in (host.endpoints.poi, host.endpoints.site):
            client = AsyncModbusTcpClient(address[0], port=address[1])
            assert await client.connect()
            reply = await client.read_holding_registers(65, count=2, device_id=1)
            value = client.convert_from_registers(reply.registers, client.DATATYPE.FLOAT32)
            assert isinstance(value, float)
            shown_w.append(value)
            client.close()
    finally:
        await host.stop()
    export_w, load_w = -shown_w[0], shown_w[1]
    truth = host.truth
    assert load_w == pytest.approx(truth.site_load_w, rel=0.01)
    assert truth.gross_w - truth.auxiliary_w - load_w - export_w == pytest.approx(0.0, abs=0.01 * truth.gross_w)


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


async def test_a_broken_simulation_ends_loudly() -> None:
    powers = iter([(1e5, 1e5), (1e5, 1e5)])

    host = PlantHost(
        plant=Plant(DEMO_PLANT, Steady(1e5), seed=1),
        instruments=DEMO_INSTRUMENTS,
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE),
        miner_w_by_feeder=lambda: next(powers, (-1.0, 0.0)),
        tick_s=0.001,
        change_w=5e3,
        record_limit=None,
    )
    await host.start()
    await asyncio.sleep(0.05)
    with pytest.raises(ValueError, match="do not generate"):
        await host.stop()


def test_quantities_are_named_by_their_direction() -> None:
    assert {quantity.value for quantity in Quantity} == {"poi_export", "site_load", "feeder_load"}
