"""The daemon put together for safe mode: journal, miners, metrics, systemd, and a console that says what is wrong."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from functools import partial

from controller.config import SiteConfig
from controller.core import wear
from controller.devices import build_loads, open_journal
from controller.domain.plan import Event, EventLevel
from controller.identity import identity, versions
from controller.runtime.console import Console, ConsoleRefusedError, Peer
from controller.runtime.logs import Log
from controller.runtime.metrics import Metrics
from controller.runtime.metrics_server import MetricsServer
from controller.runtime.notify import Notifier
from controller.runtime.operations import OPERATIONS
from controller.runtime.resume import resume
from controller.runtime.safe_mode import SafeMode
from controller.wire.rows import event_row, start_row, stop_row

TOLD_AGAIN_S = 300.0  # an alarm that nobody saw is no alarm


class SafeDaemon:
    """Lives as long as `run` does: until SIGTERM or SIGINT, with exit code 0."""

    def __init__(self, config: SiteConfig, unclean: int) -> None:
        self._config = config
        self._policy = config.policy()
        self._facts = config.fleet()
        window_s = config.document.restart.crash_window
        self._why = (
            f"the daemon died {unclean} times within {window_s:g} s: miners go to sleep down to "
            f"{self._policy.fallback_w / 1000:.0f} kW and nothing is woken. Read the log before this; a restart of the "
            "service leaves safe mode"
        )
        self._stopping = asyncio.Event()
        self._log = Log(config.document.log.level, config.document.log.format)
        self._notifier = Notifier(os.environ)
        self._metrics = Metrics(self._policy.site_id, self._facts, versions())
        self._ready = False
        self._told_at = float("-inf")

    def close(self) -> None:
        """Write the last log lines."""
        self._notifier.close()
        self._log.close()

    async def run(self) -> bool:
        """Serve until told to stop. False: a safe mode never reloads, it ends."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stopping.set)
        loop.add_signal_handler(signal.SIGHUP, partial(self._tell, _no_reload()))
        console = Console(self._config.console_socket, dict.fromkeys(OPERATIONS, self._refuse))
        async with open_journal(self._config, self._tell) as journal:
            resumed = resume(self._config.journal_path, self._facts, loop.time(), time.time())
            facts = {**identity(self._config), "safe_mode": True, "now": loop.time()}
            alarm = Event("safe_mode", EventLevel.ERROR, self._why)
            journal.append((start_row(time.time(), facts, self._facts.miner_ids), event_row(time.time(), alarm)))
            self._tell(resumed.event)
            metrics_server = MetricsServer({"/metrics": self._metrics.page})
            await console.start()
            try:
                await metrics_server.start(*self._config.metrics_address)
                safe_mode = SafeMode(
                    self._facts,
                    self._policy,
                    resumed.state,
                    loads=build_loads(
                        self._config, self._policy.mode, lambda miner: wear.spent(resumed.state, miner, time.time())
                    ),
                    journal=journal,
                    watch=self._watch,
                    tell=self._tell,
                )
                await self._until_stopped(asyncio.create_task(safe_mode.run()))
            finally:
                await console.close()
                await metrics_server.close()
            journal.append((stop_row(time.time(), "safe mode ended by a person"),))
        return False

    async def _until_stopped(self, working: asyncio.Task[None]) -> None:
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._notifier.stopping()
        if not working.done():
            working.cancel()
        await asyncio.wait({working})
        if not working.cancelled():
            working.result()

    def _watch(self, power_w: float, aim_w: float) -> None:
        """Every tick: systemd and Prometheus hear that we live, and everybody that this is no normal operation."""
        self._metrics.observe_safe_mode(power_w, aim_w)
        for event in self._log.held_back():
            self._tell(event)
        self._metrics.observe_log(lines_dropped=self._log.lines_dropped, held_back=self._log.lines_held_back)
        if not self._ready:
            self._ready = True
            self._notifier.ready()
        self._notifier.status(f"SAFE MODE: about {power_w / 1000:.0f} kW, on the way to {aim_w / 1000:.0f} kW")
        self._notifier.watchdog()
        if time.monotonic() - self._told_at >= TOLD_AGAIN_S:
            self._told_at = time.monotonic()
            self._tell(Event("safe_mode", EventLevel.ERROR, self._why))

    def _tell(self, event: Event) -> None:
        self._log.event(event)
        self._metrics.observe_event(event)

    async def _refuse(self, request: object, peer: Peer) -> dict[str, object]:
        raise ConsoleRefusedError(f"SAFE MODE: {self._why}")


def _no_reload() -> Event:
    return Event("reload_refused", EventLevel.ERROR, "in safe mode nothing is reloaded; restart the service")
