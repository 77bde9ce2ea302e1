"""Who runs: stock pyasic, our drivers, our drivers behind the actuator, pyasic_rs. (By hand: see raw.py.)"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pyasic_rs

from controller.config.fleet_sections import FleetRules
from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import Condition, MinerReading
from controller.runtime.actuator import Actuator
from drivers import catalog
from drivers.asic.profiles import facts_of
from drivers.asic.pyasic_miner import import_factory
from tests.bench.drivers.farm_link import USERNAME, Site

DEADLINE_S = 10.0
"""Per call of ours. Generous: a machine that is busy with two processes is not a miner that is silent."""
CONCURRENCY = int(FleetRules.model_fields["concurrency"].default)
"""What the actuator uses unless the site says otherwise."""
FAR_S = 3_600.0


async def each(count: int, call: Callable[[int], Awaitable[bool]], at_once: int | None) -> int:
    """Call for every index, `at_once` of them in flight (None: all), and count those that came back True."""
    if at_once is None:
        return sum(await asyncio.gather(*map(call, range(count))))
    slots = asyncio.Semaphore(at_once)

    async def in_turn(index: int) -> bool:
        async with slots:
            return await call(index)

    return sum(await asyncio.gather(*map(in_turn, range(count))))


class Contestant(ABC):
    """One way of talking to the miners. `prepare` may do what a daemon does before the clock runs."""

    can_sweep = True

    def __init__(self, at_once: int | None) -> None:
        self.at_once = at_once
        self.sites: Sequence[Site] = ()

    def knows(self, family: str, vendor_ports: bool) -> bool:
        """Whether it can drive this family here."""
        return True

    @abstractmethod
    async def prepare(self, sites: Sequence[Site]) -> None: ...

    async def start_anew(self, sites: Sequence[Site]) -> None:
        """The same for new miners at the same addresses, which know nobody either."""
        await self.close()
        await self.prepare(sites)

    async def shed(self) -> int:
        """All to sleep; how many said yes."""
        return await each(len(self.sites), self.sleep, self.at_once)

    async def sweep(self) -> int:
        """One telemetry read of every miner; how many told watts or hash rate."""
        return await each(len(self.sites), self.read, self.at_once)

    async def sleep(self, index: int) -> bool:
        raise NotImplementedError

    async def read(self, index: int) -> bool:
        raise NotImplementedError

    async def close(self) -> None:  # noqa: B027 - most hold nothing
        """Let go of everything."""


class StockPyasic(Contestant):
    """pyasic as published, built without identification, as a site that stores what it found would."""

    TOLD = ("wattage", "is_mining", "hashrate")

    def __init__(self, at_once: int | None) -> None:
        super().__init__(at_once)
        self._miners: list[Any] = []

    async def prepare(self, sites: Sequence[Site]) -> None:
        self.sites = sites
        self._miners = [self._build(site) for site in sites]
        # Whatever port it is told, it reads an Antminer's configuration for `is_mining` on port 80.
        self.can_sweep = all(site.web_port in (None, 80) for site in sites)

    @staticmethod
    def _build(site: Site) -> Any:
        factory = import_factory()
        facts = facts_of(site.model, site.family)
        classes = factory.MINER_CLASSES[factory.MinerTypes[facts.pyasic_family]]
        miner = classes.get(facts.pyasic_model.upper(), classes[None])(site.host)
        miner.rpc.port = site.port
        if miner.web is not None and site.web_port is not None:
            miner.web.port = site.web_port
        return miner

    async def sleep(self, index: int) -> bool:
        try:
            return bool(await self._miners[index].stop_mining())
        except Exception:  # noqa: BLE001 - it raises anything; the miners' own count tells what arrived
            return False

    async def read(self, index: int) -> bool:
        try:
            data = await self._miners[index].get_data(include=list(self.TOLD))
        except Exception:  # noqa: BLE001
            return False
        return data.wattage is not None or data.hashrate is not None


class Ours(Contestant):
    """The drivers, called as the actuator calls them."""

    def __init__(self) -> None:
        super().__init__(CONCURRENCY)
        self._loads: list[catalog.Miner] = []
        self._sent = 0

    async def prepare(self, sites: Sequence[Site]) -> None:
        self.sites = sites
        self._loads = [build(index, site) for index, site in enumerate(sites)]

    async def sleep(self, index: int) -> bool:
        self._sent += 1
        return said_yes(await self._loads[index].perform(shed_command(self._sent, index)))

    async def read(self, index: int) -> bool:
        return told_something(await self._loads[index].read())

    async def close(self) -> None:
        await each(len(self._loads), self._close, CONCURRENCY)

    async def _close(self, index: int) -> bool:
        await self._loads[index].close()
        return True


class ThroughActuator(Ours):
    """The same drivers with the actuator in front: queues, slots and workers included.

    Its workers read every miner once before the clock runs, as the daemon's do.
    """

    can_sweep = False

    def __init__(self) -> None:
        super().__init__()
        self._read = asyncio.Event()
        self._done = asyncio.Event()
        self._to_read = 0
        self._to_answer = 0
        self._yes = 0
        self._running: asyncio.Task[None] | None = None

    async def prepare(self, sites: Sequence[Site]) -> None:
        await super().prepare(sites)
        self._to_read = len(sites)
        self._actuator = Actuator(
            self._loads,
            settle_s=lambda _command: FAR_S,
            sweep_period_s=FAR_S,
            concurrency=CONCURRENCY,
            put_report=self._take_report,
            put_telemetry=self._take_reading,
        )
        self._running = asyncio.get_running_loop().create_task(self._actuator.run())
        await self._read.wait()

    async def shed(self) -> int:
        commands = []
        for index in range(len(self.sites)):
            self._sent += 1
            commands.append(shed_command(self._sent, index))
        self._done.clear()
        self._yes, self._to_answer = 0, len(commands)
        self._actuator.submit(tuple(commands), _OnDisk())
        await self._done.wait()
        return self._yes

    async def close(self) -> None:
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])

    def _take_reading(self, _reading: MinerReading) -> None:
        self._to_read -= 1
        if self._to_read == 0:
            self._read.set()

    def _take_report(self, report: CommandReport) -> None:
        self._yes += said_yes(report)
        self._to_answer -= 1
        if self._to_answer == 0:
            self._done.set()


class _OnDisk:
    async def wait(self) -> bool:
        return True


class PyasicRs(Contestant):
    """pyasic_rs: found by address, which is the only way it builds a miner; its threads' CPU counts."""

    FIND_AT_ONCE = 64

    def __init__(self) -> None:
        super().__init__(CONCURRENCY)
        self._miners: list[Any] = []
        skipped = set(vars(pyasic_rs.asic_rs.DataField)) - {"Wattage", "IsMining", "Hashrate"}
        fields = pyasic_rs.asic_rs.DataField
        self._skipped = [getattr(fields, name) for name in sorted(skipped) if name[0].isupper()]

    def knows(self, family: str, vendor_ports: bool) -> bool:
        return vendor_ports

    async def prepare(self, sites: Sequence[Site]) -> None:
        self.sites = sites
        self._miners = [None] * len(sites)
        found = await each(len(sites), self._find, self.FIND_AT_ONCE)
        if found < len(sites):
            raise RuntimeError(f"pyasic_rs identified {found} of {len(sites)} miners")

    async def start_anew(self, sites: Sequence[Site]) -> None:
        """Finding them takes longer than everything else, and what was found does not change."""
        self.sites = sites

    async def _find(self, index: int) -> bool:
        site = self.sites[index]
        self._miners[index] = miner = await pyasic_rs.MinerFactory().get_miner(site.host)
        if miner is not None and site.password is not None:
            miner.set_auth(USERNAME, site.password)
        return miner is not None

    async def sleep(self, index: int) -> bool:
        try:
            return bool(await self._miners[index].pause())
        except Exception:  # noqa: BLE001
            return False

    async def read(self, index: int) -> bool:
        try:
            data = await self._miners[index].get_data(exclude=self._skipped)
        except Exception:  # noqa: BLE001
            return False
        return data.wattage is not None or data.hashrate is not None

    async def close(self) -> None:
        self._miners.clear()


def build(index: int, site: Site) -> catalog.Miner:
    """Our driver of one simulated miner."""
    return catalog.build_miner(
        miner_id=f"m{index}",
        index=index,
        model=site.model,
        firmware=site.family,
        host=site.host,
        port=site.port,
        web_port=site.web_port or 80,
        username=USERNAME,
        password=site.password,
        deadline_s=DEADLINE_S,
    )


def shed_command(command_id: int, index: int) -> Command:
    """Sleep now: grid first."""
    return Command(command_id, index, Verb.SLEEP, None, raises=False, urgent=True, reason="bench")


def said_yes(report: CommandReport) -> bool:
    """Whether the miner acknowledged."""
    return report.outcome in (Outcome.ACKNOWLEDGED, Outcome.APPLIED)


def told_something(reading: MinerReading) -> bool:
    """Whether a read proved that the miner hashes."""
    return reading.condition is Condition.HASHING
