"""One run of the site, second by second: what it drew, what it hashed, who started. The miners are the same for all."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from controller.domain.fleet import BoolArray, FloatArray, IntArray
from controller.domain.policy import Feedback
from simulators.plant import SurplusSource
from tests.rig.score.orders import SAMPLE_S, Orders
from tests.rig.score.plant_site import Site10MW, score_setup
from tests.rig.setup import Setup
from tests.rig.site import Site


@dataclass(frozen=True, slots=True)
class Run:
    """A run in seconds: shape (duration,) each, true powers at the site meter; per miner (n,).

    miners_w: what the miners alone draw. cap_w: the surplus that held. starts: how often each began to hash.
    shortest_on_s, shortest_off_s: the shortest finished stay of any miner, infinite when there was none.
    """

    load_w: FloatArray
    miners_w: FloatArray
    hashrate_th: FloatArray
    cap_w: FloatArray
    setpoint_w: FloatArray
    starts: IntArray
    shortest_on_s: float
    shortest_off_s: float
    commands: int
    step_ms_p50: float
    step_ms_p99: float
    wall_s: float


class Watched(Site):
    """The rig's site with somebody who looks once a second."""

    def __init__(self, setup: Setup) -> None:
        super().__init__(setup)
        self._every = round(SAMPLE_S / setup.tick_s)
        self._on: BoolArray = self.bank.boards_on.copy()
        self._since_s = np.full(self.bank.count, -np.inf)
        self.starts = np.zeros(self.bank.count, dtype=np.int64)
        self.shortest_s = {True: np.inf, False: np.inf}
        self.miners_w: list[float] = []
        self.hashrate_th: list[float] = []

    def advance(self) -> None:
        super().advance()
        if len(self.record.t_s) % self._every:
            return
        self.miners_w.append(float(self.bank.true_power_w.sum()))
        self.hashrate_th.append(float(self.bank.hashrate_th.sum()))
        changed = np.flatnonzero(self.bank.boards_on != self._on)
        for miner in changed.tolist():
            was_on = bool(self._on[miner])
            stayed_s = self.now_s - float(self._since_s[miner])
            self.shortest_s[was_on] = min(self.shortest_s[was_on], stayed_s)
            self._since_s[miner] = self.now_s
            self.starts[miner] += not was_on
        self._on[changed] = self.bank.boards_on[changed]

    def result(self, wall_s: float) -> Run:
        times = [row.step_ms for row in self.record.cycles] or [0.0]
        last = slice(self._every - 1, None, self._every)
        _, load_w, cap_w, _ = self.record.arrays()
        return Run(
            load_w=load_w[last],
            miners_w=np.array(self.miners_w),
            hashrate_th=np.array(self.hashrate_th),
            cap_w=cap_w[last],
            setpoint_w=np.array([row.setpoint_w for row in self.record.cycles]),
            starts=self.starts,
            shortest_on_s=float(self.shortest_s[True]),
            shortest_off_s=float(self.shortest_s[False]),
            commands=self.commands(),
            step_ms_p50=float(np.percentile(times, 50)),
            step_ms_p99=float(np.percentile(times, 99)),
            wall_s=wall_s,
        )

    def commands(self) -> int:
        return sum(len(row.commands) for row in self.record.cycles)


def watched(site: Watched) -> Run:
    """Run it to its end."""
    began = time.perf_counter()
    site.run()
    return site.result(time.perf_counter() - began)


def ours(site: Site10MW, orders: Orders, feedback: Feedback = Feedback.METER) -> Run:
    """The core on the orders of a day."""
    return watched(Watched(score_setup(site, orders, orders.duration_s, feedback=feedback)))


def following(site: Site10MW, surplus: SurplusSource, duration_s: float) -> Run:
    """The core without orders, on a surplus."""
    return watched(Watched(score_setup(site, None, duration_s, surplus)))
