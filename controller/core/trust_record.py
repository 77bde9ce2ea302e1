"""What a checkpoint keeps of the inputs: doubt that heals late, and evidence against a meter that builds up slowly.

A restart is no reason to believe anything. Good and held inputs begin as at the first start; how long one has been good
again is not kept, so that the re-arm time begins anew. Times are ages; nobody's time away is taken off them.
"""

from __future__ import annotations

import math
from typing import Any

from controller.core import estimator
from controller.core.doubts import DOUBTED, INPUTS
from controller.core.state import InputMemory, State, StillMemory
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import InputState


def of_trust(state: State, now: float) -> dict[str, Any]:
    """JSON-able. The guards are read anew, and the dispatcher is the lease's affair."""
    return {
        "miners_w": float(estimator.expected_power_w(state.fleet, now).sum()),
        "inputs": {
            name: {"state": memory.state.value, "trusted_age_s": now - memory.trusted_at}
            for name, memory in _doubted(state).items()
        },
        "fallback_for_s": None if state.fallback_since is None else now - state.fallback_since,
        "unbalanced_for_s": None if state.unbalanced_since is None else now - state.unbalanced_since,
        "held_for_s": max(state.held_until - now, 0.0),
        "still": {
            point.value: {
                "value": memory.value,
                "for_s": now - memory.since,
                "others_w": memory.others_w,
                "least_w": memory.least_w + state.corrected_w,
                "most_w": None if math.isinf(memory.most_w) else memory.most_w + state.corrected_w,
            }
            for point, memory in state.still.items()
        },
        "contacts": {
            point.value: {"value": sample.value, "age_s": now - sample.taken_at, "source": sample.source}
            for point, sample in state.contacts.items()
        },
    }


def recall_trust(state: State, record: dict[str, Any], now: float) -> None:
    """Earlier programs kept none of it: then every input begins as at the first start.

    The miners have been recalled. Of a move under way the higher end is: what that adds is no load that moved, and a
    meter that stands still beside it is not dead.
    """
    miners_w = float(estimator.expected_power_w(state.fleet, now).sum())
    state.corrected_w = miners_w - record.get("miners_w", miners_w)
    for name, kept in record.get("inputs", {}).items():
        state.inputs[name] = InputMemory(InputState(kept["state"]), now - kept["trusted_age_s"], None)
    fallback_s, unbalanced_s = record.get("fallback_for_s"), record.get("unbalanced_for_s")
    state.fallback_since = None if fallback_s is None else now - fallback_s
    state.unbalanced_since = None if unbalanced_s is None else now - unbalanced_s
    state.held_until = now + record.get("held_for_s", 0.0)
    for name, kept in record.get("still", {}).items():
        most_w = math.inf if kept["most_w"] is None else kept["most_w"]
        since = now - kept["for_s"]
        state.still[Point(name)] = StillMemory(kept["value"], since, kept["others_w"], kept["least_w"], most_w)
    for name, kept in record.get("contacts", {}).items():
        point = Point(name)
        state.contacts[point] = Sample(kept["value"], now - kept["age_s"], Quality.GOOD, kept["source"])


def doubts_changed(before: State, after: State) -> bool:
    """Whether a checkpoint from before would believe, or doubt, what is doubted or believed now."""
    doubted = [{name: memory.state for name, memory in _doubted(state).items()} for state in (before, after)]
    contacts = [{point: sample.value for point, sample in state.contacts.items()} for state in (before, after)]
    return doubted[0] != doubted[1] or contacts[0] != contacts[1] or before.held_until != after.held_until


def _doubted(state: State) -> dict[str, InputMemory]:
    return {name: memory for name, memory in state.inputs.items() if name in INPUTS and memory.state in DOUBTED}
