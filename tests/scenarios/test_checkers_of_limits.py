"""The harsh swarm's judges of limits, caps and dwells beside a full limit: on whole runs, and on commands by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.limits import Limit
from simulators.asic.bank import MinerBank
from simulators.asic.response import Behaviour, Mode
from tests.rig.check_load import caps_obeyed, limits_kept
from tests.rig.check_miners import dwell_kept
from tests.rig.fleet import AboveFeeders, core_fleet
from tests.rig.large import large_setup
from tests.rig.limits import LimitWatch
from tests.rig.random_site import random_setup
from tests.rig.setup import WALL_AT_START, Message
from tests.rig.site import Site
from tests.scenarios.written_runs import RATED_W, SECONDS, SETUP, cycle, falling, told, written


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


def test_an_early_sleep_is_seen_unless_a_limit_above_the_miner_was_exceeded():
    early = [told(100.0, Verb.WAKE), told(105.0, Verb.SLEEP)]
    setup = limited(0.7, SECONDS)
    record = written(falling(1.0), cycles=early)
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [105.0]
    record.events = [(104.0, "limit_exceeded", None, "transformer t1 carries 90.0 kW and may carry 80.0 kW: lowered")]
    assert dwell_kept(setup, record) == []
    record.events.append((104.5, "limit_kept", None, "transformer t1 carries 79.0 kW and may carry 80.0 kW"))
    assert [breach.at_s for breach in dwell_kept(setup, record)] == [105.0]
