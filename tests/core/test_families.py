"""Miners that tell no watts, that nobody trims, that boot slowly, or that come up above what their owner had set."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.core import allocator, estimator, flight
from controller.core.roster import Goal, boot_levels, roster_of
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import Snapshot
from tests.core.builders import RESPONSE

BLIND = {"trims": False, "reports_power": False}
SLOW = replace(RESPONSE, name="slow", wake_dead_s=25, wake_90_s=60)


def commands(site, verb):
    return [command for command in site.sent if command.verb is verb]


def told(site, kit, miner, condition, power_w, error_w, **more):
    """A cycle in which only this miner is read."""
    site.now += 1.0
    reading = kit.reading(miner, condition, power_w, site.now, error_w=error_w, **more)
    snapshot = Snapshot(kit.wall + site.now, site.readings(), (reading,))
    site.state, decision = site.engine.step(site.state, snapshot, site.now)
    return decision


# --- estimates ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("error_w", "verdict"), [(700.0, Verdict.SETTLED), (200.0, Verdict.STUCK)])
def test_an_estimate_disagrees_only_by_more_than_it_may_be_off(kit, error_w, verdict):
    site = kit.site(facts=kit.fleet(odd={2: BLIND}), hashing=(True, True, False, False), surplus_w=11_600)
    site.cycles(60)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [2]
    site.state.fleet.verb[2] = 2
    site.state.fleet.verdict[2] = Verdict.APPROACHING
    site.state.fleet.sent_at[2], site.state.fleet.deadline_at[2] = site.now - 60.0, site.now
    told(site, kit, 2, Condition.HASHING, 2_900.0, error_w, level=3)
    assert site.state.fleet.verdict[2] == verdict


def test_an_estimate_is_what_it_draws_and_teaches_its_ratio_nothing(kit):
    site = kit.site(facts=kit.fleet(odd={1: BLIND}), hashing=(True, True, True, True), surplus_w=40_000)
    site.cycles(2)
    for miner in (0, 1):
        told(site, kit, miner, Condition.HASHING, 3_300.0, None if miner == 0 else 390.0, level=3)
    fleet = site.state.fleet
    assert list(fleet.to_w[:2]) == [3_300.0, 3_300.0]
    assert fleet.ratio[0] < 1.0
    assert fleet.ratio[1] == 1.0
    assert list(fleet.power_error_w[:2]) == [0.0, 390.0]


def test_the_error_of_what_is_expected_is_the_root_of_the_sum_of_squares(kit):
    site = kit.site(facts=kit.fleet(odd={0: BLIND, 1: BLIND, 2: BLIND}), hashing=[True, True, False, True])
    decision = site.cycles(2)[-1]
    assert decision.figures.expected_error_w == pytest.approx(math.hypot(350.0, 350.0, 5.0))
    assert kit.site().cycles(2)[-1].figures.expected_error_w == 0.0


def test_what_a_site_that_knows_nothing_expects_has_no_error_either(kit):
    site = kit.site(facts=kit.fleet(odd={0: BLIND}))
    site.meter_lost.update(site.readings())
    assert site.cycle().figures.expected_error_w is None


def test_a_sleeper_is_believed_asleep_within_the_error_of_its_estimate(kit):
    site = kit.site(facts=kit.fleet(odd={1: BLIND}), hashing=(True, True, False, False), surplus_w=8_000)
    site.cycles(3)
    site.spare_w = 4_600.0
    site.cycle()
    site.silent.add(1)
    site.cycles(5)
    assert site.state.fleet.verdict[1] == Verdict.APPROACHING
    told(site, kit, 1, Condition.ASLEEP, 400.0, 390.0)
    assert site.state.fleet.verdict[1] == Verdict.SETTLED


def test_the_watts_a_blind_sleeper_still_draws_are_not_shed_a_second_time(kit):
    site = kit.site(facts=kit.fleet(odd=dict.fromkeys(range(4), BLIND)), hashing=[True] * 4, surplus_w=40_000)
    site.cycles(3)
    site.spare_w = 12_000.0
    site.cycles(20)
    assert [command.miner for command in site.sent] == [3]


# --- miners nobody trims --------------------------------------------------------------------------------------------


def test_who_is_not_trimmed_is_put_to_sleep_whole_and_the_others_take_the_rest(kit):
    site = kit.site(facts=kit.fleet(odd={3: BLIND}), hashing=[True] * 4, surplus_w=40_000)
    site.cycles(3)
    site.spare_w = 13_900.0
    site.cycles(5)
    assert {command.miner for command in commands(site, Verb.TRIM)} <= {0, 1, 2}
    assert commands(site, Verb.TRIM)
    site.spare_w = 9_000.0
    site.cycles(12)
    assert 3 in [command.miner for command in commands(site, Verb.SLEEP)]
    assert all(command.miner != 3 for command in commands(site, Verb.TRIM))
    assert site.load_w() <= 9_000.0


def test_a_fleet_that_cannot_trim_keeps_below_the_surplus_in_whole_miners(kit):
    facts = kit.fleet(odd=dict.fromkeys(range(4), BLIND))
    site = kit.site(kit.policy(inputs={"frozen_after_s": 1e6}), facts, hashing=[True] * 4, surplus_w=40_000)
    site.cycles(3)
    for spare_w, hashing in ((12_000.0, 3), (8_500.0, 2), (4_400.0, 0), (8_500.0, 2)):
        site.spare_w = spare_w
        site.cycles(150)
        assert site.load_w() <= spare_w
        assert int(site.hashing.sum()) == hashing
    assert commands(site, Verb.TRIM) == []


def test_what_one_nobody_trims_runs_is_what_it_may_run(kit):
    """In low power at first sight and in normal later: a person changed it, and nothing of ours may change it back."""
    site = kit.site(facts=kit.fleet(odd={1: BLIND}), hashing=(True, True, False, False), surplus_w=40_000)
    site.level[1] = 1
    site.cycles(3)
    assert (site.state.fleet.ceiling[1], site.state.fleet.want_level[1]) == (1, 1)
    site.set_hashing(1, True, 3)
    site.cycles(20)
    assert (site.state.fleet.ceiling[1], site.state.fleet.want_level[1]) == (3, 3)
    assert site.state.fleet.verdict[1] == Verdict.SETTLED
    assert all(command.miner != 1 for command in site.sent)


def test_one_first_seen_asleep_is_expected_to_come_up_at_its_cap(kit):
    site = kit.site(facts=kit.fleet(odd={1: BLIND}), hashing=(True, False, False, False), surplus_w=8_500)
    site.cycle(telemetry=tuple(replace(one, prior="0") for one in site.telemetry()))
    assert boot_levels(roster_of(site.facts, site.state, site.engine.policy.fleet, 1.0))[1] == 3
    site.cycles(60)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [1]
    assert site.state.fleet.verdict[1] == Verdict.SETTLED


def test_a_wake_carries_what_the_owner_had_set_and_nothing_else_does(kit):
    site = kit.site(hashing=(True, False, False, False), surplus_w=8_500)
    site.cycle(telemetry=tuple(replace(one, prior=f"mode-{one.miner}", level=3) for one in site.telemetry()))
    site.cycles(60)
    site.spare_w = 2_000.0
    site.cycles(60)
    assert [(one.miner, one.prior) for one in commands(site, Verb.WAKE)] == [(1, "mode-1")]
    assert {one.prior for one in site.sent if one.verb is not Verb.WAKE} == {None}


def test_what_its_owner_set_later_is_what_a_wake_gives_back(kit):
    """Of a miner nobody trims every mode it hashes in is its owner's: only the record knows the last."""
    site = kit.site(facts=kit.fleet(odd={2: BLIND}), hashing=(True, True, True, False), surplus_w=20_000)
    decision = told(site, kit, 2, Condition.HASHING, 3_500.0, 300.0, prior="0", level=3)
    assert decision.priors == ((2, "0"),)
    assert told(site, kit, 2, Condition.HASHING, 3_500.0, 300.0, prior="0", level=3).priors == ()
    decision = told(site, kit, 2, Condition.HASHING, 2_000.0, 300.0, prior="3", level=0)
    assert decision.priors == ((2, "3"),)
    assert site.state.priors[2] == "3"
    assert told(site, kit, 2, Condition.ASLEEP, 50.0, 50.0, level=0).priors == (), "asleep it shows none"


def test_nothing_is_raised_into_the_room_a_slow_sleeper_has_not_made_yet(kit):
    lazy = replace(RESPONSE, sleep_dead_s=8, sleep_90_s=8)
    site = kit.site(facts=kit.fleet(6, odd={5: {**BLIND, "response": lazy}}), hashing=[True] * 6, surplus_w=40_000)
    site.cycles(3)
    site.spare_w = 14_200.0  # the others at their lowest leave 300 W too much
    site.cycle()
    assert [command.miner for command in commands(site, Verb.SLEEP)] == [5]
    before = len(site.sent)
    site.cycles(9)
    assert [command for command in site.sent[before:] if command.raises] == []
    site.cycles(40)
    assert [command.miner for command in commands(site, Verb.SLEEP)] == [5]
    assert site.load_w() > 13_000.0, "made use of in the end"
    assert site.load_w() <= 14_200.0


def boots_on_their_way(kit, level):
    """Miner 0 trims; 1 and 2 boot, untrimmable and slow to sleep, and 3 sleeps. In 4 s they have brought 3 kW more."""
    lazy = replace(RESPONSE, sleep_dead_s=6, sleep_90_s=6)
    facts = kit.fleet(odd={row: {"trims": False, "response": lazy} for row in (1, 2, 3)})
    state = kit.seen_state(facts, [True, False, False, False], level=level)
    fleet = state.fleet
    fleet.want_hashing[1:3] = True
    flight.put_in_flight(facts, state, np.array([1, 2]), Verb.WAKE, np.full(2, 3_500.0), -20.0, np.full(2, 100.0))
    return facts, state


@pytest.mark.parametrize(("level", "asleep"), [(0, True), (3, False)])
def test_a_boot_that_trim_cannot_make_room_for_is_stopped_while_a_sleep_can_still_be_in_time(kit, level, asleep):
    facts, state = boots_on_their_way(kit, level)
    soon_w = 1_000.0 + float(estimator.expected_soon_w(state.fleet, 0.0, 6.0).sum())
    goal = Goal(soon_w + 2_000.0, soon_w + 2_000.0, 100.0, shed=False, waived=True)
    allocator.allocate(facts, state, kit.policy(), goal, 0.0)
    assert (int(state.fleet.want_hashing.sum()) < 3) == asleep
    rising = Goal(soon_w + 2_000.0, 1e6, 1e6, shed=False, waived=True)
    facts, state = boots_on_their_way(kit, level)
    allocator.allocate(facts, state, kit.policy(), rising, 0.0)
    assert int(state.fleet.want_hashing.sum()) >= 3, "a set-point that rises as they do is no limit"


# --- boots ----------------------------------------------------------------------------------------------------------


def test_a_lead_is_asked_for_the_time_each_needs_and_never_beyond_the_end_of_the_ramp():
    goal = Goal(10_000.0, 13_000.0, 100.0, shed=False, waived=False)
    assert [goal.lead_w(seconds) for seconds in (0.0, 20.0, 85.0)] == [10_000.0, 12_000.0, 13_000.0]
    falling = Goal(10_000.0, 7_000.0, 100.0, shed=False, waived=False)
    assert falling.lead_w(20.0) == 7_000.0


def test_a_slow_starter_is_woken_early_and_a_quick_one_beside_it_in_its_own_time(kit):
    """Up 100 W/s: half of a boot is there after 25 s, or after 55 s for the slow one."""

    def first_wakes(odd):
        site = kit.site(facts=kit.fleet(odd=odd), hashing=(True, False, False, False), surplus_w=5_000)
        site.cycles(20)
        assert commands(site, Verb.WAKE) == []
        site.spare_w = 40_000.0
        begun = site.now
        woken = {}
        for _ in range(120):
            for command in site.cycle().commands:
                if command.verb is Verb.WAKE:
                    woken.setdefault(command.miner, site.now - begun)
        return woken

    quick, mixed = first_wakes({}), first_wakes({2: {"response": SLOW}})
    assert mixed[1] == quick[1], "the best is quick, and the slow one behind it changes nothing for it"
    assert quick[2] - mixed[2] >= 15.0
    assert mixed[3] >= quick[2] - 1.0, "and the next quick one stands in for it, no sooner than it would have been up"


def test_quick_ones_cover_what_a_better_slow_one_cannot_yet(kit):
    site = kit.site(facts=kit.fleet(odd={1: {"response": SLOW}}), hashing=(True, False, False, False), surplus_w=5_000)
    site.cycles(20)
    site.spare_w = 12_000.0
    site.cycles(2)
    assert [command.miner for command in commands(site, Verb.WAKE)] == [1, 2]
    fits_only_one = kit.site(facts=site.facts, hashing=(True, False, False, False), surplus_w=5_000)
    fits_only_one.cycles(20)
    fits_only_one.spare_w = 8_500.0
    fits_only_one.cycles(60)
    assert [command.miner for command in commands(fits_only_one, Verb.WAKE)] == [1], "both would be too much in the end"


def test_the_horizon_of_a_trim_is_that_of_the_classes_that_trim(kit):
    slow = replace(RESPONSE, trim_dead_s=25, trim_90_s=60)
    facts = kit.fleet(odd={1: {**BLIND, "response": slow}})
    assert estimator.trim_horizon_s(facts) == 6.0
    none = kit.fleet(odd=dict.fromkeys(range(4), BLIND))
    assert estimator.trim_horizon_s(none) == 4.0


def test_who_comes_up_above_what_its_owner_had_set_is_trimmed_down_to_it(kit):
    """Some firmware forgets its percentage with every restart and shows, asleep, that it will come up at full power."""
    site = kit.site(hashing=(True, False, False, False), surplus_w=4_500)
    site.cycle(telemetry=tuple(replace(one, prior="p", level=1) for one in site.telemetry()))
    assert site.state.fleet.ceiling[1] == 1
    site.spare_w = 8_500.0
    as_told = site.telemetry

    def full_when_asleep():
        return tuple(replace(one, level=3) if one.level is None else one for one in as_told())

    site.telemetry = full_when_asleep
    site.cycles(3)
    wake = commands(site, Verb.WAKE)[0]
    assert wake.miner == 1
    assert site.state.fleet.to_w[1] == 3_500, "what it will draw, not what it may"
    site.cycles(90)
    trims = [command.level for command in commands(site, Verb.TRIM) if command.miner == 1]
    assert trims[0] <= 1
    assert site.state.fleet.verdict[1] == Verdict.SETTLED
    assert site.level[1] <= 1
    assert np.isfinite(site.state.fleet.to_w).all()
