"""One demo from beginning to end: broker, hardware, daemon, dispatches, recording; everything is taken down after."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from simulators.asic.models import Family
from simulators.demo.broker import start_broker
from simulators.demo.dispatching import Order, send_orders
from simulators.demo.metrics import FamilyCounts, counts_by, counts_by_family, scrape
from simulators.demo.processes import Child, DemoError, Usage, command_beside, run_to_end
from simulators.demo.recording import (
    Change,
    CommandRecord,
    DaemonRecord,
    FamilySeries,
    Marker,
    OrderRecord,
    Recording,
    SaidSeries,
    Truth,
)
from simulators.demo.settings import DemoSettings
from simulators.demo.site_files import Wiring, environment_of, write_site
from simulators.demo.watch import Watch
from simulators.demo.world import World, open_world
from simulators.scenario import Scenario

READY_WITHIN_S: Final = 60.0
COMMAND_WITHIN_S: Final = 30.0
PAGE_PERIOD_S: Final = 0.5
SURPLUS_STEP_S: Final = 1.0
ROOM_ABOVE: Final = 1.05
SCRAPE_PERIOD_S: Final = 5.0


@dataclass(slots=True)
class Live:
    """A run under way, for whoever shows it.

    `counts` is what the daemon has counted so far, by family. `began_at_s` (monotonic) is None until the daemon is
    there; `top_w` lies a little above the highest surplus to come.
    """

    scenario: Scenario
    seconds: float
    run_dir: Path
    world: World
    watch: Watch
    orders: list[Order] = field(default_factory=list)
    counts: Mapping[str, FamilyCounts] = field(default_factory=dict)
    began_at_s: float | None = None
    top_w: float = field(init=False)

    def __post_init__(self) -> None:
        surplus_w = self.scenario.surplus_trace().sample(self.seconds, SURPLUS_STEP_S)
        self.top_w = ROOM_ABOVE * float(surplus_w.max())

    @property
    def elapsed_s(self) -> float:
        """Seconds of the run so far."""
        return 0.0 if self.began_at_s is None else time.monotonic() - self.began_at_s


Show = Callable[[Live], None]


@dataclass(frozen=True, slots=True)
class _Ending:
    """What is asked of the daemon at the end of the run."""

    usage: Usage | None
    status: Mapping[str, object]
    metrics: str


async def run_demo(settings: DemoSettings, scenario: Scenario, run_dir: Path, show: Show) -> Recording:
    """Run the demo and return its recording; `show` is called twice a second while it runs.

    SIGINT and SIGTERM end the run early; what was recorded until then is returned.

    Raises:
        DemoError: a part did not start, or ended by itself.
        TraceError: the signal cannot be used.
    """
    with _told_to_stop() as stopped:
        async with contextlib.AsyncExitStack() as stack:
            world = await stack.enter_async_context(open_world(scenario))
            broker, port = await start_broker(run_dir)
            stack.push_async_callback(broker.stop)
            meters, miners = world.host.endpoints, world.farm.addresses
            site_file = write_site(run_dir, scenario, Wiring(miners, meters, port), settings.without)
            watch = Watch(port)
            listening = asyncio.create_task(watch.run(), name="watch")
            stack.push_async_callback(_end, listening)
            command = [command_beside("curtaild"), "run", "--config", str(site_file)]
            environment = environment_of(run_dir)
            daemon = await Child.start("daemon", command, run_dir / "daemon.log", environment=environment)
            stack.push_async_callback(daemon.stop)
            live = Live(scenario, settings.seconds, run_dir, world, watch)
            await _until_online(watch, daemon, stopped)
            return await _measure(live, daemon, site_file, stopped, show)


async def _measure(live: Live, daemon: Child, site_file: Path, stopped: asyncio.Event, show: Show) -> Recording:
    """The run proper, from the daemon's readiness to its exit."""
    began_at_s = live.began_at_s = time.monotonic()
    live.world.trace.release()
    before = daemon.usage()
    port = live.watch.port
    sending = asyncio.create_task(
        send_orders(live.scenario, began_at_s, live.seconds, live.run_dir, port, live.orders), name="dispatcher"
    )
    counting = asyncio.create_task(_keep_counts(live, daemon), name="scraper")
    try:
        await _until_over(live, daemon, stopped, show)
        ended_at_s = time.monotonic()
        ending = await _ask(daemon, site_file, live.run_dir)
        exit_code = await daemon.stop()
    finally:
        await _end(sending)
        await _end(counting)
        for order in live.orders:
            await order.child.stop()
    used_s = None if before is None or ending.usage is None else ending.usage.cpu_s - before.cpu_s
    record = DaemonRecord(
        cpu_s=used_s,
        rss_mb=None if ending.usage is None else ending.usage.rss_mb,
        exit_code=exit_code,
        status=ending.status,
        commands=counts_by(ending.metrics, "commands", "verb"),
        verdicts=counts_by(ending.metrics, "verdicts", "verdict"),
        families=counts_by_family(ending.metrics),
    )
    return _recording(live, began_at_s, ended_at_s, record)


async def _until_online(watch: Watch, daemon: Child, stopped: asyncio.Event) -> None:
    """Wait for the daemon's first state; raises DemoError when it ends or takes too long."""
    online = asyncio.create_task(watch.wait_online())
    deadline_s = time.monotonic() + READY_WITHIN_S
    try:
        while not online.done():
            daemon.must_run()
            if stopped.is_set():
                raise DemoError("stopped before the daemon was ready")
            if time.monotonic() > deadline_s:
                raise DemoError(f"the daemon was not ready within {READY_WITHIN_S:g} s; its log:\n{daemon.tail()}")
            await asyncio.wait([online], timeout=0.05)
    finally:
        await _end(online)


async def _until_over(live: Live, daemon: Child, stopped: asyncio.Event, show: Show) -> None:
    while not stopped.is_set() and live.elapsed_s < live.seconds:
        daemon.must_run()
        show(live)
        pause_s = max(0.0, min(PAGE_PERIOD_S, live.seconds - live.elapsed_s))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopped.wait(), pause_s)


async def _ask(daemon: Child, site_file: Path, run_dir: Path) -> _Ending:
    """The daemon's last word: resources, status, metrics."""
    usage = daemon.usage()
    command = [command_beside("curtaild"), "status", "--config", str(site_file), "--json"]
    status = json.loads(await run_to_end("status", command, run_dir, COMMAND_WITHIN_S, environment_of(run_dir)))
    return _Ending(usage, status, await scrape(daemon.log_text()))


async def _keep_counts(live: Live, daemon: Child) -> None:
    """Read the daemon's counts now and then, for whoever shows them; a read that fails is made up by the next."""
    while True:
        with contextlib.suppress(DemoError):
            live.counts = counts_by_family(await scrape(daemon.log_text()))
        await asyncio.sleep(SCRAPE_PERIOD_S)


def order_record(order: Order, watch: Watch, began_at_s: float) -> OrderRecord:
    """An order with the answers heard on the broker, which has them also when the sender has gone."""
    order.refresh()
    heard = [answer for answer in watch.answers if answer.dispatch_id == order.dispatch_id]
    times: dict[str, float] = {}
    answered_w = order.power_w
    for answer in heard:
        times.setdefault(answer.status, answer.at_s - began_at_s)
        if answer.status in ("ACCEPTED", "CLAMPED") and answer.power_w is not None:
            answered_w = answer.power_w
    return OrderRecord(order.kind, order.power_w, answered_w, order.sent_at_s - began_at_s, order.for_s, times)


def _recording(live: Live, began_at_s: float, ended_at_s: float, daemon: DaemonRecord) -> Recording:
    duration_s = ended_at_s - began_at_s
    rows = [row for row in live.world.host.record if began_at_s <= row.at_s <= ended_at_s]
    truth = Truth(
        t_s=np.array([row.at_s - began_at_s for row in rows]),
        load_w=np.array([row.site_load_w for row in rows]),
        surplus_w=np.array([row.surplus_w for row in rows]),
        cap_w=np.array([row.cap_follow_w for row in rows]),
    )
    states = [state for state in live.watch.states if state.online and began_at_s <= state.at_s <= ended_at_s]

    def said(key: str) -> np.ndarray[Any, np.dtype[np.float64]]:
        powers = [state.power_w(key) for state in states]
        return np.array([np.nan if power is None else power for power in powers], dtype=np.float64)

    series = SaidSeries(
        np.array([state.at_s - began_at_s for state in states]),
        said("cap"),
        said("target"),
        said("expected"),
        said("measured"),
    )
    return Recording(
        duration_s=duration_s,
        interrupted=duration_s < live.seconds - 1.0,
        truth=truth,
        families=_family_series(live, began_at_s, ended_at_s),
        said=series,
        orders=tuple(order_record(order, live.watch, began_at_s) for order in live.orders),
        changes=tuple(
            Change(change.at_s - began_at_s, change.from_w, change.to_w)
            for change in live.world.host.changes
            if change.at_s >= began_at_s
        ),
        commands=tuple(CommandRecord(seen.at_s - began_at_s, seen.raises) for seen in live.world.commands),
        markers=tuple(
            Marker(event.at_s - began_at_s, event.level, f"{event.miner}: {event.text}" if event.miner else event.text)
            for event in live.watch.events
            if began_at_s <= event.at_s <= ended_at_s
        ),
        daemon=daemon,
    )


def _family_series(live: Live, began_at_s: float, ended_at_s: float) -> FamilySeries:
    rows = [row for row in live.world.family_power if began_at_s <= row.at_s <= ended_at_s]
    powers = np.array([row.power_w for row in rows], dtype=np.float64).reshape(len(rows), len(Family))
    present = {model.family for model in live.scenario.fleet.miners()}
    return FamilySeries(
        t_s=np.array([row.at_s - began_at_s for row in rows], dtype=np.float64),
        power_w={family.value: powers[:, place] for place, family in enumerate(Family) if family in present},
    )


async def _end(task: asyncio.Task[None]) -> None:
    """Cancel a task and wait for it; its own failure comes out here, and is not lost."""
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@contextlib.contextmanager
def _told_to_stop() -> Iterator[asyncio.Event]:
    """An event that SIGINT or SIGTERM sets."""
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    numbers = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        loop.add_signal_handler(number, stopped.set)
    try:
        yield stopped
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
