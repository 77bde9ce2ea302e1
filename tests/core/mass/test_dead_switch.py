"""Many miners vanish at once behind a dead switch: seen at once, nothing is moved, and a shed goes round them."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest

from controller.core import mass, mass_words
from controller.core.fleet_state import Away
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Level, Verdict
from controller.domain.metering import Point
from tests.core.mass.conftest import LOST

# --- seen at once ---------------------------------------------------------------------------------------------------


def test_many_that_vanish_at_once_are_one_event_in_the_cycle_that_sees_it(block):
    site = block()
    site.unplugged = set(LOST)
    decision = site.cycle()
    assert [event.name for event in decision.events] == ["mass_disconnect"]
    assert decision.events[0].level == "error"
    assert "6 of 20 miners (30%)" in decision.events[0].text
    assert "feeder-0 (6)" in decision.events[0].text
    assert decision.unreachable_at_once == 6
    site.cycles(120)
    assert site.names() == {"mass_disconnect": 1}, "and it is said once"


def test_in_a_slow_sweep_the_first_few_make_everybody_be_read(block):
    """A sweep of 10 s alone would show the fourth of six after half of it or more."""
    site = block(sweep_s=10)
    site.unplugged = set(LOST)
    began = site.now
    site.run_until(lambda: site.names()["mass_disconnect"], 8)
    first = min(at for at, *_ in site.events("miner_unreachable"))
    assert site.now - first <= 2, (site.now - began, first)
    asked = [decision for decision in site.decisions if decision.ask]
    assert len(asked) == 1, "a burst asks once, whatever it finds"
    assert site.names()["miner_unreachable"] <= 2


def test_as_many_over_an_hour_are_no_mass_disconnect(block):
    site = block()
    for miner in LOST:
        site.unplugged.add(miner)
        site.cycles(20)
    assert site.names() == {"miner_unreachable": 6}
    assert site.decisions[-1].unreachable_at_once == 0


def test_fewer_than_the_limit_are_told_one_by_one_and_not_all_in_one_breath(block, kit):
    site = block(n=60, hashing=20, facts=kit.fleet(60), surplus_w=72_000.0)
    site.unplugged = set(range(40, 51))
    site.cycle()
    assert site.names() == {"miner_unreachable": mass_words.SAID_AT_ONCE}
    site.cycles(40)
    assert site.names() == {"miner_unreachable": 11}, "the others when no mass disconnect came of it"
    site.unplugged.clear()
    site.cycle()
    assert site.names()["miner_back"] == 11


def test_miners_that_were_away_before_do_not_count(block):
    site = block()
    site.unplugged = {17, 18, 19}
    site.cycles(30)
    site.unplugged |= {0, 1, 2}
    site.cycles(5)
    assert site.names() == {"miner_unreachable": 6}
    site.unplugged |= {3}
    site.cycle()
    assert site.decisions[-1].unreachable_at_once == 4, "of 17 that answered, 4 is more than a fifth"


# --- a switch died: they hash on ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sweep_s", [1, 10])
def test_a_dead_switch_moves_nothing_neither_while_it_lasts_nor_when_it_is_back(block, sweep_s):
    site = block(sweep_s=sweep_s)
    load_w = site.load_w()
    site.unplugged = set(LOST)
    site.cycles(120)
    (said,) = site.events("mass_disconnect")
    assert "drawn on" in said[2] or "last known power counts" in said[2]
    assert not site.names()["mass_dark"]
    site.unplugged.clear()
    site.cycles(120)
    assert site.sent == []
    assert site.load_w() == load_w
    assert site.names()["mass_return"] == 1
    assert "6 of 6 miners answer again" in site.events("mass_return")[0][2]
    assert set(site.state.fleet.verdict.tolist()) == {Verdict.SETTLED}


def test_who_runs_at_a_low_rung_was_there_before_though_more_was_believed(block, kit):
    """A trim up that was lost with the network leaves a belief of twice what it draws: no power came back there."""
    ladder = tuple(Level(f"{watts}W", watts, watts / 20.0) for watts in (1000, 2000, 3000, 3500))
    site = block(facts=kit.fleet(20, ladder=ladder))
    site.unplugged = set(LOST)
    site.cycles(60)
    for miner in LOST:
        site.set_hashing(miner, True, level=0, times=(0.0, 0.01))
    site.unplugged.clear()
    site.cycles(2)
    assert not [command for command in site.commands_to(LOST) if command.verb is Verb.SLEEP]


@pytest.mark.parametrize("back_s", [6, 20], ids=["before it shows life", "as it starts"])
def test_who_was_woken_a_moment_before_boots_on_however_slow_it_is(block, back_s):
    """Found by harsh seed 2096: its boot was taken for power that came back, and it slept again within its dwell."""
    site = block(hashing=15, surplus_w=54_000.0)
    site.spare_w = 57_600.0
    site.run_until(lambda: any(command.verb is Verb.WAKE for command in site.sent), 60)
    (woken,) = {command.miner for command in site.sent if command.verb is Verb.WAKE}
    site.cycles(2)
    site.dead_s[woken], site.way_s[woken] = 18.0, 55.0  # nearly twice what its class takes
    site.unplugged = {*LOST, woken}
    site.cycles(back_s)
    assert site.state.fleet.away[woken] == Away.DRAWS
    site.unplugged.clear()
    site.cycle()
    assert site.state.fleet.want_hashing[woken]
    site.cycles(120)
    assert not [command for command in site.sent if command.verb is Verb.SLEEP]
    assert [command.verb for command in site.commands_to({woken})] == [Verb.WAKE]
    assert site.state.fleet.verdict[woken] == Verdict.SETTLED
    assert site.state.fleet.attempts[woken] == 0
    assert site.hashing[woken]


@pytest.mark.parametrize("left_s", [60.0, 5.0], ids=["within its patience", "before its deadline"])
def test_who_comes_back_asleep_from_a_wake_that_never_arrived_is_not_judged_for_the_time_away(block, left_s):
    site = block(hashing=15, surplus_w=54_000.0)
    site.spare_w = 57_600.0
    site.unsure = set(range(20))
    site.unplugged = site.silent = set(range(15, 20))  # not read yet
    site.run_until(lambda: any(command.verb is Verb.WAKE for command in site.sent), 60)
    (woken,) = {command.miner for command in site.sent if command.verb is Verb.WAKE}
    site.silent = set()
    site.run_until(lambda: site.now > site.state.fleet.deadline_at[woken] - left_s, 300)
    assert site.state.fleet.away[woken] == Away.DRAWS
    site.unplugged = set()
    site.cycles(25)
    assert site.state.fleet.attempts[woken] == 0, "it may be about to boot, or has heard nothing"
    site.cycles(180)
    assert site.hashing.sum() == 16, "and one of its kind is woken when it had the time"


def test_a_falling_surplus_is_met_by_those_that_can_be_reached(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycles(10)
    site.spare_w = 32_000.0
    site.cycles(60)
    assert site.load_w() <= 32_000.0 + 150.0
    assert site.commands_to(LOST) == []
    site.unplugged.clear()
    site.cycles(60)
    assert 30_000.0 <= site.load_w() <= 32_000.0 + 150.0
    assert not site.names()["miner_quarantined"]


def test_a_command_that_was_on_its_way_convicts_nobody(block):
    """Told to sleep as the switch died, nothing known of what became of it: judged afresh, and told again."""
    site = block(attempts_max=1)
    site.unsure = set(range(20))
    site.unplugged = set(LOST)
    site.cycle()
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now)
    site.cycles(60)
    tried = {command.miner for command in site.commands_to(LOST)}
    assert tried == set(LOST)
    site.unplugged.clear()
    site.cycles(3)
    site.cycles(20)
    assert not site.names()["miner_quarantined"]
    assert site.load_w() == pytest.approx(1_000.0 + 20 * 50.0, abs=50)


# --- in a shed ------------------------------------------------------------------------------------------------------


def test_a_shed_tries_the_unreachable_too_last_and_not_without_end(block, kit):
    n = 100
    site = block(n=n, facts=kit.fleet(n), hashing=22, surplus_w=84_000.0)
    lost = set(range(2, 22))
    site.unplugged = set(lost)
    site.cycle()
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now)
    began = site.now
    site.cycles(120)
    first = next(decision for decision in site.decisions if decision.commands)
    order = [command.miner in lost for command in first.commands]
    assert order == sorted(order), "who can hear us comes first"
    tries = site.commands_to(lost, began)
    assert all(command.verb is Verb.SLEEP and command.urgent for command in tries)
    by_miner = Counter(command.miner for command in tries)
    assert set(by_miner) == lost, "round robin"
    assert max(by_miner.values()) <= 120 / mass.TRY_AGAIN_S + 1
    per_cycle = [len([c for c in d.commands if c.miner in lost]) for d in site.decisions]
    assert max(per_cycle) <= mass.TRIED_AT_ONCE
    assert site.decisions[-1].figures.floor_w >= 20 * 3_500.0, "they count as drawing: the floor, not obeyed"
    site.unplugged.clear()
    site.cycles(3)
    assert not site.state.fleet.want_hashing.any(), "and are shed when they are heard again"


def test_a_shed_that_reaches_one_after_all_believes_it_when_it_is_seen(block):
    site = block()
    site.unplugged = set(LOST)
    site.cycle()
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now)
    site.unsure = {4}
    site.cycles(5)
    assert site.state.fleet.to_w[4] == 3_500.0
    site.set_hashing(4, False)  # it has obeyed
    site.unplugged.discard(4)
    site.cycles(5)
    assert site.state.fleet.to_w[4] == pytest.approx(50.0)
    assert site.state.fleet.condition[4] == Condition.ASLEEP


def test_a_shed_that_hears_nothing_of_its_orders_goes_round_all_the_same(block, kit):
    """Bytes written, no reply, and never read again: 16 such orders must not keep the others from being asked."""
    n = 60
    site = block(n=n, facts=kit.fleet(n), hashing=22, surplus_w=81_000.0)
    lost = set(range(2, 22))
    site.unplugged = set(lost)
    site.unsure = set(lost)
    site.cycle()
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now)
    began = site.now
    site.cycles(300)
    asked = Counter(command.miner for command in site.commands_to(lost, began))
    assert set(asked) == lost, "every one of them"
    assert min(asked.values()) >= 2, "and once more"
    times = {miner: [d.now for d in site.decisions for c in d.commands if c.miner == miner] for miner in lost}
    assert min(later - before for at in times.values() for before, later in pairwise(at)) >= 15.0
    assert site.decisions[-1].figures.floor_w >= 20 * 3_500.0, "they count as drawing"


def test_who_obeyed_an_order_that_no_answer_told_of_is_ours_to_wake(block):
    """The first order arrived, the second did not, and then it is seen asleep: that was us, not another hand."""
    site = block()
    site.unplugged = set(LOST)
    site.cycle()
    site.extra[Point.GRID_EMERGENCY] = site.kit.sample(1.0, site.now)
    site.unsure = {4}
    site.cycles(5)
    site.unsure = set()
    site.set_hashing(4, False)
    site.cycles(60)
    assert len(site.commands_to({4})) >= 2
    del site.extra[Point.GRID_EMERGENCY]
    site.cycles(20)
    site.unplugged.clear()
    site.cycles(300)
    assert not site.names()["foreign_sleeper"]
    assert site.hashing[4]


# --- to and fro, and a restart in the middle ------------------------------------------------------------------------


def test_the_least_that_can_be_many(kit):
    policy = kit.policy(fleet={"mass_disconnect_ratio": 0.2}).fleet
    assert [mass.limit_of(policy, n) for n in (1, 4, 15, 16, 20, 21, 1_000)] == [3, 3, 3, 4, 4, 5, 200]
