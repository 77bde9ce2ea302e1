"""The fail-safe with a clock: what it makes of one set of readings after another."""

from __future__ import annotations

import pytest

from controller.core import failsafe
from controller.core.state import State
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import InputState

GOOD, HOLD, FROZEN, FALLBACK = InputState
CALM = {
    "poi_export_w": 110_000.0,
    "site_load_w": 10_000.0,
    "despatch_export_w": 100_000.0,
    "reserve_up_w": 0.0,
    "gross_w": 125_000.0,
    "available_w": 300_000.0,
    "auxiliary_w": 5_000.0,
    "synchronised_units": 1.0,
    "frequency_hz": 50.0,
}


class Watch:
    """The fail-safe with a clock: `see` judges one set of readings; what is not named is calm and fresh."""

    def __init__(self, kit, **policy):
        self.kit = kit
        self.policy = kit.policy(**policy)
        self.state = State.fresh(kit.fleet(1), 0.0)
        self.now = 0.0
        self.heard_at = None

    def see(self, seconds=1.0, missing=(), ages=None, qualities=None, **changes):
        self.now += seconds
        readings = self.kit.readings(self.now, **{**CALM, **changes})
        for name, age in (ages or {}).items():
            old = readings[Point(name)]
            readings[Point(name)] = Sample(old.value, self.now - age, old.quality, "test")
        for name, quality in (qualities or {}).items():
            old = readings[Point(name)]
            value = None if quality is Quality.BAD else old.value
            readings[Point(name)] = Sample(value, old.taken_at, quality, "test")
        for name in missing:
            del readings[Point(name)]
        return failsafe.assess(self.state, self.policy, readings, self.heard_at, self.now)

    def calm(self, seconds):
        trust = None
        for _ in range(seconds):
            trust = self.see()
        return trust


@pytest.fixture
def watch(kit):
    found = Watch(kit)
    found.see()
    return found


def health(trust, name):
    return next(entry for entry in trust.health if entry.name == name)
