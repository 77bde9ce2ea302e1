"""One read to samples: a meter and the one place its sign is turned, the plant, the span of a register, energy."""

from __future__ import annotations

import math
import struct

import pytest

from controller.domain.metering import Point, Quality
from drivers.modbus import codec
from drivers.modbus.maps.load import load_map, parse_map

PAC2200 = load_map("siemens_pac2200")


def pac_words(power: bytes, frequency: bytes = bytes.fromhex("42480000"), volts: bytes = bytes.fromhex("43660000")):
    octets = bytearray(66 * 2)
    for address, content in ((1, volts), (55, frequency), (65, power)):
        octets[(address - 1) * 2 : (address - 1) * 2 + 4] = content
    return struct.unpack(">66H", octets)


def read_pac(power: str, point: Point, direction: codec.Direction):
    points = {"active_power": point, "frequency": Point.FREQUENCY_HZ, "voltage": Point.VOLTAGE_V}
    return codec.readings(PAC2200, points, direction, pac_words(bytes.fromhex(power)), 12.5, "m1")


@pytest.mark.parametrize("point", [Point.POI_EXPORT_W, Point.SITE_LOAD_W])
@pytest.mark.parametrize(("direction", "expected_w"), [(1, -500_000.0), (-1, 500_000.0)])
def test_the_installations_direction_turns_the_power_once_and_nothing_else(
    point: Point, direction: codec.Direction, expected_w: float
) -> None:
    samples = read_pac("c8f42400", point, direction)
    assert samples[point].value == expected_w
    assert samples[Point.FREQUENCY_HZ].value == 50.0
    assert samples[Point.VOLTAGE_V].value == 230.0
    assert {sample.quality for sample in samples.values()} == {Quality.GOOD}


def test_a_turned_zero_is_a_plain_zero() -> None:
    value = read_pac("00000000", Point.POI_EXPORT_W, -1)[Point.POI_EXPORT_W].value
    assert value == 0.0
    assert math.copysign(1.0, value) == 1.0


def test_all_samples_of_one_read_carry_its_time_and_their_register() -> None:
    samples = read_pac("48f42400", Point.SITE_LOAD_W, 1)
    assert {sample.taken_at for sample in samples.values()} == {12.5}
    assert samples[Point.SITE_LOAD_W].source == "m1/active_power@65"


def test_a_power_that_is_nan_is_bad_without_value_while_the_others_stay_good() -> None:
    samples = read_pac("7fc00000", Point.POI_EXPORT_W, -1)
    assert (samples[Point.POI_EXPORT_W].value, samples[Point.POI_EXPORT_W].quality) == (None, Quality.BAD)
    assert "not available" in samples[Point.POI_EXPORT_W].source
    assert samples[Point.FREQUENCY_HZ].quality is Quality.GOOD


DCS = load_map("plant_dcs")
DCS2 = load_map("plant_dcs_2units")
HEALTHY = {0: "002a", 1: "0001", 2: "000493e0", 4: "000975e0", 10: "000061a8", 12: "000395f8", 14: "00038270"}
HEALTHY |= {18: "00007530", 23: "0008", 24: "0000c350", 26: "000203a0", 30: "0000"}
SECOND = {40: "0001", 41: "00013880", 43: "00030d40"}


def plant(register_map=DCS, **changed: str):
    """A healthy plant with some registers changed, for example r23='0001'."""
    content = HEALTHY | (SECOND if register_map is DCS2 else {})
    content |= {int(key[1:]): value for key, value in changed.items()}
    block = register_map.control_block
    octets = bytearray(block.count * 2)
    for address, hexadecimal in content.items():
        raw = bytes.fromhex(hexadecimal)
        octets[(address - block.address) * 2 : (address - block.address) * 2 + len(raw)] = raw
    words = struct.unpack(f">{block.count}H", octets)
    points = {value.number.name: value.feeds for value in register_map.values if isinstance(value.feeds, Point)}
    return codec.readings(register_map, points, 1, words, 1.0, "dcs")


def test_a_healthy_plant_reads_in_watts() -> None:
    assert {point: sample.value for point, sample in plant().items()} == {
        Point.DCS_HEARTBEAT: 42.0,
        Point.SYNCHRONISED_UNITS: 1.0,
        Point.GROSS_W: 300e6,
        Point.AVAILABLE_W: 620e6,
        Point.AUXILIARY_W: 25e6,
        Point.DCS_POI_EXPORT_W: 235e6,
        Point.DESPATCH_EXPORT_W: 230e6,
        Point.RESERVE_UP_W: 30e6,
        Point.TRIP: 0.0,
        Point.GRID_EMERGENCY: 0.0,
        Point.PERMIT: 1.0,
    }
    assert {sample.quality for sample in plant().values()} == {Quality.GOOD}


def test_two_synchronised_units_are_summed() -> None:
    samples = plant(DCS2)
    assert samples[Point.SYNCHRONISED_UNITS].value == 2.0
    assert samples[Point.GROSS_W].value == 380e6
    assert samples[Point.AVAILABLE_W].value == 820e6


def test_a_unit_that_is_not_synchronised_counts_for_nothing_even_when_its_numbers_are_missing() -> None:
    samples = plant(DCS2, r40="0000", r41="80000000", r43="80000000")
    assert (samples[Point.SYNCHRONISED_UNITS].value, samples[Point.GROSS_W].value) == (1.0, 300e6)


def test_a_plant_with_no_unit_on_generates_a_real_zero() -> None:
    samples = plant(r1="0000")
    assert [samples[point].value for point in (Point.SYNCHRONISED_UNITS, Point.GROSS_W, Point.AVAILABLE_W)] == [0, 0, 0]


def test_a_missing_number_of_a_synchronised_unit_makes_only_its_sum_bad() -> None:
    samples = plant(DCS2, r41="80000000")
    assert (samples[Point.GROSS_W].value, samples[Point.GROSS_W].quality) == (None, Quality.BAD)
    assert "u2.gross" in samples[Point.GROSS_W].source
    assert samples[Point.AVAILABLE_W].quality is Quality.GOOD


@pytest.mark.parametrize("state", ["ffff", "0002"])
def test_a_unit_whose_breaker_state_is_unknown_makes_all_sums_bad(state: str) -> None:
    samples = plant(DCS2, r40=state)
    assert {samples[point].quality for point in codec.UNIT_POINTS} == {Quality.BAD}
    assert samples[Point.AUXILIARY_W].quality is Quality.GOOD


@pytest.mark.parametrize(
    ("flags", "trip", "emergency", "permit"),
    [("0000", 0, 0, 0), ("0001", 1, 0, 0), ("0002", 1, 0, 0), ("0004", 0, 1, 0), ("0008", 0, 0, 1), ("000f", 1, 1, 1)],
)
def test_each_flag_bit_means_what_the_table_says(flags: str, trip: int, emergency: int, permit: int) -> None:
    samples = plant(r23=flags)
    found = [samples[point].value for point in (Point.TRIP, Point.GRID_EMERGENCY, Point.PERMIT)]
    assert found == [trip, emergency, permit]


def test_a_flag_register_of_all_ones_is_no_permit_and_no_trip_but_bad() -> None:
    samples = plant(r23="ffff")
    assert {samples[point].quality for point in (Point.TRIP, Point.GRID_EMERGENCY, Point.PERMIT)} == {Quality.BAD}


@pytest.mark.parametrize(
    ("doubt", "doubtful"),
    [
        ("0001", {Point.GROSS_W, Point.AVAILABLE_W, Point.SYNCHRONISED_UNITS}),
        ("0002", {Point.DESPATCH_EXPORT_W}),
        ("0004", {Point.RESERVE_UP_W}),
        ("fff8", set()),
    ],
)
def test_each_quality_bit_makes_its_signals_uncertain_and_keeps_their_values(doubt: str, doubtful: set[Point]) -> None:
    samples = plant(r30=doubt)
    assert {point for point, sample in samples.items() if sample.quality is Quality.UNCERTAIN} == doubtful
    assert all(sample.value is not None for sample in samples.values())


def test_a_missing_despatch_is_bad_and_not_zero_even_when_also_doubtful() -> None:
    sample = plant(r14="80000000", r30="0002")[Point.DESPATCH_EXPORT_W]
    assert (sample.value, sample.quality) == (None, Quality.BAD)


def test_a_block_of_zeros_withdraws_the_permit() -> None:
    words = [0] * DCS.control_block.count
    samples = codec.readings(DCS, {}, 1, words, 0.0, "dcs")
    assert samples[Point.PERMIT].value == 0.0


def map_with_power(kind: str, scale: float, offset: float = 0.0):
    return parse_map(
        f"""model = "m"
title = "t"
function = "holding"
word_order = "big"
confidence = "B"
sources = ["s"]
[[value]]
name = "p"
address = 0
type = "{kind}"
unit = "W"
scale = {scale}
offset = {offset}
point = "site"
""",
        "m.toml",
    )


@pytest.mark.parametrize(
    ("kind", "scale", "fits_w", "too_much_w"),
    [  # 80 % of the range: INT32 at 0.01 W ends at 21.47 MW, at 0.1 W at 214.7 MW
        ("INT32", 0.01, 17.1e6, 17.2e6),
        ("INT32", 0.1, 171e6, 172e6),
        ("INT16", 1000.0, 26.2e6, 26.3e6),
        ("UINT16", 1000.0, 52.4e6, 52.5e6),
    ],
)
def test_a_rating_above_four_fifths_of_the_range_is_refused(
    kind: str, scale: float, fits_w: float, too_much_w: float
) -> None:
    codec.check_span(map_with_power(kind, scale), fits_w)
    with pytest.raises(ValueError, match=r"map m: p at 0.*of its range; use"):
        codec.check_span(map_with_power(kind, scale), too_much_w)


def test_a_float_register_has_span_enough() -> None:
    codec.check_span(PAC2200, 1e9)
    codec.check_span(DCS, 1e9)


def test_the_energy_counter_follows_the_direction_of_the_power() -> None:
    words = struct.unpack(">12H", struct.pack(">d8xd", 1_000.0, 7_000.0))
    imported = codec.energy(PAC2200, 1, words, 3.0, "m1")
    exported = codec.energy(PAC2200, -1, words, 3.0, "m1")
    assert imported is not None
    assert exported is not None
    assert (imported.value, exported.value) == (1_000.0, 7_000.0)
    assert codec.energy(DCS, 1, words, 3.0, "dcs") is None
