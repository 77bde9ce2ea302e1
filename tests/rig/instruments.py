"""The site's meters, its feeders' and the plant's DCS block as samples, with noise, age and the faults of the run."""

from __future__ import annotations

import numpy as np

from controller.domain.metering import Point, Quality, Sample
from simulators.plant import PlantTruth
from tests.rig.setup import InputFault, InputFaultKind

FEEDS: dict[str, tuple[Point, ...]] = {
    "poi": (Point.POI_EXPORT_W, Point.FREQUENCY_HZ, Point.VOLTAGE_V),
    "site": (Point.SITE_LOAD_W,),
    "plant": (
        Point.DESPATCH_EXPORT_W,
        Point.RESERVE_UP_W,
        Point.GROSS_W,
        Point.AVAILABLE_W,
        Point.AUXILIARY_W,
        Point.SYNCHRONISED_UNITS,
        Point.DCS_HEARTBEAT,
        Point.GRID_EMERGENCY,
        Point.TRIP,
        Point.PERMIT,
    ),
}
DELAY_S = 5.0
DROPPED = 0.5
SIGNED = frozenset({Point.POI_EXPORT_W, Point.SITE_LOAD_W})


class Instruments:
    """Three devices polled in turn, each with its own phase, so that no two readings are of one instant; and the meters
    of some feeders."""

    def __init__(
        self,
        seed: int,
        period_s: float,
        noise: float,
        faults: tuple[InputFault, ...],
        feeders: tuple[int, ...] = (),
        step_w: float = 1.0,
    ) -> None:
        self._rng = np.random.default_rng(seed)
        self._feeder_rng = np.random.default_rng([seed, 1])
        self._period_s = period_s
        self._noise = noise
        self._step_w = step_w
        self._luck = np.random.default_rng([seed, 2])
        self._past: dict[str, list[tuple[float, dict[Point, float]]]] = {}
        self._faults = faults
        self._due_s = {feed: index * period_s / 3.0 for index, feed in enumerate(FEEDS)}
        self._heart_stopped_at: float | None = None
        self.latest: dict[Point, Sample] = {}
        self.feeders: dict[int, Sample] = {}
        self._metered = feeders
        self._feeders_due_s = 0.05 * period_s

    def poll(self, t_s: float, truth: PlantTruth) -> bool:
        """Read every device that is due; `truth` is what its registers were refreshed from. True on new samples."""
        news = False
        for feed, points in FEEDS.items():
            if t_s + 1e-9 < self._due_s[feed]:
                continue
            self._due_s[feed] += self._period_s
            news = True
            self._read(feed, points, t_s, truth)
        if self._metered and t_s + 1e-9 >= self._feeders_due_s:
            self._feeders_due_s += self._period_s
            for feeder in self._metered:
                self._read_feeder(feeder, t_s, truth)
        return news

    def _read_feeder(self, feeder: int, t_s: float, truth: PlantTruth) -> None:
        """One meter at the head of a feeder; its samples are no news that a cycle would start early for."""
        noise = float(self._feeder_rng.standard_normal())
        value: float | None = float(round(truth.load.feeders_w[feeder] * (1.0 + self._noise * noise)))
        kinds = {fault.kind for fault in self._faults if fault.feed == f"feeder-{feeder}" and fault.active(t_s)}
        if InputFaultKind.STALE in kinds:
            return
        if InputFaultKind.STUCK in kinds and feeder in self.feeders:
            value = self.feeders[feeder].value
        elif InputFaultKind.BAD in kinds:
            value = None
        quality = Quality.BAD if value is None else Quality.GOOD
        self.feeders[feeder] = Sample(value, t_s, quality, f"feeder-{feeder}")

    def _read(self, feed: str, points: tuple[Point, ...], t_s: float, truth: PlantTruth) -> None:
        kinds = {fault.kind for fault in self._faults if fault.feed == feed and fault.active(t_s)}
        values = self._shown(feed, t_s, truth, InputFaultKind.HEARTBEAT_STOPPED in kinds)
        past = self._past.setdefault(feed, [])
        past.append((t_s, values))
        while len(past) > 1 and past[1][0] <= t_s - DELAY_S + 1e-9:
            past.pop(0)
        if InputFaultKind.STALE in kinds or (InputFaultKind.DROPS in kinds and self._luck.random() < DROPPED):
            return
        if InputFaultKind.DELAYED in kinds:
            values = past[0][1]
        if not kinds:
            self.latest.update({point: Sample(values[point], t_s, Quality.GOOD, feed) for point in points})
            return
        for point in points:
            value: float | None = values[point]
            if InputFaultKind.STUCK in kinds and point in self.latest:
                value = self.latest[point].value
            elif InputFaultKind.BAD in kinds:
                value = None
            elif InputFaultKind.SIGN_FLIP in kinds and point in SIGNED:
                value = -values[point]
            elif InputFaultKind.TENFOLD in kinds and point in SIGNED:
                value = 10.0 * values[point]
            quality = Quality.BAD if value is None else Quality.GOOD
            self.latest[point] = Sample(value, t_s, quality, feed)

    def _shown(self, feed: str, t_s: float, truth: PlantTruth, heart_stopped: bool) -> dict[Point, float]:
        if feed == "poi":
            return {
                Point.POI_EXPORT_W: self._noisy(truth.poi_export_w),
                Point.FREQUENCY_HZ: truth.frequency_hz,
                Point.VOLTAGE_V: truth.poi_line_v,
            }
        if feed == "site":
            return {Point.SITE_LOAD_W: self._noisy(truth.site_load_w)}
        if not heart_stopped:
            self._heart_stopped_at = None
        elif self._heart_stopped_at is None:
            self._heart_stopped_at = t_s
        on = [unit for unit in truth.units if unit.synchronised]
        return {
            Point.DESPATCH_EXPORT_W: truth.despatch_w,
            Point.RESERVE_UP_W: _whole_kw(truth.reserve_up_w),
            Point.GROSS_W: sum(_whole_kw(unit.gross_w) for unit in on),
            Point.AVAILABLE_W: sum(_whole_kw(unit.available_w) for unit in on),
            Point.AUXILIARY_W: _whole_kw(truth.auxiliary_w),
            Point.SYNCHRONISED_UNITS: float(len(on)),
            Point.DCS_HEARTBEAT: float(int(t_s if self._heart_stopped_at is None else self._heart_stopped_at)),
            Point.GRID_EMERGENCY: float(truth.flags.grid_emergency),
            Point.TRIP: float(truth.flags.trip_stop_button or truth.flags.trip_underfrequency),
            Point.PERMIT: float(truth.flags.permit),
        }

    def _noisy(self, power_w: float) -> float:
        shown_w = power_w * (1.0 + self._noise * float(self._rng.standard_normal()))
        return round(shown_w / self._step_w) * self._step_w


def _whole_kw(power_w: float) -> float:
    return round(power_w / 1000.0) * 1000.0
