"""The baselines: other ways to drive the same miners through the same link. Nobody's code, each at its best.

Both are handed the reference - the order already limited by the ramps grids allow - and obey no dwell: either would
only follow worse otherwise.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np

from controller.domain.command import Command, CommandReport, Verb
from controller.domain.fleet import BoolArray, Condition, Fleet, FloatArray, IntArray, MinerReading
from controller.domain.metering import Point
from tests.rig.score.orders import SAMPLE_S, Orders
from tests.rig.score.plant_site import Site10MW, score_setup
from tests.rig.score.runs import Run, Watched, watched
from tests.rig.setup import Setup


class Manager(Protocol):
    """Decides once a second who sleeps and who wakes."""

    def decide(
        self,
        t_s: float,
        order_w: float,
        site_w: float | None,
        readings: tuple[MinerReading, ...],
        reports: tuple[CommandReport, ...],
    ) -> tuple[IntArray, IntArray]:
        """Miners to put to sleep and miners to wake now; `site_w` is what the site meter shows."""
        ...


class Managed(Watched):
    """The rig's site with a manager in the place of the core."""

    def __init__(self, setup: Setup, manager: Manager, order_w: FloatArray) -> None:
        super().__init__(setup)
        self._manager = manager
        self._order_w = order_w
        self._sent = 0
        self._priors: dict[int, str] = {}

    def _cycle(self, t_s: float) -> None:
        readings, reports = self.link.drain()
        for reading in readings:
            if reading.prior is not None:
                self._priors[reading.miner] = reading.prior
        self._received = []
        meter = self.instruments.latest.get(Point.SITE_LOAD_W)
        order_w = float(self._order_w[min(round(t_s / SAMPLE_S), len(self._order_w) - 1)])
        asleep, awake = self._manager.decide(t_s, order_w, None if meter is None else meter.value, readings, reports)
        for verb, miners in ((Verb.SLEEP, asleep), (Verb.WAKE, awake)):
            for miner in miners.tolist():
                self._sent += 1
                raises = verb is Verb.WAKE
                prior = self._priors.get(miner) if raises else None
                self.link.submit(Command(self._sent, miner, verb, None, raises, False, "order", prior), t_s)

    def commands(self) -> int:
        return self._sent


class _Fleet:
    """What a manager knows of its miners: nameplates, merit, what it asked for and what each last said."""

    def __init__(self, facts: Fleet, asleep: BoolArray) -> None:
        rows = np.arange(len(facts))
        self.full_w: FloatArray = facts.level_power_w[rows, facts.cap_level]
        self.sleep_w = facts.sleep_power_w
        self.best_first: IntArray = np.lexsort((rows, facts.joule_per_th))
        self.boot_s = facts.boot_s
        self.on: BoolArray = ~asleep
        self.told_w = np.where(asleep, self.sleep_w, self.full_w)
        self.told_at = np.full(len(facts), -np.inf)
        self.answers: BoolArray = np.ones(len(facts), dtype=np.bool_)
        self.asked_at = np.full(len(facts), -np.inf)

    def listen(self, readings: tuple[MinerReading, ...]) -> None:
        for reading in readings:
            miner = reading.miner
            self.answers[miner] = reading.condition is not Condition.UNREACHABLE
            if reading.power_w is not None:
                self.told_w[miner], self.told_at[miner] = reading.power_w, reading.started_at

    def ask(self, miners: IntArray, on: bool, t_s: float) -> None:
        self.on[miners] = on
        self.asked_at[miners] = t_s

    def worst_on(self, need_w: float) -> IntArray:
        """The least efficient that hash, as many as free `need_w` at most."""
        order = self.best_first[::-1]
        return _up_to(order[(self.on & self.answers)[order]], self.full_w - self.sleep_w, need_w)

    def best_off(self, need_w: float) -> IntArray:
        order = self.best_first
        return _up_to(order[(~self.on & self.answers)[order]], self.full_w - self.sleep_w, need_w)


def _up_to(order: IntArray, gain_w: FloatArray, need_w: float) -> IntArray:
    return order[: int(np.searchsorted(np.cumsum(gain_w[order]), need_w, side="right"))]


class Hysteresis:
    """(a) On and off in merit order by the site meter: beyond 1 % of rated off the order, as many units as it takes.

    What was woken counts whole until half its boot is over, what was put to sleep for eight seconds: a relay that knew
    nothing of that would wake the fleet twice.
    """

    def __init__(self, facts: Fleet, asleep: BoolArray, rated_w: float) -> None:
        self._fleet = _Fleet(facts, asleep)
        self._band_w = 0.01 * rated_w

    def decide(
        self,
        t_s: float,
        order_w: float,
        site_w: float | None,
        readings: tuple[MinerReading, ...],
        reports: tuple[CommandReport, ...],
    ) -> tuple[IntArray, IntArray]:
        fleet, nobody = self._fleet, np.zeros(0, dtype=np.int64)
        fleet.listen(readings)
        if site_w is None:
            return nobody, nobody
        age_s = t_s - fleet.asked_at
        gain_w = fleet.full_w - fleet.sleep_w
        coming_w = float(gain_w[fleet.on & (age_s < fleet.boot_s)].sum())
        leaving_w = float(gain_w[~fleet.on & (age_s < 8.0)].sum())
        off_w = order_w - (site_w + coming_w - leaving_w)
        asleep = fleet.worst_on(-off_w) if off_w < -self._band_w else nobody
        awake = fleet.best_off(off_w) if off_w > self._band_w else nobody
        fleet.ask(asleep, False, t_s)
        fleet.ask(awake, True, t_s)
        return asleep, awake


class Reconciler30s:
    """(b) Today's fleet managers: every 30 s an event for the order of that moment, worst first, confirmed by each
    miner's own watts, asked again when it did not obey, restored in waves.

    There is no site meter in it: power is what miners say of themselves, and auxiliaries and losses are known figures.
    """

    TICK_S = 30.0
    WAVE = 80
    CONFIRMED = 0.5  # of what it drew before

    def __init__(self, facts: Fleet, asleep: BoolArray, auxiliary_w: float, loss: float) -> None:
        self._fleet = _Fleet(facts, asleep)
        self._auxiliary_w, self._loss = auxiliary_w, loss
        self._next_s = self.TICK_S  # one sweep first

    def decide(
        self,
        t_s: float,
        order_w: float,
        site_w: float | None,
        readings: tuple[MinerReading, ...],
        reports: tuple[CommandReport, ...],
    ) -> tuple[IntArray, IntArray]:
        fleet, nobody = self._fleet, np.zeros(0, dtype=np.int64)
        fleet.listen(readings)
        if t_s + 1e-9 < self._next_s:
            return nobody, nobody
        self._next_s += self.TICK_S
        looked = fleet.told_at > fleet.asked_at
        confirmed = looked & (fleet.told_w <= self.CONFIRMED * fleet.full_w)
        disobeys = ~fleet.on & looked & ~confirmed & fleet.answers
        asleep = np.flatnonzero(disobeys)  # asked again
        # Who was woken counts as on whether seen or not; who was not seen yet counts as what it was asked for.
        own_w = np.where(fleet.on, np.where(looked & ~confirmed, fleet.told_w, fleet.full_w), fleet.sleep_w)
        own_w = np.where(disobeys, fleet.told_w, own_w)
        off_w = order_w - (float(own_w.sum()) * (1.0 + self._loss) + self._auxiliary_w)
        awake = nobody
        if off_w < 0.0:
            more = fleet.worst_on(-off_w + float(fleet.full_w.max()))
            fleet.ask(more, False, t_s)
            asleep = np.concatenate((asleep, more))
        elif off_w > 0.0:
            awake = fleet.best_off(off_w)[: self.WAVE]
            fleet.ask(awake, True, t_s)
        return asleep, awake


def hysteresis(site: Site10MW, orders: Orders, reference_w: FloatArray) -> Run:
    """Run (a)."""
    setup = _bare(site, orders)
    manager = Hysteresis(setup.facts, np.array(site.fleet.asleep), float(site.rated_w))
    return watched(Managed(setup, manager, reference_w))


def reconciler_30s(site: Site10MW, orders: Orders, reference_w: FloatArray) -> Run:
    """Run (b)."""
    setup = _bare(site, orders)
    loss = setup.plant.site.mean_loss_fraction()
    manager = Reconciler30s(setup.facts, np.array(site.fleet.asleep), float(site.auxiliary_w), loss)
    return watched(Managed(setup, manager, reference_w))


def _bare(site: Site10MW, orders: Orders) -> Setup:
    return score_setup(site, None, orders.duration_s)
