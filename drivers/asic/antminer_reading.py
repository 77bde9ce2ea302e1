"""What a stock Antminer's answers prove about it, and what it probably draws. Pure.

It tells no watts and nothing of its power supply. What it tells is a hash rate, which is measured, and a work mode,
which is what somebody configured. The rate decides:

- a rate is there: it hashes, whatever is configured;
- no rate, and sleep is configured (mode 1): asleep. Also when port 4028 has been closed for a minute and the web's own
  scripts tell no rate either: no mining process is there to run the boards. One that hangs is there;
- no rate, and another mode is configured: told to hash. It boots, or its pools are gone, or it is broken; it counts as
  hashing, so that a shed reaches it. One that *we* woke and that shows no rate when a boot must long have done so was
  asleep before and has shown nothing else since: asleep, and the core sees that it never woke;
- a rate that nobody tells is not a rate of zero: until no mining process has been there for a minute, such a miner
  proves no sleep and has no watts.

The watts are an estimate from the model's ladder, the mode and the rate, with what it may be off by. That a miner which
shows no rate draws at most half of its rung is an assumption; so are its watts asleep, give or take as much again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from controller.domain.fleet import Condition, Level
from drivers.asic import numbers
from drivers.asic.antminer_conf import LOW, NORMAL, SLEEP
from drivers.asic.profiles import ModelFacts

MUTE_ASLEEP_S: Final = 60.0
"""A mining process that starts answers within a few seconds (assumed); a minute of silence is no start."""

_GH_PER_TH: Final = 1000.0
_NO_RATE_SHARE: Final = 0.01
"""Of the lowest rung's rate: less is what is left of a mean, no hashing."""
_BOOT_SHARE: Final = 0.25
"""Half of what a miner without a rate may draw above its sleep watts, as a share of its rung."""
_BOOT_PATIENCE: Final = 3.0
"""Dead times of the class within which a miner shows its first hash rate, unless the model file has more patience."""
_RATE_MAX: Final = 1.2  # of a rung: more is another rung's rate, or a fault
_LEVEL_NAMES: Final = {NORMAL: "normal", LOW: "low"}


@dataclass(frozen=True, slots=True)
class Seen:
    """What one read brought together.

    rate_th: terahashes per second, None when not told. rate_before_th: of the read before. mode: configured work mode,
    None when not told. awake_mode: the mode it was in before it slept, None when unknown. woken_s: seconds since we
    woke it, None once it has shown a rate since, or when we did not. mute_s: seconds for which no mining process has
    been there, None when one answered or hangs. words: what failed.
    """

    rate_th: float | None = None
    rate_before_th: float | None = None
    mode: str | None = None
    awake_mode: str | None = None
    woken_s: float | None = None
    mute_s: float | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Judgement:
    """One read without its times; watts are None when nothing can be said."""

    condition: Condition
    level: int | None = None
    power_w: float | None = None
    power_error_w: float | None = None
    detail: str = ""


class Judge:
    """Judges reads of one model."""

    def __init__(self, facts: ModelFacts) -> None:
        self._levels = facts.envelope.levels
        self._error_ratio = facts.estimate_error_ratio or 0.0
        self._sleep_w = float(facts.envelope.response.sleep_power_w)
        response = facts.envelope.response
        self._boots_within_s = max(_BOOT_PATIENCE * response.wake_dead_s, response.wake_patience_s)
        self._nameplate = self._levels[facts.nameplate_level]
        names = [level.name for level in self._levels]
        self._rungs = {mode: names.index(name) for mode, name in _LEVEL_NAMES.items() if name in names}
        self._least_rate_th = _NO_RATE_SHARE * self._levels[0].hashrate_th

    def hashes(self, rate_th: float | None) -> bool:
        """Whether this much is hashing and no rest of a mean."""
        return rate_th is not None and rate_th > self._least_rate_th

    def judge(self, seen: Seen) -> Judgement:
        """See the module."""
        if self.hashes(seen.rate_th):
            return self._hashing(seen)
        if seen.mode is None:
            return Judgement(Condition.UNKNOWN, detail=_join("no hash rate, and no mode told", seen.words))
        if seen.rate_th is None and seen.mute_s is None and seen.mode == SLEEP:
            return Judgement(Condition.UNKNOWN, detail=_join("hash rate not told", seen.words))
        return self._configured_to_sleep(seen) if seen.mode == SLEEP else self._told_to_hash(seen)

    def _hashing(self, seen: Seen) -> Judgement:
        mode = seen.awake_mode if seen.mode in (None, SLEEP) else seen.mode
        rung = self._rungs.get(mode or "")
        level = self._nameplate if rung is None else self._levels[rung]
        assert seen.rate_th is not None  # noqa: S101  # it hashes
        power_w = self._draw_w(level, seen.rate_th)
        before_w = power_w if seen.rate_before_th is None else self._draw_w(level, seen.rate_before_th)
        # A mode that is not on the ladder says nothing of its joules per terahash: twice as wide.
        error_w = self._error_ratio * power_w * (2.0 if rung is None else 1.0) + abs(power_w - before_w)
        lies = "configured to sleep, but it hashes" if seen.mode == SLEEP else ""
        return Judgement(Condition.HASHING, rung, power_w, error_w, _join(lies, seen.words))

    def _configured_to_sleep(self, seen: Seen) -> Judgement:
        rung = self._rungs.get(seen.awake_mode or "")
        words = seen.words
        if seen.rate_th is None:
            assert seen.mute_s is not None  # noqa: S101  # judged before
            if seen.mute_s < MUTE_ASLEEP_S:
                why = f"configured to sleep, and no mining process for {seen.mute_s:.0f} s so far"
                return Judgement(Condition.UNKNOWN, detail=_join(why, words))
            words = _join(f"no mining process for {seen.mute_s:.0f} s", words)
        return Judgement(Condition.ASLEEP, rung, self._sleep_w, self._sleep_w, words)

    def _told_to_hash(self, seen: Seen) -> Judgement:
        rung = self._rungs.get(seen.mode or "")
        level = self._nameplate if rung is None else self._levels[rung]
        if seen.rate_th is None and (seen.mute_s is None or seen.mute_s < MUTE_ASLEEP_S):
            gone = "no hash rate told" if seen.mute_s is None else f"no mining process for {seen.mute_s:.0f} s so far"
            why = f"told to hash (mode {seen.mode}), and {gone}"
            return Judgement(Condition.HASHING, rung, detail=_join(why, seen.words))
        boot_w = _BOOT_SHARE * (level.power_w - self._sleep_w)
        if seen.woken_s is not None and seen.woken_s >= self._boots_within_s:
            why = f"woken {seen.woken_s:.0f} s ago and no hash rate since: still asleep"
            return Judgement(Condition.ASLEEP, rung, self._sleep_w + boot_w, boot_w, _join(why, seen.words))
        why = f"told to hash (mode {seen.mode}), no hash rate"
        return Judgement(Condition.HASHING, rung, self._sleep_w + boot_w, boot_w, _join(why, seen.words))

    def _draw_w(self, level: Level, rate_th: float) -> float:
        share = min(rate_th / level.hashrate_th, _RATE_MAX)
        return self._sleep_w + (level.power_w - self._sleep_w) * share


def rate_in_summary(row: Mapping[str, Any]) -> float | None:
    """Terahashes per second in a `SUMMARY` record of port 4028 (`GHS 5s`) or of `summary.cgi` (`rate_5s`), None when it
    holds none. Both count gigahashes, some versions as text."""
    rate_gh = number(row.get("GHS 5s", row.get("rate_5s")))
    return None if rate_gh is None else rate_gh / _GH_PER_TH


def number(value: object) -> float | None:
    """The same as of others, also as text."""
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            return None
    return numbers.number(value)


def _join(*texts: str) -> str:
    return "; ".join(text for text in texts if text)
