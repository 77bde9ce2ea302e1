"""A sleep that fails in a shed: asked once more by another verb, given up by what is seen and by no word."""

from __future__ import annotations

import pytest

from controller.domain.command import Outcome, Verb
from controller.domain.fleet import Condition, Verdict
from tests.core.verify.conftest import Story


@pytest.fixture
def shed(kit):
    """A shed on one miner that hashes; two attempts, as a site has them by default."""
    story = Story(kit, attempts_max=2)
    story.shed = True
    return story


def no(story, command, at, outcome=Outcome.REFUSED):
    """The miner turns the command away, and the cycle that hears it."""
    return story.at(at, reports=[story.kit.report(command, outcome, at - 0.5)])


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.UNSUPPORTED])
def test_a_refused_sleep_is_asked_again_at_once_by_another_verb(shed, outcome):
    (first,) = shed.want(hashing=False)
    assert (first.urgent, first.escalated) == (True, False)
    assert no(shed, first, 1.0, outcome) == [("sleep", "stuck")]
    (second,) = shed.due()
    assert (second.verb, second.urgent, second.escalated, second.raises) == (Verb.SLEEP, True, True, False)
    assert second.reason == "test, by another verb"


def test_a_sleep_that_is_not_obeyed_by_its_deadline_is_asked_again_by_another_verb(shed):
    (first,) = shed.want(hashing=False)
    shed.at(1.0, reports=[shed.kit.report(first, Outcome.ACKNOWLEDGED, 0.0)])
    assert shed.at(17.9, shed.hashes(at=17.8, power_w=3_000.0)) == []
    assert shed.due() == ()
    assert shed.at(18.1, shed.hashes(at=18.0, power_w=3_000.0)) == [("sleep", "stuck")]
    (second,) = shed.due()
    assert second.escalated


def test_one_that_moves_no_watt_in_the_time_of_its_class_is_not_waited_for(shed):
    (first,) = shed.want(hashing=False)
    shed.at(1.0, reports=[shed.kit.report(first, Outcome.ACKNOWLEDGED, 0.0)])
    assert shed.at(4.0, shed.hashes(at=3.9)) == [], "most are not asleep yet either"
    assert shed.at(4.5, shed.hashes(at=4.1)) == [("sleep", "stuck")]
    (second,) = shed.due()
    assert second.escalated
    shed.at(9.0, shed.hashes(at=8.9))
    assert (shed.verdict(), shed.due()) == (Verdict.APPROACHING, ()), "its last attempt has all of its time"
    shed.at(23.0, shed.hashes(at=22.9))
    assert shed.verdict() is Verdict.QUARANTINED


@pytest.mark.parametrize("reading", [{"power_w": 3_000.0}, {"power_w": None}, {"error_w": 400.0}])
def test_one_that_moves_or_tells_no_watts_of_its_own_has_until_its_deadline(shed, reading):
    shed.want(hashing=False)
    assert shed.at(4.5, shed.hashes(at=4.1, **reading)) == []
    assert shed.due() == ()


def test_nothing_is_believed_gone_before_it_is_seen(shed):
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    shed.due()
    assert (shed.fleet.from_w[0], shed.fleet.to_w[0]) == (3_500.0, 3_500.0)


@pytest.mark.parametrize("outcome", [Outcome.REFUSED, Outcome.ROUNDED])
def test_a_second_no_is_followed_by_a_look_and_the_look_by_quarantine_at_what_it_draws(shed, outcome):
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    (second,) = shed.due()
    assert no(shed, second, 2.0, outcome) == [("sleep", "stuck")]
    assert shed.due() == (), "no attempt is left"
    shed.at(4.0, shed.hashes(at=3.9, power_w=2_900.0, level=0))
    assert (shed.verdict(), shed.due()) == (Verdict.STUCK, ()), "it had not the time to obey yet"
    shed.at(5.5, shed.hashes(at=5.4, power_w=2_000.0, level=0))
    assert (shed.verdict(), shed.events()) == (Verdict.QUARANTINED, ["miner_quarantined"])
    shed.at(6.5, shed.hashes(at=6.4, power_w=2_000.0, level=0))
    assert shed.fleet.to_w[0] == 2_000.0
    assert shed.due() == ()


def test_who_says_no_twice_and_sleeps_all_the_same_is_settled_and_clean(shed):
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    (second,) = shed.due()
    no(shed, second, 2.0)
    shed.at(5.5, shed.sleeps(at=5.4))
    assert (shed.verdict(), int(shed.fleet.attempts[0]), bool(shed.fleet.refused[0])) == (Verdict.SETTLED, 0, False)


def test_one_whose_reads_tell_nothing_is_told_once_more_when_its_time_is_over(shed):
    """It answers, and nobody knows what it does: it counts as drawing, and a second order may be heard."""
    shed.state.shed_since = 0.0
    (first,) = shed.want(hashing=False)
    shed.at(1.0, reports=[shed.kit.report(first, Outcome.ACKNOWLEDGED, 0.0)])
    for second in (5.0, 10.0, 17.0):
        assert shed.at(second, shed.kit.reading(0, Condition.UNKNOWN, None, second)) == []
        assert shed.due() == ()
    shed.at(19.0)
    assert shed.due() == (), "it was on its way when it was read last: the next reading may tell"
    shed.at(20.0, shed.kit.reading(0, Condition.UNKNOWN, None, 19.0))
    (again,) = shed.due()
    assert (again.verb, again.urgent, again.escalated) == (Verb.SLEEP, True, False)
    assert (shed.fleet.from_w[0], shed.fleet.to_w[0]) == (3_500.0, 3_500.0), "no promise is counted on it"
    for second in (40.0, 80.0, 160.0):
        shed.at(second, shed.kit.reading(0, Condition.UNKNOWN, None, second))
        assert shed.due() == (), "twice is enough"
    shed.at(170.0, shed.sleeps(at=169.0))
    assert (shed.verdict(), shed.fleet.to_w[0]) == (Verdict.SETTLED, 50.0)


def test_outside_a_shed_one_whose_reads_tell_nothing_is_not_told_again(story):
    story.want(hashing=False)
    for second in (5.0, 19.0, 60.0):
        story.at(second, story.kit.reading(0, Condition.UNKNOWN, None, second))
        assert story.due() == ()


def test_a_third_attempt_waits_for_a_look(kit):
    shed = Story(kit, attempts_max=3)
    shed.shed = True
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    (second,) = shed.due()
    no(shed, second, 2.0)
    shed.at(3.0, shed.hashes(at=2.9))
    assert shed.due() == ()
    shed.at(6.0, shed.hashes(at=5.9))
    (third,) = shed.due()
    assert third.escalated


def test_no_other_verb_is_used_where_trimming_is_switched_off(kit):
    shed = Story(kit, attempts_max=2, trim=False)
    shed.shed = True
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    (second,) = shed.due()
    assert (second.verb, second.escalated) == (Verb.SLEEP, False)


def test_outside_a_shed_it_is_looked_at_first_and_asked_the_same_again(story):
    (first,) = story.want(hashing=False)
    no(story, first, 1.0)
    assert story.due() == ()
    story.at(2.0, story.hashes(at=1.9))
    (second,) = story.due()
    assert (second.verb, second.escalated) == (Verb.SLEEP, False)


def test_a_miner_that_failed_to_wake_is_first_told_plainly_to_sleep(kit):
    story = Story(kit, hashing=(False,), attempts_max=2)
    (wake,) = story.want(hashing=True)
    no(story, wake, 1.0)
    story.shed = True
    (sleep,) = story.want(hashing=False)
    assert (sleep.verb, sleep.escalated) == (Verb.SLEEP, False)


def test_no_other_verb_is_used_where_trims_do_not_arrive(shed):
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    shed.state.fleet.trims_lost[0], shed.state.fleet.trim_told_at[0] = 2, 0.5
    (second,) = shed.due()
    assert (second.verb, second.escalated) == (Verb.SLEEP, False)


def test_after_an_order_that_never_arrived_the_quickest_way_is_tried_again_first(shed):
    (first,) = shed.want(hashing=False)
    no(shed, first, 1.0)
    (second,) = shed.due()
    assert second.escalated
    no(shed, second, 3.0, Outcome.UNREACHABLE)
    (third,) = shed.want(hashing=False)
    assert (third.verb, third.escalated) == (Verb.SLEEP, False)
