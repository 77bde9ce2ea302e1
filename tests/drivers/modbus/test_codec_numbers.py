"""Registers to numbers: every type, both word orders, what is not a measurement, and what scales it."""

from __future__ import annotations

import struct
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.modbus.codec import Registers, Unavailable, decode
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
