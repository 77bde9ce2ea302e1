"""What a run was decided with - policy and fleet - as the start row holds it, and back."""

from __future__ import annotations

from typing import Any

from controller.domain.fleet import Fleet, MinerModel, MinerUnit, build_fleet
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
    }


def setup_from_record(record: dict[str, Any], miner_ids: list[str]) -> tuple[Fleet, Policy]:
    """Fleet and policy of a start row. Raises ValueError where another version wrote it."""
    models = [_EXACT.read(model) for model in record["models"]]
    units = tuple(
        MinerUnit(miner_id, models[model], feeder, cap_level, family)
        for miner_id, (model, feeder, cap_level, family) in zip(miner_ids, record["units"], strict=True)
    )
    facts = build_fleet(units, tuple(record["feeder_names"]), tuple(record["feeder_rating_w"]))
    return facts, _EXACT.read(record["policy"])
