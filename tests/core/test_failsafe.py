"""What happens when an input cannot be believed: every cell of the table, and every way a sample can lie."""

from __future__ import annotations

import math

import pytest

from controller.core import failsafe
from controller.core.failsafe import Age
from controller.core.failsafe_table import Row
from controller.core.state import InputMemory, State
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import InputState

GOOD, HOLD, FROZEN, FALLBACK = InputState

CALM = {
    "poi_export_w": 110_000.0,
    "site_load_w": 10_000.0,
    "despatch_export_w": 100_000.0,
    "reserve_up_w": 0.0,
    "gross_w": 125_000.0,
    "available_w": 300_000.0,
    "auxiliary_w": 5_000.0,
    "synchronised_units": 1.0,
    "frequency_hz": 50.0,
}


class Watch:
    """The fail-safe with a clock: `see` judges one set of readings; what is not named is calm and fresh."""

    def __init__(self, kit, **policy):
        self.kit = kit
        self.policy = kit.policy(**policy)
        self.state = State.fresh(kit.fleet(1), 0.0)
        self.now = 0.0
        self.heard_at = None

    def see(self, seconds=1.0, missing=(), ages=None, qualities=None, **changes):
        self.now += seconds
        readings = self.kit.readings(self.now, **{**CALM, **changes})
        for name, age in (ages or {}).items():
            old = readings[Point(name)]
            readings[Point(name)] = Sample(old.value, self.now - age, old.quality, "test")
        for name, quality in (qualities or {}).items():
            old = readings[Point(name)]
            value = None if quality is Quality.BAD else old.value
            readings[Point(name)] = Sample(value, old.taken_at, quality, "test")
        for name in missing:
            del readings[Point(name)]
        return failsafe.assess(self.state, self.policy, readings, self.heard_at, self.now)

    def calm(self, seconds):
        trust = None
        for _ in range(seconds):
            trust = self.see()
        return trust


@pytest.fixture
def watch(kit):
    found = Watch(kit)
    found.see()
    return found


def health(trust, name):
    return next(entry for entry in trust.health if entry.name == name)


TABLE = {
    # state now: what it becomes when the input is fresh, re-armed, late, stale, gone
    GOOD: (GOOD, GOOD, HOLD, FROZEN, FALLBACK),
    HOLD: (GOOD, GOOD, HOLD, FROZEN, FALLBACK),
    FROZEN: (FROZEN, GOOD, FROZEN, FROZEN, FALLBACK),
    FALLBACK: (FALLBACK, GOOD, FALLBACK, FALLBACK, FALLBACK),
}
CELLS = [(before, age, after) for before, row in TABLE.items() for age, after in zip(Age, row, strict=True)]


@pytest.mark.parametrize(
    ("before", "age", "after"), CELLS, ids=[f"{b.value}, {c.value}: {a.value}" for b, c, a in CELLS]
)
def test_an_input_moves_by_the_table(kit, before, age, after):
    """The law as written down here, and the running code brought into each cell by time alone."""
    for row in (Row.POI, Row.SITE, Row.PLANT):
        assert failsafe.moved(row, before, age) is after
    watch = Watch(kit)
    watch.now = 1_000.0
    old_s = {Age.LATE: 5.0, Age.STALE: 15.0, Age.GONE: 35.0}.get(age, 1.0)
    good_since = {Age.FRESH: 995.0, Age.REARMED: 980.0}.get(age)
    watch.state.inputs["poi"] = InputMemory(before, watch.now - old_s, good_since)
    bad = age not in (Age.FRESH, Age.REARMED)
    trust = watch.see(0.0, qualities={"poi_export_w": Quality.BAD} if bad else {})
    assert health(trust, "poi").state is after
    assert health(trust, "poi").condition == age.value


def test_the_table_has_no_gap_and_doubt_never_heals_without_good_data():
    for state in InputState:
        for age in (Age.LATE, Age.STALE, Age.GONE):
            after = failsafe.moved(Row.POI, state, age)
            assert failsafe.SEVERITY.index(after) >= failsafe.SEVERITY.index(state)


@pytest.mark.parametrize(
    ("name", "point"),
    [
        ("poi", "poi_export_w"),
        ("site", "site_load_w"),
        ("plant", "despatch_export_w"),
        ("plant", "reserve_up_w"),
        ("plant", "gross_w"),
        ("plant", "available_w"),
    ],
)
@pytest.mark.parametrize("how", ["missing", "bad", "uncertain"])
def test_an_input_that_stays_away_goes_from_hold_to_frozen_to_fallback(watch, name, point, how):
    lost = {
        "missing": {"missing": (point,)},
        "bad": {"qualities": {point: Quality.BAD}},
        "uncertain": {"qualities": {point: Quality.UNCERTAIN}},
    }[how]
    seen = {second: health(watch.see(**lost), name).state for second in range(1, 41)}
    assert {seen[second] for second in range(1, 11)} == {HOLD}
    assert {seen[second] for second in range(11, 31)} == {FROZEN}
    assert {seen[second] for second in range(31, 41)} == {FALLBACK}


def test_an_old_sample_ages_even_though_it_says_good(watch):
    assert health(watch.see(ages={"poi_export_w": 3.0}), "poi").state is GOOD
    found = health(watch.see(ages={"poi_export_w": 3.1}), "poi")
    assert found.state is HOLD
    assert found.age_s == pytest.approx(3.1), "of the newest sample, whether it is believed or not"


def test_an_input_never_read_has_no_age(kit):
    state = State.fresh(kit.fleet(1), 0.0)
    trust = failsafe.assess(state, kit.policy(dispatch={"lease_required": True}), {}, None, 5.0)
    assert {entry.name: entry.age_s for entry in trust.health} == dict.fromkeys(("poi", "site", "plant", "dispatcher"))


@pytest.mark.parametrize("name", ["poi_export_w", "site_load_w", "despatch_export_w"])
def test_a_sample_too_old_to_be_believed_is_not_handed_on(watch, name):
    trust = watch.see(ages={name: 3.5})
    assert Point(name) not in trust.samples
    assert Point.FREQUENCY_HZ in trust.samples


def test_an_optional_input_is_not_judged_but_its_old_samples_are_not_used_either(kit):
    watch = Watch(kit, required_points=frozenset({Point.SITE_LOAD_W}))
    trust = watch.see(ages={"poi_export_w": 20.0})
    assert [entry.name for entry in trust.health] == ["site", "frequency"]
    assert Point.POI_EXPORT_W not in trust.samples


def test_the_worst_input_speaks_for_the_site(watch):
    watch.calm(3)
    trust = watch.see(missing=("poi_export_w",), qualities={"despatch_export_w": Quality.BAD})
    assert trust.worst is HOLD
    for _ in range(40):
        trust = watch.see(missing=("poi_export_w",))
    assert health(trust, "site").state is GOOD
    assert trust.worst is FALLBACK


def test_a_short_gap_heals_with_the_next_good_sample(watch):
    assert watch.see(missing=("poi_export_w",)).worst is HOLD
    assert watch.see().worst is GOOD


@pytest.mark.parametrize(("lost_s", "state"), [(15, FROZEN), (40, FALLBACK)])
def test_a_long_gap_heals_only_after_the_rearm_time_of_good_data(watch, lost_s, state):
    for _ in range(lost_s):
        trust = watch.see(missing=("poi_export_w",))
    assert trust.worst is state
    healing = [watch.see().worst for _ in range(12)]
    assert healing == [state] * 10 + [GOOD] * 2


def test_one_bad_sample_starts_the_rearm_time_again(watch):
    for _ in range(15):
        watch.see(missing=("poi_export_w",))
    watch.calm(9)
    assert watch.see(qualities={"poi_export_w": Quality.BAD}).worst is FROZEN
    assert watch.calm(10).worst is FROZEN
    assert watch.see().worst is GOOD


def test_at_the_start_nothing_is_good_until_it_was_read(kit):
    watch = Watch(kit)
    assert {entry.state for entry in watch.see(missing=CALM).health} == {HOLD}
    assert {entry.state for entry in watch.see(35.0, missing=CALM).health} == {FALLBACK}


@pytest.mark.parametrize(
    ("still", "moving", "step_w"),
    [("poi_export_w", "site_load_w", 500.0), ("site_load_w", "poi_export_w", 500.0)],
)
def test_a_power_that_stands_still_while_the_other_moved_is_frozen(watch, still, moving, step_w):
    name = "poi" if still == "poi_export_w" else "site"
    watch.policy = watch.kit.policy(inputs={"balance_after_s": 1e9})
    states = [health(watch.see(**{moving: CALM[moving] + step_w + second}), name) for second in range(70)]
    assert states[58].state is GOOD
    assert states[64].condition == "frozen"
    assert states[64].state is not GOOD


def test_two_powers_that_stand_still_together_are_calm_not_frozen(watch):
    assert watch.calm(200).worst is GOOD


def test_a_small_move_of_the_other_proves_nothing(watch):
    for second in range(100):
        trust = watch.see(site_load_w=10_000.0 + second % 3)
    assert trust.worst is GOOD


def test_a_meter_that_went_silent_does_not_make_its_neighbour_look_frozen(watch):
    for _ in range(100):
        trust = watch.see(missing=("site_load_w",))
    assert health(trust, "poi").state is GOOD


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"poi_export_w": 1_000_001.0}, "poi"),
        ({"poi_export_w": -1_000_001.0}, "poi"),
        ({"site_load_w": 1_000_001.0}, "site"),
        ({"site_load_w": -401.0}, "site"),
        ({"despatch_export_w": 2_000_000.0}, "plant"),
        ({"gross_w": 21_470_000.0}, "plant"),
        ({"frequency_hz": 44.9}, "poi"),
        ({"frequency_hz": 55.1}, "poi"),
        ({"frequency_hz": 0.0}, "poi"),
    ],
)
def test_an_implausible_value_is_doubted_by_name(watch, changes, name):
    trust = watch.see(**changes)
    assert health(trust, name).state is HOLD
    assert "implausible" in health(trust, name).condition
    for point, sample in trust.samples.items():
        assert sample.value != changes.get(point.value), f"{point} was handed on"


@pytest.mark.parametrize("hertz", [45.0, 49.5, 55.0])
def test_a_frequency_on_the_edge_is_believed(watch, hertz):
    assert watch.see(frequency_hz=hertz).worst is GOOD


def test_a_load_just_below_zero_is_noise(watch):
    assert watch.see(site_load_w=-400.0).worst is GOOD


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"poi_export_w": -110_000.0}, id="export with the wrong sign"),
        pytest.param({"site_load_w": 100_000.0}, id="a current transformer ratio ten times too high"),
        pytest.param({"gross_w": 60_000.0}, id="half of the generation"),
    ],
)
def test_powers_that_do_not_add_up_for_some_seconds_are_doubted(watch, changes):
    states = [watch.see(**changes) for _ in range(7)]
    assert states[4].worst is GOOD
    assert health(states[6], "poi").condition == "unbalanced"
    assert health(states[6], "site").condition == "unbalanced"
    assert health(states[6], "plant").state is GOOD


def test_a_gap_within_the_tolerance_is_balanced(watch):
    for _ in range(20):
        trust = watch.see(poi_export_w=110_000.0 + 1_250.0)
    assert trust.worst is GOOD


def test_one_moment_in_balance_clears_the_suspicion(watch):
    for _ in range(3):
        for _ in range(5):
            assert watch.see(poi_export_w=60_000.0).worst is GOOD
        watch.see()


@pytest.mark.parametrize("rearm_s", [1.0, 3.0, 4.9, 5.0, 20.0])
@pytest.mark.parametrize("lucky", [True, False])
def test_nobody_comes_back_from_the_fallback_while_the_powers_do_not_add_up(kit, rearm_s, lucky):
    """However short the re-arm time: the grace of a gap that has just begun is no proof. Once in eight seconds they add
    up by chance, or a sample is missing."""
    watch = Watch(kit, inputs={"rearm_s": rearm_s, "frozen_after_s": 1e9})
    for _ in range(40):
        trust = watch.see(poi_export_w=60_000.0)
    assert trust.worst is FALLBACK
    for second in range(200):
        odd = second % 8 == 0
        export_w = 110_000.0 if odd and lucky else 60_000.0
        missing = ("poi_export_w",) if odd and not lucky else ()
        assert watch.see(missing=missing, poi_export_w=export_w).worst is FALLBACK
    watch.calm(round(rearm_s) + 1)
    assert watch.see().worst is GOOD


def test_a_momentary_gap_does_not_put_off_the_return_of_a_good_input(watch):
    """Two meters are never read in one instant: one gap in the re-arm time does not start it anew."""
    for _ in range(40):
        watch.see(missing=("poi_export_w",))
    for second in range(9):
        assert watch.see(poi_export_w=60_000.0 if second == 5 else 110_000.0).worst is FALLBACK
    watch.calm(2)
    assert watch.see().worst is GOOD


def test_without_the_auxiliaries_there_is_nothing_to_balance(watch):
    for _ in range(20):
        trust = watch.see(missing=("auxiliary_w",), poi_export_w=60_000.0)
    assert trust.worst is GOOD


def test_a_dcs_whose_heartbeat_stands_still_is_not_believed(watch):
    for second in range(20):
        assert watch.see(dcs_heartbeat=float(second)).worst is GOOD
    states = [watch.see(dcs_heartbeat=19.0) for _ in range(12)]
    assert states[9].worst is GOOD
    assert health(states[11], "plant").condition == "heartbeat stuck"
    assert health(states[11], "poi").state is GOOD


@pytest.mark.parametrize(("units", "state"), [(0.0, HOLD), (1.0, GOOD), (2.0, GOOD)])
def test_a_plant_without_a_synchronised_unit_holds(watch, units, state):
    trust = watch.see(synchronised_units=units)
    assert health(trust, "plant").state is state
    assert (Point.AVAILABLE_W in trust.samples) is (state is GOOD)


def test_unknown_synchronisation_holds_as_well(watch):
    trust = watch.see(qualities={"synchronised_units": Quality.BAD})
    assert health(trust, "plant").state is HOLD


def test_a_plant_that_tells_nothing_about_its_units_is_taken_at_its_word(watch):
    assert watch.see(missing=("synchronised_units",)).worst is GOOD


def leased(kit, heard_at, held, order_seen):
    watch = Watch(kit, dispatch={"lease_required": True})
    watch.now = 1_000.0
    watch.heard_at = None if heard_at is None else 1_001.0 - heard_at
    order_at = watch.now if order_seen else -math.inf
    watch.state.orders = type(watch.state.orders)(lease_held=held, lease_order_at=order_at)
    return health(watch.see(), failsafe.DISPATCHER)


@pytest.mark.parametrize(
    ("heard_s_ago", "held", "order_seen", "state"),
    [
        pytest.param(None, False, False, FALLBACK, id="at the start"),
        pytest.param(5.0, False, False, FALLBACK, id="heartbeat alone"),
        pytest.param(5.0, False, True, GOOD, id="heartbeat and a fresh order"),
        pytest.param(5.0, True, False, GOOD, id="held"),
        pytest.param(120.0, True, False, GOOD, id="held, heartbeat on the edge"),
        pytest.param(120.1, True, False, FALLBACK, id="heartbeat lost"),
        pytest.param(None, True, True, FALLBACK, id="never heard"),
    ],
)
def test_the_lease_is_entered_by_heartbeat_and_order_and_kept_by_heartbeat(kit, heard_s_ago, held, order_seen, state):
    assert leased(kit, heard_s_ago, held, order_seen).state is state


def test_a_site_without_a_lease_has_no_dispatcher_among_its_inputs(watch):
    assert [entry.name for entry in watch.see().health] == ["poi", "site", "plant", "frequency"]


def test_an_old_sample_does_not_bring_its_fresh_neighbour_out_of_balance(watch):
    """The load moves on while the POI meter is silent: that gap is age, and the site meter stays believed."""
    for second in range(25):
        trust = watch.see(ages={"poi_export_w": 4.0 + second}, site_load_w=5_000.0)
        assert health(trust, "site").state is GOOD
    assert health(trust, "poi").state is FROZEN


@pytest.mark.parametrize("point", [Point.TRIP, Point.GRID_EMERGENCY, Point.PERMIT])
@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN])
def test_a_contact_that_becomes_unreadable_stands_as_it_was_and_nothing_is_raised_meanwhile(watch, point, quality):
    for stop in (1.0, 0.0):
        assert watch.see(**{point.value: stop}).worst is GOOD
        trust = watch.see(**{point.value: 1.0 - stop}, qualities={point.value: quality})
        assert trust.samples[point].value == stop, "as it was last read"
        (guard,) = [entry for entry in trust.health if entry.state is not GOOD]
        assert (guard.state, guard.condition) == (HOLD, "unreadable")
        assert Point.DESPATCH_EXPORT_W in trust.samples, "the rest of its block is believed"
    assert watch.see(**{point.value: 0.0}).worst is GOOD


@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN])
def test_a_contact_never_read_says_nothing_and_raises_nothing(watch, quality):
    trust = watch.see(trip=1.0, qualities={"trip": quality})
    assert Point.TRIP not in trust.samples
    assert health(trust, "trip").state is HOLD


def test_a_frequency_that_cannot_be_read_raises_nothing_and_leaves_the_poi_believed(watch):
    for _ in range(60):
        trust = watch.see(qualities={"frequency_hz": Quality.BAD})
    assert (trust.worst, health(trust, "poi").state) == (HOLD, GOOD)
    assert Point.POI_EXPORT_W in trust.samples
    assert watch.see().worst is GOOD


def test_a_heartbeat_that_cannot_be_read_any_more_is_one_that_stands_still(watch):
    watch.see(dcs_heartbeat=1.0)
    states = [watch.see(dcs_heartbeat=2.0, qualities={"dcs_heartbeat": Quality.BAD}) for _ in range(12)]
    assert states[9].worst is GOOD
    assert health(states[11], "plant").condition == "heartbeat unreadable"
    assert health(states[11], "plant").state is HOLD


@pytest.mark.parametrize("point", [Point.TRIP, Point.GRID_EMERGENCY])
def test_a_raised_flag_stands_however_old_it_is(watch, point):
    trust = watch.see(**{point.value: 1.0}, ages={point.value: 500.0})
    assert trust.samples[point].value == 1.0


def test_an_old_frequency_out_of_range_is_no_under_frequency(watch):
    watch.see(frequency_hz=0.0)
    trust = watch.see(frequency_hz=0.0, ages={"frequency_hz": 500.0})
    assert Point.FREQUENCY_HZ not in trust.samples
