"""Many miners vanish at once: a dead switch and a tripped feeder, told apart by the meters, and the way back.

Twenty miners, the first 16 hash: 16 x 3.5 kW and the rest at 50 W. 20 % of them, 4, are a mass disconnect. Up 100 W/s
and 4 kW in any 15 s. With `sweep_s` each miner is read so often, one after the other.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from controller.core import checkpoint, mass, mass_words
from controller.core.fleet_state import Away
from controller.core.roster import feeder_room_w, roster_of
from controller.domain.fleet import CommandReport, Condition, Outcome, Verb, Verdict
from controller.domain.metering import Point
from tests.core.conftest import Site

RATED_W = 80_000
START_S = 30.0  # from power to the first answer
IDLE_W = 20.0


class Block(Site):
    """Miners behind switches and on feeders that can fail, and come back by themselves."""

    def __init__(self, *given, sweep_s=1):
        super().__init__(*given)
        self.sweep_s = sweep_s
        self.unplugged: set[int] = set()
        self.dark: set[int] = set()
        self.starts: dict[int, float] = {}
        self.ends_as: dict[int, bool] = {}
        self.undelivered: list[CommandReport] = []
        self.unsure: set[int] = set()
        self.asked: tuple[int, ...] = ()

    def trip(self, miners):
        self.dark |= set(miners)
        for miner in miners:
            self.ends_as.setdefault(miner, bool(self.hashing[miner]))

    def power(self, miners, **ends_as):
        for miner in miners:
            self.dark.discard(miner)
            self.starts[miner] = self.now + START_S

    def unreachable(self, miner):
        return miner in self.unplugged or miner in self.dark or miner in self.starts

    def draws_w(self):
        watts = super().draws_w()
        for miner in self.dark:
            watts[miner] = 0.0
        for miner in self.starts:
            watts[miner] = IDLE_W
        return watts

    def telemetry(self):
        turn = [m for m in range(len(self.facts)) if (round(self.now) + m) % self.sweep_s == 0 or m in self.asked]
        return tuple(self._reading(miner) for miner in turn if miner not in self.silent)

    def _reading(self, miner):
        if self.unreachable(miner):
            return self.kit.reading(miner, Condition.UNREACHABLE, None, self.now, detail="no answer")
        return super()._reading(miner)

    def cycle(self, seconds=1.0, **snapshot):
        for miner, at in list(self.starts.items()):
            if self.now + seconds >= at:
                del self.starts[miner]
                self.from_w[miner], self.moved_at[miner] = IDLE_W, self.now + seconds
                self.hashing[miner] = self.ends_as.pop(miner)
                self.boots[miner], self.dead_s[miner], self.way_s[miner] = True, 0.0, 30.0
        reports, self.undelivered = tuple(self.undelivered), []
        decision = super().cycle(seconds, reports=reports, **snapshot)
        self.asked = decision.ask
        return decision

    def obey(self, commands):
        lost = [command for command in commands if self.unreachable(command.miner)]
        for command in lost:
            outcome = Outcome.UNKNOWN if command.miner in self.unsure else Outcome.UNREACHABLE
            sent_at = self.now if outcome is Outcome.UNKNOWN else None
            self.undelivered.append(CommandReport(command.command_id, command.miner, outcome, sent_at, self.now))
        self.sent.extend(lost)
        super().obey(tuple(command for command in commands if command not in lost))

    def events(self, *names):
        said = [(round(d.now), event) for d in self.decisions for event in d.events]
        return [(at, event.name, event.text) for at, event in said if not names or event.name in names]

    def names(self):
        return Counter(event.name for decision in self.decisions for event in decision.events)

    def commands_to(self, miners, since=0.0):
        return [c for d in self.decisions if d.now >= since for c in d.commands if c.miner in miners]

    def restart(self):
        record = json.loads(json.dumps(checkpoint.to_record(self.facts, self.state, self.now)))
        self.state = checkpoint.from_record(self.facts, record, self.now, self.kit.wall + self.now)

    def run_until(self, condition, within):
        for _ in range(within):
            self.cycle()
            if condition():
                return
        raise AssertionError(f"not within {within} cycles")


@pytest.fixture
def block(kit):
    def make(*, sweep_s=1, hashing=16, n=20, surplus_w=57_400.0, facts=None, policy=None, **fleet):
        rules = policy or {}
        made = Block(
            kit.policy(rated_w=RATED_W, site_cap_w=RATED_W, fleet={"dwell_off_s": 20.0, **fleet}, **rules),
            facts or kit.fleet(n),
            [index < hashing for index in range(n)],
            surplus_w,
            sweep_s=sweep_s,
        )
        made.kit = kit
        made.cycles(40)
        made.decisions.clear()
        made.sent.clear()
        return made

    return make


LOST = range(4, 10)


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


# --- a feeder tripped: they are dark ----------------------------------------------------------------------------------


def dark_outage(site, lost=LOST, lasts=90):
    site.trip(lost)
    site.cycles(lasts)


@pytest.mark.parametrize("sweep_s", [1, 5])
def test_dark_ones_are_planned_idle_and_the_others_take_what_is_left(block, sweep_s):
    site = block(sweep_s=sweep_s)
    site.trip(LOST)
    site.cycles(12)
    said = site.events("mass_disconnect", "mass_dark")
    assert any("dark" in text for *_, text in said), said
    assert not site.state.fleet.want_hashing[list(LOST)].any()
    assert site.state.fleet.to_w[list(LOST)].sum() == 0.0
    site.cycles(150)
    assert site.commands_to(LOST) == []
    assert {c.miner for c in site.sent if c.verb is Verb.WAKE} == {16, 17, 18, 19}, "the ones that slept"
    assert site.load_w() == pytest.approx(1_000.0 + 14 * 3_500.0, abs=150)


@pytest.mark.parametrize("sweep_s", [1, 5])
def test_they_come_back_in_a_crowd_and_are_let_in_by_the_ramps(block, sweep_s):
    site = block(sweep_s=sweep_s, surplus_w=57_400.0)
    dark_outage(site, lasts=150)
    site.power(LOST)
    returned = site.now
    loads = []
    for _ in range(300):
        site.cycle()
        loads.append(site.load_w())
    idled = [c for c in site.commands_to(LOST, returned) if c.verb is Verb.SLEEP]
    assert {command.miner for command in idled} == set(LOST)
    assert max(loads) <= site.spare_w + 400.0
    assert max(np.array(loads[15:]) - np.array(loads[:-15])) <= 4_000.0 + 6 * 3_500.0 * sweep_s / 30.0 + 400.0
    assert loads[-1] >= 57_400.0 - 3_600.0
    (back,) = site.events("mass_return")
    assert "6 came back hashing and were put to sleep" in back[2]
    assert not site.names()["miner_quarantined"]
    assert not site.names()["miner_drifted"]
    assert set(site.state.fleet.away.tolist()) == {Away.NO}
    wakes = [c for c in site.commands_to(LOST, returned) if c.verb is Verb.WAKE]
    assert wakes, "let in"
    assert all(d.unreachable_at_once == 0 for d in site.decisions[-200:])


def test_sleepers_that_a_blackout_wakes_are_put_to_sleep_at_first_sight(block):
    """Some firmware boots straight into hashing whatever it did before."""
    site = block(hashing=10, surplus_w=36_400.0)
    sleepers = range(10, 18)
    site.ends_as = dict.fromkeys(sleepers, True)
    dark_outage(site, lost=sleepers)
    site.power(sleepers)
    site.cycles(int(START_S) + 3)
    assert {c.miner for c in site.sent if c.verb is Verb.SLEEP} == set(sleepers)
    site.cycles(30)
    assert site.load_w() <= 36_400.0 + 150.0
    assert not site.names()["miner_drifted"]


def test_who_slept_by_anothers_hand_sleeps_by_that_hand_again(block):
    site = block()
    site.state.fleet.ours_asleep[16:] = False
    site.spare_w = 100_000.0
    site.trip(range(4, 20))
    site.ends_as = dict.fromkeys(range(4, 20), True)
    site.cycles(60)
    assert not site.state.fleet.ours_asleep[16:].any()
    site.power(range(4, 20))
    site.cycles(200)
    assert not site.hashing[16:].any(), "it was the power that woke them, and nobody else"
    assert not site.state.fleet.ours_asleep[16:].any()
    woken = {c.miner for c in site.sent if c.verb is Verb.WAKE}
    assert woken
    assert woken <= set(range(4, 16)), "the others, as the ramp lets them in"


def test_who_comes_back_asleep_without_our_order_is_left_alone_until_adopted(block):
    site = block()
    site.ends_as = {4: False}
    dark_outage(site)
    site.power(LOST)
    site.cycles(300)
    (event,) = site.events("foreign_sleeper")
    assert "came back asleep" in event[2]
    assert 4 not in {c.miner for c in site.sent if c.verb is Verb.WAKE}


def test_the_feeder_of_dark_miners_keeps_room_for_their_start(block, kit):
    facts = kit.fleet(20, feeders=[0] * 10 + [1] * 10, feeder_rating_w=(36_000, 36_000))
    site = block(facts=facts)
    room_w = feeder_room_w(roster_of(facts, site.state, site.engine.policy.fleet, site.now))
    dark_outage(site)
    assert site.state.fleet.away[4] == Away.DARK
    dark_room_w = feeder_room_w(roster_of(facts, site.state, site.engine.policy.fleet, site.now))
    assert dark_room_w[0] == pytest.approx(room_w[0], abs=1.0)


# --- which meter says so --------------------------------------------------------------------------------------------


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


# --- to and fro, and a restart in the middle ------------------------------------------------------------------------


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


def test_the_least_that_can_be_many(kit):
    policy = kit.policy(fleet={"mass_disconnect_ratio": 0.2}).fleet
    assert [mass.limit_of(policy, n) for n in (1, 4, 15, 16, 20, 21, 1_000)] == [3, 3, 3, 4, 4, 5, 200]


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
