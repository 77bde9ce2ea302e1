"""A few sites of the swarm, and the checkers themselves: each must catch the fault it is there for.

A broken controller is made without touching the core: decisions are tampered with on their way to the miners, or a
sound run is judged by rules stricter than those it ran under.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.domain.command import Command, Verb
from controller.domain.dispatch import AnswerStatus, Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.plan import OperatorOrder, OperatorVerb
from simulators.asic.response import Behaviour
from tests.rig import checkers
from tests.rig.fleet import core_fleet
from tests.rig.invented import MACHINES, response_class
from tests.rig.large import large_setup
from tests.rig.setup import WALL_AT_START, FeederTrip, InputFault, InputFaultKind, Message, Operation, PlantEvent
from tests.rig.site import Site
from tests.rig.surplus import Steps
from tests.rig.swarm import run_seed, summary

SECONDS = 120.0


def site(seconds=SECONDS, **changes):
    """Forty miners, half asleep, under a surplus that swings between 75 and 35 % of rated every 20 s."""
    return replace(large_setup(40, seconds), **changes)


def steady(share, seconds=SECONDS, **changes):
    setup = site(seconds, **changes)
    level = share * setup.policy.rated_w
    return replace(setup, surplus=Steps((0.0, seconds), (level, level)))


def run(setup, tamper=None):
    return Site(setup, tamper).run()


def only(setup, record):
    return {breach.checker for breach in checkers.judge(setup, record)}


def without(*verbs, lowering=None):
    """A controller whose commands of these kinds get lost between decision and miner."""

    def tamper(decision):
        kept = tuple(
            one
            for one in decision.commands
            if one.verb not in verbs or (lowering is not None and one.raises == lowering)
        )
        return replace(decision, commands=kept)

    return tamper


def with_policy(setup, **fleet):
    return replace(setup, policy=replace(setup.policy, fleet=replace(setup.policy.fleet, **fleet)))


def with_ramp(setup, **ramp):
    return replace(setup, policy=replace(setup.policy, ramp=replace(setup.policy.ramp, **ramp)))


def cap_order(setup, at_s, share, dispatch_class=DispatchClass.NORMAL):
    order = Dispatch(
        dispatch_id="order-1",
        issuer="grid",
        seq=1,
        issued_at=WALL_AT_START + at_s,
        expires_at=WALL_AT_START + at_s + 70.0,
        dispatch_class=dispatch_class,
        kind=DispatchKind.CAP,
        power_w=round(share * setup.policy.rated_w),
    )
    return Message(at_s, Received(order, WALL_AT_START + at_s), obeyed=True)


@pytest.mark.parametrize("seed", [3, 5, 11])
def test_a_site_of_the_swarm_breaks_no_rule(seed):
    result = run_seed(seed, minutes=4.0)
    assert result.breaches == ()
    report = summary([result], large_ms=(0.0, 0.0))
    assert report["site_hours"] == pytest.approx(4.0 / 60.0, abs=1e-3)
    assert not any(report["violations"].values())


def test_the_same_seed_decides_the_same_to_the_byte_and_another_seed_does_not():
    first, again, other = run_seed(3, 4.0), run_seed(3, 4.0), run_seed(11, 4.0)
    assert first.digest == again.digest != other.digest


def test_the_plain_site_of_these_tests_breaks_no_rule():
    setup = site()
    assert only(setup, run(setup)) == set()


def test_a_controller_that_does_not_lower_is_seen_above_the_cap():
    setup = site()
    assert "load_under_cap" in only(setup, run(setup, without(Verb.SLEEP, Verb.TRIM, lowering=True)))


def test_a_command_that_raises_while_blind_is_seen():
    fault = InputFault("poi", InputFaultKind.STALE, 20.0, 100.0)
    setup = steady(0.35, input_faults=(fault,))
    assert only(setup, run(setup)) == set()

    def wakes_one(decision):
        asleep = np.flatnonzero(~decision.allocation.hashing)
        if not 40.0 < decision.now < 60.0 or not len(asleep):
            return decision
        wake = Command(10**6 + decision.cycle, int(asleep[0]), Verb.WAKE, None, True, False, "tampered")
        return replace(decision, commands=(*decision.commands, wake))

    assert "blind_only_down" in only(setup, run(setup, wakes_one))


def test_a_load_that_climbs_while_blind_is_seen_though_no_command_says_so():
    fault = InputFault("site", InputFaultKind.BAD, 20.0, 100.0)
    setup = steady(0.35, input_faults=(fault,))
    driven = Site(setup)
    while driven.now_s < 45.0:
        driven.advance()
    driven.bank.command_wake_many(np.arange(driven.bank.count))
    assert "blind_only_down" in only(setup, driven.run())


def test_a_site_that_stays_up_while_blind_is_seen():
    fault = InputFault("poi", InputFaultKind.STALE, 20.0, 178.0)
    setup = steady(0.5, seconds=180.0, input_faults=(fault,))
    assert only(setup, run(setup)) == set()
    assert "blind_ends_low" in only(setup, run(setup, without(Verb.SLEEP, Verb.TRIM, lowering=True)))


@pytest.mark.parametrize("field", ["unallocated_w", "allocated_w"])
def test_a_plan_that_does_not_add_up_is_seen(field):
    def forgets_a_kilowatt(decision):
        plan = decision.allocation
        return replace(decision, allocation=replace(plan, **{field: getattr(plan, field) + 1_000.0}))

    setup = site()
    assert only(setup, run(setup, forgets_a_kilowatt)) == {"plan_adds_up"}


def test_a_rise_faster_than_the_ramp_is_seen():
    setup = site()
    record = run(setup)
    assert only(with_ramp(setup, up_w_per_15s=0.03 * setup.policy.rated_w), record) == {"ramp_up_kept"}
    assert only(with_ramp(setup, up_w_per_min=0.15 * setup.policy.rated_w), record) == {"ramp_up_kept"}


def test_a_rest_cut_short_is_seen():
    setup = steady(0.7)
    setup = replace(setup, messages=(cap_order(setup, 10.0, 0.1),))
    record = run(setup)
    assert only(setup, record) == set()
    assert only(with_policy(setup, dwell_off_s=3_600.0), record) == {"dwell_kept"}


@pytest.mark.parametrize("status", [AnswerStatus.EXPIRED, AnswerStatus.ACCEPTED])
def test_an_answer_that_is_never_given_is_seen(status):
    setup = steady(0.7)
    setup = replace(setup, messages=(cap_order(setup, 20.0, 0.5),))
    assert only(setup, run(setup)) == set()

    def keeps_silent(decision):
        return replace(decision, answers=tuple(one for one in decision.answers if one.status is not status))

    assert only(setup, run(setup, keeps_silent)) == {"orders_answered"}


def test_an_order_that_is_answered_and_not_obeyed_is_seen():
    setup = steady(0.7)
    setup = replace(setup, messages=(cap_order(setup, 20.0, 0.2),))
    assert only(setup, run(setup)) == set()
    assert "caps_obeyed" in only(setup, run(setup, without(Verb.SLEEP, Verb.TRIM, lowering=True)))


def test_an_emergency_that_sheds_nobody_is_seen():
    setup = steady(0.7, plant_events=(PlantEvent(30.0, 0.0, 60.0, emergency=True),))
    assert only(setup, run(setup)) == set()
    assert "sheds_at_once" in only(setup, run(setup, without(Verb.SLEEP)))


def test_a_miner_quarantined_without_reason_is_seen():
    setup = site()
    odd = [Behaviour.NEVER_WAKES if index % 10 == 0 else Behaviour.OBEYS for index in range(40)]
    spoilt = replace(setup, fleet=replace(setup.fleet, behaviours=odd))
    record = run(spoilt)
    assert only(spoilt, record) == set()
    assert record.quarantined_at
    innocent = replace(setup, fleet=replace(setup.fleet, behaviours=[Behaviour.OBEYS] * 40))
    assert only(innocent, record) == {"well_behaved_stay"}


def test_a_miner_that_never_obeys_and_is_never_quarantined_is_seen():
    odd = [Behaviour.NEVER_WAKES if index % 10 == 0 else Behaviour.OBEYS for index in range(40)]
    setup = with_policy(site(240.0), attempts_max=1_000)
    setup = replace(setup, fleet=replace(setup.fleet, behaviours=odd))
    assert "misbehaving_go" in only(setup, run(setup))


def test_a_controller_that_never_stops_talking_is_seen():
    def repeats(decision):
        chatter = Command(10**6 + decision.cycle, 0, Verb.TRIM, 5, False, False, "tampered")
        return replace(decision, commands=(*decision.commands, chatter))

    setup = site(60.0)
    assert "commands_bounded" in only(setup, run(setup, repeats))


def test_a_site_that_leaves_the_surplus_lying_is_seen():
    setup = replace(steady(0.9, seconds=200.0), calm_from_s=20.0)
    held_down = replace(setup, operations=(Operation(10.0, OperatorOrder(OperatorVerb.CAP, "op", 30_000)),))
    assert only(setup, run(setup)) == set()
    assert only(setup, run(held_down)) == {"settles"}


def test_a_site_whose_feeders_are_full_of_sleepers_is_not_asked_for_more_than_they_leave():
    """Forty that draw a fifth of their rung asleep, below feeders that carry a third of them awake."""
    hungry = replace(next(one for one in MACHINES if one.key == "hungry-sleeper"), sleep_power_w=700.0)
    setup = replace(steady(0.9, seconds=200.0), calm_from_s=20.0)
    models, feeders = [hungry] * 40, len(setup.plant.site.feeders)
    rating_w = round(0.35 * sum(model.nameplate.power_w for model in models) / feeders)
    classes = {hungry.key: response_class(hungry)}
    facts = core_fleet(models, setup.feeder_of_miner, [rating_w] * feeders, classes)
    full = replace(setup, facts=facts, fleet=replace(setup.fleet, models=models))
    assert "settles" not in only(full, run(full))
    held_down = replace(full, operations=(Operation(10.0, OperatorOrder(OperatorVerb.CAP, "op", 20_000)),))
    assert "settles" in only(held_down, run(held_down))


TRIP = FeederTrip(feeder=0, begin_s=60.0, end_s=80.0)


def tripped(**changes):
    """A third to all of a steady site loses its power for 20 s and starts again within a minute."""
    return steady(0.8, seconds=200.0, trips=(TRIP,), **changes)


def test_miners_that_start_with_their_power_and_are_left_at_it_are_seen():
    sound = run(tripped())
    assert sound.self_started_s, "the test is about somebody"
    assert only(tripped(), sound) == set()
    record = run(tripped(), without(Verb.SLEEP, lowering=True))
    assert "power_back_is_idled" in only(tripped(), record)


def test_a_crowd_that_starts_and_is_not_idled_breaks_the_ramp():
    """What starts by itself is nobody's for as long as it takes to see it, and no longer."""
    setup = tripped()
    slow = replace(
        setup.policy.ramp, up_w_per_15s=0.05 * setup.policy.rated_w, up_w_per_min=0.12 * setup.policy.rated_w
    )
    ruled = replace(setup, policy=replace(setup.policy, ramp=slow))
    assert "ramp_up_kept" not in only(ruled, run(ruled))
    assert "ramp_up_kept" in only(ruled, run(ruled, without(Verb.SLEEP, Verb.TRIM, lowering=True)))


def test_a_mass_disconnect_told_miner_by_miner_is_seen():
    record = run(tripped())
    (at,) = [at for at, name, _, _ in record.events if name == "mass_disconnect"]
    assert only(tripped(), record) == set()
    record.events.extend((at, "miner_unreachable", f"m-{number:04}", "no answer") for number in range(11))
    assert only(tripped(), record) == {"many_are_one_event"}
