"""Whole steps, cranked by hand: a lease that is not held never raises, and ends at the fallback."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from controller.core import checkpoint, failsafe
from controller.domain.dispatch import DispatchClass
from controller.domain.plan import InputState
from tests.core.engine.given import CAP, DEADBAND


def leased(kit, **rest):
    return kit.site(kit.policy(dispatch={"lease_required": True}), hashing=[True] * 4, surplus_w=15_500.0, **rest)


def test_a_site_with_a_lease_starts_towards_its_fallback(kit):
    site = leased(kit)
    site.cycles(60)
    assert site.load_w() <= 5_000.0 + DEADBAND
    assert site.decisions[-1].fail_safe is InputState.FALLBACK


@pytest.mark.parametrize(
    ("heartbeat", "order", "leaves"),
    [
        pytest.param(True, None, False, id="heartbeat alone"),
        pytest.param(False, {}, False, id="order alone"),
        pytest.param(True, {}, True, id="heartbeat and a fresh order"),
        pytest.param(True, {"power_w": -1}, False, id="a refused order"),
        pytest.param(True, {"dispatch_class": DispatchClass.TEST}, False, id="an order of class test"),
    ],
)
def test_the_lease_is_taken_by_heartbeat_and_a_fresh_order(kit, heartbeat, order, leaves):
    site = leased(kit)
    site.cycles(60)
    beat = {"dispatcher_heartbeat_at": site.now + 1.0} if heartbeat else {}
    received = () if order is None else (site.receive(kit.order(CAP, **{"power_w": 14_000, **order})),)
    if received:
        message = replace(received[0].message, issued_at=kit.wall + site.now, expires_at=kit.wall + site.now + 900.0)
        received = (replace(received[0], message=message),)
    site.cycle(received=received, **beat)
    decision = site.cycle(**beat)
    assert (decision.fail_safe is InputState.GOOD) is leaves


def test_a_lost_heartbeat_ends_the_lease_and_its_return_alone_does_not_restore_it(kit):
    site = leased(kit)
    order = kit.order(CAP, 15_000, issued_at=kit.wall, lasts_s=80_000.0)
    site.cycle(received=(site.receive(order),), dispatcher_heartbeat_at=0.5)
    decision = site.cycle(dispatcher_heartbeat_at=0.5)
    assert decision.fail_safe is InputState.GOOD
    states = [site.cycle(dispatcher_heartbeat_at=0.5).fail_safe for _ in range(125)]
    assert states[100] is InputState.GOOD
    assert states[-1] is InputState.FALLBACK
    back = [site.cycle(dispatcher_heartbeat_at=site.now).fail_safe for _ in range(10)]
    assert back == [InputState.FALLBACK] * 10
    fresh = kit.order(CAP, 15_000, seq=2, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(fresh),), dispatcher_heartbeat_at=site.now)
    assert site.cycle(dispatcher_heartbeat_at=site.now).fail_safe is InputState.GOOD


def fresh(kit, site, **beat):
    order = kit.order(CAP, 15_000, seq=9, issued_at=kit.wall + site.now)
    return site.cycle(received=(site.receive(order),), **beat)


@pytest.mark.parametrize(("beats_after_s", "taken"), [(1, True), (119, True), (125, False)])
def test_an_order_may_come_a_little_before_the_heartbeat(kit, beats_after_s, taken):
    site = leased(kit)
    site.cycles(10)
    fresh(kit, site)
    for _ in range(beats_after_s - 1):
        assert site.cycle().fail_safe is InputState.FALLBACK, "an order alone"
    site.cycle(dispatcher_heartbeat_at=site.now)
    assert (site.cycle(dispatcher_heartbeat_at=site.now).fail_safe is InputState.GOOD) is taken


def test_an_order_from_before_the_loss_is_not_fresh_after_it(kit):
    site = leased(kit)
    fresh(kit, site, dispatcher_heartbeat_at=0.5)
    for _ in range(100):
        site.cycle(dispatcher_heartbeat_at=0.5)
    order = kit.order(CAP, 14_000, seq=10, issued_at=kit.wall + site.now)
    site.cycle(received=(site.receive(order),), dispatcher_heartbeat_at=0.5)
    for _ in range(25):
        site.cycle(dispatcher_heartbeat_at=0.5)
    assert site.decisions[-1].fail_safe is InputState.FALLBACK
    assert [site.cycle(dispatcher_heartbeat_at=site.now).fail_safe for _ in range(5)] == [InputState.FALLBACK] * 5


@pytest.mark.parametrize(("away_s", "kept"), [(3.0, True), (110.0, True), (130.0, False)])
def test_a_crash_of_ours_loses_no_lease_that_the_dispatcher_still_holds(kit, away_s, kept):
    """Otherwise a site would fall by a restart of its own. Silence all the time does end it."""
    site = leased(kit)
    fresh(kit, site, dispatcher_heartbeat_at=site.now)
    assert site.cycle(dispatcher_heartbeat_at=site.now).fail_safe is InputState.GOOD
    record = json.loads(json.dumps(checkpoint.to_record(site.engine.facts, site.state, site.now)))
    later = site.now + away_s
    state = checkpoint.from_record(site.engine.facts, record, site.now, kit.wall)
    trust = failsafe.assess(state, site.engine.policy, {}, None, later)
    dispatcher = next(entry for entry in trust.health if entry.name == failsafe.DISPATCHER)
    assert (dispatcher.state is InputState.GOOD) is kept


def test_the_loss_of_the_lease_is_told(kit):
    site = leased(kit)
    order = kit.order(CAP, 15_000, issued_at=kit.wall, lasts_s=80_000.0)
    site.cycle(received=(site.receive(order),), dispatcher_heartbeat_at=0.5)
    events = [event for _ in range(130) for event in site.cycle(dispatcher_heartbeat_at=0.5).events]
    texts = [
        event.text.split(" (")[0] for event in events if event.name == "input_state" and "dispatcher" in event.text
    ]
    assert texts == ["dispatcher: fallback -> good", "dispatcher: good -> fallback"]
