"""What people are shown: the site on one page, and why one miner is where it is. Built from the last decision only."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field

import numpy as np

from controller.core.failsafe import points_of
from controller.core.figures import by_state
from controller.core.state import State
from controller.domain.command import RESTORE_COMMAND_ID, CommandReport
from controller.domain.fleet import Condition, Fleet, Verdict
from controller.domain.plan import Decision, Event, FeederReport, InputHealth, VerdictReport
from controller.domain.policy import Policy
from controller.domain.shadow import ShadowReport
from controller.runtime.class_views import class_of, wave_of
from controller.runtime.explain import Trace, View, explain
from controller.runtime.order_views import operator_caps_view, orders_view, scheduled_view
from controller.wire.canonical import kw_of, utc_text

EVENTS_KEPT = 200
EVENTS_SHOWN = 20
COMMANDS_KEPT = 8  # per miner
TIMINGS_KEPT = 3600


@dataclass(slots=True)
class Family:
    """What was asked of the miners of one family, what their drivers learned, and what telemetry proved."""

    commands: Counter[str] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)
    verdicts: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Views:
    """Remembers the last cycle, recent events and each miner's last commands."""

    facts: Fleet
    policy: Policy
    versions: dict[str, str]
    state: State | None = None
    decision: Decision | None = None
    _events: deque[tuple[float, Event]] = field(default_factory=lambda: deque(maxlen=EVENTS_KEPT))
    _timings_s: deque[float] = field(default_factory=lambda: deque(maxlen=TIMINGS_KEPT))
    _traces: dict[int, deque[Trace]] = field(default_factory=dict)
    _contradictions: dict[str, str] = field(default_factory=dict)
    _families: dict[str, Family] = field(default_factory=dict)

    def take_cycle(self, state: State, decision: Decision) -> None:
        self.state, self.decision = state, decision
        for event in decision.events:
            if event.name == "miner_contradicts" and event.miner is not None:
                self._contradictions[event.miner] = event.text
        for command in decision.commands:
            self._family(command.miner).commands[command.verb.value] += 1
            levels = self.facts.units[command.miner].model.levels
            level = None if command.level is None else levels[command.level].name
            trace = Trace(command.command_id, command.verb.value, level, decision.wall, command.reason)
            self._keep(command.miner, trace)
        for verdict in decision.verdicts:
            self._family(verdict.miner).verdicts[verdict.verdict] += 1
            self._enter_verdict(verdict)

    def take_report(self, report: CommandReport) -> None:
        self._family(report.miner).outcomes[report.outcome.value] += 1
        for trace in reversed(self._traces.get(report.miner, ())):
            if trace.command_id == report.command_id:
                trace.outcome, trace.detail = report.outcome.value, report.detail
                return

    def take_restore(self, miner: int, prior: str, wall: float, operator: str) -> None:
        """A person had one miner given back; its report comes under RESTORE_COMMAND_ID."""
        self._keep(miner, Trace(RESTORE_COMMAND_ID, "restore", prior, wall, operator))

    def take_timing(self, took_s: float) -> None:
        """How long one whole cycle took, seconds."""
        self._timings_s.append(took_s)

    def take_event(self, wall: float, event: Event) -> None:
        """An event a person is to see; of a flood only those that are logged."""
        self._events.append((wall, event))

    def status(self) -> View:
        """The site on one page; raises LookupError before the first cycle."""
        state, decision = self.last()
        setpoint, progress = decision.setpoint, decision.progress
        return {
            "site": self.policy.site_id,
            "mode": self.policy.mode.value,
            "wall": utc_text(decision.wall),
            "cycle": decision.cycle,
            "fail_safe": decision.fail_safe.value,
            "setpoint": {
                "kw": kw_of(decision.figures.target_w),
                "bound": setpoint.bound.value,
                "source": setpoint.source,
                "expires_at": None if setpoint.expires_at is None else utc_text(setpoint.expires_at),
                "shed": setpoint.shed,
            },
            "figures": _figures(decision),
            "balance": _balance(state, decision),
            "shadow": None if decision.shadow is None else _shadow(decision.shadow),
            "inputs": [self._input(entry) for entry in decision.inputs],
            "families": self._by_family(),
            "classes": [class_of(report) for report in decision.classes],
            "waves": [wave_of(self.facts, report) for report in decision.waves],
            "feeders": [_metered(self.facts, report) for report in decision.feeders],
            "miners": dict(decision.counts),
            "quarantined": [
                self.facts.miner_ids[row] for row in np.flatnonzero(state.fleet.verdict == Verdict.QUARANTINED)
            ],
            "contradicting": [
                self.facts.miner_ids[row] for row in np.flatnonzero(state.fleet.condition == Condition.CONTRADICTS)
            ],
            "orders": orders_view(state),
            "scheduled": scheduled_view(state),
            "operator_caps": operator_caps_view(state),
            "progress": None
            if progress is None
            else {
                "order": progress.label,
                "to_50_s": progress.to_50_s,
                "to_90_s": progress.to_90_s,
                "to_100_s": progress.to_100_s,
            },
            "events": [
                {"at": utc_text(wall), "name": event.name, "level": event.level.value, "text": _text_of(event)}
                for wall, event in list(self._events)[-EVENTS_SHOWN:]
            ],
            "cycle_ms": _percentiles_ms(self._timings_s),
            "versions": self.versions,
        }

    def explain(self, miner_id: str) -> View:
        """Why one miner is where it is; raises LookupError before the first cycle, KeyError for an unknown miner."""
        state, decision = self.last()
        row = self.facts.index_of(miner_id)
        contradicts = state.fleet.condition[row] == Condition.CONTRADICTS
        contradiction = self._contradictions.get(miner_id) if contradicts else None
        return explain(self.facts, state, decision, row, self._traces.get(row, ()), contradiction)

    def last(self) -> tuple[State, Decision]:
        """What the last cycle left behind; raises LookupError before the first."""
        if self.state is None or self.decision is None:
            raise LookupError("no cycle has run yet; try again in a second")
        return self.state, self.decision

    def _family(self, miner: int) -> Family:
        return self._families.setdefault(self.facts.units[miner].family, Family())

    def _by_family(self) -> View:
        """What was counted since the start, by the miners' firmware."""
        miners = Counter(unit.family for unit in self.facts.units)
        counted = {name: self._families.get(name, Family()) for name in sorted(miners)}
        return {
            name: {
                "miners": miners[name],
                "commands": dict(family.commands),
                "outcomes": dict(family.outcomes),
                "verdicts": dict(family.verdicts),
            }
            for name, family in counted.items()
        }

    def _keep(self, miner: int, trace: Trace) -> None:
        self._traces.setdefault(miner, deque(maxlen=COMMANDS_KEPT)).append(trace)

    def _input(self, entry: InputHealth) -> View:
        """One input's trust, and the meters it is read from; the dispatcher has none."""
        meters = {self.policy.meter_of_point.get(point) for point in points_of(entry.name)} - {None}
        return {
            "name": entry.name,
            "meters": sorted(str(meter) for meter in meters),
            "state": entry.state.value,
            "condition": entry.condition,
            "age_s": None if entry.age_s is None or not np.isfinite(entry.age_s) else round(entry.age_s, 2),
        }

    def _enter_verdict(self, verdict: VerdictReport) -> None:
        for trace in self._traces.get(verdict.miner, ()):
            if trace.command_id == verdict.command_id:
                trace.verdict = verdict.verdict


def _figures(decision: Decision) -> View:
    figures, allocation = decision.figures, decision.allocation
    return {
        "surplus_kw": kw_of(figures.surplus_w),
        "cap_kw": kw_of(figures.cap_w),
        "target_kw": kw_of(figures.target_w),
        "allocated_kw": kw_of(allocation.allocated_w),
        "unallocated_kw": kw_of(allocation.unallocated_w),
        "unallocated_reason": allocation.unallocated_reason.value,
        "expected_kw": kw_of(figures.expected_w),
        "expected_error_kw": kw_of(figures.expected_error_w),
        "measured_kw": kw_of(figures.measured_w),
        "residual_kw": kw_of(figures.residual_w),
        "available_up_kw": kw_of(figures.available_up_w),
        "available_down_kw": kw_of(figures.available_down_w),
        "floor_kw": kw_of(figures.floor_w),
    }


def _balance(state: State, decision: Decision) -> View:
    """Where the measured watts are: what each group of miners should draw, the rest of the site, and what is left.

    other_kw: auxiliaries and losses, as the meter has shown them over time. unexplained_kw closes the sum.
    """
    drawn_w = {name: float(decision.expected_power_w[where].sum()) for name, where in by_state(state).items()}
    drawn_w["asleep"] += drawn_w.pop("foreign_sleeper")
    measured_w, other_w = decision.figures.measured_w, state.offset_w
    if decision.shadow is not None:  # these are the miners of the site as it would be
        measured_w = decision.shadow.load_w
    unexplained_w: float | None = None
    if measured_w is not None and other_w is not None:
        unexplained_w = measured_w - other_w - sum(drawn_w.values())
    return {
        "measured_kw": kw_of(measured_w),
        "other_kw": kw_of(other_w),
        **{f"{name}_kw": kw_of(power_w) for name, power_w in drawn_w.items()},
        "unexplained_kw": kw_of(unexplained_w),
    }


def _shadow(report: ShadowReport) -> View:
    """The site in our hands beside the site as it is, since shadow mode began."""
    sides = (("shadow", report.shadow), ("site", report.site))
    return {
        "load_kw": kw_of(report.load_w),
        "compared_s": round(report.compared_s, 1),
        "commands": dict(report.commands),
        **{
            whose: {
                "absorbed_kwh": kw_of(tally.absorbed_wh),
                "unused_kwh": kw_of(tally.unused_wh),
                "above_cap_kwh": kw_of(tally.above_cap_wh),
                "above_cap_s": round(tally.above_cap_s, 1),
                "switches": tally.switches,
            }
            for whose, tally in sides
        },
    }


def _metered(facts: Fleet, report: FeederReport) -> View:
    """One feeder with a meter, and what it proves of the miners on it that tell no watts."""
    return {
        "name": facts.feeder_names[report.feeder],
        "load_kw": kw_of(report.load_w),
        "believed_kw": kw_of(report.believed_w),
        "beside_kw": kw_of(report.rest_w),
        "excess_kw": kw_of(report.excess_w),
        "verdict": report.verdict,
        "proved_ago_s": None if report.proved_age_s is None else round(report.proved_age_s, 1),
        "unproved": report.unproved,
    }


def _percentiles_ms(timings_s: deque[float]) -> View:
    """Median, 99th percentile and longest of the last cycles; null before the first."""
    if not timings_s:
        return {"p50": None, "p99": None, "max": None}
    middle, high, longest = np.percentile(np.array(timings_s) * 1000.0, [50, 99, 100])
    return {"p50": round(float(middle), 2), "p99": round(float(high), 2), "max": round(float(longest), 2)}


def _text_of(event: Event) -> str:
    return f"{event.miner}: {event.text}" if event.miner else event.text
