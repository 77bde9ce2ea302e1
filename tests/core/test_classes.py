"""What readings teach of a class: with any sweep, and no more than they can."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from controller.core import checkpoint, classes, estimator, flight, reconcile
from controller.core.class_state import GRID, ClassState
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import Condition, Verdict
from controller.domain.plan import VerdictReport
from tests.core.builders import RESPONSE

SLEEP, WAKE, TRIM = range(3)
VERB = {SLEEP: Verb.SLEEP, WAKE: Verb.WAKE, TRIM: Verb.TRIM}
TOP_W, SLEEP_W = 3_500.0, 50.0


class Lessons:
    """Commands to one class whose miners really take `dead_s` and `to_90_s`, each read every `sweep_s`, at any age."""

    def __init__(self, kit, dead_s, to_90_s, *, verb=WAKE, sweep_s=5.0, spread=0.15, seed=1, miners=50):
        self.facts = kit.fleet(miners)
        self.state = State.fresh(self.facts, 0.0)
        self.rng = np.random.default_rng(seed)
        self.dead_s, self.to_90_s, self.verb = dead_s, to_90_s, verb
        self.sweep_s, self.spread = sweep_s, spread
        self.command = 0

    def teach(self, rounds=2, *, spoil=lambda watts, age_s: watts):
        for _ in range(rounds):
            self._once(spoil)
        return self

    def _once(self, spoil):
        fleet, n = self.state.fleet, len(self.facts)
        from_w, to_w = (SLEEP_W, TOP_W) if self.verb == WAKE else (TOP_W, SLEEP_W)
        fleet.verb[:] = self.verb + 1
        fleet.command_id[:] = self.command + np.arange(n)
        self.command += n
        fleet.sent_at[:] = fleet.changed_at[:] = 0.0
        fleet.from_w[:], fleet.to_w[:] = from_w, to_w
        slow = np.exp(self.rng.normal(0.0, self.spread, n))
        first = self.rng.uniform(0.0, self.sweep_s, n)
        last_s = 2.0 * (self.dead_s + self.to_90_s) + self.sweep_s
        for turn in range(int(last_s / self.sweep_s) + 1):
            age_s = first + turn * self.sweep_s
            running = np.maximum(age_s / slow - self.dead_s, 0.0) / self.to_90_s
            left = np.maximum(1.0 - 0.9 * running, 0.0) if self.verb == WAKE else 10.0 ** -np.minimum(running, 12.0)
            fleet.reported_w[:] = spoil(to_w + (from_w - to_w) * left, age_s)
            fleet.read_at[:] = age_s
            classes.watch(self.facts, self.state, np.ones(n, dtype=np.bool_))
        self.judge("settled")

    def judge(self, verdict, miners=None):
        rows = range(len(self.facts)) if miners is None else miners
        reports = [
            VerdictReport(int(self.state.fleet.command_id[row]), row, VERB[self.verb].value, verdict, 1.0)
            for row in rows
        ]
        classes.learn(self.facts, self.state, np.zeros(len(self.facts), dtype=np.bool_), reports)

    @property
    def figures(self):
        kept = self.state.classes
        return float(kept.dead_s[0, self.verb]), float(kept.to_90_s[0, self.verb])


@pytest.mark.parametrize("sweep_s", [1.0, 5.0, 10.0, 30.0])
@pytest.mark.parametrize(("dead_s", "to_90_s"), [(10.0, 30.0), (20.0, 60.0), (6.0, 18.0), (15.0, 25.0)])
def test_a_boot_is_learned_through_any_sweep(kit, sweep_s, dead_s, to_90_s):
    """Configured are 10 and 30 s. A sweep of 30 s puts one reading, or two, anywhere into the boot."""
    learned = sum(Lessons(kit, dead_s, to_90_s, sweep_s=sweep_s).teach(rounds=4).figures)
    assert learned == pytest.approx(dead_s + to_90_s, rel=0.15)


def test_where_power_begins_to_move_is_told_apart_from_where_it_arrives(kit):
    dead_s, to_90_s = Lessons(kit, 25.0, 15.0).teach(rounds=4).figures
    assert dead_s == pytest.approx(25.0, rel=0.15)
    assert to_90_s == pytest.approx(15.0, rel=0.35)


@pytest.mark.parametrize(("sweep_s", "seen"), [(0.5, True), (30.0, False)])
def test_a_dead_time_far_below_the_sweep_stays_as_configured(kit, sweep_s, seen):
    """Configured 1 + 3 s for a sleep, and it is 3 + 3 s: a sweep of 30 s has too few readings in there to say so."""
    dead_s, _ = Lessons(kit, 3.0, 3.0, verb=SLEEP, sweep_s=sweep_s, miners=30).teach(rounds=1).figures
    assert dead_s == (pytest.approx(3.0, rel=0.25) if seen else RESPONSE.sleep_dead_s)


def test_few_commands_teach_nothing(kit):
    assert np.isnan(Lessons(kit, 20.0, 60.0, miners=19).teach(rounds=1).figures).all()
    assert np.isfinite(Lessons(kit, 20.0, 60.0, miners=20, sweep_s=2.0).teach(rounds=1).figures).all()


@pytest.mark.parametrize(("times", "ratio"), [(20.0, 4.0), (0.05, 0.25)])
def test_nothing_is_learned_beyond_a_quarter_and_four_times_the_configured(kit, times, ratio):
    figures = Lessons(kit, 10.0 * times, 30.0 * times, sweep_s=0.5 * max(times, 0.1)).teach(rounds=2).figures
    for learned_s, configured_s in zip(figures, (10.0, 30.0), strict=True):
        assert np.isnan(learned_s) or learned_s == pytest.approx(ratio * configured_s, rel=0.1)


def test_a_tenth_of_readings_that_lie_moves_no_figure_far(kit):
    rng = np.random.default_rng(3)

    def lies(watts, age_s):
        return np.where(rng.random(len(watts)) < 0.1, rng.choice([0.0, TOP_W], len(watts)), watts)

    spoilt = Lessons(kit, 15.0, 45.0, sweep_s=5.0).teach(rounds=4, spoil=lies).figures
    assert sum(spoilt) == pytest.approx(60.0, rel=0.25)


def test_what_changed_is_learned_anew(kit):
    lessons = Lessons(kit, 10.0, 30.0).teach(rounds=6)
    lessons.dead_s, lessons.to_90_s = 20.0, 60.0
    assert sum(lessons.teach(rounds=10).figures) == pytest.approx(80.0, rel=0.15)


def test_miners_that_tell_no_watts_teach_nothing(kit):
    lessons = Lessons(kit, 20.0, 60.0)
    lessons.facts = replace(lessons.facts, reports_power=np.zeros(len(lessons.facts), dtype=np.bool_))
    assert np.isnan(lessons.teach(rounds=4).figures).all()


def test_boot_success_is_the_share_of_wakes_that_settled_and_refusals_are_no_boots(kit):
    lessons = Lessons(kit, 10.0, 30.0)
    fleet = lessons.state.fleet
    lessons.judge("settled", range(30))
    lessons.judge("stuck", range(30, 40))
    fleet.refused[40:] = True
    lessons.judge("stuck", range(40, 50))
    (report,) = classes.reports(lessons.facts, lessons.state)
    assert report.boot_success == pytest.approx(0.75, abs=0.02)
    assert report.boots == pytest.approx(40.0, abs=5.0)


def test_sleep_watts_are_the_middle_of_what_sleepers_say(kit):
    facts = kit.fleet(9)
    state = kit.seen_state(facts, [False] * 9)
    said_w = np.array([70, 70, 72, 68, 71, 69, 70, 3_000, 0.0])  # one draws on, one tells zero
    (before,) = classes.reports(facts, state)
    for _ in range(100):
        state.fleet.reported_w[:] = said_w
        classes.learn(facts, state, np.ones(9, dtype=np.bool_), ())
    (report,) = classes.reports(facts, state)
    assert before.sleep_power_w is None
    assert report.sleep_power_w == pytest.approx(70.0, abs=3.0)


# --- what is done with it -----------------------------------------------------------------------------------------


def learned(kit, dead_s, to_90_s, **policy):
    lessons = Lessons(kit, dead_s, to_90_s).teach(rounds=6)
    return lessons, classes.learned(lessons.facts, lessons.state, kit.policy(fleet=policy).fleet)


def test_what_is_expected_is_what_was_learned_and_other_verbs_stay(kit):
    lessons, facts = learned(kit, 20.0, 60.0)
    dead_s, to_90_s = lessons.figures
    assert facts.wake_dead_s[0] == dead_s
    assert facts.wake_90_s[0] == to_90_s
    assert facts.boot_s[0] == dead_s + 0.5 * to_90_s
    assert facts.wake_learned[0] == pytest.approx((dead_s + to_90_s) / 40.0)
    assert (facts.trim_90_s[0], facts.trim_learned[0]) == (RESPONSE.trim_90_s, 1.0)


def test_with_learning_off_the_figures_are_still_shown_and_not_used(kit):
    lessons, facts = learned(kit, 20.0, 60.0, learn=False)
    assert facts is lessons.facts
    (report,) = classes.reports(lessons.facts, lessons.state)
    assert report.learned == (False, True, False)


@pytest.mark.parametrize(("dead_s", "to_90_s"), [(20.0, 60.0), (5.0, 12.0)])
def test_a_deadline_never_gets_shorter(kit, dead_s, to_90_s):
    lessons, facts = learned(kit, dead_s, to_90_s)
    policy = kit.policy().fleet
    configured = policy.deadline_factor * (RESPONSE.wake_dead_s + RESPONSE.wake_90_s) + policy.deadline_extra_s
    state = kit.seen_state(facts, [False] * len(facts))
    before = state.fleet.wants()
    state.fleet.want_hashing[0] = True
    reconcile.commands_due(facts, before, state, policy, shed=False, reason="", now=0.0)
    expected = policy.deadline_factor * sum(lessons.figures) + policy.deadline_extra_s
    assert state.fleet.deadline_at[0] == pytest.approx(max(configured, expected))
    assert facts.wake_patience_s[0] == policy.deadline_factor * RESPONSE.wake_dead_s + policy.deadline_extra_s


@pytest.mark.parametrize("ratio", [0.5, 2.0])
def test_the_bracket_around_a_sleep_still_holds_who_keeps_to_the_configured_figures(kit, ratio):
    facts = kit.fleet(2)
    facts = replace(
        facts,
        sleep_dead_s=ratio * facts.sleep_dead_s,
        sleep_90_s=ratio * facts.sleep_90_s,
        sleep_learned=np.full(2, ratio),
    )
    state = kit.seen_state(facts, [True, True])
    rows = np.array([0, 1])
    flight.put_in_flight(facts, state, rows, Verb.SLEEP, np.full(2, SLEEP_W), 0.0, np.full(2, 60.0))
    plain = kit.fleet(2)
    as_configured = kit.seen_state(plain, [True, True])
    flight.put_in_flight(plain, as_configured, rows, Verb.SLEEP, np.full(2, SLEEP_W), 0.0, np.full(2, 60.0))
    for at in (0.6, 1.0, 2.0, 4.0, 8.0):
        low_w, _, high_w = estimator.bracket_w(state.fleet, at)
        configured_low_w, _, configured_high_w = estimator.bracket_w(as_configured.fleet, at)
        assert low_w <= configured_low_w + 1e-6
        assert high_w >= configured_high_w - 1e-6


def test_a_checkpoint_keeps_it_and_an_old_one_is_still_read(kit):
    lessons, _ = learned(kit, 20.0, 60.0)
    state, facts = lessons.state, lessons.facts
    record = json.loads(json.dumps(checkpoint.to_record(facts, state, 100.0)))
    again = checkpoint.from_record(facts, record, 5.0, 1_000.0)
    assert classes.learned(facts, again, kit.policy().fleet).wake_90_s[0] == state.classes.to_90_s[0, WAKE]
    assert again.classes.commands == pytest.approx(state.classes.commands, abs=1e-3)
    assert again.classes.early == pytest.approx(state.classes.early, abs=1e-3)
    del record["classes"], record["waves"]
    (untaught,) = classes.reports(facts, checkpoint.from_record(facts, record, 5.0, 1_000.0))
    assert untaught.learned == (False, False, False)


def test_evidence_against_another_configured_figure_is_dropped(kit):
    lessons, _ = learned(kit, 20.0, 60.0)
    record = json.loads(json.dumps(checkpoint.to_record(lessons.facts, lessons.state, 100.0)))
    slower = kit.fleet(50, response=replace(RESPONSE, wake_90_s=60))
    (report,) = classes.reports(slower, checkpoint.from_record(slower, record, 5.0, 1_000.0))
    assert report.learned == (False, False, False)


def test_two_models_are_two_classes(kit):
    facts = kit.fleet(4, odd={2: {"name": "other"}, 3: {"name": "other"}})
    assert facts.class_names == ("model", "other")
    assert facts.kind.tolist() == [0, 0, 1, 1]
    assert ClassState.untaught(facts).early.shape == (2, 3, 2, len(GRID))


def test_only_own_readings_after_the_command_count(kit):
    facts = kit.fleet(1)
    state = kit.seen_state(facts, [False])
    fleet = state.fleet
    fleet.verb[0], fleet.command_id[0], fleet.to_w[0] = 2, 7, TOP_W
    fleet.sent_at[0] = fleet.changed_at[0] = 10.0
    fleet.condition[0], fleet.verdict[0] = Condition.HASHING, Verdict.APPROACHING
    fleet.reported_w[0] = TOP_W
    for read_at, known in ((9.0, False), (10.0, False), (12.0, True)):
        fleet.read_at[0] = read_at
        classes.watch(facts, state, np.array([True]))
        assert bool(state.classes.about[0] == 7) is known
    assert state.classes.high[0].tolist() == [2.0, 2.0]
