"""The site that the targets are measured on: the scored one with a thousand miners, some of them slow.

Beside what the scored site has (models off by 5 % at the wall and in what they say, one in a hundred out of reach, one
in a hundred never wakes) one miner in a hundred takes five times as long for everything: 15 to 48 s to fall asleep.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from controller.domain.fleet import FloatArray
from simulators.asic.response import Behaviour
from tests.rig.score.orders import SAMPLE_S
from tests.rig.score.plant_site import LOSS, RATED_W, Site10MW, build_site
from tests.rig.setup import Setup
from tests.rig.site import Site

MINERS = 1_000
MINERS_OF_10_MW = 3_063
SLOW, SLOW_TIMES = 0.01, (5.0, 6.0)  # share, and by what all its times are longer


@dataclass(frozen=True, slots=True)
class Seen:
    """A run second by second, shape (duration,) each: the true load, the surplus as a limit, and of the load what had
    started by itself and could not have been idled yet, watts."""

    load_w: FloatArray
    cap_w: FloatArray
    self_started_w: FloatArray


def common_site(seed: int, miners: int = MINERS) -> Site10MW:
    """About so many miners."""
    site = build_site(seed, round(RATED_W * miners / MINERS_OF_10_MW))
    rng = np.random.default_rng((seed, 9))
    scales = np.array(site.fleet.response_scale)
    slow = rng.choice(len(scales), size=max(1, round(SLOW * len(scales))), replace=False)
    scales[slow] = rng.uniform(*SLOW_TIMES, len(slow))
    return replace(site, fleet=replace(site.fleet, response_scale=scales.tolist()))


def all_hashing(site: Site10MW) -> Site10MW:
    """The same with every miner awake, within reach and obedient: what a shed is measured on."""
    count = len(site.fleet.models)
    fleet = replace(site.fleet, asleep=[False] * count, behaviours=[Behaviour.OBEYS] * count)
    return replace(site, fleet=fleet, unreachable=())


def available_w(site: Site10MW) -> float:
    """What all draw at the wall that can be had awake."""
    fleet = site.fleet
    own_w = np.array([model.nameplate.power_w for model in fleet.models]) * np.array(fleet.draw_ratio)
    wakes = np.array([Behaviour.NEVER_WAKES not in behaviour for behaviour in fleet.behaviours or ()])
    return float(own_w[wakes].sum()) * (1.0 + LOSS) + site.auxiliary_w


def watch(setup: Setup) -> tuple[Seen, Site]:
    """Run it to its end."""
    site = Site(setup)
    record = site.run()
    every = round(SAMPLE_S / setup.tick_s)
    last = slice(every - 1, None, every)
    _, load_w, cap_w, _ = record.arrays()
    return Seen(load_w[last], cap_w[last], np.array(record.self_started_w)[last]), site
