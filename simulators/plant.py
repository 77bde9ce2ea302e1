"""Physics of a small power plant: units, auxiliaries, despatch and what is left for the miners. No sockets, no clock.

Everything the plant generates goes somewhere: `poi_export = gross - aux - site_load`, exactly, at every step; the grid
takes the rest. The surplus is what is generated beyond auxiliaries and despatch. It follows a recorded signal: gross
moves slowly, within the ramps of the units, and despatch takes up the difference - as when a system operator lowers a
plant that cannot be lowered further.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from simulators.feeder import SiteLoad, SiteSpec, site_load


class SurplusSource(Protocol):
    """Whatever says how large the surplus should be, `t_s` seconds after the start."""

    def surplus_w(self, t_s: float) -> float:
        """Return the wanted surplus in W, >= 0."""
        ...


@dataclass(frozen=True, slots=True)
class UnitSpec:
    """One generating unit. Powers in W at the generator terminals, ramp in W/s."""

    name: str
    available_w: float
    min_stable_w: float
    ramp_w_per_s: float
    synchronised: bool


@dataclass(frozen=True, slots=True)
class PlantSpec:
    """A plant and its connection.

    Attributes:
        units: generating units.
        auxiliary_fixed_w, auxiliary_fraction: the plant's own use = fixed + fraction x gross.
        despatch_base_w: where despatch settles when gross has caught up.
        despatch_step_w: resolution of despatch; the plant's registers carry whole kW.
        despatch_held_after_trip_s: how long the system operator needs to notice a tripped unit.
        reserve_up_w: spinning reserve the synchronised units must keep free.
        frequency_hz, frequency_sigma_hz: nominal, and how far it wanders (standard deviation).
        poi_line_v, voltage_sigma_fraction: line-to-line voltage at the point of interconnection, and its wander.
        wander_time_s: correlation time of both.
        site: feeders and auxiliaries of the mining site, fed from the plant bus.
    """

    units: tuple[UnitSpec, ...]
    auxiliary_fixed_w: float
    auxiliary_fraction: float
    despatch_base_w: float
    despatch_step_w: float
    despatch_held_after_trip_s: float
    reserve_up_w: float
    frequency_hz: float
    frequency_sigma_hz: float
    poi_line_v: float
    voltage_sigma_fraction: float
    wander_time_s: float
    site: SiteSpec

    def __post_init__(self) -> None:
        if not self.units:
            raise ValueError("a plant needs at least one unit")
        for unit in self.units:
            if not 0 <= unit.min_stable_w <= unit.available_w or unit.ramp_w_per_s <= 0:
                raise ValueError(f"unit {unit.name}: need 0 <= min_stable_w <= available_w and a ramp above 0")
        if self.despatch_step_w <= 0 or self.wander_time_s <= 0:
            raise ValueError("despatch_step_w and wander_time_s must be above 0")
        if not 0 <= self.auxiliary_fraction < 1:
            raise ValueError(f"auxiliary_fraction {self.auxiliary_fraction} is outside [0, 1)")


@dataclass(frozen=True, slots=True)
class PlantFlags:
    """The wired contacts. `permit` is wired fail-safe: False means shed."""

    grid_emergency: bool
    trip_underfrequency: bool
    trip_stop_button: bool
    permit: bool


@dataclass(frozen=True, slots=True)
class UnitTruth:
    """A unit as it is now, in W."""

    synchronised: bool
    gross_w: float
    available_w: float
    min_stable_w: float
    ramp_w_per_s: float


@dataclass(frozen=True, slots=True)
class PlantTruth:
    """What is really the case at `t_s` seconds after the start. Powers in W.

    `surplus_w` is gross - aux - despatch, not below zero; `cap_follow_w` the most the site may draw: surplus less the
    shortfall of reserve.
    """

    t_s: float
    units: tuple[UnitTruth, ...]
    gross_w: float
    auxiliary_w: float
    despatch_w: float
    despatch_seq: int
    reserve_up_w: float
    surplus_w: float
    cap_follow_w: float
    load: SiteLoad
    poi_export_w: float
    frequency_hz: float
    poi_line_v: float
    flags: PlantFlags

    @property
    def site_load_w(self) -> float:
        """Power at the site meter: miners, losses and auxiliaries."""
        return self.load.total_w


class Plant:
    """The plant in motion. Same spec, source, seed and steps give the same numbers.

    Args:
        spec: the plant.
        source: the wanted surplus over time.
        seed: seed of the wander of frequency and voltage.
    """

    def __init__(self, spec: PlantSpec, source: SurplusSource, seed: int) -> None:
        self.spec = spec
        self._source = source
        self._rng = np.random.default_rng(seed)
        self._t_s = 0.0
        self._frequency_wander_hz = 0.0
        self._voltage_wander = 0.0
        self._frequency_offset_hz = 0.0
        self._flags = PlantFlags(grid_emergency=False, trip_underfrequency=False, trip_stop_button=False, permit=True)
        self._despatch_held_until_s = 0.0
        self._despatch_w = 0.0
        self._despatch_seq = 0
        self._units = [
            UnitTruth(unit.synchronised, 0.0, unit.available_w, unit.min_stable_w, unit.ramp_w_per_s)
            for unit in spec.units
        ]
        targets = self._unit_targets_w(source.surplus_w(0.0))
        self._units = [replace(unit, gross_w=gross) for unit, gross in zip(self._units, targets, strict=True)]
        self._redespatch(source.surplus_w(0.0))

    def step(self, dt_s: float, miner_w_by_feeder: Sequence[float]) -> PlantTruth:
        """Advance by `dt_s` seconds with the given true miner power per feeder (W) and return the new truth.

        Raises:
            ValueError: negative `dt_s`, wrong number of feeders, or negative power.
        """
        if dt_s < 0:
            raise ValueError(f"time does not run backwards: dt {dt_s} s")
        self._t_s += dt_s
        wanted_w = self._source.surplus_w(self._t_s)
        self._move_units(dt_s, wanted_w)
        if self._t_s >= self._despatch_held_until_s:
            self._redespatch(wanted_w)
        self._wander(dt_s)
        return self._truth(miner_w_by_feeder)

    def trip_unit(self, index: int) -> None:
        """Open a unit's breaker at once. Despatch stays for the time the system operator needs to notice."""
        self._despatch_held_until_s = self._t_s + self.spec.despatch_held_after_trip_s
        self._set_unit(index, replace(self._units[index], synchronised=False, gross_w=0.0))

    def desynchronise(self, index: int) -> None:
        """Take a unit off the bars in an orderly way: despatch follows at once."""
        self._set_unit(index, replace(self._units[index], synchronised=False, gross_w=0.0))

    def synchronise(self, index: int) -> None:
        """Put a unit on the bars at its minimum stable power."""
        unit = self._units[index]
        self._set_unit(index, replace(unit, synchronised=True, gross_w=unit.min_stable_w))

    def derate(self, index: int, available_w: float) -> None:
        """Declare another available power for a unit (W); gross above it falls at once.

        Raises:
            ValueError: when it lies below the unit's minimum stable power.
        """
        unit = self._units[index]
        if available_w < unit.min_stable_w:
            raise ValueError(f"available {available_w} W is below the stable minimum {unit.min_stable_w} W")
        self._set_unit(index, replace(unit, available_w=available_w, gross_w=min(unit.gross_w, available_w)))

    def lose_generation(self, index: int, lost_w: float, held_s: float) -> None:
        """Take `lost_w` off a unit's gross at once while despatch stays for `held_s` seconds, as a mill trip does."""
        unit = self._units[index]
        self._despatch_held_until_s = self._t_s + held_s
        self._set_unit(index, replace(unit, gross_w=max(0.0, unit.gross_w - lost_w)))

    def set_flags(self, flags: PlantFlags) -> None:
        """Set the wired contacts."""
        self._flags = flags

    def set_frequency_offset(self, offset_hz: float) -> None:
        """Shift the grid frequency by `offset_hz` from nominal."""
        self._frequency_offset_hz = offset_hz

    @property
    def flags(self) -> PlantFlags:
        """The wired contacts as they are."""
        return self._flags

    def _set_unit(self, index: int, unit: UnitTruth) -> None:
        self._units[index] = unit

    def _auxiliary_w(self) -> float:
        gross_w = sum(unit.gross_w for unit in self._units)
        return self.spec.auxiliary_fixed_w + self.spec.auxiliary_fraction * gross_w

    def _unit_targets_w(self, wanted_surplus_w: float) -> list[float]:
        """Share the gross power that base despatch and surplus need over the synchronised units by size."""
        on = [unit for unit in self._units if unit.synchronised]
        net_w = self.spec.despatch_base_w + wanted_surplus_w
        gross_w = (net_w + self.spec.auxiliary_fixed_w) / (1.0 - self.spec.auxiliary_fraction)
        total_available_w = sum(unit.available_w for unit in on)
        targets = []
        for unit in self._units:
            if not unit.synchronised or total_available_w == 0.0:
                targets.append(0.0)
                continue
            share_w = gross_w * unit.available_w / total_available_w
            targets.append(min(max(share_w, unit.min_stable_w), unit.available_w))
        return targets

    def _move_units(self, dt_s: float, wanted_surplus_w: float) -> None:
        held = self._t_s < self._despatch_held_until_s
        targets = self._unit_targets_w(wanted_surplus_w)
        for index, (unit, target_w) in enumerate(zip(self._units, targets, strict=True)):
            if not unit.synchronised or held:
                continue  # a disturbed plant holds its valves until it gets a new despatch
            reach_w = unit.ramp_w_per_s * dt_s
            gross_w = unit.gross_w + min(max(target_w - unit.gross_w, -reach_w), reach_w)
            if gross_w != unit.gross_w:
                self._units[index] = UnitTruth(
                    unit.synchronised, gross_w, unit.available_w, unit.min_stable_w, unit.ramp_w_per_s
                )

    def _redespatch(self, wanted_surplus_w: float) -> None:
        gross_w = sum(unit.gross_w for unit in self._units)
        step_w = self.spec.despatch_step_w
        despatch_w = max(0.0, round((gross_w - self._auxiliary_w() - wanted_surplus_w) / step_w) * step_w)
        if despatch_w != self._despatch_w:
            self._despatch_w = despatch_w
            self._despatch_seq += 1

    def _wander(self, dt_s: float) -> None:
        keep = math.exp(-dt_s / self.spec.wander_time_s)
        kick = math.sqrt(1.0 - keep * keep)
        frequency, voltage = self._rng.standard_normal(2).tolist()
        self._frequency_wander_hz = keep * self._frequency_wander_hz + kick * self.spec.frequency_sigma_hz * frequency
        self._voltage_wander = keep * self._voltage_wander + kick * self.spec.voltage_sigma_fraction * voltage

    def _truth(self, miner_w_by_feeder: Sequence[float]) -> PlantTruth:
        load = site_load(self.spec.site, miner_w_by_feeder)
        gross_w = sum(unit.gross_w for unit in self._units)
        auxiliary_w = self._auxiliary_w()
        headroom_w = sum(unit.available_w - unit.gross_w for unit in self._units if unit.synchronised)
        reserve_short_w = max(0.0, self.spec.reserve_up_w - headroom_w)
        balance_w = gross_w - auxiliary_w - self._despatch_w
        return PlantTruth(
            t_s=self._t_s,
            units=tuple(self._units),
            gross_w=gross_w,
            auxiliary_w=auxiliary_w,
            despatch_w=self._despatch_w,
            despatch_seq=self._despatch_seq,
            reserve_up_w=self.spec.reserve_up_w,
            surplus_w=max(0.0, balance_w),
            cap_follow_w=max(0.0, balance_w - reserve_short_w),
            load=load,
            poi_export_w=gross_w - auxiliary_w - load.total_w,
            frequency_hz=self.spec.frequency_hz + self._frequency_offset_hz + self._frequency_wander_hz,
            poi_line_v=self.spec.poi_line_v * (1.0 + self._voltage_wander),
            flags=self._flags,
        )
