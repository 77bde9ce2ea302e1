"""What the site meter shows beyond the miners: an offset that follows it, and what moves it without a meter."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import estimator, flight, offset
from controller.domain.command import Verb
from controller.domain.fleet import Condition
from controller.domain.policy import Feedback
from tests.core.in_flight import put


def follow(kit, state, sample, policy=None, now=None):
    facts = kit.fleet(len(state.fleet.verb))
    at = sample.taken_at if sample is not None and now is None else now
    offset.follow_meter(facts, state, policy or kit.policy(), sample, at or 0.0)


def test_a_meter_that_shows_less_than_miners_lately_told_is_not_followed_below_that(kit):
    """Four of 3.5 kW, one of them on its way to sleep: 10.5 kW are told, give or take 8 %."""
    facts = kit.fleet(4)
    for verb, told_w in ((Verb.SLEEP, 10_500.0), (Verb.WAKE, 14_000.0)):
        state = kit.seen_state(facts, [True] * 4)
        put(facts, state, [3], verb, [50.0 if verb is Verb.SLEEP else 3_500.0], 5.0)
        follow(kit, state, kit.sample(2_000.0, at=5.5))
        predicted_w = state.offset_w + float(estimator.expected_power_w(state.fleet, 5.5).sum())
        assert predicted_w == pytest.approx(0.92 * told_w)


@pytest.mark.parametrize("why", ["stale", "unreachable", "asleep", "estimated", "told nothing"])
def test_who_has_not_told_lately_does_not_stand_against_the_meter(kit, why):
    facts = kit.fleet(1, odd={0: {"reports_power": why != "estimated"}})
    state = kit.seen_state(facts, [True])
    if why == "unreachable":
        state.fleet.condition[0] = Condition.UNREACHABLE
    elif why == "asleep":
        state.fleet.condition[0] = Condition.ASLEEP
    elif why == "told nothing":
        state.fleet.reported_w[0] = np.nan
    at = 100.0 if why == "stale" else 5.0
    offset.follow_meter(facts, state, kit.policy(), kit.sample(1_000.0, at=at), at)
    assert state.offset_w == pytest.approx(1_000.0 - 3_500.0)


def test_the_offset_is_whatever_the_meter_shows_beyond_the_miners(kit):
    state = kit.seen_state(kit.fleet(4), [True, True, False, False])
    follow(kit, state, kit.sample(9_000.0, at=5.0))
    assert state.offset_w == pytest.approx(9_000.0 - 7_100.0)
    assert state.offset_at == 5.0


def test_what_late_boots_have_made_good_is_nothing_that_they_are_ahead_by(kit):
    """Found by harsh seed 9019: ten boots were late, caught up, and passed the cap: they counted as nearly through."""
    facts = kit.fleet(4)
    state = kit.seen_state(facts, [False] * 4)
    follow(kit, state, kit.sample(2_000.0, at=99.0))
    put(facts, state, range(4), Verb.WAKE, [3_500.0] * 4, 100.0)
    for at, behind_w in ((120.0, 2_000.0), (124.0, 2_000.0), (130.0, 0.0)):
        drawn_w = float(estimator.expected_power_w(state.fleet, at).sum())
        follow(kit, state, kit.sample(1_800.0 + drawn_w - behind_w, at=at))
        assert state.late_w == pytest.approx(behind_w)
        assert state.early_w == 0.0
    assert estimator.boots_left_w(state, 130.0) == pytest.approx(4 * (3_500.0 - 2_120.0), abs=1.0)


def test_a_sample_from_before_a_command_took_effect_is_compared_with_that_moment(kit):
    """The meter read at 101.0 s shows the full draw of a miner told to sleep at 100.5 s: no watts of offset."""
    facts = kit.fleet(1)
    state = kit.seen_state(facts, [True])
    put(facts, state, [0], Verb.SLEEP, [50.0], 100.5)
    follow(kit, state, kit.sample(4_500.0, at=101.0))
    assert state.offset_w == pytest.approx(1_000.0)


def test_what_stays_while_others_move_is_none_of_their_timing(kit):
    """Somebody always moves on a site that follows a signal, and their timing could explain any small difference: the
    load was a third of a percent above what was believed for minutes, and rose above an order that turned."""
    state = kit.seen_state(kit.fleet(4), [True] * 4)
    policy = kit.policy(fleet={"deadband_down_w": 500.0})
    follow(kit, state, kit.sample(15_000.0, at=99.0), policy)
    assert state.offset_w == pytest.approx(1_000.0)
    seen = {}
    for at in range(100, 261):
        flight.take_out_of_flight(state.fleet, np.arange(4), 3_500.0)
        put(kit.fleet(4), state, range(4), Verb.TRIM, [2_000.0] * 4, at - 3.0)
        drawn_w = float(estimator.expected_power_w(state.fleet, float(at)).sum())
        follow(kit, state, kit.sample(1_300.0 + drawn_w, at=float(at)), policy)
        seen[at] = state.offset_w - 1_000.0
    assert seen[103] < 60.0, "at first it is theirs"
    assert 150.0 < seen[140] < 240.0
    assert seen[260] == pytest.approx(300.0, abs=20.0)


def test_sleepers_that_are_a_second_late_are_not_taken_for_a_load_that_stays(kit):
    state = kit.seen_state(kit.fleet(4), [True] * 4)
    policy = kit.policy(fleet={"deadband_down_w": 500.0})
    follow(kit, state, kit.sample(15_000.0, at=99.0), policy)
    put(kit.fleet(4), state, range(4), Verb.SLEEP, [50.0] * 4, 100.0)
    before_w = float(estimator.expected_power_w(state.fleet, 101.6).sum())
    follow(kit, state, kit.sample(1_000.0 + before_w, at=102.4), policy)
    late_w = before_w - float(estimator.expected_power_w(state.fleet, 102.4).sum())
    assert late_w > 2_000.0
    assert 0.0 < state.offset_w - 1_000.0 < 100.0, "a share of the noise at most, however many they are"


@pytest.mark.parametrize("at", [5.0, 4.0])
def test_a_sample_no_newer_than_the_last_one_is_not_counted_again(kit, at):
    state = kit.seen_state(kit.fleet(1), [True])
    follow(kit, state, kit.sample(5_000.0, at=5.0))
    follow(kit, state, kit.sample(9_999.0, at=at))
    assert state.offset_w == pytest.approx(1_500.0)


def test_without_a_sample_the_last_offset_stands(kit):
    state = kit.seen_state(kit.fleet(1), [True])
    follow(kit, state, kit.sample(5_000.0, at=5.0))
    for nothing in (None, kit.sample(None, at=6.0)):
        follow(kit, state, nothing)
    assert state.offset_w == pytest.approx(1_500.0)


def test_without_feedback_the_offset_is_the_configured_one_whatever_the_meter_says(kit):
    state = kit.seen_state(kit.fleet(1), [True])
    policy = kit.policy(fleet={"feedback": Feedback.OPEN_LOOP})
    follow(kit, state, kit.sample(9_999.0, at=5.0), policy)
    assert state.offset_w == kit.auxiliary_w


@given(before=st.lists(st.floats(0, 4_000), min_size=3, max_size=3), after=st.lists(st.floats(0, 4_000), min_size=3))
def test_a_revision_keeps_the_prediction_for_the_site(kit, before, after):
    state = kit.seen_state(kit.fleet(3), [True] * 3)
    old, new = np.array(before), np.array(after[:3])
    total = state.offset_w + old.sum()
    offset.revise(state, float((new - old).sum()), 0.0)
    assert state.offset_w + new.sum() == pytest.approx(total)


def test_before_the_first_meter_sample_there_is_no_offset_to_revise(kit):
    state = kit.seen_state(kit.fleet(1), [True])
    state.offset_w = None
    offset.revise(state, 1.0, 0.0)
    assert state.offset_w is None


def test_with_the_meter_gone_what_miners_show_moves_the_prediction(kit):
    """Nobody else says what the site draws: to book it against the offset would hide who disobeys."""
    state = kit.seen_state(kit.fleet(1), [True])
    state.offset_until = 5.0
    offset_w = state.offset_w
    offset.revise(state, 3_450.0, 5.1)
    assert state.offset_w == offset_w


def test_late_boots_are_waited_for_as_long_as_the_meter_is_there(kit):
    """Its samples are seconds apart on some sites: what comes meanwhile it will show."""
    facts = kit.fleet(2)
    state = kit.seen_state(facts, [True, False])
    put(facts, state, [1], Verb.WAKE, [3_500.0], 0.0)
    follow(kit, state, kit.sample(1_000.0 + 3_500.0 + 50.0, at=25.0), now=25.0)
    late_w, offset_w = state.late_w, state.offset_w
    assert late_w > 500.0
    state.offset_until = 70.0
    follow(kit, state, None, now=70.0)
    assert (state.late_w, state.offset_w) == (late_w, offset_w)
    follow(kit, state, None, now=70.1)
    assert state.late_w == 0.0
    assert state.offset_w == offset_w + late_w
