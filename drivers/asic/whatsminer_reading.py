"""What the answers of a WhatsMiner prove about it. Pure: documents in, a judgement out.

`summary` tells watts and hash rate, and comes from the mining process; `status` tells whether that process is off, and
comes from the control board. Neither alone proves sleep: the process that is off leaves its last figures standing for
some seconds, and a board may say "off" beside boards that hash. So a miner is asleep when `status` says so and there
is no hash rate and the watts are low, or when its mining process is off and cannot be asked. It hashes when its
figures say so. What contradicts itself proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controller.domain.fleet import Condition, Level
from drivers.asic.identity import Told, told_by_version
from drivers.asic.numbers import number
from drivers.asic.rpc import Reply, ReplyKind

STALE_S: Final = 10.0
"""After a power-off of ours `summary` may repeat its last figures for some seconds; for so long they prove nothing."""

_RATE_NAMES: Final = ("HS RT", "MHS 5s", "MHS 1m")
"""The quickest figure first. The mean since the start is left out: it stays high long after the last hash."""

_MH_PER_TH: Final = 1e6

_CODE_NOT_EXECUTED: Final = 132
"""Known and not carried out, as in `btminer process is down`. Any other refusal (of the command, of the caller) says
nothing about mining."""

_V3_SINCE: Final = 20_241_100
"""Firmware of this date or later is made for API V3 (pyasic's rule). What it still takes of V2 it may not keep: owners
report that a miner put to sleep by V2 starts again by itself."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What `summary` tells; None, and "" for the mode, for what it does not tell or tells in nonsense.

    elapsed_s: age of the mining process; uptime_s: age of the system under it; limit_w: what 100 percent stands for.
    """

    power_w: float | None = None
    hashrate_th: float | None = None
    elapsed_s: float | None = None
    uptime_s: float | None = None
    limit_w: float | None = None
    mode: str = ""


def figures_of(summary: Reply) -> Figures:
    """The numbers of a `summary`; nothing of one that is no success."""
    told = summary.first("SUMMARY") if summary.ok else {}
    if not told:
        return Figures()
    rates = (number(told.get(name)) for name in _RATE_NAMES)
    rate_mh = next((rate for rate in rates if rate is not None), None)
    mode = told.get("Power Mode")
    return Figures(
        power_w=number(told.get("Power")),
        hashrate_th=None if rate_mh is None else rate_mh / _MH_PER_TH,
        elapsed_s=number(told.get("Elapsed")),
        uptime_s=number(told.get("Uptime")),
        limit_w=number(told.get("Power Limit")),
        mode=mode if isinstance(mode, str) else "",
    )


def draws(figures: Figures, lowest: Level) -> bool | None:
    """Whether the watts are those of a miner that works: more than half of the lowest rung. None: not told."""
    return None if figures.power_w is None else figures.power_w > lowest.power_w / 2


def hashes(figures: Figures, lowest: Level) -> bool:
    """Whether there is a hash rate worth the name."""
    return figures.hashrate_th is not None and figures.hashrate_th > lowest.hashrate_th / 10


def off_claim(status: Reply) -> bool | None:
    """Whether `status` says that mining is off; None when it does not say. Older firmware calls it `btmineroff`."""
    message = status.body.get("Msg") if status.ok else None
    if not isinstance(message, Mapping):
        return None
    claim = message.get("mineroff", message.get("btmineroff"))
    if isinstance(claim, str):
        return {"true": True, "false": False}.get(claim.casefold())
    return claim if isinstance(claim, bool) else None


def condition_of(
    summary: Reply, figures: Figures, status: Reply, lowest: Level, *, off_lately: bool
) -> tuple[Condition, str]:
    """Condition, and why where the evidence is thin or claims differ from it.

    off_lately: a power-off of ours left less than STALE_S ago.
    """
    if summary.kind in (ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER):
        return Condition.UNREACHABLE, summary.detail
    claim = off_claim(status)
    if not summary.ok:
        if summary.kind is ReplyKind.REJECTED and summary.code == _CODE_NOT_EXECUTED and claim and not off_lately:
            return Condition.ASLEEP, f"mining is off, and its process says nothing but {summary.detail!r}"
        return Condition.UNKNOWN, f"summary: {summary.detail}"
    drawing, hashing = draws(figures, lowest), hashes(figures, lowest)
    if claim is None:
        if hashing and drawing and not off_lately:
            return Condition.HASHING, ""
        return Condition.UNKNOWN, f"status: {status.detail or 'says nothing about mining'}"
    if claim:
        return _off(figures, drawing, hashing, off_lately)
    if hashing or drawing:
        return Condition.HASHING, ""
    if drawing is None:
        return Condition.UNKNOWN, "mining is not off, but neither watts nor hash rate reported"
    return Condition.HASHING, f"awake at {figures.power_w:.0f} W, not hashing yet"


def _off(figures: Figures, drawing: bool | None, hashing: bool, off_lately: bool) -> tuple[Condition, str]:
    """A miner that says it is off, beside its own figures."""
    shown = [f"{figures.power_w:.0f} W"] if drawing and figures.power_w is not None else []
    shown += [f"{figures.hashrate_th:.0f} TH/s"] if hashing else []
    seen = f"says it is off, but shows {' and '.join(shown)}"
    if drawing or (hashing and drawing is None):
        return (Condition.UNKNOWN, f"{seen}, which may be old") if off_lately else (Condition.HASHING, seen)
    if hashing:
        return Condition.UNKNOWN, f"{seen} at {figures.power_w:.0f} W"
    if drawing is None and figures.hashrate_th is None:
        return Condition.UNKNOWN, "says it is off, but reports neither watts nor hash rate"
    return Condition.ASLEEP, ""


def version_told(reply: Reply) -> Told:
    """Who answers `get_version`; firmware for API V3 counts as V3 even where it gives its V2 number."""
    told = told_by_version(reply.body)
    message = reply.body.get("Msg")
    firmware = message.get("fw_ver") if isinstance(message, Mapping) else None
    date = re.match(r"'?(\d{8})", firmware) if isinstance(firmware, str) else None
    if told.firmware and date and int(date[1]) > _V3_SINCE:
        return Told("WhatsMiner V3", told.model, told.words)
    return told
