"""Why one miner is where it is, and what was tried: built from the last decision and the miner's recent commands."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from controller.core.fleet_state import NO_COMMAND
from controller.core.state import State
from controller.domain.fleet import Condition, Fleet, Verdict
from controller.domain.plan import Decision
from controller.domain.reasons import Why
from controller.wire.canonical import kw_of, utc_text

NOTHING_YET, LEFT_ALONE, ASLEEP = "nothing yet", "left alone", "asleep"
NO_PLAN = {
    Why.UNSEEN: NOTHING_YET,
    Why.OBSERVED: LEFT_ALONE,
    Why.FOREIGN_SLEEPER: LEFT_ALONE,
    Why.CONTRADICTS: LEFT_ALONE,
}

View = dict[str, object]


@dataclass(slots=True)
class Trace:
    """What became of one command, as far as it is known. `wall`: when it was decided, UTC seconds."""

    command_id: int
    verb: str
    level: str | None
    wall: float
    reason: str
    outcome: str | None = None
    detail: str = ""
    verdict: str | None = None


def explain(
    facts: Fleet, state: State, decision: Decision, row: int, traces: Iterable[Trace], contradiction: str | None
) -> View:
    """One miner's page as JSON; a number nobody knows is null. contradiction: how it is not the inventory's."""
    fleet, unit, setpoint = state.fleet, facts.units[row], decision.setpoint
    level = int(fleet.level[row])
    return {
        "miner": facts.miner_ids[row],
        "model": unit.model.name,
        "setpoint": {
            "kw": kw_of(decision.figures.target_w),
            "bound": setpoint.bound.value,
            "source": setpoint.source,
        },
        "joule_per_th": round(float(facts.joule_per_th[row]), 2),
        "merit": int(np.sum(facts.joule_per_th < facts.joule_per_th[row])) + 1,
        "miners": len(facts),
        **_feeder(facts, state, decision, row),
        "condition": Condition(int(fleet.condition[row])).name.lower(),
        "contradiction": contradiction,
        "power_kw": kw_of(float(fleet.reported_w[row])),
        "estimate_error_kw": kw_of(float(fleet.power_error_w[row])) if _estimated(facts, state, row) else None,
        "expected_kw": kw_of(float(decision.expected_power_w[row])) if _seen(state, row) else None,
        "level": unit.model.levels[level].name if level >= 0 else None,
        "prior": state.priors.get(row),
        "planned": _planned(facts, decision, row),
        "why": decision.allocation.why_of(row).value,
        "held_by": _held_by(facts, decision, row),
        "limits": _limits(facts, decision, row),
        "verdict": Verdict(int(fleet.verdict[row])).name.lower(),
        "in_flight": bool(fleet.verb[row] != NO_COMMAND),
        "since_s": _ago_s(state.now, float(fleet.changed_at[row])),
        "telemetry_age_s": _ago_s(state.now, float(fleet.read_at[row])),
        "commands": [_command(trace, decision.wall) for trace in traces],
        "quarantine": _quarantine(state, row),
    }


def _feeder(facts: Fleet, state: State, decision: Decision, row: int) -> View:
    """What the miner's feeder carries by what each of its miners should draw, and how much more it may; what its meter
    shows and proves of those that tell no watts, null without one."""
    feeder = facts.units[row].feeder
    metered = next((report for report in decision.feeders if report.feeder == feeder), None)
    blind = not facts.reports_power[row] and metered is not None
    load_w = float(decision.expected_power_w[facts.feeder == feeder].sum())
    rating_w = float(facts.feeder_rating_w[feeder])
    return {
        "feeder": facts.feeder_names[feeder],
        "feeder_kw": kw_of(load_w),
        "feeder_rating_kw": kw_of(rating_w),
        "feeder_room_kw": kw_of(rating_w - load_w),
        "feeder_metered_kw": None if metered is None else kw_of(metered.load_w),
        "feeder_verdict": None if metered is None else metered.verdict,
        "sleep_proved": bool(state.fleet.sleep_proved[row]) if blind else None,
        "caught": bool(state.fleet.caught[row]) if blind else None,
    }


def _held_by(facts: Fleet, decision: Decision, row: int) -> str | None:
    """The full limit that keeps it from waking or rising."""
    limit = decision.allocation.held_by.get(row)
    return None if limit is None else f"{facts.limits.kinds[limit]} {facts.limits.names[limit]}"


def _limits(facts: Fleet, decision: Decision, row: int) -> list[View]:
    """What hangs above its feeder or across it, and carries it too."""
    tree = facts.limits
    return [
        {
            "name": tree.names[limit],
            "kind": tree.kinds[limit],
            "kw": kw_of(float(decision.limit_power_w[limit])),
            "rating_kw": kw_of(float(tree.rating_w[limit])),
        }
        for limit in tree.of_miner[row].tolist()
        if len(facts.feeder_names) <= limit < len(tree.names)
    ]


def _planned(facts: Fleet, decision: Decision, row: int) -> str:
    """The profile it should run, or what is to become of it instead."""
    allocation = decision.allocation
    without = NO_PLAN.get(allocation.why_of(row))
    if without is not None:
        return without
    return facts.units[row].model.levels[int(allocation.level[row])].name if allocation.hashing[row] else ASLEEP


def _command(trace: Trace, wall: float) -> View:
    return {
        "id": trace.command_id,
        "verb": trace.verb,
        "level": trace.level,
        "sent_at": utc_text(trace.wall),
        "ago_s": round(max(wall - trace.wall, 0.0), 1),
        "reason": trace.reason,
        "outcome": trace.outcome,
        "detail": trace.detail,
        "verdict": trace.verdict,
    }


def _quarantine(state: State, row: int) -> View | None:
    fleet = state.fleet
    if fleet.verdict[row] != Verdict.QUARANTINED:
        return None
    return {
        "for_s": round(float(fleet.quarantined_until[row]) - state.now, 1),
        "times": int(fleet.quarantines[row]),
    }


def _estimated(facts: Fleet, state: State, row: int) -> bool:
    """Whether the power is the driver's estimate and not the miner's own word."""
    return float(state.fleet.power_error_w[row]) > 0.0 or not facts.reports_power[row]


def _seen(state: State, row: int) -> bool:
    return math.isfinite(float(state.fleet.read_at[row]))


def _ago_s(now: float, then: float) -> float | None:
    return round(now - then, 1) if math.isfinite(then) else None
