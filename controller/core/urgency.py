"""One pure question over one new input: must the next cycle start now? It never acts by itself."""

from __future__ import annotations

import math
from dataclasses import dataclass

from controller.core import frequency
from controller.core.frequency import Low
from controller.core.surplus import household_deficit_w
from controller.domain.dispatch import Dispatch, Received
from controller.domain.metering import Point, Readings, good_value
from controller.domain.policy import Policy


def severity_w(policy: Policy, latest: Readings, low: Low | None = None) -> float:
    """How bad it is: infinite on a trip, a withdrawn permit, an emergency flag or a `low` frequency that counts; else
    the watts the grid gets less than its despatch beyond the tolerance; 0 when nothing is urgent."""
    if _value(latest, Point.TRIP, 0.0) != 0.0 or _value(latest, Point.GRID_EMERGENCY, 0.0) != 0.0:
        return math.inf
    if _value(latest, Point.PERMIT, 1.0) == 0.0:
        return math.inf
    if low is not None and low.counts:
        return math.inf
    return household_deficit_w(latest, policy)


@dataclass(slots=True)
class Watch:
    """Tells news from a standing matter: a trip that stands for days must not start twenty cycles a second for days."""

    known_w: float = 0.0
    low: Low | None = None

    def notices(self, policy: Policy, latest: Readings) -> bool:
        """True when things have become worse, by more than the tolerance, than when it was last said.

        And for a first low frequency and the reading after it, whatever that says: a cycle that saw neither would take
        two phase jumps for one low frequency.
        """
        before, self.low = self.low, frequency.follow(self.low, latest.get(Point.FREQUENCY_HZ), policy)
        looked_at = self.low is not before and not (before is not None and before.counts)
        return self._worse(policy, latest) or looked_at

    def _worse(self, policy: Policy, latest: Readings) -> bool:
        severity = severity_w(policy, latest, self.low)
        worse = severity > 0.0 and severity > self.known_w + (policy.household_tolerance_w if self.known_w else 0.0)
        if worse or severity < self.known_w:
            self.known_w = severity
        return worse


def message_urgent(received: Received) -> bool:
    """True for every order, whether or not it will be found valid: its issuer waits for an answer (decision 0008)."""
    return isinstance(received.message, Dispatch) and not received.retained


def _value(readings: Readings, point: Point, otherwise: float) -> float:
    value = good_value(readings, point)
    return otherwise if value is None else value
