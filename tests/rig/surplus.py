"""What a plant has to give in the course of a run: corners joined by lines, or a recorded day; by hand or by a seed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from simulators.trace import SurplusTrace, bundled_trace_path, load_trace

TRACE_DAYS = ("2016-04-18", "2016-12-21")


@dataclass(frozen=True, slots=True)
class Steps:
    """A surplus made of corners, joined by lines: steps are two corners close together. Stands still at the end."""

    at_s: tuple[float, ...]
    power_w: tuple[float, ...]

    def surplus_w(self, t_s: float) -> float:
        return float(np.interp(t_s, self.at_s, self.power_w))


@dataclass(frozen=True, slots=True)
class Recorded:
    """A recorded day until the calm begins, and from there its last value."""

    trace: SurplusTrace
    calm_from_s: float

    def surplus_w(self, t_s: float) -> float:
        return self.trace.surplus_w(min(t_s, self.calm_from_s))


def random_surplus(rng: np.random.Generator, rated_w: float, calm_from_s: float) -> Steps | Recorded:
    if rng.random() < 0.5:
        day = load_trace(bundled_trace_path(), str(rng.choice(TRACE_DAYS)))
        trace = SurplusTrace(
            trace=day,
            start_second_of_day=float(rng.uniform(day.second_of_day[0], day.second_of_day[-1] - calm_from_s)),
            base_w=float(rng.uniform(0.4, 0.9)) * rated_w,
            capacity_w=float(rng.uniform(0.2, 0.8)) * rated_w,
            interpolation="hold" if rng.random() < 0.5 else "linear",
        )
        return Recorded(trace, calm_from_s)
    at_s, power_w = [0.0], [float(rng.uniform(0.0, 1.1)) * rated_w]
    while at_s[-1] < calm_from_s:
        stay_s = float(rng.uniform(5.0, 90.0))
        at_s += [at_s[-1] + stay_s, at_s[-1] + stay_s + float(rng.choice([0.2, 4.0, 30.0, 90.0]))]
        power_w += [power_w[-1], float(rng.uniform(0.0, 1.1)) * rated_w]
    beyond = [at for at in at_s if at < calm_from_s]
    last = float(np.interp(calm_from_s, at_s, power_w))
    return Steps((*beyond, calm_from_s), (*power_w[: len(beyond)], last))
