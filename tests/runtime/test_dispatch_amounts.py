"""Powers and durations as a dispatcher types them."""

from __future__ import annotations

import pytest

from controller.commands.dispatch import parse_duration, parse_power


@pytest.mark.parametrize(
    ("text", "power_w"),
    [("400kW", 400_000), ("1.5 MW", 1_500_000), ("0kW", 0), ("250000w", 250_000), ("0.0004GW", 400_000)],
)
def test_a_power_is_read_with_its_unit(text: str, power_w: int) -> None:
    assert parse_power(text) == power_w


@pytest.mark.parametrize("text", ["400", "-1kW", "kW", "400 kWh", "1e3kW", ""])
def test_a_power_without_a_unit_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no power"):
        parse_power(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("15m", 900), ("90s", 90), ("1.5h", 5400), ("2 min", 120), ("1d", 86400)]
)
def test_a_duration_is_read_with_its_unit(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["15", "0s", "-5m", "m", "1 month", ""])
def test_a_duration_without_a_unit_or_sense_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration(text)
