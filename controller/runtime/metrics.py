"""What one daemon tells Prometheus about itself. docs/status.md lists every family.

A gauge nobody has a figure for is NaN, never 0. Series count is bounded: nothing here has a label per miner.
"""

from __future__ import annotations

import asyncio
import math
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import numpy as np

from controller.domain.command import RESTORE_COMMAND_ID, CommandReport
from controller.domain.dispatch import Answer
from controller.domain.fleet import Fleet, FloatArray, GroupVerdict
from controller.domain.plan import Decision, Event, FeederReport, Figures, InputState
from controller.domain.reasons import Bound
from controller.runtime.class_metrics import ClassMetrics
from controller.runtime.inbox import InboxCounts
from controller.runtime.metric_families import Collector, Counter, Families
from controller.runtime.shadow_metrics import ShadowMetrics

CYCLE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 1.0)
REMEMBERED_COMMANDS = 20_000  # verbs of commands whose outcome is still to come; far above any fleet's in-flight count
_INPUT_STATES = tuple(InputState)

# Figures by their name in domain/plan's Figures and FeederReport, and totals by theirs in InboxCounts: (name, text).
POWERS = {
    "surplus_w": ("surplus_watts", "Power the plant can give beyond all it owes others."),
    "cap_w": ("cap_watts", "Tightest upper bound on the site's power."),
    "target_w": ("target_watts", "What the site should draw now, ramps included."),
    "expected_w": ("expected_watts", "What the site should be drawing, by what each miner was told."),
    "expected_error_w": (
        "expected_uncertainty_watts",
        "How far the expected watts may be off where miners tell none and are estimated.",
    ),
    "measured_w": ("measured_watts", "What the site meter shows."),
    "residual_w": ("residual_watts", "Measured less expected."),
    "available_up_w": ("available_up_watts", "Power that could be added by waking and trimming."),
    "available_down_w": ("available_down_watts", "Power that could be shed."),
    "floor_w": (
        "floor_watts",
        "What no command removes: auxiliaries, sleepers, and miners that do not obey or are not ours to move.",
    ),
}
FEEDER_FIGURES = {
    "load_w": ("feeder_load_watts", "What the meter of a feeder shows."),
    "believed_w": ("feeder_believed_watts", "What a feeder's miners should be drawing."),
    "excess_w": ("feeder_excess_watts", "Drawn on a feeder beyond that by miners nobody can name."),
    "unproved": ("feeder_unproved_miners", "Miners that tell no watts and say they sleep, not proved to."),
}
INBOX_TOTALS = {
    "received": ("orders_received", "Messages on the order topic, whatever became of them."),
    "malformed": ("orders_malformed", "Of these, the ones that could not be read."),
    "retained": ("orders_retained", "Of these, the ones published with the retain flag."),
    "refused_full": ("orders_refused_full", "Of these, the ones refused for a full mailbox."),
    "answers_sent": ("answers_sent", "Answers taken over by the broker."),
    "answers_dropped": ("answers_dropped", "Answers dropped undelivered."),
    "events_dropped": ("events_dropped", "Events dropped unpublished."),
    "connects": ("connects", "Connections made to the broker."),
    "losses": ("losses", "Connections to the broker lost."),
}


class Metrics:
    """All series of one daemon. The observe_* methods take microseconds each and are called on the loop."""

    def __init__(self, site: str, fleet: Fleet, versions: Mapping[str, str]) -> None:
        """versions: what /metrics says about the build, as label -> value; `site` is added."""
        self._families = families = Families()
        gauge, counter = families.gauge, families.counter
        self._kinds = tuple((unit.model.response.name, unit.family) for unit in fleet.units)
        self._verbs: OrderedDict[int, str] = OrderedDict()
        self._totals: dict[str, int] = {}
        self._bound: Bound | None = None
        self._shadow: ShadowMetrics | None = None
        families.info("build", "Versions of the daemon and of what it runs on.", {**versions, "site": site})
        self._power = {quantity: gauge(*about) for quantity, about in POWERS.items()}
        self._feeder_names = fleet.feeder_names
        self._feeder = {quantity: gauge(*about, "feeder") for quantity, about in FEEDER_FIGURES.items()}
        text = "1 for what a feeder's meter proves of those miners as a group, 0 for the others."
        self._group = gauge("feeder_verdict", text, "feeder", "verdict")
        self._limit_names = fleet.limits.names
        self._limit_power = gauge("limit_power_watts", "What is expected to be drawn below a limit.", "limit")
        self._limit_rating = gauge("limit_rating_watts", "What a limit may carry, feeders among them.", "limit")
        for name, rating_w in zip(self._limit_names, fleet.limits.rating_w.tolist(), strict=False):
            self._limit_rating.labels(name).set(rating_w)
        self._unallocated = gauge("unallocated_watts", "Part of the setpoint that could not be placed.")
        self._shedding = gauge("shedding", "1 while the load falls without a ramp.")
        self._bindings = gauge("binding_bound", "1 for the bound that sets the power, 0 for the others.", "bound")
        self._miners = gauge("miners", "Miners by state; every miner is in exactly one.", "state")
        self._input_age = gauge("input_age_seconds", "Age of the newest sample of a required input.", "input")
        text = "Age of the miners' newest telemetry, of those ever read: median (0.5) and oldest (1)."
        self._telemetry_age = gauge("telemetry_age_seconds", text, "quantile")
        text = "Trust in a required input: 0 good, 1 hold, 2 frozen upward, 3 fallback."
        self._input_state = gauge("input_state", text, "input")
        self._fail_safe = gauge("fail_safe_state", "Worst trust of all inputs, on the same scale.")
        self._orders = gauge("active_orders", "Dispatch orders in force.")
        text = "Seconds from the last order to a percentage of the way."
        self._progress = gauge("order_progress_seconds", text, "percent")
        text = "Time one control cycle took, from freezing its inputs to telling those who look on."
        self._cycle_s = families.histogram("cycle_seconds", text, CYCLE_BUCKETS_S)
        self._cycles = counter("cycles", "Control cycles.")
        self._overruns = counter("cycle_overruns", "Cycles that did not end within their period.")
        self._commands = counter("commands", "Commands decided.", "family", "verb", "urgent")
        kind = ("class", "family")
        self._outcomes = counter("outcomes", "What drivers learned from commands.", *kind, "verb", "outcome")
        self._verdicts = counter("verdicts", "What telemetry proved about commands.", *kind, "verb", "verdict")
        self._answers = counter("dispatch_answers", "Answers to dispatch orders.", "status", "code")
        self._events = counter("events", "Events by name and level.", "name", "level")
        self._mqtt = gauge("mqtt_connected", "1 while connected to the broker.")
        self._heartbeat_age = gauge("dispatcher_heartbeat_age_seconds", "Age of the dispatcher's last heartbeat.")
        self._mqtt_waiting = gauge("mqtt_answers_waiting", "Answers not yet taken over by the broker.")
        self._counted = {total: counter(f"mqtt_{name}", text) for total, (name, text) in INBOX_TOTALS.items()}
        self._journal = gauge("journal_writable", "1 while the journal takes rows.")
        self._journal_waiting = gauge("journal_waiting_rows", "Rows not yet on the disk.")
        self._journal_lost = counter("journal_rows_lost", "Rows dropped.")
        self._commit = gauge("journal_commit_seconds", "Time the last commit took.")
        self._log_dropped = counter("log_lines_dropped", "Log lines that nobody read in time.")
        self._log_held = counter("log_events_held_back", "Log lines beyond what one name may say; see the log.")
        self._tasks = gauge("asyncio_tasks", "Tasks of the event loop.")
        self._safe_mode = gauge("safe_mode", "1 in safe mode, after a crash loop: no meter, no order, no plan.")
        self._safe_mode.set(0)
        text = "Miners lost together, still away, the last within 20 min."
        self._at_once = gauge("miners_unreachable_at_once", text)
        text = "Miners whose pools do not answer, when many lost them at once."
        self._without_work = gauge("miners_without_work", text)
        text = "What miners draw beyond sleep though a shed wants them asleep; 0 while nothing sheds."
        self._shed_left = gauge("shed_left_watts", text)
        text = "Rises and falls of the site meter beyond the ramps; falls that knew no ramp are not counted."
        self._ramps_exceeded, self._exceeded = counter("ramps_exceeded", text, "direction"), (0, 0)
        for direction in ("up", "down"):
            self._ramps_exceeded.labels(direction)
        text = "Share of the ramps that rises may use; below 1 for a while after one was exceeded."
        self._rise_share = gauge("rise_share", text)
        self._classes = ClassMetrics(families, fleet.feeder_names)

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
        for name, power_w in zip(self._limit_names, decision.limit_power_w.tolist(), strict=False):
            self._limit_power.labels(name).set(power_w)
        self._at_once.set(decision.unreachable_at_once)
        self._without_work.set(decision.without_work)
        self._shed_left.set(decision.shed_left_w)
        self._observe_ramps(decision)
        self._classes.observe(decision)
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
        if decision.shadow is not None:
            self._shadow = self._shadow or ShadowMetrics(self._families)
            self._shadow.observe(decision.shadow)

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
        for total, counter in self._counted.items():
            self._raise_to(total, counter, getattr(counts, total))

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
        return self._families.collectors()

    async def page(self) -> AsyncGenerator[str, None]:
        """The page as Prometheus reads it, family by family."""
        async with aclosing(self._families.page(self._count_tasks)) as parts:
            async for part in parts:
                yield part

    def _count_tasks(self) -> None:
        self._tasks.set(len(asyncio.all_tasks()))

    def _observe_ramps(self, decision: Decision) -> None:
        for direction, times, before in zip(("up", "down"), decision.ramps_exceeded, self._exceeded, strict=True):
            self._ramps_exceeded.labels(direction).inc(max(times - before, 0))
        self._exceeded = decision.ramps_exceeded
        self._rise_share.set(decision.rise_share)

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


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
