"""A miner whose writes and restarts of the day are used up: others are asked first, and the grid before all of them."""

from __future__ import annotations

import pytest

from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.dispatch import DispatchKind
from controller.domain.reasons import Why

HOUR_S = 3_600.0


def withheld(command, at, again_at):
    return CommandReport(
        command.command_id, command.miner, Outcome.WITHHELD, None, at, "24 of 24 used up", None, again_at
    )


def commands(site, verb):
    return [command for command in site.sent if command.verb is verb]


def said(site):
    return [event for d in site.decisions for event in d.events if event.name == "miner_budget_used"]


def wake_withheld(kit, hashing=(True, False, False, False)):
    """Miner 1 is to wake, and its driver says that its budget is used up for an hour."""
    site = kit.site(hashing=hashing, surplus_w=8_000)
    site.deaf.add(1)
    site.cycles(3)
    (wake,) = commands(site, Verb.WAKE)
    assert wake.miner == 1
    site.cycle(reports=(withheld(wake, site.now, site.now + HOUR_S),))
    return site


def test_another_is_woken_in_its_place_and_it_again_when_its_time_has_come(kit):
    site = wake_withheld(kit)
    site.cycles(60)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [1, 2]
    site.deaf.clear()
    site.spare_w = 40_000.0
    site.cycles(60)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [1, 2, 3], "not before its time"
    site.cycles(70, seconds=60.0)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [1, 2, 3, 1]


def test_it_says_why_it_sleeps_when_it_is_missed(kit):
    site = wake_withheld(kit)
    assert site.decisions[-1].allocation.hashing[2]
    assert site.decisions[-1].allocation.why_of(1) is Why.BUDGET_USED, "a worse one wakes"
    site.spare_w = 40_000.0
    site.cycles(120)
    assert site.decisions[-1].allocation.why_of(1) is Why.BUDGET_USED


def test_it_is_said_once_a_day(kit):
    site = wake_withheld(kit)
    site.spare_w = 40_000.0
    while site.now < 60 * HOUR_S:
        mine = [command for command in site.cycle(seconds=HOUR_S / 2).commands if command.miner == 1]
        site.cycle(reports=tuple(withheld(command, site.now, site.now + HOUR_S) for command in mine))
    events = said(site)
    assert len(events) == 3, "in 60 hours"
    assert len([command for command in site.sent if command.miner == 1]) > 20
    assert events[0].miner == "m1"
    assert events[0].text == "wake withheld: 24 of 24 used up; asked again in 1.0 h"


def sleep_withheld(kit, hashing=(True, True, True, False)):
    """Miner 2, the worst that hashes, is to sleep, and its budget is used up for an hour."""
    site = kit.site(kit.policy(fleet={"trim": False}), hashing=hashing, surplus_w=12_000)
    site.cycles(3)
    site.deaf.add(2)
    site.spare_w = 9_000.0
    site.cycle()
    (sleep,) = commands(site, Verb.SLEEP)
    assert (sleep.miner, sleep.urgent) == (2, False)
    site.cycle(reports=(withheld(sleep, site.now, site.now + HOUR_S),))
    return site


def test_not_a_watt_of_a_withheld_sleep_is_counted_as_freed_and_another_sleeps_instead(kit):
    site = sleep_withheld(kit)
    assert site.state.fleet.to_w[2] == pytest.approx(3_500)
    assert [command.miner for command in commands(site, Verb.SLEEP)] == [2, 1]
    site.cycles(10)
    assert len(commands(site, Verb.SLEEP)) == 2
    assert site.load_w() < 9_000


def test_when_nobody_else_can_keep_the_limit_it_is_asked_urgently(kit):
    site = sleep_withheld(kit)
    site.cycles(10)
    site.deaf.clear()
    site.spare_w = 2_000.0
    site.cycles(3)
    last = commands(site, Verb.SLEEP)[2:]
    assert [(command.miner, command.urgent) for command in last] == [(0, False), (2, True)]


def test_an_order_that_only_wishes_does_not_overdraw_it(kit):
    site = sleep_withheld(kit)
    site.cycles(10)
    site.spare_w = 40_000.0
    site.cycles(2)
    order = kit.order(DispatchKind.TARGET, 1_200, issued_at=kit.wall + site.now, lasts_s=600.0)
    site.cycle(received=(site.receive(order),))
    site.cycles(200)
    assert [command.miner for command in commands(site, Verb.SLEEP)][2:] != []
    assert 2 not in [command.miner for command in commands(site, Verb.SLEEP)[1:]]
    assert site.decisions[-1].allocation.why_of(2) is Why.BUDGET_USED


def test_a_trim_that_is_withheld_leaves_sleep_as_it_was(kit):
    site = kit.site(hashing=(True, True, False, False), surplus_w=8_000)
    site.cycles(3)
    site.spare_w = 7_200.0
    site.deaf.add(1)
    site.cycle()
    (trim,) = commands(site, Verb.TRIM)
    assert trim.miner == 1
    site.cycle(reports=(withheld(trim, site.now, site.now + HOUR_S),))
    site.cycles(20)
    assert [command.miner for command in commands(site, Verb.TRIM)[1:]] == [0]
    site.deaf.clear()
    site.spare_w = 4_600.0
    site.cycles(5)
    assert [(command.miner, command.urgent) for command in commands(site, Verb.SLEEP)] == [(1, False)]
