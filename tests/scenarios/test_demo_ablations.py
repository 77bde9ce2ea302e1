"""The demo's promises in virtual time: kept by the daemon as shipped, broken as soon as a part of it is switched off.

The same scenario, judged by the same words, as `curtaild-sim demo` plays with processes and sockets.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from controller.domain.policy import Feedback, Mode
from simulators.asic.response import Behaviour
from simulators.demo.promises import ABSORBED_SHARE, LONGEST_VIOLATION_S, MOVES_EACH_WAY
from simulators.scenario import DEMO
from tests.rig.demo_like import Outcome, demo_setup, judge, scenario_rules
from tests.rig.site import Site

SECONDS = 180.0
BEHAVIOURS = DEMO.fleet.behaviours()
MUST = {index for index, one in enumerate(BEHAVIOURS) if one & (Behaviour.LIAR_SLEEP | Behaviour.NEVER_WAKES)}
MAY = {index for index, one in enumerate(BEHAVIOURS) if one}


def played(*, seed: int = DEMO.fleet.seed, mode: Mode = Mode.CONTROL, **switched: object) -> Outcome:
    """Three minutes of the demo; `switched` replaces single rules."""
    rules = replace(scenario_rules(DEMO), **switched)
    setup = demo_setup(DEMO, SECONDS, seed, rules, DEMO.policy.meter_period_s)
    setup = replace(setup, policy=replace(setup.policy, mode=mode))
    return judge(DEMO, setup, Site(setup).run(), oracle=True)


def broken(outcome: Outcome) -> set[str]:
    """Names of the promises this run did not keep."""
    quarantined = set(outcome.quarantined)
    kept = {
        "time above the cap": outcome.net_longest_s <= LONGEST_VIOLATION_S,
        "surplus absorbed": outcome.share is not None and outcome.share >= ABSORBED_SHARE,
        "moves of the load": min(outcome.moves_up, outcome.moves_down) >= MOVES_EACH_WAY,
        "liar, never-wakers": quarantined >= MUST,
        "well-behaved miners": quarantined <= MAY,
    }
    return {name for name, good in kept.items() if not good}


def test_the_demo_holds_a_liar_and_three_never_wakers_among_those_it_exercises() -> None:
    named = [one for one in BEHAVIOURS if one]
    assert sorted(one.name for one in named) == ["LIAR_SLEEP", *["NEVER_WAKES"] * 3, "REFUSES"]


@pytest.mark.parametrize("seed", [DEMO.fleet.seed, 1, 2])
def test_the_daemon_as_shipped_keeps_every_promise_of_the_demo(seed: int) -> None:
    assert broken(played(seed=seed)) == set()


def test_without_trim_a_promise_is_broken() -> None:
    assert broken(played(trim=False))


def test_without_the_meter_in_the_loop_a_promise_is_broken() -> None:
    assert broken(played(feedback=Feedback.OPEN_LOOP))


def test_without_an_allocator_the_load_stays_above_the_cap_and_nobody_is_caught() -> None:
    outcome = played(mode=Mode.OBSERVE)
    assert broken(outcome) >= {"time above the cap", "moves of the load", "liar, never-wakers"}
    assert (outcome.commands, outcome.quarantined) == (0, ())
