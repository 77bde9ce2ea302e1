"""Shadow mode beside whatever else has the fleet: what it says it would have done is what control really does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from controller.core import checkpoint
from controller.core.shadow import answers_told
from controller.domain.command import Command, Verb
from controller.domain.dispatch import Answer, AnswerStatus
from controller.domain.fleet import FloatArray
from controller.domain.plan import Decision
from controller.domain.policy import Mode
from tests.rig.large import large_setup
from tests.rig.setup import Setup
from tests.rig.site import Site
from tests.rig.surplus import Steps

SECONDS = 200.0
SETTLED_S = 60.0
Tamper = Callable[[Decision], Decision]


class Trace:
    """Every decision of a run."""

    def __init__(self, then: Tamper = lambda decision: replace(decision, commands=())) -> None:
        self.decisions: list[Decision] = []
        self._then = then

    def __call__(self, decision: Decision) -> Decision:
        self.decisions.append(decision)
        return self._then(decision)


def setup_of(mode: Mode) -> Setup:
    """Forty miners that all obey, under a surplus that steps every 40 s between three levels."""
    made = large_setup(40, SECONDS)
    corners = np.arange(0.0, SECONDS + 40.0, 40.0)
    shares = np.array([0.75, 0.4, 0.6])[np.arange(len(corners)) % 3]
    surplus = Steps(tuple(corners.tolist()), tuple((shares * made.policy.rated_w).tolist()))
    policy = replace(made.policy, mode=mode)
    return replace(made, policy=policy, surplus=surplus, recount=False)


def on_and_off(decision: Decision) -> Decision:
    """The system that is there today: half of the miners off for a minute, then on for a minute."""
    if round(decision.now, 3) % 60.0 > 0.5:
        return replace(decision, commands=())
    verb = Verb.SLEEP if round(decision.now / 60.0) % 2 else Verb.WAKE
    commands = tuple(Command(0, miner, verb, None, verb is Verb.WAKE, False, "today") for miner in range(0, 40, 2))
    return replace(decision, commands=commands)


def followed(decisions: list[Decision], at_s: FloatArray) -> tuple[FloatArray, FloatArray]:
    """What the site drew in our hands - in shadow, would have drawn - and its cap, at some moments."""
    known = [one for one in decisions if one.figures.cap_w is not None and one.figures.measured_w is not None]
    now_s = [one.now for one in known]
    load_w = [one.figures.measured_w if one.shadow is None else one.shadow.load_w for one in known]
    return np.interp(at_s, now_s, load_w), np.interp(at_s, now_s, [one.figures.cap_w for one in known])


@pytest.fixture(scope="module")
def controlled() -> tuple[list[Decision], Site]:
    trace = Trace(lambda decision: decision)
    site = Site(setup_of(Mode.CONTROL), trace)
    site.run()
    return trace.decisions, site


@pytest.mark.parametrize("today", [lambda decision: replace(decision, commands=()), on_and_off])
def test_what_it_would_have_done_is_what_control_does_whatever_the_real_fleet_does(
    controlled: tuple[list[Decision], Site], today: Tamper
) -> None:
    in_charge, _ = controlled
    trace = Trace(today)
    site = Site(setup_of(Mode.SHADOW), trace)
    site.run()
    rated_w = site.setup.policy.rated_w
    at_s = np.arange(SETTLED_S, SECONDS, 1.0)  # urgent cycles come at moments of their own in each run
    would_w, cap_w = followed(trace.decisions, at_s)
    did_w, cap_in_charge_w = followed(in_charge, at_s)
    assert np.median(np.abs(cap_w - cap_in_charge_w)) < 0.01 * rated_w, "the surplus is the real one"
    assert np.median(np.abs(would_w - did_w)) < 0.02 * rated_w
    assert abs(would_w.mean() - did_w.mean()) < 0.02 * rated_w
    report = trace.decisions[-1].shadow
    assert report is not None
    measured_w = np.array([one.figures.measured_w for one in trace.decisions if one.now >= 1.0], dtype=float)
    true_w = np.interp([one.now for one in trace.decisions if one.now >= 1.0], site.record.t_s, site.record.load_w)
    assert np.median(np.abs(measured_w - true_w)) < 0.01 * rated_w, "measured stays what the site meter shows"
    assert report.compared_s > SECONDS - 20.0
    total_wh = report.shadow.absorbed_wh + report.shadow.unused_wh
    assert total_wh == pytest.approx(report.site.absorbed_wh + report.site.unused_wh, rel=1e-6), "one cap for both"
    assert report.shadow.above_cap_s < report.site.above_cap_s
    assert report.site.switches == (0 if today is not on_and_off else pytest.approx(60, abs=25))
    assert sum(report.commands.values()) > 20


def test_a_restart_goes_on_measuring_and_believes_nothing_of_what_was_imagined() -> None:
    site = Site(setup_of(Mode.SHADOW), Trace())
    while site.now_s < 100.0:
        site.advance()
    record = checkpoint.to_record(site.setup.facts, site.state, site.now_s)
    assert site.state.fleet.ours_asleep.any()
    again = checkpoint.from_record(site.setup.facts, record, 500.0, 0.0)
    assert not again.fleet.ours_asleep.any()
    assert again.next_command_id == site.state.next_command_id
    assert again.shadow is not None and site.state.shadow is not None
    assert again.shadow.site == site.state.shadow.site
    assert again.shadow.compared_s > 90.0
    assert not again.shadow.begun
    sleeper = site.setup.facts.miner_ids[0]
    checkpoint.replay_commands(site.setup.facts, again, [(9_999, sleeper, Verb.SLEEP)])
    assert not again.fleet.ours_asleep.any()
    assert again.next_command_id == 10_000


def test_a_dispatcher_is_told_that_nobody_obeys_and_told_it_once() -> None:
    said = [AnswerStatus.RECEIVED, AnswerStatus.ACCEPTED, AnswerStatus.REACHED, AnswerStatus.EXPIRED]
    answers = tuple(Answer("a", "b", status, 1.0, terminal=status is AnswerStatus.EXPIRED) for status in said)
    told = answers_told(answers)
    assert [answer.status for answer in told] == [AnswerStatus.RECEIVED, AnswerStatus.REJECTED]
    assert [answer.terminal for answer in told] == [False, True]
    assert "shadow mode" in told[1].reason
