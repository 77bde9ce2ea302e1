"""From a recording to the figures of the report. Power, energy and violations are the simulators' true ones throughout.

The line a load is judged by is the lower of two: the true surplus cap, and every cap order in force. An order is in
force from the moment the site took it until it ends, and it grants the ordered ramp: it begins at the load of that
moment and falls to the order's power as fast as the site's own down-ramp. A target order limits what could have been
absorbed in the same way, but to draw more than a target (under the caps) is no violation.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from simulators.accounting import (
    Moves,
    SignalLatency,
    Violation,
    count_moves,
    energy_kwh,
    percentiles,
    trailing_max,
    violation,
)
from simulators.benchmark import cap_steps, demo_horizon_s, oracle_fleet
from simulators.demo.recording import Change, CommandRecord, FloatArray, OrderRecord, Recording, Truth
from simulators.demo.site_files import miner_id
from simulators.oracle import OracleError, absorbable
from simulators.scenario import Scenario

MOVE_FRACTION = 0.02
ANSWER_WITHIN_S = 3.0
STEP_WINDOW_S = 15.0
ORACLE_STEP_S = 1.0
ORACLE_STEPS_MAX = 3_600


@dataclass(frozen=True, slots=True)
class Limits:
    """Lines over the record's times, W, shape (n,): what the load must keep, and what it could absorb at most."""

    kept_w: FloatArray
    absorbable_w: FloatArray


@dataclass(frozen=True, slots=True)
class Fall:
    """How fast an ordered load comes down: W per second, and W below the highest load of the last 15 s."""

    w_per_s: float
    w_per_15s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """The arithmetic of one run; `absorbable_kwh` is None when the oracle found no answer."""

    surplus_kwh: float
    absorbed_kwh: float
    absorbable_kwh: float | None
    raw: Violation
    net: Violation
    horizon_s: float
    moves: Moves
    latency: SignalLatency
    limits: Limits

    @property
    def absorbed_pct(self) -> float | None:
        """Share of the surplus that was absorbed, %."""
        return percent(self.absorbed_kwh, self.surplus_kwh)

    @property
    def absorbable_pct(self) -> float | None:
        """Share of the surplus that a perfect operator would have absorbed, %."""
        return None if self.absorbable_kwh is None else percent(self.absorbable_kwh, self.surplus_kwh)


def percent(part: float, whole: float) -> float | None:
    """Part of whole in %; None of nothing."""
    return None if whole <= 0 else 100.0 * part / whole


def figures_of(recording: Recording, scenario: Scenario) -> Figures:
    """Judge a recording. The oracle in it takes a second for three minutes of run, more for more."""
    truth, rated_w = recording.truth, scenario.fleet.rated_w()
    limits = limits_of(truth, recording.orders, fall_of(scenario))
    horizon_s = demo_horizon_s(scenario)
    return Figures(
        surplus_kwh=energy_kwh(truth.t_s, truth.cap_w),
        absorbed_kwh=energy_kwh(truth.t_s, np.minimum(truth.load_w, limits.absorbable_w)),
        absorbable_kwh=_absorbable_kwh(truth, limits, scenario, recording.duration_s),
        raw=violation(truth.t_s, truth.load_w, limits.kept_w, rated_w, 0.0),
        net=violation(truth.t_s, truth.load_w, limits.kept_w, rated_w, horizon_s),
        horizon_s=horizon_s,
        moves=count_moves(truth.load_w, MOVE_FRACTION * rated_w),
        latency=latency_of(recording.changes, recording.commands, truth, recording.orders, scenario),
        limits=limits,
    )


def fall_of(scenario: Scenario) -> Fall:
    """The down-limits of a scenario's policy."""
    policy, rated_w = scenario.policy, scenario.fleet.rated_w()
    return Fall(policy.ramp_down_fraction_per_min * rated_w / 60.0, policy.step_15s_fraction * rated_w)


def limits_of(truth: Truth, orders: Sequence[OrderRecord], fall: Fall) -> Limits:
    """Draw both lines of the module's rule.

    Args:
        truth: the record.
        orders: the dispatches of the run, with their answers.
        fall: how fast an order lets the load come down.
    """
    kept_w = truth.cap_w.copy()
    absorbable_w = truth.cap_w.copy()
    highest_lately_w = trailing_max(truth.t_s, truth.load_w, STEP_WINDOW_S)
    for order in orders:
        if order.accepted_at_s is None:
            continue
        ordered_w = _ordered_w(truth, order, order.accepted_at_s, fall, highest_lately_w)
        absorbable_w = np.minimum(absorbable_w, ordered_w)
        if order.kind == "cap":
            kept_w = np.minimum(kept_w, ordered_w)
    return Limits(kept_w, absorbable_w)


def _ordered_w(
    truth: Truth, order: OrderRecord, accepted_at_s: float, fall: Fall, highest_lately_w: FloatArray
) -> FloatArray:
    """The line of one order, W, shape (n,), infinite while it is not in force."""
    ordered_w = np.full(truth.t_s.shape, np.inf)
    line_w, last_s = truth.load_at_w(accepted_at_s), accepted_at_s
    for i in np.flatnonzero((truth.t_s >= accepted_at_s) & (truth.t_s < order.ends_at_s)).tolist():
        t_s = float(truth.t_s[i])
        allowed_w = max(line_w - fall.w_per_s * (t_s - last_s), float(highest_lately_w[i]) - fall.w_per_15s)
        line_w, last_s = max(order.answered_w, min(line_w, allowed_w)), t_s
        ordered_w[i] = line_w
    return ordered_w


def latency_of(
    changes: Sequence[Change],
    commands: Sequence[CommandRecord],
    truth: Truth,
    orders: Sequence[OrderRecord],
    scenario: Scenario,
) -> SignalLatency:
    """Match each change of the surplus that demands a command with the first command that answers it.

    A fall demands one when the true load lies above the new cap. A rise demands one when the load lies more than the
    margin and one signal below it and no order is in force. The answer is the first byte of a command in the same
    direction, before the next change and within 3 s; a rise held back by a ramp may find none and is counted apart.
    """
    rated_w = scenario.fleet.rated_w()
    room_w = (scenario.policy.surplus_margin_fraction + scenario.signal_fraction) * rated_w
    times = {raises: sorted(c.at_s for c in commands if c.raises is raises) for raises in (False, True)}
    latencies_ms: list[float] = []
    unanswered = 0
    for index, change in enumerate(changes):
        load_w = truth.load_at_w(change.at_s)
        raises = change.to_w > change.from_w
        ordered = any(
            o.accepted_at_s is not None and o.accepted_at_s <= change.at_s < o.ends_at_s + ANSWER_WITHIN_S
            for o in orders
        )
        if (raises and (ordered or load_w > change.to_w - room_w)) or (not raises and load_w <= change.to_w):
            continue
        until_s = change.at_s + ANSWER_WITHIN_S
        if index + 1 < len(changes):
            until_s = min(until_s, changes[index + 1].at_s)
        first = bisect_left(times[raises], change.at_s)
        if first < len(times[raises]) and times[raises][first] < until_s:
            latencies_ms.append((times[raises][first] - change.at_s) * 1000.0)
        else:
            unanswered += 1
    return SignalLatency(percentiles(latencies_ms), unanswered)


def report_of(
    recording: Recording, figures: Figures, scenario: Scenario, extra: Mapping[str, object]
) -> dict[str, object]:
    """The content of report.json; `extra` is added as it is."""
    daemon, status = recording.daemon, recording.daemon.status
    latency = figures.latency.latency_ms
    cycle = status.get("cycle_ms")
    return {
        "duration_s": round(recording.duration_s, 1),
        "interrupted": recording.interrupted,
        "miners": scenario.fleet.size,
        "surplus_kwh": round(figures.surplus_kwh, 4),
        "absorbed_kwh": round(figures.absorbed_kwh, 4),
        "absorbable_kwh": rounded(figures.absorbable_kwh, 4),
        "absorbed_pct": rounded(figures.absorbed_pct, 2),
        "absorbable_pct": rounded(figures.absorbable_pct, 2),
        "cap_violation_s": {"raw": round(figures.raw.total_s, 2), "net": round(figures.net.total_s, 2)},
        "longest_cap_violation_s": {"raw": round(figures.raw.longest_s, 2), "net": round(figures.net.longest_s, 2)},
        "cap_violation_kwh": {"raw": round(figures.raw.excess_kwh, 4), "net": round(figures.net.excess_kwh, 4)},
        "violation_horizon_s": round(figures.horizon_s, 2),
        "moves": asdict(figures.moves),
        "signal_to_command_ms": {
            "p50": None if latency is None else round(latency.p50, 1),
            "p95": None if latency is None else round(latency.p95, 1),
            "max": None if latency is None else round(latency.max, 1),
            "answered": 0 if latency is None else latency.count,
            "unanswered": figures.latency.unanswered,
        },
        "commands": dict(daemon.commands),
        "verdicts": dict(daemon.verdicts),
        "families": families_of(recording, scenario),
        "quarantined": quarantined(recording),
        "dispatches": dispatch_counts(recording.orders),
        "orders": [order_view(order) for order in recording.orders],
        "daemon": {
            "cpu_pct": None if daemon.cpu_s is None else rounded(percent(daemon.cpu_s, recording.duration_s), 1),
            "rss_mb": rounded(daemon.rss_mb, 1),
            "cycle_ms": cycle if isinstance(cycle, Mapping) else {"p50": None, "p99": None, "max": None},
            "exit_code": daemon.exit_code,
        },
        **extra,
    }


def families_of(recording: Recording, scenario: Scenario) -> dict[str, dict[str, object]]:
    """What each family is, drew by the simulators' truth, and was told and found to do by the daemon."""
    miners, asleep = scenario.fleet.miners(), scenario.fleet.asleep()
    caught = set(quarantined(recording))
    report: dict[str, dict[str, object]] = {}
    for family, power_w in recording.families.power_w.items():
        own = [index for index, model in enumerate(miners) if model.family == family]
        energy = energy_kwh(recording.families.t_s, power_w)
        counts = recording.daemon.families.get(family)
        report[family] = {
            "miners": len(own),
            "hashing_at_start": sum(not asleep[index] for index in own),
            "rated_kw": round(sum(miners[index].nameplate.power_w for index in own) / 1000.0, 1),
            "energy_kwh": round(energy, 4),
            "mean_kw": rounded(energy * 3600.0 / recording.duration_s, 1),
            "commands": {} if counts is None else dict(counts.commands),
            "verdicts": {} if counts is None else dict(counts.verdicts),
            "quarantined": [name for name in map(miner_id, own) if name in caught],
        }
    return report


def quarantined(recording: Recording) -> list[str]:
    """Ids of the miners in quarantine at the end."""
    named = recording.daemon.status.get("quarantined")
    return [str(name) for name in named] if isinstance(named, list) else []


def dispatch_counts(orders: Sequence[OrderRecord]) -> dict[str, int]:
    """How many orders were sent, accepted (clamped ones too), rejected and reached."""
    return {
        "sent": len(orders),
        "accepted": sum(order.accepted_at_s is not None for order in orders),
        "rejected": sum("REJECTED" in order.answers for order in orders),
        "reached": sum(order.reached_at_s is not None for order in orders),
    }


def order_view(order: OrderRecord) -> dict[str, object]:
    """One order for the report."""
    return {
        "kind": order.kind,
        "kw": round(order.power_w / 1000.0, 1),
        "answered_kw": round(order.answered_w / 1000.0, 1),
        "sent_at_s": round(order.sent_at_s, 2),
        "for_s": round(order.for_s, 1),
        "answers_s": {status: round(at_s, 2) for status, at_s in order.answers.items()},
    }


def rounded(value: float | None, digits: int) -> float | None:
    """A number for the report; None stays None, and what is not finite becomes None."""
    return None if value is None or not math.isfinite(value) else round(value, digits)


def _absorbable_kwh(truth: Truth, limits: Limits, scenario: Scenario, duration_s: float) -> float | None:
    """What a perfect operator would have absorbed under the same limits; None when there is nothing to say."""
    # Steps that divide the run exactly: a piece left over at its end would be energy only the site is credited with.
    step_s = duration_s / min(ORACLE_STEPS_MAX, math.ceil(duration_s / ORACLE_STEP_S))
    caps_w = cap_steps(truth.t_s, limits.absorbable_w, duration_s, step_s)
    if caps_w.size == 0:
        return None
    classes, site = oracle_fleet(scenario)
    try:
        return absorbable(caps_w, step_s, classes, site).absorbed_kwh
    except OracleError:
        return None
