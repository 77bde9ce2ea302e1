"""What people are shown: the site on one page, and why one miner is where it is. Built from the last decision only."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from controller.core.state import NO_COMMAND, State
from controller.domain.fleet import Command, CommandReport, Condition, Fleet, Verdict
from controller.domain.plan import Decision, Event, VerdictReport
from controller.domain.policy import Policy
from controller.wire.canonical import kw_of, utc_text

EVENTS_KEPT = 200
EVENTS_SHOWN = 20
COMMANDS_KEPT = 8  # per miner
TIMINGS_KEPT = 3600

View = dict[str, object]


@dataclass(slots=True)
class _Trace:
    """What became of one command, as far as it is known."""

    command: Command
    wall: float
    outcome: str | None = None
    detail: str = ""
    verdict: str | None = None


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
    _traces: dict[int, deque[_Trace]] = field(default_factory=dict)

    def take_cycle(self, state: State, decision: Decision) -> None:
        self.state, self.decision = state, decision
        self._events.extend((decision.wall, event) for event in decision.events)
        for command in decision.commands:
            traces = self._traces.setdefault(command.miner, deque(maxlen=COMMANDS_KEPT))
            traces.append(_Trace(command, decision.wall))
        for verdict in decision.verdicts:
            self._enter_verdict(verdict)

    def take_report(self, report: CommandReport) -> None:
        for trace in self._traces.get(report.miner, ()):
            if trace.command.command_id == report.command_id:
                trace.outcome, trace.detail = report.outcome.value, report.detail

    def take_timing(self, took_s: float) -> None:
        """How long one whole cycle took, seconds."""
        self._timings_s.append(took_s)

    def take_event(self, wall: float, event: Event) -> None:
        """An event that did not come out of a cycle."""
        self._events.append((wall, event))

    def status(self) -> View:
        """The site on one page; raises LookupError before the first cycle."""
        state, decision = self._last()
        figures = decision.figures
        shown = list(self._events)[-EVENTS_SHOWN:]
        progress = decision.progress
        return {
            "site": self.policy.site_id,
            "mode": self.policy.mode.value,
            "wall": utc_text(decision.wall),
            "cycle": decision.cycle,
            "fail_safe": decision.fail_safe.value,
            "setpoint": {
                "kw": kw_of(decision.setpoint.power_w),
                "bound": decision.setpoint.bound.value,
                "source": decision.setpoint.source,
                "shed": decision.setpoint.shed,
            },
            "figures": {
                "surplus_kw": kw_of(figures.surplus_w),
                "cap_kw": kw_of(figures.cap_w),
                "target_kw": kw_of(figures.target_w),
                "expected_kw": kw_of(figures.expected_w),
                "measured_kw": kw_of(figures.measured_w),
                "residual_kw": kw_of(figures.residual_w),
                "available_up_kw": kw_of(figures.available_up_w),
                "available_down_kw": kw_of(figures.available_down_w),
                "floor_kw": kw_of(figures.floor_w),
                "unallocated_kw": kw_of(decision.allocation.unallocated_w),
                "unallocated_reason": decision.allocation.unallocated_reason.value,
            },
            "inputs": [
                {
                    "name": entry.name,
                    "state": entry.state.value,
                    "condition": entry.condition,
                    "age_s": round(entry.age_s, 2) if np.isfinite(entry.age_s) else None,
                }
                for entry in decision.inputs
            ],
            "miners": dict(decision.counts),
            "quarantined": [
                self.facts.miner_ids[row] for row in np.flatnonzero(state.fleet.verdict == Verdict.QUARANTINED)
            ],
            "orders": [
                {
                    "id": entry.dispatch.dispatch_id,
                    "issuer": entry.dispatch.issuer,
                    "class": entry.dispatch.dispatch_class.value,
                    "kind": entry.dispatch.kind.value,
                    "kw": kw_of(entry.answered_w),
                    "expires_at": utc_text(entry.dispatch.expires_at),
                    "reached": entry.reached,
                }
                for entry in state.orders.active
            ],
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
                for wall, event in shown
            ],
            "cycle_ms": _percentiles_ms(self._timings_s),
            "versions": self.versions,
        }

    def explain(self, miner_id: str) -> View:
        """Why one miner is where it is; raises LookupError before the first cycle, KeyError for an unknown miner."""
        state, decision = self._last()
        row = self.facts.index_of(miner_id)
        fleet = state.fleet
        unit = self.facts.units[row]
        hashing = bool(decision.allocation.hashing[row])
        level = int(fleet.level[row])
        quarantined = fleet.verdict[row] == Verdict.QUARANTINED
        changed_s = state.now - float(fleet.changed_at[row])
        read_s = state.now - float(fleet.read_at[row])
        return {
            "miner": miner_id,
            "model": unit.model.name,
            "feeder": self.facts.feeder_names[unit.feeder],
            "joule_per_th": round(float(self.facts.joule_per_th[row]), 2),
            "merit": int(np.sum(self.facts.joule_per_th < self.facts.joule_per_th[row])) + 1,
            "condition": Condition(int(fleet.condition[row])).name.lower(),
            "power_kw": kw_of(float(fleet.reported_w[row])),
            "expected_kw": kw_of(float(decision.expected_power_w[row])),
            "level": unit.model.levels[level].name if level >= 0 else None,
            "prior": state.priors.get(row),
            "planned": unit.model.levels[int(decision.allocation.level[row])].name if hashing else "asleep",
            "why": decision.allocation.why_of(row).value,
            "verdict": Verdict(int(fleet.verdict[row])).name.lower(),
            "in_flight": bool(fleet.verb[row] != NO_COMMAND),
            "since_s": round(changed_s, 1) if np.isfinite(changed_s) else None,
            "telemetry_age_s": round(read_s, 1) if np.isfinite(read_s) else None,
            "commands": [
                {
                    "id": trace.command.command_id,
                    "verb": trace.command.verb.value,
                    "level": None if trace.command.level is None else unit.model.levels[trace.command.level].name,
                    "sent_at": utc_text(trace.wall),
                    "reason": trace.command.reason,
                    "outcome": trace.outcome,
                    "detail": trace.detail,
                    "verdict": trace.verdict,
                }
                for trace in self._traces.get(row, ())
            ],
            "quarantine": {
                "for_s": round(float(fleet.quarantined_until[row]) - state.now, 1),
                "times": int(fleet.quarantines[row]),
            }
            if quarantined
            else None,
        }

    def _enter_verdict(self, verdict: VerdictReport) -> None:
        for trace in self._traces.get(verdict.miner, ()):
            if trace.command.command_id == verdict.command_id:
                trace.verdict = verdict.verdict

    def _last(self) -> tuple[State, Decision]:
        if self.state is None or self.decision is None:
            raise LookupError("no cycle has run yet; try again in a second")
        return self.state, self.decision


def _percentiles_ms(timings_s: deque[float]) -> View:
    """Median, 99th percentile and longest of the last cycles; null before the first."""
    if not timings_s:
        return {"p50": None, "p99": None, "max": None}
    middle, high, longest = np.percentile(np.array(timings_s) * 1000.0, [50, 99, 100])
    return {"p50": round(float(middle), 2), "p99": round(float(high), 2), "max": round(float(longest), 2)}


def _text_of(event: Event) -> str:
    return f"{event.miner}: {event.text}" if event.miner else event.text
