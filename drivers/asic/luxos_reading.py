"""What one `power+summary+config` answer of LuxOS proves about a miner. Pure: a document in, an observation out.

The mode a miner claims says what it was told; its supply and its watts say what it does. A miner that claims to sleep
and draws full power is hashing, one that claims to be awake with its supply off is asleep: claims alone prove nothing,
and measurements that contradict each other prove nothing either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from controller.domain.fleet import Condition, Level
from drivers.asic.numbers import number
from drivers.asic.rpc import LONGEST_WORDS, Reply, ReplyKind, words_of

READ_COMMAND = "power+summary+config"
"""Everything a read needs, in one round trip."""

GH_PER_TH = 1000.0


@dataclass(frozen=True, slots=True)
class Observation:
    """One read without its times. `atm_on`: whether the firmware's own thermal control may move the profile."""

    condition: Condition
    power_w: float | None = None
    hashrate_th: float | None = None
    profile: str | None = None
    atm_on: bool | None = None
    detail: str = ""


def observe(reply: Reply, levels: tuple[Level, ...]) -> Observation:
    """Judge one answer against the miner's ladder (lowest power first, never empty)."""
    if reply.kind in (ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER):
        return Observation(Condition.UNREACHABLE, detail=reply.detail)
    if not reply.ok:
        return Observation(Condition.UNKNOWN, detail=reply.detail)
    parts = {name: reply.part(name) for name in READ_COMMAND.split("+")}
    failed = "; ".join(f"{name}: {part.detail}" for name, part in parts.items() if not part.ok)
    config = parts["config"].first("CONFIG") if parts["config"].ok else {}
    power_w = number(parts["power"].first("POWER").get("Watts")) if parts["power"].ok else None
    rate_gh = number(parts["summary"].first("SUMMARY").get("GHS 5s")) if parts["summary"].ok else None
    hashrate_th = None if rate_gh is None else rate_gh / GH_PER_TH
    condition, why = _condition(config, power_w, hashrate_th, levels[0])
    atm = config.get("IsAtmEnabled")
    return Observation(
        condition=condition,
        power_w=power_w,
        hashrate_th=hashrate_th,
        profile=profile_of(config),
        atm_on=atm if isinstance(atm, bool) else None,
        detail="; ".join(text for text in (failed, why) if text),
    )


def profile_of(config: Mapping[str, Any]) -> str | None:
    """Name of the running profile, None when the configuration does not tell, or tells what is no name."""
    name = config.get("Profile")
    return name if isinstance(name, str) and 0 < len(name) <= LONGEST_WORDS and name.isprintable() else None


def claims_sleep(config: Mapping[str, Any]) -> bool | None:
    """Whether the miner says it is curtailed; None when it does not say, or says something we do not know."""
    mode = config.get("CurtailMode")
    if not isinstance(mode, str):
        return None
    return {"sleep": True, "none": False}.get(mode.casefold())


def _condition(
    config: Mapping[str, Any], power_w: float | None, hashrate_th: float | None, lowest: Level
) -> tuple[Condition, str]:
    """Condition and, where the evidence is thin or claims differ from it, why."""
    claim = claims_sleep(config)
    supply_on = config.get("IsPowerSupplyOn")
    if claim is None:
        return Condition.UNKNOWN, f"curtail mode {words_of(repr(config.get('CurtailMode')))} says nothing"
    if not isinstance(supply_on, bool):
        return Condition.UNKNOWN, "state of the power supply not reported"
    # Half of the lowest rung parts a sleeping miner (tens of watts) from one that hashes at whatever profile.
    draws = None if power_w is None else power_w > lowest.power_w / 2
    hashes = hashrate_th is not None and hashrate_th > lowest.hashrate_th / 10
    if not supply_on:
        if draws is None:
            return Condition.UNKNOWN, "supply off, but no watts reported to confirm it"
        if draws:
            return Condition.UNKNOWN, f"supply off, but {power_w:.0f} W reported"
        if power_w == 0 and hashes:  # a sleeping miner draws something: this supply does not tell
            return Condition.UNKNOWN, "supply off at 0 W, but a hash rate reported"
        return Condition.ASLEEP, "" if claim else "says it is awake, but its supply is off"
    if draws or hashes:
        return Condition.HASHING, "says it sleeps, but it draws power" if claim else ""
    if claim:
        return Condition.UNKNOWN, "says it sleeps, but its supply is on"
    if draws is None:
        return Condition.UNKNOWN, "supply on, but neither watts nor hash rate reported"
    return Condition.HASHING, f"awake at {power_w:.0f} W, not hashing yet"
