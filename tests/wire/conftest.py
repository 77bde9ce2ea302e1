"""Cycles to write down: small decisions and snapshots, made by hand or drawn at random."""

from __future__ import annotations

import numpy as np
import pytest

from controller.domain.plan import (
    Allocation,
    Decision,
    Event,
    EventLevel,
    Figures,
    InputHealth,
    InputState,
    Setpoint,
)
from controller.domain.reasons import Bound, Unallocated


@pytest.fixture(scope="session")
def decision() -> Decision:
    """One cycle of a site of three miners whose site meter is silent."""
    return Decision(
        cycle=17,
        now=100.25,
        wall=1_795_320_900.12,
        setpoint=Setpoint(412_000.4, Bound.SURPLUS, "poi", None, False),
        allocation=Allocation(
            hashing=np.array([True, False, True]),
            level=np.array([2, 0, 1]),
            why=np.array([0, 3, 1]),
            allocated_w=400_000.0,
            unallocated_w=12_000.4,
            unallocated_reason=Unallocated.STEP_SIZE,
        ),
        figures=Figures(430_000.0, 420_000.0, 412_000.4, 409_999.6, None, None, 8_000.0, 300_000.0, 25_000.0, 390.0),
        inputs=(InputHealth("site_load_w", InputState.FALLBACK, "never seen", float("inf")),),
        fail_safe=InputState.FALLBACK,
        commands=(),
        answers=(),
        verdicts=(),
        events=(Event("input_state", EventLevel.WARNING, "site_load_w: never seen"),),
        priors=(),
        counts={"hashing": 2, "asleep": 0, "quarantined": 1},
        active_orders=("order-1",),
        progress=None,
        expected_power_w=np.array([3000.0, 15.0, 2500.0]),
    )
