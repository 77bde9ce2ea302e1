"""Starts of a miner are counted over 24 hours: a budget, shared evenly among those that hash alike per watt.

Miners of 3.5 kW that are only on or off, 1 kW beside them. The surplus goes up and down by one of them.
"""

from __future__ import annotations

import json

import numpy as np
import pytest

from controller.core import checkpoint, starts
from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.dispatch import DispatchKind
from controller.domain.metering import Point
from controller.domain.reasons import Why
from tests.core.builders import WALL

HOUR_S = 3_600.0
ONE_W, TWO_W = 4_700.0, 8_200.0


@pytest.fixture
def hall(kit):
    """A site of four; the first is the best, the other three are alike."""

    def build(per_day, hashing=(True, False, False, False), merits=(20.0, 25.0, 25.1, 25.2)):
        policy = kit.policy(fleet={"trim": False, "starts_per_day": per_day})
        site = kit.site(policy, kit.fleet(4, joule_per_th=merits), hashing=hashing, surplus_w=ONE_W)
        site.cycles(5)
        return site

    return build


def up_and_down(site, times, seconds=2.0):
    for _ in range(times):
        site.spare_w = TWO_W
        site.cycles(30, seconds=seconds)
        site.spare_w = ONE_W
        site.cycles(30, seconds=seconds)


def woken(site):
    return [command.miner for command in site.sent if command.verb is Verb.WAKE]


def test_equals_take_turns(hall):
    site = hall(per_day=100)
    up_and_down(site, 9)
    assert sorted(woken(site)) == [1, 1, 1, 2, 2, 2, 3, 3, 3]


def test_a_better_one_is_not_spared_for_a_worse_one(hall):
    site = hall(per_day=100, merits=(20.0, 25.0, 28.0, 31.0))
    up_and_down(site, 3)
    assert woken(site) == [1, 1, 1]


def test_who_has_no_start_left_sleeps_on_and_says_why(hall):
    site = hall(per_day=2)
    up_and_down(site, 12)
    assert sorted(woken(site)) == [0, 0, 1, 1, 2, 2, 3, 3], "two each, and nobody is left"
    site.spare_w = TWO_W
    site.cycles(10)
    assert site.decisions[-1].allocation.why_of(1) is Why.BUDGET_USED
    assert site.load_w() == pytest.approx(4_650.0), "what is missed is not taken from who has none left"


def test_a_start_is_forgotten_after_a_day(hall):
    site = hall(per_day=1)
    up_and_down(site, 6)
    assert sorted(woken(site)) == [0, 1, 2, 3]
    site.cycles(24, seconds=HOUR_S)
    up_and_down(site, 1)
    assert len(woken(site)) == 5


def test_who_has_no_start_left_is_put_to_sleep_last_and_put_to_sleep_all_the_same(hall):
    site = hall(per_day=1)
    site.spare_w = TWO_W + 3_500.0
    site.cycles(110)
    assert woken(site) == [1, 2]
    site.spare_w = ONE_W
    site.cycles(30)
    assert list(site.hashing) == [False, True, False, False], "the best goes: it can come back"
    site.spare_w = 0.0
    site.cycles(30)
    assert not site.hashing.any(), "a limit is kept"


def test_a_start_after_a_shed_costs_none(hall, kit):
    site = hall(per_day=1)
    for _ in range(3):
        site.extra = kit.readings(site.now, grid_emergency=1.0)
        for _ in range(10):
            site.extra = kit.readings(site.now, grid_emergency=1.0)
            site.cycle()
        assert not site.hashing.any()
        site.extra = {}
        site.cycles(90)
        assert site.hashing.any(), "the surplus is taken again"


@pytest.mark.parametrize("outcome", [Outcome.UNREACHABLE, Outcome.WITHHELD])
def test_a_wake_that_never_arrived_is_no_start(hall, outcome):
    """A busy write port, a slow disk, a miner that somebody else holds: for ten minutes every wake comes back."""
    site = hall(per_day=2)
    site.deaf = {1, 2, 3}
    site.spare_w = TWO_W
    for _ in range(300):
        before = len(site.sent)
        site.cycle(2.0)
        lost = [(one.command_id, one.miner) for one in site.sent[before:] if one.verb is Verb.WAKE]
        site.cycle(0.1, reports=tuple(CommandReport(*one, outcome, None, site.now, "no") for one in lost))
    assert len(woken(site)) > 6
    site.deaf.clear()
    site.cycles(120)
    assert site.load_w() == pytest.approx(8_100.0), "it is asked again and comes"


def test_a_target_is_followed_down_by_those_who_have_no_start_left(kit):
    policy = kit.policy(fleet={"trim": False, "starts_per_day": 1})
    site = kit.site(policy, kit.fleet(4), hashing=[True] * 4, surplus_w=20_000.0)
    starts.note(site.state, np.arange(4), 1, -10.0)
    site.cycles(5)
    order = kit.order(DispatchKind.TARGET, 4_600, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(order),))
    site.cycles(300)
    assert site.load_w() == pytest.approx(4_650.0)


def test_a_start_after_a_fallback_costs_none(hall):
    site = hall(per_day=1, hashing=(True, True, False, False))
    site.spare_w = TWO_W
    for _ in range(3):
        site.meter_lost = {Point.POI_EXPORT_W, Point.DESPATCH_EXPORT_W}
        site.cycles(120)
        assert np.count_nonzero(site.hashing) == 1, "blind, and at the fallback"
        site.meter_lost = set()
        site.cycles(240)
        assert np.count_nonzero(site.hashing) == 2, "it sees again"


def test_whose_sleep_nobody_chose_is_known_after_a_restart(kit):
    facts = kit.fleet(4)
    state = kit.seen_state(facts, [False] * 4)
    state.fleet.unchosen[[0, 2]] = True
    back = checkpoint.from_record(facts, json.loads(json.dumps(checkpoint.to_record(facts, state, 9.0))), 5.0, WALL)
    assert back.fleet.unchosen.tolist() == [True, False, True, False]
    checkpoint.replay_commands(facts, back, [(7, "m1", Verb.WAKE), (8, "m2", Verb.WAKE)])
    assert [len(starts.of_miner(back, row)) for row in range(4)] == [0, 1, 0, 0], "behind the checkpoint"


def test_starts_survive_a_restart_as_ages(kit):
    facts = kit.fleet(4)
    state = kit.seen_state(facts, [True] * 4, now=50_000.0)
    for at in (40_000.0, 45_000.0, 49_000.0):
        starts.note(state, np.array([1]), 3, at)
    starts.note(state, np.array([3]), 3, 48_000.0)
    record = json.loads(json.dumps(checkpoint.to_record(facts, state, 50_000.0), allow_nan=False))
    back = checkpoint.from_record(facts, record, 10.0, WALL)
    assert sorted(back.starts_at[1].tolist()) == [10.0 - 10_000.0, 10.0 - 5_000.0, 10.0 - 1_000.0]
    assert max(back.starts_at[3].tolist()) == 10.0 - 2_000.0
    assert not np.isfinite(back.starts_at[[0, 2]]).any()


def test_a_start_takes_the_place_of_the_oldest_and_leaves_the_state_before_as_it_was(kit):
    state = kit.seen_state(kit.fleet(2), [True, True])
    for at in (1.0, 2.0, 3.0):
        before = state.starts_at
        starts.note(state, np.array([0]), 2, at)
        assert state.starts_at is not before
    assert sorted(state.starts_at[0].tolist()) == [2.0, 3.0]
    assert sorted(before[0].tolist()) == [1.0, 2.0]
