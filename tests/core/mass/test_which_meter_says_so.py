"""Dead switch or dark feeder: which meter tells them apart, and what must not be taken for darkness."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core.fleet_state import Away
from controller.domain.command import Verb
from controller.domain.fleet import Condition
from controller.domain.metering import Point
from tests.core.mass.conftest import LOST, START_S


def test_feeders_with_meters_are_judged_each_by_its_own(block, kit):
    """One feeder trips as the switch of another dies: the site's meter alone would see half of them gone."""
    facts = kit.fleet(20, feeders=[0] * 10 + [1] * 10, feeder_rating_w=(1_000_000, 1_000_000))
    site = block(facts=facts)
    site.metered = {0, 1}
    site.cycles(20)
    site.trip({4, 5, 6})
    site.unplugged = {11, 12, 13}
    site.cycles(20)
    assert site.state.fleet.away[[4, 5, 6]].tolist() == [Away.DARK] * 3
    assert site.state.fleet.away[[11, 12, 13]].tolist() == [Away.DRAWS] * 3
    assert site.state.fleet.want_hashing[[11, 12, 13]].all()


def test_with_the_site_meter_alone_such_a_mixture_counts_as_drawn(block, kit):
    facts = kit.fleet(20, feeders=[0] * 10 + [1] * 10, feeder_rating_w=(1_000_000, 1_000_000))
    site = block(facts=facts)
    site.trip({4, 5, 6})
    site.unplugged = {11, 12, 13}
    site.cycles(20)
    assert set(site.state.fleet.away[[4, 5, 6, 11, 12, 13]].tolist()) == {Away.DRAWS}
    site.power({4, 5, 6})
    site.unplugged.clear()
    site.cycles(int(START_S) + 2)
    slept = {c.miner for c in site.sent if c.verb is Verb.SLEEP}
    assert slept >= {4, 5, 6}, "who comes back far below what it drew has just started"
    assert not slept & {11, 12, 13}


def test_without_the_site_meter_nobody_is_dark(block):
    site = block()
    site.meter_lost = {Point.SITE_LOAD_W}
    site.cycle()
    site.trip(LOST)
    site.cycle()
    assert "not known" in site.events("mass_disconnect")[0][2]
    site.cycles(20)
    assert set(site.state.fleet.away[list(LOST)].tolist()) == {Away.DRAWS}
    assert (site.state.fleet.to_w[list(LOST)] == 3_500.0).all(), "unknown is not zero"


def test_a_feeder_that_trips_after_the_switch_died_is_seen_by_its_own_meter(block):
    site = block()
    site.metered = {0}
    site.cycles(20)
    site.unplugged = set(LOST)
    site.cycles(60)
    site.trip(LOST)
    site.cycles(6)
    assert site.names()["mass_dark"] == 1
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DARK] * 6


def test_without_one_it_counts_as_drawn_and_is_idled_as_it_starts(block):
    """Long after they went, the site's meter cannot tell their feeder from any other load."""
    site = block()
    site.unplugged = set(LOST)
    site.cycles(60)
    site.trip(LOST)
    site.cycles(30)
    assert site.state.fleet.away[list(LOST)].tolist() == [Away.DRAWS] * 6
    site.unplugged.clear()
    site.power(LOST)
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.sent if c.verb is Verb.SLEEP} >= set(LOST)
    site.cycles(200)
    assert site.load_w() <= site.spare_w + 150.0


def test_who_tells_no_watts_has_just_started_where_it_comes_back_without_its_hash_rate(block, kit):
    """The same of miners whose watts are estimated by their hash rate: that they boot is no loss of work."""
    site = block(facts=kit.fleet(20, odd={miner: {"reports_power": False} for miner in range(20)}))
    read = site._reading

    def with_rate(miner, draws_w):
        reading = read(miner, draws_w)
        hashes = reading.condition is Condition.HASHING and miner not in site.poolless
        return replace(reading, hashrate_th=100.0 if hashes else 0.0)

    site._reading = with_rate
    site.cycles(2)
    site.unplugged = set(LOST)
    site.cycles(60)
    site.trip(LOST)
    site.cycles(30)
    site.unplugged.clear()
    site.power(LOST)
    site.poolless = set(LOST)
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.sent if c.verb is Verb.SLEEP} == set(LOST)
    assert not site.names()["work_lost"]


@pytest.mark.parametrize("metered", [{0, 1}, set()], ids=["by its feeder's meter", "by the site's"])
def test_a_boot_that_is_slow_makes_nobody_dark(block, kit, metered):
    """Found by harsh seed 3369: one that booted, slower than its class, was lost beside others that draw little."""
    facts = kit.fleet(20, feeders=[0] * 15 + [1] * 5, feeder_rating_w=(1_000_000, 30_000))
    site = block(facts=facts, hashing=15, surplus_w=54_000.0, trim=False)  # no other move hides it
    site.metered = metered
    site.cycles(20)
    site.spare_w = 57_600.0
    site.run_until(lambda: any(command.verb is Verb.WAKE for command in site.sent), 60)
    (woken,) = {command.miner for command in site.sent if command.verb is Verb.WAKE}
    site.dead_s[woken], site.way_s[woken] = 16.0, 48.0  # as late as miners can be
    site.cycles(6)
    lost = [woken, 17, 18, 19]
    site.unplugged = set(lost)
    site.cycles(80)
    assert site.names()["mass_disconnect"] == 1
    assert site.state.fleet.away[lost].tolist() == [Away.DRAWS] * 4
    assert site.state.fleet.want_hashing[woken]


def test_a_sleep_that_never_reached_one_that_boots_makes_nobody_dark(block, kit):
    """Found by harsh seed 1149: woken a moment before the switch died, and told to sleep the moment after."""
    facts = kit.fleet(20, feeders=[0] * 15 + [1] * 5, feeder_rating_w=(1_000_000, 30_000))
    site = block(facts=facts, hashing=15, surplus_w=54_000.0, sweep_s=5, trim=False)
    site.metered = {0, 1}
    site.cycles(20)
    site.spare_w = 57_600.0
    site.run_until(lambda: any(command.verb is Verb.WAKE for command in site.sent), 60)
    (woken,) = {command.miner for command in site.sent if command.verb is Verb.WAKE}
    lost = [woken, 17, 18, 19]
    site.run_until(lambda: round(site.now) % 5 == -woken % 5, 5)  # it was read just now
    site.unplugged = set(lost)
    site.spare_w = 1_000.0
    site.cycle()
    assert woken in {command.miner for command in site.sent if command.verb is Verb.SLEEP}
    site.cycles(60)
    assert site.names()["mass_disconnect"] == 1
    assert site.state.fleet.away[lost].tolist() == [Away.DRAWS] * 4


def two_feeders_as_many_boot(block, kit, *, slower, after):
    """8 miners on a feeder without a meter, 12 on one with its own, where six or more were woken `after` cycles ago.

    Their boots take `slower` times the time of their class.
    """
    facts = kit.fleet(20, feeders=[1] * 8 + [0] * 12, feeder_rating_w=(1_000_000, 1_000_000))
    pace = {f"{way}_w_per_{time}": watts for way in ("up", "down") for time, watts in (("min", 6e4), ("15s", 3e4))}
    site = block(facts=facts, hashing=20, surplus_w=80_000.0, trim=False, policy={"ramp": pace})
    site.metered = {0}
    site.spare_w = 45_000.0
    site.cycles(60)
    site.sent.clear()
    site.spare_w = 80_000.0
    site.run_until(lambda: sum(command.verb is Verb.WAKE for command in site.sent) >= 6, 120)
    woken = {command.miner for command in site.sent if command.verb is Verb.WAKE}
    for miner in woken:
        site.dead_s[miner], site.way_s[miner] = site.dead_s[miner] * slower, site.way_s[miner] * slower
    site.cycles(after)
    site.decisions.clear()
    ran = [miner for miner in range(20) if site.hashing[miner] and miner not in woken]
    return site, [miner for miner in ran if miner < 8], [miner for miner in ran if miner >= 8]


@pytest.mark.parametrize("after", [8, 24])
def test_late_boots_on_a_metered_feeder_are_not_missed_a_second_time_by_the_site_meter(block, kit, after):
    """A switch dies under three miners of one feeder and one of the other, whose boots are late."""
    site, unmetered, metered = two_feeders_as_many_boot(block, kit, slower=1.6, after=after)
    lost = [*unmetered[:3], metered[0]]
    site.unplugged = set(lost)
    site.cycles(40)
    assert site.names()["mass_disconnect"] == 1
    assert site.state.fleet.away[lost].tolist() == [Away.DRAWS] * 4
    site.unplugged.clear()
    told_before = len(site.sent)
    site.cycles(30)
    assert not [command for command in site.sent[told_before:] if command.verb is Verb.SLEEP]


@pytest.mark.parametrize("after", [16, 24])
def test_boots_of_others_hide_no_darkness_from_their_feeder_s_meter(block, kit, after):
    site, _, metered = two_feeders_as_many_boot(block, kit, slower=1.0, after=after)
    site.trip(metered[:4])
    site.cycles(6)
    assert site.state.fleet.away[metered[:4]].tolist() == [Away.DARK] * 4


@pytest.mark.parametrize("after", [12, 16])
def test_what_went_dark_is_nothing_that_boots_elsewhere_are_late_by(block, kit, after):
    """Found by harsh seed 6007: counted as drawn before it came, it put one that booted to sleep once blind."""
    site, unmetered, _ = two_feeders_as_many_boot(block, kit, slower=1.0, after=after)
    site.trip(unmetered[:4])
    site.cycles(6)
    assert site.state.fleet.away[unmetered[:4]].tolist() == [Away.DARK] * 4
    assert site.state.late_w < 0.05 * 4 * 3_500.0


def test_a_second_feeder_that_trips_while_the_first_is_news_is_dark_as_well(block):
    site = block()
    site.trip(LOST)
    site.cycles(8)
    site.trip(range(11, 16))
    site.cycles(8)
    assert site.state.fleet.away[[*LOST, *range(11, 16)]].tolist() == [Away.DARK] * 11
    first, second = (text for _, _, text in site.events("mass_disconnect"))
    assert "6 of 20" in first and first.endswith("dark")
    assert "5 of 20" in second
