"""Registers to numbers: every type, both word orders, what is not a measurement, and the one place a sign is turned."""

from __future__ import annotations

import math
import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.domain.metering import Point, Quality
from drivers.modbus import codec
from drivers.modbus.codec import Registers, Unavailable, decode
from drivers.modbus.maps.load import load_map, parse_map
from drivers.modbus.maps.model import Block, Number, RegisterType, Unit, WordOrder

FORMATS = {"INT16": "h", "UINT16": "H", "INT32": "i", "UINT32": "I", "INT64": "q", "UINT64": "Q"}
FORMATS |= {"FLOAT32": "f", "FLOAT64": "d"}


def number(kind: str, **changes) -> Number:
    settings = {"scale": 1.0, "offset": 0.0, "wraps": False, "not_available": frozenset()} | changes
    return Number("x", 5, RegisterType(kind), Unit.WATT, **settings)


def registers(octets: bytes, order: WordOrder = WordOrder.BIG) -> Registers:
    """Octets as they stand in big word order, placed at register 5 behind two others."""
    words = list(struct.unpack(f">{len(octets) // 2}H", octets))
    if order is WordOrder.LITTLE:
        words.reverse()
    return Registers(Block(3, 2 + len(words)), (0xAAAA, 0x5555, *words), order)


def decoded(kind: str, hexadecimal: str, order: WordOrder = WordOrder.BIG, **changes) -> float | Unavailable:
    return decode(number(kind, **changes), registers(bytes.fromhex(hexadecimal), order))


def integers_of(kind: str) -> st.SearchStrategy[int]:
    """All values of the type but its ends, which are no measurements."""
    bits = int(kind[-2:])
    if kind.startswith("U"):
        return st.integers(0, 2**bits - 2)
    return st.integers(-(2 ** (bits - 1)) + 1, 2 ** (bits - 1) - 2)


@pytest.mark.parametrize("kind", ["INT16", "UINT16", "INT32", "UINT32", "INT64", "UINT64"])
@given(data=st.data(), order=st.sampled_from(WordOrder))
def test_every_integer_comes_back_in_both_word_orders(kind: str, data: st.DataObject, order: WordOrder) -> None:
    value = data.draw(integers_of(kind))
    assert decode(number(kind), registers(struct.pack(">" + FORMATS[kind], value), order)) == float(value)


@pytest.mark.parametrize(("kind", "width"), [("FLOAT32", 32), ("FLOAT64", 64)])
@given(data=st.data(), order=st.sampled_from(WordOrder))
def test_every_finite_float_comes_back_in_both_word_orders(
    kind: str, width: int, data: st.DataObject, order: WordOrder
) -> None:
    largest = struct.unpack(">f", bytes.fromhex("7f7fffff"))[0] if width == 32 else 1.7976931348623157e308
    value = data.draw(st.floats(-largest, largest, width=width, exclude_min=True, exclude_max=True))
    assert decode(number(kind), registers(struct.pack(">" + FORMATS[kind], value), order)) == value


@pytest.mark.parametrize(
    ("kind", "hexadecimal", "value"),
    [  # by hand, so that the round trips above cannot agree with a shared mistake
        ("INT16", "ff38", -200.0),
        ("UINT16", "ff38", 65336.0),
        ("INT32", "fffffe0c", -500.0),
        ("UINT32", "0007a120", 500_000.0),
        ("INT64", "ffffffffffffffff", -1.0),
        ("UINT64", "000000e8d4a51000", 1e12),
        ("FLOAT32", "48f42400", 500_000.0),
        ("FLOAT32", "c8f42400", -500_000.0),
        ("FLOAT64", "41ddcd6500000000", 2e9),
    ],
)
def test_known_octets_give_known_numbers(kind: str, hexadecimal: str, value: float) -> None:
    assert decoded(kind, hexadecimal) == value


def test_little_word_order_swaps_words_and_not_octets() -> None:
    words = Registers(Block(5, 2), (0xA120, 0x0007), WordOrder.LITTLE)
    assert decode(number("INT32"), words) == 500_000.0


NOT_AVAILABLE = [
    ("INT16", "8000"),
    ("INT16", "7fff"),
    ("UINT16", "ffff"),
    ("INT32", "80000000"),
    ("INT32", "7fffffff"),
    ("UINT32", "ffffffff"),
    ("INT64", "8000000000000000"),
    ("INT64", "7fffffffffffffff"),
    ("UINT64", "ffffffffffffffff"),
    ("FLOAT32", "7fc00000"),
    ("FLOAT32", "ffc00001"),
    ("FLOAT32", "7f800000"),
    ("FLOAT32", "ff800000"),
    ("FLOAT32", "7f7fffff"),
    ("FLOAT32", "ff7fffff"),
    ("FLOAT64", "7ff8000000000000"),
    ("FLOAT64", "fff0000000000000"),
    ("FLOAT64", "7fefffffffffffff"),
]


@pytest.mark.parametrize(("kind", "hexadecimal"), NOT_AVAILABLE)
def test_patterns_for_not_available_and_saturation_are_no_number(kind: str, hexadecimal: str) -> None:
    assert isinstance(decoded(kind, hexadecimal), Unavailable)
    assert isinstance(decoded(kind, hexadecimal, scale=0.01, offset=3.0), Unavailable)


@pytest.mark.parametrize(
    ("kind", "hexadecimal", "value"),
    [("INT16", "8001", -32767.0), ("INT16", "7ffe", 32766.0), ("UINT16", "0000", 0.0), ("INT32", "ffffffff", -1.0)],
)
def test_the_patterns_next_to_them_and_zero_are_measurements(kind: str, hexadecimal: str, value: float) -> None:
    assert decoded(kind, hexadecimal) == value


def test_a_map_may_name_further_patterns_for_not_available() -> None:
    assert isinstance(decoded("UINT16", "fffe", not_available=frozenset({0xFFFE})), Unavailable)
    assert decoded("UINT16", "fffe") == 65534.0


def test_a_counter_that_wraps_passes_through_all_ones() -> None:
    assert decoded("UINT16", "ffff", wraps=True) == 65535.0


def test_scale_and_offset_lead_to_the_si_unit() -> None:
    assert decoded("UINT16", "1388", scale=0.01) == pytest.approx(50.0)
    assert decoded("UINT16", "1388", scale=21738.686, offset=-108_682_560.0) == pytest.approx(10_870.0)


def test_a_read_of_another_length_than_the_block_is_a_bug_and_says_so() -> None:
    with pytest.raises(ValueError, match="3 words"):
        Registers(Block(0, 4), (1, 2, 3), WordOrder.BIG)


# One meter, whole ------------------------------------------------------------------------------------------------


def with_factor(raw: int, factor: int, kind: str = "INT16", **changes) -> float | Unavailable:
    """`raw`, and ten to the `factor` in the register behind it."""
    words = registers(struct.pack(f">{FORMATS[kind]}h", raw, factor))
    return decode(number(kind, scale_factor=5 + int(kind[-2:]) // 16, **changes), words)


@pytest.mark.parametrize("kind", ["INT16", "UINT16", "INT32", "UINT32"])
@given(data=st.data(), factor=st.integers(-10, 10))
def test_a_scale_factor_gives_the_float_nearest_to_the_exact_product(
    kind: str, data: st.DataObject, factor: int
) -> None:
    raw = data.draw(integers_of(kind))
    assert with_factor(raw, factor, kind) == float(Fraction(raw) * Fraction(10) ** factor)


@given(raw=integers_of("INT16"), factor=st.integers(-0x8000, 0x7FFF).filter(lambda factor: abs(factor) > 10))
def test_a_scale_factor_that_no_device_may_have_leaves_no_value_whatever_the_number(raw: int, factor: int) -> None:
    assert isinstance(with_factor(raw, factor), Unavailable)


@pytest.mark.parametrize(
    ("raw", "factor", "value"), [(-1234, 2, -123_400.0), (4998, -2, 49.98), (0, 10, 0.0), (3, -1, 0.3), (7, 0, 7.0)]
)
def test_scale_factors_by_hand(raw: int, factor: int, value: float) -> None:
    assert with_factor(raw, factor) == value


@pytest.mark.parametrize("factor", [0, -10, 10])
@pytest.mark.parametrize("raw", [-0x8000, 0x7FFF])
def test_what_is_no_measurement_is_none_under_any_scale_factor(raw: int, factor: int) -> None:
    assert isinstance(with_factor(raw, factor), Unavailable)


def test_a_scale_of_the_map_comes_on_top_of_the_devices_own() -> None:
    assert with_factor(25, -1, scale=1000.0) == 2500.0  # a device that says kW


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


# The plant, whole ------------------------------------------------------------------------------------------------

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


# Span and energy ---------------------------------------------------------------------------------------------------


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
