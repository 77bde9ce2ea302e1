"""A restart while many are away: what stood before stands on, and nobody becomes a foreign sleeper by it."""

from __future__ import annotations

import json
import math

import pytest

from controller.core import checkpoint
from controller.core.fleet_state import Away
from controller.domain.command import Verb
from controller.domain.metering import Point
from tests.core.mass.conftest import LOST, START_S, dark_outage


def test_after_a_restart_it_stands_on_unsaid_and_dark_ones_are_still_let_in_by_the_ramps(block):
    site = block()
    dark_outage(site)
    site.decisions.clear()
    site.restart()
    site.cycles(30)
    assert not site.names()["mass_disconnect"]
    assert site.decisions[-1].unreachable_at_once == 6
    site.power(LOST)
    returned = site.now
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.commands_to(LOST, returned) if c.verb is Verb.SLEEP} == set(LOST)
    site.cycles(200)
    assert site.names()["mass_return"] == 1
    assert site.load_w() >= 57_400.0 - 3_600.0
    assert not site.names()["miner_quarantined"]


@pytest.mark.parametrize("metered", [True, False])
@pytest.mark.parametrize("after", [1, 2, 12])
def test_a_restart_before_they_were_seen_dark_makes_nobody_a_foreign_sleeper(block, after, metered):
    """The power event that took the miners took the host as well, or an impatient hand restarted the daemon."""
    site = block()
    site.metered = {0} if metered else set()
    site.cycles(20)
    site.trip(LOST)
    site.cycles(after)
    site.restart()
    site.cycles(30)
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6
    site.power(LOST)
    returned = site.now
    site.cycles(300)
    assert {c.miner for c in site.commands_to(LOST, returned) if c.verb is Verb.SLEEP} == set(LOST)
    assert not site.names()["foreign_sleeper"]
    assert (site.state.fleet.ours_asleep | site.state.fleet.want_hashing).all()
    assert site.load_w() >= 57_400.0 - 3_600.0, "all let in again"


def crash_once(site, happened, down_s):
    """The daemon dies as `happened()` and is back `down_s` later with the last checkpoint it wrote."""
    kept = checkpoint.to_record(site.facts, site.state, site.now)
    while not happened():
        before = site.state
        site.cycle()
        if checkpoint.due_at_once(before, site.state):
            kept = checkpoint.to_record(site.facts, site.state, site.now)
    site.now += down_s
    site.state = checkpoint.from_record(site.facts, json.loads(json.dumps(kept)), kept["taken_at"], 0.0)


def test_a_crash_right_after_it_was_told_tells_it_no_second_time_nor_otherwise(block):
    """The checkpoint of ten seconds before knew nothing of it: they had drawn on, the second event said."""
    site = block()
    site.metered = set()
    site.trip(LOST)
    crash_once(site, lambda: site.names()["mass_disconnect"], down_s=4.0)
    assert site.events("mass_disconnect")[0][2].endswith("dark")
    site.cycles(30)
    assert site.names()["mass_disconnect"] == 1
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6


@pytest.mark.parametrize("down_s", [4.0, 60.0])
def test_a_crash_right_after_they_were_seen_dark_forgets_it_not(block, down_s):
    """Half a minute later the site's meter is no witness of it any more: they would have drawn on for good."""
    site = block()
    site.metered = set()
    site.trip(LOST)
    crash_once(site, lambda: (site.state.fleet.away[list(LOST)] == Away.DARK).all(), down_s)
    site.cycles(30)
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6
    assert site.names() == {"mass_disconnect": 1}


def test_who_slept_by_anothers_hand_does_so_after_such_a_restart_too(block):
    site = block()
    site.state.fleet.ours_asleep[16:] = False
    site.trip(range(4, 20))
    site.ends_as = dict.fromkeys(range(4, 20), True)
    site.cycles(1)
    site.restart()
    site.cycles(30)
    assert site.state.fleet.away[4:].tolist() == [Away.DARK] * 12 + [Away.DARK_FOREIGN] * 4
    site.power(range(4, 20))
    site.cycles(200)
    assert not site.hashing[16:].any()


def test_who_starts_after_a_restart_that_could_not_see_it_dark_is_idled_all_the_same(block):
    """No meter told before the restart, and none tells after it: what it drew stands in the checkpoint."""
    site = block()
    site.meter_lost = {Point.SITE_LOAD_W}
    site.trip(LOST)
    site.cycles(2)
    site.restart()
    site.cycles(40)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    site.power(LOST)
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.sent if c.verb is Verb.SLEEP} >= set(LOST)


def test_power_that_comes_back_while_the_daemon_is_down(block):
    site = block()
    dark_outage(site)
    site.power(LOST)
    site.now += START_S + 5.0
    site.restart()
    for miner in LOST:
        del site.starts[miner]
        site.hashing[miner], site.boots[miner] = site.ends_as.pop(miner), True
        site.from_w[miner], site.moved_at[miner], site.dead_s[miner], site.way_s[miner] = 50.0, site.now, 0.0, 30.0
    site.cycles(2)
    assert {c.miner for c in site.sent if c.verb is Verb.SLEEP} == set(LOST)


def test_after_a_restart_a_dead_switch_still_moves_nothing(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(20)
    site.decisions.clear()
    site.restart()
    site.cycles(20)
    assert not site.names()["mass_disconnect"]
    site.unplugged.clear()
    site.cycles(30)
    assert site.sent == []
    assert site.names() == {"mass_return": 1}


def test_a_restart_onto_a_dead_switch_says_so_once(block):
    """They answered when the last checkpoint was taken."""
    site = block()
    site.restart()
    site.unplugged = set(LOST)
    site.cycles(60)
    assert site.names() == {"mass_disconnect": 1}


@pytest.mark.parametrize("known", [True, False])
def test_spares_that_are_switched_off_are_one_line_at_every_start_and_no_mass_disconnect(block, known):
    site = block()
    for miner in LOST:
        site.unplugged.add(miner)
        site.cycles(16 if known else 0)
    for _ in range(2):
        site.decisions.clear()
        if known:
            site.restart()
        else:
            site.state = site.engine.fresh_state(site.now)
        site.cycles(60)
        (absent,) = site.events("miners_absent")
        assert "6 of 20 miners have not answered since the start: m4, m5, m6, m7, m8 and 1 more" in absent[2]
        assert not {"mass_disconnect", "miner_unreachable"} & set(site.names())
        assert not any(decision.unreachable_at_once for decision in site.decisions)
    site.decisions.clear()
    site.unplugged.add(0)
    site.cycles(60)
    assert site.names() == {"miner_unreachable": 1}, "a single one is told as ever"
    site.trip({12, 13, 14, 15})
    site.cycles(12)
    assert "dark" in site.events("mass_disconnect")[0][2]
    assert site.state.fleet.away[[12, 13, 14, 15]].tolist() == [Away.DARK] * 4, "and a real one is seen"
    assert site.decisions[-1].unreachable_at_once == 4


def test_times_kept_are_ages(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(7)
    record = checkpoint.to_record(site.facts, site.state, site.now)
    assert record["mass"]["for_s"] == pytest.approx(6.0)
    recalled = checkpoint.from_record(site.facts, json.loads(json.dumps(record)), 5.0, 0.0)
    assert recalled.mass.since == pytest.approx(-1.0)
    assert math.isfinite(recalled.fleet.gone_at[4])
    assert recalled.fleet.gone_at[0] == -math.inf
