"""What a checkpoint keeps of response classes and waves: by name, times as ages, evidence only while it still fits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from controller.core.class_state import VERBS, ClassState
from controller.core.classes import configured_s
from controller.core.state import State
from controller.domain.fleet import Fleet

DIGITS = 3


def of_classes(facts: Fleet, state: State) -> dict[str, Any]:
    """JSON-able, by class; verbs of which nothing is known are left out."""
    kept = state.classes
    found = {}
    for kind, name in enumerate(facts.class_names):
        verbs = {}
        for place, verb in enumerate(VERBS):
            if kept.commands[kind, place] > 0.0:
                verbs[verb.value] = {
                    "configured_s": configured_s(facts, kind, place),
                    "commands": _rounded(kept.commands[kind, place]),
                    "early": _rounded(kept.early[kind, place]),
                    "late": _rounded(kept.late[kind, place]),
                    "dead_s": _or_none(float(kept.dead_s[kind, place])),
                    "to_90_s": _or_none(float(kept.to_90_s[kind, place])),
                }
        found[name] = {
            "boots": _rounded(kept.boots[kind]),
            "booted": _rounded(kept.booted[kind]),
            "sleep_power_w": float(kept.sleep_ratio[kind] * _sleep_w(facts, kind)),
            "sleep_reads": _rounded(kept.sleep_reads[kind]),
            "true_ratio": [round(float(kept.truth[kind]), 5), round(float(kept.truth_var[kind, kind]), 8)],
            "verbs": verbs,
        }
    return found


def recall_classes(facts: Fleet, state: State, record: dict[str, Any]) -> None:
    """Take over what is kept of classes that the inventory still has. What was counted against other configured figures
    proves nothing of these."""
    kept = state.classes
    for kind, name in enumerate(facts.class_names):
        known = record.get(name)
        if known is None:
            continue
        kept.boots[kind], kept.booted[kind] = known["boots"], known["booted"]
        kept.sleep_ratio[kind] = ClassState.bounded(known["sleep_power_w"] / max(_sleep_w(facts, kind), 1.0))
        kept.sleep_reads[kind] = known["sleep_reads"]
        if "true_ratio" in known:  # what ties it to other classes is learned anew
            kept.truth[kind], kept.truth_var[kind, kind] = known["true_ratio"]
        for place, verb in enumerate(VERBS):
            of_verb = known["verbs"].get(verb.value)
            if of_verb is None or list(of_verb["configured_s"]) != list(configured_s(facts, kind, place)):
                continue
            early, late = np.array(of_verb["early"]), np.array(of_verb["late"])
            if early.shape != kept.early[kind, place].shape:
                continue  # counted on another grid
            kept.early[kind, place], kept.late[kind, place] = early, late
            kept.commands[kind, place] = of_verb["commands"]
            kept.dead_s[kind, place] = _or_nan(of_verb["dead_s"])
            kept.to_90_s[kind, place] = _or_nan(of_verb["to_90_s"])


def of_waves(facts: Fleet, state: State, now: float) -> dict[str, Any]:
    """JSON-able, by class and feeder; cells that were never judged are left out."""
    waves = state.waves
    found: dict[str, Any] = {}
    for kind, feeder in np.argwhere(waves.size > 0.0).tolist():
        failed_age_s = now - float(waves.failed_at[kind, feeder])
        found.setdefault(facts.class_names[kind], {})[facts.feeder_names[feeder]] = {
            "size": float(waves.size[kind, feeder]),
            "stopped_for_s": float(waves.stopped_until[kind, feeder]) - now if waves.stopped[kind, feeder] else None,
            "failed": [float(waves.failed_size[kind, feeder]), failed_age_s] if math.isfinite(failed_age_s) else None,
        }
    return found


def recall_waves(facts: Fleet, state: State, record: dict[str, Any], now: float) -> None:
    """Sizes and stops go on; the wave that was under way is judged anew."""
    waves = state.waves
    for kind, name in enumerate(facts.class_names):
        for feeder, feeder_name in enumerate(facts.feeder_names):
            known = record.get(name, {}).get(feeder_name)
            if known is None:
                continue
            cell = kind, feeder
            waves.size[cell] = known["size"]
            if known["stopped_for_s"] is not None:
                waves.stopped[cell], waves.stopped_until[cell] = True, now + known["stopped_for_s"]
            if known["failed"] is not None:
                size, age_s = known["failed"]
                waves.failed_size[cell], waves.failed_at[cell] = size, now - age_s


def _sleep_w(facts: Fleet, kind: int) -> float:
    return float(facts.sleep_power_w[int(np.argmax(facts.kind == kind))])


def _rounded(values: Any) -> Any:
    return np.round(values, DIGITS).tolist()


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value
