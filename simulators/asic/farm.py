"""Many simulated miners in one process: their physics in real time and a wire server each."""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, NamedTuple, Self, TypeAlias

from simulators.asic.antminer import AntminerStock
from simulators.asic.antminer_web import antminer_site
from simulators.asic.bank import MinerBank
from simulators.asic.luxos import WEB_PAGE, LuxOSMiner
from simulators.asic.luxos_session import SESSION_TTL_S
from simulators.asic.models import Family
from simulators.asic.spec import FleetSpec
from simulators.asic.static_page import static_page
from simulators.asic.whatsminer import WhatsMiner
from simulators.asic.wire_server import ApiFirmware, FirmwareServer, WebProtocol
from simulators.asic.wirelog import WireRecord
from simulators.faults import FaultSchedule
from simulators.listening import accepted

API_PORT: Final = 4028
WEB_PORT: Final = 80
LOOPBACK: Final = "127.0.0.1"


class _HostAndPort(NamedTuple):
    host: str
    port: int


class MinerAddress(_HostAndPort):
    """Where one miner listens. Unpacks into host and API port; `web_port` is None for a miner that serves no web."""

    web_port: int | None

    def __new__(cls, host: str, port: int, web_port: int | None = None) -> Self:
        """Host, API port, and the web port beside it."""
        address = super().__new__(cls, host, port)
        address.web_port = web_port
        return address


class Built(NamedTuple):
    """A firmware, and what its web port serves."""

    firmware: ApiFirmware
    web: WebProtocol | None
    needs_web: bool
    """Whether the miner is commanded over its web port, so that the port is always served."""


class BuildOrder(NamedTuple):
    """What a firmware is built from."""

    bank: MinerBank
    miner: int
    host: str
    on_record: Callable[[WireRecord], None] | None
    session_ttl_s: float


Builder: TypeAlias = Callable[[BuildOrder], Built]


def _luxos(order: BuildOrder) -> Built:
    firmware = LuxOSMiner(
        order.bank, order.miner, host=order.host, session_ttl_s=order.session_ttl_s, on_record=order.on_record
    )
    return Built(firmware, static_page(firmware, WEB_PAGE), needs_web=False)


def _whatsminer(order: BuildOrder) -> Built:
    firmware = WhatsMiner(order.bank, order.miner, host=order.host, on_record=order.on_record)
    return Built(firmware, static_page(firmware, firmware.web_page), needs_web=False)


def _antminer(order: BuildOrder) -> Built:
    firmware = AntminerStock(order.bank, order.miner, host=order.host, on_record=order.on_record)
    return Built(firmware, antminer_site(firmware), needs_web=True)


FIRMWARES: Final[Mapping[Family, Builder]] = {
    Family.LUXOS: _luxos,
    Family.WHATSMINER: _whatsminer,
    Family.ANTMINER: _antminer,
}
"""How the firmware of each family is built."""


@dataclass(frozen=True, slots=True)
class VendorPorts:
    """Every miner at an address of its own inside `network`, on the ports its vendor uses.

    `network` must lie in 127.0.0.0/8, where Linux answers for every address. `web` None serves the page on port 80 if
    the system lets us bind it, True insists, False leaves it out. A miner that is commanded over its web port always
    has one.
    """

    network: ipaddress.IPv4Network
    web: bool | None = None

    def __post_init__(self) -> None:
        if not self.network.is_loopback:
            raise ValueError(f"simulated miners stay on this machine: {self.network} is outside 127.0.0.0/8")

    def hosts(self, count: int) -> list[str]:
        """The first `count` addresses. Raises ValueError when the network is too small."""
        found = [str(host) for host, _ in zip(self.network.hosts(), range(count), strict=False)]
        if len(found) < count:
            raise ValueError(f"{self.network} has {len(found)} addresses for {count} miners")
        return found


def may_bind_web_port(host: str) -> bool:
    """Whether this process may listen on port 80 of `host`: permitted (root, a capability, a setting) and free."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, WEB_PORT))
        except OSError:
            return False
    return True


class MinerFarm:
    """`async with MinerFarm(spec) as farm:` - miners that answer on their sockets until the block ends.

    `ports` None puts each miner on an ephemeral port of `host`. Index `i` is the same miner in `addresses`,
    `miners`, `bank` and the fleet spec. `on_record(index, record)` hears every command as it arrives. A LuxOS
    session lives for `session_ttl_s` without use. `firmwares`: who builds each family, in place of the usual traits.
    """

    def __init__(
        self,
        spec: FleetSpec,
        *,
        ports: VendorPorts | None = None,
        host: str = LOOPBACK,
        firmwares: Mapping[Family, Builder] = FIRMWARES,
        tick_s: float = 0.05,
        session_ttl_s: float = SESSION_TTL_S,
        schedule: FaultSchedule | None = None,
        on_record: Callable[[int, WireRecord], None] | None = None,
    ) -> None:
        if tick_s <= 0:
            raise ValueError(f"tick_s must be positive, got {tick_s}")
        self.bank: Final = MinerBank(spec)
        self._tick_s = tick_s
        self._schedule = schedule
        self._physics: asyncio.Task[None] | None = None
        count = self.bank.count
        hosts = [host] * count if ports is None else ports.hosts(count)
        self.serves_web: Final = ports is not None and (
            all(map(may_bind_web_port, hosts)) if ports.web is None else ports.web
        )
        orders = (BuildOrder(self.bank, i, hosts[i], _tagged(i, on_record), session_ttl_s) for i in range(count))
        built = [firmwares[self.bank.models[order.miner].family](order) for order in orders]
        self.miners: Final[tuple[ApiFirmware, ...]] = tuple(each.firmware for each in built)
        self._servers: Final = tuple(
            FirmwareServer(
                each.firmware,
                host=host,
                port=0 if ports is None else API_PORT,
                web=each.web if self.serves_web or each.needs_web else None,
                web_port=0 if ports is None else WEB_PORT,
            )
            for host, each in zip(hosts, built, strict=True)
        )
        self.faults: Final = tuple(miner.faults for miner in self.miners)

    @property
    def addresses(self) -> Sequence[MinerAddress]:
        """Host and ports of every miner; ports are known once the farm has been entered."""
        return [
            MinerAddress(server.api.host, server.api.port, None if server.web is None else server.web.port)
            for server in self._servers
        ]

    def first_write_after(self, at_s: float) -> float | None:
        """When any miner got its first write at or after `at_s` (CLOCK_MONOTONIC), None if none did."""
        times = (miner.log.first_write_after(at_s) for miner in self.miners)
        return min((seen for seen in times if seen is not None), default=None)

    async def __aenter__(self) -> Self:
        try:
            for server in self._servers:
                await server.start()
        except OSError:
            self._stop_servers()
            raise
        self._physics = asyncio.get_running_loop().create_task(self._run_physics(), name="miner physics")
        # Miners whose physics stopped must not go on answering as if nothing were.
        self._physics.add_done_callback(lambda _: self._stop_servers())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.accept_no_more()
        await accepted()
        if self._physics is not None:
            self._physics.cancel()
            await asyncio.wait([self._physics])
        self._stop_servers()
        await asyncio.sleep(0)  # lets the transports close their sockets
        if self._physics is not None and not self._physics.cancelled():
            self._physics.result()  # a bug in the physics must not pass for a quiet end

    async def wait_broken(self) -> None:
        """Return when the physics has stopped by itself, which is a bug or a port that could not be opened again.

        Leaving the farm then raises what stopped it.
        """
        if self._physics is not None:
            await asyncio.wait([self._physics])

    def _stop_servers(self) -> None:
        for server in self._servers:
            server.stop()

    async def _run_physics(self) -> None:
        """Steps as long as really passed, so that a busy machine slows nothing down."""
        loop = asyncio.get_running_loop()
        started_s = last_s = loop.time()
        while True:
            await asyncio.sleep(self._tick_s)
            now_s = loop.time()
            if self._schedule is not None:
                self._schedule.apply(self.faults, now_s - started_s)
            self.bank.step(now_s - last_s)
            last_s = now_s


def _tagged(index: int, hook: Callable[[int, WireRecord], None] | None) -> Callable[[WireRecord], None] | None:
    if hook is None:
        return None

    def tagged(record: WireRecord) -> None:
        hook(index, record)

    return tagged
