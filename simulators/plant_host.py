"""Gives the simulated plant a clock and sockets: steps it, refreshes its instruments, serves them, keeps the record."""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from simulators.modbus_meter import DcsBlock, DcsSpec, PanelMeter, PanelMeterSpec
from simulators.modbus_server import ModbusServer
from simulators.plant import Plant, PlantTruth

PANEL_UNIT_ID = 1
DCS_UNIT_ID = 1


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """The instruments of a plant and the seed of their noise; `feeder` is how the meter of every feeder is built."""

    poi: PanelMeterSpec
    site: PanelMeterSpec
    dcs: DcsSpec
    seed: int
    feeder: PanelMeterSpec | None = None


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the instruments listen: (host, port) each; port 0 takes a free one. `feeders`: in their order, or none."""

    poi: tuple[str, int]
    site: tuple[str, int]
    dcs: tuple[str, int]
    feeders: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class SignalChange:
    """The moment the registers showed another surplus.

    `at_s` is in seconds of the host's clock; the powers are the surplus shown before and after, W.
    """

    at_s: float
    from_w: float
    to_w: float


@dataclass(frozen=True, slots=True)
class TruthSample:
    """One row of the record: host clock, and true powers in W."""

    at_s: float
    site_load_w: float
    surplus_w: float
    cap_follow_w: float
    poi_export_w: float
    despatch_w: float


class PlantHost:
    """Runs a plant in real time.

    Args:
        plant: the physics.
        instruments: how the meters and the DCS are built.
        endpoints: where they listen.
        miner_w_by_feeder: called every tick for the true miner power per feeder, W.
        tick_s: step of the physics, seconds.
        change_w: a change of surplus counts as a signal to act on from this size, W.
        record_limit: rows of truth to keep, the newest; None keeps all, which a bounded run can afford.
        clock: monotonic seconds; the same clock must stamp the commands that are compared with `changes`.
        wall_s: seconds since the epoch, UTC.

    Raises:
        ValueError: places for meters of feeders, and not one for each, or nothing said of how they are built.
    """

    def __init__(
        self,
        plant: Plant,
        instruments: InstrumentSpec,
        endpoints: Endpoints,
        miner_w_by_feeder: Callable[[], Sequence[float]],
        tick_s: float,
        change_w: float,
        record_limit: int | None,
        clock: Callable[[], float] = time.monotonic,
        wall_s: Callable[[], float] = time.time,
    ) -> None:
        self.plant = plant
        self.poi = PanelMeter(instruments.poi, instruments.seed)
        self.site = PanelMeter(instruments.site, instruments.seed + 1)
        self.dcs = DcsBlock(instruments.dcs)
        self.poi_server = ModbusServer(self.poi.bank, PANEL_UNIT_ID, *endpoints.poi)
        self.site_server = ModbusServer(self.site.bank, PANEL_UNIT_ID, *endpoints.site)
        self.dcs_server = ModbusServer(self.dcs.bank, DCS_UNIT_ID, *endpoints.dcs)
        self.feeders = _feeder_meters(instruments, len(endpoints.feeders), len(plant.spec.site.feeders))
        self.feeder_servers = tuple(
            ModbusServer(meter.bank, PANEL_UNIT_ID, *place)
            for meter, place in zip(self.feeders, endpoints.feeders, strict=True)
        )
        self._servers = (self.poi_server, self.site_server, self.dcs_server, *self.feeder_servers)
        self.record: deque[TruthSample] = deque(maxlen=record_limit)
        self.changes: list[SignalChange] = []
        self._miner_w_by_feeder = miner_w_by_feeder
        self._tick_s = tick_s
        self._change_w = change_w
        self._clock = clock
        self._wall_s = wall_s
        self._last_s: float | None = None
        self._signalled_w: float | None = None
        self._task: asyncio.Task[None] | None = None
        self.truth = plant.step(0.0, miner_w_by_feeder())

    @property
    def endpoints(self) -> Endpoints:
        """Where the instruments really listen."""
        feeders = tuple(server.address for server in self.feeder_servers)
        return Endpoints(self.poi_server.address, self.site_server.address, self.dcs_server.address, feeders)

    async def start(self) -> None:
        """Show the first readings, listen, and begin to tick.

        Raises:
            OSError: an address cannot be bound; nothing is left listening.
        """
        self.tick()
        try:
            for server in self._servers:
                await server.start()
        except OSError:
            await self.stop()
            raise
        self._task = asyncio.create_task(self._run(), name="plant")

    async def stop(self) -> None:
        """Stop ticking and listening.

        Raises:
            Exception: whatever ended the ticking early, so that a broken simulation cannot pass for a run.
        """
        for server in self._servers:
            await server.stop()
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def tick(self) -> PlantTruth:
        """Advance physics and instruments to the clock's present and record the truth."""
        now_s = self._clock()
        dt_s = 0.0 if self._last_s is None else now_s - self._last_s
        self._last_s = now_s
        self.truth = truth = self.plant.step(dt_s, self._miner_w_by_feeder())
        self.poi.step(dt_s, truth)
        self.site.step(dt_s, truth)
        for meter in self.feeders:
            meter.step(dt_s, truth)
        # Despatch, which carries the signal, is in the DCS block: only its refresh lets anybody see a change.
        if self.dcs.step(dt_s, truth, int(self._wall_s())):
            self._note_change(truth)
        self.record.append(
            TruthSample(
                now_s,
                truth.site_load_w,
                truth.surplus_w,
                truth.cap_follow_w,
                truth.poi_export_w,
                truth.despatch_w,
            )
        )
        return truth

    def _note_change(self, truth: PlantTruth) -> None:
        if self._signalled_w is None:
            self._signalled_w = truth.cap_follow_w
        elif abs(truth.cap_follow_w - self._signalled_w) >= self._change_w:
            self.changes.append(SignalChange(self._clock(), self._signalled_w, truth.cap_follow_w))
            self._signalled_w = truth.cap_follow_w

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._tick_s)
            self.tick()


def _feeder_meters(instruments: InstrumentSpec, places: int, feeders: int) -> tuple[PanelMeter, ...]:
    """A meter for every feeder, when there are places for them."""
    if places == 0:
        return ()
    if instruments.feeder is None or places != feeders:
        raise ValueError(f"{places} places for meters of {feeders} feeders, built as {instruments.feeder}")
    return tuple(PanelMeter(instruments.feeder, instruments.seed + 2 + index, index) for index in range(feeders))
