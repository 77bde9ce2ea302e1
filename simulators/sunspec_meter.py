"""A meter that speaks SunSpec: a marker, a chain of models, and somewhere in it a meter.

Pure: readings in, registers out. Written from the SunSpec Alliance's model definitions. Every model begins with its id
and the number of registers that follow; the next one begins behind those; id 0xFFFF ends the chain. Integers are
multiplied by ten to the power of a scale factor beside them. What a device lacks reads "not implemented": 0x8000
for integers and scale factors, 0 for counters, 0x7FC00000 for floats.

Models 201-204 (single phase, split phase, wye, delta) are integers, 211-214 the same as floats. W is shown import
positive, as the counters are named; the definitions themselves say nothing of a sign.
"""

import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from simulators.meter_reading import DeviceFault, MeterReading
from simulators.modbus_server import RegisterBank

MARKER: Final = b"SunS"
COMMON, END = 1, 0xFFFF
INTEGER_METERS: Final = (201, 202, 203, 204)
FLOAT_METERS: Final = (211, 212, 213, 214)
NOT_IMPLEMENTED: Final = 0x8000
NOT_A_FLOAT: Final = b"\x7f\xc0\x00\x00"
WILD_SCALE: Final = 11
_LENGTH: Final = {COMMON: 66, 103: 50, 160: 48, 64900: 40}
_LENGTH_OF_METER: Final = {**dict.fromkeys(INTEGER_METERS, 105), **dict.fromkeys(FLOAT_METERS, 124)}
_PHASES: Final = {1: 1, 2: 2, 3: 3, 4: 3}  # by the last digit of the model
_DELTA: Final = 4
_LARGEST: Final = 32_766  # one more, in either direction, is where a number that is too large stays
_FINEST: Final = -2  # scale factors are chosen from here upward


@dataclass(frozen=True, slots=True)
class SunSpecSpec:
    """How a SunSpec meter presents itself.

    Attributes:
        model: 201-204 or 211-214.
        base: register of the marker.
        before: models between the marker and the meter, from 1 (common), 103 (inverter), 160 (strings), 64900 (a
            vendor's), or another meter that measures nothing.
        after: models between the meter and the end.
        common_length: 66 by the standard; some makers leave the pad out, 65.
        power_scale: the scale factor of W; None: the finest that fits, anew for every reading.
        end_with_length: whether id 0xFFFF has a length register behind it.
    """

    model: int
    base: int = 40_000
    before: tuple[int, ...] = (COMMON, 160, 64900)
    after: tuple[int, ...] = ()
    common_length: int = 66
    power_scale: int | None = None
    end_with_length: bool = True

    def __post_init__(self) -> None:
        if self.model not in _LENGTH_OF_METER:
            raise ValueError(f"SunSpec meter model {self.model}; it must be one of {sorted(_LENGTH_OF_METER)}")
        for other in (*self.before, *self.after):
            if other not in _LENGTH and other not in _LENGTH_OF_METER:
                raise ValueError(f"SunSpec model {other} is not simulated")

    def length(self, model: int) -> int:
        """Registers behind the id and the length of a model."""
        if model == COMMON:
            return self.common_length
        return _LENGTH_OF_METER.get(model) or _LENGTH[model]


class SunSpecRegisters:
    """The registers of one device. `meter_address` is where the id of its meter model stands."""

    def __init__(self, spec: SunSpecSpec) -> None:
        self.spec = spec
        self.meter_address = 0
        places: list[tuple[int, int]] = []
        address = spec.base + 2
        for place, model in enumerate((*spec.before, spec.model, *spec.after)):
            if place == len(spec.before):
                self.meter_address = address
            places.append((model, address))
            address += 2 + spec.length(model)
        size = address - spec.base + (2 if spec.end_with_length else 1)
        self.bank = RegisterBank(((spec.base, size),))
        self._put(spec.base, MARKER)
        for model, first in places:
            self.bank.put_u16(first, model)
            self.bank.put_u16(first + 1, spec.length(model))
            self._fill(model, first)
        self.bank.put_u16(address, END)

    def show(self, reading: MeterReading, fault: DeviceFault | None) -> None:
        """Renew the meter's registers."""
        if self.spec.model in INTEGER_METERS:
            self._show_integers(reading, fault)
        else:
            self._show_floats(reading, fault)

    @property
    def _phases(self) -> int:
        return _PHASES[self.spec.model % 10]

    @property
    def _has_neutral(self) -> bool:
        return self.spec.model % 10 != _DELTA

    def _show_integers(self, reading: MeterReading, fault: DeviceFault | None) -> None:
        per_phase_w = reading.power_w / self._phases
        current_a = abs(per_phase_w) / reading.phase_v
        lines_v = reading.phase_v * self._line_to_line
        self._put_group((2, 3, 4, 5), 6, [current_a * self._phases] + [current_a] * self._phases)
        neutral = [reading.phase_v] * (1 + self._phases) if self._has_neutral else []
        lines = [lines_v] * (1 + self._phases) if self._phases > 1 else []
        scale = _finest(max([*neutral, *lines]))
        self._put_group((7, 8, 9, 10), 15, neutral, scale)
        self._put_group((11, 12, 13, 14), 15, lines, scale)
        self._put_group((16,), 17, [reading.frequency_hz])
        self._put_group((18, 19, 20, 21), 22, [reading.power_w] + [per_phase_w] * self._phases, self.spec.power_scale)
        self._put_group((23, 24, 25, 26), 27, [abs(reading.power_w)] + [abs(per_phase_w)] * self._phases)
        if fault is DeviceFault.NOT_A_NUMBER:
            self.bank.put_u16(self.meter_address + 18, NOT_IMPLEMENTED)
        elif fault is DeviceFault.SCALE_FACTOR_MISSING:
            self.bank.put_u16(self.meter_address + 22, NOT_IMPLEMENTED)
        elif fault is DeviceFault.SCALE_FACTOR_WILD:
            self.bank.put_u16(self.meter_address + 22, WILD_SCALE)
        self.bank.put_u32(self.meter_address + 38, round(reading.exported_wh))
        self.bank.put_u32(self.meter_address + 46, round(reading.imported_wh))
        self.bank.put_u16(self.meter_address + 54, 0)

    def _show_floats(self, reading: MeterReading, fault: DeviceFault | None) -> None:
        per_phase_w = reading.power_w / self._phases
        current_a = abs(per_phase_w) / reading.phase_v
        numbers = {2: current_a * self._phases, 26: reading.frequency_hz, 28: reading.power_w}
        numbers |= {36: abs(reading.power_w), 60: reading.exported_wh, 68: reading.imported_wh}
        for phase in range(self._phases):
            numbers |= {4 + 2 * phase: current_a, 30 + 2 * phase: per_phase_w}
            if self._has_neutral:
                numbers |= {10: reading.phase_v, 12 + 2 * phase: reading.phase_v}
            if self._phases > 1:
                lines_v = reading.phase_v * self._line_to_line
                numbers |= {18: lines_v, 20 + 2 * phase: lines_v}
        for offset, value in numbers.items():
            self.bank.put_f32(self.meter_address + offset, value)
        if fault is DeviceFault.NOT_A_NUMBER:
            self._put(self.meter_address + 28, NOT_A_FLOAT)

    @property
    def _line_to_line(self) -> float:
        """Line voltage over phase voltage: the two halves of a split phase add up, three phases make root three."""
        return 2.0 if self._phases == 2 else 3.0**0.5

    def _put_group(
        self, offsets: tuple[int, ...], scale_offset: int, values: list[float], scale: int | None = None
    ) -> None:
        """Write numbers that share a scale factor, which is the finest that fits unless given."""
        chosen = _finest(max((abs(value) for value in values), default=0.0)) if scale is None else scale
        for offset, value in zip(offsets, values, strict=False):
            raw = max(-_LARGEST - 1, min(_LARGEST + 1, round(value / 10.0**chosen)))
            self.bank.put_u16(self.meter_address + offset, raw)
        self.bank.put_u16(self.meter_address + scale_offset, chosen)

    def _fill(self, model: int, first: int) -> None:
        """What a model shows before, or without, a measurement."""
        if model in INTEGER_METERS:
            for offset in (*range(2, 38), 54, 71, 104):
                self.bank.put_u16(first + offset, NOT_IMPLEMENTED)
        elif model in FLOAT_METERS:
            for offset in range(2, 124, 2):
                self._put(first + offset, NOT_A_FLOAT)
        elif model == COMMON:
            texts = {2: b"Simulated", 18: b"Panel meter", 42: b"1.0", 50: b"0001"}
            for (offset, text), (end, _) in pairwise([*texts.items(), (66, b"")]):
                self._put(first + offset, text.ljust(2 * (min(end, offset + 16) - offset), b"\0"))
            self.bank.put_u16(first + 66, 1)
        elif model == 160:
            self.bank.put_u16(first + 8, (self.spec.length(model) - 8) // 20)
        else:  # looks like a marker and a meter model, to whoever searches instead of walking
            self._put(first + 2, MARKER + struct.pack(">2H", 203, 105))

    def _put(self, address: int, octets: bytes) -> None:
        for at in range(0, len(octets), 2):
            self.bank.put_u16(address + at // 2, int.from_bytes(octets[at : at + 2], "big"))


def _finest(largest: float) -> int:
    """The smallest power of ten in which a number fits into 16 bits."""
    scale = _FINEST
    while largest / 10.0**scale > _LARGEST:
        scale += 1
    return scale
