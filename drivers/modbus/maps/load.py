"""TOML -> RegisterMap or SunSpecMap. What is unknown, missing or contradictory is refused: file, key, what to do."""

from __future__ import annotations

import tomllib
from dataclasses import replace
from importlib import resources
from pathlib import Path

from controller.domain.metering import Point
from drivers.modbus.maps.model import (
    LONGEST_BLOCK,
    Block,
    Confidence,
    Feeds,
    Flag,
    Function,
    GeneratingUnit,
    Layout,
    Number,
    RegisterMap,
    RegisterType,
    SunSpecMap,
    Unit,
    Value,
    WordOrder,
    unit_of,
)
from drivers.modbus.maps.table import LAST_ADDRESS, MapError, Table

HEADER_WORDS = 2  # id and length of a SunSpec model


def known_models() -> tuple[str, ...]:
    """The models that come with the package, sorted."""
    shipped = resources.files("drivers.modbus.maps").iterdir()
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in shipped if entry.name.endswith(".toml")))


def load_map(model: str | Path) -> RegisterMap | SunSpecMap:
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


def parse_map(text: str, file: str) -> RegisterMap | SunSpecMap:
    """The map written in `text`; `file` is the name used in errors. Raises MapError."""
    try:
        table = Table(tomllib.loads(text), file, "")
    except tomllib.TOMLDecodeError as error:
        raise MapError(f"{file}: not valid TOML: {error}") from error
    sunspec = table.optional_table("sunspec")
    return _register_map(table, file) if sunspec is None else _sunspec_map(table, sunspec, file)


def _about(table: Table) -> RegisterMap:
    """What every map says of its meter, and no register yet."""
    return RegisterMap(
        model=table.required("model", str),
        title=table.required("title", str),
        function=table.choice("function", Function),
        word_order=table.choice("word_order", WordOrder),
        sources=table.strings("sources"),
        confidence=table.choice("confidence", Confidence),
        values=(),
        flags=(),
        units=(),
        energy_positive=None,
        energy_negative=None,
        doubt_address=None,
    )


def _register_map(table: Table, file: str) -> RegisterMap:
    doubt = table.optional_table("doubt")
    energy = table.optional_table("energy")
    parsed = replace(
        _about(table),
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


def _sunspec_map(table: Table, sunspec: Table, file: str) -> SunSpecMap:
    """A map with a [sunspec] table: values stand in its layouts, and nothing but values."""
    about = _about(table)
    nth = sunspec.optional("nth", int, 0)
    bases = sunspec.integers("bases")
    layouts = tuple(_layout(entry, about, file) for entry in sunspec.tables("layout"))
    if not bases or len(set(bases)) < len(bases) or not all(0 <= base < LAST_ADDRESS for base in bases):
        raise sunspec.error("bases", f"needs at least one register, each once and in 0..{LAST_ADDRESS - 1}")
    if not layouts:
        raise sunspec.error("layout", "is missing; add [[sunspec.layout]] with models, length and values")
    if nth < 0:
        raise sunspec.error("nth", f"is {nth}; the first meter of a unit is 1")
    for read in (sunspec, table):
        read.refuse_the_rest()
    parsed = SunSpecMap(bases, nth or None, layouts)
    if len(set(parsed.models)) < len(parsed.models):
        raise sunspec.error("layout", "names a model twice; each has one layout")
    shapes = {tuple((v.number.name, v.number.unit, v.feeds) for v in layout.table.values) for layout in layouts}
    if len(shapes) > 1:
        raise sunspec.error("layout", "differ in names, units or points of their values; they must agree")
    return parsed


def _layout(entry: Table, about: RegisterMap, file: str) -> Layout:
    layout = Layout(
        models=entry.integers("models"),
        length=entry.required("length", int),
        table=replace(about, values=tuple(_value(value) for value in entry.tables("value"))),
    )
    if not layout.models or not all(0 < model < LAST_ADDRESS for model in layout.models):
        raise entry.error("models", f"needs at least one id, each 1..{LAST_ADDRESS - 1}")
    _check_whole(layout.table, file)
    if layout.table.control_block.address < HEADER_WORDS:
        raise entry.error("value", f"addresses count from the model's id, so the first value is at {HEADER_WORDS}")
    if layout.count > LONGEST_BLOCK:
        raise entry.error("value", f"values must end within {LONGEST_BLOCK} registers of the id, not {layout.count}")
    if layout.count > HEADER_WORDS + layout.length:
        raise entry.error("length", f"is {layout.length}, but the values need {layout.count - HEADER_WORDS}")
    entry.refuse_the_rest()
    return layout


def _number(table: Table, name: str) -> Number:
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


def _value(table: Table) -> Value:
    number = _number(table, table.required("name", str))
    text = table.optional("point", str, Feeds.SITE_MAY_NAME.value)
    try:
        feeds: Point | Feeds = Feeds(text) if text in tuple(Feeds) else Point(text)
    except ValueError:
        raise table.error("point", f"is {text!r}; choose site or one of {', '.join(Point)}") from None
    if isinstance(feeds, Point) and unit_of(feeds) is not number.unit:
        raise table.error("unit", f"is {number.unit} but the point {feeds} is in {unit_of(feeds)}")
    scale_factor = table.optional_address("scale_factor")
    if scale_factor is not None and number.type.is_float:
        raise table.error("scale_factor", f"goes with integers; {number.type} needs none")
    value = Value(replace(number, scale_factor=scale_factor), feeds, table.bit("doubt_bit"))
    table.refuse_the_rest()
    return value


def _flag(table: Table) -> Flag:
    flag = Flag(table.required("name", str), table.address(), table.integers("bits"), table.choice("point", Point))
    if not flag.bits or not all(0 <= bit <= 15 for bit in flag.bits):
        raise table.error("bits", f"needs at least one bit, each 0..15, not {list(flag.bits)}")
    if unit_of(flag.feeds) is not Unit.NONE:
        raise table.error("point", f"{flag.feeds} is no flag")
    table.refuse_the_rest()
    return flag


def _unit(table: Table) -> GeneratingUnit:
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


def _counter(energy: Table | None, key: str) -> Number | None:
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
        if block is not None and (block.count > LONGEST_BLOCK or block.address + block.count > LAST_ADDRESS + 1):
            raise MapError(
                f"{file}: {what} span registers {block.address}..{block.address + block.count - 1}, but they must "
                f"come from one read of at most {LONGEST_BLOCK} registers below 65536; leave the far ones out"
            )
