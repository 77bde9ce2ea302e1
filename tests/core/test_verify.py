"""Sent is not done: what readings and outcomes prove about one miner, told as short stories.

The miner: asleep after 1 s + 3 s, awake after 10 s + 30 s, trimmed after 1 s + 5 s. A command is overdue at twice that
and 10 s more: 18 s, 90 s and 22 s.
"""

from __future__ import annotations

import math

import numpy as np
import pytest

from controller.core import estimator, mass, reconcile, telemetry, verify
from controller.core.consequences import Findings
from controller.domain.fleet import Condition, Outcome, Verb, Verdict

HASHING, ASLEEP = Condition.HASHING, Condition.ASLEEP


class Story:
    """A fleet of `n` miners, one command at a time, telemetry by hand."""

    def __init__(self, kit, hashing=(True,), **fleet):
        self.kit = kit
        self.policy = kit.policy(fleet=fleet).fleet
        self.facts = kit.fleet(len(hashing))
        self.state = kit.seen_state(self.facts, hashing)
        self.now = 0.0
        self.findings = Findings()

    @property
    def fleet(self):
        return self.state.fleet

    def verdict(self, miner=0):
        return Verdict(int(self.fleet.verdict[miner]))

    def want(self, hashing=None, level=None, miner=0):
        """Change what is wanted and send what that takes."""
        before = self.fleet.wants()
        if hashing is not None:
            self.fleet.want_hashing[miner] = hashing
        if level is not None:
            self.fleet.want_level[miner] = level
        return self.due(before)

    def due(self, before=None):
        before = before or self.fleet.wants()
        return reconcile.commands_due(self.facts, before, self.state, self.policy, False, "test", self.now)

    def at(self, now, *readings, reports=()):
        """One cycle's verification; returns the verdicts it reported."""
        self.now = now
        self.findings = Findings()
        said_no = verify.take_reports(self.facts, self.state, tuple(reports), now, self.findings)
        fresh = telemetry.take_readings(self.facts, self.state, self.policy, tuple(readings), now, self.findings)
        mass.notice(self.facts, self.state, self.policy, fresh, now, self.findings)
        verify.judge(self.facts, self.state, self.policy, fresh, said_no, now, self.findings)
        return [(report.verb, report.verdict) for report in self.findings.verdicts]

    def hashes(self, at=None, power_w=3_500.0, level=3, miner=0, **rest):
        return self.kit.reading(miner, HASHING, power_w, self.now if at is None else at, level=level, **rest)

    def sleeps(self, at=None, power_w=50.0, miner=0):
        return self.kit.reading(miner, ASLEEP, power_w, self.now if at is None else at)

    def events(self):
        return [event.name for event in self.findings.events]


@pytest.fixture
def story(kit):
    return Story(kit)


@pytest.fixture
def sleeper(kit):
    return Story(kit, hashing=(False,))


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


@pytest.mark.parametrize("hashing", [True, False])
def test_a_command_that_never_arrived_is_no_stay_hashing_or_asleep(kit, hashing):
    """Dwell counts what the miner did. A lost message must not keep it where it is for another quarter of an hour."""
    story = Story(kit, hashing=(hashing,))
    story.fleet.changed_at[0] = -5_000.0
    (command,) = story.want(hashing=not hashing)
    story.at(1.0, reports=[kit.report(command, Outcome.WITHHELD, 0.5)])
    assert story.fleet.changed_at[0] == -5_000.0


def test_a_trim_that_never_arrived_is_planned_from_where_the_miner_is(story):
    (command,) = story.want(level=0)
    story.at(1.0, reports=[story.kit.report(command, Outcome.WITHHELD, 0.5)])
    assert story.fleet.want_level[0] == 3


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


# --- rounding -------------------------------------------------------------------------------------------------------


def test_a_rounded_trim_is_the_plan_from_then_on(story):
    (command,) = story.want(level=0)
    story.at(1.0, reports=[story.kit.report(command, Outcome.ROUNDED, 0.5, level=1)])
    assert story.fleet.want_level[0] == 1
    assert story.fleet.to_w[0] == 2_500.0
    assert story.at(8.0, story.hashes(level=1, power_w=2_500.0, at=8.0)) == [("trim", "settled")]


# --- the books stay balanced ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("power_w", [3_000.0, 3_300.0, 3_900.0, None])
def test_what_telemetry_says_of_a_miner_does_not_move_the_prediction_for_the_site(story, power_w):
    """The meter knows what the site draws; a miner's own figure only says whose watts they are."""
    total = story.state.offset_w + estimator.expected_power_w(story.fleet, 1.0).sum()
    story.at(1.0, story.hashes(power_w=power_w, at=1.0))
    assert story.state.offset_w + estimator.expected_power_w(story.fleet, 1.0).sum() == pytest.approx(total)
