"""The panel meter and the DCS block: what their registers show of the plant, in health and with a faulty device."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from simulators.modbus_meter import (
    DcsAddress,
    DcsBlock,
    DcsSpec,
    DeviceFault,
    PanelMeter,
    PanelMeterSpec,
    QualityBit,
)
from simulators.plant import PlantFlags
from tests.simulators.modbus_truth import EXACT, EXACT_SITE, read, truth_now

# --- the panel meter ------------------------------------------------------------------------------------------------


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


# --- the DCS block --------------------------------------------------------------------------------------------------


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
