"""Numbers with their unit in the value: "420 kW", "1 s", "8 %/min". A bare number or a foreign unit is refused.

Everything is parsed into the unit the rest of the house uses (W, s, Hz, bytes, ratios of one). Arithmetic is decimal,
so that "0.1 kW" is 100 W and nothing else.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Annotated, Final

from pydantic import PlainValidator

_POWER: Final = {"W": "1", "kW": "1e3", "MW": "1e6", "GW": "1e9"}
_TIME: Final = {"ms": "0.001", "s": "1", "min": "60", "h": "3600", "d": "86400"}
_FREQUENCY: Final = {"mHz": "0.001", "Hz": "1"}
_SIZE: Final = {"B": "1", "kB": "1e3", "MB": "1e6", "GB": "1e9", "TB": "1e12", "MiB": "1048576", "GiB": "1073741824"}
_ENERGY: Final = {"Wh": "1", "kWh": "1e3", "MWh": "1e6", "GWh": "1e9"}
_SHARE: Final = {"%": "0.01"}
_RAMP: Final = {f"{unit}/min": factor for unit, factor in _POWER.items()}
_RAMP_SHARE: Final = {"%/min": "0.01"}
_FAMILIES: Final[Mapping[str, Mapping[str, str]]] = {
    "power": _POWER,
    "duration": _TIME,
    "frequency": _FREQUENCY,
    "size": _SIZE,
    "energy": _ENERGY,
    "share": _SHARE,
    "ramp": _RAMP | _RAMP_SHARE,
}
_FORM: Final = re.compile(r"([+-]?)(\d{1,15}(?:\.\d{1,9})?) *([A-Za-z%][A-Za-z%/]*)", re.ASCII)
_NUMBER_ONLY: Final = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)


class RefusedValueError(ValueError):
    """A value that cannot stand: `reason` says what is wrong with it, `advice` what to write instead."""

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(f"{reason}; {advice}")
        self.reason = reason
        self.advice = advice


@dataclass(frozen=True, slots=True)
class Amount:
    """A power or a ramp given outright (`absolute`, W or W/min) or as a `share` of the site's rating."""

    absolute: float | None
    share: float | None

    def of(self, rated_w: float) -> float:
        """The amount in W (or W/min) at a site of this rating."""
        if self.share is not None:
            return self.share * rated_w
        assert self.absolute is not None  # noqa: S101  # Kind.amount sets exactly one of the two
        return self.absolute


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of quantity: its units with their factors into the house's unit, and the bounds it must keep.

    positive: zero is refused too. largest: in the house's unit, inclusive; catches a slip of three zeros.
    """

    name: str
    units: Mapping[str, str]
    example: str
    positive: bool
    largest: float
    shares: Mapping[str, str] = field(default_factory=dict)
    largest_share: float = 1.0

    @property
    def expected(self) -> str:
        """What the documentation and the error text call it: `a power in W, kW, MW, GW or %`."""
        names = [*self.units, *self.shares]
        listed = names[0] if len(names) == 1 else f"{', '.join(names[:-1])} or {names[-1]}"
        return f"a {self.name} in {listed}"

    def number(self, given: object) -> float:
        """Parse into the house's unit; raises RefusedValueError saying what was expected."""
        value, _ = self._parse(given)
        return float(value)

    def whole(self, given: object) -> int:
        """Like `number`, for units that are counted (watts, bytes); a fraction of one is refused."""
        value, _ = self._parse(given)
        if value != value.to_integral_value():
            smallest = next(iter(self.units))
            raise RefusedValueError(f"the smallest step here is 1 {smallest}", f'write for example "{self.example}"')
        return int(value)

    def amount(self, given: object) -> Amount:
        """Parse a value that may also be a share of the site's rating."""
        value, is_share = self._parse(given)
        return Amount(None, float(value)) if is_share else Amount(float(value), None)

    def _parse(self, given: object) -> tuple[Decimal, bool]:
        advice = f'write for example "{self.example}"'
        if not isinstance(given, str):
            raise RefusedValueError(
                f"a bare {type(given).__name__} has no unit, and {self.expected} is expected", advice
            )
        match = _FORM.fullmatch(given.strip(" "))
        if match is None:
            raise RefusedValueError(self._why_malformed(given), advice)
        sign, digits, unit = match.groups()
        is_share = unit in self.shares
        factor = self.shares.get(unit) or self.units.get(unit)
        if factor is None:
            raise RefusedValueError(self._why_foreign(unit), advice)
        value = Decimal(digits) * Decimal(factor)
        if sign == "-" and value:
            raise RefusedValueError("a negative value makes no sense here", advice)
        if self.positive and not value:
            raise RefusedValueError("this must be more than zero", advice)
        largest = self.largest_share if is_share else self.largest
        if value > Decimal(largest):
            raise RefusedValueError(f"more than {_plain(largest, self, is_share)} is not believable", advice)
        return value, is_share

    def _why_malformed(self, given: str) -> str:
        if _NUMBER_ONLY.fullmatch(given.strip()):
            return f"a number without its unit, and {self.expected} is expected"
        return f"this is no number followed by a unit, and {self.expected} is expected"

    def _why_foreign(self, unit: str) -> str:
        for family, units in _FAMILIES.items():
            if unit in units:
                return f"{unit} is a unit of {family}, and {self.expected} is expected"
        for known in (*self.units, *self.shares):
            if unit.casefold() == known.casefold():
                return f"{unit} is no unit; did you mean {known}? Capitals count, and {self.expected} is expected"
        return f"{unit} is no unit known here, and {self.expected} is expected"


def _plain(value: float, kind: Kind, is_share: bool) -> str:
    """The largest value in the largest unit that leaves it at 1 or more."""
    units = kind.shares if is_share else kind.units
    unit, factor = max(
        ((name, float(size)) for name, size in units.items() if float(size) <= value or len(units) == 1),
        key=lambda entry: entry[1],
    )
    return f"{value / factor:g} {unit}"


_TEN_GW: Final = 1e10
POWER: Final = Kind("power", _POWER, "420 kW", positive=False, largest=_TEN_GW)
SOME_POWER: Final = Kind("power", _POWER, "420 kW", positive=True, largest=_TEN_GW)
DURATION: Final = Kind("duration", _TIME, "10 s", positive=True, largest=3650 * 86400)
DURATION_OR_ZERO: Final = Kind("duration", _TIME, "10 s", positive=False, largest=3650 * 86400)
FREQUENCY: Final = Kind("frequency", _FREQUENCY, "50 Hz", positive=True, largest=100)
SHARE: Final = Kind("share", _SHARE, "1 %", positive=False, largest=1)
SIZE: Final = Kind("size", _SIZE, "2 GB", positive=True, largest=1e15)
AMOUNT: Final = Kind("power", _POWER, "1 %", positive=False, largest=_TEN_GW, shares=_SHARE)
SOME_AMOUNT: Final = Kind("power", _POWER, "5 %", positive=True, largest=_TEN_GW, shares=_SHARE)
RAMP: Final = Kind("ramp", _RAMP, "8 %/min", positive=True, largest=_TEN_GW, shares=_RAMP_SHARE, largest_share=60.0)

# The kinds as annotations. The Kind stands in the annotation a second time, so that the reference can name it.
Power = Annotated[int, PlainValidator(POWER.whole), POWER]
SomePower = Annotated[int, PlainValidator(SOME_POWER.whole), SOME_POWER]
Duration = Annotated[float, PlainValidator(DURATION.number), DURATION]
DurationOrZero = Annotated[float, PlainValidator(DURATION_OR_ZERO.number), DURATION_OR_ZERO]
Frequency = Annotated[float, PlainValidator(FREQUENCY.number), FREQUENCY]
Share = Annotated[float, PlainValidator(SHARE.number), SHARE]
Size = Annotated[int, PlainValidator(SIZE.whole), SIZE]
PowerOrShare = Annotated[Amount, PlainValidator(AMOUNT.amount), AMOUNT]
Ramp = Annotated[Amount, PlainValidator(RAMP.amount), RAMP]
# Keys whose default is worked out from others. TOML has no null: None can only be that default, never a user's value.
DerivedPower = Annotated[int | None, PlainValidator(POWER.whole), POWER]
DerivedSomePower = Annotated[int | None, PlainValidator(SOME_POWER.whole), SOME_POWER]
DerivedDuration = Annotated[float | None, PlainValidator(DURATION.number), DURATION]
DerivedFrequency = Annotated[float | None, PlainValidator(FREQUENCY.number), FREQUENCY]
DerivedPowerOrShare = Annotated[Amount | None, PlainValidator(AMOUNT.amount), AMOUNT]
DerivedSomePowerOrShare = Annotated[Amount | None, PlainValidator(SOME_AMOUNT.amount), SOME_AMOUNT]
DerivedRamp = Annotated[Amount | None, PlainValidator(RAMP.amount), RAMP]


def written(value: float, kind: Kind) -> str:
    """A value in the house's unit as a person would write it, exact to six digits: 420000 W -> "420 kW"."""
    best_unit, best = next(iter(kind.units)), float(next(iter(kind.units.values())))
    for unit, factor in kind.units.items():
        if best < float(factor) <= abs(value):
            best_unit, best = unit, float(factor)
    return f"{value / best:.6g} {best_unit}"
