"""The one door of prometheus-client: what one daemon tells Prometheus about itself. docs/status.md lists every family.

A gauge nobody has a figure for is NaN, never 0. Series count is bounded: nothing here has a label per miner.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import prometheus_client
from prometheus_client import Counter, Gauge, Histogram, Info, Metric, ProcessCollector
from prometheus_client.registry import Collector

from controller.domain.dispatch import Answer
from controller.domain.fleet import RESTORE_COMMAND_ID, CommandReport, Fleet, FloatArray, GroupVerdict
from controller.domain.plan import Decision, Event, FeederReport, Figures, InputState
from controller.domain.reasons import Bound
from controller.runtime.inbox import InboxCounts

PREFIX = "curtaild"
CYCLE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
REMEMBERED_COMMANDS = 20_000  # verbs of commands whose outcome is still to come; far above any fleet's in-flight count
_INPUT_STATES = tuple(InputState)


@dataclass(frozen=True, slots=True)
class _One(Collector):
    """A registry of one family, as it was at one moment."""

    family: Metric

    def collect(self) -> Iterator[Metric]:
        yield self.family


class Metrics:
    """All series of one daemon. The observe_* methods take microseconds each and are called on the loop."""

    def __init__(self, site: str, fleet: Fleet, versions: Mapping[str, str]) -> None:
        """versions: what /metrics says about the build, as label -> value; `site` is added."""
        # A second series for every counter, of no use to anybody here.
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]  # the library leaves it unannotated
        self._plain: list[Collector] = []  # a sample each, but for the histogram's buckets
        self._labelled: list[Collector] = []
        self._kinds = tuple((unit.model.response.name, unit.family) for unit in fleet.units)
        self._verbs: OrderedDict[int, str] = OrderedDict()
        self._totals: dict[str, int] = {}
        self._bound: Bound | None = None
        self._process = ProcessCollector(namespace=PREFIX, registry=None)
        build = Info("build", "Versions of the daemon and of what it runs on.", namespace=PREFIX, registry=None)
        build.info({**versions, "site": site})
        self._plain.append(build)
        self._power = {
            "surplus_w": self._gauge("surplus_watts", "Power the plant can give beyond all it owes others."),
            "cap_w": self._gauge("cap_watts", "Tightest upper bound on the site's power."),
            "target_w": self._gauge("target_watts", "What the site should draw now, ramps included."),
            "expected_w": self._gauge(
                "expected_watts", "What the site should be drawing, by what each miner was told."
            ),
            "expected_error_w": self._gauge(
                "expected_uncertainty_watts",
                "How far the expected watts may be off where miners tell none and are estimated.",
            ),
            "measured_w": self._gauge("measured_watts", "What the site meter shows."),
            "residual_w": self._gauge("residual_watts", "Measured less expected."),
            "available_up_w": self._gauge("available_up_watts", "Power that could be added by waking and trimming."),
            "available_down_w": self._gauge("available_down_watts", "Power that could be shed."),
            "floor_w": self._gauge(
                "floor_watts",
                "What no command removes: auxiliaries, sleepers, and miners that do not obey or are not ours to move.",
            ),
        }
        self._feeder_names = fleet.feeder_names
        self._feeder = {
            "load_w": self._gauge("feeder_load_watts", "What the meter of a feeder shows.", "feeder"),
            "believed_w": self._gauge("feeder_believed_watts", "What a feeder's miners should be drawing.", "feeder"),
            "excess_w": self._gauge(
                "feeder_excess_watts", "Drawn on a feeder beyond that by miners nobody can name.", "feeder"
            ),
            "unproved": self._gauge(
                "feeder_unproved_miners", "Miners that tell no watts and say they sleep, not proved to.", "feeder"
            ),
        }
        self._group = self._gauge(
            "feeder_verdict",
            "1 for what a feeder's meter proves of those miners as a group, 0 for the others.",
            "feeder",
            "verdict",
        )
        self._unallocated = self._gauge("unallocated_watts", "Part of the setpoint that could not be placed.")
        self._shedding = self._gauge("shedding", "1 while the load falls without a ramp.")
        self._bindings = self._gauge("binding_bound", "1 for the bound that sets the power, 0 for the others.", "bound")
        self._miners = self._gauge("miners", "Miners by state; every miner is in exactly one.", "state")
        self._input_age = self._gauge("input_age_seconds", "Age of the newest sample of a required input.", "input")
        self._telemetry_age = self._gauge(
            "telemetry_age_seconds",
            "Age of the miners' newest telemetry, of those ever read: median (0.5) and oldest (1).",
            "quantile",
        )
        self._input_state = self._gauge(
            "input_state", "Trust in a required input: 0 good, 1 hold, 2 frozen upward, 3 fallback.", "input"
        )
        self._fail_safe = self._gauge("fail_safe_state", "Worst trust of all inputs, on the same scale.")
        self._orders = self._gauge("active_orders", "Dispatch orders in force.")
        self._progress = self._gauge(
            "order_progress_seconds", "Seconds from the last order to a percentage of the way.", "percent"
        )
        self._cycle_s = Histogram(
            "cycle_seconds",
            "Time one control cycle took, from freezing its inputs to telling those who look on.",
            namespace=PREFIX,
            buckets=CYCLE_BUCKETS_S,
            registry=None,
        )
        self._plain.append(self._cycle_s)
        self._cycles = self._counter("cycles", "Control cycles.")
        self._overruns = self._counter("cycle_overruns", "Cycles that did not end within their period.")
        self._commands = self._counter("commands", "Commands decided.", "family", "verb", "urgent")
        kind = ("class", "family")
        self._outcomes = self._counter("outcomes", "What drivers learned from commands.", *kind, "verb", "outcome")
        self._verdicts = self._counter("verdicts", "What telemetry proved about commands.", *kind, "verb", "verdict")
        self._answers = self._counter("dispatch_answers", "Answers to dispatch orders.", "status", "code")
        self._events = self._counter("events", "Events by name and level.", "name", "level")
        self._mqtt = self._gauge("mqtt_connected", "1 while connected to the broker.")
        self._heartbeat_age = self._gauge("dispatcher_heartbeat_age_seconds", "Age of the dispatcher's last heartbeat.")
        self._mqtt_waiting = self._gauge("mqtt_answers_waiting", "Answers not yet taken over by the broker.")
        self._counted = {
            name: self._counter(f"mqtt_{name}", text)
            for name, text in (
                ("orders_received", "Messages on the order topic, whatever became of them."),
                ("orders_malformed", "Of these, the ones that could not be read."),
                ("orders_retained", "Of these, the ones published with the retain flag."),
                ("orders_refused_full", "Of these, the ones refused for a full mailbox."),
                ("answers_sent", "Answers taken over by the broker."),
                ("answers_dropped", "Answers dropped undelivered."),
                ("events_dropped", "Events dropped unpublished."),
                ("connects", "Connections made to the broker."),
                ("losses", "Connections to the broker lost."),
            )
        }
        self._journal = self._gauge("journal_writable", "1 while the journal takes rows.")
        self._journal_waiting = self._gauge("journal_waiting_rows", "Rows not yet on the disk.")
        self._journal_lost = self._counter("journal_rows_lost", "Rows dropped.")
        self._commit = self._gauge("journal_commit_seconds", "Time the last commit took.")
        self._log_dropped = self._counter("log_lines_dropped", "Log lines that nobody read in time.")
        self._log_held = self._counter("log_events_held_back", "Log lines beyond what one name may say; see the log.")
        self._tasks = self._gauge("asyncio_tasks", "Tasks of the event loop.")
        self._safe_mode = self._gauge("safe_mode", "1 in safe mode, after a crash loop: no meter, no order, no plan.")
        self._safe_mode.set(0)
        self._at_once = self._gauge(
            "miners_unreachable_at_once", "Miners lost together, still away, the last within 20 min."
        )

    def observe_decision(self, decision: Decision) -> None:
        """Everything one decision says."""
        self._observe_figures(decision.figures)
        self._unallocated.set(_number(decision.allocation.unallocated_w))
        self._shedding.set(decision.setpoint.shed)
        self._observe_bound(decision.setpoint.bound)
        for state, count in decision.counts.items():
            self._miners.labels(state).set(count)
        for health in decision.inputs:
            self._input_age.labels(health.name).set(_number(health.age_s))
            self._input_state.labels(health.name).set(_INPUT_STATES.index(health.state))
        for report in decision.feeders:
            self._observe_feeder(report)
        self._at_once.set(decision.unreachable_at_once)
        self._fail_safe.set(_INPUT_STATES.index(decision.fail_safe))
        self._orders.set(len(decision.active_orders))
        if decision.progress is not None:
            progress = decision.progress
            for percent, seconds in (("50", progress.to_50_s), ("90", progress.to_90_s), ("100", progress.to_100_s)):
                self._progress.labels(percent).set(_number(seconds))
        for command in decision.commands:
            _, family = self._kinds[command.miner]
            self._commands.labels(family, command.verb.value, str(command.urgent).lower()).inc()
            self._remember(command.command_id, command.verb.value)
        for verdict in decision.verdicts:
            self._verdicts.labels(*self._kinds[verdict.miner], verdict.verb, verdict.verdict).inc()
        for answer in decision.answers:
            self.observe_answer(answer)
        for event in decision.events:
            self.observe_event(event)

    def observe_answer(self, answer: Answer) -> None:
        """One answer to a dispatcher; refusals count by code."""
        self._answers.labels(answer.status.value, "" if answer.code is None else answer.code.value).inc()

    def observe_event(self, event: Event) -> None:
        self._events.labels(event.name, event.level.value).inc()

    def observe_report(self, report: CommandReport) -> None:
        """One outcome, under its miner's response class and the verb of its command."""
        known = self._verbs.pop(report.command_id, "unknown")
        verb = "restore" if report.command_id == RESTORE_COMMAND_ID else known
        self._outcomes.labels(*self._kinds[report.miner], verb, report.outcome.value).inc()

    def observe_telemetry(self, ages_s: FloatArray) -> None:
        """(n,) seconds since each miner's newest read began, infinite for those never read."""
        read = ages_s[np.isfinite(ages_s)]
        for quantile in (0.5, 1.0):
            age_s = float(np.quantile(read, quantile)) if len(read) else None
            self._telemetry_age.labels(f"{quantile:g}").set(_number(age_s))

    def observe_cycle(self, cycle_s: float, overrun: bool) -> None:
        """Timing of one cycle; an overrun is one that did not end within its period."""
        self._cycles.inc()
        self._cycle_s.observe(cycle_s)
        self._overruns.inc(1 if overrun else 0)

    def observe_inbox(
        self, counts: InboxCounts, *, connected: bool, heartbeat_age_s: float | None, waiting: int
    ) -> None:
        """Standing of the MQTT side; `heartbeat_age_s` None before the first heartbeat."""
        self._mqtt.set(connected)
        self._heartbeat_age.set(_number(heartbeat_age_s))
        self._mqtt_waiting.set(waiting)
        for name, total in (
            ("orders_received", counts.received),
            ("orders_malformed", counts.malformed),
            ("orders_retained", counts.retained),
            ("orders_refused_full", counts.refused_full),
            ("answers_sent", counts.answers_sent),
            ("answers_dropped", counts.answers_dropped),
            ("events_dropped", counts.events_dropped),
            ("connects", counts.connects),
            ("losses", counts.losses),
        ):
            self._raise_to(name, self._counted[name], total)

    def observe_journal(self, *, writable: bool, waiting_rows: int, rows_lost: int, commit_s: float | None) -> None:
        """Standing of the journal; `commit_s` None before the first commit."""
        self._journal.set(writable)
        self._journal_waiting.set(waiting_rows)
        self._raise_to("journal_rows_lost", self._journal_lost, rows_lost)
        self._commit.set(_number(commit_s))

    def observe_log(self, *, lines_dropped: int, held_back: int) -> None:
        """Totals since the start: lines nobody read in time, and lines held back by the limits."""
        self._raise_to("log_lines_dropped", self._log_dropped, lines_dropped)
        self._raise_to("log_events_held_back", self._log_held, held_back)

    def observe_safe_mode(self, power_w: float, aim_w: float) -> None:
        """In safe mode, watts at the site meter: what the site is believed to draw, and where its ramp stands."""
        self._safe_mode.set(1)
        for name, gauge in self._power.items():
            gauge.set({"expected_w": power_w, "target_w": aim_w}.get(name, math.nan))

    def collectors(self) -> tuple[Collector, ...]:
        """All there is, in the order of the page."""
        return (self._process, *self._plain, *self._labelled)

    async def page(self) -> AsyncGenerator[str, None]:
        """The page as Prometheus reads it, family by family. All that have no labels are of one moment, and every other
        is in itself: collecting all of it at once takes milliseconds where there are many feeders and classes."""
        # Thousands of open descriptors are listed one by one: a thread waits for the kernel meanwhile.
        yield await asyncio.to_thread(_written, self._process)
        self._tasks.set(len(asyncio.all_tasks()))
        yield ""
        for family in [family for collector in self._plain for family in collector.collect()]:
            yield _written(_One(family))
        for collector in self._labelled:
            yield _written(collector)

    def _observe_figures(self, figures: Figures) -> None:
        for name, gauge in self._power.items():
            gauge.set(_number(getattr(figures, name)))

    def _observe_feeder(self, report: FeederReport) -> None:
        name = self._feeder_names[report.feeder]
        for quantity, gauge in self._feeder.items():
            gauge.labels(name).set(_number(getattr(report, quantity)))
        for verdict in GroupVerdict:
            word = verdict.name.lower()
            self._group.labels(name, word).set(word == report.verdict)

    def _observe_bound(self, bound: Bound) -> None:
        if self._bound is None:
            for other in Bound:
                self._bindings.labels(other.value).set(0)
        elif self._bound is not bound:
            self._bindings.labels(self._bound.value).set(0)
        self._bindings.labels(bound.value).set(1)
        self._bound = bound

    def _raise_to(self, name: str, counter: Counter, total: int) -> None:
        """Bring a counter up to a total that is kept elsewhere."""
        counter.inc(total - self._totals.get(name, 0))
        self._totals[name] = total

    def _remember(self, command_id: int, verb: str) -> None:
        self._verbs[command_id] = verb
        if len(self._verbs) > REMEMBERED_COMMANDS:
            self._verbs.popitem(last=False)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        gauge = Gauge(name, text, labels, namespace=PREFIX, registry=None)
        if not labels:
            gauge.set(math.nan)
        (self._labelled if labels else self._plain).append(gauge)
        return gauge

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        counter = Counter(name, text, labels, namespace=PREFIX, registry=None)
        (self._labelled if labels else self._plain).append(counter)
        return counter


def _written(collector: Collector) -> str:
    return prometheus_client.generate_latest(collector).decode()


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
