"""Watts that nobody has seen go are not gone, whatever was ordered, answered or lost on the way."""

from __future__ import annotations

import pytest

from controller.core import checkpoint, estimator, figures
from controller.domain.command import CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.metering import Point

FULL_W = 3_500.0


def believed_w(site, miner):
    return float(estimator.expected_power_w(site.state.fleet, site.now)[miner])


def told(site, verb):
    return [command.miner for command in site.sent if command.verb is verb]


def quarantined(site):
    return [row for row in range(len(site.facts)) if site.state.fleet.verdict[row] == Verdict.QUARANTINED]


# --- a sleep that nobody has seen ------------------------------------------------------------------------------------


@pytest.mark.parametrize("then", [Condition.UNREACHABLE, Condition.UNKNOWN])
def test_an_answer_that_proves_nothing_does_not_make_a_sleep_seen(kit, then):
    facts = kit.fleet(8, feeders=[0, 0, 0, 0, 1, 1, 1, 1], feeder_rating_w=(30_000, 8_000))
    policy = kit.policy(rated_w=60_000, site_cap_w=60_000, fleet={"trim": False})
    site = kit.site(policy, facts, hashing=[True] * 6 + [False] * 2, surplus_w=22_500)
    site.cycles(5)
    site.deaf.add(5)
    site.silent.add(5)
    site.spare_w = 19_500.0
    (command,) = site.cycle().commands
    assert (command.miner, command.verb) == (5, Verb.SLEEP)
    site.cycle(reports=(kit.report(command, Outcome.ACKNOWLEDGED, site.now),))
    nothing = kit.reading(5, Condition.UNKNOWN, None, site.now + 3.0)
    site.cycle(3.0, telemetry=(*site.telemetry(), nothing))
    site.spare_w = 60_000.0
    for _ in range(60):
        nothing = kit.reading(5, then, None, site.now + 10.0)
        site.cycle(10.0, telemetry=(*site.telemetry(), nothing))
    assert believed_w(site, 5) == FULL_W
    assert site.draws_w()[4:].sum() <= 8_000.0, "its feeder has no room for another one"


def test_a_restart_does_not_make_a_sleep_seen_either(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=60_000.0)
    site.cycles(5)
    site.deaf.add(3)
    site.silent.add(3)
    site.spare_w = 4_000.0
    site.cycle()
    assert 3 in told(site, Verb.SLEEP)
    for _ in range(10):
        silence = kit.reading(3, Condition.UNREACHABLE, None, site.now + 10.0)
        site.cycle(10.0, telemetry=(*site.telemetry(), silence))
    floor_w = figures.floor_w(site.facts, site.state, site.engine.policy)
    assert floor_w == pytest.approx(1_000 + FULL_W + 3 * 50), "an order below that is answered with it"
    record = checkpoint.to_record(site.facts, site.state, site.now)
    state = checkpoint.from_record(site.facts, record, site.now, kit.wall + site.now)
    assert float(estimator.expected_power_w(state.fleet, site.now)[3]) == FULL_W


@pytest.mark.parametrize("tells_watts", [True, False])
def test_a_wake_that_was_refused_may_have_been_obeyed(kit, tells_watts):
    """It says no, wakes all the same, and is not heard again: a no is no proof of sleep."""
    facts = kit.fleet(odd={2: {} if tells_watts else {"reports_power": False, "trims": False}})
    site = kit.site(facts=facts, hashing=(True, True, False, False), surplus_w=8_050.0)
    site.cycles(30)
    assert not told(site, Verb.WAKE)
    site.spare_w = 12_500.0
    while not told(site, Verb.WAKE):
        site.cycle()
    command = next(each for each in site.sent if each.verb is Verb.WAKE)
    miner = command.miner
    site.silent.add(miner)
    site.cycle(reports=(kit.report(command, Outcome.REFUSED, site.now),))
    site.cycles(60)
    assert believed_w(site, miner) == FULL_W
    site.silent.clear()
    site.set_hashing(miner, False)
    site.cycles(3)
    assert believed_w(site, miner) == pytest.approx(50.0, abs=0.01), "a look at it tells"


# --- orders that never arrived ---------------------------------------------------------------------------------------


def test_a_trim_down_that_never_arrived_has_freed_nothing(kit):
    facts = kit.fleet(6, feeders=[0, 0, 0, 1, 1, 1], feeder_rating_w=(30_000, 11_000))
    site = kit.site(
        kit.policy(rated_w=60_000, site_cap_w=60_000), facts, hashing=[True] * 5 + [False], surplus_w=60_000
    )
    site.cycles(5)
    site.deaf |= {3, 4}
    site.silent |= {3, 4}
    site.spare_w = 14_500.0
    lost = [command for command in site.cycle().commands if command.miner in (3, 4)]
    assert {command.verb for command in lost} == {Verb.TRIM}
    site.cycles(3)
    site.cycle(reports=tuple(kit.report(command, Outcome.UNREACHABLE, site.now) for command in lost))
    assert site.state.fleet.to_w[[3, 4]].tolist() == [FULL_W, FULL_W]


def test_a_boot_goes_on_when_the_sleep_behind_it_never_arrived(kit):
    """It restarts, and answers nobody: the order to sleep again does not reach it."""
    facts = kit.fleet(8, feeder_rating_w=(60_000,))
    site = kit.site(
        kit.policy(rated_w=60_000, site_cap_w=60_000), facts, hashing=[True] * 6 + [False] * 2, surplus_w=22_000
    )
    site.cycles(5)
    site.spare_w = 60_000.0
    while not told(site, Verb.WAKE):
        site.cycle()
    woken = told(site, Verb.WAKE)
    site.deaf |= set(woken)
    site.silent |= set(woken)
    site.cycles(2)
    site.extra[Point.GRID_EMERGENCY] = kit.sample(1.0, site.now + 1.0)
    lost = [command for command in site.cycle().commands if command.miner in woken]
    assert lost and {command.verb for command in lost} == {Verb.SLEEP}
    site.cycle(reports=tuple(kit.report(command, Outcome.UNREACHABLE, site.now) for command in lost))
    miners = sorted({command.miner for command in lost})
    assert site.state.fleet.to_w[miners].tolist() == [FULL_W] * len(miners), "a limit keeps room for all of it"
    for _ in range(60):
        for miner in miners:
            assert believed_w(site, miner) >= site.draws_w()[miner] - 1.0
        site.cycle()
    assert [believed_w(site, miner) for miner in miners] == [FULL_W] * len(miners)


# --- with the site meter gone ----------------------------------------------------------------------------------------


def test_who_disobeys_while_the_site_meter_is_gone_is_made_up_for(kit):
    """Nobody else tells what the site draws: what a miner shows is not to be booked against something else."""
    facts = kit.fleet(12, feeder_rating_w=(100_000,))
    policy = kit.policy(rated_w=60_000, site_cap_w=60_000, fallback_w=20_000, fleet={"attempts_max": 2})
    site = kit.site(policy, facts, hashing=[True] * 12, surplus_w=60_000)
    site.cycles(20)
    site.deaf |= {8, 9, 10, 11}
    site.meter_lost.add(Point.SITE_LOAD_W)
    site.cycles(200)
    assert quarantined(site) == [8, 9, 10, 11]
    assert site.load_w() <= 20_000.0


def test_a_stranger_found_while_the_site_meter_is_gone_counts_as_drawing(kit):
    facts = kit.fleet(12, feeder_rating_w=(100_000,))
    policy = kit.policy(rated_w=60_000, site_cap_w=60_000, fallback_w=20_000)
    site = kit.site(policy, facts, hashing=[True] * 12, surplus_w=60_000)
    site.cycles(20)
    site.meter_lost.add(Point.SITE_LOAD_W)
    while 11 not in told(site, Verb.SLEEP):
        site.deaf.add(11)
        site.cycle()
    site.strangers[11] = "another machine"
    site.cycles(200)
    assert site.load_w() <= 20_000.0


# --- who is held by somebody else ------------------------------------------------------------------------------------


def test_miners_that_are_held_do_not_keep_the_others_asleep(kit):
    """The best of the fleet are in somebody else's hands; a budget of wakes is not to be spent on them every cycle."""
    held = set(range(14))
    facts = kit.fleet(40, feeder_rating_w=(1_000_000,))
    ramp = {"up_w_per_min": 60_000, "up_w_per_15s": 60_000}
    fleet = {"wakes_per_cycle_max": 2}
    policy = kit.policy(rated_w=150_000, site_cap_w=150_000, ramp=ramp, fleet=fleet)
    site = kit.site(policy, facts, hashing=[row >= 30 for row in range(40)], surplus_w=150_000)
    site.deaf |= held
    refused: tuple[CommandReport, ...] = ()
    for _ in range(90):
        decision = site.cycle(reports=refused)
        refused = tuple(
            CommandReport(command.command_id, command.miner, Outcome.WITHHELD, None, site.now + 1.0, "held")
            for command in decision.commands
            if command.miner in held
        )
    assert site.hashing[14:].all()
    assert len([miner for miner in told(site, Verb.WAKE) if miner in held]) <= 3 * len(held)
