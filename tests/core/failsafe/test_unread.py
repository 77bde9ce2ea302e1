"""Samples that are old or cannot be read: what stands as it was, and what holds."""

from __future__ import annotations

import pytest

from controller.domain.metering import Point, Quality
from tests.core.failsafe.conftest import FROZEN, GOOD, HOLD, health


def test_an_old_sample_does_not_bring_its_fresh_neighbour_out_of_balance(watch):
    """The load moves on while the POI meter is silent: that gap is age, and the site meter stays believed."""
    for second in range(25):
        trust = watch.see(ages={"poi_export_w": 4.0 + second}, site_load_w=5_000.0)
        assert health(trust, "site").state is GOOD
    assert health(trust, "poi").state is FROZEN


@pytest.mark.parametrize("point", [Point.TRIP, Point.GRID_EMERGENCY, Point.PERMIT])
@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN])
def test_a_contact_that_becomes_unreadable_stands_as_it_was_and_nothing_is_raised_meanwhile(watch, point, quality):
    for stop in (1.0, 0.0):
        assert watch.see(**{point.value: stop}).worst is GOOD
        trust = watch.see(**{point.value: 1.0 - stop}, qualities={point.value: quality})
        assert trust.samples[point].value == stop, "as it was last read"
        (guard,) = [entry for entry in trust.health if entry.state is not GOOD]
        assert (guard.state, guard.condition) == (HOLD, "unreadable")
        assert Point.DESPATCH_EXPORT_W in trust.samples, "the rest of its block is believed"
    assert watch.see(**{point.value: 0.0}).worst is GOOD


@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN])
def test_a_contact_never_read_says_nothing_and_raises_nothing(watch, quality):
    trust = watch.see(trip=1.0, qualities={"trip": quality})
    assert Point.TRIP not in trust.samples
    assert health(trust, "trip").state is HOLD


def test_a_frequency_that_cannot_be_read_raises_nothing_and_leaves_the_poi_believed(watch):
    for _ in range(60):
        trust = watch.see(qualities={"frequency_hz": Quality.BAD})
    assert (trust.worst, health(trust, "poi").state) == (HOLD, GOOD)
    assert Point.POI_EXPORT_W in trust.samples
    assert watch.see().worst is GOOD


def test_a_heartbeat_that_cannot_be_read_any_more_is_one_that_stands_still(watch):
    watch.see(dcs_heartbeat=1.0)
    states = [watch.see(dcs_heartbeat=2.0, qualities={"dcs_heartbeat": Quality.BAD}) for _ in range(12)]
    assert states[9].worst is GOOD
    assert health(states[11], "plant").condition == "heartbeat unreadable"
    assert health(states[11], "plant").state is HOLD


@pytest.mark.parametrize("point", [Point.TRIP, Point.GRID_EMERGENCY])
def test_a_raised_flag_stands_however_old_it_is(watch, point):
    trust = watch.see(**{point.value: 1.0}, ages={point.value: 500.0})
    assert trust.samples[point].value == 1.0


def test_an_old_frequency_out_of_range_is_no_under_frequency(watch):
    watch.see(frequency_hz=0.0)
    trust = watch.see(frequency_hz=0.0, ages={"frequency_hz": 500.0})
    assert Point.FREQUENCY_HZ not in trust.samples
