"""Sent is not done: commands that work, that do not, and that never arrived."""

from __future__ import annotations

import numpy as np
import pytest

from controller.core import estimator
from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from tests.core.verify.conftest import ASLEEP, HASHING, Story

# --- a command that works -------------------------------------------------------------------------------------------


def test_a_sleep_is_settled_by_a_reading_begun_after_it(story):
    (command,) = story.want(hashing=False)
    assert command.verb is Verb.SLEEP
    assert story.verdict() is Verdict.APPROACHING
    assert story.at(5.0, story.sleeps(at=4.5)) == [("sleep", "settled")]
    assert story.verdict() is Verdict.SETTLED
    assert story.fleet.verb[0] == 0


@pytest.mark.parametrize("begun_at", [-1.0, 0.0, 0.9])
def test_a_reading_begun_before_the_command_or_its_dead_time_proves_nothing(story, begun_at):
    story.want(hashing=False)
    story.fleet.read_at[0] = -10.0
    assert story.at(30.0, story.sleeps(at=begun_at)) == []
    assert story.verdict() is Verdict.APPROACHING


def test_the_moment_it_was_really_sent_counts_not_the_moment_it_was_decided(story):
    (command,) = story.want(hashing=False)
    sent = story.kit.report(command, Outcome.ACKNOWLEDGED, 20.0)
    story.at(20.5, reports=[sent])
    assert story.fleet.sent_at[0] == 20.0
    assert story.fleet.deadline_at[0] == 38.0
    assert story.at(21.0, story.sleeps(at=20.9)) == []
    assert story.at(22.0, story.sleeps(at=21.0)) == [("sleep", "settled")]


@pytest.mark.parametrize("outcome", [Outcome.ACKNOWLEDGED, Outcome.APPLIED, Outcome.UNKNOWN])
def test_what_the_driver_heard_alone_settles_nothing(story, outcome):
    (command,) = story.want(hashing=False)
    assert story.at(40.0, reports=[story.kit.report(command, outcome, 0.1)]) == []
    assert story.verdict() is Verdict.APPROACHING


def test_missing_telemetry_never_makes_a_command_overdue(story):
    story.want(hashing=False)
    for second in range(1, 500):
        assert story.at(float(second)) == []
    assert story.verdict() is Verdict.APPROACHING
    assert story.due() == ()


def test_a_miner_told_asleep_that_still_draws_its_watts_is_not_asleep(story):
    story.want(hashing=False)
    assert story.at(5.0, story.sleeps(power_w=3_400.0, at=5.0)) == []
    assert story.at(19.0, story.sleeps(power_w=3_400.0, at=19.0)) == [("sleep", "stuck")]


def test_a_sleeping_miner_that_tells_no_power_is_believed(story):
    story.want(hashing=False)
    assert story.at(5.0, story.sleeps(power_w=None, at=5.0)) == [("sleep", "settled")]
    assert story.fleet.to_w[0] == 50.0


def test_a_booting_miner_approaches_until_its_watts_are_there(sleeper):
    (command,) = sleeper.want(hashing=True)
    assert command.verb is Verb.WAKE
    assert sleeper.at(20.0, sleeper.hashes(power_w=900.0, at=20.0)) == []
    assert sleeper.verdict() is Verdict.APPROACHING
    assert sleeper.at(45.0, sleeper.hashes(power_w=3_450.0, at=45.0)) == [("wake", "settled")]
    assert sleeper.fleet.to_w[0] == 3_450.0


def test_a_miner_that_wakes_at_the_rung_it_slept_at_woke(sleeper):
    """Waking gives back the profile it had; that it is below the ceiling is planned with, not held against it."""
    sleeper.want(hashing=True)
    assert sleeper.at(45.0, sleeper.hashes(power_w=2_480.0, level=1, at=45.0)) == [("wake", "settled")]
    for second in range(46, 50):
        sleeper.at(float(second), sleeper.hashes(power_w=2_480.0, level=1, at=float(second)))
    assert sleeper.verdict() is Verdict.SETTLED
    assert sleeper.fleet.want_level[0] == 1
    assert sleeper.fleet.attempts[0] == 0


@pytest.mark.parametrize(("power_w", "settled"), [(2_500.0, True), (2_640.0, True), (2_900.0, False)])
def test_a_trim_is_settled_by_rung_and_watts(story, power_w, settled):
    (command,) = story.want(level=1)
    assert (command.verb, command.level) == (Verb.TRIM, 1)
    found = story.at(8.0, story.hashes(power_w=power_w, level=1, at=8.0))
    assert found == ([("trim", "settled")] if settled else [])


def test_a_trim_whose_watts_fell_but_whose_rung_did_not_is_not_settled(story):
    story.want(level=1)
    assert story.at(8.0, story.hashes(power_w=2_500.0, level=3, at=8.0)) == []


# --- commands that do not -------------------------------------------------------------------------------------------


def test_a_liar_is_asked_three_times_and_then_quarantined(story):
    story.want(hashing=False)
    verdicts, now = [], 0.0
    for _ in range(3):
        now += 19.0
        verdicts += story.at(now, story.hashes(at=now))
        commands = story.due()
        assert len(commands) == (1 if story.verdict() is Verdict.APPROACHING else 0)
    assert verdicts == [("sleep", "stuck"), ("sleep", "stuck"), ("sleep", "quarantined")]
    assert story.events() == ["miner_quarantined"]
    assert story.fleet.to_w[0] == 3_500.0, "its real draw still counts"
    assert story.due() == ()


def test_a_never_waker_is_asked_three_times_and_then_quarantined(sleeper):
    sleeper.want(hashing=True)
    verdicts, now = [], 0.0
    for _ in range(3):
        now += 91.0
        verdicts += sleeper.at(now, sleeper.sleeps(at=now))
        sleeper.due()
    assert verdicts == [("wake", "stuck"), ("wake", "stuck"), ("wake", "quarantined")]
    assert sleeper.fleet.to_w[0] == 50.0


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNSUPPORTED])
def test_refused_three_times_is_quarantined_without_waiting_for_the_deadline(story, outcome):
    (command,) = story.want(hashing=False)
    verdicts = []
    for second in (1.0, 2.0, 3.0):
        report = story.kit.report(command, outcome, second)
        verdicts += story.at(second, reports=[report])
        assert story.due() == (), "it may have obeyed: nobody has looked since"
        verdicts += story.at(second + 0.5, story.hashes())
        command = next(iter(story.due()), None)
    assert verdicts == [("sleep", "stuck"), ("sleep", "stuck"), ("sleep", "quarantined")]
    assert command is None
    assert story.fleet.refused[0]


def test_obeying_once_forgives_the_refusals_before(story):
    (command,) = story.want(hashing=False)
    story.at(1.0, reports=[story.kit.report(command, Outcome.REFUSED, 1.0)])
    story.due()
    story.at(6.0, story.sleeps(at=6.0))
    assert (story.fleet.attempts[0], story.fleet.refused[0]) == (0, False)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ROUNDED, Outcome.UNREACHABLE, Outcome.APPLIED])
def test_a_report_about_a_replaced_command_changes_nothing(story, outcome):
    (old,) = story.want(level=1)
    (new,) = story.want(level=2)
    assert new.command_id > old.command_id
    before = story.state.copy()
    story.at(0.5, reports=[story.kit.report(old, outcome, 0.4, level=0)])
    for name in ("verdict", "want_level", "sent_at", "to_w", "verb", "attempts"):
        assert np.array_equal(getattr(story.fleet, name), getattr(before.fleet, name)), name


def test_quarantine_ends_after_its_time_and_is_twice_as_long_the_next_time(story):
    lengths = []
    for _ in range(2):
        story.want(hashing=False)
        for _ in range(3):
            story.at(story.now + 19.0, story.hashes(at=story.now + 19.0))
            story.due()
        assert story.verdict() is Verdict.QUARANTINED
        lengths.append(story.fleet.quarantined_until[0] - story.now)
        until = float(story.fleet.quarantined_until[0])
        story.at(until - 1.0, story.hashes(at=until - 1.0))
        assert story.verdict() is Verdict.QUARANTINED
        story.at(until)
        assert story.verdict() is Verdict.UNSEEN
        story.at(until + 2.0, story.hashes(at=until + 1.0))
        assert story.verdict() is Verdict.SETTLED
        assert story.fleet.want_hashing[0], "judged afresh: what it does is what is wanted until a plan says otherwise"
    assert lengths == [600.0, 1_200.0]


def test_the_power_of_a_quarantined_miner_is_still_followed(story):
    story.want(hashing=False)
    for _ in range(3):
        story.at(story.now + 19.0, story.hashes(at=story.now + 19.0))
        story.due()
    story.at(story.now + 1.0, story.hashes(power_w=3_300.0, at=story.now + 1.0))
    assert story.fleet.to_w[0] == 3_300.0


# --- commands that never arrived ------------------------------------------------------------------------------------


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


# --- rounding -------------------------------------------------------------------------------------------------------


def test_a_rounded_trim_is_the_plan_from_then_on(story):
    (command,) = story.want(level=0)
    story.at(1.0, reports=[story.kit.report(command, Outcome.ROUNDED, 0.5, level=1)])
    assert story.fleet.want_level[0] == 1
    assert story.fleet.to_w[0] == 2_500.0
    assert story.at(8.0, story.hashes(level=1, power_w=2_500.0, at=8.0)) == [("trim", "settled")]
