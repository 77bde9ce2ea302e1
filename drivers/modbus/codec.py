"""Registers -> numbers -> samples. Pure; the only place where a sign is ever turned.

What a device could not measure becomes quality BAD with no value, never 0: a null poll read as 0 MW looks like lost
generation, and a load controller would act on it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from controller.domain.metering import Point, Quality, Sample
from drivers.modbus.maps.model import Block, GeneratingUnit, Number, RegisterMap, RegisterType, Unit, WordOrder

Direction = Literal[1, -1]

DIRECTED_POINTS = frozenset({Point.POI_EXPORT_W, Point.SITE_LOAD_W, Point.FEEDER_LOAD_W})
UNIT_POINTS = frozenset({Point.GROSS_W, Point.AVAILABLE_W, Point.SYNCHRONISED_UNITS})
LARGEST_SCALE_FACTOR = 10  # powers of ten, either way (SunSpec information model, type sunssf)
USABLE_SHARE_OF_RANGE = 0.8  # a rating above it leaves no room to tell overload from saturation

_FLOAT_FORMAT = {RegisterType.FLOAT32: ">f", RegisterType.FLOAT64: ">d"}
_FLOAT_MAX = {
    RegisterType.FLOAT32: float.fromhex("0x1.fffffep+127"),
    RegisterType.FLOAT64: math.ldexp(1 - 2**-53, 1024),
}


@dataclass(frozen=True, slots=True)
class Registers:
    """The words of one read. words[0] is the register at `block.address`."""

    block: Block
    words: tuple[int, ...]
    word_order: WordOrder

    def __post_init__(self) -> None:
        if len(self.words) != self.block.count:
            raise ValueError(f"{len(self.words)} words for a block of {self.block.count}")

    def raw(self, address: int, word_count: int) -> int:
        """`word_count` registers as one unsigned number, the map's word order applied."""
        start = address - self.block.address
        words = self.words[start : start + word_count]
        if self.word_order is WordOrder.LITTLE:
            words = words[::-1]
        return int.from_bytes(struct.pack(f">{word_count}H", *words), "big")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """The registers hold no measurement; `why` is for people."""

    why: str


def decode(number: Number, registers: Registers) -> float | Unavailable:
    """The number in its SI unit, or why there is none. No direction applied yet."""
    raw = registers.raw(number.address, number.type.words)
    if raw in number.not_available:
        return Unavailable(f"not available (0x{raw:X})")
    if number.type.is_float:
        measured = _float(raw, number.type)
        if not math.isfinite(measured) or abs(measured) == _FLOAT_MAX[number.type]:
            return Unavailable(f"not available ({measured:g})")
    else:
        measured = _integer(raw, number.type)
        if not number.wraps and measured in _rails(number.type):
            return Unavailable(f"not available or saturated (0x{raw:X})")
    if number.scale_factor is not None:
        exponent = _integer(registers.raw(number.scale_factor, 1), RegisterType.INT16)
        if not -LARGEST_SCALE_FACTOR <= exponent <= LARGEST_SCALE_FACTOR:  # -32768, "not implemented", is one of them
            return Unavailable(f"scale factor {exponent} at {number.scale_factor} is outside -10..10")
        measured = scaled(measured, exponent)
    return measured * number.scale + number.offset


def scaled(measured: float, exponent: int) -> float:
    """`measured` times ten to the `exponent`, as near as a float can be: never by way of an inexact 0.1."""
    return float(measured * 10**exponent if exponent >= 0 else measured / 10**-exponent)


def _float(raw: int, kind: RegisterType) -> float:
    value: float = struct.unpack(_FLOAT_FORMAT[kind], raw.to_bytes(kind.words * 2, "big"))[0]
    return value


def _integer(raw: int, kind: RegisterType) -> int:
    return raw - (1 << kind.bits) if kind.is_signed and raw >> (kind.bits - 1) else raw


def _rails(kind: RegisterType) -> tuple[int, ...]:
    """Both ends of a signed type, the upper end of an unsigned one.

    They double as the usual "not available" patterns: 0x8000 and 0x7FFF (SunSpec, Schneider), 0x80000000 and
    0x7FFFFFFF (ABB, Schneider), all ones for unsigned types. 0 is a measurement.
    """
    if kind.is_signed:
        return (-(1 << (kind.bits - 1)), (1 << (kind.bits - 1)) - 1)
    return ((1 << kind.bits) - 1,)


def readings(
    register_map: RegisterMap,
    points: Mapping[str, Point],
    direction: Direction,
    words: Sequence[int],
    taken_at: float,
    meter_id: str,
) -> dict[Point, Sample]:
    """All control samples of one read of `register_map.control_block`.

    points: value name -> point, already resolved; values not named are left out.
    direction: +1 when this installation's positive power is what the point's name says, -1 when it is the opposite.
        Applied to POI_EXPORT_W and SITE_LOAD_W only.
    taken_at: loop seconds at which the read began.
    """
    registers = Registers(register_map.control_block, tuple(words), register_map.word_order)
    doubt = 0 if register_map.doubt_address is None else registers.raw(register_map.doubt_address, 1)
    samples: dict[Point, Sample] = {}
    for value in register_map.values:
        point = points.get(value.number.name)
        if point is None:
            continue
        measured = decode(value.number, registers)
        if point in DIRECTED_POINTS and not isinstance(measured, Unavailable):
            measured = measured * direction + 0.0  # + 0.0: a turned zero is a plain zero
        source = f"{meter_id}/{value.number.name}@{value.number.address}"
        samples[point] = _sample(measured, taken_at, source, _is_set(doubt, value.doubt_bit))
    for flag in register_map.flags:
        measured = _flag(registers.raw(flag.address, 1), flag.bits)
        samples[flag.feeds] = _sample(measured, taken_at, f"{meter_id}/{flag.name}@{flag.address}", doubtful=False)
    if register_map.units:
        doubtful = any(_is_set(doubt, unit.doubt_bit) for unit in register_map.units)
        for point, total in _plant_totals(register_map.units, registers).items():
            names = "+".join(unit.name for unit in register_map.units)
            samples[point] = _sample(total, taken_at, f"{meter_id}/{names}", doubtful)
    return samples


def energy(
    register_map: RegisterMap, direction: Direction, words: Sequence[int], taken_at: float, meter_id: str
) -> Sample | None:
    """The counter that runs while the point's power is above 0, from a read of `register_map.energy_block`, in Wh.

    None when the map has no counter for that direction.
    """
    counter = register_map.energy_positive if direction == 1 else register_map.energy_negative
    block = register_map.energy_block
    if counter is None or block is None:
        return None
    measured = decode(counter, Registers(block, tuple(words), register_map.word_order))
    return _sample(measured, taken_at, f"{meter_id}/{counter.name}@{counter.address}", doubtful=False)


def check_span(register_map: RegisterMap, rated_w: float) -> None:
    """Refuse a map whose power registers cannot hold the rating with room to spare.

    A 32-bit number at 0.01 W ends at 21.47 MW and then stays there without a word. Raises ValueError with the register,
    the figures and what to do when `rated_w` is above 80 % of what a power register can show in either direction.
    Where the device itself chooses the scale, the span is known only from read to read; the ends of the type are no
    measurements there either.
    """
    for number in register_map.numbers:
        if number.unit is not Unit.WATT or number.type.is_float or number.scale_factor is not None:
            continue
        rails = _rails(number.type)
        ends = (rails[0], rails[-1]) if number.type.is_signed else (0, rails[-1])
        shown = sorted(end * number.scale + number.offset for end in ends)
        # An unsigned register without offset shows one direction only: its lower end, 0, says nothing about the span.
        span_w = min((abs(end) for end in shown if end != 0), default=0.0)
        if rated_w > USABLE_SHARE_OF_RANGE * span_w:
            raise ValueError(
                f"map {register_map.model}: {number.name} at {number.address}, {number.type} x {number.scale:g}, "
                f"shows at most {span_w / 1e6:.6g} MW, so the rating of {rated_w / 1e6:.6g} MW is above "
                f"{USABLE_SHARE_OF_RANGE:.0%} of its range; use a register with a coarser scale or a float, "
                "or a meter made for this feeder"
            )


def _is_set(register: int, bit: int | None) -> bool:
    return bit is not None and bool(register >> bit & 1)


def _flag(register: int, bits: Sequence[int]) -> float | Unavailable:
    if register == 0xFFFF:  # no device sets all sixteen: this is a card that answers without knowing
        return Unavailable("not available (0xFFFF)")
    return 1.0 if any(_is_set(register, bit) for bit in bits) else 0.0


def _plant_totals(units: Sequence[GeneratingUnit], registers: Registers) -> dict[Point, float | Unavailable]:
    """Sums over the synchronised units. One number missing among those that count leaves its sum without a value."""
    on: list[GeneratingUnit] = []
    for unit in units:
        state = decode(unit.synchronised, registers)
        if isinstance(state, Unavailable) or state not in (0.0, 1.0):
            why = state.why if isinstance(state, Unavailable) else f"is {state:g}, neither 0 nor 1"
            missing = Unavailable(f"{unit.synchronised.name} {why}")
            return dict.fromkeys(sorted(UNIT_POINTS), missing)
        if state == 1.0:
            on.append(unit)
    return {
        Point.SYNCHRONISED_UNITS: float(len(on)),
        Point.GROSS_W: _sum([unit.gross for unit in on], registers),
        Point.AVAILABLE_W: _sum([unit.available for unit in on], registers),
    }


def _sum(numbers: Sequence[Number], registers: Registers) -> float | Unavailable:
    total = 0.0
    for number in numbers:
        measured = decode(number, registers)
        if isinstance(measured, Unavailable):
            return Unavailable(f"{number.name} {measured.why}")
        total += measured
    return total


def _sample(measured: float | Unavailable, taken_at: float, source: str, doubtful: bool) -> Sample:
    if isinstance(measured, Unavailable):
        return Sample(None, taken_at, Quality.BAD, f"{source}: {measured.why}")
    return Sample(measured, taken_at, Quality.UNCERTAIN if doubtful else Quality.GOOD, source)
