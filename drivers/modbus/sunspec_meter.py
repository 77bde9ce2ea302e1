"""A SunSpec meter as the controller's Meter port: found by a walk on every connection, then read like any other.

Every read begins at the model's id, so that registers that have moved or changed are never taken for power.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final

from controller.domain.metering import MeterError, MeterFault, Point, Readings
from drivers.modbus import codec
from drivers.modbus.client import RegisterClient
from drivers.modbus.codec import Direction
from drivers.modbus.maps.model import Block, SunSpecMap
from drivers.modbus.sunspec import ChainError, Found, Probe, Walk, Words, walk

_ATTEMPTS: Final = 3  # of one read: a fresh connection costs one, a device that was exchanged another
_SHARE_TO_BEGIN_IN: Final = 0.5  # of the deadline; a request begun later would be cut short and count as a time-out


class SunSpecMeter:
    """Implements controller.ports.Meter. Built by `build_meter`, which checks what is put together here."""

    def __init__(
        self,
        meter_id: str,
        client: RegisterClient,
        sunspec: SunSpecMap,
        points: Mapping[str, Point],
        direction: Direction,
        deadline_s: float,
    ) -> None:
        """`deadline_s` bounds one read, the walk included: what is left of a long walk is for the next read."""
        self._meter_id = meter_id
        self._client = client
        self._sunspec = sunspec
        self._by_value = dict(points)
        self._direction = direction
        self._deadline_s = deadline_s
        self._bases = sunspec.bases
        self._connection = 0
        self._found: Found | None = None
        self._walk: Walk | None = None
        self._probe = Probe(Block(0, 0), for_marker=False)

    @property
    def meter_id(self) -> str:
        return self._meter_id

    @property
    def points(self) -> frozenset[Point]:
        """What `read` answers, always all of it."""
        return frozenset(self._by_value.values())

    async def read(self) -> Readings:
        """All control points from one block, with one time stamp taken before its request. Raises MeterError only."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        self._is_new_connection()
        trouble = MeterError(MeterFault.DISCONNECTED, f"{self._client.where}: every attempt met a new connection")
        for _ in range(_ATTEMPTS):
            found = self._found or await self._discover(began)
            if found is None:
                continue
            taken_at = loop.time()
            words = await self._ask(found, began)
            if isinstance(words, MeterError):
                trouble = words
            elif words is not None:
                # The header came in the same read as the values, so it vouches for them.
                values = words[found.table.control_block.address - found.block.address :]
                return codec.readings(found.table, self._by_value, self._direction, values, taken_at, self._meter_id)
        raise trouble

    async def close(self) -> None:
        """Leaves no task and no socket."""
        await self._client.close()

    async def _ask(self, found: Found, began: float) -> Words | MeterError | None:
        """The words of the found block; why the device is not as it was walked; None when the connection changed."""
        self._check_time(began)
        try:
            words = await self._request(found.block, began)
        except MeterError as error:
            if error.fault is not MeterFault.CONFIGURATION:
                raise
            self._forget()  # the registers are gone: another device may stand there
            return error
        if self._is_new_connection():
            return None
        if words[:2] == found.header:
            return words
        self._forget()
        changed = f"{found} turned into model {words[0]} of {words[1]} registers while it was read"
        return MeterError(MeterFault.WRONG_REPLY, f"{self._client.where}: {changed}")

    async def _discover(self, began: float) -> Found | None:
        """Walk on; None when the connection changed meanwhile, so that what was learned is of another device."""
        if self._walk is None:
            self._walk = walk(self._sunspec, self._bases)
            self._probe = next(self._walk)
        while True:
            self._check_time(began)
            words = await self._answer(self._probe, began)
            if self._is_new_connection():
                return None
            try:
                self._probe = self._walk.send(words)
            except StopIteration as ended:
                self._walk = None
                self._found = ended.value
                return self._found
            except ChainError as error:
                self._walk = None
                raise MeterError(MeterFault.CONFIGURATION, f"{self._client.where}: {error}") from None

    async def _answer(self, probe: Probe, began: float) -> Words | None:
        """The words of one step of the walk; None when the device has no such registers."""
        try:
            return await self._request(probe.block, began)
        except MeterError as error:
            if error.fault is MeterFault.CONFIGURATION:
                return None
            if error.fault is MeterFault.TIMEOUT and probe.for_marker:
                # Some devices do not answer at all where they have nothing. Begin behind that base the next time: two
                # time-outs in a row cost the connection, and in the old order the last base might never be tried.
                behind = self._bases.index(probe.block.address) + 1
                self._bases = (*self._bases[behind:], *self._bases[:behind])
                self._walk = None
            raise

    async def _request(self, block: Block, began: float) -> Words:
        function, by = self._sunspec.table.function, began + self._deadline_s
        return await self._client.read(function, block.address, block.count, by)

    def _check_time(self, began: float) -> None:
        """Raise MeterError when too little is left of the deadline to begin another request."""
        used_s = asyncio.get_running_loop().time() - began
        if used_s > _SHARE_TO_BEGIN_IN * self._deadline_s:
            how_far = "the meter is found" if self._found else f"the walk is at register {self._probe.block.address}"
            detail = f"{self._client.where}: after {used_s:.3g} s {how_far}; the next read goes on from there"
            raise MeterError(MeterFault.TIMEOUT, detail)

    def _is_new_connection(self) -> bool:
        """Whether another connection than before answers now; whatever stood at the old one's end is forgotten."""
        if self._client.connections == self._connection:
            return False
        self._connection = self._client.connections
        self._forget()
        return True

    def _forget(self) -> None:
        self._found = None
        self._walk = None
