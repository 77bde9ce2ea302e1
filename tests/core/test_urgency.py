"""Which single input may start a cycle early."""

from __future__ import annotations

import pytest

from controller.core import urgency
from controller.domain.dispatch import DispatchClass, Malformed, Received, RejectCode
from controller.domain.metering import Point, Quality, Sample

CALM = {"poi_export_w": 100_000, "despatch_export_w": 100_000, "frequency_hz": 50.0, "trip": 0, "permit": 1}


@pytest.mark.parametrize(
    ("changes", "urgent"),
    [
        ({}, False),
        ({"trip": 1}, True),
        ({"grid_emergency": 0}, False),
        ({"grid_emergency": 1}, True),
        ({"permit": 0}, True),
        ({"frequency_hz": 49.49}, False),  # the second in a row is: see test_frequency
        ({"frequency_hz": 49.5}, False),
        ({"frequency_hz": 51.0}, False),
        ({"frequency_hz": 0.0}, False),  # a register that reads nothing, not a grid at standstill
        ({"poi_export_w": 99_600}, False),
        ({"poi_export_w": 99_500}, True),
    ],
)
def test_readings_that_cannot_wait_are_told_from_those_that_can(kit, changes, urgent):
    assert urgency.Watch().notices(kit.policy(), kit.readings(**{**CALM, **changes})) is urgent


@pytest.mark.parametrize("point", [Point.TRIP, Point.GRID_EMERGENCY, Point.PERMIT])
def test_a_sample_that_is_not_good_is_never_urgent(kit, point):
    value = 0.0 if point is Point.PERMIT else 1.0
    readings = {point: Sample(value, 0.0, Quality.GOOD, "test")}
    assert urgency.Watch().notices(kit.policy(), readings)
    for doubtful in (Sample(None, 0.0, Quality.BAD, "test"), Sample(value, 0.0, Quality.UNCERTAIN, "test")):
        assert not urgency.Watch().notices(kit.policy(), {point: doubtful})


def test_nothing_read_is_not_urgent(kit):
    assert not urgency.Watch().notices(kit.policy(), {})


@pytest.mark.parametrize("dispatch_class", DispatchClass)
def test_every_order_starts_a_cycle_early_unless_the_broker_only_remembered_it(kit, dispatch_class):
    order = kit.order(dispatch_class=dispatch_class)
    assert urgency.message_urgent(Received(order, kit.wall))
    assert not urgency.message_urgent(Received(order, kit.wall, retained=True))


def test_bytes_that_are_no_order_start_nothing(kit):
    assert not urgency.message_urgent(Received(Malformed("x", "desk", RejectCode.INVALID_DATA, "no"), kit.wall))


def test_a_standing_trip_is_news_once_and_again_after_it_was_over(kit):
    watch, policy = urgency.Watch(), kit.policy()
    said = [watch.notices(policy, kit.readings(**{**CALM, "trip": trip})) for trip in (1, 1, 1, 0, 0, 1, 1)]
    assert said == [True, False, False, False, False, True, False]


def test_a_deficit_is_news_when_it_begins_and_whenever_it_grows_by_more_than_the_tolerance(kit):
    watch, policy = urgency.Watch(), kit.policy()  # tolerance 400 W
    exports = (100_000, 99_000, 98_900, 98_700, 98_500, 99_700, 98_900)
    said = [watch.notices(policy, kit.readings(**{**CALM, "poi_export_w": export})) for export in exports]
    assert said == [False, True, False, False, True, False, True]
