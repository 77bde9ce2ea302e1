"""The simulated SunSpec meter: read by the SunSpec Alliance's own client, and register by register."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import replace

import pytest
from click.testing import CliRunner
from sunspec2.modbus.client import SunSpecModbusClientDeviceTCP

from simulators.meter_reading import DeviceFault, MeterReading
from simulators.modbus_meter import PanelMeterSpec, Quantity
from simulators.modbus_server import ModbusServer, RegisterBank
from simulators.plant import Plant
from simulators.plant_cli import plant_command
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import DEMO, DEMO_INSTRUMENTS, DEMO_PLANT
from simulators.sunspec_meter import FLOAT_METERS, INTEGER_METERS, SunSpecRegisters, SunSpecSpec

ANYWHERE = ("127.0.0.1", 0)
READING = MeterReading(-1_234_500.0, 6_350.0, 49.98, 1e6, 5e9)  # exports; its export counter has run over


def registers(spec: SunSpecSpec, fault: DeviceFault | None = None, reading: MeterReading = READING) -> SunSpecRegisters:
    made = SunSpecRegisters(spec)
    made.show(reading, fault)
    return made


def word(bank: RegisterBank, address: int, shape: str = "H") -> float:
    data = bank.read(address, struct.calcsize(shape) // 2)
    assert data is not None
    return struct.unpack(">" + shape, data)[0]


async def scanned(bank: RegisterBank) -> SunSpecModbusClientDeviceTCP:
    """What the published client makes of a device: it searches the bases and reads every model it knows."""
    server = ModbusServer(bank, 1, *ANYWHERE)
    await server.start()
    client = SunSpecModbusClientDeviceTCP(slave_id=1, ipaddr=server.address[0], ipport=server.address[1], timeout=5.0)
    try:
        await asyncio.to_thread(client.scan)
    finally:
        client.close()
        await server.stop()
    return client


@pytest.mark.parametrize("base", [40_000, 0, 50_000])
@pytest.mark.parametrize("model", [*INTEGER_METERS, *FLOAT_METERS])
async def test_the_published_client_finds_the_meter_and_reads_its_measurements(model: int, base: int) -> None:
    client = await scanned(registers(SunSpecSpec(model, base)).bank)
    assert client.base_addr == base
    assert [key for key in client.models if isinstance(key, int)] == [1, 160, 64900, model]
    assert client.models[1][0].Md.value == "Panel meter"
    meter = client.models[model][0]
    assert (meter.error_info, client.models[1][0].error_info, client.models[160][0].error_info) == ("", "", "")
    exact = model in FLOAT_METERS
    assert meter.W.cvalue == pytest.approx(-1_234_500.0, abs=0.1 if exact else 50.0)
    assert meter.Hz.cvalue == pytest.approx(49.98, abs=1e-5)
    neutral_v, lines_v = {1: (6_350.0, None), 2: (6_350.0, 12_700.0), 4: (None, 10_998.5)}.get(
        model % 10, (6_350.0, 10_998.5)
    )
    assert meter.PhV.cvalue == (None if neutral_v is None else pytest.approx(neutral_v, rel=1e-3))
    assert meter.PPV.cvalue == (None if lines_v is None else pytest.approx(lines_v, rel=1e-3))
    assert meter.TotWhImp.cvalue == pytest.approx(1e6)
    assert meter.TotWhExp.cvalue == pytest.approx(5e9 if exact else 5e9 - 2**32)
    assert meter.Evt.cvalue == 0


@pytest.mark.parametrize("model", [203, 213])
async def test_the_published_client_sees_not_implemented_where_there_is_no_measurement(model: int) -> None:
    client = await scanned(registers(SunSpecSpec(model), DeviceFault.NOT_A_NUMBER).bank)
    assert client.models[model][0].W.cvalue is None
    assert client.models[model][0].Hz.cvalue == pytest.approx(49.98, abs=1e-5)


async def test_two_meters_in_one_chain_are_two_to_the_published_client() -> None:
    client = await scanned(registers(SunSpecSpec(203, before=(1, 103, 1, 201), after=(1,), common_length=66)).bank)
    assert (len(client.models[1]), len(client.models[201]), len(client.models[203])) == (3, 1, 1)
    assert client.models[201][0].W.cvalue is None


def test_the_registers_of_the_integer_model_are_those_of_its_definition() -> None:
    device = registers(SunSpecSpec(203))
    at, bank = device.meter_address, device.bank
    assert bank.read(40_000, 4) == b"SunS" + bytes((0, 1, 0, 66))
    assert at == 40_002 + 68 + 50 + 42
    assert (word(bank, at), word(bank, at + 1)) == (203, 105)
    assert (word(bank, at + 7), word(bank, at + 11)) == (6_350, 10_999)  # one factor serves both
    assert word(bank, at + 15, "h") == 0
    assert (word(bank, at + 16), word(bank, at + 17, "h")) == (4998, -2)
    assert (word(bank, at + 18, "h"), word(bank, at + 22, "h")) == (-12345, 2)
    assert word(bank, at + 46, "I") == 1_000_000
    assert (word(bank, at + 28), word(bank, at + 32)) == (0x8000, 0x8000)  # reactive power it does not measure
    assert word(bank, at + 107) == 0xFFFF


def test_the_registers_of_the_float_model_are_those_of_its_definition() -> None:
    device = registers(SunSpecSpec(213))
    at, bank = device.meter_address, device.bank
    assert (word(bank, at), word(bank, at + 1)) == (213, 124)
    assert [word(bank, at + offset, "f") for offset in (10, 28)] == [6_350.0, -1_234_500.0]
    assert word(bank, at + 26, "f") == pytest.approx(49.98)
    assert bank.read(at + 44, 2) == bytes.fromhex("7fc00000")
    assert word(bank, at + 126) == 0xFFFF


@pytest.mark.parametrize(
    ("power_w", "scale", "raw", "factor"),
    [
        (300.0, None, 30_000, -2),
        (400.0, None, 4_000, -1),
        (1_234.5, 0, 1_234, 0),
        (99e6, None, 9_900, 4),
        (5e6, 2, 32_767, 2),  # does not fit, and stays at the end
        (-5e6, 2, -32_767, 2),
    ],
)
def test_the_scale_factor_follows_the_power_or_stays_as_it_was_set(
    power_w: float, scale: int | None, raw: int, factor: int
) -> None:
    device = registers(SunSpecSpec(203, power_scale=scale), reading=replace(READING, power_w=power_w))
    shown = word(device.bank, device.meter_address + 18, "h"), word(device.bank, device.meter_address + 22, "h")
    assert shown == (raw, factor)


@pytest.mark.parametrize(
    ("fault", "raw", "factor"),
    [
        (DeviceFault.NOT_A_NUMBER, -0x8000, 2),
        (DeviceFault.SCALE_FACTOR_MISSING, -12_345, -0x8000),
        (DeviceFault.SCALE_FACTOR_WILD, -12_345, 11),
    ],
)
def test_faults_of_the_device_show_and_heal(fault: DeviceFault, raw: int, factor: int) -> None:
    device = registers(SunSpecSpec(203), fault)
    at = device.meter_address
    assert (word(device.bank, at + 18, "h"), word(device.bank, at + 22, "h")) == (raw, factor)
    device.show(READING, None)
    assert (word(device.bank, at + 18, "h"), word(device.bank, at + 22, "h")) == (-12_345, 2)


def test_before_its_first_reading_a_meter_shows_nothing_measured() -> None:
    for model in (203, 213):
        device = SunSpecRegisters(SunSpecSpec(model))
        offset = 18 if model == 203 else 28
        assert word(device.bank, device.meter_address + offset) in (0x8000, 0x7FC0)


def test_what_lies_outside_the_chain_cannot_be_read() -> None:
    device = registers(SunSpecSpec(203, before=(1,), end_with_length=False))
    assert device.bank.read(39_999, 1) is None
    assert device.bank.read(40_177, 1) is not None
    assert device.bank.read(40_177, 2) is None


@pytest.mark.parametrize(("model", "chain"), [(205, (1,)), (203, (1, 2))])
def test_a_model_nobody_simulates_is_refused(model: int, chain: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="SunSpec"):
        SunSpecSpec(model, before=chain)


async def test_a_plant_may_have_such_meters_in_any_place() -> None:
    def spec(quantity: Quantity, sign: int, model: int) -> PanelMeterSpec:
        exact = replace(DEMO_INSTRUMENTS.poi, quantity=quantity, installed_sign=sign, noise_fraction=0.0)
        return replace(exact, sunspec=SunSpecSpec(model))

    host = PlantHost(
        plant=Plant(DEMO_PLANT, DEMO.surplus_trace(), seed=1),
        instruments=replace(
            DEMO_INSTRUMENTS,
            poi=spec(Quantity.POI_EXPORT, -1, 213),
            site=spec(Quantity.SITE_LOAD, 1, 203),
            feeder=spec(Quantity.FEEDER_LOAD, 1, 203),
        ),
        endpoints=Endpoints(ANYWHERE, ANYWHERE, ANYWHERE, (ANYWHERE, ANYWHERE)),
        miner_w_by_feeder=lambda: (100e3, 40e3),
        tick_s=0.01,
        change_w=5e3,
        record_limit=None,
    )
    host.tick()
    shown_w = []
    for meter, model in ((host.poi, 213), (host.site, 203), (host.feeders[0], 203)):
        shown_w.append((await scanned(meter.bank)).models[model][0].W.cvalue)
    truth = host.truth
    assert shown_w[0] == pytest.approx(-truth.poi_export_w, rel=1e-5)
    assert shown_w[1] == pytest.approx(truth.site_load_w, abs=10.0)
    assert shown_w[2] == pytest.approx(truth.load.feeders_w[0], abs=10.0)


@pytest.mark.parametrize(("make", "model"), [("sunspec-integer", 203), ("sunspec-float", 213)])
def test_the_plant_command_says_what_its_meters_are(make: str, model: int) -> None:
    result = CliRunner().invoke(plant_command, ["--port-base", "0", "--seconds", "0.1", "--meters", make])
    assert result.exit_code == 0
    assert result.output.count(f"unit 1  SunSpec model {model} at 40000") == 2
