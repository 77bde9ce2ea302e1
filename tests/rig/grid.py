"""What the grid and the world beyond it do to a site: frequency, sags, units that trip, pools that do not answer."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from controller.domain.fleet import FloatArray
from simulators.asic.bank import MinerBank
from simulators.plant import Plant, PlantTruth
from tests.rig.setup import Sag, Setup


class Grid:
    """The disturbances of one run, brought to its plant and miners as their time comes."""

    def __init__(self, setup: Setup, plant: Plant, bank: MinerBank) -> None:
        self._setup = setup
        self._plant = plant
        self._bank = bank
        opened = [(trip.begin_s, trip.unit, False) for trip in setup.unit_trips]
        closed = [(trip.end_s, trip.unit, True) for trip in setup.unit_trips]
        self._switches = sorted(opened + closed)
        lost = [(loss.begin_s, loss.miners, False) for loss in setup.work_losses]
        found = [(loss.end_s, loss.miners, True) for loss in setup.work_losses]
        self._work = sorted(lost + found)

    def disturb(self, t_s: float) -> None:
        """Whatever is due by `t_s`."""
        if self._setup.frequency:
            at_s, hz = zip(*self._setup.frequency, strict=True)
            self._plant.set_frequency_offset(float(np.interp(t_s, at_s, hz)) - self._plant.spec.frequency_hz)
        while self._switches and self._switches[0][0] <= t_s:
            _, unit, closes = self._switches.pop(0)
            if closes:
                self._plant.synchronise(unit)
            else:
                self._plant.trip_unit(unit)
        while self._work and self._work[0][0] <= t_s:
            _, miners, has_work = self._work.pop(0)
            self._bank.set_work(np.array(miners, dtype=np.int64), has_work)

    def drawn_w(self, t_s: float) -> FloatArray:
        """(n,) what the miners draw, a sag taken into account."""
        sag = self._sag(t_s)
        return self._bank.true_power_w if sag is None else self._bank.true_power_w * sag.load_ratio

    def shown(self, truth: PlantTruth, t_s: float) -> PlantTruth:
        """What there is for meters to see: in a sag, its voltage, and what a meter takes for the frequency."""
        sag = self._sag(t_s)
        if sag is None:
            return truth
        hz = truth.frequency_hz if sag.shown_hz is None else sag.shown_hz
        return replace(truth, poi_line_v=truth.poi_line_v * sag.voltage_ratio, frequency_hz=hz)

    def _sag(self, t_s: float) -> Sag | None:
        return next((sag for sag in self._setup.sags if sag.begin_s <= t_s < sag.end_s), None)
