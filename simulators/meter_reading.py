"""What a meter has measured, on its way into the registers of whatever make it is."""

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Protocol

from simulators.modbus_server import RegisterBank


@unique
class DeviceFault(StrEnum):
    """What goes wrong inside an instrument, before the wire."""

    STUCK = "stuck"  # registers stay as they are; the wire works
    NOT_A_NUMBER = "not_a_number"  # meters: power is "not available" in their own way. DCS: powers read 0x80000000
    HEARTBEAT_FROZEN = "heartbeat_frozen"  # DCS only: everything moves but the heartbeat
    SCALE_FACTOR_MISSING = "scale_factor_missing"  # SunSpec integers only: that of power reads "not implemented"
    SCALE_FACTOR_WILD = "scale_factor_wild"  # SunSpec integers only: that of power is 11, which no device may say


@dataclass(frozen=True, slots=True)
class MeterReading:
    """One reading; `power_w` is positive in the meter's import direction, voltage is line to neutral."""

    power_w: float
    phase_v: float
    frequency_hz: float
    imported_wh: float
    exported_wh: float


class MeterRegisters(Protocol):
    """One make of meter as it looks from the wire."""

    @property
    def bank(self) -> RegisterBank: ...

    def show(self, reading: MeterReading, fault: DeviceFault | None) -> None:
        """Renew the registers."""
        ...
