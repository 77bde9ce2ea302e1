"""Setpoint x fleet: who sleeps, who wakes, who runs at which rung. Miner 0 is the best by J/TH, the last the worst.

Four miners at 2.0, 2.5, 3.0, 3.5 kW; 50 W asleep; 1 kW of auxiliaries: 15 kW all on, 9 kW all on at the lowest rung.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import allocator, estimator
from controller.core.fleet_state import VERB_CODES
from controller.core.roster import Goal
from controller.domain.fleet import Condition, Verb, Verdict
from controller.domain.reasons import Unallocated, Why

ANY_RAMP = 1e9  # W/s: a unit woken now is asked for where the ramp ends
ALL_ON, ALL_OFF = [True] * 4, [False] * 4


class Hall:
    def __init__(self, kit, hashing, level=3, facts=None, ramp=None, **fleet):
        self.facts = facts or kit.fleet(len(hashing))
        self.policy = kit.policy(fleet=fleet, ramp={"up_w_per_15s": 50_000.0, **(ramp or {})})
        self.state = kit.seen_state(self.facts, hashing, level=level)
        self.plan = None

    @property
    def fleet(self):
        return self.state.fleet

    def allocate(self, power_w, lead_w=None, shed=False, waived=False, may_raise=True, now=0.0):
        goal = (
            None
            if power_w is None
            else Goal(power_w, lead_w or power_w, ANY_RAMP, shed=shed, waived=waived, may_raise=may_raise)
        )
        self.plan = allocator.allocate(self.facts, self.state, self.policy, goal, now)
        return self.plan

    def asleep(self):
        return [int(miner) for miner in np.flatnonzero(~self.plan.hashing)]

    def awake(self):
        return [int(miner) for miner in np.flatnonzero(self.plan.hashing)]

    def planned_w(self):
        return self.state.offset_w + float(
            estimator.planned_power_w(self.facts, self.fleet, self.plan.hashing, self.plan.level).sum()
        )

    def why(self, miner):
        return self.plan.why_of(miner)


# --- down -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("power_w", "asleep", "planned_w"),
    [
        pytest.param(15_000, [], 15_000, id="nothing to do"),
        pytest.param(14_950, [], 15_000, id="inside the deadband"),
        pytest.param(14_500, [], 14_500, id="one rung"),
        pytest.param(14_300, [], 14_000, id="rungs round down, never above the setpoint"),
        pytest.param(9_000, [], 9_000, id="everybody at the lowest rung"),
        pytest.param(8_900, [3], 8_550, id="one sleeps, the others make up the rest"),
        pytest.param(7_050, [3], 7_050, id="the worst asleep, three at the lowest rung"),
        pytest.param(7_040, [2, 3], 7_040, id="ten watts less, and the second worst sleeps too"),
        pytest.param(1_300, [0, 1, 2, 3], 1_200, id="all asleep"),
        pytest.param(0, [0, 1, 2, 3], 1_200, id="below what no command removes"),
    ],
)
def test_down_by_trim_first_and_the_worst_sleep_when_trim_is_not_enough(kit, power_w, asleep, planned_w):
    hall = Hall(kit, ALL_ON)
    hall.allocate(power_w)
    assert hall.asleep() == asleep
    assert hall.planned_w() <= max(power_w, 1_200) + 100
    if asleep in ([], [0, 1, 2, 3]):
        assert hall.planned_w() == planned_w


def test_the_worst_are_trimmed_before_the_best(kit):
    hall = Hall(kit, ALL_ON)
    hall.allocate(13_000)
    assert list(hall.plan.level) == [3, 3, 2, 0]


@pytest.mark.parametrize(("power_w", "asleep"), [(12_000, [3]), (11_000, [2, 3]), (5_000, [1, 2, 3])])
def test_without_trim_the_worst_sleep_until_it_is_enough(kit, power_w, asleep):
    hall = Hall(kit, ALL_ON, trim=False)
    hall.allocate(power_w)
    assert hall.asleep() == asleep
    assert list(hall.plan.level) == [3, 3, 3, 3]


def test_merit_is_joule_per_terahash_not_the_order_of_the_inventory(kit):
    hall = Hall(kit, ALL_ON, facts=kit.fleet(4, joule_per_th=(30.0, 18.0, 40.0, 25.0)), trim=False)
    hall.allocate(8_500)
    assert hall.asleep() == [0, 2]


def test_a_shed_sleeps_rather_than_trims(kit):
    hall = Hall(kit, ALL_ON)
    hall.allocate(14_000, shed=True, waived=True)
    assert hall.asleep() == [3]
    assert list(hall.plan.level[:3]) == [3, 3, 3]


def test_a_shed_wakes_nobody_and_raises_nobody(kit):
    hall = Hall(kit, [True, False, False, False], level=0)
    hall.allocate(15_000, shed=True, waived=True)
    assert hall.awake() == [0]
    assert hall.plan.level[0] == 0


def test_a_shed_reaches_those_whose_telemetry_is_old(kit):
    """Seconds count: a command to somebody who may have gone is cheaper than a miner left hashing."""
    hall = Hall(kit, ALL_ON)
    hall.allocate(1_200, shed=True, waived=True, now=500.0)
    assert hall.asleep() == [0, 1, 2, 3]


def test_nobody_with_old_telemetry_is_moved_in_a_normal_cycle(kit):
    hall = Hall(kit, ALL_ON)
    hall.fleet.read_at[:] = (0.0, 500.0, 500.0, 0.0)
    hall.allocate(1_200, now=500.0)
    assert hall.asleep() == [1, 2]


# --- up -------------------------------------------------------------------------------------------------------------


def test_the_best_wake_first_and_no_more_than_the_lead_needs(kit):
    hall = Hall(kit, ALL_OFF)
    hall.allocate(1_200, lead_w=8_100)
    assert hall.awake() == [0, 1]
    assert hall.why(0) is Why.BASE
    assert hall.why(3) is Why.SURPLUS_SHORT


def test_a_lead_too_small_for_the_lowest_rung_wakes_nobody(kit):
    hall = Hall(kit, ALL_OFF)
    hall.allocate(1_200, lead_w=3_000)
    assert hall.awake() == []


def test_wakes_are_limited_per_cycle(kit):
    hall = Hall(kit, ALL_OFF, wakes_per_cycle_max=1)
    hall.allocate(1_200, lead_w=15_000)
    assert hall.awake() == [0]


def test_what_boots_within_fifteen_seconds_fits_under_their_ramp(kit):
    """A boot cannot be trimmed: two units of 2.0 and 2.5 kW would rise faster than 4 kW in 15 s."""
    hall = Hall(kit, ALL_OFF, ramp={"up_w_per_15s": 4_000.0})
    hall.allocate(15_000)
    assert hall.awake() == [0]
    estimator.put_in_flight(
        hall.facts, hall.state, np.array([0]), Verb.WAKE, np.array([2_000.0]), 0.0, np.array([90.0])
    )
    hall.allocate(15_000, now=14.0)
    assert hall.awake() == [0]
    hall.allocate(15_000, now=15.0)
    assert hall.awake() == [0, 1]


def test_a_unit_larger_than_the_ramp_wakes_alone(kit):
    hall = Hall(kit, ALL_OFF, ramp={"up_w_per_15s": 100.0})
    hall.allocate(1_200, lead_w=15_000)
    assert hall.awake() == [0]


def test_who_must_sleep_at_the_end_of_a_ramp_sleeps_on_the_way_untrimmed(kit):
    hall = Hall(kit, ALL_ON)
    hall.plan = allocator.allocate(
        hall.facts, hall.state, hall.policy, Goal(11_400, 5_000, ANY_RAMP, shed=False, waived=True), 0.0
    )
    assert hall.asleep() == [3]
    assert list(hall.plan.level[:3]) != [0, 0, 0]


def test_a_gap_is_closed_by_raising_the_best_trimmers(kit):
    hall = Hall(kit, ALL_ON, level=0)
    hall.allocate(11_200)
    assert list(hall.plan.level) == [3, 1, 0, 0]
    assert hall.planned_w() == 11_000


def test_without_trim_nobody_changes_rung_on_the_way_up(kit):
    hall = Hall(kit, ALL_ON, level=0, trim=False)
    hall.allocate(15_000)
    assert list(hall.fleet.want_level) == [0, 0, 0, 0]


def test_a_trimmer_whose_last_trim_is_still_working_is_not_raised_again(kit):
    hall = Hall(kit, ALL_ON, level=0)
    estimator.put_in_flight(
        hall.facts, hall.state, np.array([0]), Verb.TRIM, np.array([2_000.0]), 0.0, np.array([30.0])
    )
    hall.allocate(10_500, now=3.0)
    assert list(hall.plan.level) == [0, 3, 0, 0]


def test_what_boots_is_not_raised_twice(kit):
    hall = Hall(kit, [True, False, False, False])
    hall.allocate(4_650, lead_w=8_100)
    assert hall.awake() == [0, 1]
    estimator.put_in_flight(
        hall.facts, hall.state, np.array([1]), Verb.WAKE, np.array([3_500.0]), 0.0, np.array([90.0])
    )
    hall.allocate(4_750, lead_w=8_100, now=1.0)
    assert hall.awake() == [0, 1]


# --- who may be moved -----------------------------------------------------------------------------------------------


def test_nobody_sleeps_before_its_dwell_is_over(kit):
    hall = Hall(kit, ALL_ON, trim=False, dwell_on_s=900.0)
    hall.fleet.changed_at[:] = (-1_000.0, -900.0, -899.0, -10.0)
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
    estimator.put_in_flight(
        hall.facts, hall.state, np.array([1]), Verb.WAKE, np.array([3_500.0]), 0.0, np.array([90.0])
    )
    hall.allocate(15_000, lead_w=5_000, now=1.0)
    assert hall.plan.unallocated_w > 0
    assert hall.plan.unallocated_reason is Unallocated.BOOTING


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
            estimator.put_in_flight(
                facts, hall.state, np.array([index]), verb, np.array([draw]), 995.0, np.array([60.0])
            )
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


def test_a_miner_with_a_command_on_its_way_is_trimmed_last(kit):
    hall = Hall(kit, ALL_ON)
    hall.fleet.verb[3] = VERB_CODES[Verb.TRIM]  # the worst J/TH would otherwise be first
    hall.fleet.sent_at[3] = 0.0
    hall.allocate(14_000)
    assert list(hall.plan.level) == [3, 3, 1, 3]
