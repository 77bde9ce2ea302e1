"""What a meter misses for other reasons makes none of those dark who stopped answering."""

from __future__ import annotations

import pytest

from controller.core.fleet_state import Away
from controller.domain.command import Verb
from controller.domain.metering import Point
from tests.core.mass.conftest import LOST


@pytest.mark.parametrize("after", [20, 120])
def test_another_load_that_falls_later_makes_nobody_dark(block, after):
    """A dead switch, and the cooling goes off: 20 kW of the 21 kW that the lost draw."""
    site = block()
    aux_w = [0.0]
    drawn_w = site.load_w
    site.load_w = lambda: drawn_w() + aux_w[0]
    site.spare_w += 20_500.0
    site.cycle()
    for _ in range(20):
        aux_w[0] += 1_000.0
        site.cycle()
    site.cycles(60)
    site.sent.clear()
    site.unplugged = set(LOST)
    site.cycles(after)
    aux_w[0] = 0.0
    site.spare_w -= 20_000.0
    site.cycles(60)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    site.unplugged.clear()
    site.cycles(60)
    assert not [command for command in site.commands_to(LOST) if command.verb is Verb.SLEEP]
    assert site.hashing[list(LOST)].all()
    assert not site.names()["mass_dark"]


@pytest.mark.parametrize("sweep_s", [1, 5])
def test_what_the_meter_missed_while_they_still_answered_makes_nobody_dark(block, sweep_s):
    """Found by harsh seed 1051: the cooling goes off, all are read, and then the switch dies."""
    site = block(sweep_s=sweep_s)
    aux_w = [20_000.0]
    drawn_w = site.load_w
    site.load_w = lambda: drawn_w() + aux_w[0]
    site.spare_w += 20_000.0
    site.cycles(60)
    aux_w[0] = 0.0
    site.spare_w -= 20_000.0
    site.cycles(sweep_s + 1)
    site.unplugged = set(LOST)
    site.cycles(30)
    assert site.names()["mass_disconnect"] == 1
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    assert not site.names()["mass_dark"]


@pytest.mark.parametrize("after", [2, 5, 12])
def test_a_switch_that_dies_just_after_a_start_makes_nobody_dark(block, after):
    """What the meter showed before the miners had been read was nobody's yet, and is missed by nobody."""
    site = block()
    site.state = site.engine.fresh_state(site.now)
    site.cycles(after)
    site.unplugged = set(LOST)
    site.cycles(20)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    assert site.sent == []


@pytest.mark.parametrize("outcome_known", [True, False])
def test_a_switch_that_dies_under_a_shed_makes_nobody_dark(block, outcome_known):
    """Orders to sleep are on their way to all of them as the switch dies, and arrive nowhere."""
    site = block()
    site.unsure = set() if outcome_known else set(range(20))
    site.unplugged = set(LOST)
    site.silent = set(LOST)  # not read yet
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now + 1)
    site.cycles(4)
    site.silent = set()
    site.cycles(40)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    assert site.decisions[-1].figures.floor_w >= 6 * 3_500.0
    site.unplugged.clear()
    site.cycles(10)
    assert site.load_w() == pytest.approx(2_000.0, abs=50)


def test_a_dip_of_another_load_is_no_darkness(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(5)
    site.extra[Point.SITE_LOAD_W] = site.kit.sample(site.load_w() - 20_000.0, site.now + 1)
    site.cycle()
    del site.extra[Point.SITE_LOAD_W]
    site.cycles(10)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}


def test_who_answered_after_the_power_was_gone_does_not_share_the_darkness(block):
    """A feeder trips; then one that answers on loses its network cable, as the cooling goes off: it hashes on."""
    site = block(surplus_w=61_400.0)
    aux_w = [4_000.0]
    drawn_w = site.load_w
    site.load_w = lambda: drawn_w() + aux_w[0]
    site.cycles(40)
    site.trip(LOST)
    site.cycles(8)
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6
    site.unplugged = {11}
    aux_w[0] = 0.0
    site.cycles(20)
    assert site.state.fleet.away[11] == Away.DRAWS
    assert site.state.fleet.to_w[11] == pytest.approx(3_500.0)
    site.unplugged.clear()
    site.cycles(20)
    assert site.commands_to({11}) == []


def test_who_answered_after_the_drop_and_before_the_others_were_missed_does_not_either(block):
    site = block(sweep_s=10, surplus_w=61_400.0)
    aux_w = [4_000.0]
    drawn_w = site.load_w
    site.load_w = lambda: drawn_w() + aux_w[0]
    site.cycles(40)
    site.trip(LOST)
    tripped_at = site.now
    site.run_until(lambda: site.names()["mass_disconnect"], 12)
    answered = next(miner for miner in range(10, 16) if site.state.fleet.read_at[miner] > tripped_at + 1.0)
    site.unplugged = {answered}
    aux_w[0] = 0.0
    site.cycles(30)
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6
    assert site.state.fleet.away[answered] == Away.DRAWS
