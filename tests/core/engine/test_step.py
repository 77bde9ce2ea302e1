"""The step as a pure function of state, snapshot and now; and the laws that hold whatever happens."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.core.engine import Engine
from controller.domain.fleet import Verdict
from controller.domain.metering import Point
from controller.domain.plan import InputState, Snapshot
from controller.domain.policy import Mode
from controller.domain.reasons import Bound
from tests.core.engine.given import CAP, RELEASE, TARGET, cap_by, follow_points, same

# --- the step as a function -----------------------------------------------------------------------------------------


def test_a_step_leaves_the_state_it_was_given_untouched(kit):
    site = kit.site()
    site.cycles(5)
    before = site.state.copy()
    given_state = site.state
    snapshot = Snapshot(
        kit.wall + 6.0,
        {**site.readings(), Point.TRIP: kit.sample(1.0, 6.0)},
        site.telemetry(),
        received=(site.receive(kit.order(issued_at=kit.wall + 5.0)),),
        operator=(cap_by(3_000),),
    )
    after, decision = site.engine.step(given_state, snapshot, 6.0)
    assert decision.commands
    assert not same(after, before)
    assert same(given_state, before)


def test_the_same_input_gives_the_same_decision(kit):
    def run():
        site = kit.site(surplus_w=14_000.0)
        return [repr(decision) for decision in site.cycles(60)], site.state

    (one, first), (other, second) = run(), run()
    assert one == other
    assert same(first, second)


def test_time_that_runs_backwards_is_refused(kit):
    site = kit.site()
    site.cycles(2)
    with pytest.raises(ValueError, match="backwards"):
        site.engine.step(site.state, Snapshot(kit.wall, {}), 1.9)


def test_two_steps_at_the_same_moment_are_allowed_and_gain_nothing(kit):
    site = kit.site(surplus_w=15_000.0)
    site.cycles(30)
    before = site.state.setpoint_w
    decision = site.cycle(0.0)
    assert decision.setpoint.power_w <= before + 1e-6


def test_the_first_cycle_with_nothing_read_changes_nothing(kit):
    site = kit.site()
    decision = site.cycle(readings={}, telemetry=())
    assert decision.commands == ()
    assert decision.setpoint.bound is Bound.HOLD
    assert decision.fail_safe is InputState.HOLD
    assert decision.figures.measured_w is None
    assert decision.figures.surplus_w is None
    assert decision.counts["unknown"] == 4
    assert decision.allocation.allocated_w + decision.allocation.unallocated_w == decision.setpoint.power_w


def test_the_first_look_at_a_running_site_moves_nothing(kit):
    site = kit.site(surplus_w=8_100.0)
    decisions = site.cycles(30)
    assert [decision.commands for decision in decisions] == [()] * 30
    assert decisions[-1].setpoint.power_w == pytest.approx(8_100.0, abs=100.0)


def test_cycles_and_commands_are_numbered_without_gaps(kit):
    site = kit.site(surplus_w=15_000.0)
    decisions = site.cycles(120)
    assert [decision.cycle for decision in decisions] == list(range(1, 121))
    numbers = [command.command_id for command in site.sent]
    assert numbers == list(range(1, len(numbers) + 1))
    assert numbers


def test_observing_decides_everything_and_sends_nothing(kit):
    site = kit.site(kit.policy(mode=Mode.OBSERVE), surplus_w=3_000.0)
    decisions = site.cycles(60)
    assert site.sent == []
    assert decisions[-1].setpoint.power_w == pytest.approx(3_000.0)
    assert decisions[-1].allocation.hashing.sum() == 0
    assert decisions[-1].figures.measured_w == pytest.approx(8_100.0)
    assert decisions[-1].counts["hashing"] == 2
    assert not (site.state.fleet.verdict == Verdict.QUARANTINED).any()


# --- everything at once ---------------------------------------------------------------------------------------------

happenings = st.lists(
    st.tuples(
        st.sampled_from(["calm", "surplus", "order", "lose", "find", "trip", "person", "deaf"]),
        st.integers(0, 20_000),
        st.integers(1, 25),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(happenings=happenings)
def test_whatever_happens_the_laws_hold_in_every_cycle(kit, happenings):
    site = kit.site(kit.policy(fleet={"trim_reserve_ratio": 0.1}), surplus_w=10_000.0)
    points = [Point.POI_EXPORT_W, Point.SITE_LOAD_W, Point.GROSS_W]
    site.cycles(3)
    for number, (what, size, lasts) in enumerate(happenings):
        given_now = {}
        match what:
            case "surplus":
                site.spare_w = float(size)
            case "order":
                order = kit.order(
                    (CAP, TARGET, RELEASE)[size % 3], size, seq=number, issued_at=kit.wall + site.now, lasts_s=60.0
                )
                given_now["received"] = (site.receive(order),)
            case "lose":
                site.meter_lost = {points[size % 3]}
            case "find":
                site.meter_lost = set()
            case "trip":
                site.extra = {Point.TRIP: kit.sample(float(size % 2), site.now + 1.0)}
            case "person":
                given_now["operator"] = (cap_by(size, kit.wall + site.now + 30.0),)
            case "deaf":
                site.deaf = {size % 4}
        for second in range(lasts):
            before = site.state
            frozen = before.copy()
            decision = site.cycle(**(given_now if second == 0 else {}))
            assert same(before, frozen)
            plan = decision.allocation
            assert plan.allocated_w + plan.unallocated_w == pytest.approx(decision.setpoint.power_w)
            assert math.isfinite(decision.setpoint.power_w)
            assert decision.setpoint.power_w <= 40_000.0
            if decision.fail_safe is not InputState.GOOD or decision.setpoint.shed:
                assert not any(command.raises for command in decision.commands)
            last = before.setpoint_w
            if last is not None and decision.setpoint.power_w > max(last, decision.figures.floor_w):
                assert decision.setpoint.power_w <= last + 100.0 + 1e-6, "up is always ramp-limited"
            assert len({command.miner for command in decision.commands}) == len(decision.commands)


def test_an_empty_fleet_is_a_site_that_only_measures(kit):
    engine = Engine(kit.fleet(0), kit.policy())
    state = engine.fresh_state(0.0)
    for second in range(1, 5):
        snapshot = Snapshot(kit.wall + second, follow_points(float(second), 1_000.0, 5_000.0))
        state, decision = engine.step(state, snapshot, float(second))
    assert decision.commands == ()
    assert decision.figures.measured_w == 1_000.0
