"""How high a site could be at the end of its calm: by whom the core may use, by the limits above them, and by waves.

Counted from the rules and from physics, not from what the core did. Of waves: in each cell (a class on a feeder) a
first one, and `growth` times as many with each further one. Not asked for are larger ones that a run had proved before
the calm, nor that one begins before the last is up.
"""

from __future__ import annotations

import numpy as np

from controller.domain.command import Verb
from controller.domain.fleet import BoolArray
from simulators.asic.response import Behaviour
from tests.rig.record import Record
from tests.rig.setup import Setup

LOSSES = 0.05  # of a rating: cables and transformers, and what is left below a whole machine
LAST_S = 10.0  # before the end: the middle of what is looked at


def reachable_w(setup: Setup, record: Record) -> float:
    """What the miners that obey and that the core may use draw beyond their sleep within the limits above them, taken
    one by one, the best first. Losses take room too, as do those that hash on unasked and the sleep of all others.
    Who sleeps as the calm begins needs a place in a wave besides, in the time left once every input is trusted."""
    behaviours, asleep, tree = setup.fleet.behaviours or (), setup.fleet.asleep or (), setup.facts.limits
    spent = {miner for _, name, miner, _ in record.events if name == "miner_budget_used"}
    watts = np.array([model.nameplate.power_w for model in setup.fleet.models], dtype=np.float64)
    unasked = np.array([behaviour is not Behaviour.OBEYS for behaviour in behaviours])
    standing_w = np.where(unasked, watts, setup.facts.sleep_power_w)
    gain_w, room_w = watts - standing_w, (1.0 - LOSSES) * tree.rating_w - tree.miners_w(standing_w)
    trusted_s = setup.calm_from_s + setup.policy.inputs.rearm_s
    starts = Starts(setup, setup.duration_s - LAST_S - trusted_s)
    sleeps = _asleep_as_it_begins(setup, record, trusted_s)
    total_w = 0.0
    for miner in setup.facts.best_first.tolist():
        foreign = asleep[miner] and not setup.policy.fleet.adopt_sleepers_at_start
        usable = not foreign and setup.facts.miner_ids[miner] not in spent and miner not in record.quarantined_at
        above = tree.of_miner[miner]
        fits = float(room_w[above].min()) >= gain_w[miner]
        if not unasked[miner] and usable and fits and (not sleeps[miner] or starts.take(miner)):
            total_w += float(gain_w[miner])
            room_w[np.unique(above)] -= gain_w[miner]
    return total_w


class Starts:
    """Places to start in for miners that shall be up after `seconds`, on a site where nobody starts yet."""

    def __init__(self, setup: Setup, seconds: float) -> None:
        self._setup, self._seconds = setup, max(seconds, 0.0)
        self._left: dict[tuple[str, int], int] = {}
        self._taken = 0

    def take(self, miner: int) -> bool:
        """Whether this one may be up by then as well; if so it is counted."""
        fleet, model = self._setup.policy.fleet, self._setup.fleet.models[miner]
        cell = model.key, self._setup.feeder_of_miner[miner]
        boot_s = model.response.wake.nominal_total_s + self._setup.sweep_s  # and seen
        if cell not in self._left:
            sizes = [fleet.waves.first * fleet.waves.growth**done for done in range(int(self._seconds // boot_s))]
            self._left[cell] = int(sum(sizes))
        cycles = int(max(self._seconds - boot_s, 0.0) // self._setup.policy.cycle_s)
        if self._taken >= fleet.wakes_per_cycle_max * cycles or (fleet.waves.enabled and self._left[cell] <= 0):
            return False
        self._left[cell] -= 1
        self._taken += 1
        return True


def _asleep_as_it_begins(setup: Setup, record: Record, until_s: float) -> BoolArray:
    """(n,) who was asleep as the calm began, or told to sleep after that and before `until_s`, by the orders."""
    asleep = np.array(setup.fleet.asleep or [False] * len(setup.facts))
    for row in record.cycles:
        for one in row.commands if row.at_s < until_s else ():
            if one.verb is Verb.SLEEP or (one.verb is Verb.WAKE and row.at_s < setup.calm_from_s):
                asleep[one.miner] = one.verb is Verb.SLEEP
    return asleep
