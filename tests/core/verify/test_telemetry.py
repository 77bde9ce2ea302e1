"""What a reading says of a miner, from its first sight on: what is believed and learned, and whose sleeper it is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.core import estimator
from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from tests.core.verify.conftest import HASHING, Story

# --- telemetry ------------------------------------------------------------------------------------------------------


def test_an_unreachable_miner_keeps_its_last_known_power(story):
    story.at(1.0, story.hashes(power_w=3_400.0, at=1.0))
    story.at(2.0, story.kit.reading(0, Condition.UNREACHABLE, None, 2.0))
    assert story.events() == ["miner_unreachable"]
    assert story.fleet.to_w[0] == 3_400.0
    assert story.verdict() is Verdict.SETTLED
    story.at(3.0, story.kit.reading(0, Condition.UNREACHABLE, None, 3.0))
    assert story.events() == [], "said once"
    story.at(4.0, story.hashes(at=4.0))
    assert story.events() == ["miner_back"]


@pytest.mark.parametrize("power_w", [50.0, None])
def test_a_miner_that_said_no_and_obeyed_is_asleep_and_not_asked_again(story, power_w):
    (command,) = story.want(hashing=False)
    story.at(1.0, reports=[story.kit.report(command, Outcome.REFUSED, 1.0)])
    assert story.due() == ()
    story.at(6.0, story.sleeps(at=6.0, power_w=power_w))
    assert (story.verdict(), story.fleet.to_w[0]) == (Verdict.SETTLED, 50.0)
    assert story.due() == ()


@pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.ACKNOWLEDGED])
def test_a_miner_that_fell_silent_after_its_sleep_counts_as_drawing_until_it_is_heard(story, outcome):
    (command,) = story.want(hashing=False)
    story.at(0.5, reports=[story.kit.report(command, outcome, 0.1)])
    assert estimator.expected_power_w(story.fleet, 17.0)[0] < 100.0
    load_w = story.state.offset_w + estimator.expected_power_w(story.fleet, 18.5)[0]
    for second in (5.0, 18.5, 300.0):
        story.at(second, story.kit.reading(0, Condition.UNREACHABLE, None, second))
    assert estimator.expected_power_w(story.fleet, 300.0)[0] == 3_500.0
    assert estimator.expected_one_w(story.fleet, 0, 300.0) == 3_500.0
    assert estimator.expected_soon_w(story.fleet, 300.0, 6.0)[0] == 3_500.0
    assert story.state.offset_w + 3_500.0 == pytest.approx(load_w), "the site draws what it drew"
    story.at(310.0, story.sleeps(at=310.0))
    assert (story.verdict(), story.fleet.to_w[0]) == (Verdict.SETTLED, 50.0)


@pytest.fixture
def lowered(kit):
    """A story of two; the first was trimmed down at 0 s, which is overdue at 22 s. It is read every 30 s."""
    story = Story(kit, hashing=(True, True))
    story.want(level=0)
    return story


def test_a_fall_that_the_site_meter_has_shown_is_believed_until_the_next_reading_is_due(lowered):
    low_w = lowered.facts.level_power_w[0, 0]
    lowered.state.offset_at, lowered.state.offset_until = 24.0, 27.0
    lowered.at(24.0)
    assert lowered.fleet.unheard[0]
    assert estimator.expected_soon_w(lowered.fleet, 24.0, 6.0)[0] == pytest.approx(low_w, abs=1.0)
    lowered.want(level=3)
    assert lowered.fleet.from_w[0] == pytest.approx(low_w, abs=1.0), "a rise starts from where it is"


def test_a_fall_that_no_site_meter_has_shown_counts_as_not_come(lowered):
    lowered.state.offset_at, lowered.state.offset_until = 15.0, 18.0
    lowered.at(24.0)
    assert estimator.expected_soon_w(lowered.fleet, 24.0, 6.0)[0] == 3_500.0


def test_a_fall_whose_reading_is_long_due_counts_as_not_come_whatever_the_site_meter_shows(lowered):
    at = lowered.policy.telemetry_stale_s + 1.0
    lowered.state.offset_at, lowered.state.offset_until = at, at + 3.0
    lowered.at(at)
    assert estimator.expected_soon_w(lowered.fleet, at, 6.0)[0] == 3_500.0


def test_a_miner_that_fell_silent_after_its_wake_counts_as_awake(sleeper):
    (command,) = sleeper.want(hashing=True)
    sleeper.at(0.5, reports=[sleeper.kit.report(command, Outcome.UNKNOWN, 0.1)])
    sleeper.at(300.0)
    assert estimator.expected_power_w(sleeper.fleet, 300.0)[0] == 3_500.0


def test_an_unreachable_miner_is_never_taken_for_a_sleeping_one(story):
    story.want(hashing=False)
    for second in (5.0, 19.0, 60.0):
        assert story.at(second, story.kit.reading(0, Condition.UNREACHABLE, None, second)) == []
    assert story.verdict() is Verdict.APPROACHING


@pytest.mark.parametrize("power_w", [math.nan, None, math.inf, -math.inf, -500.0, 65_535.0, 1e12])
def test_watts_that_cannot_be_are_unknown_and_never_reach_a_sum(story, power_w):
    story.at(1.0, story.hashes(power_w=power_w, at=1.0))
    assert np.isnan(story.fleet.reported_w[0])
    assert story.fleet.to_w[0] == 3_500.0
    assert story.fleet.ratio[0] == 1.0
    assert story.state.offset_w == 1_000.0


def test_readings_older_than_the_known_one_are_dropped(story):
    story.at(10.0, story.hashes(power_w=3_400.0, at=9.0))
    story.at(11.0, story.sleeps(at=8.0))
    assert story.fleet.condition[0] == HASHING
    assert story.fleet.to_w[0] == 3_400.0


def test_a_miner_that_answers_without_saying_what_it_does_proves_nothing(story):
    story.want(hashing=False)
    assert story.at(40.0, story.kit.reading(0, Condition.UNKNOWN, None, 40.0)) == []
    assert story.verdict() is Verdict.APPROACHING


def test_the_ratio_to_the_nameplate_is_learned_from_settled_readings(story):
    for second in range(1, 30):
        story.at(float(second), story.hashes(power_w=3_850.0, at=float(second)))
    assert story.fleet.ratio[0] == pytest.approx(1.1, abs=0.001)


def test_what_a_boot_draws_on_its_last_tenth_teaches_no_ratio(sleeper):
    """It counts as done at nine tenths; a slow one of its class is there after 64 s."""
    sleeper.want(hashing=True)
    verdicts = sleeper.at(41.0, sleeper.hashes(at=41.0, power_w=3_250.0))
    assert verdicts == [("wake", "settled")]
    assert (sleeper.fleet.to_w[0], sleeper.fleet.ratio[0]) == (3_250.0, 1.0)
    sleeper.at(46.0, sleeper.hashes(at=46.0, power_w=3_400.0))
    assert sleeper.fleet.ratio[0] < 1.0, "as near as this it is there"
    before = sleeper.fleet.ratio[0]
    sleeper.at(65.0, sleeper.hashes(at=65.0, power_w=3_250.0))
    assert sleeper.fleet.ratio[0] < before, "and after so long it draws no more"


@pytest.mark.parametrize("power_w", [2_400.0, 4_600.0])
def test_an_insane_ratio_is_not_learned(story, power_w):
    story.at(1.0, story.hashes(power_w=power_w, at=1.0))
    assert story.fleet.ratio[0] == 1.0


# --- first sight, priors, foreign sleepers --------------------------------------------------------------------------


def unseen(kit, **fleet):
    story = Story(kit, **fleet)
    story.state = type(story.state).fresh(story.facts, 0.0)
    story.state.offset_w = 5_000.0
    return story


def test_what_a_miner_does_at_first_sight_is_what_is_wanted_of_it(kit):
    story = unseen(kit)
    story.at(1.0, story.hashes(level=1, power_w=2_500.0, at=1.0))
    assert story.verdict() is Verdict.SETTLED
    assert (bool(story.fleet.want_hashing[0]), int(story.fleet.want_level[0])) == (True, 1)
    assert story.due() == ()


@pytest.mark.parametrize("adopt", [True, False])
def test_a_sleeper_found_at_the_start_is_foreign_unless_the_site_adopts(kit, adopt):
    story = unseen(kit, adopt_sleepers_at_start=adopt)
    story.at(1.0, story.sleeps(at=1.0))
    assert bool(story.fleet.ours_asleep[0]) is adopt
    assert story.events() == ([] if adopt else ["foreign_sleeper"])


def test_a_sleeper_remembered_as_ours_is_not_foreign_after_a_restart(kit):
    story = unseen(kit, adopt_sleepers_at_start=False)
    story.fleet.ours_asleep[0] = True
    story.at(1.0, story.sleeps(at=1.0))
    assert story.fleet.ours_asleep[0]
    assert story.events() == []


def test_the_prior_is_told_once_and_bounds_every_later_wish(kit):
    story = unseen(kit)
    story.at(1.0, story.hashes(level=2, power_w=3_000.0, at=1.0, prior="3000W"))
    assert story.findings.priors == [(0, "3000W")]
    assert story.fleet.ceiling[0] == 2
    story.at(2.0, story.hashes(level=1, power_w=2_500.0, at=2.0, prior="2500W"))
    assert story.findings.priors == []
    assert story.state.priors[0] == "3000W"
    assert story.fleet.ceiling[0] == 2


def test_a_miner_that_falls_asleep_by_itself_is_left_alone_after_repeated_readings(story):
    assert story.at(1.0, story.sleeps(at=1.0)) == []
    assert story.fleet.want_hashing[0], "one reading may be a glitch"
    story.at(2.0, story.sleeps(at=2.0))
    assert story.events() == ["foreign_sleeper"]
    assert not story.fleet.want_hashing[0]
    assert not story.fleet.ours_asleep[0]
    assert story.due() == ()


def test_a_sleeper_that_wakes_by_itself_is_put_to_sleep_again_and_quarantined_when_it_goes_on(sleeper):
    now, told = 0.0, 0
    while sleeper.verdict() is not Verdict.QUARANTINED and now < 1_000.0:
        for _ in range(2):
            now += 1.0
            sleeper.at(now, sleeper.hashes(at=now))
        commands = sleeper.due()
        told += len(commands)
        assert all(command.verb is Verb.SLEEP for command in commands)
        now += 5.0
        sleeper.at(now, sleeper.sleeps(at=now))
    assert sleeper.verdict() is Verdict.QUARANTINED
    assert told == 3


def test_a_miner_that_throttles_itself_is_planned_with_as_it_is(story):
    for second in (1.0, 2.0, 3.0):
        story.at(second, story.hashes(level=1, power_w=2_500.0, at=second))
    assert story.fleet.want_level[0] == 1
    assert story.verdict() is Verdict.SETTLED
    assert story.due() == ()


def test_a_miner_that_raises_itself_above_its_ceiling_is_trimmed_back(kit):
    story = Story(kit)
    story.fleet.ceiling[0] = 2
    story.fleet.want_level[0] = 2
    story.fleet.level[0] = 2
    for second in (1.0, 2.0):
        story.at(second, story.hashes(level=3, power_w=3_500.0, at=second))
    (command,) = story.due()
    assert (command.verb, command.level, command.raises) == (Verb.TRIM, 2, False)


# --- the books stay balanced ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [3_000.0, 3_300.0, 3_900.0, None])
def test_what_telemetry_says_of_a_miner_does_not_move_the_prediction_for_the_site(story, power_w):
    """The meter knows what the site draws; a miner's own figure only says whose watts they are."""
    total = story.state.offset_w + estimator.expected_power_w(story.fleet, 1.0).sum()
    story.at(1.0, story.hashes(power_w=power_w, at=1.0))
    assert story.state.offset_w + estimator.expected_power_w(story.fleet, 1.0).sum() == pytest.approx(total)
