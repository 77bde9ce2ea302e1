"""A crowd that comes and goes: one event, told when it is over, and a second crowd judged by itself."""

from __future__ import annotations

from controller.core.fleet_state import Away
from controller.domain.command import Verb
from tests.core.mass.conftest import LOST, START_S


def test_a_link_that_flaps_is_one_event_and_no_commands(block):
    site = block()
    for _ in range(20):
        site.unplugged = set(LOST)
        site.cycles(4)
        site.unplugged.clear()
        site.cycles(4)
    assert site.names() == {"mass_disconnect": 1}
    assert site.sent == []
    site.cycles(20)
    assert site.names() == {"mass_disconnect": 1, "mass_return": 1}


def test_it_is_over_when_enough_are_back_and_names_who_is_not(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(30)
    site.unplugged = {9}
    site.cycles(20)
    (back,) = site.events("mass_return")
    assert "5 of 6" in back[2]
    assert "still away: m9" in back[2]
    assert site.decisions[-1].unreachable_at_once == 0
    site.unplugged.clear()
    site.cycle()
    assert site.names()["miner_back"] == 1


def test_it_ends_when_nobody_followed_for_long_and_the_rest_is_told_one_by_one_again(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(100)
    assert site.decisions[-1].unreachable_at_once == 6, "first it stands: somebody shall come and look"
    site.unplugged.add(0)
    site.cycles(5)
    assert [text for *_, text in site.events("miner_unreachable")] == ["no answer"], "and no later one hides in it"
    assert site.decisions[-1].unreachable_at_once == 6
    site.cycles(1_120)
    (stays,) = site.events("mass_stays")
    assert "6 of 6 miners are still away after 20 min: m4, m5" in stays[2]
    assert site.decisions[-1].unreachable_at_once == 0
    assert site.state.mass.since is None
    site.decisions.clear()
    site.cycles(60)
    assert not site.names(), "for a day, or a week"
    site.unplugged.clear()
    site.cycles(60)
    assert site.names() == {"miner_back": 7}
    assert site.sent == []


def test_one_that_stays_dark_for_long_is_still_let_in_by_the_ramps(block):
    site = block()
    site.trip(LOST)
    site.cycles(1_300)
    assert site.names()["mass_stays"] == 1
    site.power(LOST)
    returned = site.now
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.commands_to(LOST, returned) if c.verb is Verb.SLEEP} == set(LOST)
    site.cycles(300)
    assert 57_400.0 - 3_600.0 <= site.load_w() <= 57_400.0 + 150.0


def test_a_second_crowd_while_the_first_stands_is_told_and_judged_by_itself(block):
    site = block(n=40, hashing=32, facts=None)
    site.unplugged = set(range(8))
    site.cycles(60)
    site.trip(range(10, 20))
    site.cycles(12)
    first, second = site.events("mass_disconnect")
    assert "8 of 40" in first[2]
    assert "10 of 40" in second[2]
    assert set(site.state.fleet.away[10:20].tolist()) == {Away.DARK}
    assert set(site.state.fleet.away[:8].tolist()) == {Away.DRAWS}
    assert site.decisions[-1].unreachable_at_once == 18
