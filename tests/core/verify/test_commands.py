"""Sent is not done: commands that work, and commands that do not."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Verdict

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


# --- rounding -------------------------------------------------------------------------------------------------------


def test_a_rounded_trim_is_the_plan_from_then_on(story):
    (command,) = story.want(level=0)
    story.at(1.0, reports=[story.kit.report(command, Outcome.ROUNDED, 0.5, level=1)])
    assert story.fleet.want_level[0] == 1
    assert story.fleet.to_w[0] == 2_500.0
    assert story.at(8.0, story.hashes(level=1, power_w=2_500.0, at=8.0)) == [("trim", "settled")]
