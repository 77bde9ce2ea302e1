"""Who says how much: every source of a bound, their order, and the law that nothing raises above the surplus."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.core import arbiter
from controller.core.arbiter import Proposal
from controller.core.state import ActiveOrder, OrderBook, State
from controller.domain.dispatch import DispatchClass, DispatchKind
from controller.domain.plan import InputState, OperatorOrder, OperatorVerb
from controller.domain.reasons import Bound

FLOOR = 1_200.0
FALLBACK = 5_000.0
CAP, TARGET = DispatchKind.CAP, DispatchKind.TARGET


def state_with(kit, *orders, operator=()):
    state = State.fresh(kit.fleet(1), 0.0)
    state.orders = OrderBook(active=tuple(ActiveOrder(order, order.power_w, False, 900.0) for order in orders))
    state.operator_caps = tuple(operator)
    return state


def operator_cap(power_w):
    return OperatorOrder(OperatorVerb.CAP, "maria", power_w, expires_at=1_800_003_600.0)


def decide(kit, state=None, points=None, surplus=20_000.0, worst=InputState.GOOD, floor=FLOOR, at=0.0, **site):
    state = state if state is not None else state_with(kit)
    bounds = arbiter.proposals(state, kit.policy(**site), kit.readings(at, **(points or {})), surplus, floor)
    return arbiter.decide(state, bounds, worst, FALLBACK, floor)


@pytest.mark.parametrize(
    ("points", "source"),
    [
        ({"trip": 1}, "plant.trip"),
        ({"permit": 0}, "plant.trip"),
    ],
)
def test_an_open_contact_sheds_to_the_floor(kit, points, source):
    found = decide(kit, points=points)
    assert (found.bound, found.power_w, found.shed, found.source) == (Bound.TRIP, FLOOR, True, source)


@pytest.mark.parametrize(("points", "reads"), [({"grid_emergency": 1}, 1), ({"frequency_hz": 49.49}, 2)])
def test_a_grid_emergency_sheds_to_the_floor(kit, points, reads):
    state = state_with(kit)
    found = [decide(kit, state, points, at=float(second)) for second in range(reads)]
    assert [one.shed for one in found[:-1]] == [False] * (reads - 1)
    assert (found[-1].bound, found[-1].power_w, found[-1].shed) == (Bound.GRID_EMERGENCY, FLOOR, True)


@pytest.mark.parametrize(
    "points", [{"trip": 0}, {"permit": 1}, {"grid_emergency": 0}, {"frequency_hz": 49.5}, {"frequency_hz": 52.0}]
)
def test_contacts_at_rest_and_high_frequency_bind_nothing(kit, points):
    assert decide(kit, points=points).bound is Bound.SURPLUS


def test_a_frequency_that_lingers_at_the_guard_sheds_once(kit):
    state = state_with(kit)
    seen_hz = (49.53, 49.49, 49.49, 49.51, 49.54, 49.56, 49.53)
    shed = [decide(kit, state, {"frequency_hz": hz}, at=float(second)).shed for second, hz in enumerate(seen_hz)]
    assert shed == [False, False, True, True, True, False, False]


@pytest.mark.parametrize(("asked_w", "power_w"), [(9_000, 9_000.0), (0, FLOOR)])
@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_an_emergency_order_sheds_to_its_own_power_and_zero_means_auxiliaries(kit, kind, asked_w, power_w):
    found = decide(kit, state_with(kit, kit.order(kind, asked_w, dispatch_class=DispatchClass.EMERGENCY)))
    assert (found.bound, found.power_w, found.shed) == (Bound.EMERGENCY_DISPATCH, power_w, True)


def test_an_emergency_order_above_the_surplus_raises_nothing(kit):
    found = decide(kit, state_with(kit, kit.order(power_w=30_000, dispatch_class=DispatchClass.EMERGENCY)))
    assert (found.bound, found.power_w) == (Bound.SURPLUS, 20_000.0)


def test_a_person_lowers_the_site_and_is_named_with_the_expiry(kit):
    found = decide(kit, state_with(kit, operator=[operator_cap(8_000)]))
    assert (found.bound, found.power_w, found.source) == (Bound.OPERATOR, 8_000.0, "maria")
    assert found.expires_at == 1_800_003_600.0
    assert not found.shed


def test_the_lowest_cap_of_several_issuers_wins(kit):
    orders = [kit.order(power_w=watts, issuer=name) for watts, name in ((9_000, "a"), (7_000, "b"), (8_000, "c"))]
    found = decide(kit, state_with(kit, *orders))
    assert (found.bound, found.power_w, found.source) == (Bound.DISPATCH_CAP, 7_000.0, "b-1")
    assert found.expires_at == orders[1].expires_at


@pytest.mark.parametrize(("site", "power_w"), [({"site_cap_w": 15_000}, 15_000), ({"rated_w": 12_000}, 12_000)])
def test_the_sites_own_rating_binds(kit, site, power_w):
    found = decide(kit, **site)
    assert (found.bound, found.power_w) == (Bound.SITE_RATING, power_w)


def test_blind_inputs_bind_to_the_fallback(kit):
    found = decide(kit, worst=InputState.FALLBACK)
    assert (found.bound, found.power_w, found.shed) == (Bound.FALLBACK, FALLBACK, False)


@pytest.mark.parametrize("worst", [InputState.GOOD, InputState.HOLD, InputState.FROZEN_UP])
def test_lesser_doubt_does_not_call_for_the_fallback(kit, worst):
    assert decide(kit, worst=worst).bound is Bound.SURPLUS


def test_the_fallback_never_lifts_a_tighter_cap(kit):
    found = decide(kit, worst=InputState.FALLBACK, surplus=3_000.0)
    assert (found.bound, found.power_w) == (Bound.SURPLUS, 3_000.0)


def test_a_target_below_every_cap_is_followed(kit):
    found = decide(kit, state_with(kit, kit.order(TARGET, 12_000)))
    assert (found.bound, found.power_w) == (Bound.DISPATCH_TARGET, 12_000.0)


@pytest.mark.parametrize(
    ("orders", "power_w"),
    [
        pytest.param([(12_000, "a", 0), (9_000, "b", 5)], 9_000, id="priority over size"),
        pytest.param([(12_000, "a", 5), (9_000, "b", 0)], 12_000, id="priority over prudence"),
        pytest.param([(12_000, "a", 5), (9_000, "b", 5)], 9_000, id="equal priority: the lower"),
    ],
)
def test_priority_decides_between_targets(kit, orders, power_w):
    state = state_with(kit, *(kit.order(TARGET, watts, issuer=name, priority=rank) for watts, name, rank in orders))
    assert decide(kit, state).power_w == power_w


def test_a_cap_beats_a_target(kit):
    state = state_with(kit, kit.order(TARGET, 12_000, issuer="a", priority=9), kit.order(CAP, 6_000, issuer="b"))
    assert decide(kit, state).bound is Bound.DISPATCH_CAP


@pytest.mark.parametrize("kind", [CAP, TARGET])
def test_no_order_raises_the_site_above_the_surplus(kit, kind):
    found = decide(kit, state_with(kit, kit.order(kind, 35_000)))
    assert (found.bound, found.power_w) == (Bound.SURPLUS, 20_000.0)


@pytest.mark.parametrize("first", Bound)
@pytest.mark.parametrize("second", Bound)
def test_equal_bounds_are_named_by_the_order_of_arbitration(kit, first, second):
    bounds = [Proposal(second, 7_000.0, "b"), Proposal(first, 7_000.0, "a")]
    found = arbiter.decide(state_with(kit), bounds, InputState.GOOD, FALLBACK, FLOOR)
    assert found.bound is min(first, second, key=list(Bound).index)


def test_a_cap_below_the_floor_is_lifted_to_what_no_command_removes(kit):
    assert decide(kit, state_with(kit, operator=[operator_cap(0)])).power_w == FLOOR


@pytest.mark.parametrize("surplus", [0.0, -50_000.0])
def test_a_surplus_below_the_floor_ends_at_the_floor(kit, surplus):
    assert decide(kit, surplus=surplus).power_w == FLOOR


@pytest.mark.parametrize(
    "quieter",
    [
        pytest.param({"surplus": -50_000.0}, id="no surplus"),
        pytest.param({"operator": 0}, id="an operator's zero"),
        pytest.param({"target": 100}, id="a target below a floor that rose since"),
        pytest.param({"cap": 100}, id="a cap below a floor that rose since"),
    ],
)
@pytest.mark.parametrize("points", [{"trip": 1}, {"grid_emergency": 1}])
def test_a_shed_stays_a_shed_when_a_normal_bound_asks_for_even_less(kit, quieter, points):
    orders = [kit.order(DispatchKind(name), quieter[name]) for name in ("target", "cap") if name in quieter]
    persons = [operator_cap(quieter["operator"])] if "operator" in quieter else []
    found = decide(kit, state_with(kit, *orders, operator=persons), points, quieter.get("surplus", 20_000.0))
    assert found.shed
    assert found.power_w == FLOOR


def test_an_order_of_class_test_in_nobodys_book_binds_nothing(kit):
    assert decide(kit, state_with(kit)).bound is Bound.SURPLUS


@given(
    caps=st.lists(st.integers(0, 60_000), max_size=4),
    targets=st.lists(st.tuples(st.integers(0, 60_000), st.integers(0, 9)), max_size=4),
    person=st.none() | st.integers(0, 60_000),
    surplus=st.none() | st.floats(-60_000, 60_000),
    emergency=st.booleans(),
    worst=st.sampled_from(InputState),
    floor=st.floats(0, 5_000),
)
def test_the_result_is_never_above_any_bound_nor_below_the_floor(
    kit, caps, targets, person, surplus, emergency, worst, floor
):
    orders = [kit.order(CAP, watts, issuer=f"c{index}") for index, watts in enumerate(caps)]
    orders += [kit.order(TARGET, watts, issuer=f"t{i}", priority=rank) for i, (watts, rank) in enumerate(targets)]
    persons = [] if person is None else [operator_cap(person)]
    state = state_with(kit, *orders, operator=persons)
    found = decide(kit, state, {"trip": 1} if emergency else {}, surplus, worst, floor)
    limits = [40_000.0, *map(float, caps), *([] if person is None else [float(person)])]
    limits += [] if surplus is None else [surplus]
    limits += [FALLBACK] if worst is InputState.FALLBACK else []
    assert found.power_w >= floor
    assert found.power_w <= max(floor, min(limits))
    assert found.shed is emergency
    if emergency:
        assert found.power_w == floor


def test_an_unanswered_figure_is_never_a_cap_of_zero_by_accident(kit):
    """The book holds what was promised, not what was asked: a clamped order keeps its achievable figure."""
    order = kit.order(CAP, 100)
    state = state_with(kit)
    state.orders = replace(state.orders, active=(ActiveOrder(order, 1_200, False, 900.0),))
    assert decide(kit, state).power_w == 1_200.0
