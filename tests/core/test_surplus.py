"""The surplus in follow mode, against the worked vectors of a plant with one 660 MW unit on the bars."""

from __future__ import annotations

import pytest

from controller.core import surplus
from controller.domain.metering import FOLLOW_POINTS, Point, Quality, Sample

MW = 1_000_000
BASE = {
    "poi_export_w": 235,
    "despatch_export_w": 230,
    "gross_w": 300,
    "available_w": 620,
    "auxiliary_w": 25,
    "site_load_w": 40,
    "reserve_up_w": 30,
}


def megawatts(kit, **changes):
    values = {name: value * MW for name, value in {**BASE, **changes}.items()}
    return kit.readings(**values)


@pytest.mark.parametrize(
    ("changes", "cap_mw"),
    [
        pytest.param({}, 45, id="five MW exported beyond the despatch"),
        pytest.param({"gross_w": 285, "poi_export_w": 220}, 30, id="the unit lost 15 MW"),
        pytest.param({"available_w": 320}, 35, id="derated: 10 MW of the reserve are missing"),
        pytest.param({"reserve_up_w": 320}, 45, id="the reserve just fits into the headroom"),
        pytest.param({"available_w": 300, "reserve_up_w": 30}, 15, id="no headroom: the whole reserve is missing"),
        pytest.param({"poi_export_w": 230}, 40, id="exactly the despatch: stay where you are"),
        pytest.param({"poi_export_w": 180, "site_load_w": 20}, -30, id="below zero is said, not hidden"),
    ],
)
def test_the_follow_cap_is_the_mining_load_plus_over_export_less_missing_reserve(kit, changes, cap_mw):
    assert surplus.cap_w(megawatts(kit, **changes)) == pytest.approx(cap_mw * MW)


@pytest.mark.parametrize("point", FOLLOW_POINTS)
@pytest.mark.parametrize("quality", [Quality.BAD, Quality.UNCERTAIN, None])
def test_one_input_that_is_not_good_means_no_figure_at_all(kit, point, quality):
    readings = megawatts(kit)
    if quality is None:
        del readings[point]
    else:
        readings[point] = Sample(None if quality is Quality.BAD else 1.0, 0.0, quality, "test")
    assert surplus.cap_w(readings) is None


@pytest.mark.parametrize(
    ("export_w", "deficit_w"),
    [(100_000, 0), (99_600, 0), (99_599, 1), (90_000, 9_600), (130_000, 0), (-5_000, 104_600)],
)
def test_the_household_deficit_begins_beyond_the_tolerance(kit, export_w, deficit_w):
    readings = kit.readings(poi_export_w=export_w, despatch_export_w=100_000)
    assert surplus.household_deficit_w(readings, kit.policy()) == deficit_w


@pytest.mark.parametrize("missing", [Point.POI_EXPORT_W, Point.DESPATCH_EXPORT_W])
def test_an_unknown_export_or_despatch_is_no_deficit(kit, missing):
    readings = kit.readings(poi_export_w=0, despatch_export_w=100_000)
    assert surplus.household_deficit_w(readings, kit.policy()) > 0
    readings[missing] = kit.sample(None)
    assert surplus.household_deficit_w(readings, kit.policy()) == 0
