"""Miners too slow for a trim, which takes more calls than a read or a sleep: a limit is kept all the same.

Rungs 2.0 to 3.5 kW, 50 W asleep, 1 kW of auxiliaries. A trim that never arrives is known 2.5 s later.
"""

from __future__ import annotations

import itertools
import json
import math

import pytest

from controller.core import arrivals, checkpoint
from controller.domain.command import Verb
from controller.domain.dispatch import DispatchKind
from controller.domain.fleet import Condition
from controller.domain.metering import Point
from controller.domain.reasons import Why

LIMIT_KEPT_S = 11  # two rounds of trims that never arrive, and a sleep's time to work
DEADBAND_W = 100.0


def site_of(kit, count, surplus_w, slow=None, hashing=None, level=3, **fleet):
    """A site of `count` miners, all hashing and slow unless told otherwise, at rest below its surplus."""
    rating_w = round(1_000.0 + 3_500.0 * count)
    ramp = dict.fromkeys(RAMPS, 60.0 * rating_w)
    policy = kit.policy(
        rated_w=rating_w, site_cap_w=rating_w, power_span_w=20 * rating_w + 200_000, ramp=ramp, fleet=fleet
    )
    site = kit.site(policy, kit.fleet(count), hashing=hashing or [True] * count, surplus_w=surplus_w)
    site.slow = set(range(count)) if slow is None else set(slow)
    site.level[:] = level
    site.cycles(3)
    return site


RAMPS = ("up_w_per_min", "down_w_per_min", "up_w_per_15s", "down_w_per_15s")


def commands(site, verb, since=0.0):
    return [command for d in site.decisions if d.now > since for command in d.commands if command.verb is verb]


def events(site, name):
    return [(d.now, event.text) for d in site.decisions for event in d.events if event.name == name]


@pytest.mark.parametrize("count", [1, 2, 3, 12, 100])
@pytest.mark.parametrize("less_w", [700.0, 5_000.0])
def test_a_limit_is_kept_though_no_trim_ever_arrives(kit, count, less_w):
    """However many there are: not every one of thousands has to fail for itself first."""
    full_w = 1_000.0 + 3_500.0 * count
    site = site_of(kit, count, full_w)
    site.spare_w = max(full_w - less_w, 1_100.0)
    for _ in range(LIMIT_KEPT_S):
        site.cycle()
    for _ in range(20):
        site.cycle()
        assert site.load_w() <= site.spare_w
    assert len(commands(site, Verb.TRIM)) <= 8, "and not handed from one to the next"


def test_a_limit_is_kept_while_it_goes_on_falling(kit):
    site = site_of(kit, 12, 43_000.0)
    for spare_w in range(42_000, 4_000, -500):
        site.spare_w = float(spare_w)
        site.cycle()
        assert site.load_w() <= spare_w + 500.0 * LIMIT_KEPT_S
    assert {command.miner for command in commands(site, Verb.SLEEP)} >= set(range(1, 12))


def test_trims_come_back_as_soon_as_they_arrive_again(kit):
    site = site_of(kit, 6, 22_000.0)
    site.spare_w = 21_000.0
    site.cycles(LIMIT_KEPT_S)
    site.slow.clear()
    site.cycles(120)  # the hold is over, and who slept has booted
    at = site.now
    site.spare_w = 17_800.0
    site.cycles(5)
    assert commands(site, Verb.TRIM, since=at)
    assert not commands(site, Verb.SLEEP, since=at)
    site.spare_w = 14_500.0
    site.cycles(20)
    site.spare_w = 16_000.0
    site.cycles(20)
    assert 15_000.0 < site.load_w() <= 16_000.0 + DEADBAND_W
    assert not commands(site, Verb.SLEEP, since=at)
    assert [text for _, text in events(site, "trims_arrive")] == ["trims arrive again, and nobody is held"]
    assert not arrivals.held(site.state.fleet, site.now).any()


def test_every_further_hold_is_twice_as_long_up_to_eight_minutes(kit):
    site = site_of(kit, 4, 20_000.0, level=2)  # what is there is asked for as soon as trims may be asked for
    site.cycles(1_500)
    tried = [d.now for d in site.decisions if d.commands]
    gaps_s = [later - before for before, later in itertools.pairwise(tried)]
    holds_s = [gap_s for gap_s in gaps_s if gap_s > arrivals.LATELY_S]
    assert [round(hold_s / arrivals.HOLD_S) for hold_s in holds_s] == [1, 2, 4, 8, 16, 16]
    assert len(commands(site, Verb.TRIM)) <= 4 * 7


def test_one_slow_miner_is_held_and_the_others_are_trimmed(kit):
    site = site_of(kit, 6, 22_000.0, slow=[5])
    for spare_w in (21_400.0, 21_000.0, 20_400.0, 20_000.0, 19_400.0):
        site.spare_w = spare_w
        site.cycles(9)
        assert site.load_w() <= spare_w + DEADBAND_W
    assert list(arrivals.held(site.state.fleet, site.now).nonzero()[0]) == [5]
    assert not commands(site, Verb.SLEEP)
    assert len([command for command in commands(site, Verb.TRIM) if command.miner == 5]) == arrivals.LOST_IN_A_ROW
    site.slow.clear()
    site.cycles(round(arrivals.HOLD_S))
    site.spare_w = 13_500.0
    site.cycles(8)
    assert site.level[5] < 3
    assert events(site, "trims_arrive")


def test_who_was_reached_meanwhile_is_not_held_with_the_others(kit):
    """Two families on one site, one of them slow: what arrives there is no reason to ask the others for ever."""
    site = site_of(kit, 12, 43_000.0, slow=range(6, 12))
    site.spare_w = 38_000.0
    site.cycles(LIMIT_KEPT_S)
    site.spare_w = 25_000.0
    site.cycles(LIMIT_KEPT_S)
    assert site.load_w() <= 25_000.0
    held = set(arrivals.held(site.state.fleet, site.now).nonzero()[0].tolist())
    reached = {command.miner for command in commands(site, Verb.TRIM)} - site.slow
    assert held & site.slow
    assert not held & reached


def test_a_held_miner_is_woken_and_its_level_is_what_it_can_give(kit):
    """Nobody waits for watts that only a trim could bring: a sleeper is woken for them."""
    site = site_of(kit, 4, 8_000.0, hashing=[True, True, False, False])
    site.spare_w = 7_500.0
    site.cycles(LIMIT_KEPT_S)
    assert site.hashing.tolist() == [True, False, False, False]
    assert site.decisions[-1].allocation.why_of(0) is Why.TRIMS_LOST
    site.spare_w = 4_000.0
    site.set_hashing(0, True, 0)  # of its own accord
    site.cycles(3)
    assert site.decisions[-1].figures.available_up_w == pytest.approx(3 * 3_450.0), "not its own 1.5 kW"
    site.spare_w = 7_500.0
    site.cycles(10)
    assert len(commands(site, Verb.WAKE)) == 1


def test_it_is_told_once_for_the_whole_fleet_and_nobody_is_called_away(kit):
    site = site_of(kit, 100, 351_000.0)
    site.spare_w = 150_000.0
    site.cycles(LIMIT_KEPT_S)
    ((_, text),) = events(site, "trims_lost")
    assert "100 of 100 are held" in text
    assert not events(site, "mass_disconnect")
    assert len(events(site, "miner_unreachable")) < arrivals.LOST_OF_ALL
    assert (site.state.fleet.condition != Condition.UNREACHABLE).all()


def test_a_miner_that_cannot_be_read_either_is_out_of_reach_as_ever(kit):
    site = site_of(kit, 2, 8_000.0, slow=[1])
    site.silent.add(1)
    site.spare_w = 7_400.0
    site.cycles(4)
    assert site.state.fleet.condition[1] == Condition.UNREACHABLE
    assert site.state.fleet.trims_lost[1] < arrivals.LOST_IN_A_ROW
    site.cycles(6)
    assert site.load_w() <= 7_400.0
    assert not commands(site, Verb.SLEEP)


def test_after_a_restart_the_same_are_held_and_nobody_tries_anew_above_the_limit(kit):
    site = site_of(kit, 6, 22_000.0)
    site.spare_w = 21_000.0
    site.cycles(LIMIT_KEPT_S)
    before = arrivals.held(site.state.fleet, site.now)
    assert before.all()
    record = json.loads(json.dumps(checkpoint.to_record(site.facts, site.state, site.now), allow_nan=False))
    site.state = checkpoint.from_record(site.facts, record, site.now + 5.0, kit.wall)
    site.now += 5.0
    site.cycles(2)
    at = site.now
    site.spare_w = 17_000.0
    site.cycles(5)
    assert site.load_w() <= 17_000.0
    assert commands(site, Verb.SLEEP, since=at)
    assert not commands(site, Verb.TRIM, since=at)
    assert len(events(site, "trims_lost")) == 1, "it has been told"
    chance_at = float(site.state.fleet.trim_told_at[0]) + arrivals.HOLD_S
    site.cycles(math.ceil(chance_at - site.now))
    assert not commands(site, Verb.TRIM, since=at)
    site.spare_w = 14_000.0
    site.cycles(2)
    assert commands(site, Verb.TRIM, since=at), "their next chance comes when it would have come"


def test_a_shed_is_a_sleep_and_asks_nothing_of_trims(kit):
    site = site_of(kit, 6, 22_000.0)
    site.extra[Point.GRID_EMERGENCY] = kit.sample(1.0, site.now)
    site.cycles(4)
    assert not commands(site, Verb.TRIM)
    assert not site.hashing.any()


def test_a_wish_does_not_break_the_dwell_of_one_that_is_held(kit):
    """A target is a wish, not a limit: it waits for the dwell where trim cannot bring it about."""
    site = site_of(kit, 4, 40_000.0, dwell_on_s=300.0)
    site.state.fleet.changed_at[:] = site.now
    order = kit.order(DispatchKind.TARGET, 12_500, issued_at=kit.wall + site.now, lasts_s=3_000.0)
    site.cycle(received=(site.receive(order),))
    site.cycles(60)
    assert not commands(site, Verb.SLEEP)
