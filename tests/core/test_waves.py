"""Wakes in waves: how a wave grows, what stops it, and who waits."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from controller.core import checkpoint, waves
from controller.core.consequences import Findings
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import VerdictReport
from controller.domain.policy import WavePolicy
from tests.core.site import Site

RULES = WavePolicy(enabled=True, first=8, growth=1.5, success_min=0.8, pause_s=300.0)
WAKE = 2


class Hall:
    """`n` sleepers of one class on one feeder; boots begin and end as told."""

    def __init__(self, kit, n=200, *, rules=RULES, **facts):
        self.facts = kit.fleet(n, **facts)
        self.state: State = kit.seen_state(self.facts, [False] * n)
        self.policy = kit.policy(fleet={"waves": rules}).fleet
        self.before = self.state.copy()
        self.now = 0.0
        self.next = 0
        self.events = []

    @property
    def size(self):
        kept = self.state.waves
        return 0 if kept.stopped[0, 0] else int(kept.size[0, 0] or self.policy.waves.first)

    def start(self, miners):
        fleet = self.state.fleet
        fleet.verb[miners], fleet.want_hashing[miners], fleet.verdict[miners] = WAKE, True, Verdict.APPROACHING

    def end(self, miners, verdict="settled"):
        fleet = self.state.fleet
        self.before = self.state.copy()
        fleet.verb[miners] = 0
        good = verdict == "settled"
        fleet.verdict[miners] = Verdict.SETTLED if good else Verdict.STUCK
        if not good:
            fleet.attempts[miners] += 1
            fleet.failed_verb[miners] = WAKE
        self.judge([VerdictReport(0, miner, "wake", verdict, 20.0) for miner in miners])

    def judge(self, verdicts=(), seconds=30.0):
        self.now += seconds
        findings = Findings(verdicts=list(verdicts))
        waves.judge(self.facts, self.before, self.state, self.policy, findings, self.now)
        self.events += [(event.name, event.text) for event in findings.events]

    def wave(self, bad=0, count=None):
        """One whole wave, of which `bad` do not come up."""
        count = count or int(self.size)
        miners = np.arange(self.next, self.next + count)
        self.next += count
        self.start(miners)
        self.judge(seconds=1.0)
        self.end(miners[bad:])
        if bad:
            self.end(miners[:bad], "stuck")


@pytest.fixture
def hall(kit):
    return Hall(kit)


# --- sizes --------------------------------------------------------------------------------------------------------


def test_a_wave_grows_by_half_each_time_it_came_up(hall):
    sizes = [hall.size]
    for _ in range(4):
        hall.wave()
        sizes.append(hall.size)
    assert sizes == [8, 12, 18, 27, 40]


def test_a_wave_that_was_not_used_proves_nothing_of_a_larger_one(hall):
    for _ in range(3):
        hall.wave(count=5)
    assert hall.size == 8


@pytest.mark.parametrize(("bad", "stopped"), [(0, False), (1, False), (2, False), (3, True)])
def test_it_stops_when_fewer_than_the_share_came_up(hall, bad, stopped):
    """Of 12 in a wave 80 % are 9.6: three that fail are too many."""
    hall.wave()
    hall.wave(bad=bad)
    assert [name for name, _ in hall.events] == ["restore_stopped"] * stopped
    assert hall.size == (0 if stopped else 18)


def test_three_of_a_handful_stop_nothing(hall):
    hall.wave(bad=3, count=4)
    assert hall.events == []


def test_it_is_stopped_as_soon_as_those_still_starting_cannot_make_up_for_it(kit):
    hall = Hall(kit, rules=replace(RULES, first=40))
    hall.start(np.arange(40))
    hall.judge(seconds=1.0)
    hall.end(np.arange(8), "stuck")
    assert hall.events == []
    hall.end(np.arange(8, 9), "stuck")
    assert [name for name, _ in hall.events] == ["restore_stopped"]


def test_the_event_says_who_how_many_and_what_follows(hall):
    hall.wave()
    hall.wave(bad=6)
    (event,) = hall.events
    assert event == (
        "restore_stopped",
        (
            "model on feeder-0: of the last 12 that were woken 6 came up, with up to 12 starting at once; "
            "none is woken for 5 min, then 6 at once"
        ),
    )


def test_after_the_pause_it_goes_on_smaller_and_stays_below_what_failed_for_a_day(hall):
    for _ in range(4):
        hall.wave()
    assert hall.size == 40
    hall.wave(bad=20)
    hall.judge(seconds=299.0)
    assert hall.size == 0
    hall.judge(seconds=2.0)
    assert hall.events[-1] == ("restore_resumed", "model on feeder-0: woken again, 20 at once")
    sizes = []
    for _ in range(3):
        hall.next = 0
        hall.state.fleet.attempts[:] = 0
        hall.wave()
        sizes.append(int(hall.size))
    assert sizes == [30, 30, 30]
    hall.now += waves.FAILED_MEMORY_S
    hall.next = 0
    hall.wave()
    assert hall.size == 45


def test_boots_of_the_wave_that_was_stopped_do_not_count_for_the_next(hall):
    hall.start(np.arange(8))
    hall.judge(seconds=1.0)
    hall.end(np.arange(5), "stuck")
    hall.end(np.arange(5, 8), "stuck")
    assert [name for name, _ in hall.events] == ["restore_stopped"]
    assert int(hall.state.waves.bad.sum()) == 8
    hall.start(np.arange(10, 18))
    hall.end(np.arange(10, 18), "stuck")
    hall.judge(seconds=400.0)
    assert [name for name, _ in hall.events] == ["restore_stopped", "restore_resumed"]
    assert int(hall.state.waves.bad.sum()) == 0


def test_who_failed_before_tells_nothing_of_a_crowd(hall):
    """A third of old machines never starts, however few start beside it."""
    fleet = hall.state.fleet
    fleet.attempts[:20], fleet.failed_verb[:20] = 1, WAKE
    fleet.quarantines[20:40] = 1
    hall.wave(bad=8)
    for _ in range(4):
        hall.wave(bad=8, count=8)
    assert hall.events == []


def test_who_says_no_has_not_tried(hall):
    hall.state.fleet.refused[:] = True
    hall.wave(bad=8)
    assert hall.events == []


# --- who waits ----------------------------------------------------------------------------------------------------


def test_those_that_start_take_the_room_of_others_of_their_class_on_their_feeder(kit):
    hall = Hall(kit, 4, feeders=[0, 0, 1, 1], feeder_rating_w=(10**6, 10**6), odd={1: {"name": "other"}})
    hall.policy = replace(hall.policy, waves=replace(RULES, first=1))
    hall.start(np.array([2]))
    assert waves.room(hall.facts, hall.state, hall.policy, 10.0).open_to().tolist() == [True, True, False, False]


def test_a_second_lies_between_two_batches(hall):
    hall.state.waves.woken_at = 10.0
    assert not waves.room(hall.facts, hall.state, hall.policy, 10.05).open_to().any()
    assert waves.room(hall.facts, hall.state, hall.policy, 11.0).open_to().all()


def test_without_waves_only_a_feeders_own_limit_holds(kit):
    hall = Hall(kit, rules=replace(RULES, enabled=False))
    hall.state.waves.woken_at = 10.0
    assert waves.room(hall.facts, hall.state, hall.policy, 10.0).open_to().all()
    hall.facts = replace(hall.facts, feeder_inrush_w=np.array([10_000.0]))
    room = waves.room(hall.facts, hall.state, hall.policy, 10.0)
    assert [room.take(miner) for miner in range(4)] == [True, True, False, False]
    hall.start(np.array([0, 1]))
    assert not waves.room(hall.facts, hall.state, hall.policy, 10.0).open_to().any()


def test_one_that_is_more_than_the_whole_limit_starts_alone(kit):
    hall = Hall(kit)
    hall.facts = replace(hall.facts, feeder_inrush_w=np.array([1_000.0]))
    room = waves.room(hall.facts, hall.state, hall.policy, 10.0)
    assert [room.take(miner) for miner in range(3)] == [True, False, False]


def test_retries_wait_for_room_the_best_first_and_come_before_others(hall):
    fleet = hall.state.fleet
    failed = np.arange(20)
    fleet.want_hashing[failed], fleet.verdict[failed] = True, Verdict.STUCK
    fleet.read_at[failed], fleet.sent_at[failed] = 5.0, 1.0
    waves.hold_back(hall.facts, hall.state, hall.policy, 10.0)
    assert (fleet.retry_at[failed] <= 10.0).tolist() == [True] * 8 + [False] * 12
    assert not waves.room(hall.facts, hall.state, hall.policy, 10.0).open_to().any()
    fleet.verb[:8] = WAKE
    waves.hold_back(hall.facts, hall.state, hall.policy, 11.0)
    assert not (fleet.retry_at[8:20] <= 11.0).any()


def test_where_power_was_lost_waves_begin_small_again(hall):
    for _ in range(4):
        hall.wave()
    hall.state.fleet.away[5] = 2
    hall.judge()
    assert hall.size == 8


def test_a_checkpoint_keeps_sizes_and_stops(hall, kit):
    hall.wave()
    hall.wave(bad=6)
    record = json.loads(json.dumps(checkpoint.to_record(hall.facts, hall.state, hall.now)))
    again = checkpoint.from_record(hall.facts, record, 7.0, kit.wall)
    assert again.waves.size.tolist() == [[6.0]]
    assert again.waves.stopped.all()
    assert again.waves.stopped_until[0, 0] == pytest.approx(7.0 + 300.0)
    assert again.waves.failed_size.tolist() == [[12.0]]


# --- in whole steps -----------------------------------------------------------------------------------------------


def site(kit, n=30, **rules):
    rules = {"first": 4, "growth": 1.5, "success_min": 0.8, "pause_s": 60.0, "enabled": True} | rules
    ramp = {"up_w_per_min": 1e7, "up_w_per_15s": 1e7, "down_w_per_min": 1e7, "down_w_per_15s": 1e7}
    policy = kit.policy(
        rated_w=150_000,
        site_cap_w=150_000,
        ramp=ramp,
        fleet={"waves": WavePolicy(**rules), "wakes_per_cycle_max": 100},
    )
    return Site(policy, kit.fleet(n), [False] * n, 140_000.0)


def starting(decision):
    return sum(wave.starting for wave in decision.waves)


def test_a_site_comes_up_in_waves_and_says_who_waits(kit):
    hall = site(kit)
    decisions = hall.cycles(10)
    assert max(starting(decision) for decision in decisions) == 4
    assert {decision.allocation.why_of(29).value for decision in decisions[3:]} == {"wave"}
    decisions += hall.cycles(150)
    assert hall.hashing.all()
    assert max(starting(decision) for decision in decisions) > 4
    assert decisions[-1].allocation.unallocated_reason.value != "wave"


def test_a_wave_that_fails_stops_the_class_and_the_rest_comes_after_the_pause(kit):
    hall = site(kit, first=10)
    hall.deaf = set(range(10))
    hall.cycles(120)
    names = [event.name for decision in hall.decisions for event in decision.events]
    assert names.count("restore_stopped") == 1
    stop = next(i for i, d in enumerate(hall.decisions) if any(e.name == "restore_stopped" for e in d.events))
    quiet = hall.decisions[stop : stop + 59]
    assert not any(command.verb is Verb.WAKE for decision in quiet for command in decision.commands)
    assert quiet[-1].waves[0].stopped_for_s == pytest.approx(2.0, abs=1.5)
    hall.deaf = set()
    hall.cycles(400)
    assert hall.hashing.all()
    assert any(event.name == "restore_resumed" for decision in hall.decisions for event in decision.events)


def test_other_classes_come_up_meanwhile(kit):
    hall = site(kit, first=10)
    facts = kit.fleet(30, odd={miner: {"name": "other"} for miner in range(10, 30)})
    hall = Site(hall.engine.policy, facts, [False] * 30, 140_000.0)
    hall.deaf = set(range(10))
    hall.cycles(120)
    assert hall.hashing[10:].all()
    assert (hall.state.fleet.condition[10:] == Condition.HASHING).all()
