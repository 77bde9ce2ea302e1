"""A miner that is another machine than the inventory says: left alone, counted at what it drew last, and said once."""

from __future__ import annotations

import pytest

from controller.core import figures
from controller.domain.command import Outcome, Verb
from controller.domain.dispatch import DispatchClass
from controller.domain.fleet import Condition, Verdict
from controller.domain.reasons import Why

STRANGER = "the inventory has model, what answers says Antminer S9"


@pytest.fixture
def site(kit):
    """Two hash, two sleep; miner 1 turns out to be something else."""
    made = kit.site(hashing=(True, True, False, False), surplus_w=8_000)
    made.cycles(3)
    made.strangers[1] = STRANGER
    made.cycle()
    return made


def said(site, name):
    return [event for decision in site.decisions for event in decision.events if event.name == name]


def test_it_is_said_once_with_what_gave_it_away_and_counted_as_a_state_of_its_own(site):
    site.cycles(5)
    (event,) = said(site, "miner_contradicts")
    assert (event.miner, event.level.value) == ("m1", "error")
    assert STRANGER in event.text
    assert site.decisions[-1].counts["contradicts"] == 1
    assert site.decisions[-1].allocation.why_of(1) is Why.CONTRADICTS


def test_nothing_is_asked_of_it_not_even_in_a_shed(site, kit):
    before = len(site.sent)
    order = kit.order(power_w=0, dispatch_class=DispatchClass.EMERGENCY, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(order),))
    site.cycles(10)
    site.spare_w = 40_000.0
    site.cycles(60)
    assert len(site.sent) > before
    assert all(command.miner != 1 for command in site.sent[before:])


def test_what_it_drew_last_goes_on_counting(site):
    assert site.state.fleet.to_w[1] == 3_500
    expected_w = site.decisions[-1].figures.expected_w
    assert expected_w == pytest.approx(site.load_w(), abs=1.0)
    floor_w = figures.floor_w(site.facts, site.state, site.engine.policy)
    assert floor_w == 1_000 + 3_500 + 3 * 50
    assert site.decisions[-1].allocation.allocated_w + site.decisions[-1].allocation.unallocated_w == pytest.approx(
        site.decisions[-1].setpoint.power_w
    )


def test_a_sleep_on_its_way_to_a_stranger_has_freed_nothing(kit):
    site = kit.site(hashing=(True, True, False, False), surplus_w=8_000)
    site.cycles(3)
    site.deaf.add(1)
    site.spare_w = 4_600.0
    sent = site.cycle().commands
    assert [(command.miner, command.verb) for command in sent if command.verb is Verb.SLEEP] == [(1, Verb.SLEEP)]
    site.strangers[1] = STRANGER
    site.cycle()
    assert site.state.fleet.to_w[1] == pytest.approx(3_500, rel=0.01)
    assert site.decisions[-1].figures.expected_w == pytest.approx(site.load_w(), rel=0.02)
    reports = (kit.report(sent[0], Outcome.WITHHELD, site.now),)
    site.cycle(reports=reports)
    assert site.state.fleet.to_w[1] == pytest.approx(3_500, rel=0.01)


def test_one_never_read_before_may_draw_all_it_can(kit):
    site = kit.site(kit.policy(), kit.fleet(feeder_rating_w=(11_000,)), hashing=(True, True, False, False))
    site.strangers[2] = STRANGER
    site.cycles(40)
    assert site.state.fleet.verdict[2] == Verdict.UNSEEN
    assert [command for command in site.sent if command.verb is Verb.WAKE] == [], "3 x 3.5 kW is all the feeder carries"
    site.strangers.clear()
    site.cycles(60)
    assert [command.miner for command in site.sent if command.verb is Verb.WAKE] == [2]


def test_it_is_judged_afresh_and_said_when_it_fits_again(site):
    site.strangers.clear()
    site.cycles(2)
    (event,) = said(site, "miner_fits_again")
    assert (event.miner, event.level.value) == ("m1", "info")
    assert site.state.fleet.condition[1] == Condition.HASHING
    assert site.state.fleet.verdict[1] == Verdict.SETTLED
    site.spare_w = 4_600.0
    site.cycles(5)
    assert [command.miner for command in site.sent if command.verb is Verb.SLEEP] == [1]
