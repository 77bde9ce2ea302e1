"""An emergency takes the load off within seconds, though one miner in twenty refuses the first order.

Of what sleeping removes, 95 % are to be off 10 s after the plant's flag, and 99 % after 30 s, by true power. The flag
is polled once a second; the fleet is a quarter LuxOS, two fifths WhatsMiners, the rest stock Antminers.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import pytest

from controller.domain.command import Command
from tests.rig.record import Record
from tests.rig.scenario_file import Scenario
from tests.rig.scenario_setup import setup_of
from tests.rig.site import Site

FLAG_S = 60.0
LASTS_S = 50.0
REFUSE = 10  # of 200
MIX = {"luxos": 50, "whatsminer": 80, "antminer": 70}


@dataclass(frozen=True)
class Shed:
    """One run: what was off by when, as a share of what sleep removes, and what was told."""

    site: Site
    record: Record
    deaf: frozenset[int]

    def off(self, after_s: float) -> float:
        """Share that is off so long after the flag."""
        t_s, load_w, _, _ = self.record.arrays()
        before_w, then_w = (float(load_w[np.searchsorted(t_s, at - 1e-6)]) for at in (FLAG_S, FLAG_S + after_s))
        return (before_w - then_w) / (before_w - self.least_w)

    @property
    def least_w(self) -> float:
        """The site with everybody asleep."""
        plant, losses = self.site.setup.plant.site, [0.015] * len(self.site.setup.plant.site.feeders)
        assert [feeder.loss_fraction for feeder in plant.feeders] == losses
        return plant.auxiliary_w + 1.015 * float(self.site.bank.sleep_power_w.sum())

    def told(self) -> list[Command]:
        """Every order since the flag."""
        return [command for row in self.record.cycles if row.at_s >= FLAG_S for command in row.commands]


def shed(seed: int, refusals: int) -> Shed:
    """A site whose miners all hash until the flag; one in twenty says no to so many sleeps."""
    scenario = Scenario.model_validate(
        {
            "why": "one in twenty refuses the first order",
            "source": "target T5",
            "minutes": (FLAG_S + LASTS_S) / 60.0,
            "seed": seed,
            "site": {"fleet": MIX, "surplus_percent": 110},
            "at": [{"t": FLAG_S, "do": "emergency", "for_s": LASTS_S}],
            "expect": {"holds": ["no miner is quarantined"]},
        }
    )
    plain = setup_of("shed", scenario)
    deaf = np.random.default_rng(seed).choice(len(plain.facts), size=REFUSE, replace=False).tolist()
    setup = replace(plain, refusals=tuple((miner, refusals) for miner in deaf), recount=False)
    site = Site(setup)
    return Shed(site, site.run(), frozenset(deaf))


@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_an_emergency_is_met_though_one_in_twenty_refuses_the_first_order(seed: int) -> None:
    run = shed(seed, refusals=1)
    assert run.off(10.0) >= 0.95
    assert run.off(30.0) >= 0.99
    times = Counter(command.miner for command in run.told())
    assert {miner for miner, count in times.items() if count == 2} == run.deaf
    assert {command.miner for command in run.told() if command.escalated} == run.deaf
    assert not run.record.quarantined_at
    assert "shed_incomplete" not in {name for _, name, _, _ in run.record.events}


def test_who_refuses_for_good_is_lowered_quarantined_and_told_with_its_watts() -> None:
    run = shed(1, refusals=99)
    bank, facts = run.site.bank, run.site.setup.facts
    assert set(run.record.quarantined_at) == run.deaf
    trimmed = [miner for miner in run.deaf if facts.trims[miner]]
    assert trimmed
    assert all(bank.profile_index[miner] == 0 for miner in trimmed)
    assert run.off(30.0) >= 0.95
    (text,) = [text for _, name, _, text in run.record.events if name == "shed_incomplete"]
    assert "10 quarantined" in text
    said_w = 1_000.0 * float(text.split(" kW")[0])
    true_w = float((bank.true_power_w - bank.sleep_power_w)[sorted(run.deaf)].sum())
    assert said_w == pytest.approx(true_w, rel=0.1)
