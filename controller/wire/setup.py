"""What a run was decided with - policy and fleet - as the start row holds it, and back."""

from __future__ import annotations

import math
from typing import Any

from controller.domain.fleet import Fleet, MinerModel, MinerUnit, build_fleet
from controller.domain.limits import Limit
from controller.domain.policy import Policy
from controller.wire.exact import Exact

_EXACT = Exact(Policy, MinerModel)


def setup_record(facts: Fleet, policy: Policy) -> dict[str, object]:
    """JSON-able. Miners are named in the start row already; each points at its model, which stands here once."""
    models: dict[int, int] = {}
    listed: list[MinerModel] = []
    units: list[list[object]] = []
    for unit in facts.units:
        if id(unit.model) not in models:
            models[id(unit.model)] = len(listed)
            listed.append(unit.model)
        units.append([models[id(unit.model)], unit.feeder, unit.cap_level, unit.family])
    return {
        "policy": _EXACT.written(policy),
        "models": [_EXACT.written(model) for model in listed],
        "units": units,
        "feeder_names": list(facts.feeder_names),
        "feeder_rating_w": [int(rating_w) for rating_w in facts.feeder_rating_w],
        "feeder_inrush_w": [None if math.isinf(most_w) else int(most_w) for most_w in facts.feeder_inrush_w],
        "limits": [[limit.name, limit.kind, limit.rating_w, limit.parent] for limit in facts.limits.above_feeders],
        "feeder_limit": list(facts.limits.feeder_limit),
        "across": [[row, list(unit.limits)] for row, unit in enumerate(facts.units) if unit.limits],
    }


def setup_from_record(record: dict[str, Any], miner_ids: list[str]) -> tuple[Fleet, Policy]:
    """Fleet and policy of a start row. Raises ValueError where another version wrote it."""
    models = [_EXACT.read(model) for model in record["models"]]
    across = {row: tuple(limits) for row, limits in record.get("across", [])}
    units = tuple(
        MinerUnit(miner_id, models[model], feeder, cap_level, family, across.get(row, ()))
        for row, (miner_id, (model, feeder, cap_level, family)) in enumerate(
            zip(miner_ids, record["units"], strict=True)
        )
    )
    facts = build_fleet(
        units,
        tuple(record["feeder_names"]),
        tuple(record["feeder_rating_w"]),
        tuple(record.get("feeder_inrush_w", [])),
        tuple(Limit(*limit) for limit in record.get("limits", [])),
        tuple(record.get("feeder_limit", [])),
    )
    return facts, _EXACT.read(record["policy"])
