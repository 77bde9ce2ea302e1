"""A site that sells regulation follows what it is told: small orders exactly, large ones as fast as it may."""

from __future__ import annotations

import numpy as np
import pytest

from simulators.asic.models import Family
from tests.rig.score.orders import RAMP_PER_MIN, Orders
from tests.rig.score.plant_site import Site10MW, build_site
from tests.rig.score.runs import Run, ours

SETTLED_S = 900.0
STEP_S = 40.0
STEPS = (0.0, 0.01, -0.01, 0.02, 0.005, -0.015)  # of rated, around the base point
TURN_S = 180.0
RATED_W = 1_000_000


@pytest.fixture(scope="module")
def site() -> Site10MW:
    return build_site(1, RATED_W)


@pytest.fixture(scope="module")
def orders(site: Site10MW) -> Orders:
    """Small steps around the base point, then the whole band down, and at its end up again."""
    offer = site.offer
    small = [offer.base_w + share * site.rated_w for share in STEPS]
    band = [offer.base_w - 0.95 * offer.regulation_w, offer.base_w + 0.95 * offer.regulation_w]
    at_s = [SETTLED_S + STEP_S * place for place in range(len(STEPS))]
    turn_s = at_s[-1] + STEP_S
    return Orders(
        name="small and large",
        at_s=np.array([0.0, *at_s, turn_s, turn_s + TURN_S]),
        power_w=np.array([offer.base_w, *small, *band]),
        duration_s=turn_s + 2.0 * TURN_S,
        warm_up_s=SETTLED_S,
        base_w=offer.base_w,
        regulation_w=offer.regulation_w,
    )


@pytest.fixture(scope="module")
def run(site: Site10MW, orders: Orders) -> Run:
    return ours(site, orders)


def test_an_order_of_one_percent_is_kept_to_a_third_of_a_percent(site: Site10MW, orders: Orders, run: Run) -> None:
    """The order has no noise, and that of the meter is smoothed: no fence of one percent is needed around it."""
    for place, share in enumerate(STEPS):
        end = round(SETTLED_S + STEP_S * (place + 1))
        off_w = float(run.load_w[end - 15 : end].mean()) - float(orders.power_w[place + 1])
        assert abs(off_w) <= 0.0033 * site.rated_w, f"order {share:+.1%} missed by {off_w:.0f} W"


def test_a_long_move_is_as_fast_as_its_ramp(site: Site10MW, orders: Orders, run: Run) -> None:
    """Counted from the load, each ramp would wait for itself. The load itself keeps the limit within 15 s."""
    reference_w = orders.limited(float(site.rated_w), float(orders.power_w[0]))
    moving = round(orders.duration_s - SETTLED_S - STEP_S * len(STEPS))
    setpoint_w = run.setpoint_w[-moving:]
    off_w = np.abs(setpoint_w - reference_w[-moving:])
    # 40 % of rated at 95.5 % of the pace, and a second of it.
    assert float(off_w[: round(TURN_S) - 1].max()) <= 0.0215 * site.rated_w
    assert float(off_w[round(TURN_S) :].max()) <= 0.065 * site.rated_w
    rises_w = np.diff(run.load_w[-moving + round(TURN_S) :][::15])
    assert float(rises_w.max()) <= 0.0525 * site.rated_w
    step_w = RAMP_PER_MIN / 60.0 * site.rated_w
    assert float(np.abs(np.diff(setpoint_w)).max()) <= step_w * 1.01


def test_the_load_follows_the_band_within_seconds(site: Site10MW, orders: Orders, run: Run) -> None:
    """What takes seconds to arrive is ordered so much ahead. On the way up the load keeps its limit by a margin."""
    reference_w = orders.limited(float(site.rated_w), float(orders.power_w[0]))
    turn = round(SETTLED_S + STEP_S * len(STEPS))
    for begin, end, most_s in ((turn, turn + round(TURN_S), 5), (turn + round(TURN_S), len(reference_w), 20)):
        late_w = np.array(
            [
                np.abs(run.load_w[begin + most_s : end] - reference_w[begin + most_s - s : end - s])
                for s in range(most_s + 1)
            ]
        )
        assert float(np.percentile(late_w.min(axis=0), 95)) <= 0.015 * site.rated_w


def test_who_follows_the_signal_keeps_hashing(site: Site10MW, run: Run) -> None:
    """Blocks make room when it takes a sleep: a trimmer asleep has no range to give."""
    trims = np.array([model.family is not Family.ANTMINER for model in site.fleet.models])
    assert int(run.starts[trims].sum()) <= 0.03 * int(trims.sum())


def test_a_rise_does_not_stay_above_the_order_where_the_fall_before_it_was_slow(site: Site10MW) -> None:
    """The load's own limit slows a long fall; the set-point meets its line at the turn before it rises with it."""
    top_w, low_w = (site.offer.base_w + side * 0.95 * site.offer.regulation_w for side in (1.0, -1.0))
    turned = Orders(
        name="turned on its way",
        at_s=np.array([0.0, 400.0, 480.0]),
        power_w=np.array([top_w, low_w, top_w]),
        duration_s=560.0,
        warm_up_s=300.0,
        base_w=site.offer.base_w,
        regulation_w=site.offer.regulation_w,
    )
    run = ours(site, turned)
    above_w = run.setpoint_w[-560:] - turned.limited(float(site.rated_w), top_w)
    assert float(above_w[470:480].max()) > 0.02 * site.rated_w, "the test is about a fall that was slow"
    assert float(above_w[492:520].max()) <= 0.0075 * site.rated_w
