"""The judges of the harsh swarm, each on a run written by hand: one with the breach it is there for, one without.

Forty miners, half asleep; what is written is the true load at every tick and what each cycle decided.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import Command, CommandReport, Outcome, Verb
from controller.domain.limits import Limit
from simulators.asic.bank import MinerBank
from simulators.asic.response import Behaviour, Mode
from tests.rig.breaches import blind_for_sure, horizon_s
from tests.rig.check_load import blind_ends_low, caps_obeyed, limits_kept, load_under_cap, sheds_at_once
from tests.rig.check_miners import dwell_kept, orders_end_in_time
from tests.rig.check_physics import STILL_S, ledger_balances, no_limit_cycle, ramp_down_kept, strongest_line
from tests.rig.fleet import AboveFeeders, core_fleet
from tests.rig.large import large_setup
from tests.rig.limits import LimitWatch
from tests.rig.random_site import random_setup
from tests.rig.record import CycleRow, Record
from tests.rig.setup import WALL_AT_START, ClockStep, Crash, InputFault, InputFaultKind, Message, PlantEvent
from tests.rig.site import Site

SECONDS = 300.0
SETUP = replace(large_setup(40, SECONDS), calm_from_s=120.0)
RATED_W = SETUP.policy.rated_w
UNIT_W = float(SETUP.facts.level_power_w.max())
RAMPED = replace(
    SETUP,
    policy=replace(
        SETUP.policy,
        ramp=replace(SETUP.policy.ramp, down_w_per_min=0.2 * RATED_W, down_w_per_15s=0.05 * RATED_W),
    ),
)


def cycle(at_s, *, bound="dispatch_target", expected_w=0.0, commands=(), **changes):
    row = CycleRow(
        at_s=at_s,
        setpoint_w=RATED_W,
        cap_w=RATED_W,
        bound=bound,
        shed=False,
        fail_safe="good",
        expected_w=expected_w,
        committed_w=0.0,
        plan_gap_w=0.0,
        recount_gap_w=0.0,
        commands=commands,
        quarantined=0,
        step_ms=0.1,
    )
    return replace(row, **changes)


def written(load_w, cap_w=lambda t_s: 2.0 * RATED_W, setup=SETUP, cycles=None):
    """A record whose true load at each tick is `load_w(t_s)`; a cycle each second that expects just that."""
    record = Record()
    for tick in range(round(setup.duration_s / setup.tick_s)):
        t_s = (tick + 1) * setup.tick_s
        record.tick(t_s, load_w(t_s), cap_w(t_s), 0.0)
    seconds = range(1, round(setup.duration_s))
    record.cycles = [cycle(float(at), expected_w=load_w(float(at))) for at in seconds] if cycles is None else cycles
    return record


def falling(over_s, depth=0.3, from_s=150.0):
    """From 80 % of rated down by `depth` of it within so many seconds."""
    return lambda t_s: (0.8 - depth * min(max((t_s - from_s) / over_s, 0.0), 1.0)) * RATED_W


# --- the way down ---------------------------------------------------------------------------------------------------


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


# --- blind ----------------------------------------------------------------------------------------------------------

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


# --- the ledger -----------------------------------------------------------------------------------------------------


def test_a_ledger_that_expects_what_flows_is_fine_and_one_that_does_not_is_seen():
    steady = written(falling(1.0))
    assert ledger_balances(SETUP, steady) == []
    for sign in (-1.0, 1.0):
        off_w = sign * (0.03 * RATED_W + UNIT_W)
        record = written(falling(1.0))
        record.cycles = [replace(row, expected_w=row.expected_w + off_w) for row in record.cycles]
        (breach,) = ledger_balances(SETUP, record)
        assert breach.at_s > SECONDS - 20.0
        assert f"{off_w / 1e3:+.1f} kW" in breach.text


def test_a_ledger_that_knows_nothing_is_not_taken_for_one_that_balances():
    """Nothing expected is no figure to judge: the other checkers see a core that does not know its site."""
    record = written(falling(1.0))
    record.cycles = [replace(row, expected_w=None) for row in record.cycles]
    assert ledger_balances(SETUP, record) == []
    record.cycles[-1] = replace(record.cycles[-1], expected_w=0.0)
    assert len(ledger_balances(SETUP, record)) == 1


# --- limit cycles ---------------------------------------------------------------------------------------------------


def swinging(amplitude_w, period_s):
    return lambda t_s: 0.6 * RATED_W + amplitude_w * math.sin(2.0 * math.pi * t_s / period_s)


@pytest.mark.parametrize("period_s", [4.0, 12.0, 30.0])
def test_a_load_that_swings_by_more_than_a_unit_is_seen_with_its_period(period_s):
    assert no_limit_cycle(SETUP, written(swinging(0.5 * UNIT_W, period_s))) == []
    (breach,) = no_limit_cycle(SETUP, written(swinging(1.5 * UNIT_W, period_s)))
    said_s = float(breach.text.split(" at ")[1].split(" s")[0])
    assert said_s == pytest.approx(period_s, rel=0.15, abs=1.0)


def test_noise_and_a_climb_are_no_cycle():
    noise = np.random.default_rng(4).normal(0.0, 0.3 * UNIT_W, 100_000)
    assert no_limit_cycle(SETUP, written(lambda t_s: 0.6 * RATED_W + noise[round(t_s / SETUP.tick_s)])) == []
    assert no_limit_cycle(SETUP, written(lambda t_s: t_s / SECONDS * RATED_W)) == []


def test_a_swing_before_the_calm_is_not_judged():
    quiet_s = SECONDS - STILL_S
    assert no_limit_cycle(SETUP, written(lambda t_s: swinging(3.0 * UNIT_W, 12.0)(min(t_s, quiet_s)))) == []


def test_the_strongest_line_is_found_with_its_amplitude():
    at_s = np.arange(0.0, 100.0, 0.1)
    load_w = 50.0 * at_s + 700.0 * np.sin(2.0 * np.pi * at_s / 10.0) + 200.0 * np.sin(2.0 * np.pi * at_s / 4.0)
    amplitude_w, period_s = strongest_line(load_w, 0.1)
    assert amplitude_w == pytest.approx(700.0, rel=0.1)
    assert period_s == pytest.approx(10.0, rel=0.05)


# --- orders and the clock -------------------------------------------------------------------------------------------


def ordered(**changes):
    """One cap in force from 20 to 90 s; somebody sets the clock back at 50 s."""
    order = Dispatch(
        dispatch_id="order-1",
        issuer="grid",
        seq=1,
        issued_at=WALL_AT_START + 20.0,
        expires_at=WALL_AT_START + 90.0,
        dispatch_class=DispatchClass.NORMAL,
        kind=DispatchKind.CAP,
        power_w=50_000,
        priority=0,
    )
    message = Message(20.0, Received(order, WALL_AT_START + 20.0), obeyed=True)
    return replace(SETUP, messages=(message,), clock_steps=(ClockStep(50.0, -30.0),), **changes)


def ended(at_s, status=AnswerStatus.EXPIRED):
    record = written(falling(1.0))
    record.answers = [(at_s, Answer("order-1", "grid", status, WALL_AT_START + at_s, terminal=True))]
    return record


@pytest.mark.parametrize("at_s", [90.0, 91.5])
def test_an_order_that_ends_when_its_life_is_over_is_fine(at_s):
    assert orders_end_in_time(ordered(), ended(at_s)) == []


@pytest.mark.parametrize("at_s", [60.0, 88.0, 94.0, 120.0])
def test_an_order_that_ends_by_a_clock_that_was_set_is_seen(at_s):
    (breach,) = orders_end_in_time(ordered(), ended(at_s))
    assert f"{at_s - 90.0:+.1f} s" in breach.text


def test_an_order_that_ends_while_nobody_is_there_ends_with_the_start():
    down = Crash(85.0, 10.0)
    assert orders_end_in_time(ordered(crashes=(down,)), ended(96.0)) == []
    assert len(orders_end_in_time(ordered(crashes=(down,)), ended(99.0))) == 1


def test_an_order_that_gave_way_to_another_has_no_end_of_its_own():
    assert orders_end_in_time(ordered(), ended(40.0, AnswerStatus.SUPERSEDED)) == []


# --- the cap --------------------------------------------------------------------------------------------------------


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


# --- limits ---------------------------------------------------------------------------------------------------------


def limited(share, seconds=90.0):
    """All forty below one transformer that carries so much of them, under a surplus for everybody."""
    setup = large_setup(40, seconds)
    watts = [model.nameplate.power_w for model in setup.fleet.models]
    above = AboveFeeders((Limit("t1", "transformer", round(share * sum(watts))),), (0,) * len(setup.plant.site.feeders))
    facts = core_fleet(setup.fleet.models, setup.feeder_of_miner, [RATED_W] * len(above.feeder_limit), above=above)
    obedient = replace(setup.fleet, behaviours=[Behaviour.OBEYS] * 40)
    return replace(setup, facts=facts, fleet=obedient, surplus=EnoughForAll())


class EnoughForAll:
    def surplus_w(self, t_s):
        return 1.2 * RATED_W


def wakes_all(decision):
    """A controller that knows no limits."""
    asleep = np.flatnonzero(~decision.allocation.hashing)
    wakes = [Command(10**6 + one, one, Verb.WAKE, None, True, False, "tampered") for one in asleep.tolist()]
    return replace(decision, commands=(*decision.commands, *wakes)) if decision.now > 30.0 else decision


def test_a_raise_above_a_limit_is_seen_by_what_is_on_its_way():
    """At the moment of the command, long before a watt of it flows."""
    setup = limited(0.7)
    sound = Site(setup).run()
    fullest = max(row.fullest_ratio for row in sound.cycles)
    assert 0.9 < fullest <= 1.0, "the limit is what holds this site"
    assert limits_kept(setup, sound) == []
    breach = limits_kept(setup, Site(setup, wakes_all).run())[0]
    assert breach.at_s == pytest.approx(31.0, abs=1.0)
    assert "t1" in breach.text


def test_a_reduction_below_a_full_limit_is_no_breach():
    assert limits_kept(SETUP, written(falling(1.0), cycles=[cycle(10.0), cycle(11.0, fullest_ratio=1.02)])) == []
    over = cycle(12.0, fullest="t1", fullest_ratio=1.05)
    assert len(limits_kept(SETUP, written(falling(1.0), cycles=[cycle(10.0), over]))) == 1


@pytest.mark.parametrize("outcome", [Outcome.WITHHELD, Outcome.UNREACHABLE, Outcome.REFUSED])
def test_a_raise_that_was_not_carried_out_is_no_load_of_a_limit(outcome):
    """Found by harsh seed 1134: two wakes were withheld, others took their place, and both counted."""
    setup = limited(0.7)
    bank = MinerBank(setup.fleet)
    watch = LimitWatch(setup, bank)
    asleep = np.flatnonzero(bank.mode == Mode.SLEEP).tolist()
    wakes = tuple(Command(10 + one, one, Verb.WAKE, None, True, False, "test") for one in asleep)
    several, one_more = wakes[:-1], wakes[-1:]
    assert watch.fullest(several, 30.0)[0] > 1.3
    assert watch.fullest(one_more, 31.0)[0] > 1.3
    for command in several:
        watch.heard([CommandReport(command.command_id - 1, command.miner, outcome, None, 31.5)])
    assert watch.fullest(one_more, 32.0)[0] > 1.3, "a report about another command says nothing of this one"
    watch.heard([CommandReport(command.command_id, command.miner, outcome, None, 32.5) for command in several])
    assert watch.fullest(one_more, 32.0)[0] < 0.9


def test_a_machine_that_forgets_its_rung_counts_with_the_one_it_will_start_at():
    setup = random_setup(1134, 10.0, harsh=True)  # the seed that showed it
    bank = MinerBank(setup.fleet)
    forgetful = next(one for one in np.flatnonzero(bank.loses_profile).tolist() if bank.mode[one] == Mode.SLEEP)
    wake = (Command(10, forgetful, Verb.WAKE, None, True, False, "test"),)
    whole = LimitWatch(setup, bank).fullest(wake, 30.0)[0]
    bank.profile_index[forgetful] = 0  # what it ran before it slept
    assert LimitWatch(setup, bank).fullest(wake, 30.0)[0] == whole


def test_a_cap_beside_a_full_limit_takes_hold_at_once_and_one_that_waits_is_seen():
    """The set-point may lead a load that cannot follow; a way down that begins up there moves nothing at first."""
    ramp = replace(SETUP.policy.ramp, down_w_per_min=0.3 * RATED_W)
    order = Dispatch(
        dispatch_id="order-1",
        issuer="grid",
        seq=1,
        issued_at=WALL_AT_START + 60.0,
        expires_at=WALL_AT_START + 170.0,
        dispatch_class=DispatchClass.NORMAL,
        kind=DispatchKind.CAP,
        power_w=round(0.35 * RATED_W),
    )
    message = Message(60.0, Received(order, WALL_AT_START + 60.0), obeyed=True)
    setup = limited(0.5, 170.0)
    setup = replace(setup, policy=replace(setup.policy, ramp=ramp), messages=(message,))
    record = Site(setup).run()
    before = next(row for row in record.cycles if row.at_s > 58.0)
    assert before.setpoint_w > 0.6 * RATED_W > 0.55 * RATED_W > record.load_w[round(59.0 / setup.tick_s)]
    assert caps_obeyed(setup, record) == []
    record.load_w = [*record.load_w[:610], *([0.5 * RATED_W] * 400), *record.load_w[610:-400]]
    assert len(caps_obeyed(setup, record)) == 1, "the same 40 s later"


def told(at_s, verb, miner=3):
    return cycle(at_s, commands=(Command(int(at_s), miner, verb, None, verb is Verb.WAKE, False, "test"),))


def test_an_early_sleep_is_seen_unless_a_limit_above_the_miner_was_exceeded():
    early = [told(100.0, Verb.WAKE), told(105.0, Verb.SLEEP)]
    setup = limited(0.7, SECONDS)
    record = written(falling(1.0), cycles=early)
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [105.0]
    record.events = [(104.0, "limit_exceeded", None, "transformer t1 carries 90.0 kW and may carry 80.0 kW: lowered")]
    assert dwell_kept(setup, record) == []
    record.events.append((104.5, "limit_kept", None, "transformer t1 carries 79.0 kW and may carry 80.0 kW"))
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [105.0]
