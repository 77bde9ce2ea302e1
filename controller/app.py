"""The composition root: the one module that knows all the others. Builds the daemon, runs it, takes it down cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import time

from controller.config import ConfigError, SiteConfig, load_site
from controller.core import wear
from controller.core.engine import Engine
from controller.core.state import State
from controller.devices import (
    StartRefusedError,
    build_inbox,
    build_loads,
    build_pollers,
    known_models,
    open_journal,
    raise_socket_limit,
    refuse_what_cannot_start,
    settle_time,
)
from controller.domain.command import CommandReport
from controller.domain.plan import Decision, Event, EventLevel, OperatorOrder, OperatorVerb
from controller.domain.policy import Mode, Policy
from controller.identity import identity
from controller.onlookers import Onlookers
from controller.runtime.actuator import Actuator
from controller.runtime.claim import FleetClaim, FleetInUseError
from controller.runtime.console import Console, ConsoleUnavailableError
from controller.runtime.cycle import Cycle
from controller.runtime.journal import JournalInUseError, JournalRefusedError, SqliteJournal
from controller.runtime.mailbox import Mailbox
from controller.runtime.metrics_server import MetricsServer, MetricsUnavailableError
from controller.runtime.operations import Operations
from controller.runtime.previewer import WITHIN_S as PREVIEW_WITHIN_S
from controller.runtime.previewer import Previewer
from controller.runtime.resume import ON_EXIT, resume
from controller.runtime.starts import Starts
from controller.runtime.whole_state import state_row
from controller.safe_daemon import SafeDaemon
from controller.wire.rows import outcomes_row, start_row, stop_row
from controller.wire.setup import setup_record

DRAIN_EXTRA_S = 30.0  # `on_exit = fallback`: beyond what the ramp itself needs before we leave anyway
LEAVE_WITHIN_S = 30.0  # after the way down: calls in flight, journal, broker
DRAINED_TOLERANCE = 0.02  # of rated: as near to the fallback as an order must come to count as reached
RELOADED = "reload"  # why the daemon ends when it is about to begin again, in the same process, on the new files
REFUSALS = (
    StartRefusedError,
    FleetInUseError,
    JournalInUseError,
    JournalRefusedError,
    ConsoleUnavailableError,
    MetricsUnavailableError,
)

__all__ = ["REFUSALS", "serve"]


def serve(config: SiteConfig) -> bool:
    """Run the daemon until SIGTERM or SIGINT: False. True: it was told to reload, and may begin again on the new files.

    Raises one of REFUSALS when it cannot start; nothing was moved then.
    """
    raise_socket_limit(len(config.miners))
    commands_miners = config.policy().mode is Mode.CONTROL
    with FleetClaim(config.site_id, config.inventory_path if commands_miners else None):
        starts = Starts(config.console_socket.with_name(f"starts-{config.site_id}.json"))
        settings = config.document.restart
        begun = starts.begin(settings.crash_limit, settings.crash_window)
        daemon = SafeDaemon(config, begun.unclean) if begun.safe_mode else _Daemon(config, begun.trouble)
        try:
            reload = asyncio.run(daemon.run())
        except REFUSALS:
            starts.withdraw()
            raise
        finally:
            daemon.close()
        starts.end()
        return reload


class _Daemon:
    """One site's daemon, put together; `run` lives as long as it does."""

    def __init__(self, config: SiteConfig, trouble: str) -> None:
        """trouble: why crashes cannot be counted, empty when they can."""
        self._config = config
        self._trouble = trouble
        self._policy = config.policy()
        self._facts = config.fleet()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()  # only looked at while stopping towards the fallback
        self._reason = ""  # why the daemon ends
        self._mailbox = Mailbox(self._policy)
        self._onlookers = Onlookers(config, self._policy, self._facts)
        self._reloading: asyncio.Task[None] | None = None

    def close(self) -> None:
        """Write the last log lines."""
        self._onlookers.close()

    async def run(self) -> bool:
        """Start everything, serve, stop everything in the order that leaves the load where it is. True: reload."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, f"signal {number.name}")
        async with open_journal(self._config, self._onlookers.tell) as journal:
            now, wall = loop.time(), time.time()
            resumed = resume(self._config.journal_path, self._facts, now, wall)
            self._onlookers.journal = journal
            names = {"feeders": list(self._facts.feeder_names)}
            setup = {"setup": setup_record(self._facts, self._policy)}
            facts = {**identity(self._config), **names, **setup, "now": now}
            journal.append((start_row(wall, facts, self._facts.miner_ids), state_row(wall, resumed.state)))
            self._onlookers.tell(resumed.event)
            if self._trouble:
                self._onlookers.tell(Event("crashes_uncounted", EventLevel.WARNING, self._trouble))
            loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
            await self._serve(journal, resumed.state)
            late = self._mailbox.take_reports()
            if late:  # what they wrote to flash counts at the next start
                journal.append((outcomes_row(time.time(), late),))
            journal.append((stop_row(time.time(), self._reason),))
        return self._reason == RELOADED

    async def _serve(self, journal: SqliteJournal, state: State) -> None:
        """From the first reading to the last command."""
        actuator = Actuator(
            build_loads(self._config, self._policy.mode, lambda miner: wear.spent(state, miner, time.time())),
            settle_s=settle_time(self._facts),
            sweep_period_s=self._config.document.fleet.sweep_period,
            concurrency=self._config.document.fleet.concurrency,
            put_report=self._take_report,
            put_telemetry=self._mailbox.put_telemetry,
        )
        onlookers = self._onlookers
        onlookers.inbox = inbox = build_inbox(self._config, self._mailbox.note_received, onlookers.take_link)
        self._cycle = Cycle(
            Engine(self._facts, self._policy),
            state,
            mailbox=self._mailbox,
            inbox=inbox,
            journal=journal,
            actuator=actuator,
            watcher=self,
            heartbeat_at=lambda: None if inbox is None else inbox.heartbeat_at,
        )
        mailbox = self._mailbox
        pollers = build_pollers(self._config, mailbox.put_readings, mailbox.put_feeder, onlookers.meter_failed)
        operations = Operations(
            self._facts,
            self._policy,
            views=onlookers.views,
            mailbox=self._mailbox,
            actuator=actuator,
            journal=journal,
            announce=onlookers.announce,
        )
        previewer = Previewer(self._cycle.engine, self._cycle.present, self._config.document.fleet.sweep_period)
        handlers = {**operations.handlers(), "preview": previewer.answer}
        console = Console(self._config.console_socket, handlers, {"preview": PREVIEW_WITHIN_S})
        pages = {"/metrics": onlookers.metrics.page, "/metrics/miners": onlookers.miner_metrics.page}
        metrics_server = MetricsServer(pages)
        await console.start()
        try:
            metrics_port = await metrics_server.start(*self._config.metrics_address)
            onlookers.log.info("metrics_listening", port=metrics_port)
            async with asyncio.TaskGroup() as group:
                background = [group.create_task(poller.run(), name=poller.meter_id) for poller in pollers]
                background.append(group.create_task(actuator.run(), name="actuator"))
                if inbox is not None:
                    background.append(group.create_task(inbox.run(), name="inbox"))
                cycle = group.create_task(self._cycle.run(), name="cycle")
                await self._until_told_to_stop(cycle)
                self._cycle.stop()
                await cycle
                if inbox is not None:
                    inbox.stop(offline=self._reason != RELOADED)
                for task in background:
                    if task.get_name() != "inbox":
                        task.cancel()
        finally:
            await console.close()
            await metrics_server.close()

    async def _until_told_to_stop(self, cycle: asyncio.Task[None]) -> None:
        """Wait for the signal (or for the cycle's failure); then, if so configured, ramp down before leaving."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, cycle}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if self._reason == RELOADED:
            self._onlookers.notifier.reloading(time.monotonic())
            return
        self._onlookers.notifier.stopping()
        self._onlookers.log.info("stopping", reason=self._reason)
        commands_miners = self._policy.mode is Mode.CONTROL
        if self._config.document.site.on_exit == "fallback" and commands_miners and not cycle.done():
            self._mailbox.put_operator(OperatorOrder(OperatorVerb.CAP, ON_EXIT, self._policy.fallback_w, None))
            drained = asyncio.create_task(self._drained.wait())
            within_s = _drain_within_s(self._policy)
            self._onlookers.notifier.draining(within_s + LEAVE_WITHIN_S)
            await asyncio.wait({cycle, drained}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
            if not self._drained.is_set():
                self._onlookers.log.info("stopping_above_fallback", waited_s=within_s)

    def _stop(self, reason: str) -> None:
        """The first signal stops; a second one does not wait for the way down to the fallback."""
        if self._stopping.is_set():
            self._drained.set()
            if self._reason == RELOADED:  # told to stop while the old run of a reload ends: then there is no new one
                self._reason = reason
            return
        self._reason = reason
        self._stopping.set()

    def _begin_reload(self) -> None:
        """SIGHUP: look at the new files beside the cycle; one look at a time."""
        if self._reloading is None or self._reloading.done():
            self._reloading = asyncio.create_task(self._reload(), name="reload")
            self._reloading.add_done_callback(self._reload_over)

    def _reload_over(self, reload: asyncio.Task[None]) -> None:
        """A bug in the look at new files is told like a fault of theirs: the site is controlled by the old ones."""
        if not reload.cancelled() and (error := reload.exception()) is not None:
            text = f"the new files could not be looked at and the old ones stay in force; a bug: {error!r}"
            self._onlookers.announce(Event("reload_refused", EventLevel.ERROR, text))

    async def _reload(self) -> None:
        """Begin again on the new files when they are good; keep the old ones, and say why, when they are not."""
        try:
            new = await asyncio.to_thread(load_site, self._config.path, known_models(), os.environ)
            refuse_what_cannot_start(self._config, new)
        except (ConfigError, StartRefusedError) as error:
            text = f"the new files are refused and the old ones stay in force: {error}"
            self._onlookers.announce(Event("reload_refused", EventLevel.ERROR, text))
            return
        if self._stopping.is_set():
            return
        self._onlookers.announce(
            Event("reloading", EventLevel.INFO, f"{len(new.miners)} miners, going on with the new files")
        )
        self._stop(RELOADED)

    def cycle_done(self, state: State, decision: Decision) -> None:
        """Called by the cycle; see whether the way down to the fallback is over, and tell those who look on."""
        low = self._policy.fallback_w + DRAINED_TOLERANCE * self._policy.rated_w
        expected_w = decision.figures.expected_w
        if self._stopping.is_set() and (expected_w is None or expected_w <= low):
            self._drained.set()
        self._onlookers.cycle_done(state, decision)

    def cycle_timed(self, decision: Decision, took_s: float, overrun: bool) -> None:
        """Called by the cycle, after each that was healthy."""
        self._onlookers.cycle_timed(decision, took_s, overrun)

    def _take_report(self, report: CommandReport) -> None:
        self._mailbox.put_report(report)
        self._onlookers.take_report(report)


def _drain_within_s(policy: Policy) -> float:
    """How long the whole way down to the fallback may take at the site's own ramps, seconds."""
    way_w = max(policy.site_cap_w - policy.fallback_w, 0)
    rate_w_per_min = min(policy.ramp.down_w_per_min, 4 * policy.ramp.down_w_per_15s)
    return 60.0 * way_w / rate_w_per_min + DRAIN_EXTRA_S
