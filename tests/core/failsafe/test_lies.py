"""Every way a sample can lie: frozen, implausible, out of balance, of a plant that is off; guards and the lease."""

from __future__ import annotations

import math

import pytest

from controller.core import failsafe
from controller.domain.metering import Point, Quality
from controller.domain.plan import OperatorOrder, OperatorVerb
from tests.core.builders import WALL
from tests.core.failsafe.conftest import CALM, FALLBACK, GOOD, HOLD, Watch, health
from tests.core.failsafe.test_restart import back
from tests.core.failsafe_cells.pair import Yard, shown


@pytest.mark.parametrize(
    ("still", "moving", "step_w"),
    [("poi_export_w", "site_load_w", 500.0), ("site_load_w", "poi_export_w", 500.0)],
)
def test_a_power_that_stands_still_while_the_other_moved_is_frozen(watch, still, moving, step_w):
    name = "poi" if still == "poi_export_w" else "site"
    watch.policy = watch.kit.policy(inputs={"balance_after_s": 1e9})
    watch.state.fleet.from_w[:] = watch.state.fleet.to_w[:] = 3_500.0  # a miner woke
    states = [health(watch.see(**{moving: CALM[moving] + step_w + second}), name) for second in range(70)]
    assert states[58].state is GOOD
    assert states[64].condition == "frozen"
    assert states[64].state is not GOOD


def test_a_coarse_site_meter_beside_a_fleet_that_rests_is_calm_however_the_export_moves(watch):
    """It was frozen for ever: in the fallback nothing moves, so the meter showed the same, so the fallback stayed."""
    watch.policy = watch.kit.policy(inputs={"balance_after_s": 1e9})
    for second in range(300):
        trust = watch.see(poi_export_w=CALM["poi_export_w"] + 500.0 + second)
        assert health(trust, "site").state is GOOD


class Quick(Yard):
    """Four miners at work that sleep sooner than their class; the site meter shows whole kilowatts, the export moves
    on."""

    def __init__(self, kit):
        super().__init__(kit.policy(inputs={"balance_after_s": 1e9}), kit.fleet(4), [True] * 4, 15_500.0)
        shown(self, (Point.SITE_LOAD_W,), lambda value: 1_000.0 * round(value / 1_000.0))
        shown(self, (Point.POI_EXPORT_W,), lambda value: value + 30.0 * (self.now % 60.0))
        self.cycles(20)

    def _times(self, command):
        return 0.0, 0.1


def sleeps(yard):
    """The trip contact, and no read for the next seconds: what is known of the miners is what they should do."""
    shown(yard, (Point.TRIP,), lambda value: 1.0)
    yard.silent = set(range(4))
    yard.cycles(10)
    assert yard.load_w() < 1_300.0
    yard.silent = set()
    yard.cycles(90)


def test_a_coarse_site_meter_is_not_frozen_by_sleeps_that_were_believed_to_last_longer(kit):
    """They were still on their way as it first showed what it would show for good: taken for dead beside a fleet at
    rest, it kept it there for ever."""
    yard = Quick(kit)
    sleeps(yard)
    still = yard.state.still[Point.SITE_LOAD_W]
    assert still.most_w - still.least_w > 5_000.0
    assert {health_of(decision, "site").state for decision in yard.decisions[3:]} == {GOOD}


def test_nor_by_miners_that_nobody_had_read_since_the_start(kit):
    yard = Quick(kit)
    state = yard.state
    sleeps(yard)
    yard.state = back(yard.facts, state, yard.now, yard.now)  # a crash before the checkpoint that knew of the sleeps
    yard.silent = set(range(4))
    yard.cycles(2)
    yard.silent = set()
    assert {health_of(decision, "site").state for decision in yard.cycles(100)[10:]} == {GOOD}


def test_of_two_coarse_meters_one_that_goes_on_by_a_step_proves_nothing_of_the_other(kit):
    """The load settled half a kilowatt lower for good, and only one of them was near its next kilowatt: the site went
    to the fallback in a calm."""
    watch = Watch(kit, inputs={"balance_after_s": 1e9}, household_tolerance_w=2_000)  # 1 kW steps, twice
    states = [health(watch.see(site_load_w=load_w), "poi") for load_w in (10_000.0, *[9_000.0] * 300)]
    assert {seen.state for seen in states[1:]} == {GOOD}
    states = [health(watch.see(site_load_w=7_000.0), "poi") for _ in range(2)]
    assert states[-1].condition == "frozen"


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
        ({"site_load_w": 60_001.0}, "site"),
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
        pytest.param({"site_load_w": 50_000.0}, id="a current transformer ratio five times too high"),
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


@pytest.mark.parametrize("ratio", [10.0, 0.1])
def test_a_site_meter_that_suddenly_shows_another_load_moves_nobody_before_it_is_doubted(kit, ratio):
    """Ten times a small load is no impossible one: in the five seconds until the powers did not add up for long enough
    it had half of the fleet put to sleep, against its dwell; a tenth of it would have had others woken."""
    yard = Yard(kit.policy(), kit.fleet(4), [True] * 4, 15_500.0)
    yard.cycles(5)
    yard.cycle(operator=(OperatorOrder(OperatorVerb.CAP, "maria", 5_600, WALL + 9e4),))
    yard.cycles(120)
    sent, load_w = len(yard.sent), yard.load_w()
    assert 4_000.0 < load_w < 6_000.0
    shown(yard, (Point.SITE_LOAD_W,), lambda value: ratio * value)
    decisions = yard.cycles(20)
    assert [decision.fail_safe for decision in decisions[:5]] == [GOOD] * 5
    assert health_of(decisions[-1], "site").condition == "unbalanced"
    assert len(yard.sent) == sent
    assert decisions[-1].figures.expected_w == pytest.approx(load_w, rel=0.02)


def health_of(decision, name):
    return next(entry for entry in decision.inputs if entry.name == name)
