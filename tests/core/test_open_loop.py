"""Without feedback a site is as wrong as its nameplates, whatever its meter and its miners say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.core import open_loop
from controller.domain.fleet import Condition, MinerReading
from controller.domain.policy import Feedback
from tests.rig.fleet import core_fleet
from tests.rig.score.orders import Orders
from tests.rig.score.plant_site import build_site
from tests.rig.score.runs import ours

SMALL_W = 400_000


def held(feedback, says=None):
    """How far above its order a site ends that is asked for one power for a quarter of an hour, share of rated. says:
    what all miners say over what they draw."""
    site = build_site(1, SMALL_W)
    if says is not None:
        site = replace(site, fleet=replace(site.fleet, report_ratio=[says] * len(site.fleet.models)))
    at_s = np.arange(0.0, 900.0, 60.0)
    orders = Orders("held", at_s, np.full(len(at_s), site.offer.base_w), 900.0, 0.0, site.offer.base_w, 1.0)
    load_w = ours(site, orders, feedback).load_w[-120:]
    return float(load_w.mean() - site.offer.base_w) / site.rated_w


def test_nameplates_alone_miss_an_order_by_what_they_are_wrong():
    """The night is cool, and all draw 3 % less: 2 % of rated, and it rests anywhere within a deadband of 1 %."""
    assert abs(held(Feedback.METER)) < 0.005
    assert held(Feedback.OPEN_LOOP) < -0.0075


def test_what_miners_say_of_their_watts_moves_nothing():
    """Within the deadband, 1 % of rated, a site rests anywhere; what they say differs by 6 % of rated."""
    assert held(Feedback.OPEN_LOOP, 1.06) == pytest.approx(held(Feedback.OPEN_LOOP, 0.97), abs=0.0075)


@pytest.mark.parametrize(
    ("condition", "power_w", "level", "taken_for_w"),
    [
        (Condition.HASHING, 0.92, 3, 1.0),  # shares of the rung's nameplate
        (Condition.HASHING, 1.2, 3, 1.0),
        (Condition.HASHING, 0.5, 3, 0.5),  # still booting
        (Condition.ASLEEP, 0.01, 3, 0.01),
        (Condition.HASHING, 0.92, None, 0.92),
        (Condition.UNREACHABLE, None, None, None),
    ],
)
def test_watts_near_a_rung_are_its_nameplate(condition, power_w, level, taken_for_w):
    model = next(one for one in build_site(1, SMALL_W).fleet.models if one.trims)
    facts = core_fleet([model], [0], [10_000])
    rung_w = float(facts.level_power_w[0, 3])
    reading = MinerReading(0, condition, power_w and power_w * rung_w, None, level, 1.0, 2.0)
    (found,) = open_loop.nameplates(facts, (reading,))
    assert found.power_w == (taken_for_w and pytest.approx(taken_for_w * rung_w))
    assert (found.condition, found.level, found.started_at) == (condition, level, 1.0)
