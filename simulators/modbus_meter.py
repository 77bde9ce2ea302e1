"""What the instruments show: panel meters after Siemens PAC2200 or in SunSpec, and the plant's DCS block.

Pure: truth in, registers out. `simulators.plant_host` gives them sockets and a clock. Addresses are 0-based (protocol
data unit), words and bytes big-endian.

Panel meter after PAC2200, holding or input registers (P positive when power flows in the meter's import direction):

    1, 3, 5     FLOAT32  voltage L1-N, L2-N, L3-N, V        63   FLOAT32  apparent power, VA
    13, 15, 17  FLOAT32  current L1..L3, A                  65   FLOAT32  active power, W
    55          FLOAT32  frequency, Hz                      801  FLOAT64  imported energy, Wh
                                                            809  FLOAT64  exported energy, Wh

Panel meter in SunSpec: see `simulators.sunspec_meter`.

DCS block, kW unless said otherwise: see `DcsAddress`. Bits of `flags` are in `FlagBit`, of `q_bits` in `QualityBit`.
"""

import math
from dataclasses import dataclass
from enum import IntEnum, IntFlag, StrEnum, unique

import numpy as np

from simulators.meter_reading import DeviceFault, MeterReading, MeterRegisters
from simulators.modbus_server import RegisterBank
from simulators.plant import PlantTruth, UnitTruth
from simulators.sunspec_meter import SunSpecRegisters, SunSpecSpec

PANEL_RANGES = ((0, 72), (797, 20))
DCS_RANGES = ((0, 50),)
SQRT3 = math.sqrt(3.0)


@unique
class Quantity(StrEnum):
    """What a meter measures, in the direction its name says."""

    POI_EXPORT = "poi_export"
    SITE_LOAD = "site_load"
    FEEDER_LOAD = "feeder_load"


@dataclass(frozen=True, slots=True)
class PanelMeterSpec:
    """How a panel meter is built and installed.

    Attributes:
        quantity: what it measures.
        installed_sign: +1 when its import direction is the direction of `quantity`, -1 when turned round. A meter at
            the point of interconnection that counts import positive shows export as negative power: -1.
        voltage_ratio: line-to-line voltage at its place / at the point of interconnection.
        refresh_s: period at which its registers change.
        noise_fraction: standard deviation of each power reading, as a fraction of it.
        gain_error_fraction: fixed error of this meter; accuracy class 0.5 allows up to 0.005.
        resolution_w: smallest step of power.
        sunspec: how it presents itself when it speaks SunSpec; None: as a PAC2200.
    """

    quantity: Quantity
    installed_sign: int
    voltage_ratio: float
    refresh_s: float
    noise_fraction: float
    gain_error_fraction: float
    resolution_w: float
    sunspec: SunSpecSpec | None = None

    def __post_init__(self) -> None:
        if self.installed_sign not in (1, -1):
            raise ValueError(f"installed_sign is {self.installed_sign}; it must be +1 or -1")
        if self.refresh_s <= 0 or self.resolution_w <= 0 or self.noise_fraction < 0:
            raise ValueError("refresh_s and resolution_w must be above 0 and noise_fraction not below 0")


class Refresh:
    """Tells when a device renews its registers: at its first step, then once in every `period_s` seconds."""

    def __init__(self, period_s: float) -> None:
        self._period_s = period_s
        self._left_s = 0.0

    def is_due(self, dt_s: float) -> bool:
        """Let `dt_s` seconds pass; True when the registers are to be renewed now."""
        self._left_s -= dt_s
        if self._left_s > 1e-9:
            return False
        self._left_s = max(0.0, self._left_s + self._period_s)
        return True


class PanelMeter:
    """A panel meter in service: integrates energy all the time, changes its registers once per refresh period.

    `feeder` is the index of the feeder at whose head a meter of FEEDER_LOAD sits.
    """

    def __init__(self, spec: PanelMeterSpec, seed: int, feeder: int = 0) -> None:
        self.spec = spec
        self._feeder = feeder
        self.registers: MeterRegisters = Pac2200Registers() if spec.sunspec is None else SunSpecRegisters(spec.sunspec)
        self.fault: DeviceFault | None = None
        self._sign = spec.installed_sign
        self._rng = np.random.default_rng(seed)
        self._imported_wh = 0.0
        self._exported_wh = 0.0
        self._refresh = Refresh(spec.refresh_s)

    @property
    def bank(self) -> RegisterBank:
        """What a server shows."""
        return self.registers.bank

    def flip_installation(self) -> None:
        """Turn the current transformers round, as happens in maintenance."""
        self._sign = -self._sign

    def step(self, dt_s: float, truth: PlantTruth) -> bool:
        """Measure for `dt_s` seconds; True when the registers changed."""
        power_w = self._sign * self._flow_w(truth) * (1.0 + self.spec.gain_error_fraction)
        self._imported_wh += max(0.0, power_w) * dt_s / 3600.0
        self._exported_wh += max(0.0, -power_w) * dt_s / 3600.0
        if not self._refresh.is_due(dt_s) or self.fault is DeviceFault.STUCK:
            return False
        self._write(power_w, truth)
        return True

    def _flow_w(self, truth: PlantTruth) -> float:
        match self.spec.quantity:
            case Quantity.POI_EXPORT:
                return truth.poi_export_w
            case Quantity.SITE_LOAD:
                return truth.site_load_w
            case Quantity.FEEDER_LOAD:
                return truth.load.feeders_w[self._feeder]

    def _write(self, power_w: float, truth: PlantTruth) -> None:
        noise = 1.0 + self.spec.noise_fraction * float(self._rng.standard_normal())
        reading = MeterReading(
            power_w=round(power_w * noise / self.spec.resolution_w) * self.spec.resolution_w,
            phase_v=truth.poi_line_v * self.spec.voltage_ratio / SQRT3,
            frequency_hz=truth.frequency_hz,
            imported_wh=self._imported_wh,
            exported_wh=self._exported_wh,
        )
        self.registers.show(reading, self.fault)


class Pac2200Registers:
    """The registers of a Siemens PAC2200."""

    def __init__(self) -> None:
        self.bank = RegisterBank(PANEL_RANGES)

    def show(self, reading: MeterReading, fault: DeviceFault | None) -> None:
        """Renew the registers."""
        power_w = reading.power_w
        for address in (1, 3, 5):
            self.bank.put_f32(address, reading.phase_v)
        for address in (13, 15, 17):
            self.bank.put_f32(address, abs(power_w) / 3.0 / reading.phase_v)
        self.bank.put_f32(55, reading.frequency_hz)
        self.bank.put_f32(63, abs(power_w))
        self.bank.put_f32(65, math.nan if fault is DeviceFault.NOT_A_NUMBER else power_w)
        self.bank.put_f64(801, reading.imported_wh)
        self.bank.put_f64(809, reading.exported_wh)


@unique
class DcsAddress(IntEnum):
    """First word of every field of the DCS block; the type stands behind it."""

    HEARTBEAT = 0  # UINT16, counts once a second
    UNIT1_SYNC = 1  # UINT16, 1 when synchronised
    UNIT1_GROSS_KW = 2  # INT32
    UNIT1_AVAILABLE_KW = 4  # INT32
    UNIT1_MIN_KW = 6  # INT32
    UNIT1_RAMP_KW_MIN = 8  # INT32, kW/min
    AUXILIARY_KW = 10  # INT32
    POI_KW = 12  # INT32, export positive
    DESPATCH_KW = 14  # INT32
    DESPATCH_SEQ = 16  # UINT32
    RESERVE_UP_KW = 18  # INT32
    RAISE_PERMIT_KW = 20  # INT32, always 0: generation leads
    RAISE_PERMIT_S = 22  # UINT16
    FLAGS = 23  # UINT16, FlagBit
    FREQUENCY_MHZ = 24  # UINT32, millihertz
    POI_V = 26  # UINT32, line to line
    UNIX_TIME_S = 28  # UINT32
    QUALITY = 30  # UINT16, QualityBit
    UNIT2_SYNC = 40  # UINT16; the second unit repeats words 1 to 9 here
    UNIT2_GROSS_KW = 41
    UNIT2_AVAILABLE_KW = 43
    UNIT2_MIN_KW = 45
    UNIT2_RAMP_KW_MIN = 47


class FlagBit(IntFlag):
    """Bits of word `FLAGS`. PERMIT is 1 in health: a dead block (all zero) means shed, as a cut wire does."""

    TRIP_UNDERFREQUENCY = 1
    TRIP_STOP_BUTTON = 2
    GRID_EMERGENCY = 4
    PERMIT = 8


class QualityBit(IntFlag):
    """Bits of word `QUALITY`: which signals the plant itself doubts; 0 means none."""

    UNITS = 1
    DESPATCH = 2
    RESERVE = 4


@dataclass(frozen=True, slots=True)
class DcsSpec:
    """Refresh period of the block and period of its heartbeat, seconds."""

    refresh_s: float
    heartbeat_s: float


INT32_NOT_AVAILABLE = -0x80000000


class DcsBlock:
    """The plant's control system as it shows itself over Modbus: whole kW, no noise of its own."""

    def __init__(self, spec: DcsSpec) -> None:
        self.spec = spec
        self.bank = RegisterBank(DCS_RANGES)
        self.fault: DeviceFault | None = None
        self.quality = QualityBit(0)
        self._refresh = Refresh(spec.refresh_s)
        self._alive_s = 0.0
        self._frozen_s = 0.0

    def step(self, dt_s: float, truth: PlantTruth, unix_s: int) -> bool:
        """Advance by `dt_s` seconds at UTC `unix_s`; True when the registers changed."""
        self._alive_s += dt_s
        if self.fault is DeviceFault.HEARTBEAT_FROZEN:
            self._frozen_s += dt_s
        if not self._refresh.is_due(dt_s) or self.fault is DeviceFault.STUCK:
            return False
        self._write(truth, unix_s)
        return True

    def _write(self, truth: PlantTruth, unix_s: int) -> None:
        bank = self.bank
        bank.put_u16(DcsAddress.HEARTBEAT, int((self._alive_s - self._frozen_s) / self.spec.heartbeat_s + 1e-9))
        self._write_unit(DcsAddress.UNIT1_SYNC, truth.units[0])
        if len(truth.units) > 1:
            self._write_unit(DcsAddress.UNIT2_SYNC, truth.units[1])
        self._put_kw(DcsAddress.AUXILIARY_KW, truth.auxiliary_w)
        self._put_kw(DcsAddress.POI_KW, truth.poi_export_w)
        self._put_kw(DcsAddress.DESPATCH_KW, truth.despatch_w)
        bank.put_u32(DcsAddress.DESPATCH_SEQ, truth.despatch_seq)
        self._put_kw(DcsAddress.RESERVE_UP_KW, truth.reserve_up_w)
        self._put_kw(DcsAddress.RAISE_PERMIT_KW, 0.0)
        bank.put_u16(DcsAddress.RAISE_PERMIT_S, 0)
        bank.put_u16(DcsAddress.FLAGS, int(flag_bits(truth)))
        bank.put_u32(DcsAddress.FREQUENCY_MHZ, round(truth.frequency_hz * 1000.0))
        bank.put_u32(DcsAddress.POI_V, round(truth.poi_line_v))
        bank.put_u32(DcsAddress.UNIX_TIME_S, unix_s)
        bank.put_u16(DcsAddress.QUALITY, int(self.quality))

    def _write_unit(self, first: int, unit: UnitTruth) -> None:
        self.bank.put_u16(first, int(unit.synchronised))
        self._put_kw(first + 1, unit.gross_w)
        self._put_kw(first + 3, unit.available_w)
        self._put_kw(first + 5, unit.min_stable_w)
        self._put_kw(first + 7, unit.ramp_w_per_s * 60.0)

    def _put_kw(self, address: int, power_w: float) -> None:
        missing = self.fault is DeviceFault.NOT_A_NUMBER
        self.bank.put_i32(address, INT32_NOT_AVAILABLE if missing else round(power_w / 1000.0))


def flag_bits(truth: PlantTruth) -> FlagBit:
    """Return the wired contacts as bits."""
    bits = FlagBit(0)
    for is_set, bit in (
        (truth.flags.grid_emergency, FlagBit.GRID_EMERGENCY),
        (truth.flags.trip_underfrequency, FlagBit.TRIP_UNDERFREQUENCY),
        (truth.flags.trip_stop_button, FlagBit.TRIP_STOP_BUTTON),
        (truth.flags.permit, FlagBit.PERMIT),
    ):
        if is_set:
            bits |= bit
    return bits
