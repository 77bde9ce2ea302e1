"""What the demo promises, and whether a run kept it. A run too short for a promise is not judged by it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

ABSORBED_SHARE = 0.9
LONGEST_VIOLATION_S = 2.0
MOVES_EACH_WAY = 3
CYCLE_P99_MS = 100.0  # a tenth of the cycle; it is wall time, and the machine may be busy with other things

# Shortest runs, s, in which each promise can be kept: the trace needs time to move, a cap needs time for its ramp, a
# verdict for two attempts.
TIME_FOR_ORDERS_S = 120.0
TIME_FOR_MOVES_S = 120.0
TIME_FOR_ABSORBING_S = 150.0
TIME_FOR_VERDICTS_S = 150.0


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise: what was wanted, what came, and whether that is kept (None: the run was too short to say)."""

    name: str
    wanted: str
    got: str
    kept: bool | None


@dataclass(frozen=True, slots=True)
class Expected:
    """Which miners misbehave, by the simulators' own knowledge.

    `must` have to be in quarantine at the end, `may` are allowed to be; anybody else there is a false accusation.
    """

    must: Sequence[str]
    may: Sequence[str]


def judge(report: Mapping[str, Any], expected: Expected) -> list[Promise]:
    """Hold the content of a report.json against the promises."""
    seconds = float(report["duration_s"])
    return [
        _no_violation(report),
        *(_in_time(promise, seconds, need_s) for promise, need_s in _timed(report, expected)),
        _orders_reached(report, seconds),
        _cycle(report),
        _clean_exit(report),
    ]


def kept(promises: Collection[Promise]) -> bool:
    """Whether no promise was broken."""
    return all(promise.kept is not False for promise in promises)


def _in_time(promise: Promise, seconds: float, need_s: float) -> Promise:
    if seconds >= need_s:
        return promise
    return Promise(promise.name, promise.wanted, f"{promise.got} (from {need_s:.0f} s on)", None)


def _timed(report: Mapping[str, Any], expected: Expected) -> list[tuple[Promise, float]]:
    return [
        (_absorbed(report), TIME_FOR_ABSORBING_S),
        (_moves(report), TIME_FOR_MOVES_S),
        (_caught(report, expected), TIME_FOR_VERDICTS_S),
        (_nobody_else(report, expected), 0.0),
    ]


def _no_violation(report: Mapping[str, Any]) -> Promise:
    longest_s = report["longest_cap_violation_s"]["net"]
    name, wanted = "time above the cap", f"<= {LONGEST_VIOLATION_S:g} s net"
    return Promise(name, wanted, f"{longest_s:g} s", longest_s <= LONGEST_VIOLATION_S)


def _absorbed(report: Mapping[str, Any]) -> Promise:
    absorbed, absorbable = report["absorbed_kwh"], report["absorbable_kwh"]
    name, wanted = "surplus absorbed", f">= {ABSORBED_SHARE:.0%} of possible"
    if absorbable is None or absorbable <= 0:
        return Promise(name, wanted, f"{absorbed:.2f} kWh, possible unknown", kept=False)
    share = absorbed / absorbable
    got = f"{share:.1%}, {absorbed:.2f} kWh"
    return Promise(name, wanted, got, absorbed > 0 and share >= ABSORBED_SHARE)


def _moves(report: Mapping[str, Any]) -> Promise:
    up, down = report["moves"]["up"], report["moves"]["down"]
    enough = up >= MOVES_EACH_WAY and down >= MOVES_EACH_WAY
    return Promise("moves of the load", f">= {MOVES_EACH_WAY} each way", f"{up} up, {down} down", enough)


def _caught(report: Mapping[str, Any], expected: Expected) -> Promise:
    missed = sorted(set(expected.must) - set(report["quarantined"]))
    got = f"{len(expected.must) - len(missed)} caught" + (f", missed {', '.join(missed)}" if missed else "")
    return Promise("liar, never-wakers", f"{len(expected.must)} quarantined", got, not missed)


def _nobody_else(report: Mapping[str, Any], expected: Expected) -> Promise:
    accused = sorted(set(report["quarantined"]) - set(expected.must) - set(expected.may))
    return Promise("well-behaved miners", "0 quarantined", ", ".join(accused) or "none", not accused)


def _orders_reached(report: Mapping[str, Any], seconds: float) -> Promise:
    counts = report["dispatches"]
    got = f"{counts['reached']} reached of {counts['sent']} sent"
    planned = report["dispatches_planned"]
    good = counts["sent"] == planned and counts["reached"] == planned and counts["rejected"] == 0
    promise = Promise("dispatches", f"{planned} reached", got, good)
    short = _in_time(promise, seconds, TIME_FOR_ORDERS_S)
    return Promise(short.name, short.wanted, short.got, None) if report["interrupted"] else short


def _cycle(report: Mapping[str, Any]) -> Promise:
    p99 = report["daemon"]["cycle_ms"]["p99"]
    got = "unknown" if p99 is None else f"{p99:.1f} ms"
    return Promise("control cycle, p99", f"< {CYCLE_P99_MS:g} ms", got, p99 is not None and p99 < CYCLE_P99_MS)


def _clean_exit(report: Mapping[str, Any]) -> Promise:
    code = report["daemon"]["exit_code"]
    return Promise("daemon's exit", "code 0", f"code {code}", code == 0)
