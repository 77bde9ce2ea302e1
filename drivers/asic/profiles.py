"""What each supported model and firmware can do: ladders and response classes, read from `models/*.toml`.

One file per model and firmware; its `[source]` says where the numbers are from and how far to trust them. The real
firmware is the authority: `mismatches` compares a ladder the miner itself told with the one on file.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib import resources
from itertools import pairwise
from types import MappingProxyType
from typing import Any, Final

from controller.domain.fleet import Level, MinerModel, ResponseClass

WATTS_TOLERANCE: Final = 0.01
"""A rung whose watts differ by more than this share is another rung."""

_LOWERS_FROM: Final = 0.25
"""Reported watts miss by 5 to 20 %: one that is nearer to its lowest rung than this may be at it, or below."""

_RESPONSE_KEYS: Final = (
    "sleep_dead_s",
    "sleep_90_s",
    "wake_dead_s",
    "wake_90_s",
    "trim_dead_s",
    "trim_90_s",
    "sleep_power_w",
)


_PATIENCE_KEY: Final = "wake_patience_s"


class Confidence(StrEnum):
    """How far the numbers of an entry can be trusted."""

    RECORDED = "recorded"
    """Read from a real miner."""
    NAMEPLATE = "nameplate"
    """The maker's figures at the nameplate rung; the watts of the others are derived, the source says how."""
    ASSUMED = "assumed"
    """The maker's figures at the nameplate rung; the watts of the others rest on reports and assumptions."""


@dataclass(frozen=True, slots=True)
class ModelFacts:
    """One entry: the envelope, how pyasic calls the hardware, and where the numbers are from.

    pyasic_family: name of a pyasic `MinerTypes` member; pyasic_model: key of `MINER_CLASSES[family]`, any case.
    estimate_error_ratio: for a model that reports no watts, how far an estimate may be off, as a share of it; None
    for one that does report them.
    """

    model: str
    firmware: str
    pyasic_family: str
    pyasic_model: str
    envelope: MinerModel
    confidence: Confidence
    source: str
    estimate_error_ratio: float | None = None

    @property
    def nameplate_level(self) -> int:
        """Index of the rung the maker advertises, never negative."""
        return self.envelope.nameplate_level


class ModelFileError(ValueError):
    """A model file is wrong; names the file, the key and what is expected."""


class LadderUnreadableError(Exception):
    """The miner did not tell its levels, or is another machine than the inventory has; names the miner and why."""


@cache
def all_facts() -> Mapping[str, ModelFacts]:
    """Every entry by its envelope's name, such as `Antminer S19k Pro (LuxOS)`. Raises ModelFileError."""
    facts: dict[str, ModelFacts] = {}
    files = resources.files("drivers.asic") / "models"
    for entry in sorted(files.iterdir(), key=lambda item: item.name):
        if entry.name.endswith(".toml"):
            loaded = parse(entry.read_text(encoding="utf-8"), entry.name)
            facts[loaded.envelope.name] = loaded
    return MappingProxyType(facts)


def facts_of(model: str, firmware: str) -> ModelFacts:
    """The entry of one model and firmware, in any case of letters. Raises ValueError naming those that are known."""
    wanted = (model.casefold(), firmware.casefold())
    for facts in all_facts().values():
        if (facts.model.casefold(), facts.firmware.casefold()) == wanted:
            return facts
    known = ", ".join(all_facts())
    raise ValueError(f"no miner model {model!r} with firmware {firmware!r}; known: {known}")


def parse(text: str, file_name: str) -> ModelFacts:
    """One model file. Raises ModelFileError."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ModelFileError(f"{file_name}: {error}") from error
    model, firmware = _text(table, "model", file_name), _text(table, "firmware", file_name)
    source = _table(table, "source", file_name)
    levels = _levels(table, file_name)
    names = [level.name for level in levels]
    nameplate = _text(table, "nameplate", file_name)
    if nameplate not in names:
        raise ModelFileError(f"{file_name}: nameplate: no level is called {nameplate!r}")
    reports_power = _flag(table, "reports_power", file_name)
    envelope = MinerModel(
        name=f"{model} ({firmware})",
        levels=levels,
        response=_response(table, firmware, file_name),
        nameplate_level=names.index(nameplate),
        trims=_flag(table, "trims", file_name),
        reports_power=reports_power,
    )
    confidence = _text(source, "confidence", file_name)
    if confidence not in set(Confidence):
        raise ModelFileError(f"{file_name}: source.confidence: {confidence!r} is none of {[*Confidence]}")
    return ModelFacts(
        model=model,
        firmware=firmware,
        pyasic_family=_text(table, "pyasic_family", file_name),
        pyasic_model=_text({"pyasic_model": model, **table}, "pyasic_model", file_name),
        envelope=envelope,
        confidence=Confidence(confidence),
        source=_text(source, "text", file_name),
        estimate_error_ratio=_estimate(table, reports_power, file_name),
    )


def mismatches(on_file: tuple[Level, ...], told: tuple[Level, ...]) -> tuple[str, ...]:
    """What differs between the ladder on file and the one a miner told, one sentence each; empty when they agree."""
    ours = {level.name: level for level in on_file}
    theirs = {level.name: level for level in told}
    found = [f"the miner has no profile {name!r}" for name in ours if name not in theirs]
    found += [f"the miner's profile {name!r} is not on file" for name in theirs if name not in ours]
    for name, level in ours.items():
        other = theirs.get(name)
        if other is not None and abs(other.power_w - level.power_w) > WATTS_TOLERANCE * level.power_w:
            found.append(f"profile {name!r} draws {other.power_w} W, on file {level.power_w} W")
    return tuple(found)


def lowers(power_w: float | None, lowest: Level) -> bool:
    """Whether a miner that reports `power_w` surely draws less at its lowest rung: its owner may run it below that."""
    return power_w is not None and power_w > (1.0 + _LOWERS_FROM) * lowest.power_w


def _levels(table: Mapping[str, Any], file_name: str) -> tuple[Level, ...]:
    rows = table.get("levels")
    if not isinstance(rows, list) or not rows:
        raise ModelFileError(f"{file_name}: levels: expected a list of [name, watts, terahashes per second]")
    levels = []
    for number, row in enumerate(rows):
        match row:
            case [str(name), int(power_w), int() | float() as hashrate_th] if name and power_w > 0 and hashrate_th > 0:
                levels.append(Level(name, power_w, float(hashrate_th)))
            case _:
                raise ModelFileError(f"{file_name}: levels[{number}]: {row!r} is not [name, watts, TH/s], all positive")
    if len({level.name for level in levels}) < len(levels):
        raise ModelFileError(f"{file_name}: levels: a name stands twice")
    if any(lower.power_w >= upper.power_w for lower, upper in pairwise(levels)):
        raise ModelFileError(f"{file_name}: levels: watts must rise from each level to the next")
    return tuple(levels)


def _response(table: Mapping[str, Any], firmware: str, file_name: str) -> ResponseClass:
    given = _table(table, "response", file_name)
    if set(given) - {_PATIENCE_KEY} != set(_RESPONSE_KEYS):
        raise ModelFileError(
            f"{file_name}: response: expected exactly {', '.join(_RESPONSE_KEYS)}, and {_PATIENCE_KEY} where "
            "a boot may take far longer than most"
        )
    numbers = {key: _positive(value, f"response.{key}", file_name) for key, value in given.items()}
    return ResponseClass(name=firmware, sleep_power_w=int(numbers.pop("sleep_power_w")), **numbers)


def _estimate(table: Mapping[str, Any], reports_power: bool, file_name: str) -> float | None:
    """Required for a model that reports no watts, and senseless for any other."""
    if reports_power:
        if "estimate" in table:
            raise ModelFileError(f"{file_name}: [estimate] is for models with reports_power = false")
        return None
    given = _table(table, "estimate", file_name)
    return _positive(given.get("error_ratio"), "estimate.error_ratio", file_name)


def _positive(value: object, key: str, file_name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
        raise ModelFileError(f"{file_name}: {key}: {value!r} is not a positive number")
    return float(value)


def _flag(table: Mapping[str, Any], key: str, file_name: str) -> bool:
    """An optional true or false; true when it is not given."""
    value = table.get(key, True)
    if not isinstance(value, bool):
        raise ModelFileError(f"{file_name}: {key}: expected true or false, got {value!r}")
    return value


def _text(table: Mapping[str, Any], key: str, file_name: str) -> str:
    value = table.get(key)
    if not isinstance(value, str) or not value:
        raise ModelFileError(f"{file_name}: {key}: expected a text, got {value!r}")
    return value


def _table(table: Mapping[str, Any], key: str, file_name: str) -> Mapping[str, Any]:
    value = table.get(key)
    if not isinstance(value, dict):
        raise ModelFileError(f"{file_name}: [{key}] is missing")
    return value
