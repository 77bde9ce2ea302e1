"""What a register map says, as values. A map describes a meter *model*; nothing of one installation stands in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from controller.domain.metering import Point

LONGEST_BLOCK = 125  # registers in one read (Modbus application protocol 1.1b3, 6.3)


class Function(StrEnum):
    """Which of the two register tables; the wire's function codes are 3 and 4."""

    HOLDING = "holding"
    INPUT = "input"

    @property
    def code(self) -> int:
        return 3 if self is Function.HOLDING else 4


class WordOrder(StrEnum):
    """Order of the 16-bit words of a longer number. Octets inside a word are always big-endian."""

    BIG = "big"
    LITTLE = "little"


class RegisterType(StrEnum):
    INT16 = "INT16"
    UINT16 = "UINT16"
    INT32 = "INT32"
    UINT32 = "UINT32"
    INT64 = "INT64"
    UINT64 = "UINT64"
    FLOAT32 = "FLOAT32"
    FLOAT64 = "FLOAT64"

    @property
    def bits(self) -> int:
        return int(self.value[-2:])

    @property
    def words(self) -> int:
        return self.bits // 16

    @property
    def is_float(self) -> bool:
        return self.value.startswith("FLOAT")

    @property
    def is_signed(self) -> bool:
        return not self.value.startswith("UINT")


class Unit(StrEnum):
    """The SI unit a value has after scaling."""

    WATT = "W"
    WATT_HOUR = "Wh"
    HERTZ = "Hz"
    VOLT = "V"
    NONE = "1"


class Confidence(StrEnum):
    """How well a map is known: A two or more sources agree, B one source, C one source with unit or scale in doubt."""

    A = "A"
    B = "B"
    C = "C"


class Feeds(StrEnum):
    """Who names the point of a value that the map itself gives none."""

    SITE_MUST_NAME = "site"
    SITE_MAY_NAME = "unassigned"


def unit_of(point: Point) -> Unit:
    """The unit in a point's name: the part after the last underscore, NONE for counts and flags."""
    by_suffix = {"w": Unit.WATT, "wh": Unit.WATT_HOUR, "hz": Unit.HERTZ, "v": Unit.VOLT}
    return by_suffix.get(point.value.rpartition("_")[2], Unit.NONE)


@dataclass(frozen=True, slots=True)
class Number:
    """One number in the registers: `raw * scale + offset` in `unit`.

    address: 0-based PDU address of its first register.
    wraps: a counter that runs through its whole range, so that no pattern of it means "not available".
    not_available: further raw patterns (unsigned) that mean "not available", beside those of the type.
    scale_factor: register that holds a power of ten (INT16) to multiply by as well. It may change from read to read, so
        it always comes from the same read as the number.
    """

    name: str
    address: int
    type: RegisterType
    unit: Unit
    scale: float
    offset: float
    wraps: bool
    not_available: frozenset[int]
    scale_factor: int | None = None


@dataclass(frozen=True, slots=True)
class Value:
    """A number and the point it feeds. `doubt_bit` is the bit of the map's doubt register that makes it UNCERTAIN."""

    number: Number
    feeds: Point | Feeds
    doubt_bit: int | None


@dataclass(frozen=True, slots=True)
class Flag:
    """A point that is 1 when any of `bits` of the register at `address` is set, else 0."""

    name: str
    address: int
    bits: tuple[int, ...]
    feeds: Point


@dataclass(frozen=True, slots=True)
class GeneratingUnit:
    """One unit of a plant. Only synchronised units (register 1, not 0) count towards the plant's sums."""

    name: str
    synchronised: Number
    gross: Number
    available: Number
    doubt_bit: int | None


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of registers fetched in one read."""

    address: int
    count: int


@dataclass(frozen=True, slots=True)
class RegisterMap:
    """One meter model or plant block.

    values, flags, units: the control block, all inside one read.
    energy_positive, energy_negative: counters in Wh that run while the map's power reads above, below 0.
    doubt_address: register whose bits name doubtful signals, None when there is none.
    """

    model: str
    title: str
    function: Function
    word_order: WordOrder
    sources: tuple[str, ...]
    confidence: Confidence
    values: tuple[Value, ...]
    flags: tuple[Flag, ...]
    units: tuple[GeneratingUnit, ...]
    energy_positive: Number | None
    energy_negative: Number | None
    doubt_address: int | None

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Every number of the control block."""
        of_units = tuple(n for unit in self.units for n in (unit.synchronised, unit.gross, unit.available))
        return tuple(value.number for value in self.values) + of_units

    @property
    def control_block(self) -> Block:
        """The one read that brings all control values."""
        spans = [(n.address, n.address + n.type.words) for n in self.numbers]
        spans += [(n.scale_factor, n.scale_factor + 1) for n in self.numbers if n.scale_factor is not None]
        spans += [(flag.address, flag.address + 1) for flag in self.flags]
        if self.doubt_address is not None:
            spans.append((self.doubt_address, self.doubt_address + 1))
        return _enclosing(spans)

    @property
    def energy_block(self) -> Block | None:
        """The slower read of the counters, None when the map has none."""
        counters = [n for n in (self.energy_positive, self.energy_negative) if n is not None]
        return _enclosing([(n.address, n.address + n.type.words) for n in counters]) if counters else None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the SunSpec models of one kind keep their values.

    models: the model ids.
    length: registers such a model has behind its id and its length, at least.
    table: the values; its addresses count from the register of the id. It has nothing but values.
    """

    models: tuple[int, ...]
    length: int
    table: RegisterMap

    @property
    def count(self) -> int:
        """Registers of one read that begins at the id and brings every value: the header always comes along."""
        block = self.table.control_block
        return block.address + block.count

    def at(self, address: int) -> RegisterMap:
        """The table of a model whose id stands in the register `address`."""
        return replace(self.table, values=tuple(_moved(value, address) for value in self.table.values))


@dataclass(frozen=True, slots=True)
class SunSpecMap:
    """Meters that are found by walking the models of a SunSpec device.

    bases: registers where the marker may stand, in the order in which they are tried.
    nth: which of several meters of one unit, from 1; None when there must be only one.
    layouts: their values have the same names, units and points.
    """

    bases: tuple[int, ...]
    nth: int | None
    layouts: tuple[Layout, ...]

    @property
    def table(self) -> RegisterMap:
        """Names, units and points of the values; the addresses are those of one layout."""
        return self.layouts[0].table

    @property
    def models(self) -> tuple[int, ...]:
        return tuple(model for layout in self.layouts for model in layout.models)

    def layout_of(self, model: int) -> Layout | None:
        return next((layout for layout in self.layouts if model in layout.models), None)


def _moved(value: Value, by: int) -> Value:
    number = value.number
    scale_factor = None if number.scale_factor is None else number.scale_factor + by
    return replace(value, number=replace(number, address=number.address + by, scale_factor=scale_factor))


def _enclosing(spans: list[tuple[int, int]]) -> Block:
    start = min(first for first, _ in spans)
    return Block(start, max(end for _, end in spans) - start)
