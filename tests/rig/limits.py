"""Limits of a random site, and where each raise takes what hangs below them: added up from physics, not from the core.

A miner is on its way to what it was told: the rung it is set to or its sleep watts, once the command has arrived, and
what the command says until then, or until its driver reports of it. One that does not obey goes nowhere and draws what
it draws; so does one that started by itself until it is up, for nobody ordered those watts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from controller.domain.command import Command, CommandReport, Verb
from controller.domain.fleet import BoolArray, FloatArray
from controller.domain.limits import Limit
from simulators.asic.bank import MinerBank
from simulators.asic.models import MinerModel
from simulators.asic.response import Behaviour, Mode
from tests.rig.breaches import back_within_s
from tests.rig.fleet import NOTHING_ABOVE, AboveFeeders
from tests.rig.setup import Setup

ARRIVES_S = 3.0  # a command is at its miner by then, or lost
LIMITED = 0.5  # of the seeds


def random_limits(
    luck: np.random.Generator, models: Sequence[MinerModel], feeder_of_miner: Sequence[int], feeders: int, rated_w: int
) -> tuple[tuple[int, ...], AboveFeeders]:
    """The feeders' ratings and what hangs above. Half of the sites have a transformer above some feeders and a
    container across them, and a third of all ratings is tight; none is smaller than three of the largest machines."""
    if luck.random() > LIMITED:
        return (rated_w,) * feeders, NOTHING_ABOVE
    watts = np.array([model.nameplate.power_w for model in models], dtype=np.float64)
    feeder = np.array(feeder_of_miner, dtype=np.int64)

    def rating_w(below: BoolArray) -> int:
        tight = luck.random() < 1.0 / 3.0
        share = luck.uniform(0.25, 0.8) if tight else luck.uniform(0.8, 1.3)
        return round(max(share * float(watts[below].sum()), 3.0 * float(watts.max())))

    ratings = tuple(rating_w(feeder == one) for one in range(feeders))
    under = luck.random(feeders) < 0.7
    inside = luck.random(len(models)) < luck.choice([0.0, 0.3, 0.6])
    limits = (
        Limit("t1", "transformer", rating_w(under[feeder]), 2 if luck.random() < 0.5 else None),
        Limit("c1", "container", rating_w(inside)),
        Limit("s1", "switchboard", rating_w(under[feeder])),
    )
    beside = tuple((1,) if one else () for one in inside)
    return ratings, AboveFeeders(limits, tuple(0 if one else None for one in under), beside)


class LimitWatch:
    """The site's limits while it runs."""

    def __init__(self, setup: Setup, bank: MinerBank) -> None:
        self._tree = setup.facts.limits
        self._rung_w = setup.facts.level_power_w
        self._bank = bank
        self._sent: dict[int, tuple[float, Command]] = {}
        began = [(miner, at_s, at_s) for at_s, miner in setup.reboots]
        began += [(miner, trip.begin_s, trip.end_s) for miner, trip in setup.tripped().items()]
        self._by_itself = [(miner, off_s, on_s + back_within_s(setup, miner)) for miner, off_s, on_s in began]

    def heard(self, reports: Sequence[CommandReport]) -> None:
        """What a driver reported of is on its way no more: carried out, the miner itself shows it; withheld, refused or
        lost on the way, nothing comes of it."""
        for report in reports:
            sent = self._sent.get(report.miner)
            if sent is not None and sent[1].command_id == report.command_id:
                del self._sent[report.miner]

    def fullest(self, commands: tuple[Command, ...], t_s: float) -> tuple[float, str]:
        """(ratio, name) of the fullest limit above a miner that is raised now, once everything has arrived, commands of
        this moment included; (0, "") when nobody is raised."""
        self._sent.update((one.miner, (t_s, one)) for one in commands)
        raised = [one.miner for one in commands if one.raises or one.verb is Verb.WAKE]
        if not raised:
            return 0.0, ""
        load_w = self._tree.miners_w(self._heading_w(t_s))
        ratio = load_w / self._tree.rating_w
        above = self._tree.of_miner[raised].ravel()
        limit = int(above[ratio[above].argmax()])
        return float(ratio[limit]), (*self._tree.names, "")[limit]

    def _heading_w(self, t_s: float) -> FloatArray:
        bank, rows = self._bank, np.arange(self._bank.count)
        forgets = bank.loses_profile & ~bank.boards_on  # it will start as it is configured
        profile = np.where(forgets, bank.configured_profile, bank.profile_index)
        rung_w = self._rung_w[rows, profile]
        heading_w = np.where(bank.mode == Mode.SLEEP, bank.sleep_power_w, rung_w)
        self._sent = {miner: sent for miner, sent in self._sent.items() if t_s - sent[0] < ARRIVES_S}
        for miner, (_, command) in self._sent.items():
            if command.verb is Verb.SLEEP:
                heading_w[miner] = bank.sleep_power_w[miner]
            else:
                level = command.level if command.level is not None else int(profile[miner])
                heading_w[miner] = self._rung_w[miner, level]
        odd = bank.behaviour != 0
        odd[[miner for miner, begin_s, end_s in self._by_itself if begin_s <= t_s < end_s]] = True
        heading_w[odd] = np.minimum(heading_w, bank.true_power_w)[odd]
        hidden = (bank.behaviour & int(Behaviour.SILENT_DRAW)) != 0
        heading_w[hidden] = bank.sleep_power_w[hidden]  # nobody can know of it
        return heading_w
