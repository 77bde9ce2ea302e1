"""A Modbus meter or plant block as the controller's Meter port: register map + facts of the installation + client."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from controller.domain.metering import MeterError, MeterFault, Point, Readings
from drivers.modbus import codec
from drivers.modbus.client import Backoff, RegisterClient
from drivers.modbus.codec import DIRECTED_POINTS, UNIT_POINTS, Direction
from drivers.modbus.maps.model import Feeds, RegisterMap, SunSpecMap, unit_of
from drivers.modbus.sunspec_meter import SunSpecMeter

_ENERGY_OF = {Point.SITE_LOAD_W: Point.SITE_ENERGY_WH, Point.POI_EXPORT_W: Point.POI_EXPORT_ENERGY_WH}


class ModbusMeter:
    """Implements controller.ports.Meter. Built by `build_meter`, which checks what is put together here."""

    def __init__(
        self,
        meter_id: str,
        client: RegisterClient,
        register_map: RegisterMap,
        points: Mapping[str, Point],
        direction: Direction,
    ) -> None:
        self._meter_id = meter_id
        self._client = client
        self._map = register_map
        self._by_value = dict(points)
        self._direction = direction
        fed = set(points.values()) | {flag.feeds for flag in register_map.flags}
        self._points = frozenset(fed | UNIT_POINTS if register_map.units else fed)

    @property
    def meter_id(self) -> str:
        return self._meter_id

    @property
    def points(self) -> frozenset[Point]:
        """What `read` answers, always all of it."""
        return self._points

    @property
    def energy_point(self) -> Point | None:
        """What `read_energy` answers; None when the map has no counter that runs the way of the metered power."""
        counter = self._map.energy_positive if self._direction == 1 else self._map.energy_negative
        if counter is None:
            return None
        return next((_ENERGY_OF[point] for point in self._points if point in _ENERGY_OF), None)

    async def read(self) -> Readings:
        """All control points from one block, with one time stamp taken before the request. Raises MeterError only."""
        taken_at = asyncio.get_running_loop().time()
        block = self._map.control_block
        words = await self._client.read(self._map.function, block.address, block.count)
        return codec.readings(self._map, self._by_value, self._direction, words, taken_at, self._meter_id)

    async def read_energy(self) -> Readings:
        """The energy counter in the direction of the metered power, Wh. Raises MeterError: CONFIGURATION if none."""
        block, point = self._map.energy_block, self.energy_point
        if block is None or point is None:
            detail = f"{self._meter_id}: map {self._map.model} has no energy counter for what this meter measures"
            raise MeterError(MeterFault.CONFIGURATION, detail)
        taken_at = asyncio.get_running_loop().time()
        words = await self._client.read(self._map.function, block.address, block.count)
        sample = codec.energy(self._map, self._direction, words, taken_at, self._meter_id)
        return {} if sample is None else {point: sample}

    async def close(self) -> None:
        """Leaves no task and no socket."""
        await self._client.close()


def build_meter(
    *,
    meter_id: str,
    host: str,
    port: int,
    unit_id: int,
    register_map: RegisterMap | SunSpecMap,
    points: Mapping[str, Point | None],
    direction: Direction,
    rated_w: float,
    deadline_s: float,
    connect_deadline_s: float,
    backoff: Backoff,
) -> ModbusMeter | SunSpecMeter:
    """Put a meter together; opens no connection until the first read.

    points: value name -> point, over the defaults of the map; None leaves a value out.
    direction: +1 when positive power of this installation is what the point's name says, -1 when it is the opposite.
    rated_w: largest power this installation can carry, for the check that the registers can show it.
    Raises ValueError with what is wrong, where, and what to do.
    """
    table = register_map.table if isinstance(register_map, SunSpecMap) else register_map
    assigned = resolve_points(meter_id, table, points)
    directed = sorted(point for point in assigned.values() if point in DIRECTED_POINTS)
    if len(directed) > 1:
        raise ValueError(f"{meter_id}: feeds {' and '.join(directed)}; one meter measures one of them")
    if direction not in (1, -1):
        raise ValueError(f"{meter_id}: direction is {direction}; it must be 1 or -1")
    if direction == -1 and not directed:
        raise ValueError(f"{meter_id}: direction is -1 but it feeds neither of {', '.join(sorted(DIRECTED_POINTS))}")
    codec.check_span(table, rated_w)
    client = RegisterClient(
        meter_id=meter_id,
        host=host,
        port=port,
        unit_id=unit_id,
        deadline_s=deadline_s,
        connect_deadline_s=connect_deadline_s,
        backoff=backoff,
    )
    if isinstance(register_map, SunSpecMap):
        return SunSpecMeter(meter_id, client, register_map, assigned, direction, deadline_s)
    return ModbusMeter(meter_id, client, register_map, assigned, direction)


def resolve_points(meter_id: str, register_map: RegisterMap, points: Mapping[str, Point | None]) -> dict[str, Point]:
    """Which value feeds which point: the map's defaults, overruled by the site. Raises ValueError."""
    values = {value.number.name: value for value in register_map.values}
    for name in points:
        if name not in values:
            known = ", ".join(values)
            raise ValueError(f"{meter_id}: map {register_map.model} has no value {name!r}; it has {known}")
    assigned: dict[str, Point] = {}
    for name, value in values.items():
        point = points.get(name, value.feeds)
        if point is Feeds.SITE_MUST_NAME:
            raise ValueError(
                f"{meter_id}: say what {name!r} of map {register_map.model} measures here, "
                f"for example {name} = {Point.POI_EXPORT_W.value!r} under this meter's points"
            )
        if point is None or point is Feeds.SITE_MAY_NAME:
            continue
        assert isinstance(point, Point)  # noqa: S101  # the other members of Feeds are handled above
        if unit_of(point) is not value.number.unit:
            raise ValueError(f"{meter_id}: {name!r} is in {value.number.unit}, but {point} is in {unit_of(point)}")
        assigned[name] = point
    fed = [*assigned.values(), *(flag.feeds for flag in register_map.flags)]
    fed += UNIT_POINTS if register_map.units else ()
    for point in fed:
        if fed.count(point) > 1:
            raise ValueError(f"{meter_id}: two values feed {point}; leave one of them out")
    if not fed:
        raise ValueError(f"{meter_id}: feeds no point at all; assign at least one value of map {register_map.model}")
    return assigned
