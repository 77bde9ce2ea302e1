"""Whole steps: miners that do not sleep in a shed are asked otherwise, quarantined, and what still draws is told."""

from __future__ import annotations

import pytest

from controller.domain.command import Verb
from controller.domain.dispatch import DispatchClass
from controller.domain.fleet import Verdict
from controller.domain.metering import Point
from controller.domain.plan import EventLevel
from tests.core.engine.given import cap_by


def shedding(kit, **fleet):
    """Four miners that hash, and the flag that puts them to sleep."""
    site = kit.site(kit.policy(fleet={"attempts_max": 2, **fleet}), hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(5)
    site.extra[Point.GRID_EMERGENCY] = kit.sample(1.0, site.now)
    return site


def flagged(site, kit, seconds):
    """So many cycles with the flag seen in each."""
    found = []
    for _ in range(seconds):
        site.extra[Point.GRID_EMERGENCY] = kit.sample(1.0, site.now + 1.0)
        found.append(site.cycle())
    return found


def events(decisions, name):
    return [event for decision in decisions for event in decision.events if event.name == name]


def test_a_miner_that_refuses_once_sleeps_at_the_second_order_and_nothing_is_left(kit):
    site = shedding(kit)
    site.refusals = {3: 1}
    decisions = flagged(site, kit, 40)
    assert [command.escalated for command in site.sent if command.miner == 3] == [False, True]
    assert not site.hashing.any()
    assert decisions[0].shed_left_w == pytest.approx(4 * 3_450.0)
    assert decisions[-1].shed_left_w == 0.0
    assert events(decisions, "shed_incomplete") == events(decisions, "miner_quarantined") == []


def test_what_refuses_to_sleep_ends_at_its_lowest_rung_in_quarantine_and_its_watts_are_told(kit):
    site = shedding(kit)
    site.refusals = {3: 99}
    decisions = flagged(site, kit, 40)
    assert Verdict(int(site.state.fleet.verdict[3])) is Verdict.QUARANTINED
    assert len([command for command in site.sent if command.miner == 3]) == 2
    assert decisions[-1].shed_left_w == pytest.approx(1_950.0)
    (told,) = events(decisions, "shed_incomplete")
    assert told.level is EventLevel.ERROR
    assert told.text == "2.0 kW still drawn 30 s after it began: 1 quarantined (m3 1950 W)"


def quarantine(site, miner):
    """It failed its trims, say, a while ago: no plan counts on it, and it hashes on."""
    site.state.fleet.verdict[miner] = Verdict.QUARANTINED
    site.state.fleet.quarantined_until[miner] = site.now + 600.0


@pytest.mark.parametrize("wanted", [True, False])
def test_a_shed_tells_the_quarantined_too_and_counts_on_nothing_before_it_is_seen(kit, wanted):
    site = shedding(kit)
    quarantine(site, 3)
    site.state.fleet.want_hashing[3] = wanted
    (decision,) = flagged(site, kit, 1)
    assert [command.miner for command in decision.commands] == [0, 1, 2, 3], "and last"
    assert all(command.urgent for command in decision.commands)
    assert site.state.fleet.to_w[3] == pytest.approx(3_500.0)
    decisions = flagged(site, kit, 40)
    assert not site.hashing.any()
    assert site.state.fleet.to_w[3] == pytest.approx(50.0, abs=1.0)
    assert decisions[-1].shed_left_w == 0.0
    assert Verdict(int(site.state.fleet.verdict[3])) is Verdict.QUARANTINED
    assert events(decisions, "shed_incomplete") == events(decisions, "miner_quarantined") == []


def test_a_quarantined_miner_that_does_not_hear_is_told_once_a_shed_and_its_watts_are_told(kit):
    site = shedding(kit)
    quarantine(site, 3)
    site.deaf = {3}
    decisions = flagged(site, kit, 90)
    assert len([command for command in site.sent if command.miner == 3]) == 1
    assert decisions[-1].shed_left_w == pytest.approx(3_450.0)
    (told,) = events(decisions, "shed_incomplete")
    assert "1 quarantined (m3 3450 W)" in told.text
    site.extra.clear()
    site.cycles(60)
    flagged(site, kit, 40)
    assert len([command for command in site.sent if command.miner == 3]) == 2, "the next shed asks again"


def test_an_emergency_of_limited_power_that_others_meet_leaves_the_quarantined_alone(kit):
    site = kit.site(kit.policy(fleet={"attempts_max": 2}), hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(5)
    quarantine(site, 3)
    order = kit.order(power_w=9_000, issued_at=kit.wall + site.now, dispatch_class=DispatchClass.EMERGENCY)
    site.cycle(received=(site.receive(order),))
    site.cycles(40)
    assert site.load_w() <= 9_100.0
    assert site.hashing[3]
    assert not [command for command in site.sent if command.miner == 3]


def test_who_cannot_be_reached_or_was_given_back_is_told_too(kit):
    site = shedding(kit)
    site.state.fleet.parked[2] = True
    site.deaf = {3}
    decisions = flagged(site, kit, 50)
    (told,) = events(decisions, "shed_incomplete")
    assert "1 parked (m2 3450 W)" in told.text
    assert "m3 3450 W" in told.text


def test_after_the_shed_nothing_is_left_and_a_released_miner_comes_back_to_its_owners_rung(kit):
    site = shedding(kit, quarantine_s=60.0)
    site.refusals = {3: 2}
    flagged(site, kit, 40)
    assert site.level[3] == 0
    site.extra.clear()
    assert site.cycle().shed_left_w == 0.0
    site.cycles(400)
    assert site.hashing.all()
    assert list(site.level) == [3] * 4


def test_an_order_of_limited_power_leaves_nothing_that_it_wants(kit):
    """Those whom an emergency order lets hash are not what a shed has left."""
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(5)
    emergency = kit.order(power_w=8_200, dispatch_class=DispatchClass.EMERGENCY, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(emergency),))
    decision = site.cycles(40)[-1]
    assert decision.setpoint.shed
    assert site.hashing.any()
    assert decision.shed_left_w == 0.0
    assert events(site.decisions, "shed_incomplete") == []


@pytest.mark.parametrize(("power_w", "left_w"), [(8_200, 0.0), (3_000, 3_450.0)], ids=["met", "not met"])
def test_who_hashes_in_quarantine_within_what_an_emergency_allows_is_not_left(kit, power_w, left_w):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.cycles(5)
    site.deaf = {3}
    site.state.fleet.verdict[3], site.state.fleet.quarantined_until[3] = Verdict.QUARANTINED, 1e9
    emergency = kit.order(power_w=power_w, dispatch_class=DispatchClass.EMERGENCY, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(emergency),))
    decision = site.cycles(40)[-1]
    assert site.hashing[3]
    assert decision.shed_left_w == pytest.approx(left_w)
    assert len(events(site.decisions, "shed_incomplete")) == (left_w > 0.0)


def test_an_emergency_sheds_before_the_site_meter_was_read_though_a_lower_cap_is_on_its_way(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_000.0)
    site.meter_lost = {Point.SITE_LOAD_W}
    emergency = kit.order(power_w=8_200, dispatch_class=DispatchClass.EMERGENCY, issued_at=kit.wall)
    decision = site.cycle(received=(site.receive(emergency),), operator=(cap_by(5_000),))
    assert decision.setpoint.shed
    assert Verb.SLEEP in {command.verb for command in decision.commands}
    site.cycles(12)
    assert site.load_w() <= 8_200.0
