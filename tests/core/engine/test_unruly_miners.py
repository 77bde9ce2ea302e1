"""Whole steps, cranked by hand: liars, never-wakers, the silent, foreign sleepers and those in quarantine."""

from __future__ import annotations

import pytest

from controller.core.figures import counts
from controller.domain.command import Outcome
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import OperatorOrder, OperatorVerb

# --- people ---------------------------------------------------------------------------------------------------------


def test_a_foreign_sleeper_is_woken_only_after_it_was_adopted(kit):
    site = kit.site(kit.policy(fleet={"adopt_sleepers_at_start": False}), surplus_w=15_500.0)
    site.cycles(100)
    assert site.load_w() == pytest.approx(8_100.0)
    assert site.decisions[-1].counts["foreign_sleeper"] == 2
    site.cycle(operator=(OperatorOrder(OperatorVerb.ADOPT, "maria", miners=(2,)),))
    site.cycles(200)
    assert list(site.hashing) == [True, True, True, False]


def test_a_person_ends_a_quarantine(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=3_000.0)
    site.deaf = {3}
    site.cycles(120)
    assert site.decisions[-1].counts["quarantined"] == 1
    site.deaf = set()
    site.cycle(operator=(OperatorOrder(OperatorVerb.UNQUARANTINE, "maria", miners=(3,)),))
    site.cycles(30)
    assert site.decisions[-1].counts["quarantined"] == 0
    assert not site.hashing[3]


# --- miners that do not obey ----------------------------------------------------------------------------------------


def test_a_liar_is_quarantined_and_its_watts_are_taken_from_the_others(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.deaf = {3}
    site.cycles(20)
    site.spare_w = 9_000.0
    site.cycles(120)
    assert Verdict(int(site.state.fleet.verdict[3])) is Verdict.QUARANTINED
    assert site.load_w() <= 9_000.0 + 100.0
    assert site.hashing[3]


def test_a_never_waker_is_quarantined_and_the_next_best_wakes_in_its_place(kit):
    site = kit.site(hashing=[True, False, False, False], surplus_w=8_600.0)
    site.deaf = {1}
    site.cycles(500)
    assert Verdict(int(site.state.fleet.verdict[1])) is Verdict.QUARANTINED
    assert list(site.hashing) == [True, False, True, False]
    assert site.decisions[-1].counts["quarantined"] == 1


def test_a_command_that_was_withheld_is_given_again(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(20)
    site.spare_w = 2_000.0
    site.deaf = {0, 1, 2, 3}  # nothing arrives
    decision = site.cycle()
    reports = tuple(kit.report(command, Outcome.WITHHELD, site.now) for command in decision.commands)
    again = site.cycle(reports=reports)
    assert sorted(command.miner for command in again.commands) == sorted(command.miner for command in decision.commands)


def test_miners_that_go_silent_keep_counting_and_are_not_asked(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(20)
    site.silent = {3}
    site.cycles(70)
    site.spare_w = 9_500.0
    site.cycles(20)
    assert all(command.miner != 3 for command in site.sent)
    assert site.load_w() <= 9_600.0


def test_every_miner_is_counted_once(kit):
    site = kit.site(surplus_w=15_500.0)
    for decision in site.cycles(60):
        assert sum(decision.counts.values()) == 4
    fleet = site.state.fleet
    fleet.verdict[0] = Verdict.QUARANTINED
    fleet.condition[1] = Condition.UNREACHABLE
    fleet.condition[2] = Condition.UNKNOWN
    found = counts(site.state)
    assert (found["quarantined"], found["unreachable"], found["unknown"]) == (1, 1, 1)
    assert sum(found.values()) == 4
