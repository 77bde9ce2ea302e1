"""Whose miner is it: what the owner had set, what is given back, and what is taken again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.core import checkpoint
from controller.core.consequences import Findings
from controller.core.state import State
from controller.core.telemetry import take_readings
from controller.core.verify import judge
from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import OperatorOrder, OperatorVerb
from controller.domain.reasons import Why
from tests.core.site import Site

NO_ONE = np.zeros(1, dtype=np.bool_)


def order(verb, *miners):
    return OperatorOrder(verb, "maria", miners=miners)


def seen_first(kit, condition, power_w, *, level=None, prior="custom"):
    state = State.fresh(kit.fleet(1), 0.0)
    reading = kit.reading(0, condition, power_w, 1.0, level=level, prior=prior)
    take_readings(kit.fleet(1), state, kit.policy().fleet, (reading,), 1.0, Findings())
    return state


@pytest.mark.parametrize(
    ("condition", "power_w", "level", "ceiling"),
    [
        pytest.param(Condition.HASHING, 2_500.0, 1, 1, id="the rung it runs"),
        pytest.param(Condition.HASHING, 2_700.0, None, 1, id="a profile of its own: the rung below its watts"),
        pytest.param(Condition.HASHING, 1_200.0, None, 0, id="a profile below the ladder: the lowest rung"),
        pytest.param(Condition.HASHING, None, None, 0, id="a profile of its own and no watts: the lowest rung"),
        pytest.param(Condition.ASLEEP, 50.0, None, 0, id="asleep at a profile nobody knows: the lowest rung"),
    ],
)
def test_nobody_is_raised_above_what_its_owner_had_set(kit, condition, power_w, level, ceiling):
    assert seen_first(kit, condition, power_w, level=level).fleet.ceiling[0] == ceiling


def test_a_miner_given_back_is_left_alone_whatever_it_does_and_its_draw_counts(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.cycle(operator=(order(OperatorVerb.RESTORE, 0),))
    site.sent.clear()
    site.spare_w = 6_000.0
    site.cycles(40)
    assert 0 not in {command.miner for command in site.sent}
    assert site.hashing[0] and not site.hashing[1:].any()
    decision = site.decisions[-1]
    assert (decision.allocation.why_of(0), decision.counts["parked"]) == (Why.OBSERVED, 1)
    site.set_hashing(0, False)  # its owner puts it to sleep
    site.spare_w = 15_500.0
    site.cycles(200)
    assert not site.hashing[0]
    assert site.state.fleet.verdict[0] != Verdict.QUARANTINED


def test_a_command_that_failed_is_not_repeated_to_a_miner_that_was_given_back(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.state.fleet.want_hashing[3] = False
    site.state.fleet.verdict[3] = Verdict.STUCK
    site.sent.clear()
    site.cycle(operator=(order(OperatorVerb.RESTORE, 3),))
    site.cycles(5)
    assert 3 not in {command.miner for command in site.sent}


def test_a_miner_given_back_is_taken_again_when_it_is_adopted(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.cycle(operator=(order(OperatorVerb.RESTORE, 3),))
    site.cycles(5)
    site.cycle(operator=(order(OperatorVerb.ADOPT, 3),))
    site.spare_w = 9_000.0
    site.cycles(60)
    assert 3 in {command.miner for command in site.sent}
    assert site.decisions[-1].counts["parked"] == 0


def test_to_give_back_survives_a_restart_and_so_does_the_last_known_draw(kit):
    facts = kit.fleet(2)
    state = kit.seen_state(facts, [True, True])
    state.fleet.parked[1] = True
    recalled = checkpoint.from_record(facts, checkpoint.to_record(facts, state, 10.0), 0.0, kit.wall)
    assert list(recalled.fleet.parked) == [False, True]
    assert list(recalled.fleet.to_w) == [3_500.0, 3_500.0]


def test_adopting_everybody_does_not_take_our_own_trims_for_the_owners_wish(kit):
    site = kit.site(hashing=[True] * 4, surplus_w=15_500.0)
    site.cycles(5)
    site.spare_w = 10_000.0
    site.cycles(40)
    site.cycle(operator=(order(OperatorVerb.ADOPT, 0, 1, 2, 3),))
    site.spare_w = 15_500.0
    site.cycles(100)
    assert site.load_w() == pytest.approx(15_000.0)


def test_miners_not_read_since_the_start_fill_their_feeder_as_far_as_they_can(kit):
    facts = kit.fleet(4, feeders=[0, 0, 0, 0], feeder_rating_w=(7_200,))
    site = kit.site(facts=facts, hashing=[True, True, False, False], surplus_w=30_000.0)
    site.silent = {0, 1}
    site.cycles(120)
    assert site.load_w() <= 1_000 + 7_200, "silence is not zero: the two others must stay asleep"


def test_the_floor_counts_what_silent_miners_last_drew(kit):
    facts = kit.fleet(2)
    state = kit.seen_state(facts, [True, False])
    recalled = checkpoint.from_record(facts, checkpoint.to_record(facts, state, 10.0), 0.0, kit.wall)
    site = kit.site(facts=facts, hashing=[True, False])
    site.state = recalled
    site.silent = {0, 1}
    assert site.cycle().figures.floor_w == kit.auxiliary_w + 3_500 + kit.sleep_w


def test_a_blackout_now_and_then_makes_no_rogue_of_a_miner(kit):
    facts, policy = kit.fleet(1), kit.policy().fleet
    state = kit.seen_state(facts, [False])
    for blackout in range(8):
        at = 1_000.0 * (blackout + 1)
        for second in range(1, 6):
            hashing = kit.reading(0, Condition.HASHING, 3_500.0, at + second, level=3)
            fresh = take_readings(facts, state, policy, (hashing,), at + second, Findings())
            judge(facts, state, policy, fresh, NO_ONE, at + second, Findings())
        assert state.fleet.verdict[0] == Verdict.DRIFTED
        state.fleet.verdict[0] = Verdict.SETTLED  # told to sleep again, and it did
        state.fleet.disagreed[0] = 0


def test_a_wake_that_never_arrived_lets_another_miner_try_before_it_is_sent_again(kit):
    site = kit.site(hashing=[True, False, False], facts=kit.fleet(3), surplus_w=8_500.0)
    site.deaf = {1}
    site.cycles(2)
    first = next(command for command in site.sent if command.verb is Verb.WAKE)
    assert first.miner == 1
    report = kit.report(first, Outcome.WITHHELD, site.now)
    site.cycle(reports=(report,))
    site.cycle()
    assert [command.miner for command in site.sent if command.verb is Verb.WAKE] == [1, 2]


class Slow(Site):
    """Its miners say for twelve seconds that they hash when they sleep already; only those asleep for us are ours."""

    def _reading(self, miner, draws_w):
        found = super()._reading(miner, draws_w)
        slept_s = self.now - self.moved_at[miner]
        return found if self.hashing[miner] or slept_s > 12.0 else replace(found, condition=Condition.HASHING, level=3)

    @classmethod
    def told_to_sleep(cls, kit):
        """Three of four, seconds before a restart."""
        site = cls(kit.policy(fleet={"adopt_sleepers_at_start": False}), kit.fleet(4), [True] * 4, 15_500.0)
        site.cycles(20)
        site.spare_w = 4_600.0
        site.cycles(9)
        assert sum(command.verb is Verb.SLEEP for command in site.sent) == 3
        record = checkpoint.to_record(site.facts, site.state, site.now)
        site.state = checkpoint.from_record(site.facts, record, site.now, kit.wall)
        return site


def test_a_sleep_under_way_at_a_restart_is_ours_when_it_comes(kit):
    """Found by harsh seed 4872: 29 miners said at their first read that they hash, were found to have fallen asleep
    without our order, and were never woken again."""
    site = Slow.told_to_sleep(kit)
    site.cycle()
    assert site.state.fleet.want_hashing[1:].all(), "as they say"
    seen = site.cycles(20)
    assert not [event for decision in seen for event in decision.events if event.name == "foreign_sleeper"]
    site.spare_w = 15_500.0
    site.cycles(150)
    assert site.hashing.all()


def test_who_hashes_on_after_a_restart_and_is_put_to_sleep_by_hand_is_not(kit):
    site = Slow.told_to_sleep(kit)
    site.spare_w = 15_500.0
    for miner in range(4):
        site.set_hashing(miner, True)  # the sleeps were cut off with us
    site.cycles(150)
    site.set_hashing(3, False)
    site.cycles(50)
    assert not site.hashing[3]
    assert not site.state.fleet.ours_asleep[3]
