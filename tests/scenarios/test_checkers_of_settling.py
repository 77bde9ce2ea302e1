"""The swarm's judge of where a calm ends, on runs written by hand: forty slow miners on one feeder, twenty asleep."""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.command import Verb
from simulators.asic.models import MODELS
from tests.rig.check_load import settles
from tests.rig.fleet import core_fleet
from tests.scenarios.written_runs import SETUP, told, written

MODEL = MODELS["s19xpstock"]  # half a minute dead, a minute to be up: one wave fits into what is left of the calm
UNIT_W = MODEL.nameplate.power_w
ASLEEP = 20


def site(first, growth=1.5, **changes):
    """Half of it asleep; waves begin with `first`."""
    fleet = replace(SETUP.fleet, models=[MODEL] * 40, asleep=[miner < ASLEEP for miner in range(40)])
    policy = SETUP.policy
    policy = replace(policy, rated_w=round(40 * UNIT_W), **changes)
    waves = replace(policy.fleet.waves, first=first, growth=growth)
    return replace(
        SETUP,
        fleet=fleet,
        feeder_of_miner=(0,) * 40,
        facts=core_fleet(fleet.models, (0,) * 40, [policy.rated_w * 2]),
        policy=replace(policy, fleet=replace(policy.fleet, waves=waves)),
    )


def ends_with(setup, units, cycles=()):
    """What the judge says when so many units hash in the end, and half of them until the last minute."""
    return settles(
        setup, written(lambda t_s: UNIT_W * (20 if t_s < 240.0 else units), setup=setup, cycles=list(cycles))
    )


def test_who_waits_for_a_place_in_a_wave_is_not_asked_for_and_who_has_one_is():
    """Found by harsh seeds 4117, 4201, 4279 and 4483: hundreds of slow miners, of which forty may start at once."""
    assert ends_with(site(first=5), 25) == []
    (breach,) = ends_with(site(first=5), 20)
    assert "could be" in breach.text
    assert len(ends_with(site(first=40), 25)) == 1
    assert ends_with(site(first=40), 40) == []


def test_quick_ones_have_the_time_for_a_second_wave():
    """A class whose wave takes no more than half of the time comes up by one and a half of them more."""
    twice = replace(site(first=4), sweep_s=0.0, duration_s=360.0)
    assert ends_with(twice, 30) == []
    assert len(ends_with(twice, 24)) == 1


def test_no_more_are_asked_for_than_may_be_woken_in_a_cycle():
    policy = SETUP.policy
    assert policy.fleet.wakes_per_cycle_max == 2
    assert ends_with(site(first=40, cycle_s=20.0), 24) == []
    assert len(ends_with(site(first=40), 24)) == 1


@pytest.mark.parametrize(
    ("what", "at_s", "asked_for"),
    [(Verb.WAKE, 110.0, 28), (Verb.WAKE, 130.0, 25), (Verb.SLEEP, 110.0, 20), (Verb.SLEEP, 130.0, 20)],
)
def test_who_was_woken_before_the_calm_needs_no_place_and_who_was_put_to_sleep_needs_one(what, at_s, asked_for):
    """Three that sleep are woken, or five that hash are put to sleep."""
    miners = range(3) if what is Verb.WAKE else range(ASLEEP, ASLEEP + 5)
    cycles = [told(at_s, what, miner) for miner in miners]
    assert ends_with(site(first=5), asked_for - 2, cycles) == []
    assert len(ends_with(site(first=5), asked_for - 4, cycles)) == 1
