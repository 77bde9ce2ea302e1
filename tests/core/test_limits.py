"""Limits above and across feeders: nobody is raised below a full one, and one that is exceeded is relieved."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.limits import Limit
from controller.domain.metering import Point
from controller.domain.reasons import Why
from tests.core.builders import SLEEP_W, WALL

TWO_FEEDERS = {"feeders": (0, 0, 1, 1), "feeder_rating_w": (50_000, 50_000)}
FIRST_LIMIT = 2  # the feeders come first


def of_transformer(kit, rating_w, parent_rating_w=None):
    """Four miners on two feeders under one transformer, which may hang on a container."""
    limits = [Limit("t1", "transformer", rating_w, 1 if parent_rating_w else None)]
    if parent_rating_w:
        limits.append(Limit("c1", "container", parent_rating_w))
    return kit.fleet(4, limits=tuple(limits), feeder_limit=(0, 0), **TWO_FEEDERS)


def run(site, seconds):
    for _ in range(seconds):
        site.cycle()


def events(site, name):
    return [event for decision in site.decisions for event in decision.events if event.name == name]


def drawn_w(site, miners=slice(None)):
    return float(site.draws_w()[miners].sum())


def test_without_a_limit_above_them_both_feeders_are_used(kit):
    site = kit.site(facts=kit.fleet(4, **TWO_FEEDERS))
    run(site, 300)
    assert site.hashing.all()


@pytest.mark.parametrize(("rating_w", "parent_w", "named"), [(7_200, None, "t1"), (50_000, 7_200, "c1")])
def test_a_full_limit_is_found_up_to_the_root_and_named(kit, rating_w, parent_w, named):
    facts = of_transformer(kit, rating_w, parent_w)
    site = kit.site(facts=facts)
    for _ in range(300):
        site.cycle()
        assert drawn_w(site) <= 7_200
    plan = site.decisions[-1].allocation
    held = [miner for miner in range(4) if plan.why_of(miner) is Why.FEEDER_LIMIT]
    assert held
    assert all(facts.limits.names[plan.held_by[miner]] == named for miner in held)
    assert not events(site, "limit_exceeded")


def test_a_phase_cuts_across_the_feeders(kit):
    facts = kit.fleet(4, limits=(Limit("l1", "phase", 3_600),), across={0: (0,), 2: (0,)}, **TWO_FEEDERS)
    site = kit.site(facts=facts, hashing=(True, False, False, True))
    run(site, 300)
    assert drawn_w(site, [0, 2]) <= 3_600
    assert site.hashing.tolist() == [True, True, False, True]


@pytest.mark.parametrize("blind", [False, True])
def test_an_exceeded_limit_is_relieved_worst_first_and_said_once(kit, blind):
    facts = of_transformer(kit, 6_000)
    site = kit.site(facts=facts, hashing=(True, True, False, False))
    run(site, 2)
    if blind:
        site.meter_lost = {Point.POI_EXPORT_W, Point.SITE_LOAD_W}
    run(site, 20)
    assert drawn_w(site) <= 6_000
    assert site.hashing.tolist() == [True, True, False, False]  # trimmed: none needs to sleep for it
    assert site.level[0] == 3
    assert len(events(site, "limit_exceeded")) == len(events(site, "limit_kept")) == 1
    assert "transformer t1 carries 7.1 kW and may carry 6.0 kW" in events(site, "limit_exceeded")[0].text
    assert not any(command.raises for command in site.sent)


def test_what_trim_cannot_take_off_is_slept_though_it_has_not_dwelt(kit):
    facts = of_transformer(kit, 3_600)
    site = kit.site(facts=facts, hashing=(True, True, False, False))
    run(site, 40)
    assert site.hashing.tolist() == [True, False, False, False]
    assert drawn_w(site) <= 3_600 + 4 * SLEEP_W


def test_a_limit_passed_by_what_estimates_are_off_by_moves_nobody(kit):
    facts = of_transformer(kit, 7_000)  # 7,100 are drawn
    site = kit.site(facts=facts, hashing=(True, True, False, False))
    run(site, 40)
    assert not site.sent
    assert site.decisions[-1].limit_power_w[FIRST_LIMIT] == pytest.approx(7_100, abs=1)


def test_beside_a_full_limit_a_cap_takes_hold_at_once_and_by_the_ramp(kit):
    """The set-point stands 4 kW above a load that cannot follow it; the way down from there moved nothing for 20 s."""
    site = kit.site(facts=of_transformer(kit, 7_200))
    run(site, 300)
    assert site.load_w() == pytest.approx(8_100, abs=50)
    assert site.decisions[-1].setpoint.power_w > site.load_w() + 3_000
    order = kit.order(power_w=6_000, issued_at=WALL + site.now)
    site.cycle(received=(site.receive(order),))
    loads = [site.load_w()]
    for _ in range(30):
        site.cycle()
        loads.append(site.load_w())
    assert loads[8] < 8_000, "trims need six seconds"
    assert max(loads[17:]) <= 6_100, "10.5 s of the ramp and the trims' own time"
    assert min(loads[1:]) >= 5_500


def test_who_was_read_at_the_end_of_a_trim_is_not_there_yet(kit):
    """Four of eight go up by 1.5 kW and are read at nine tenths of it: what is missing was room for one more rung."""
    rating_w, limits = 22_300, (Limit("t1", "transformer", 22_300),)
    facts = kit.fleet(8, limits=limits, feeder_limit=(0,))
    steep = kit.policy(ramp={"up_w_per_min": 600_000.0, "up_w_per_15s": 40_000.0})
    site = kit.site(steep, facts, hashing=[True] * 8, surplus_w=38_000.0)
    site.level[:], site.from_w[:] = 0, 2_000.0
    for _ in range(40):
        site.silent = set() if round(site.now) % 7 == 0 else set(range(8))  # six seconds after the trims
        site.cycle()
        headed_w = float(facts.level_power_w[np.arange(8), site.level].sum())
        assert headed_w <= rating_w
    assert headed_w > rating_w - 500


def test_the_load_of_each_limit_is_shown(kit):
    site = kit.site(facts=of_transformer(kit, 50_000, 60_000), hashing=(True, True, False, False))
    run(site, 2)
    assert np.allclose(site.decisions[0].limit_power_w, [7_000, 100, 7_100, 7_100])
