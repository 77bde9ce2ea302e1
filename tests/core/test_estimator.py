"""What the fleet draws and will draw: the in-flight ledger."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import estimator, flight
from controller.domain.command import Verb
from tests.core.in_flight import launch, put


@pytest.mark.parametrize(
    ("verb", "hashing", "to_w", "after_s", "watts"),
    [
        # sleep: 1 s dead, nine tenths of the way 3 s later, then a tenth of the rest every 3 s
        (Verb.SLEEP, True, 50.0, 0.0, 3_500.0),
        (Verb.SLEEP, True, 50.0, 1.0, 3_500.0),
        (Verb.SLEEP, True, 50.0, 4.0, 395.0),
        (Verb.SLEEP, True, 50.0, 7.0, 84.5),
        (Verb.SLEEP, True, 50.0, 600.0, 50.0),
        # wake: 10 s dead, then a straight line to nine tenths at 30 s
        (Verb.WAKE, False, 3_500.0, 10.0, 50.0),
        (Verb.WAKE, False, 3_500.0, 25.0, 50.0 + 0.45 * 3_450.0),
        (Verb.WAKE, False, 3_500.0, 40.0, 50.0 + 0.90 * 3_450.0),
        (Verb.WAKE, False, 3_500.0, 44.0, 3_500.0),
        (Verb.WAKE, False, 3_500.0, 600.0, 3_500.0),
        # trim: 1 s dead, 5 s
        (Verb.TRIM, True, 2_500.0, 0.5, 3_500.0),
        (Verb.TRIM, True, 2_500.0, 6.0, 2_600.0),
        (Verb.TRIM, True, 2_500.0, 600.0, 2_500.0),
    ],
)
def test_a_command_in_flight_draws_as_its_class_answers(kit, verb, hashing, to_w, after_s, watts):
    _, state = launch(kit, verb, hashing, to_w)
    assert estimator.expected_power_w(state.fleet, 100.0 + after_s)[0] == pytest.approx(watts, abs=0.5)
    assert estimator.expected_one_w(state.fleet, 0, 100.0 + after_s) == pytest.approx(watts, abs=0.5)


def test_a_command_that_replaces_another_starts_where_the_first_had_got(kit):
    facts, state = launch(kit, Verb.SLEEP, True, 50.0)
    halfway = estimator.expected_power_w(state.fleet, 102.0)[0]
    put(facts, state, [0], Verb.TRIM, [2_000.0], 102.0)
    assert state.fleet.from_w[0] == pytest.approx(halfway)
    assert estimator.expected_power_w(state.fleet, 102.0)[0] == pytest.approx(halfway)


def test_soon_counts_quick_moves_whole_and_boots_as_far_as_they_will_be(kit):
    facts = kit.fleet(3)
    state = kit.seen_state(facts, [True, True, False])
    put(facts, state, [0], Verb.SLEEP, [50.0], 100.0)
    put(facts, state, [1], Verb.TRIM, [2_000.0], 100.0)
    put(facts, state, [2], Verb.WAKE, [3_500.0], 100.0)
    soon = estimator.expected_soon_w(state.fleet, 100.0, 6.0)
    assert list(soon) == [50.0, 2_000.0, 50.0]
    later = estimator.expected_soon_w(state.fleet, 119.0, 6.0)
    assert 50.0 + 0.449 * 3_450.0 <= later[2] <= 50.0 + 0.75 * 3_450.0, (
        "half way at the horizon, or a hasty boot's more"
    )


moves = st.lists(
    st.tuples(st.integers(0, 4), st.sampled_from(Verb), st.floats(50, 3_500), st.floats(0, 30)), max_size=12
)


@given(moves=moves, wait_s=st.floats(0, 200))
def test_every_miner_in_the_ledger_is_between_where_it_was_and_where_it_goes(kit, moves, wait_s):
    facts = kit.fleet(5)
    state = kit.seen_state(facts, [True, False, True, False, True])
    now = 0.0
    for miner, verb, to_w, pause in moves:
        now += pause
        before = estimator.expected_power_w(state.fleet, now)
        put(facts, state, [miner], verb, [to_w], now)
        after = estimator.expected_power_w(state.fleet, now)
        assert after == pytest.approx(before), "entering a command moves no watt by itself"
    fleet = state.fleet
    expected = estimator.expected_power_w(fleet, now + wait_s)
    assert [estimator.expected_one_w(fleet, miner, now + wait_s) for miner in range(5)] == pytest.approx(expected)
    assert np.all(expected >= np.minimum(fleet.from_w, fleet.to_w) - 1e-9)
    assert np.all(expected <= np.maximum(fleet.from_w, fleet.to_w) + 1e-9)
    assert estimator.expected_power_w(fleet, now + 1e6) == pytest.approx(fleet.to_w)


def test_what_left_the_ledger_draws_what_was_seen(kit):
    _, state = launch(kit, Verb.SLEEP, True, 50.0)
    flight.take_out_of_flight(state.fleet, np.array([0]), 3_300.0)
    for at in (100.0, 101.0, 1_000.0):
        assert estimator.expected_power_w(state.fleet, at)[0] == 3_300.0


def test_a_plan_is_priced_by_each_miners_own_ratio_and_by_sleep_watts(kit):
    facts = kit.fleet(3)
    state = kit.seen_state(facts, [True, True, False])
    state.fleet.ratio[:] = (1.1, 1.0, 1.2)
    planned = estimator.planned_power_w(facts, state.fleet, np.array([True, True, False]), np.array([3, 0, 3]))
    assert list(planned) == pytest.approx([3_850.0, 2_000.0, 50.0])
