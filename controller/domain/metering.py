"""What a meter told us: samples, their quality, and the points the controller knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Quality(StrEnum):
    """How far a sample may be believed. Only GOOD samples ever allow a raise."""

    GOOD = "good"
    UNCERTAIN = "uncertain"
    BAD = "bad"


class Point(StrEnum):
    """Every measured quantity the core reads. The unit and the direction stand in the name.

    Despatch, reserve and the units come from the plant's DCS; the rest from meters. There may be many feeders, so a
    FEEDER_LOAD_W only means something together with its feeder: see Snapshot.feeders.
    """

    POI_EXPORT_W = "poi_export_w"
    SITE_LOAD_W = "site_load_w"
    FEEDER_LOAD_W = "feeder_load_w"
    FREQUENCY_HZ = "frequency_hz"
    VOLTAGE_V = "voltage_v"
    SITE_ENERGY_WH = "site_energy_wh"
    POI_EXPORT_ENERGY_WH = "poi_export_energy_wh"
    DESPATCH_EXPORT_W = "despatch_export_w"
    RESERVE_UP_W = "reserve_up_w"
    GROSS_W = "gross_w"
    AVAILABLE_W = "available_w"
    AUXILIARY_W = "auxiliary_w"
    DCS_POI_EXPORT_W = "dcs_poi_export_w"
    SYNCHRONISED_UNITS = "synchronised_units"
    DCS_HEARTBEAT = "dcs_heartbeat"
    GRID_EMERGENCY = "grid_emergency"
    TRIP = "trip"
    PERMIT = "permit"


# What the surplus is made of in follow mode: without one of these it is unknown, and nothing is raised.
FOLLOW_POINTS = (
    Point.POI_EXPORT_W,
    Point.SITE_LOAD_W,
    Point.DESPATCH_EXPORT_W,
    Point.RESERVE_UP_W,
    Point.GROSS_W,
    Point.AVAILABLE_W,
)


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of one point.

    value: SI unit of the point's name; None when nothing trustworthy was read. Never 0 for "not available".
    taken_at: loop seconds at which the read *began*, so that the true age is never understated.
    quality: BAD always goes with value None; UNCERTAIN keeps the value for people to see.
    source: meter id and register, for the journal and for `curtaild explain`.
    """

    value: float | None
    taken_at: float
    quality: Quality
    source: str

    def __post_init__(self) -> None:
        if (self.value is None) != (self.quality is Quality.BAD):
            raise ValueError(f"{self.source}: a BAD sample carries no value and every other sample carries one")


Readings = Mapping[Point, Sample]


def good_value(readings: Readings, point: Point) -> float | None:
    """The value of a point that was read and is GOOD; None of any other."""
    sample = readings.get(point)
    return None if sample is None or sample.quality is not Quality.GOOD else sample.value


class MeterFault(StrEnum):
    """Why a read brought nothing. The poller's and the journal's vocabulary."""

    REFUSED = "refused"
    DISCONNECTED = "disconnected"
    TIMEOUT = "timeout"
    DEVICE_EXCEPTION = "device_exception"
    WRONG_REPLY = "wrong_reply"
    CONFIGURATION = "configuration"


class MeterError(Exception):
    """A read failed. `fault` says how, `detail` says where and what to do."""

    def __init__(self, fault: MeterFault, detail: str) -> None:
        super().__init__(f"{fault.value}: {detail}")
        self.fault = fault
        self.detail = detail
