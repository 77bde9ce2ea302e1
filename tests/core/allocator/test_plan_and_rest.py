"""Setpoint x fleet: what could not be placed and why; plan and rest are the setpoint, whatever is given."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import allocator, estimator, flight
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.reasons import Unallocated
from tests.core.allocator.hall import ALL_OFF, ALL_ON, Hall

# --- what could not be placed ---------------------------------------------------------------------------------------


def test_everything_placed_leaves_nothing_unallocated(kit):
    hall = Hall(kit, ALL_ON)
    hall.allocate(15_000)
    assert (hall.plan.unallocated_w, hall.plan.unallocated_reason) == (0.0, Unallocated.NONE)


def test_less_than_a_rung_is_a_matter_of_step_size(kit):
    hall = Hall(kit, ALL_ON, deadband_up_w=600.0)
    hall.allocate(14_700)
    assert hall.plan.unallocated_w == pytest.approx(200)
    assert hall.plan.unallocated_reason is Unallocated.STEP_SIZE


def test_more_than_the_fleet_can_draw_is_said_so(kit):
    hall = Hall(kit, ALL_ON)
    hall.allocate(30_000)
    assert hall.plan.unallocated_w == pytest.approx(15_000)
    assert hall.plan.unallocated_reason is Unallocated.NO_MINERS_LEFT


def test_less_than_the_floor_is_said_so(kit):
    hall = Hall(kit, ALL_OFF)
    hall.allocate(0)
    assert hall.plan.unallocated_w == pytest.approx(-1_200)
    assert hall.plan.unallocated_reason is Unallocated.FLOOR


def test_what_rests_is_the_reason_why_it_cannot_be_placed(kit):
    hall = Hall(kit, ALL_OFF, dwell_off_s=600.0)
    hall.fleet.changed_at[:] = -10.0
    hall.allocate(15_000)
    assert hall.plan.unallocated_reason is Unallocated.DWELL


def test_a_full_feeder_is_the_reason_why_it_cannot_be_placed(kit):
    hall = Hall(kit, ALL_OFF, facts=kit.fleet(4, feeder_rating_w=(300,)))
    hall.allocate(15_000)
    assert hall.plan.unallocated_reason is Unallocated.FEEDER_LIMIT


def test_a_boot_on_its_way_is_the_reason_why_it_is_not_there_yet(kit):
    hall = Hall(kit, [True, False, False, False])
    hall.fleet.want_hashing[1] = True
    flight.put_in_flight(hall.facts, hall.state, np.array([1]), Verb.WAKE, np.array([3_500.0]), 0.0, np.array([90.0]))
    hall.allocate(15_000, lead_w=5_000, now=1.0)
    assert hall.plan.unallocated_w > 0
    assert hall.plan.unallocated_reason is Unallocated.BOOTING


def test_what_is_ordered_ahead_of_the_ramp_is_said_so(kit):
    """The set-point is what was promised for now; trims ordered for the next seconds stand above or below it."""
    hall = Hall(kit, ALL_ON, level=1)
    hall.allocate(11_000, ahead_w=1_000)
    assert (hall.plan.allocated_w, hall.plan.unallocated_w) == (pytest.approx(12_000), pytest.approx(-1_000))
    assert hall.plan.unallocated_reason is Unallocated.AHEAD
    hall = Hall(kit, ALL_ON)
    hall.allocate(14_000, ahead_w=-1_000)
    assert (hall.plan.allocated_w, hall.plan.unallocated_w) == (pytest.approx(13_000), pytest.approx(1_000))
    assert hall.plan.unallocated_reason is Unallocated.AHEAD


def test_what_is_ordered_ahead_of_a_fall_puts_nobody_more_to_sleep_than_its_end(kit):
    """Forty units, 81 kW at their lowest rungs: at the end of the fall, 79 kW, two have to sleep."""
    asleep = []
    for power_w, ahead_w in ((100_000, 0.0), (100_000, -5_000.0), (95_000, 0.0)):
        hall = Hall(kit, [True] * 40)
        hall.allocate(power_w, lead_w=79_000, ahead_w=ahead_w)
        asleep.append(len(hall.asleep()))
    assert asleep[1] == asleep[2] == 2, "as a set-point that is there"


def test_what_dwell_holds_is_said_so_though_somebody_boots(kit):
    hall = Hall(kit, [True, True, True, False], dwell_on_s=600.0, deadband_down_w=10.0)
    hall.fleet.want_hashing[3] = True
    boot_w = np.array([3_500.0])
    flight.put_in_flight(hall.facts, hall.state, np.array([3]), Verb.WAKE, boot_w, 0.0, np.array([90.0]))
    hall.fleet.changed_at[:] = -10.0
    hall.allocate(5_500, now=1.0)
    assert hall.plan.unallocated_w < -1_000
    assert hall.plan.unallocated_reason is Unallocated.DWELL


def test_trim_stands_in_for_a_boot_until_its_watts_are_there(kit):
    """Who follows an order would be short of what boots bring within the slowest trim's time, as long as they boot."""
    hall = Hall(kit, [True, True, True, False], level=1)
    hall.fleet.want_hashing[3] = True
    boot_w = np.array([3_500.0])
    flight.put_in_flight(hall.facts, hall.state, np.array([3]), Verb.WAKE, boot_w, 0.0, np.array([90.0]))
    trim_s, now = estimator.trim_horizon_s(hall.facts), 20.0
    setpoint_w = hall.state.offset_w + float(estimator.expected_soon_w(hall.fleet, now, trim_s).sum()) + 400.0
    limit = hall.allocate(setpoint_w, lead_w=15_000, waived=True, now=now)
    assert limit.level.tolist()[:3] == [1, 1, 1], "a rung is 500 W"
    order = hall.allocate(setpoint_w, lead_w=15_000, now=now)
    assert max(order.level.tolist()[:3]) > 1, "the boot's next watts are not there yet"
    assert order.unallocated_reason is Unallocated.AHEAD


@pytest.mark.parametrize(
    "waived", [pytest.param(True, id="a limit waits"), pytest.param(False, id="an order does not")]
)
def test_trim_stands_in_for_a_sleeper_until_its_watts_are_gone(kit, waived):
    """A fall began with blocks alone, and moved when these did: five seconds late."""
    hall = Hall(kit, [True] * 40)
    blocks = np.arange(36, 40)
    hall.fleet.want_hashing[blocks] = False
    flight.put_in_flight(hall.facts, hall.state, blocks, Verb.SLEEP, np.full(4, 50.0), 0.0, np.full(4, 30.0))
    plan = hall.allocate(127_200, waived=waived, now=1.0)
    still_w = float(estimator.expected_power_w(hall.fleet, 3.0)[blocks].sum()) - 4 * 50.0
    if waived:
        assert plan.unallocated_w == pytest.approx(0.0), "what it takes is asleep"
        return
    assert plan.unallocated_w == pytest.approx(still_w, abs=500.0), "a rung, of what the four still draw by then"
    assert plan.unallocated_reason is Unallocated.AHEAD
    assert len(hall.asleep()) == 4, "nobody sleeps for it"


def test_a_fall_that_begins_with_sleepers_begins_with_trims(kit):
    hall = Hall(kit, [True] * 40)
    hall.allocate(135_000, lead_w=79_000, ahead_w=-1_000)
    assert len(hall.asleep()) == 2, "at its end more have to sleep"
    trimmed_w = 40 * 3_500.0 + 1_000.0 - hall.plan.allocated_w - 2 * 3_450.0
    assert 2_000.0 <= trimmed_w <= 2_500.0, "a third of their 6.9 kW is still drawn when a trim has moved"


def test_without_a_goal_nothing_changes(kit):
    hall = Hall(kit, [True, True, False, False])
    before = hall.fleet.copy()
    hall.allocate(None)
    assert np.array_equal(hall.fleet.want_hashing, before.want_hashing)
    assert np.array_equal(hall.fleet.want_level, before.want_level)
    assert hall.plan.unallocated_w == 0.0


def test_what_the_site_could_add_and_shed(kit):
    hall = Hall(kit, [True, True, False, False], level=0, dwell_off_s=600.0)
    hall.fleet.changed_at[3] = -10.0
    up, down = allocator.available_w(hall.facts, hall.state, hall.policy.fleet, 0.0)
    assert up == pytest.approx(2 * 1_500 + 3_450), "two rise to the top, one wakes from its 50 W, one still rests"
    assert down == pytest.approx(2 * 1_950)


def test_a_unit_no_longer_needed_is_let_go_only_after_the_memory_of_the_peak(kit):
    hall = Hall(kit, ALL_ON, level=0, margin_memory_s=60.0)
    hall.allocate(9_000, now=1.0)
    hall.state.now = 1.0
    assert hall.asleep() == []
    hall.state.cap_peak_w = 15_000.0
    hall.allocate(9_000, lead_w=5_000, now=2.0)
    assert hall.asleep() == [], "the peak of late still counts"


# --- arithmetic -----------------------------------------------------------------------------------------------------

conditions = st.sampled_from([Condition.HASHING, Condition.ASLEEP, Condition.UNREACHABLE, Condition.UNKNOWN])
miners = st.lists(
    st.tuples(
        conditions,
        st.sampled_from(Verdict),
        st.integers(0, 3),  # rung
        st.integers(0, 3),  # ceiling
        st.floats(0.8, 1.2),  # ratio
        st.booleans(),  # ours
        st.floats(0, 2_000),  # seconds since it changed
        st.none() | st.sampled_from(Verb),
    ),
    min_size=1,
    max_size=8,
)


@given(
    miners=miners,
    setpoint=st.floats(0, 40_000),
    lead=st.floats(0, 40_000),
    shed=st.booleans(),
    waived=st.booleans(),
    may_raise=st.booleans(),
    trim=st.booleans(),
    rating=st.integers(1_000, 30_000),
    offset=st.floats(-2_000, 5_000),
)
def test_plan_and_rest_are_the_setpoint_and_no_limit_is_passed(
    kit, miners, setpoint, lead, shed, waived, may_raise, trim, rating, offset
):
    n = len(miners)
    facts = kit.fleet(n, feeders=[index % 2 for index in range(n)], feeder_rating_w=(rating, 20_000))
    hall = Hall(kit, [False] * n, facts=facts, trim=trim, dwell_on_s=900.0, dwell_off_s=600.0)
    hall.state.offset_w = offset
    fleet = hall.fleet
    for index, (condition, verdict, rung, ceiling, ratio, ours, age, verb) in enumerate(miners):
        on = condition == Condition.HASHING
        fleet.condition[index], fleet.verdict[index] = condition, verdict
        fleet.ceiling[index], fleet.ratio[index], fleet.ours_asleep[index] = ceiling, ratio, ours
        fleet.want_hashing[index], fleet.want_level[index] = on, min(rung, ceiling)
        fleet.changed_at[index] = 1_000.0 - age
        draw = facts.level_power_w[index, min(rung, ceiling)] * ratio if on else 50.0
        fleet.from_w[index] = fleet.to_w[index] = draw
        if verb is not None and on:
            flight.put_in_flight(facts, hall.state, np.array([index]), verb, np.array([draw]), 995.0, np.array([60.0]))
    fleet.read_at[:] = 1_000.0
    before = fleet.copy()
    plan = hall.allocate(setpoint, lead, shed, waived, may_raise, now=1_000.0)

    assert plan.allocated_w + plan.unallocated_w == pytest.approx(setpoint)
    assert np.all(plan.level <= fleet.ceiling)
    changed = (plan.hashing != before.want_hashing) | (plan.level != before.want_level)
    seen = (before.condition == Condition.HASHING) | (before.condition == Condition.ASLEEP)
    assert not np.any(changed & ((before.verdict == Verdict.QUARANTINED) | (before.verdict == Verdict.UNSEEN) | ~seen))
    woken = plan.hashing & ~before.want_hashing
    slept = ~plan.hashing & before.want_hashing
    assert np.all(before.ours_asleep[woken])
    assert np.all(1_000.0 - before.changed_at[woken] >= 600.0)
    if not waived and not shed:
        assert np.all(1_000.0 - before.changed_at[slept] >= 900.0)
    if shed or not may_raise:
        assert not woken.any()
        assert not np.any(plan.level > before.want_level)
    priced_before = np.maximum(before.to_w, 0.0)
    priced_after = np.where(changed, estimator.planned_power_w(facts, fleet, plan.hashing, plan.level), priced_before)
    for feeder, limit in enumerate(facts.feeder_rating_w):
        here = facts.feeder == feeder
        if np.any(woken & here):
            assert priced_after[here].sum() <= limit + 1e-6
