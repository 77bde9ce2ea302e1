"""Plan x observed -> the commands due now: level, not edge."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import estimator, reconcile
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict


class Office:
    def __init__(self, kit, hashing, **fleet):
        self.facts = kit.fleet(len(hashing))
        self.state = kit.seen_state(self.facts, hashing)
        self.policy = kit.policy(fleet=fleet).fleet

    def want(self, now=0.0, shed=False, hashing=None, level=None):
        fleet = self.state.fleet
        before = fleet.wants()
        for miner, wish in (hashing or {}).items():
            fleet.want_hashing[miner] = wish
        for miner, wish in (level or {}).items():
            fleet.want_level[miner] = wish
        return reconcile.commands_due(self.facts, before, self.state, self.policy, shed, "why", now)


def told(commands):
    return [(command.miner, command.verb) for command in commands]


def test_what_agrees_already_is_not_sent(kit):
    assert Office(kit, [True, False]).want() == ()


def test_nothing_is_sent_twice(kit):
    office = Office(kit, [True, True, False])
    first = office.want(hashing={0: False, 2: True}, level={1: 0})
    assert sorted(told(first)) == [(0, Verb.SLEEP), (1, Verb.TRIM), (2, Verb.WAKE)]
    for second in range(1, 20):
        assert office.want(now=float(second)) == ()


def test_lowering_comes_first_and_raises_come_last(kit):
    office = Office(kit, [True, True, True, False])
    office.state.fleet.want_level[2] = 1
    office.state.fleet.to_w[2] = office.state.fleet.from_w[2] = 2_500.0
    commands = office.want(hashing={1: False, 3: True}, level={0: 1, 2: 3})
    assert told(commands) == [(1, Verb.SLEEP), (0, Verb.TRIM), (2, Verb.TRIM), (3, Verb.WAKE)]
    assert [command.raises for command in commands] == [False, False, True, True]


def test_raises_are_limited_and_the_rest_waits_for_the_next_cycle(kit):
    office = Office(kit, [False] * 5, commands_per_cycle_max=2)
    waking = dict.fromkeys(range(5), True)
    first = office.want(hashing=waking)
    assert told(first) == [(0, Verb.WAKE), (1, Verb.WAKE)]
    assert list(office.state.fleet.want_hashing) == [True, True, False, False, False]
    assert told(office.want(now=1.0, hashing=waking)) == [(2, Verb.WAKE), (3, Verb.WAKE)]
    assert told(office.want(now=2.0, hashing=waking)) == [(4, Verb.WAKE)]


def test_lowering_is_never_limited(kit):
    office = Office(kit, [True] * 50, commands_per_cycle_max=2)
    assert len(office.want(hashing=dict.fromkeys(range(50), False))) == 50


def test_lowering_uses_up_what_raises_may_send(kit):
    office = Office(kit, [True, True, False], commands_per_cycle_max=2)
    assert told(office.want(hashing={0: False, 1: False, 2: True})) == [(0, Verb.SLEEP), (1, Verb.SLEEP)]
    assert told(office.want(now=1.0, hashing={2: True})) == [(2, Verb.WAKE)]


def test_a_booting_miner_can_be_put_to_sleep_again(kit):
    office = Office(kit, [False])
    office.want(hashing={0: True})
    assert told(office.want(now=5.0, hashing={0: False})) == [(0, Verb.SLEEP)]


def test_numbers_rise_by_one_and_are_the_ledgers_key(kit):
    office = Office(kit, [True, True, False])
    commands = [*office.want(hashing={0: False, 2: True}), *office.want(now=1.0, level={1: 0})]
    assert [command.command_id for command in commands] == [1, 2, 3]
    for command in commands:
        assert office.state.fleet.command_id[command.miner] == command.command_id
    assert office.state.next_command_id == 4


@pytest.mark.parametrize(("shed", "urgent"), [(True, [True, False]), (False, [False, False])])
def test_on_a_shed_only_what_lowers_is_urgent(kit, shed, urgent):
    commands = Office(kit, [True, False]).want(shed=shed, hashing={0: False, 1: True})
    assert [command.urgent for command in commands] == urgent


def test_only_a_trim_names_a_level(kit):
    commands = Office(kit, [True, True, False]).want(hashing={0: False, 2: True}, level={1: 2})
    assert {command.verb: command.level for command in commands} == {Verb.SLEEP: None, Verb.TRIM: 2, Verb.WAKE: None}


def test_a_sleep_of_ours_is_remembered_as_ours(kit):
    office = Office(kit, [True])
    assert not office.state.fleet.ours_asleep[0]
    office.want(hashing={0: False})
    assert office.state.fleet.ours_asleep[0]


def test_a_trim_is_no_change_of_state_for_dwell(kit):
    office = Office(kit, [True, True])
    office.want(now=7.0, hashing={0: False}, level={1: 0})
    assert office.state.fleet.changed_at[0] == 7.0
    assert office.state.fleet.changed_at[1] == -np.inf


@pytest.mark.parametrize("verdict", [Verdict.STUCK, Verdict.DRIFTED])
def test_a_miner_that_failed_is_asked_once_more_when_its_time_has_come(kit, verdict):
    office = Office(kit, [True])
    fleet = office.state.fleet
    fleet.want_hashing[0], fleet.verdict[0], fleet.retry_at[0] = False, verdict, 5.0
    assert office.want(now=4.9) == ()
    assert told(office.want(now=5.0)) == [(0, Verb.SLEEP)]
    assert fleet.verdict[0] == Verdict.APPROACHING
    assert office.want(now=6.0) == ()


@pytest.mark.parametrize("condition", [Condition.UNREACHABLE, Condition.UNKNOWN])
def test_a_miner_nobody_hears_is_not_asked_again_and_again(kit, condition):
    office = Office(kit, [True])
    fleet = office.state.fleet
    fleet.want_hashing[0], fleet.verdict[0], fleet.condition[0] = False, Verdict.STUCK, condition
    assert office.want(now=100.0) == ()


@pytest.mark.parametrize("verdict", [Verdict.QUARANTINED, Verdict.SETTLED, Verdict.UNSEEN])
def test_who_has_not_failed_is_not_asked_again(kit, verdict):
    office = Office(kit, [True])
    office.state.fleet.want_hashing[0], office.state.fleet.verdict[0] = False, verdict
    assert office.want(now=100.0) == ()


@given(
    hashing=st.lists(st.booleans(), min_size=1, max_size=8),
    wishes=st.lists(st.tuples(st.booleans(), st.integers(0, 3)), min_size=8, max_size=8),
    most=st.integers(1, 8),
    shed=st.booleans(),
)
def test_repeating_a_plan_sends_every_difference_exactly_once(kit, hashing, wishes, most, shed):
    office = Office(kit, hashing, commands_per_cycle_max=most)
    n = len(hashing)
    goal_on = {miner: wishes[miner][0] for miner in range(n)}
    goal_level = {miner: wishes[miner][1] for miner in range(n) if hashing[miner]}
    sent = []
    for second in range(12):
        commands = office.want(float(second), shed, goal_on, goal_level)
        assert sum(command.raises for command in commands) <= most
        lowering = [not command.raises for command in commands]
        assert lowering == sorted(lowering, reverse=True)
        sent += commands
    due = {miner for miner in range(n) if hashing[miner] != goal_on[miner]}
    due |= {miner for miner in range(n) if hashing[miner] and goal_on[miner] and goal_level[miner] != 3}
    assert sorted(command.miner for command in sent) == sorted(due)
    draw = office.state.offset_w + estimator.expected_power_w(office.state.fleet, 1e6).sum()
    planned = estimator.planned_power_w(
        office.facts, office.state.fleet, office.state.fleet.want_hashing, office.state.fleet.want_level
    )
    assert draw == pytest.approx(office.state.offset_w + planned.sum()), "the ledger ends where the plan is"
