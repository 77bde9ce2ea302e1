"""A site that follows a surplus gives way to it while it falls, and does not chase the noise of its meters."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.fleet import FloatArray
from tests.rig.score.plant_site import build_site
from tests.rig.score.runs import Run, following
from tests.rig.score.wear import EverySecond
from tests.rig.targets.measures import over_cap

RATED_W = 1_000_000
LEAD_IN_S, FALL_S, REST_S = 600, 150, 60
HIGH, LOW = 0.75, 0.30  # of rated: 18 % a minute, and all that trim covers in between
TOLERANCE, LONGEST_S = 0.01, 3.0
SEEN_S = 15  # by then a fall is told from noise


@pytest.fixture(scope="module")
def surplus_w() -> FloatArray:
    """At rest, one long fall, and at rest again."""
    at_s = [0.0, LEAD_IN_S, LEAD_IN_S + FALL_S, LEAD_IN_S + FALL_S + REST_S]
    shares = np.interp(np.arange(at_s[-1]), at_s, [HIGH, HIGH, LOW, LOW])
    found: FloatArray = shares * build_site(1, RATED_W).rated_w
    return found


@pytest.fixture(scope="module")
def run(surplus_w: FloatArray) -> Run:
    return following(build_site(1, RATED_W), EverySecond(surplus_w), float(len(surplus_w)))


def test_a_surplus_that_falls_as_fast_as_grids_allow_is_not_exceeded(run: Run) -> None:
    """Read late, smoothed and followed by trims that take seconds it would be, by more than the margin, to its end."""
    falling = slice(LEAD_IN_S + SEEN_S, LEAD_IN_S + FALL_S)
    above_w = run.load_w[falling] - run.cap_w[falling]
    assert float(above_w.mean()) <= 0.0
    assert over_cap(run.load_w[falling], run.cap_w[falling], TOLERANCE * RATED_W)[1] <= LONGEST_S


def test_at_rest_the_noise_of_the_meters_moves_little(run: Run) -> None:
    """The surplus is the difference of large powers: a third of its readings are off by more than 0.6 % of rated."""
    rest = run.setpoint_w[LEAD_IN_S - 300 : LEAD_IN_S] / RATED_W
    assert float(np.abs(np.diff(rest)).mean()) <= 0.002
    assert float(run.load_w[LEAD_IN_S - 300 : LEAD_IN_S].mean()) >= (HIGH - 0.02) * RATED_W
