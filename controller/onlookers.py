"""Everybody who looks on: views, metrics, log, systemd, the broker. None of them decides or commands anything."""

from __future__ import annotations

import gc
import math
import os
import time

from controller.config import SiteConfig
from controller.core.state import State
from controller.domain.command import CommandReport
from controller.domain.fleet import Fleet
from controller.domain.metering import MeterError, MeterFault
from controller.domain.plan import Decision, Event, EventLevel
from controller.domain.policy import Policy
from controller.identity import versions
from controller.runtime.inbox import MqttInbox
from controller.runtime.journal import SqliteJournal
from controller.runtime.logs import Log
from controller.runtime.metrics import Metrics
from controller.runtime.miner_metrics import MinerMetrics
from controller.runtime.notify import Notifier
from controller.runtime.views import Views
from controller.wire.mqtt import encode_event, encode_state
from controller.wire.rows import event_row

WARM_SWEEPS = 3  # by then every miner was read, and what is remembered of each is there


class Onlookers:
    """Told what happened; journal and inbox as soon as they are there, for they need somebody who is told."""

    def __init__(self, config: SiteConfig, policy: Policy, facts: Fleet) -> None:
        self.log = Log(config.document.log.level, config.document.log.format)
        self.notifier = Notifier(os.environ)
        self.views = Views(facts, policy, versions())
        self.metrics = Metrics(policy.site_id, facts, versions())
        self.miner_metrics = MinerMetrics(facts)
        self.inbox: MqttInbox | None = None
        self.journal: SqliteJournal | None = None
        self._policy, self._miners = policy, len(facts)
        self._sweep_period_s = config.document.fleet.sweep_period
        self._ready, self._warm_at = False, math.inf

    def close(self) -> None:
        """Write the last log lines: the thread that writes them ends with the process, and takes them along."""
        self.notifier.close()
        self.log.close()

    def cycle_done(self, state: State, decision: Decision) -> None:
        """What a cycle decided, in the cycle."""
        self.views.take_cycle(state, decision)
        self.metrics.observe_decision(decision)
        self.metrics.observe_telemetry(decision.now - state.fleet.read_at)
        self.miner_metrics.observe(state, decision)
        told = [event for event in decision.events if self.log.event(event)]
        for event in told:
            self.views.take_event(decision.wall, event)
        self._tell_broker(decision, told)
        for event in self.log.held_back():
            self.announce(event)
        self.metrics.observe_log(lines_dropped=self.log.lines_dropped, held_back=self.log.lines_held_back)
        if self.journal is not None:
            self.metrics.observe_journal(
                writable=self.journal.writable,
                waiting_rows=self.journal.waiting_rows,
                rows_lost=self.journal.rows_lost,
                commit_s=self.journal.last_commit_s,
            )

    def _tell_broker(self, decision: Decision, told: list[Event]) -> None:
        if self.inbox is None:
            return
        self.inbox.publish_state(encode_state(self._policy.site_id, self._policy.mode, decision))
        for event in told:
            self.inbox.publish_event(encode_event(event, decision.wall))
        heartbeat_at = self.inbox.heartbeat_at
        self.metrics.observe_inbox(
            self.inbox.counts,
            connected=self.inbox.connected,
            heartbeat_age_s=None if heartbeat_at is None else max(decision.now - heartbeat_at, 0.0),
            waiting=self.inbox.waiting[1],
        )

    def cycle_timed(self, decision: Decision, took_s: float, overrun: bool) -> None:
        """The cycle is over and was healthy: only now does systemd hear of it."""
        self.views.take_timing(took_s)
        self.metrics.observe_cycle(took_s, overrun)
        if not self._ready:
            self._ready = True
            _freeze()
            self._warm_at = decision.now + WARM_SWEEPS * self._sweep_period_s
            self.notifier.ready()
            self.log.info("ready", site=self._policy.site_id, miners=self._miners, mode=self._policy.mode.value)
        elif decision.now >= self._warm_at:
            self._warm_at = math.inf
            self.log.info("warmed_up", objects=_freeze())
        self.notifier.status(
            f"{decision.setpoint.power_w / 1000:.0f} kW wanted, bound by {decision.setpoint.bound.value}; "
            f"inputs {decision.fail_safe.value}"
        )
        self.notifier.watchdog()

    def take_report(self, report: CommandReport) -> None:
        self.views.take_report(report)
        self.metrics.observe_report(report)

    def tell(self, event: Event) -> None:
        """An event from outside the cycle: journal, start-up."""
        self.log.event(event)
        self.views.take_event(time.time(), event)
        self.metrics.observe_event(event)

    def announce(self, event: Event) -> None:
        """An event a person caused: told like those of a cycle, wherever those are told."""
        wall = time.time()
        self.tell(event)
        if self.journal is not None:
            self.journal.append((event_row(wall, event),))
        if self.inbox is not None:
            self.inbox.publish_event(encode_event(event, wall))

    def take_link(self, up: bool, detail: str) -> None:
        level = EventLevel.INFO if up else EventLevel.WARNING
        self.tell(Event("broker_connected" if up else "broker_lost", level, detail))

    def meter_failed(self, meter_id: str, error: MeterError) -> None:
        # A timeout that has found its cause (another unit answers) is news beside one that had none yet.
        cause = error.detail.partition(";")[2] if error.fault is MeterFault.TIMEOUT else ""
        key = f"meter {meter_id} {error.fault.value}{cause}"
        self.log.failure("meter_failed", key, meter=meter_id, fault=error.fault.value, detail=error.detail)


def _freeze() -> int:
    """What lives as long as the process need not be walked again by the collector: 100 ms at 10,000 miners. Returns how
    many objects are spared."""
    gc.collect()
    gc.freeze()
    return gc.get_freeze_count()
