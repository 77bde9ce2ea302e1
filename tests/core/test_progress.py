"""Seconds to 50, 90 and 100 % of the last order, at the site meter."""

from __future__ import annotations

import pytest

from controller.core import progress
from controller.core.state import ActiveOrder, OrderBook, State


def with_order(kit, label):
    state = State.fresh(kit.fleet(1), 0.0)
    state.orders = OrderBook((ActiveOrder(kit.order(dispatch_id=label), 10_000, reached=False, ends_at=900.0),))
    return state


def run(kit, to_w, loads, from_w=20_000.0, tolerance_w=800.0):
    """An order at 100 s, then one load a second."""
    state = with_order(kit, "order")
    progress.begin(state, "order", from_w, to_w, 40_000.0, 100.0)
    for second, load in enumerate(loads):
        progress.follow(state, load, tolerance_w, 100.0 + second)
    found = state.progress
    return found.to_50_s, found.to_90_s, found.to_100_s


@pytest.mark.parametrize(
    ("to_w", "loads", "seconds"),
    [
        pytest.param(10_000.0, [20e3, 15.1e3, 15e3, 11.1e3, 11e3, 10e3], (2.0, 4.0, 5.0), id="down step by step"),
        pytest.param(30_000.0, [20e3, 25e3, 29e3, 31e3], (1.0, 2.0, 3.0), id="up, and over the goal"),
        pytest.param(10_000.0, [20e3, 10.7e3], (1.0, 1.0, 1.0), id="inside the tolerance is there"),
        pytest.param(10_000.0, [20e3, 14e3, 18e3, 16e3], (1.0, None, None), id="a share reached once stays reached"),
        pytest.param(10_000.0, [20e3, None, None], (None, None, None), id="no meter, no progress"),
        pytest.param(20_500.0, [20e3], (0.0, 0.0, 0.0), id="a step that drowns in the noise is there at once"),
        pytest.param(20_000.0, [20e3, 5e3], (0.0, 0.0, 0.0), id="no step at all"),
    ],
)
def test_the_shares_of_the_way_are_entered_when_the_meter_first_shows_them(kit, to_w, loads, seconds):
    assert run(kit, to_w, loads) == seconds


def test_a_new_order_starts_from_nothing(kit):
    state = with_order(kit, "first")
    progress.begin(state, "first", 20_000.0, 10_000.0, 40_000.0, 0.0)
    progress.follow(state, 10_000.0, 800.0, 5.0)
    progress.begin(state, "second", 10_000.0, 20_000.0, 40_000.0, 6.0)
    assert (state.progress.label, state.progress.to_100_s) == ("second", None)


def test_without_an_order_there_is_nothing_to_follow(kit):
    state = State.fresh(kit.fleet(1), 0.0)
    progress.follow(state, 10_000.0, 800.0, 5.0)
    assert state.progress is None


def test_what_moves_the_site_after_the_order_ended_is_not_its_doing(kit):
    state = with_order(kit, "order")
    progress.begin(state, "order", 20_000.0, 10_000.0, 40_000.0, 0.0)
    progress.follow(state, 19_000.0, 800.0, 1.0)
    state.orders = OrderBook()
    progress.follow(state, 10_000.0, 800.0, 100.0)
    assert (state.progress.to_50_s, state.progress.to_100_s) == (None, None)
