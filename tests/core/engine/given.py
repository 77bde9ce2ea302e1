"""What whole steps are given, and how their states are compared.

The site: two of four miners hash at the start (8.1 kW with auxiliaries and sleepers); all four are 15 kW.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np

from controller.core.state import State
from controller.domain.dispatch import AnswerStatus, DispatchKind
from controller.domain.metering import FOLLOW_POINTS, Quality, Sample
from controller.domain.plan import OperatorOrder, OperatorVerb

CAP, TARGET, RELEASE = DispatchKind.CAP, DispatchKind.TARGET, DispatchKind.RELEASE
S = AnswerStatus
DEADBAND = 100.0


def follow_points(at, load, surplus, despatch=100_000.0):
    values = (despatch + surplus - load, load, despatch, 0.0, despatch + surplus, 500_000.0)
    return {point: Sample(value, at, Quality.GOOD, "test") for point, value in zip(FOLLOW_POINTS, values, strict=True)}


def cap_by(power_w, until=None):
    return OperatorOrder(OperatorVerb.CAP, "maria", power_w, until)


def same(left, right):
    """States compared to the last array."""
    for entry in fields(State):
        one, other = getattr(left, entry.name), getattr(right, entry.name)
        if entry.name in ("fleet", "groups", "classes", "waves"):
            for column in fields(one):
                if not np.array_equal(getattr(one, column.name), getattr(other, column.name), equal_nan=True):
                    return False
        elif isinstance(one, np.ndarray):
            if not np.array_equal(one, other):
                return False
        elif one != other:
            return False
    return True
