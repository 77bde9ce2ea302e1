"""Setpoint x fleet: whom dwell, doubt, verdicts, ownership and feeders leave where they are."""

from __future__ import annotations

import numpy as np
import pytest

from controller.core import estimator
from controller.domain.fleet import Condition, Verdict
from controller.domain.reasons import Unallocated, Why
from tests.core.allocator.hall import ALL_OFF, ALL_ON, Hall
from tests.core.builders import RESPONSE

# --- who may be moved -----------------------------------------------------------------------------------------------


def test_nobody_sleeps_before_its_dwell_is_over(kit):
    hall = Hall(kit, ALL_ON, trim=False, dwell_on_s=900.0)
    boot_s = RESPONSE.wake_dead_s + RESPONSE.wake_90_s
    hall.fleet.changed_at[:] = (-1_000.0, -900.0 - boot_s, -899.0 - boot_s, -10.0)
    hall.allocate(8_100)
    assert hall.asleep() == [0, 1], "the worst two are held, so the next worst go"
    assert hall.why(2) is hall.why(3) is Why.DWELL_ON


def test_dwell_leaves_trim_to_do_what_it_can(kit):
    hall = Hall(kit, ALL_ON, dwell_on_s=900.0)
    hall.fleet.changed_at[:] = -10.0
    hall.allocate(4_000)
    assert hall.asleep() == []
    assert hall.planned_w() == 9_000
    assert hall.plan.unallocated_w == pytest.approx(-5_000)
    assert hall.plan.unallocated_reason is Unallocated.DWELL


@pytest.mark.parametrize("shed", [True, False])
def test_a_deficit_or_a_shed_waives_the_dwell(kit, shed):
    hall = Hall(kit, ALL_ON, trim=False, dwell_on_s=900.0)
    hall.fleet.changed_at[:] = -10.0
    hall.allocate(1_200, shed=shed, waived=True)
    assert hall.asleep() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("power_w", "asleep"),
    [
        pytest.param(8_100, [0, 2], id="the rested sleep, though a restless one is the worst"),
        pytest.param(4_650, [0, 2, 3], id="a restless one follows when that is not enough"),
    ],
)
def test_where_a_limit_is_at_stake_dwell_decides_only_who_goes_first(kit, power_w, asleep):
    hall = Hall(kit, ALL_ON, trim=False, dwell_on_s=900.0)
    hall.fleet.changed_at[:] = (-5_000.0, -10.0, -5_000.0, -10.0)
    hall.allocate(power_w, waived=True)
    assert hall.asleep() == asleep


@pytest.mark.parametrize("hashing", [ALL_ON, ALL_OFF])
def test_in_doubt_nobody_is_woken_or_raised(kit, hashing):
    hall = Hall(kit, hashing, level=0)
    before = hall.fleet.wants()
    hall.allocate(15_000, may_raise=False)
    assert np.array_equal(hall.plan.hashing, before.hashing)
    assert np.array_equal(hall.plan.level, before.level)


def test_in_doubt_the_site_can_still_be_lowered(kit):
    hall = Hall(kit, ALL_ON)
    hall.allocate(9_000, may_raise=False)
    assert hall.planned_w() == 9_000


def test_a_shed_to_nothing_spares_nobody_however_the_prediction_is_biased(kit):
    """The auxiliaries draw less than configured: a shed by arithmetic alone would leave a miner hashing."""
    hall = Hall(kit, ALL_ON)
    hall.state.offset_w = -9_000.0
    hall.allocate(1_200, shed=True, waived=True)
    assert hall.asleep() == [0, 1, 2, 3]


def test_nobody_wakes_before_its_rest_is_over_whatever_is_waived(kit):
    hall = Hall(kit, ALL_OFF, dwell_off_s=600.0)
    hall.fleet.changed_at[:] = (-599.0, -600.0, -10.0, -5_000.0)
    hall.allocate(1_200, lead_w=15_000, waived=True)
    assert hall.awake() == [1, 3]
    assert hall.why(0) is hall.why(2) is Why.DWELL_OFF


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        pytest.param({"verdict": Verdict.QUARANTINED}, Why.QUARANTINED, id="quarantined"),
        pytest.param({"verdict": Verdict.UNSEEN}, Why.UNSEEN, id="unseen"),
        pytest.param({"condition": Condition.UNREACHABLE}, Why.UNREACHABLE, id="unreachable"),
        pytest.param({"condition": Condition.UNKNOWN}, None, id="unknown"),
    ],
)
@pytest.mark.parametrize("hashing", [True, False])
def test_who_cannot_be_trusted_is_in_no_plan_and_its_watts_still_count(kit, spoil, why, hashing):
    hall = Hall(kit, [hashing] * 4)
    for name, value in spoil.items():
        getattr(hall.fleet, name)[1] = value
    draw = float(hall.fleet.to_w[1])
    hall.allocate(1_200 if hashing else 15_000)
    assert bool(hall.plan.hashing[1]) is hashing, "it stays as it is wanted"
    assert {0, 2, 3} == set(hall.asleep() if hashing else hall.awake()) - {1}
    if why is not None:
        assert hall.why(1) is why
    others = [0, 2, 3]
    planned = estimator.planned_power_w(hall.facts, hall.fleet, hall.plan.hashing, hall.plan.level)[others].sum()
    assert hall.plan.allocated_w == pytest.approx(hall.state.offset_w + planned + draw)


def test_a_foreign_sleeper_is_never_woken(kit):
    hall = Hall(kit, ALL_OFF)
    hall.fleet.ours_asleep[:2] = False
    hall.allocate(15_000)
    assert hall.awake() == [2, 3]
    assert hall.why(0) is Why.FOREIGN_SLEEPER


def test_a_stuck_miner_is_not_counted_on_and_another_takes_its_place(kit):
    hall = Hall(kit, ALL_OFF)
    hall.fleet.want_hashing[0] = True
    hall.fleet.verdict[0] = Verdict.STUCK
    hall.allocate(1_200, lead_w=4_650)
    assert 1 in hall.awake()


# --- limits of the tree ---------------------------------------------------------------------------------------------


def test_a_full_feeder_takes_nobody_more_and_the_next_best_elsewhere_wakes(kit):
    facts = kit.fleet(4, feeders=(0, 0, 0, 1), feeder_rating_w=(7_100, 10_000))
    hall = Hall(kit, ALL_OFF, facts=facts)
    hall.allocate(1_200, lead_w=15_000)
    assert hall.awake() == [0, 1, 3]
    assert hall.why(2) is Why.FEEDER_LIMIT


def test_a_feeder_without_room_keeps_its_trimmers_down(kit):
    facts = kit.fleet(4, feeders=(0, 0, 1, 1), feeder_rating_w=(4_600, 50_000))
    hall = Hall(kit, ALL_ON, level=0, facts=facts)
    hall.allocate(15_000)
    assert list(hall.plan.level) == [1, 0, 3, 3]


@pytest.mark.parametrize(("woken_before_s", "level"), [(45.0, 2), (65.0, 3)])
def test_a_boot_that_counts_as_done_takes_the_whole_of_its_rung_from_a_limit(kit, woken_before_s, level):
    """At nine tenths of its way it is settled, and a slow one takes so much longer for the rest (harsh seed 1117)."""
    hall = Hall(kit, [True, True], facts=kit.fleet(2, feeder_rating_w=(6_800,)))
    hall.fleet.changed_at[0] = -woken_before_s
    hall.fleet.to_w[0] = hall.fleet.from_w[0] = 3_200.0
    hall.fleet.want_level[1] = hall.fleet.level[1] = 2
    hall.fleet.to_w[1] = hall.fleet.from_w[1] = 3_000.0
    hall.allocate(15_000)
    assert hall.plan.level[1] == level


@pytest.mark.parametrize("ceiling", [0, 1, 2])
def test_nobody_is_raised_above_what_its_owner_had_set(kit, ceiling):
    hall = Hall(kit, ALL_ON, level=0)
    hall.fleet.ceiling[:] = ceiling
    hall.allocate(100_000)
    assert list(hall.plan.level) == [ceiling] * 4
    woken = Hall(kit, ALL_OFF)
    woken.fleet.ceiling[:] = ceiling
    woken.allocate(100_000)
    assert list(woken.plan.level) == [ceiling] * 4
