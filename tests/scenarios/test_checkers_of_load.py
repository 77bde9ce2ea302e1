"""The harsh swarm's judges of the load, on runs written by hand: one with the breach it is there for, one without."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.command import Command, Verb
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from simulators.asic.response import Behaviour
from tests.rig.breaches import blind_for_sure, horizon_s
from tests.rig.check_load import (
    blind_ends_low,
    blind_only_down,
    caps_obeyed,
    load_under_cap,
    ramp_up_kept,
    sheds_at_once,
)
from tests.rig.check_physics import ramp_down_kept
from tests.rig.record import Record
from tests.rig.setup import WALL_AT_START, ClockStep, Crash, InputFault, InputFaultKind, Message, PlantEvent
from tests.scenarios.written_runs import RAMPED, RATED_W, SETUP, UNIT_W, cycle, falling, written


def test_a_fall_by_the_ramp_is_fine_and_a_faster_one_is_seen():
    assert ramp_down_kept(RAMPED, written(falling(90.0))) == []
    (minute, quarter) = ramp_down_kept(RAMPED, written(falling(5.0)))
    assert "in 60 s" in minute.text
    assert "in 15 s" in quarter.text


@pytest.mark.parametrize("why", ["a shed", "the surplus", "a disturbance", "no room"])
def test_a_fall_that_something_else_than_an_order_may_explain_is_not_judged(why):
    setup, record = RAMPED, written(falling(5.0))
    match why:
        case "a shed":
            record.cycles = [replace(row, shed=150.0 <= row.at_s < 156.0) for row in record.cycles]
        case "the surplus":
            record.cycles = [replace(row, bound="surplus") for row in record.cycles]
        case "a disturbance":
            setup = replace(RAMPED, plant_events=(PlantEvent(149.0, 1_000.0, 10.0, emergency=False),))
        case "no room":
            record = written(falling(5.0), cap_w=lambda t_s: 0.8 * RATED_W)
    assert ramp_down_kept(setup, record) == []


@pytest.mark.parametrize(
    ("crash_s", "ordered", "found"),
    [
        pytest.param(None, 0.8, ["in 60 s", "in 15 s"], id="alive"),
        pytest.param(152.0, 0.8, [], id="dead, and no more than was ordered"),
        pytest.param(152.0, 0.7, ["in 60 s", "in 15 s"], id="dead, and more came than was ordered"),
        pytest.param(130.0, 0.8, ["in 60 s", "in 15 s"], id="back before"),
    ],
)
def test_while_the_daemon_is_dead_nobody_is_trimmed_for_boots_and_they_may_all_come(crash_s, ordered, found):
    """Found by harsh seed 8058: 14 boots were under way as it died, and were to be trimmed for as they came."""
    ramp = replace(SETUP.policy.ramp, up_w_per_min=0.2 * RATED_W, up_w_per_15s=0.05 * RATED_W)
    crashes = () if crash_s is None else (Crash(crash_s, 5.0),)
    setup = replace(SETUP, policy=replace(SETUP.policy, ramp=ramp), crashes=crashes)
    record = written(falling(10.0, depth=-0.3, from_s=150.0), setup=setup)
    record.cycles = [replace(row, committed_w=(ordered + 0.3) * RATED_W) for row in record.cycles]
    breaches = ramp_up_kept(setup, record)
    assert [what in breach.text for what, breach in zip(found, breaches, strict=True)] == [True] * len(found)


BLIND = replace(SETUP, input_faults=(InputFault("poi", InputFaultKind.STALE, 20.0, 280.0),))
BACK_S = 200.0  # when a fifth of the site comes back into reach
AWAY_W, LOW_W = 0.2 * RATED_W, BLIND.policy.fallback_w


def test_who_comes_back_into_reach_while_blind_is_taken_off_by_the_ramp_and_not_left():
    ramp_s = AWAY_W / BLIND.policy.ramp.fallback_w_per_min * 60.0
    for late_s, found in ((0.0, 0), (horizon_s(BLIND) - 1.0, 0), (horizon_s(BLIND) + 0.2 * ramp_s, 1), (1e3, 1)):
        record = Record()
        for tick in range(round(BLIND.duration_s / BLIND.tick_s)):
            t_s = (tick + 1) * BLIND.tick_s
            left = 1.0 - min(max((t_s - BACK_S - late_s) / ramp_s, 0.0), 1.0)
            away_w = AWAY_W if t_s < BACK_S else 0.0
            record.tick(t_s, LOW_W + AWAY_W * left, RATED_W, away_w)
        assert len(blind_ends_low(BLIND, record)) == found, late_s


@pytest.mark.parametrize(("late_s", "found"), [(-1.0, 0), (1.0, 1)])
def test_who_comes_into_reach_in_a_shed_has_the_time_of_the_slowest_to_fall_and_no_more(late_s, found):
    setup = replace(SETUP, plant_events=(PlantEvent(100.0, 0.0, 60.0, emergency=True),))
    judged_s, away_w, fall_s = 130.0, 0.2 * RATED_W, horizon_s(SETUP)
    back_s = judged_s - fall_s - late_s
    record = Record()
    for tick in range(round(setup.duration_s / setup.tick_s)):
        t_s = (tick + 1) * setup.tick_s
        obeys_w = 0.5 * RATED_W if t_s < 104.0 else 0.0
        record.tick(t_s, obeys_w + away_w, RATED_W, away_w if t_s < back_s else 0.0)
    assert len(sheds_at_once(setup, record)) == found


@pytest.mark.parametrize(
    ("crash_s", "asked"), [(None, True), (90.0, True), (97.0, False), (101.0, False), (110.0, True), (140.0, True)]
)
def test_a_step_of_the_clock_is_asked_for_unless_nobody_was_there_to_see_it(crash_s, asked):
    crashes = () if crash_s is None else (Crash(crash_s, 5.0),)
    spells = blind_for_sure(replace(SETUP, clock_steps=(ClockStep(100.0, 60.0),), crashes=crashes))
    assert (len(spells) == 1) is asked


LIED_S = 100.0  # when the one is told to sleep that does not


def drawn_on(behaviour, until_s, verb=Verb.SLEEP):
    """A cap that falls by one unit at 100 s; miner 3 is told to sleep for it, and a load that is one unit lower only at
    `until_s`, when another sleeps in its place."""
    odd = [behaviour if miner == 3 else Behaviour.OBEYS for miner in range(40)]
    setup = replace(SETUP, fleet=replace(SETUP.fleet, behaviours=odd))
    unit_w = setup.fleet.models[3].nameplate.power_w

    def falls(at_s):
        return lambda t_s: 0.8 * RATED_W - (unit_w if t_s >= at_s else 0.0)

    row = cycle(LIED_S, commands=(Command(1, 3, verb, None, False, False, "test"),))
    return setup, written(falls(until_s), falls(LIED_S), setup, [row])


@pytest.mark.parametrize("behaviour", [Behaviour.LIAR_SLEEP, Behaviour.IGNORES, Behaviour.SILENT_DRAW])
def test_who_draws_on_though_told_to_sleep_is_found_out_in_h_and_replaced_in_another(behaviour):
    """Found by harsh seeds 1052 and 1131: nobody can tell a liar from a slow one before the slow one is due."""
    h_s = horizon_s(SETUP)
    assert load_under_cap(*drawn_on(behaviour, LIED_S + 1.95 * h_s)) == []
    (breach,) = load_under_cap(*drawn_on(behaviour, LIED_S + 2.0 * h_s + 5.0))
    assert breach.at_s == pytest.approx(LIED_S + 2.0 * h_s, abs=0.5)


def test_who_says_no_is_known_at_once_and_who_obeys_is_nobodys_excuse():
    h_s, cycle_s = horizon_s(SETUP), SETUP.policy.cycle_s
    assert load_under_cap(*drawn_on(Behaviour.REFUSES, LIED_S + h_s + 1.9 * cycle_s)) == []
    assert load_under_cap(*drawn_on(Behaviour.REFUSES, LIED_S + 1.95 * h_s))
    for behaviour, verb in ((Behaviour.OBEYS, Verb.SLEEP), (Behaviour.LIAR_SLEEP, Verb.TRIM)):
        (breach,) = load_under_cap(*drawn_on(behaviour, LIED_S + 1.95 * h_s, verb))
        assert breach.at_s == pytest.approx(LIED_S + h_s, abs=0.5)


def test_a_liar_that_is_told_again_is_found_out_no_later():
    h_s = horizon_s(SETUP)
    setup, record = drawn_on(Behaviour.LIAR_SLEEP, LIED_S + 2.0 * h_s + 5.0)
    again = (Command(2, 3, Verb.SLEEP, None, False, False, "test"),)
    record.cycles.append(cycle(LIED_S + h_s, commands=again))
    assert len(load_under_cap(setup, record)) == 1


@pytest.mark.parametrize(
    ("behaviour", "excused_h"), [(Behaviour.SILENT_DRAW, 2.0), (Behaviour.OBEYS, 0.0), (Behaviour.NEVER_WAKES, 0.0)]
)
def test_a_dispatchers_cap_knows_who_draws_on_as_the_cap_of_the_surplus_does(behaviour, excused_h):
    """Found by harsh seed 4236: one that had started by itself was told to sleep and came up all the same."""
    h_s, cap_w = horizon_s(SETUP), 0.6 * RATED_W
    order = Dispatch(
        dispatch_id="order-1",
        issuer="grid",
        seq=1,
        issued_at=WALL_AT_START + 20.0,
        expires_at=WALL_AT_START + SETUP.duration_s,
        dispatch_class=DispatchClass.NORMAL,
        kind=DispatchKind.CAP,
        power_w=round(cap_w),
    )
    message = Message(20.0, Received(order, WALL_AT_START + 20.0), obeyed=True)

    def found(for_s):
        setup, told = drawn_on(behaviour, LIED_S)
        above = (LIED_S, LIED_S + for_s)
        record = written(lambda t_s: cap_w + (UNIT_W if above[0] < t_s <= above[1] else 0.0), cycles=told.cycles)
        return caps_obeyed(replace(setup, messages=(message,)), record)

    assert found(max(0.95 * excused_h * h_s, 1.9)) == []
    (breach,) = found(excused_h * h_s + 5.0)
    assert breach.at_s == pytest.approx(LIED_S + excused_h * h_s, abs=0.5)


@pytest.mark.parametrize(("behaviour", "excused_h"), [(Behaviour.SILENT_DRAW, 2.0), (Behaviour.OBEYS, 0.0)])
def test_so_does_what_was_drawn_when_a_site_went_blind(behaviour, excused_h):
    """Found by harsh seed 4043: one of 45 was told to sleep for boots that came, said that it does, and drew on."""
    h_s = horizon_s(SETUP)

    def found(for_s):
        setup, told = drawn_on(behaviour, LIED_S)
        unit_w = setup.fleet.models[3].nameplate.power_w
        above = (LIED_S, LIED_S + for_s)
        record = written(
            lambda t_s: 0.5 * RATED_W + (unit_w if above[0] < t_s <= above[1] else 0.0), cycles=told.cycles
        )
        return blind_only_down(replace(setup, input_faults=BLIND.input_faults), record)

    assert found(0.95 * excused_h * h_s) == []
    (breach,) = found(excused_h * h_s + 5.0)
    assert breach.at_s == pytest.approx(LIED_S + excused_h * h_s, abs=0.5)
