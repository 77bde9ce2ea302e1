"""What a wake can look like from outside: a miner that only says it is awake, and slow starters beside who hashes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.core import allocator, flight
from controller.core.roster import Goal
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict
from tests.core.builders import RESPONSE, SLEEP_W
from tests.core.verify.conftest import Story

PATIENCE_S = 30.0  # twice the dead time and 10 s: even a slow one would have begun to boot
SLOW = {"response": replace(RESPONSE, name="slow", wake_dead_s=25, wake_90_s=60)}


@pytest.fixture
def woken(kit):
    story = Story(kit, hashing=(False,))
    (command,) = story.want(hashing=True)
    assert command.verb is Verb.WAKE
    return story


# --- who says that it is awake and draws no more than asleep ------------------------------------------------------


def test_one_that_says_it_is_awake_and_draws_nothing_is_asked_again_when_it_should_have_begun(woken):
    says_awake = {"power_w": SLEEP_W + 5.0}
    assert woken.at(25.0, woken.hashes(at=25.0, **says_awake)) == []
    assert woken.at(31.0, woken.hashes(at=PATIENCE_S, **says_awake)) == [("wake", "stuck")]
    assert [command.verb for command in woken.due()] == [Verb.WAKE]


def test_it_is_quarantined_when_no_attempt_is_left(woken):
    verdicts = []
    for second in range(1, 200):
        verdicts += woken.at(float(second), woken.hashes(at=float(second), power_w=SLEEP_W))
        woken.due()
    assert verdicts == [("wake", "stuck"), ("wake", "stuck"), ("wake", "quarantined")]
    assert woken.verdict() is Verdict.QUARANTINED


def test_its_word_does_not_settle_it_between_two_attempts(woken):
    woken.at(31.0, woken.hashes(at=PATIENCE_S, power_w=SLEEP_W))
    woken.fleet.retry_at[0] = 60.0
    woken.due()
    woken.at(40.0, woken.hashes(at=40.0, power_w=SLEEP_W))
    assert woken.verdict() is Verdict.STUCK
    woken.now = 60.0
    assert [command.verb for command in woken.due()] == [Verb.WAKE]


def test_one_that_begins_to_draw_is_given_the_time_of_its_class(woken):
    assert woken.at(31.0, woken.hashes(at=PATIENCE_S, power_w=600.0)) == []
    assert woken.at(45.0, woken.hashes(at=45.0)) == [("wake", "settled")]


def test_a_wake_that_failed_and_was_forgotten_makes_it_no_foreign_sleeper_nor_one_that_woke_by_itself(woken):
    """Found by harsh seed 4533: a loss of work had its second wake proved or disproved by nothing; then it had fallen
    asleep by itself, then woken by itself, and was put to sleep against its dwell."""
    woken.at(31.0, woken.hashes(at=PATIENCE_S, power_w=SLEEP_W))
    assert [command.verb for command in woken.due()] == [Verb.WAKE]
    flight.take_out_of_flight(woken.fleet, 0, SLEEP_W)
    woken.fleet.verdict[0] = Verdict.SETTLED
    said, sent = [], []
    for second in range(32, 50):
        woken.at(float(second), woken.hashes(at=float(second), power_w=SLEEP_W))
        said += woken.events()
        sent += woken.due()
    assert (said, sent) == ([], [])
    assert woken.fleet.condition[0] == Condition.ASLEEP
    assert bool(woken.fleet.ours_asleep[0]) and not woken.fleet.want_hashing[0], "the ramps wake it again"


@pytest.mark.parametrize("watts", [{"power_w": None}, {"power_w": SLEEP_W, "error_w": 900.0}])
def test_only_watts_of_its_own_contradict_its_word(woken, watts):
    assert woken.at(31.0, woken.hashes(at=PATIENCE_S, **watts)) == []
    assert woken.fleet.condition[0] == Condition.HASHING


def test_a_miner_that_idles_by_itself_is_not_taken_for_a_sleeper(kit):
    """Its pools are gone: nobody woke it, and it may hash again any moment."""
    story = Story(kit)
    story.at(5.0, story.hashes(at=5.0, power_w=SLEEP_W))
    assert story.fleet.condition[0] == Condition.HASHING


# --- who may sleep while others boot -------------------------------------------------------------------------------


def hashing_beside(kit, booting):
    """Four of seven hash; the other three boot, slowly, or have booted."""
    facts = kit.fleet(7, odd=dict.fromkeys(range(3), SLOW))
    state = kit.seen_state(facts, [not booting] * 3 + [True] * 4)
    if booting:
        miners = np.arange(3)
        flight.put_in_flight(facts, state, miners, Verb.WAKE, np.full(3, 3_500.0), 0.0, np.full(3, 200.0))
        state.fleet.want_hashing[:3] = True
    return facts, state


def goal(power_w):
    return Goal(power_w, power_w, 100.0, shed=False, waived=True)


def test_nobody_is_let_go_for_the_sake_of_those_who_still_boot(kit):
    facts, state = hashing_beside(kit, booting=True)
    allocator.allocate(facts, state, kit.policy(), goal(15_000.0), 1.0)
    assert state.fleet.want_hashing.all()


def test_the_worst_is_let_go_when_they_have_come_up(kit):
    facts, state = hashing_beside(kit, booting=False)
    allocator.allocate(facts, state, kit.policy(), goal(15_000.0), 1.0)
    assert state.fleet.want_hashing.tolist() == [True] * 6 + [False]


# --- who is woken for a rise ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trim", "wake_90_s", "power_w", "count"),
    [
        pytest.param(True, 60, 10_500.0, 2, id="others are trimmed for those that come early"),
        pytest.param(False, 60, 10_500.0, 1, id="nobody can make room for one that comes early"),
        pytest.param(True, 30, 12_000.0, 1, id="a quick boot has no such tail"),
    ],
)
def test_boots_are_told_earlier_than_they_take_for_their_second_half_is_missing_then(
    kit, trim, wake_90_s, power_w, count
):
    """The last of a rise of a quarter of rated were four seconds late. Three that hash and what else is drawn are
    11.85 kW; a second is due from 17 on. Half a slow boot, 40 s, from now the setpoint is at 16.5, a quarter of its way
    later at 18.75. Half a quick one, 25 s, from now it is at 15.75, and 7.5 s later at 16.9: the same 15 s for it as
    well brought harsh seeds 20, 41 and 1000 more at once than the ramp, and others slept for it."""
    facts = kit.fleet(10, response=replace(RESPONSE, wake_90_s=wake_90_s))
    state = kit.seen_state(facts, [True] * 3 + [False] * 7)
    policy = kit.policy(fleet={"trim": trim, "trim_reserve_ratio": 0.0})
    allocator.allocate(facts, state, policy, Goal(power_w, 30_000.0, 150.0, shed=False, waived=False), 1.0)
    assert int(state.fleet.want_hashing.sum()) == 3 + count
