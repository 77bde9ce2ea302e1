"""The demo's hardware in one piece: miners on their wire, plant and meters, and a log of what reached the miners."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import numpy as np

from simulators.asic.farm import MinerFarm
from simulators.asic.models import Family
from simulators.asic.wirelog import WireRecord
from simulators.demo.site_files import feeder_of
from simulators.feeder import feeder_sums_w
from simulators.plant import Plant, SurplusSource
from simulators.plant_host import Endpoints, PlantHost
from simulators.scenario import Scenario

_FREE_PORT = ("127.0.0.1", 0)


@dataclass(frozen=True, slots=True)
class CommandSeen:
    """A control command whose first byte reached a miner at `at_s` (monotonic); `raises` says which way it points."""

    at_s: float
    miner: int
    raises: bool


class HeldTrace:
    """A surplus that stays at its first value until `release`, so that every run shows the same stretch of the day."""

    def __init__(self, source: SurplusSource) -> None:
        self._source = source
        self._released_at_s = math.inf
        self._seen_s = 0.0

    def surplus_w(self, t_s: float) -> float:
        """Surplus in W, `t_s` seconds after the plant's start."""
        self._seen_s = t_s
        return self._source.surplus_w(max(0.0, t_s - self._released_at_s))

    def release(self) -> None:
        """Begin now."""
        self._released_at_s = self._seen_s


@dataclass(frozen=True, slots=True)
class FamilyPower:
    """True power of the miners of each family at `at_s` (monotonic), W, in the order of `Family`."""

    at_s: float
    power_w: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class World:
    """Everything the daemon controls and measures, what it was told, and what each family drew at every tick."""

    farm: MinerFarm
    host: PlantHost
    trace: HeldTrace
    commands: list[CommandSeen]
    family_power: list[FamilyPower]


@contextlib.asynccontextmanager
async def open_world(scenario: Scenario) -> AsyncIterator[World]:
    """Start miners, plant and meters on free ports of this machine; they stop when the block ends.

    Raises:
        TraceError: the signal cannot be used.
        OSError: a port cannot be had.
    """
    commands: list[CommandSeen] = []
    family_power: list[FamilyPower] = []
    order = list(Family)
    family_of_miner = np.array([order.index(model.family) for model in scenario.fleet.miners()], dtype=np.int64)
    feeders = len(scenario.plant.site.feeders)
    feeder_of_miner = np.array([feeder_of(i, scenario) for i in range(scenario.fleet.size)], dtype=np.int64)

    def note(miner: int, record: WireRecord) -> None:
        if record.raises is not None:
            commands.append(CommandSeen(record.at_s, miner, record.raises))

    def load() -> Sequence[float]:
        by_family = np.bincount(family_of_miner, weights=farm.bank.true_power_w, minlength=len(order))
        family_power.append(FamilyPower(time.monotonic(), tuple(by_family.tolist())))
        return feeder_sums_w(farm.bank.true_power_w, feeder_of_miner, feeders)

    # One beat for miners and plant: a faster one would only take CPU from the daemon on the same machine.
    farm = MinerFarm(scenario.fleet.spec(), tick_s=scenario.tick_s, on_record=note)
    trace = HeldTrace(scenario.surplus_trace())
    async with farm:
        host = PlantHost(
            plant=Plant(scenario.plant, trace, scenario.plant_seed),
            instruments=scenario.instruments,
            endpoints=Endpoints(_FREE_PORT, _FREE_PORT, _FREE_PORT, (_FREE_PORT,) * feeders),
            miner_w_by_feeder=load,
            tick_s=scenario.tick_s,
            change_w=scenario.signal_fraction * scenario.fleet.rated_w(),
            record_limit=None,
            clock=time.monotonic,
        )
        await host.start()
        try:
            yield World(farm, host, trace, commands, family_power)
        finally:
            await host.stop()
