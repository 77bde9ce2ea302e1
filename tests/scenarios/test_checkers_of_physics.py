"""The harsh swarm's judges of the ledger and of limit cycles, on runs written by hand."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from tests.rig.check_physics import STILL_S, ledger_balances, no_limit_cycle, strongest_line
from tests.scenarios.written_runs import RATED_W, SECONDS, SETUP, UNIT_W, falling, written


def test_a_ledger_that_expects_what_flows_is_fine_and_one_that_does_not_is_seen():
    steady = written(falling(1.0))
    assert ledger_balances(SETUP, steady) == []
    for sign in (-1.0, 1.0):
        off_w = sign * (0.03 * RATED_W + UNIT_W)
        record = written(falling(1.0))
        record.cycles = [replace(row, expected_w=row.expected_w + off_w) for row in record.cycles]
        (breach,) = ledger_balances(SETUP, record)
        assert breach.at_s > SECONDS - 20.0
        assert f"{off_w / 1e3:+.1f} kW" in breach.text


def test_a_ledger_that_knows_nothing_is_not_taken_for_one_that_balances():
    """Nothing expected is no figure to judge: the other checkers see a core that does not know its site."""
    record = written(falling(1.0))
    record.cycles = [replace(row, expected_w=None) for row in record.cycles]
    assert ledger_balances(SETUP, record) == []
    record.cycles[-1] = replace(record.cycles[-1], expected_w=0.0)
    assert len(ledger_balances(SETUP, record)) == 1


def swinging(amplitude_w, period_s):
    return lambda t_s: 0.6 * RATED_W + amplitude_w * math.sin(2.0 * math.pi * t_s / period_s)


@pytest.mark.parametrize("period_s", [4.0, 12.0, 30.0])
def test_a_load_that_swings_by_more_than_a_unit_is_seen_with_its_period(period_s):
    assert no_limit_cycle(SETUP, written(swinging(0.5 * UNIT_W, period_s))) == []
    (breach,) = no_limit_cycle(SETUP, written(swinging(1.5 * UNIT_W, period_s)))
    said_s = float(breach.text.split(" at ")[1].split(" s")[0])
    assert said_s == pytest.approx(period_s, rel=0.15, abs=1.0)


def test_noise_and_a_climb_are_no_cycle():
    noise = np.random.default_rng(4).normal(0.0, 0.3 * UNIT_W, 100_000)
    assert no_limit_cycle(SETUP, written(lambda t_s: 0.6 * RATED_W + noise[round(t_s / SETUP.tick_s)])) == []
    assert no_limit_cycle(SETUP, written(lambda t_s: t_s / SECONDS * RATED_W)) == []


def test_a_swing_before_the_calm_is_not_judged():
    quiet_s = SECONDS - STILL_S
    assert no_limit_cycle(SETUP, written(lambda t_s: swinging(3.0 * UNIT_W, 12.0)(min(t_s, quiet_s)))) == []


def test_the_strongest_line_is_found_with_its_amplitude():
    at_s = np.arange(0.0, 100.0, 0.1)
    load_w = 50.0 * at_s + 700.0 * np.sin(2.0 * np.pi * at_s / 10.0) + 200.0 * np.sin(2.0 * np.pi * at_s / 4.0)
    amplitude_w, period_s = strongest_line(load_w, 0.1)
    assert amplitude_w == pytest.approx(700.0, rel=0.1)
    assert period_s == pytest.approx(10.0, rel=0.05)
