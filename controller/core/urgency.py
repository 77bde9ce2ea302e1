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
    """Tells news from a standing matter: a trip that stands for days must not start twenty cycles a second for days.

    low: the readings of a low frequency; shown: those of them that started a cycle.
    """

    known_w: float = 0.0
    low: Low | None = None
    shown: Low | None = None

    def notices(self, policy: Policy, latest: Readings) -> bool:
        """True when things have become worse, by more than the tolerance, than when it was last said.

        A first low frequency is no news: in the middle of a fault no meter shows what a cycle should act on. Each one
        after it is, until cycles have seen enough of them: one that saw the first alone would take the next phase jump
        for the second in a row.
        """
        sample, before = latest.get(Point.FREQUENCY_HZ), self.low
        self.low = frequency.follow(before, sample, policy)
        known = self.shown
        if self.low is None or self.low.first_at == self.low.last_at:
            self.shown = None
        elif self.low is not before and not (known is not None and known.counts):
            self.shown = frequency.follow(known, sample, policy)
        lasts = self.shown is not None and self.shown is not known
        return self._worse(policy, latest) or lasts

    def _worse(self, policy: Policy, latest: Readings) -> bool:
        severity = severity_w(policy, latest, self.shown)
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
