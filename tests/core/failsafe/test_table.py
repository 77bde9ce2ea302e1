"""What happens when an input stays away or comes back: every cell of the table, and the times between."""

from __future__ import annotations

import pytest

from controller.core import failsafe
from controller.core.failsafe import Age
from controller.core.failsafe_table import Row
from controller.core.state import InputMemory, State
from controller.domain.metering import Point, Quality
from controller.domain.plan import InputState
from tests.core.failsafe.conftest import CALM, FALLBACK, FROZEN, GOOD, HOLD, Watch, health

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
