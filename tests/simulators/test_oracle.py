"""The best possible run, in cases that can be worked out by hand."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest

from simulators.benchmark import cap_steps, demo_horizon_s, oracle_fleet
from simulators.oracle import absorbable
from simulators.oracle_case import OracleClass, OracleSite, RampWindow
from simulators.scenario import DEMO

# Ten miners of 1 kW that sleep at 0 W, cannot be trimmed, and answer within a step.
QUICK = OracleClass(
    name="quick",
    count=10,
    hashing_at_start=0,
    full_w=1000.0,
    floor_w=1000.0,
    sleep_w=0.0,
    trim_s=0.0,
    wake_curve=((0.0, 1.0),),
    sleep_curve=((0.0, 1.0),),
    min_hashing_s=0.0,
    min_asleep_s=0.0,
)
BARE = OracleSite(loss_fraction=0.0, fixed_w=0.0, ramps=())


def kwh(*watt_seconds: float) -> float:
    return sum(watt_seconds) / 3.6e6


def test_a_quick_fleet_absorbs_every_watt_below_its_size() -> None:
    cap_w = np.array([3000.0, 8000, 20000, 0, 5000])
    best = absorbable(cap_w, 1.0, [QUICK], BARE)
    np.testing.assert_allclose(best.site_load_w, [3000, 8000, 10000, 0, 5000], atol=0.01)
    assert best.absorbed_kwh == pytest.approx(kwh(26000))
    assert best.excess_kwh == pytest.approx(0.0, abs=1e-9)
    np.testing.assert_allclose(best.hashing[0], [3, 8, 10, 0, 5], atol=1e-4)


def test_dead_time_and_boot_are_lost_at_the_start() -> None:
    """2 s dead, then 4 s straight up: steps at 12.5, 37.5, 62.5 and 87.5 % before full power."""
    slow = replace(QUICK, wake_curve=((2.0, 0.0), (6.0, 1.0)))
    best = absorbable(np.full(10, 50e3), 1.0, [slow], BARE)
    np.testing.assert_allclose(best.site_load_w, [0, 0, 1250, 3750, 6250, 8750, 10e3, 10e3, 10e3, 10e3], atol=1.0)


def test_foresight_wakes_before_the_cap_rises() -> None:
    slow = replace(QUICK, wake_curve=((3.0, 0.0), (3.001, 1.0)))
    cap_w = np.where(np.arange(12) < 6, 0.0, 10e3)
    best = absorbable(cap_w, 1.0, [slow], BARE)
    assert best.absorbed_kwh == pytest.approx(kwh(6 * 10e3), rel=1e-3)


def test_a_fall_of_the_cap_is_met_in_advance_when_sleep_is_slow() -> None:
    slow = replace(QUICK, hashing_at_start=10, sleep_curve=((2.0, 0.0), (2.001, 1.0)))
    cap_w = np.where(np.arange(10) < 5, 10e3, 4e3)
    best = absorbable(cap_w, 1.0, [slow], BARE)
    assert best.absorbed_kwh == pytest.approx(kwh(5 * 10e3 + 5 * 4e3), rel=1e-3)
    assert best.excess_kwh == pytest.approx(0.0, abs=1e-6)


def test_what_nobody_could_avoid_is_excess_and_not_absorbed() -> None:
    """All hash at the start, the cap is zero at once, sleep takes two steps to bite."""
    slow = replace(QUICK, hashing_at_start=10, sleep_curve=((2.0, 0.0), (2.001, 1.0)))
    best = absorbable(np.zeros(6), 1.0, [slow], BARE)
    assert best.excess_kwh == pytest.approx(kwh(2 * 10e3), rel=2e-3)
    assert best.absorbed_kwh == pytest.approx(0.0, abs=1e-6)


def test_the_up_ramp_is_kept() -> None:
    site = replace(BARE, ramps=(RampWindow(1.0, rise_w=500.0, fall_w=None),))
    best = absorbable(np.full(4, 10e3), 1.0, [QUICK], site)
    np.testing.assert_allclose(best.site_load_w, [500, 1000, 1500, 2000], atol=0.01)


def test_the_down_ramp_binds_only_while_the_cap_does_not_fall() -> None:
    """A one-second gap in which nothing may be drawn, after a fall of the cap: shedding is free."""
    fleet = replace(QUICK, hashing_at_start=10)
    site = replace(BARE, ramps=(RampWindow(1.0, rise_w=None, fall_w=100.0),))
    cap_w = np.array([10e3, 10e3, 0.0, 10e3])
    best = absorbable(cap_w, 1.0, [fleet], site)
    np.testing.assert_allclose(best.site_load_w, cap_w, atol=0.01)


def test_the_down_ramp_holds_a_load_that_has_no_cause_to_fall() -> None:
    """Fixed cap; the dwell of the sleepers plays no part: a trimmed start cannot appear from nowhere."""
    fleet = replace(QUICK, hashing_at_start=10, floor_w=0.0)
    site = replace(BARE, ramps=(RampWindow(1.0, rise_w=None, fall_w=100.0),))
    best = absorbable(np.full(5, 20e3), 1.0, [fleet], site)
    np.testing.assert_allclose(best.site_load_w, np.full(5, 10e3), atol=0.01)


def test_a_sleeper_keeps_its_dwell() -> None:
    """The cap closes for one second; who sleeps then stays asleep for four."""
    fleet = replace(QUICK, hashing_at_start=10, min_asleep_s=4.0)
    cap_w = np.array([10e3, 0.0, 10e3, 10e3, 10e3, 10e3, 10e3])
    best = absorbable(cap_w, 1.0, [fleet], BARE)
    np.testing.assert_allclose(best.site_load_w, [10e3, 0, 0, 0, 0, 10e3, 10e3], atol=0.01)


def test_a_woken_miner_keeps_its_dwell() -> None:
    """The cap opens for two seconds; with a dwell of three nobody may wake for it."""
    fleet = replace(QUICK, min_hashing_s=3.0)
    cap_w = np.array([0.0, 10e3, 10e3, 0.0, 0.0, 0.0])
    assert absorbable(cap_w, 1.0, [fleet], BARE).absorbed_kwh == pytest.approx(0.0, abs=1e-6)
    assert absorbable(cap_w, 1.0, [QUICK], BARE).absorbed_kwh == pytest.approx(kwh(20e3))


def test_trim_reaches_between_floor_and_full_and_takes_its_time() -> None:
    """Floor 400 W, 4 s from full to floor: 1.5 kW a second either way; down may begin before the fall."""
    fleet = replace(QUICK, hashing_at_start=10, floor_w=400.0, trim_s=4.0, sleep_curve=((99.0, 0.0), (100.0, 1.0)))
    cap_w = np.array([10e3, 10e3, 10e3, 7e3, 7e3, 10e3, 10e3, 10e3])
    best = absorbable(cap_w, 1.0, [fleet], BARE)
    np.testing.assert_allclose(best.site_load_w, [10e3, 10e3, 8500, 7e3, 7e3, 8500, 10e3, 10e3], atol=0.1)
    assert best.excess_kwh == pytest.approx(0.0, abs=1e-6)


def test_losses_and_fixed_power_count_against_the_cap() -> None:
    site = OracleSite(loss_fraction=0.1, fixed_w=2000.0, ramps=())
    best = absorbable(np.array([7500.0]), 1.0, [QUICK], site)
    assert best.site_load_w[0] == pytest.approx(7500.0)
    assert best.hashing[0][0] == pytest.approx(5.0, rel=1e-4)


def test_a_site_without_miners_absorbs_what_it_draws_anyway() -> None:
    best = absorbable(np.array([5e3, 1e3]), 1.0, [], replace(BARE, fixed_w=2e3))
    assert best.absorbed_kwh == pytest.approx(kwh(3e3))
    assert best.excess_kwh == pytest.approx(kwh(1e3))
    assert best.hashing.shape == (0, 2)


def test_questions_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one step"):
        absorbable(np.array([]), 1.0, [], BARE)
    with pytest.raises(ValueError, match="hashing_at_start"):
        replace(QUICK, hashing_at_start=11)
    with pytest.raises(ValueError, match="end at fraction 1"):
        replace(QUICK, wake_curve=((0.0, 0.0),))


def test_the_demo_has_a_best_run_found_in_seconds() -> None:
    classes, site = oracle_fleet(DEMO)
    assert sum(fleet.count for fleet in classes) == DEMO.fleet.size - 5
    t_s = np.arange(0.0, 181.0, 0.25)
    signal = DEMO.surplus_trace()
    cap_w = np.array([signal.surplus_w(float(t)) for t in t_s])
    steps_w = cap_steps(t_s, cap_w, 180.0, 1.0)
    assert steps_w.shape == (180,)
    began_s = time.process_time()
    best = absorbable(steps_w, 1.0, classes, site)
    assert time.process_time() - began_s < 20.0
    assert best.excess_kwh == pytest.approx(0.0, abs=1e-6)
    assert np.all(best.site_load_w <= steps_w + 0.1)
    assert 0.97 * steps_w.sum() / 3.6e6 < best.absorbed_kwh <= steps_w.sum() / 3.6e6


def test_every_family_stands_in_the_best_run_with_its_own_times_and_range() -> None:
    fleet = replace(
        DEMO.fleet, models=(("s21", 2), ("m60s", 2), ("s19pro", 2)), hashing=3, liars=(), refusers=(), never_wakers=()
    )
    mixed = replace(DEMO, fleet=fleet)
    classes = {each.name: each for each in oracle_fleet(mixed)[0]}
    assert {name: each.wake_curve[0][0] for name, each in classes.items()} == {"s21": 4.5, "m60s": 10.0, "s19pro": 25.0}
    assert {name: each.sleep_curve[0][0] for name, each in classes.items()} == {"s21": 1.0, "m60s": 2.0, "s19pro": 4.0}
    assert classes["m60s"].floor_w == pytest.approx(0.4 * classes["m60s"].full_w, rel=1e-3)
    assert classes["s19pro"].floor_w == classes["s19pro"].full_w, "a change of its mode is a restart, not a trim"
    assert demo_horizon_s(mixed) == pytest.approx(0.5 + 1.0 + 3.0 + 8.0)
    slow = replace(mixed, fleet=replace(fleet, models=(("s19pro", 6),)))
    assert demo_horizon_s(slow) == pytest.approx(0.5 + 1.0 + 6.0 + 5.0)


def test_the_lowest_cap_within_a_step_counts_for_the_step() -> None:
    t_s = np.array([0.0, 0.9, 1.1, 2.0, 3.0])
    steps_w = cap_steps(t_s, np.array([5.0, 3.0, 4.0, 6.0, 6.0]), 3.0, 1.0)
    np.testing.assert_array_equal(steps_w, [3.0, 3.0, 6.0])


def test_the_horizon_of_the_demo_is_what_its_slowest_answer_takes() -> None:
    assert demo_horizon_s(DEMO) == pytest.approx(0.5 + 1.0 + 6.0 + 5.0), "a stock Antminer that is put to sleep"
