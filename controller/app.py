"""The composition root: the one module that knows all the others. Builds the daemon, runs it, takes it down cleanly."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import importlib.metadata
import os
import platform
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from controller.config import SiteConfig
from controller.config.resolve import POINTS_OF_FEED, direction_sign
from controller.config.site import Broker
from controller.core import estimator
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.fleet import Command, CommandReport, Fleet
from controller.domain.metering import MeterError
from controller.domain.plan import Decision, Event, EventLevel, OperatorOrder, OperatorVerb
from controller.domain.policy import Mode, Policy
from controller.ports import Load, Meter
from controller.runtime.actuator import Actuator
from controller.runtime.console import Console, ConsoleRefusedError, Handler, Peer
from controller.runtime.cycle import Cycle
from controller.runtime.inbox import InboxLimits, MqttInbox
from controller.runtime.journal import JournalLimits, SqliteJournal
from controller.runtime.logs import Log
from controller.runtime.mailbox import Mailbox
from controller.runtime.metrics import Metrics
from controller.runtime.mqtt_link import BrokerSettings, TlsSettings
from controller.runtime.notify import Notifier
from controller.runtime.poller import Poller
from controller.runtime.resume import ON_EXIT, resume
from controller.runtime.views import Views
from controller.wire.journal import start_row, stop_row
from controller.wire.mqtt import encode_event, encode_state
from drivers import catalog

SOCKETS_PER_MINER = 2  # a read that was abandoned may still be closing while the command goes out
SOCKETS_BESIDE = 128  # meters, broker, journal, metrics, console, and what Python holds open
DRAIN_EXTRA_S = 30.0  # `on_exit = fallback`: beyond what the ramp itself needs before we leave anyway
DRAINED_TOLERANCE = 0.02  # of rated: as near to the fallback as an order must come to count as reached
EXIT_GOOD, EXIT_FAULT = 0, 1


class StartRefusedError(Exception):
    """The daemon cannot start; the text says what is wrong and what to do."""


def serve(config: SiteConfig) -> int:
    """Run the daemon until SIGTERM or SIGINT; returns the exit code. Raises StartRefusedError."""
    _raise_socket_limit(len(config.miners))
    daemon = _Daemon(config)
    try:
        return asyncio.run(daemon.run())
    finally:
        daemon.close()


@dataclass(slots=True)
class _Exit:
    """Why the daemon ends: told by a signal, or by a part that failed."""

    code: int
    reason: str


class _Daemon:
    """One site's daemon, put together; `run` lives as long as it does."""

    def __init__(self, config: SiteConfig) -> None:
        self._config = config
        self._policy = config.policy()
        self._facts = config.fleet()
        self._stopping = asyncio.Event()
        self._drained = asyncio.Event()  # only looked at while stopping towards the fallback
        self._exit = _Exit(EXIT_GOOD, "")
        self._log = Log(config.document.log.level, config.document.log.format)
        self._notifier = Notifier(os.environ)
        self._mailbox = Mailbox(self._policy)
        self._views = Views(self._facts, self._policy, versions())
        self._metrics = Metrics(self._policy.site_id, self._facts, versions())
        self._ready = False
        self._inbox: MqttInbox | None = None

    def close(self) -> None:
        """Write the last log lines: the thread that writes them ends with the process, and takes them along."""
        self._notifier.close()
        self._log.close()

    async def run(self) -> int:
        """Start everything, serve, stop everything in the order that leaves the load where it is."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, EXIT_GOOD, f"signal {number.name}")
        settings = self._config.document.journal
        limits = JournalLimits(keep_s=settings.retention, keep_bytes=settings.size_max)
        path = self._config.journal_directory / "journal.sqlite"
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o750)
        except OSError as error:
            detail = f"{path.parent}, the journal's directory, cannot be made: {error.strerror}"
            raise StartRefusedError(detail) from None
        async with SqliteJournal(path, limits, self._tell) as journal:
            now, wall = loop.time(), time.time()
            resumed = resume(path, self._facts, now, wall)
            self._journal = journal
            # With `now` a replay can begin where this run began: ages count from it until the first reading.
            journal.append((start_row(wall, {**_identity(self._config), "now": now}, self._facts.miner_ids),))
            self._tell(resumed.event)
            await self._serve(journal, resumed.state)
            journal.append((stop_row(time.time(), self._exit.reason),))
        return self._exit.code

    async def _serve(self, journal: SqliteJournal, state: State) -> None:
        """From the first reading to the last command."""
        actuator = Actuator(
            _loads(self._config, self._policy.mode),
            settle_s=_settle(self._facts),
            sweep_period_s=self._config.document.fleet.sweep_period,
            concurrency=self._config.document.fleet.concurrency,
            put_report=self._take_report,
            put_telemetry=self._mailbox.put_telemetry,
        )
        self._inbox = inbox = self._make_inbox()
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
        pollers = self._pollers()
        console = Console(self._config.console_socket, self._console_operations())
        await console.start()
        try:
            metrics_port = self._metrics.serve(*self._config.metrics_address)
            self._log.info("metrics_listening", port=metrics_port)
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
                    inbox.stop()
                for task in background:
                    if task.get_name() != "inbox":
                        task.cancel()
        finally:
            await console.close()
            self._metrics.close()

    async def _until_told_to_stop(self, cycle: asyncio.Task[None]) -> None:
        """Wait for the signal (or for the cycle's failure); then, if so configured, ramp down before leaving."""
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({stopping, cycle}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._notifier.stopping()
        self._log.info("stopping", reason=self._exit.reason)
        if self._config.document.site.on_exit == "fallback" and not cycle.done():
            self._mailbox.put_operator(OperatorOrder(OperatorVerb.CAP, ON_EXIT, self._policy.fallback_w, None))
            drained = asyncio.create_task(self._drained.wait())
            within_s = _drain_within_s(self._policy)
            await asyncio.wait({cycle, drained}, timeout=within_s, return_when=asyncio.FIRST_COMPLETED)
            drained.cancel()
            if not self._drained.is_set():
                self._log.info("stopping_above_fallback", waited_s=within_s)

    def _stop(self, code: int, reason: str) -> None:
        if not self._stopping.is_set():
            self._exit = _Exit(code, reason)
        self._stopping.set()

    def cycle_done(self, state: State, decision: Decision) -> None:
        """Everything that looks on: views, metrics, logs, the broker's retained state."""
        self._views.take_cycle(state, decision)
        low = self._policy.fallback_w + DRAINED_TOLERANCE * self._policy.rated_w
        if self._stopping.is_set() and decision.figures.expected_w <= low:
            self._drained.set()
        self._metrics.observe_decision(decision)
        for event in decision.events:
            self._log.event(event)
        inbox = self._inbox
        if inbox is not None:
            inbox.publish_state(encode_state(self._policy.site_id, self._policy.mode, decision))
            for event in decision.events:
                inbox.publish_event(encode_event(event, decision.wall))
            self._metrics.observe_inbox(
                connected=inbox.connected,
                heartbeat_age_s=None if inbox.heartbeat_at is None else max(decision.now - inbox.heartbeat_at, 0.0),
                waiting=inbox.waiting[1],
                dropped=inbox.counts.answers_dropped,
                refused_full=inbox.counts.refused_full,
            )
        journal = self._journal
        self._metrics.observe_journal(
            writable=journal.writable,
            waiting_rows=journal.waiting_rows,
            rows_lost=journal.rows_lost,
            commit_s=journal.last_commit_s,
        )

    def cycle_timed(self, decision: Decision, took_s: float, overrun: bool) -> None:
        """The cycle is over and was healthy: only now does systemd hear of it."""
        self._views.take_timing(took_s)
        self._metrics.observe_cycle(took_s, overrun)
        if not self._ready:
            self._ready = True
            gc.collect()
            gc.freeze()  # what lives as long as the process need not be walked again: 100 ms at 10,000 miners
            self._notifier.ready()
            self._log.info("ready", site=self._policy.site_id, miners=len(self._facts), mode=self._policy.mode.value)
        self._notifier.status(
            f"{decision.figures.target_w / 1000:.0f} kW wanted, bound by {decision.setpoint.bound.value}; "
            f"inputs {decision.fail_safe.value}"
        )
        self._notifier.watchdog()

    def _take_report(self, report: CommandReport) -> None:
        self._mailbox.put_report(report)
        self._views.take_report(report)
        self._metrics.observe_report(report)

    def _tell(self, event: Event) -> None:
        """An event from outside the cycle: journal, start-up."""
        self._log.event(event)
        self._views.take_event(time.time(), event)
        self._metrics.observe_event(event.level)

    def _take_link(self, up: bool, detail: str) -> None:
        level = EventLevel.INFO if up else EventLevel.WARNING
        self._tell(Event("broker_connected" if up else "broker_lost", level, detail))

    def _meter_failed(self, meter_id: str, error: MeterError) -> None:
        key = f"meter {meter_id} {error.fault.value}"
        self._log.failure("meter_failed", key, meter=meter_id, fault=error.fault.value, detail=error.detail)

    def _make_inbox(self) -> MqttInbox | None:
        broker = self._config.broker
        if broker is None:
            return None
        password = None if broker.password is None else broker.password.get_secret_value()
        settings = BrokerSettings(broker.host, broker.port, broker.username, password, _tls(broker))
        return MqttInbox(
            settings,
            self._policy.site_id,
            on_received=self._mailbox.note_received,
            on_link=self._take_link,
            limits=InboxLimits(),
        )

    def _pollers(self) -> list[Poller]:
        """One per meter, staggered over the shortest beat."""
        settings = self._config.meters
        shortest = min((entry.poll for entry in settings), default=1.0)
        return [
            Poller(
                meter,
                period_s=entry.poll,
                phase_s=number * shortest / len(settings),
                put=self._mailbox.put_readings,
                failed=self._meter_failed,
            )
            for number, (entry, meter) in enumerate(zip(settings, _meters(self._config), strict=True))
        ]

    def _console_operations(self) -> dict[str, Handler]:
        async def status(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
            return self._view(self._views.status)

        async def explain(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
            return self._view(lambda: self._views.explain(str(request.get("miner", ""))))

        async def adopt(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
            return self._order_miners(OperatorVerb.ADOPT, request, peer)

        async def unquarantine(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
            return self._order_miners(OperatorVerb.UNQUARANTINE, request, peer)

        return {"status": status, "explain": explain, "adopt": adopt, "unquarantine": unquarantine}

    def _view(self, build: Callable[[], Mapping[str, object]]) -> Mapping[str, object]:
        try:
            return build()
        except (LookupError, KeyError) as error:
            raise ConsoleRefusedError(str(error.args[0])) from None

    def _order_miners(self, verb: OperatorVerb, request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
        """An operator's order for named miners, or for all."""
        named = request.get("miners")
        if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
            raise ConsoleRefusedError("miners must be a list of miner ids, or [] for all")
        try:
            rows = tuple(self._facts.index_of(name) for name in named) or tuple(range(len(self._facts)))
        except KeyError as error:
            raise ConsoleRefusedError(str(error.args[0])) from None
        if not self._mailbox.put_operator(OperatorOrder(verb, f"uid {peer.uid}", miners=rows)):
            raise ConsoleRefusedError("too many orders at once; try again in a second")
        return {"accepted": verb.value, "miners": len(rows)}


def versions() -> dict[str, str]:
    """What runs here, for the journal, /metrics and `status`."""
    found = {name: importlib.metadata.version(name) for name in ("curtaild", "pyasic", "pymodbus", "aiomqtt")}
    return {**found, "python": platform.python_version()}


def _identity(config: SiteConfig) -> dict[str, object]:
    """Which program ran which site by which files: an audit compares the digest with the files it was given."""
    files = config.path.read_bytes() + config.inventory_path.read_bytes()
    return {"site": config.site_id, "config_sha256": hashlib.sha256(files).hexdigest(), "versions": versions()}


def _drain_within_s(policy: Policy) -> float:
    """How long the whole way down to the fallback may take at the site's own ramps, seconds."""
    way_w = max(policy.site_cap_w - policy.fallback_w, 0)
    rate_w_per_min = min(policy.ramp.down_w_per_min, 4 * policy.ramp.down_w_per_15s)
    return 60.0 * way_w / rate_w_per_min + DRAIN_EXTRA_S


def _tls(broker: Broker) -> TlsSettings | None:
    if not broker.tls:
        return None
    files = (broker.ca_file, broker.certificate_file, broker.key_file)
    return TlsSettings(*(None if file is None else str(file) for file in files))


def _loads(config: SiteConfig, mode: Mode) -> list[Load]:
    """One driver per miner, in the fleet's order."""
    deadline_s = config.document.fleet.call_deadline
    loads: list[Load] = []
    for index, miner in enumerate(config.miners):
        credential = config.credential_of(miner)
        load: Load = catalog.build_miner(
            miner_id=miner.miner_id,
            index=index,
            model=miner.model_name,
            firmware=miner.firmware,
            host=miner.host,
            port=miner.port,
            username=None if credential is None else credential.username,
            password=None if credential is None else credential.password.get_secret_value(),
            deadline_s=deadline_s,
        )
        loads.append(load if mode is Mode.CONTROL else catalog.build_dry_run(load, index=index))
    return loads


def _meters(config: SiteConfig) -> list[Meter]:
    """One driver per meter, in the configuration's order. Raises StartRefusedError."""
    try:
        return [
            catalog.build_meter_for(
                meter_id=entry.id,
                feeds=POINTS_OF_FEED[entry.feeds],
                map_name=entry.map,
                host=entry.host,
                port=entry.port,
                unit_id=entry.unit_id,
                direction=1 if direction_sign(entry) > 0 else -1,
                span_w=config.document.site.power_span,
                deadline_s=entry.deadline,
                connect_deadline_s=entry.connect_deadline,
                reconnect_first_s=entry.reconnect_first,
                reconnect_max_s=entry.reconnect_max,
            )
            for entry in config.meters
        ]
    except ValueError as error:
        raise StartRefusedError(str(error)) from None


def _settle(facts: Fleet) -> Callable[[Command], float]:
    """When a command's effect should show, so that the next read can prove it: dead time and most of the way."""

    def settle_s(command: Command) -> float:
        dead_s, to_90_s = estimator.response_s(facts, command.verb)
        return float(dead_s[command.miner] + 1.5 * to_90_s[command.miner])

    return settle_s


def _raise_socket_limit(miners: int) -> None:
    """Make room for every socket this fleet may need at once. Raises StartRefusedError with the number needed."""
    needed = SOCKETS_PER_MINER * miners + SOCKETS_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= needed or soft == resource.RLIM_INFINITY:
        return
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise StartRefusedError(
            f"{miners} miners need up to {needed} open files, this process may have {hard}: "
            f"set LimitNOFILE={needed} in the unit, or raise `ulimit -Hn`"
        )
    resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
