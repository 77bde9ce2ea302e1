"""What a run is worth, on series small enough to work out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulators.accounting import (
    Moves,
    count_moves,
    energy_kwh,
    percentiles,
    trailing_max,
    violation,
    violation_horizon_s,
)


def test_a_sample_holds_until_the_next_so_energy_has_no_half_steps() -> None:
    t_s = np.array([0.0, 1800.0, 3600.0])
    assert energy_kwh(t_s, np.array([2000.0, 4000.0, 9e9])) == pytest.approx(3.0)


def test_time_that_does_not_rise_is_refused() -> None:
    with pytest.raises(ValueError, match="must rise"):
        energy_kwh(np.array([0.0, 0.0]), np.array([1.0, 1.0]))


@pytest.mark.parametrize(
    ("series", "moves"),
    [
        ([], Moves(0, 0)),
        ([5, 5, 5], Moves(0, 0)),
        ([0, 9, 0, 9], Moves(0, 0)),
        ([0, 10], Moves(1, 0)),
        ([10, 0], Moves(0, 1)),
        ([0, 4, 8, 12, 30], Moves(1, 0)),
        ([0, 12, 8, 20, 15, 40], Moves(1, 0)),
        ([0, 20, 5, 20, 5], Moves(2, 2)),
        ([0, 5, -6, 6], Moves(1, 1)),
        ([0, 30, 21, 29, 19], Moves(1, 1)),
    ],
)
def test_moves_count_turning_points_with_hysteresis(series: list[float], moves: Moves) -> None:
    assert count_moves(np.array(series, dtype=np.float64), 10.0) == moves


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=60))
def test_moves_alternate_and_turn_round_with_the_series(values: list[float]) -> None:
    series = np.array(values)
    moves, mirrored = count_moves(series, 7.0), count_moves(-series, 7.0)
    assert abs(moves.up - moves.down) <= 1
    assert (moves.up, moves.down) == (mirrored.down, mirrored.up)


def test_a_threshold_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="above 0"):
        count_moves(np.array([1.0]), 0.0)


@given(
    st.lists(st.tuples(st.floats(0.1, 3.0), st.floats(0, 100)), min_size=1, max_size=40),
    st.sampled_from([0.0, 0.5, 2.0, 7.0]),
)
def test_the_trailing_maximum_equals_the_plain_definition(rows: list[tuple[float, float]], window_s: float) -> None:
    t_s = np.cumsum([gap for gap, _ in rows])
    values = np.array([value for _, value in rows])
    expected = [
        max(values[k] for k in range(i + 1) if k == i or t_s[k + 1] > t_s[i] - window_s) for i in range(len(rows))
    ]
    np.testing.assert_array_equal(trailing_max(t_s, values, window_s), expected)


# Cap falls from 100 to 60 at 2 s; the load follows at 5 s. Rated 100, so 1 W of tolerance.
T_S = np.arange(0.0, 10.0)
CAP_W = np.where(T_S < 2, 100.0, 60.0)
LOAD_W = np.where(T_S < 5, 90.0, 60.5)


def test_the_raw_violation_counts_from_the_fall_of_the_cap() -> None:
    found = violation(T_S, LOAD_W, CAP_W, rated_w=100.0, horizon_s=0.0)
    assert (found.total_s, found.longest_s) == (3.0, 3.0)
    assert found.excess_kwh == pytest.approx(3 * 29.0 / 3.6e6)


@pytest.mark.parametrize(("horizon_s", "left_s"), [(1.0, 2.0), (2.0, 1.0), (3.0, 0.0), (15.0, 0.0)])
def test_the_net_violation_leaves_out_what_the_horizon_excuses(horizon_s: float, left_s: float) -> None:
    assert violation(T_S, LOAD_W, CAP_W, 100.0, horizon_s).total_s == left_s


def test_a_load_within_one_percent_of_rated_is_no_violation() -> None:
    assert violation(T_S, CAP_W + 1.0, CAP_W, 100.0, 0.0).total_s == 0.0
    assert violation(T_S, CAP_W + 1.1, CAP_W, 100.0, 0.0).total_s == 9.0


def test_the_longest_run_is_not_the_sum_of_runs() -> None:
    load_w = np.array([0.0, 9, 9, 0, 9, 0, 0])
    found = violation(np.arange(7.0), load_w, np.zeros(7), rated_w=100.0, horizon_s=0.0)
    assert (found.total_s, found.longest_s) == (3.0, 2.0)


def test_the_horizon_adds_up_and_is_limited() -> None:
    assert violation_horizon_s(0.5, 1.0, 1.5, 4.0) == 7.0
    assert violation_horizon_s(1.0, 1.0, 10.0, 30.0) == 15.0


def test_nothing_measured_is_not_zero() -> None:
    assert percentiles([]) is None


def test_percentiles_of_a_hundred_values() -> None:
    found = percentiles(float(value) for value in range(101))
    assert found is not None
    assert (found.p50, found.p95, found.p99, found.max, found.count) == (50.0, 95.0, 99.0, 100.0, 101)
