"""Real Antminers are said to take minutes to full power; nobody publishes figures, and ours are assumptions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from simulators.asic.models import Family
from simulators.scenario import DEMO
from tests.rig.demo_like import demo_setup, scenario_rules
from tests.rig.site import Site


@pytest.mark.parametrize("times", [1.0, 2.5])
def test_antminers_that_take_minutes_to_boot_are_not_taken_for_broken(times: float) -> None:
    """At 2.5 times what the model files say a boot takes up to 290 s, and a sleep up to 27 s."""
    setup = demo_setup(DEMO, 900.0, DEMO.fleet.seed, scenario_rules(DEMO), DEMO.policy.meter_period_s)
    scale = [times if model.family is Family.ANTMINER else 1.0 for model in setup.fleet.models]
    record = Site(replace(setup, fleet=replace(setup.fleet, response_scale=scale))).run()
    behaviours = DEMO.fleet.behaviours()
    assert [row for row in np.flatnonzero(record.final_quarantined) if not behaviours[row]] == []
