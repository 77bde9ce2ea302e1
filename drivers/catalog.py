"""From the names in a configuration to the driver that serves them: all that the application calls of `drivers`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Final, Protocol

from controller.domain.fleet import Level, MinerModel
from controller.domain.metering import Point
from controller.ports import Load, Meter
from drivers.asic.antminer import AntminerStock
from drivers.asic.budget import Budget
from drivers.asic.dry_run import DryRunLoad
from drivers.asic.luxos import LuxosMiner
from drivers.asic.profiles import LadderUnreadableError, all_facts, facts_of, mismatches
from drivers.asic.whatsminer import WhatsMinerV2
from drivers.modbus.client import Backoff
from drivers.modbus.codec import DIRECTED_POINTS, Direction
from drivers.modbus.maps.load import load_map
from drivers.modbus.maps.model import Feeds, SunSpecMap
from drivers.modbus.maps.table import MapError
from drivers.modbus.meter import build_meter

__all__ = [
    "LadderUnreadableError",
    "Miner",
    "build_dry_run",
    "build_meter_for",
    "build_miner",
    "known_models",
    "mismatches",
    "model_named",
    "nameplate_level",
]


DEFAULT_WEB_PORT: Final = 80
DEFAULT_WRITES_PER_DAY: Final = 24
"""A sleep and a wake every two hours."""


class Miner(Load, Protocol):
    """A Load that is one miner."""

    @property
    def miner_id(self) -> str: ...

    async def read_ladder(self) -> tuple[Level, ...]:
        """The levels the miner itself offers, lowest power first; for firmware that tells none, those on file once the
        miner answered and is no other machine. Raises LadderUnreadableError."""
        ...


def known_models() -> Mapping[str, MinerModel]:
    """Every supported model + firmware by name, such as `Antminer S19k Pro (LuxOS)`."""
    return MappingProxyType({name: facts.envelope for name, facts in all_facts().items()})


def model_named(model: str, firmware: str) -> MinerModel:
    """The envelope of one model and firmware. Raises ValueError listing what is known."""
    return facts_of(model, firmware).envelope


def nameplate_level(model: str, firmware: str) -> int:
    """Index of the rung the maker advertises: the highest that is no overclock. Raises ValueError."""
    return facts_of(model, firmware).nameplate_level


def build_miner(
    *,
    miner_id: str,
    index: int,
    model: str,
    firmware: str,
    host: str,
    port: int,
    username: str | None,
    password: str | None,
    deadline_s: float,
    ladder: tuple[Level, ...] | None = None,
    web_port: int = DEFAULT_WEB_PORT,
    writes_per_day: int = DEFAULT_WRITES_PER_DAY,
    wear_today: int = 0,
) -> Miner:
    """The driver of one miner, chosen by its firmware; sends nothing.

    index: the miner's index in the fleet. host: an IP address. deadline_s: bounds one read, and one command up to its
    effect. ladder: levels told by the miner itself, in place of those on file; must be the fleet's own ladder for this
    miner. web_port: of firmware that is driven over its web interface. writes_per_day, wear_today: for firmware that
    wears, how many writes to its flash and restarts 24 hours may see, and how many the last 24 have seen. Raises
    ValueError for a host that is no address, a deadline or a count that makes no sense, and an unknown model.
    """
    if deadline_s <= 0:
        raise ValueError(f"miner {miner_id!r}: deadline_s must be positive, got {deadline_s}")
    facts = facts_of(model, firmware)
    budget = Budget(writes_per_day, spent=wear_today)
    match facts.firmware:
        case "LuxOS":
            return LuxosMiner(
                miner_id=miner_id,
                index=index,
                facts=facts,
                host=host,
                port=port,
                deadline_s=deadline_s,
                ladder=ladder,
            )
        case "WhatsMiner V2":
            return WhatsMinerV2(
                miner_id=miner_id,
                index=index,
                facts=facts,
                host=host,
                port=port,
                password=password,
                deadline_s=deadline_s,
                budget=budget,
                ladder=ladder,
            )
        case "Antminer stock":
            return AntminerStock(
                miner_id=miner_id,
                index=index,
                facts=facts,
                host=host,
                port=port,
                web_port=web_port,
                username=username,
                password=password,
                deadline_s=deadline_s,
                budget=budget,
            )
        case _:
            raise ValueError(f"miner {miner_id!r}: no driver for firmware {facts.firmware!r}")


def build_dry_run(load: Load, *, index: int) -> Load:
    """`load` in observe mode: it is read, and every command ends WITHHELD."""
    return DryRunLoad(load, index=index)


def build_meter_for(
    *,
    meter_id: str,
    feeds: Collection[Point],
    map_name: str,
    host: str,
    port: int,
    unit_id: int,
    direction: Direction,
    span_w: float,
    deadline_s: float,
    connect_deadline_s: float,
    reconnect_first_s: float,
    reconnect_max_s: float,
) -> Meter:
    """The driver of one meter; opens nothing until its first read.

    feeds: the points this meter may speak for; whatever else its map knows is left to other meters. direction: +1 when
    a positive reading is what the power point's name says, -1 when it is the opposite. span_w: largest power the
    registers must be able to show. Raises ValueError naming the meter and the remedy.
    """
    try:
        register_map = load_map(map_name)
    except MapError as error:
        raise ValueError(f"{meter_id}: {error}") from None
    points: dict[str, Point | None] = {}
    table = register_map.table if isinstance(register_map, SunSpecMap) else register_map
    for value in table.values:
        if value.feeds is Feeds.SITE_MUST_NAME:
            points[value.number.name] = next((point for point in DIRECTED_POINTS if point in feeds), None)
        elif isinstance(value.feeds, Point) and value.feeds not in feeds:
            points[value.number.name] = None
    return build_meter(
        meter_id=meter_id,
        host=host,
        port=port,
        unit_id=unit_id,
        register_map=register_map,
        points=points,
        direction=direction,
        rated_w=span_w,
        deadline_s=deadline_s,
        connect_deadline_s=connect_deadline_s,
        backoff=Backoff(reconnect_first_s, reconnect_max_s),
    )
