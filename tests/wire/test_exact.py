"""What a replay begins with comes back to the bit: every kind of value a state, a policy or a fleet is made of."""

from __future__ import annotations

import json
import math
import threading
from dataclasses import fields, replace

import numpy as np
import pytest

from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind
from controller.domain.fleet import build_fleet
from controller.domain.limits import Limit
from controller.runtime.whole_state import state_of, state_row
from controller.wire.canonical import canonical
from controller.wire.exact import Exact
from controller.wire.setup import setup_from_record, setup_record
from tests.rig.large import large_setup
from tests.rig.setup import FeederTrip, Setup
from tests.rig.site import Site


@pytest.fixture(scope="module")
def setup() -> Setup:
    """Forty miners, some of which lose their power together."""
    return replace(large_setup(40, 90.0), trips=(FeederTrip(0, 30.0, 50.0),))


def test_a_state_that_has_seen_a_lot_comes_back_to_the_bit_and_decides_the_same(setup: Setup) -> None:
    site = Site(setup)
    site.run()
    state = site.state
    again = state_of(state_row(0.0, state))
    for entry in fields(state.fleet):
        one, other = getattr(state.fleet, entry.name), getattr(again.fleet, entry.name)
        assert one.dtype == other.dtype, entry.name
        assert one.tobytes() == other.tobytes(), entry.name
    assert state_row(0.0, again).body == state_row(0.0, state).body
    assert again.inputs == state.inputs
    assert again.mass == state.mass


def test_the_setup_of_a_run_comes_back_as_the_same_fleet_and_policy(setup: Setup) -> None:
    record = json.loads(canonical(setup_record(setup.facts, setup.policy)))
    facts, policy = setup_from_record(record, list(setup.facts.miner_ids))
    assert policy == setup.policy
    assert facts.units == setup.facts.units
    for one_part, other_part in ((facts, setup.facts), (facts.limits, setup.facts.limits)):
        for entry in fields(one_part):
            one, other = getattr(one_part, entry.name), getattr(other_part, entry.name)
            if entry.name != "limits":
                assert np.array_equal(one, other) if isinstance(one, np.ndarray) else one == other, entry.name
    assert canonical(setup_record(facts, policy)) == canonical(record)


def test_limits_above_feeders_and_across_them_come_back(setup: Setup) -> None:
    one = setup.facts
    limits = (Limit("t1", "transformer", 9_000, 1), Limit("c1", "container", 8_000))
    units = (replace(one.units[0], limits=(1,)), *one.units[1:])
    ratings_w = tuple(int(rating_w) for rating_w in one.feeder_rating_w)
    hangs_on = (0, *(None for _ in ratings_w[1:]))
    facts = build_fleet(units, one.feeder_names, ratings_w, (5_000, *(None for _ in ratings_w[1:])), limits, hangs_on)
    record = json.loads(canonical(setup_record(facts, setup.policy)))
    again, _ = setup_from_record(record, list(one.miner_ids))
    assert again.units == units
    assert np.array_equal(again.limits.of_miner, facts.limits.of_miner)
    assert np.array_equal(again.limits.rating_w, facts.limits.rating_w)
    assert np.array_equal(again.feeder_inrush_w, facts.feeder_inrush_w)
    assert again.limits.names[-2:] == ("t1", "c1")


def test_floats_that_json_does_not_know_and_the_order_of_a_dictionary_stay() -> None:
    exact = Exact(Dispatch)
    order = Dispatch("a", "b", 1, -math.inf, 0.1 + 0.2, DispatchClass.TEST, DispatchKind.CAP, 5)
    value = {"b": (order, None, math.inf), "a": 2, "c": (np.float64(0.1), np.int64(3), True)}
    again = exact.read(json.loads(canonical(exact.written(value))))
    assert again == value
    assert list(again) == ["b", "a", "c"]
    assert math.isnan(exact.read(json.loads(canonical(exact.written(math.nan)))))


def test_what_another_version_wrote_is_refused_by_name(setup: Setup) -> None:
    exact = Exact(State)
    written = exact.written(Engine(setup.facts, setup.policy).fresh_state(0.0))
    assert isinstance(written, dict)
    del written["o"][1]["cycle"]
    with pytest.raises(ValueError, match="State was written by another version: it differs in cycle"):
        exact.read(written)
    with pytest.raises(ValueError, match="Novelty is not known to this version"):
        exact.read({"o": ["Novelty", {}]})
    with pytest.raises(TypeError, match="Thread has no exact form"):
        exact.written(threading.Thread())
