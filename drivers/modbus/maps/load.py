"""TOML -> RegisterMap. Everything unknown, missing or contradictory is refused with file, key and what to do."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

from controller.domain.metering import Point
from drivers.modbus.maps.model import (
    LONGEST_BLOCK,
    Block,
    Confidence,
    Feeds,
    Flag,
    Function,
    GeneratingUnit,
    Number,
    RegisterMap,
    RegisterType,
    Unit,
    Value,
    WordOrder,
    unit_of,
)

_Choice = TypeVar("_Choice", bound=StrEnum)
_Kind = TypeVar("_Kind")
_LAST_ADDRESS = 0xFFFF


class MapError(ValueError):
    """A register map that cannot be used. The text names file, key, reason and what to do."""


def known_models() -> tuple[str, ...]:
    """The models that come with the package, sorted."""
    shipped = resources.files("drivers.modbus.maps").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in shipped if entry.name.endswith(".toml")))


def load_map(model: str | Path) -> RegisterMap:
    """A shipped map by its model name, or a map of the site's own by the path of its .toml file. Raises MapError."""
    if str(model).endswith(".toml"):
        path = Path(model)
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise MapError(f"{path}: cannot be read: {error}") from error
        return parse_map(text, str(path))
    if model not in known_models():
        known = ", ".join(known_models())
        raise MapError(
            f"no register map {str(model)!r}; known are {known}; a map of your own is named by its .toml file"
        )
    name = f"{model}.toml"
    return parse_map((resources.files("drivers.modbus.maps") / name).read_text(encoding="utf-8"), name)


def parse_map(text: str, file: str) -> RegisterMap:
    """The map written in `text`; `file` is the name used in errors. Raises MapError."""
    try:
        table = _Table(tomllib.loads(text), file, "")
    except tomllib.TOMLDecodeError as error:
        raise MapError(f"{file}: not valid TOML: {error}") from error
    doubt = table.optional_table("doubt")
    energy = table.optional_table("energy")
    parsed = RegisterMap(
        model=table.required("model", str),
        title=table.required("title", str),
        function=table.choice("function", Function),
        word_order=table.choice("word_order", WordOrder),
        sources=table.strings("sources"),
        confidence=table.choice("confidence", Confidence),
        values=tuple(_value(entry) for entry in table.tables("value")),
        flags=tuple(_flag(entry) for entry in table.tables("flag")),
        units=tuple(_unit(entry) for entry in table.tables("unit")),
        energy_positive=_counter(energy, "positive"),
        energy_negative=_counter(energy, "negative"),
        doubt_address=None if doubt is None else doubt.address(),
    )
    for read in (doubt, energy, table):
        if read is not None:
            read.refuse_the_rest()
    _check_whole(parsed, file)
    return parsed


class _Table:
    """A TOML table that remembers where it stands and which of its keys were asked for."""

    def __init__(self, content: Mapping[str, Any], file: str, path: str) -> None:
        self._content = content
        self._asked: set[str] = set()
        self._file = file
        self._path = path

    def error(self, key: str, problem: str) -> MapError:
        where = f"{self._path}.{key}" if self._path else key
        return MapError(f"{self._file}: {where}: {problem}")

    def required(self, key: str, kind: type[_Kind]) -> _Kind:
        if key not in self._content:
            raise self.error(key, f"is missing; add {key} = <{kind.__name__}>")
        return self._of_kind(key, kind, self._content[key])

    def optional(self, key: str, kind: type[_Kind], default: _Kind) -> _Kind:
        return self._of_kind(key, kind, self._content.get(key, default))

    def _of_kind(self, key: str, kind: type[_Kind], value: object) -> _Kind:
        self._asked.add(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):  # true is no address
            raise self.error(key, f"must be {kind.__name__}, not {value!r}")
        return value

    def number(self, key: str, default: float) -> float:
        self._asked.add(key)
        value = self._content.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, f"must be a finite number, not {value!r}")
        return float(value)

    def choice(self, key: str, kind: type[_Choice]) -> _Choice:
        text = self.required(key, str)
        try:
            return kind(text)
        except ValueError:
            raise self.error(key, f"is {text!r}; choose one of {', '.join(kind)}") from None

    def integers(self, key: str) -> tuple[int, ...]:
        values = self.optional(key, list, [])
        if not all(type(value) is int for value in values):
            raise self.error(key, f"must be a list of whole numbers, not {values!r}")
        return tuple(values)

    def strings(self, key: str) -> tuple[str, ...]:
        values = self.required(key, list)
        if not values or not all(isinstance(value, str) for value in values):
            raise self.error(key, f"must be a list of texts with at least one entry, not {values!r}")
        return tuple(values)

    def address(self) -> int:
        address = self.required("address", int)
        if not 0 <= address <= _LAST_ADDRESS:
            raise self.error("address", f"{address} is outside 0..{_LAST_ADDRESS} (0-based, as on the wire)")
        return address

    def bit(self, key: str) -> int | None:
        bit = self.optional(key, int, -1)
        if key in self._content and not 0 <= bit <= 15:
            raise self.error(key, f"{bit} is outside 0..15")
        return None if key not in self._content else bit

    def optional_table(self, key: str) -> _Table | None:
        self._asked.add(key)
        return self.table(key) if key in self._content else None

    def table(self, key: str) -> _Table:
        content = self.required(key, dict)
        return _Table(content, self._file, f"{self._path}.{key}" if self._path else key)

    def tables(self, key: str) -> list[_Table]:
        entries = self.optional(key, list, [])
        if not all(isinstance(entry, dict) for entry in entries):
            raise self.error(key, f"must be written as [[{key}]] tables")
        return [_Table(entry, self._file, f"{key}[{entry.get('name', at)}]") for at, entry in enumerate(entries)]

    def refuse_the_rest(self) -> None:
        for key in sorted(self._content.keys() - self._asked):
            raise self.error(key, f"unknown key; known here are {', '.join(sorted(self._asked))}")


def _number(table: _Table, name: str) -> Number:
    number = Number(
        name=name,
        address=table.address(),
        type=table.choice("type", RegisterType),
        unit=table.choice("unit", Unit),
        scale=table.number("scale", 1.0),
        offset=table.number("offset", 0.0),
        wraps=table.optional("wraps", bool, False),
        not_available=frozenset(table.integers("not_available")),
    )
    if number.scale == 0.0:
        raise table.error("scale", "is 0, which makes every measurement 0; give the factor from raw to the SI unit")
    if number.wraps and (number.type.is_float or number.type.is_signed):
        raise table.error("wraps", f"only unsigned counters wrap, not {number.type}")
    if any(not 0 <= pattern < 1 << number.type.bits for pattern in number.not_available):
        raise table.error("not_available", f"holds a pattern that does not fit {number.type}; write it unsigned")
    return number


def _value(table: _Table) -> Value:
    number = _number(table, table.required("name", str))
    text = table.optional("point", str, Feeds.SITE_MAY_NAME.value)
    try:
        feeds: Point | Feeds = Feeds(text) if text in tuple(Feeds) else Point(text)
    except ValueError:
        raise table.error("point", f"is {text!r}; choose site or one of {', '.join(Point)}") from None
    if isinstance(feeds, Point) and unit_of(feeds) is not number.unit:
        raise table.error("unit", f"is {number.unit} but the point {feeds} is in {unit_of(feeds)}")
    value = Value(number, feeds, table.bit("doubt_bit"))
    table.refuse_the_rest()
    return value


def _flag(table: _Table) -> Flag:
    flag = Flag(table.required("name", str), table.address(), table.integers("bits"), table.choice("point", Point))
    if not flag.bits or not all(0 <= bit <= 15 for bit in flag.bits):
        raise table.error("bits", f"needs at least one bit, each 0..15, not {list(flag.bits)}")
    if unit_of(flag.feeds) is not Unit.NONE:
        raise table.error("point", f"{flag.feeds} is no flag")
    table.refuse_the_rest()
    return flag


def _unit(table: _Table) -> GeneratingUnit:
    name = table.required("name", str)
    numbers: dict[str, Number] = {}
    for key, unit in (("synchronised", Unit.NONE), ("gross", Unit.WATT), ("available", Unit.WATT)):
        part = table.table(key)
        numbers[key] = _number(part, f"{name}.{key}")
        if numbers[key].unit is not unit:
            raise part.error("unit", f"is {numbers[key].unit}, must be {unit}")
        part.refuse_the_rest()
    parsed = GeneratingUnit(
        name, numbers["synchronised"], numbers["gross"], numbers["available"], table.bit("doubt_bit")
    )
    table.refuse_the_rest()
    return parsed


def _counter(energy: _Table | None, key: str) -> Number | None:
    table = None if energy is None else energy.optional_table(key)
    if table is None:
        return None
    number = _number(table, f"energy_{key}")
    if number.unit is not Unit.WATT_HOUR:
        raise table.error("unit", f"is {number.unit}, must be {Unit.WATT_HOUR}")
    if number.type is RegisterType.FLOAT32:
        raise table.error("type", "FLOAT32 steps 64 Wh at 1 GWh and 8.2 kWh at 100 GWh; use the meter's 64-bit counter")
    table.refuse_the_rest()
    return number


def _check_whole(parsed: RegisterMap, file: str) -> None:
    if not parsed.numbers and not parsed.flags:
        raise MapError(f"{file}: describes no value, flag or unit; add at least one [[value]]")
    named = [number.name for number in parsed.numbers] + [flag.name for flag in parsed.flags]
    for name in named:
        if named.count(name) > 1:
            raise MapError(f"{file}: the name {name!r} stands twice; every entry needs its own")
    bits = [value.doubt_bit for value in parsed.values] + [unit.doubt_bit for unit in parsed.units]
    if parsed.doubt_address is None and any(bit is not None for bit in bits):
        raise MapError(f"{file}: doubt_bit is set but no [doubt] table names the register; add [doubt] address = ...")
    blocks: list[tuple[str, Block | None]] = [
        ("the control values", parsed.control_block),
        ("the energy counters", parsed.energy_block),
    ]
    for what, block in blocks:
        if block is not None and (block.count > LONGEST_BLOCK or block.address + block.count > _LAST_ADDRESS + 1):
            raise MapError(
                f"{file}: {what} span registers {block.address}..{block.address + block.count - 1}, but they must "
                f"come from one read of at most {LONGEST_BLOCK} registers below 65536; leave the far ones out"
            )
