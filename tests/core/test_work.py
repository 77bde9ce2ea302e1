"""Many miners that lose their pools at once: one event, nobody blamed, and no step back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.core import checkpoint, work
from controller.domain.command import Verb
from controller.domain.fleet import Condition
from controller.domain.plan import EventLevel
from tests.core.builders import WALL
from tests.core.site import Site

MINERS, ROOM_W = 20, 36_000.0  # half of them have room to hash
IDLE_SHARE = 0.01


class Pools(Site):
    """A site whose miners tell their hash rate: none while they are `poolless`, or asleep. `mute` ones tell none."""

    mute = False
    away: frozenset[int] = frozenset()

    def _reading(self, miner, draws_w):
        reading = super()._reading(miner, draws_w)
        if miner in self.away:
            return replace(reading, condition=Condition.UNREACHABLE, power_w=None, level=None)
        works = reading.condition is Condition.HASHING and miner not in self.poolless and not self.boots_yet(miner)
        return replace(reading, hashrate_th=None if self.mute else 100.0 if works else 0.0)

    def boots_yet(self, miner):
        return bool(self.boots[miner]) and self.now < self.moved_at[miner] + self.dead_s[miner] + self.way_s[miner]


@pytest.fixture
def site(kit):
    policy = kit.policy(fleet={"mass_disconnect_window_s": 15.0}, rated_w=80_000, site_cap_w=80_000, power_span_w=10**6)
    site = Pools(policy, kit.fleet(MINERS), [True] * 10 + [False] * 10, ROOM_W)
    site.idle_share = IDLE_SHARE
    site.cycles(60)
    assert site.load_w() == pytest.approx(ROOM_W, rel=0.05)
    return site


def hash_now(site):
    return {miner for miner in range(MINERS) if site.hashing[miner]}


def lose(site, miners=range(MINERS)):
    site.poolless = set(miners)
    return site.cycles(60)


def told(decisions, name):
    return [event for decision in decisions for event in decision.events if event.name == name]


def test_it_is_told_once_and_at_once_with_its_counts(site):
    decisions = lose(site)
    (event,) = told(decisions, "work_lost")
    assert event in decisions[0].events
    assert event.level is EventLevel.ERROR
    assert "of 11 miners" in event.text or "of 10 miners" in event.text
    assert decisions[0].without_work >= 10


def test_who_has_no_work_sleeps_but_one_that_watches_and_nobody_else_is_woken(site):
    decisions = lose(site)
    assert len(hash_now(site)) == 1
    assert not any(command.verb is Verb.WAKE for decision in decisions for command in decision.commands)
    assert site.load_w() < 1_000 + MINERS * 100


def test_nobody_is_blamed(site):
    decisions = lose(site)
    site.poolless = set()
    decisions += site.cycles(200)
    for name in ("miner_stuck", "miner_drifted", "miner_quarantined", "feeder_contradicts", "foreign_sleeper"):
        assert told(decisions, name) == []
    assert not site.state.fleet.attempts.any()


def test_when_it_is_back_that_is_told_and_the_load_returns_by_the_ramps(site):
    lose(site)
    site.poolless = set()
    loads, decisions = [], []
    for _ in range(600):
        decisions.append(site.cycle())
        loads.append(site.load_w())
    (event,) = told(decisions, "work_back")
    assert event.level is EventLevel.INFO
    assert decisions[-1].without_work == 0
    limit_w = site.engine.policy.ramp.up_w_per_15s
    assert (
        max(later - now for now, later in zip(loads, loads[15:], strict=False)) <= 2.0 * limit_w
    )  # watchers and boots
    assert loads[-1] == pytest.approx(ROOM_W, rel=0.05)


def test_where_most_still_work_sleepers_that_lost_nothing_take_over(site):
    losers = sorted(hash_now(site))[:4]
    decisions = lose(site, losers)
    decisions += site.cycles(300)
    assert len(told(decisions, "work_lost")) == 1
    woken = {command.miner for decision in decisions for command in decision.commands if command.verb is Verb.WAKE}
    assert woken and not woken & set(losers)
    assert site.load_w() == pytest.approx(ROOM_W, rel=0.06)


def test_two_of_ten_are_no_loss_of_work(site):
    assert told(lose(site, sorted(hash_now(site))[:2]), "work_lost") == []


def test_who_tells_no_hash_rate_has_not_lost_it(site):
    site.mute = True
    assert told(lose(site), "work_lost") == []


def test_a_restart_in_the_middle_forgets_nothing(site):
    lose(site)
    kept = checkpoint.to_record(site.facts, site.state, site.now)
    site.state = checkpoint.from_record(site.facts, kept, site.now, WALL + site.now)
    decisions = site.cycles(60)
    assert told(decisions, "work_lost") == []
    assert not any(command.verb is Verb.WAKE for decision in decisions for command in decision.commands)
    assert work.missing(site.state) >= 10
    site.poolless = set()
    assert len(told(site.cycles(60), "work_back")) == 1


def test_when_all_that_lost_work_are_out_of_reach_somebody_else_looks_whether_it_is_back(site):
    """Nobody hashed, and nobody was woken before work was seen: the site stood still for good (harsh seed 2313)."""
    losers = hash_now(site)
    lose(site)
    site.away = frozenset(losers)
    site.hashing[list(losers)] = False
    site.poolless = set()
    assert len(told(site.cycles(900), "work_back")) == 1
    assert len(hash_now(site)) >= MINERS - len(losers) - 1
