"""Plant and miners whose simulators keep answering while a test waits: they live on a loop in a thread of their own."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Coroutine, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from simulators.asic.farm import MinerFarm
from simulators.asic.models import MODELS
from simulators.asic.response import Behaviour, ResponseTimes, Span, VerbResponse
from simulators.asic.spec import FleetSpec
from simulators.faults import Fault
from simulators.feeder import FeederSpec, SiteSpec, feeder_sums_w
from simulators.modbus_meter import DcsSpec, PanelMeterSpec, Quantity
from simulators.plant import Plant, PlantFlags, PlantSpec, UnitSpec
from simulators.plant_host import Endpoints, InstrumentSpec, PlantHost, TruthSample
from tests.e2e.waiting import STOP_WITHIN_S, T

LOOPBACK = ("127.0.0.1", 0)
AUXILIARY_W = 1_000.0

# Sleep and trim as the response classes on file say; boots are quicker, for what is tested here is not patience.
RESPONSE = ResponseTimes(
    sleep=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    wake=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    profile=VerbResponse(Span(0.5, 1.0), Span(2.0, 3.0)),
    reboot_off=Span(1.0, 2.0),
)
PLANT = PlantSpec(
    units=(UnitSpec("unit-1", available_w=400e3, min_stable_w=50e3, ramp_w_per_s=20e3, synchronised=True),),
    auxiliary_fixed_w=5_000.0,
    auxiliary_fraction=0.05,
    despatch_base_w=100e3,
    despatch_step_w=1_000.0,
    despatch_held_after_trip_s=60.0,
    reserve_up_w=20e3,
    frequency_hz=50.0,
    frequency_sigma_hz=0.01,
    poi_line_v=11_000.0,
    voltage_sigma_fraction=0.002,
    wander_time_s=30.0,
    site=SiteSpec(feeders=(FeederSpec("a", 0.01), FeederSpec("b", 0.01)), auxiliary_w=AUXILIARY_W),
)


@dataclass(slots=True)
class SettableSurplus:
    """simulators.plant.SurplusSource under the test's hand."""

    power_w: float

    def surplus_w(self, t_s: float) -> float:
        return self.power_w


class Simulators:
    """Plant and miners on loopback sockets, from `start` to `stop`."""

    def __init__(
        self,
        *,
        surplus_kw: float,
        models: Mapping[str, int],
        hashing: int,
        behaviours: Mapping[int, Behaviour],
        response: ResponseTimes = RESPONSE,
    ) -> None:
        """The first `hashing` miners in merit order hash, the others sleep; `behaviours` by index in that order."""
        listed = [MODELS[key] for key, count in models.items() for _ in range(count)]
        self.models = sorted(listed, key=lambda model: model.efficiency_j_per_th)
        count = len(self.models)
        self.surplus = SettableSurplus(surplus_kw * 1e3)
        self._spec = FleetSpec(
            models=self.models,
            seed=7,
            asleep=[index >= hashing for index in range(count)],
            behaviours=[behaviours.get(index, Behaviour.OBEYS) for index in range(count)],
            response=response,
        )
        self.feeder_of_miner = np.arange(count) % 2
        self.ids = [f"m{index:02d}" for index in range(count)]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="simulators", daemon=True)
        self.farm: MinerFarm
        self.host: PlantHost

    @property
    def rated_w(self) -> float:
        return sum(model.nameplate.power_w for model in self.models) * 1.02 + AUXILIARY_W

    @property
    def load_kw(self) -> float:
        """True power at the site meter."""
        return self.host.truth.site_load_w / 1e3

    @property
    def cap_kw(self) -> float:
        """The most the site may draw now."""
        return self.host.truth.cap_follow_w / 1e3

    def owner_sets(self, miner: int, profile: int) -> None:
        """As its owner would, before anybody else came: the miner runs this rung of its ladder, 0 the lowest."""

        async def set_it() -> None:
            self.farm.bank.command_profile(miner, profile)

        self.call(set_it())

    def asleep(self) -> list[str]:
        """Miners really asleep."""
        return [name for name, sleeps in zip(self.ids, self.farm.bank.is_asleep, strict=True) if sleeps]

    def fault(self, fault: Fault, miners: Iterable[int], *, on: bool) -> None:
        """Switch a fault of these miners on or off."""

        async def switched() -> None:
            for miner in miners:
                self.farm.faults[miner].on(fault) if on else self.farm.faults[miner].off(fault)

        self.call(switched())

    def emergency(self, *, on: bool) -> None:
        """The plant's grid emergency flag."""

        async def flagged() -> None:
            self.host.plant.set_flags(PlantFlags(on, trip_underfrequency=False, trip_stop_button=False, permit=True))

        self.call(flagged())

    def writes(self) -> int:
        """Commands that really reached miners."""
        return sum(len(miner.log.writes) for miner in self.farm.miners)

    @property
    def last_write_at(self) -> float:
        """When a command last reached a miner, on time.monotonic()."""
        return max((record.at_s for miner in self.farm.miners for record in tuple(miner.log.writes)), default=-math.inf)

    def stands_still(self, for_s: float = 1.5, within_kw: float = 0.1) -> bool:
        """No command is still on its way to its effect: the true power has not moved lately."""
        now = time.monotonic()
        powers = [row.site_load_w / 1e3 for row in self.truth(now - for_s)]
        return now - self.last_write_at > 3.0 and max(powers) - min(powers) < within_kw

    def truth(self, since_s: float = 0.0) -> list[TruthSample]:
        """True powers every 50 ms, oldest first, from a moment of time.monotonic() on."""

        async def copied() -> list[TruthSample]:
            return [row for row in self.host.record if row.at_s >= since_s]

        return self.call(copied())

    def raises(self, since_s: float, until_s: float = math.inf) -> int:
        """Commands for more power that reached miners between two moments of time.monotonic()."""
        writes = (record for miner in self.farm.miners for record in tuple(miner.log.writes))
        return sum(record.raises is True and since_s <= record.at_s < until_s for record in writes)

    def start(self) -> None:
        self._thread.start()
        self.call(self._start())

    def stop(self) -> None:
        self.call(self._stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(STOP_WITHIN_S)
        self._loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run something on the simulators' own loop and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(STOP_WITHIN_S)

    async def _start(self) -> None:
        self.farm = MinerFarm(self._spec)
        await self.farm.__aenter__()
        panel = {"voltage_ratio": 1.0, "refresh_s": 0.1, "noise_fraction": 0.0002, "gain_error_fraction": 0.0}
        instruments = InstrumentSpec(
            poi=PanelMeterSpec(quantity=Quantity.POI_EXPORT, installed_sign=-1, resolution_w=1.0, **panel),
            site=PanelMeterSpec(quantity=Quantity.SITE_LOAD, installed_sign=1, resolution_w=1.0, **panel),
            dcs=DcsSpec(refresh_s=0.1, heartbeat_s=1.0),
            seed=7,
        )
        self.host = PlantHost(
            Plant(PLANT, self.surplus, 11),
            instruments,
            Endpoints(LOOPBACK, LOOPBACK, LOOPBACK),
            lambda: feeder_sums_w(self.farm.bank.true_power_w, self.feeder_of_miner, 2),
            0.05,
            1_000.0,
            None,
        )
        await self.host.start()

    async def _stop(self) -> None:
        await self.host.stop()
        await self.farm.__aexit__(None, None, None)
