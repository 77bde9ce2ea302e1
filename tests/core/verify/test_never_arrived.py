"""Commands that never arrived: nobody is blamed for them, and nothing is counted on them."""

from __future__ import annotations

import pytest

from controller.core import estimator
from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from tests.core.verify.conftest import ASLEEP, HASHING, Story


@pytest.mark.parametrize("outcome", [Outcome.WITHHELD, Outcome.UNREACHABLE])
@pytest.mark.parametrize("hashing", [True, False])
def test_a_command_that_never_arrived_is_forgotten_and_costs_no_attempt(kit, outcome, hashing):
    story = Story(kit, hashing=(hashing,))
    draw = float(story.fleet.to_w[0])
    (command,) = story.want(hashing=not hashing)
    story.at(1.0, reports=[kit.report(command, outcome, 0.5)])
    assert bool(story.fleet.want_hashing[0]) is hashing
    assert story.fleet.verb[0] == 0
    assert story.fleet.to_w[0] == pytest.approx(draw)
    assert story.fleet.attempts[0] == 0
    expected = Condition.UNREACHABLE if outcome is Outcome.UNREACHABLE else (HASHING if hashing else ASLEEP)
    assert story.fleet.condition[0] == expected


def test_one_that_comes_up_by_itself_after_a_wake_that_never_arrived_is_told_to_sleep(kit):
    """Found by harsh seed 10214: it restarted as its wake was sent, hashed, and was taken for one on its way."""
    story = Story(kit, hashing=(False,), drift_reads=2)
    (wake,) = story.want(hashing=True)
    story.at(1.0, reports=[kit.report(wake, Outcome.UNREACHABLE, 0.5)])
    said = []
    for now in (50.0, 60.0):
        story.at(now, story.hashes(at=now))
        said += story.events()
    assert story.verdict() is Verdict.DRIFTED
    assert said == ["miner_back", "miner_drifted"]
    assert [command.verb for command in story.due()] == [Verb.SLEEP]


@pytest.mark.parametrize("hashing", [True, False])
def test_a_command_that_never_arrived_is_no_stay_hashing_or_asleep(kit, hashing):
    """Dwell counts what the miner did. A lost message must not keep it where it is for another quarter of an hour."""
    story = Story(kit, hashing=(hashing,))
    story.fleet.changed_at[0] = -5_000.0
    (command,) = story.want(hashing=not hashing)
    story.at(1.0, reports=[kit.report(command, Outcome.WITHHELD, 0.5)])
    assert story.fleet.changed_at[0] == -5_000.0


def test_a_sleep_that_never_reached_one_that_boots_leaves_its_boot_as_it_was(sleeper):
    """Found by harsh seed 1149: it was taken for drawing its whole rung at once, and its feeder's meter missed that."""
    (wake,) = sleeper.want(hashing=True)
    sleeper.at(5.0)
    (sleep,) = sleeper.want(hashing=False)
    sleeper.at(8.0, reports=[sleeper.kit.report(sleep, Outcome.UNREACHABLE, 8.0)])
    assert bool(sleeper.fleet.want_hashing[0])
    drawn_w = [float(estimator.expected_power_w(sleeper.fleet, at)[0]) for at in (8.0, 25.0, 40.0, 50.0)]
    assert drawn_w == pytest.approx([50.0, 1_602.5, 3_155.0, 3_500.0])
    assert sleeper.at(50.0, sleeper.hashes(49.0)) == [("wake", "settled")]
    assert wake.verb is Verb.WAKE


def test_one_that_had_booted_already_draws_what_it_drew(sleeper):
    sleeper.want(hashing=True)
    sleeper.at(30.0, sleeper.hashes(29.0, power_w=3_000.0))
    (sleep,) = sleeper.want(hashing=False)
    sleeper.at(32.0, reports=[sleeper.kit.report(sleep, Outcome.UNREACHABLE, 32.0)])
    assert float(estimator.expected_power_w(sleeper.fleet, 32.0)[0]) >= 3_000.0


@pytest.fixture
def deaf_in_a_shed(kit):
    """Told to sleep by a shed, out of reach a moment later, and told once more: that never reaches it."""
    story = Story(kit)
    story.fleet.changed_at[0] = -5_000.0
    story.shed = True
    story.want(hashing=False)
    story.at(5.0, kit.reading(0, Condition.UNREACHABLE, None, 5.0))
    story.at(20.0)
    (again,) = story.due()
    story.at(22.0, reports=[kit.report(again, Outcome.UNREACHABLE, 22.0)])
    return story


def test_a_sleep_told_again_that_never_arrived_is_no_wake(deaf_in_a_shed):
    """Found by harsh seeds 4785 and 4939: it was taken for one that boots since the first sleep, failed to be seen up
    when it was heard asleep, and was woken after 7 s of rest."""
    story = deaf_in_a_shed
    assert not story.fleet.want_hashing[0]
    assert story.fleet.verb[0] == 0
    assert story.fleet.to_w[0] == 3_500.0  # nobody knows: in a shed the higher counts
    story.shed = False
    story.at(26.0, story.sleeps(25.0))
    assert not story.due()
    assert story.verdict() is Verdict.SETTLED
    assert story.fleet.changed_at[0] == 20.0
    assert story.fleet.attempts[0] == 0


def test_and_who_did_not_sleep_by_the_one_before_is_told_when_it_is_heard(deaf_in_a_shed):
    story = deaf_in_a_shed
    story.at(26.0, story.hashes(25.0))
    (told,) = story.due()
    assert told.verb is Verb.SLEEP


def test_and_a_shed_tries_it_once_more_while_it_is_out_of_reach(deaf_in_a_shed):
    story = deaf_in_a_shed
    story.at(60.0)
    (tried,) = story.due()
    assert tried.verb is Verb.SLEEP
    story.at(62.0, reports=[story.kit.report(tried, Outcome.UNREACHABLE, 62.0)])
    assert not story.fleet.want_hashing[0]


def test_a_trim_that_never_arrived_is_planned_from_where_the_miner_is(story):
    (command,) = story.want(level=0)
    story.at(1.0, reports=[story.kit.report(command, Outcome.WITHHELD, 0.5)])
    assert story.fleet.want_level[0] == 3
