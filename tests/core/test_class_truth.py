"""True over reported watts of each class: out of a meter with noise, as far as the classes move apart."""

from __future__ import annotations

import json

import numpy as np
import pytest

from controller.core import checkpoint, class_truth
from controller.core.fleet_state import NO_COMMAND, VERB_CODES
from controller.domain.command import Verb
from controller.domain.fleet import Condition
from tests.core.builders import WALL

HOUR_S = 3_600.0
TRUE = np.array([1.06, 0.97])  # of the classes "A" and "B"
NOISE_W = 150.0


class Meter:
    """Ten miners of each class whose plan moves; the meter shows what they truly draw, 5 kW beside them and noise."""

    def __init__(self, kit, true=TRUE, seed=1):
        odd = {index: {"name": "A" if index < 10 else "B"} for index in range(20)}
        self.kit, self.facts = kit, kit.fleet(20, odd=odd)
        self.policy = kit.policy(fleet={"deadband_down_w": NOISE_W})
        self.state = kit.seen_state(self.facts, [True] * 20)
        self.true, self.beside_w = true, 5_000.0
        self.rng, self.now = np.random.default_rng(seed), 0.0

    def settle(self, a, b):
        """So many watts each of the miners of a class, all there; then a minute."""
        fleet = self.state.fleet
        fleet.from_w[:] = fleet.to_w[:] = np.where(self.facts.kind == 0, a, b)
        self.now += 60.0
        self.show()

    def show(self):
        load_w = self.beside_w + float((self.state.fleet.to_w * self.true[self.facts.kind]).sum())
        sample = self.kit.sample(load_w + self.rng.normal(0.0, NOISE_W / 2.0), self.now)
        class_truth.learn(self.facts, self.state, self.policy, sample)

    def told(self):
        return [class_truth.told(self.state, kind) for kind in (0, 1)]

    def wander(self, hours, together=False):
        for _ in range(int(hours * 60)):
            a, b = self.rng.uniform(2_000.0, 3_500.0, 2)
            self.settle(a, a if together else b)
        return self


@pytest.fixture
def meter(kit):
    return Meter(kit)


def test_classes_that_move_apart_are_told_apart_within_an_hour(meter):
    assert meter.told() == [None, None]
    assert meter.wander(1.0).told() == [pytest.approx(true, abs=0.01) for true in TRUE]


def test_classes_that_only_move_together_are_not_told_apart(meter):
    meter.wander(3.0, together=True)
    assert meter.told() == [None, None]
    assert float(meter.state.classes.truth.sum()) == pytest.approx(float(TRUE.sum()), abs=0.02), "their sum is known"


def test_a_class_that_never_moves_stays_unsaid(meter):
    for turn in range(120):
        meter.settle(2_000.0 if turn % 2 else 3_500.0, 3_000.0)
    assert meter.told() == [pytest.approx(TRUE[0], abs=0.01), None]


def test_what_else_the_meter_shows_at_once_is_nobodys_truth(meter):
    meter.wander(1.0)
    before = meter.told()
    meter.beside_w += 30_000.0  # a cooling plant starts as the plan moves
    meter.wander(0.1)
    assert meter.told() == [pytest.approx(one, abs=0.01) for one in before]


def test_nothing_is_taken_from_a_move_under_way(meter):
    meter.settle(3_500.0, 3_500.0)
    fleet = meter.state.fleet
    fleet.verb[:10], fleet.to_w[:10] = VERB_CODES[Verb.TRIM], 2_000.0
    meter.now += 60.0
    meter.show()
    assert meter.state.truth_at == 60.0
    fleet.verb[:10], fleet.from_w[:10] = NO_COMMAND, 2_000.0
    meter.show()
    assert meter.state.truth_at == 120.0


def test_no_difference_is_taken_across_miners_that_stop_to_answer_or_begin(meter):
    meter.settle(3_500.0, 3_500.0)
    for condition in (Condition.UNREACHABLE, Condition.HASHING):
        meter.state.fleet.condition[3] = condition
        meter.settle(2_000.0 if condition is Condition.UNREACHABLE else 2_500.0, 3_500.0)
        assert meter.state.classes.truth.tolist() == [1.0, 1.0]


def test_one_that_never_answers_keeps_nobody_from_learning(meter):
    meter.state.fleet.condition[3] = Condition.UNREACHABLE
    assert meter.wander(1.0).told() == [pytest.approx(true, abs=0.01) for true in TRUE]


def test_what_is_known_survives_a_restart(meter):
    meter.wander(1.0)
    record = json.loads(json.dumps(checkpoint.to_record(meter.facts, meter.state, meter.now), allow_nan=False))
    back = checkpoint.from_record(meter.facts, record, 5.0, WALL)
    assert [class_truth.told(back, kind) for kind in (0, 1)] == [pytest.approx(one, abs=1e-4) for one in meter.told()]
