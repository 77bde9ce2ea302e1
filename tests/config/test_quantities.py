"""Values carry their unit; anything else is refused with what was expected."""

from __future__ import annotations

import string
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from controller.config.quantities import (
    AMOUNT,
    DURATION,
    DURATION_OR_ZERO,
    FREQUENCY,
    POWER,
    RAMP,
    SHARE,
    SIZE,
    Kind,
    RefusedValueError,
    written,
)

KINDS = (AMOUNT, DURATION, DURATION_OR_ZERO, FREQUENCY, POWER, RAMP, SHARE, SIZE)


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (POWER, "420 kW", 420_000),
        (POWER, "420kW", 420_000),
        (POWER, "0.1 kW", 100),
        (POWER, "1.234567 MW", 1_234_567),
        (POWER, "0 W", 0),
        (DURATION, "250 ms", 0.25),
        (DURATION, "15 min", 900),
        (DURATION, "90 d", 7_776_000),
        (FREQUENCY, "49500 mHz", 49.5),
        (SHARE, "1 %", 0.01),
        (SIZE, "2 GB", 2_000_000_000),
        (SIZE, "1 GiB", 1_073_741_824),
    ],
)
def test_a_value_with_its_unit_is_read_into_the_house_unit(kind: Kind, text: str, value: float) -> None:
    assert kind.number(text) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "rated_w", "amount"),
    [("8 %/min", 1_000_000, 80_000), ("8 MW/min", 1_000_000, 8_000_000), ("250 kW/min", 1, 250_000)],
)
def test_a_ramp_may_be_a_share_of_the_rating_per_minute(text: str, rated_w: float, amount: float) -> None:
    assert RAMP.amount(text).of(rated_w) == pytest.approx(amount)


@pytest.mark.parametrize(
    ("kind", "given_value", "reason"),
    [
        (POWER, 420, "a bare int has no unit, and a power in W, kW, MW or GW is expected"),
        (POWER, 4.2, "a bare float has no unit"),
        (POWER, True, "a bare bool has no unit"),
        (POWER, None, "a bare NoneType has no unit"),
        (POWER, "420", "a number without its unit"),
        (POWER, "1,5", "a number without its unit"),
        (POWER, "1,5 kW", "no number followed by a unit"),
        (POWER, "1e3 kW", "no number followed by a unit"),
        (POWER, "kW", "no number followed by a unit"),
        (POWER, "", "no number followed by a unit"),
        (POWER, "٤ kW", "no number followed by a unit"),
        (POWER, "420 kWh", "kWh is a unit of energy, and a power"),
        (POWER, "1 %", "% is a unit of share, and a power"),
        (POWER, "420 KW", "did you mean kW?"),
        (POWER, "420 mW", "did you mean MW?"),
        (POWER, "420 hp", "hp is no unit known here"),
        (POWER, "-1 kW", "a negative value makes no sense here"),
        (POWER, "0.5 W", "the smallest step here is 1 W"),
        (POWER, "11 GW", "more than 10 GW is not believable"),
        (DURATION, "5 kW", "kW is a unit of power, and a duration"),
        (DURATION, "0 s", "this must be more than zero"),
        (DURATION, "1 m", "m is no unit known here"),
        (RAMP, "8 MW", "MW is a unit of power, and a ramp"),
        (AMOUNT, "101 %", "more than 100 % is not believable"),
        (FREQUENCY, "50 s", "s is a unit of duration, and a frequency"),
    ],
)
def test_what_is_no_such_quantity_is_refused_with_what_was_expected(
    kind: Kind, given_value: object, reason: str
) -> None:
    parse = kind.amount if kind.shares else kind.whole if kind is POWER else kind.number
    with pytest.raises(RefusedValueError) as caught:
        parse(given_value)
    assert reason in caught.value.reason
    assert kind.example in caught.value.advice


@given(kind=st.sampled_from([POWER, SIZE]), data=st.data())
def test_every_whole_value_survives_being_written_and_read_again(kind: Kind, data: st.DataObject) -> None:
    value = data.draw(st.integers(min_value=1, max_value=999_999)) * 10 ** data.draw(st.integers(0, 4))
    assume(value <= kind.largest)
    assert kind.number(written(value, kind)) == pytest.approx(value, rel=1e-5)


@given(thousandths=st.integers(min_value=0, max_value=10**10), unit=st.sampled_from(["W", "kW", "MW"]))
def test_watts_are_exact_or_refused_and_never_rounded(thousandths: int, unit: str) -> None:
    number = Decimal(thousandths) / 1000
    exact = number * {"W": 1, "kW": 1000, "MW": 1_000_000}[unit]
    if exact > 10**10:
        return
    text = f"{number:f} {unit}"
    if exact == exact.to_integral_value():
        assert POWER.whole(text) == exact
    else:
        with pytest.raises(RefusedValueError, match="smallest step"):
            POWER.whole(text)


@given(kind=st.sampled_from(KINDS), text=st.text(max_size=20) | st.text(string.digits + ".-+ %kMWhsmin/", max_size=12))
def test_any_text_is_either_a_value_in_bounds_or_refused_with_a_reason(kind: Kind, text: str) -> None:
    try:
        amount = kind.amount(text)
    except RefusedValueError as refused:
        assert refused.reason
        assert refused.advice
        return
    value, largest = (amount.share, kind.largest_share) if amount.share is not None else (amount.absolute, kind.largest)
    assert value is not None
    assert 0 <= value <= largest
    assert value > 0 or not kind.positive


@pytest.mark.parametrize(
    ("value", "kind", "text"),
    [
        (420_000, POWER, "420 kW"),
        (0, POWER, "0 W"),
        (950, POWER, "950 W"),
        (49.5, FREQUENCY, "49.5 Hz"),
        (90, DURATION, "1.5 min"),
    ],
)
def test_a_value_is_written_in_the_largest_unit_it_fills(value: float, kind: Kind, text: str) -> None:
    assert written(value, kind) == text
