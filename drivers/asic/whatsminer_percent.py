"""Which percentage a WhatsMiner runs at. The firmware never tells: it is remembered, and compared with the watts.

`set_power_pct` is temporary. A mining process that starts anew runs at 100 percent, so a sleeping miner wakes there,
and what we set before a restart is gone. A percentage set by somebody else, or by us in an earlier life of the daemon,
is found by the watts, once they have been steady; miners differ by some percent from their nameplate and from each
other, so that only a large difference is taken for a percentage, and nothing above 88 percent for anything but 100.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from controller.domain.fleet import Level
from drivers.asic.whatsminer_reading import Figures

FULL: Final = "100"
"""What a mining process starts with, and what an owner has who set nothing."""

_STEADY_S: Final = 30.0
_STEADY_RATIO: Final = 0.03
_FULL_FROM: Final = 0.88
_DOUBT_FROM: Final = 0.15
"""Watts that differ from the remembered percentage by more than this share of full power belong to another one."""
_LIMIT_RATIOS: Final = (0.5, 1.1)
"""A power limit outside these shares of the nameplate (a stopped miner says 0) is none to reckon with."""


class Percent:
    """The running percentage of one miner, as the name of a rung. All times are loop seconds, given by the caller."""

    def __init__(self, levels: Sequence[Level]) -> None:
        """levels: rungs named by their percentage, lowest first."""
        self._levels = levels
        self._full_w = next((level.power_w for level in levels if level.name == FULL), levels[-1].power_w)
        self._name: str | None = None
        self._set_at: float | None = None
        self._steady: tuple[float, float] | None = None
        self._last_share: float | None = None

    def set(self, name: str | None, at: float) -> None:
        """A percentage was set at `at`; None: one may have been, and nobody knows whether."""
        self._name, self._set_at = name, at
        self._steady = None

    def best_guess(self) -> str | None:
        """What the last watts of a miner awake make likely, where nothing better is known; None before any."""
        return self._name or self._nearest(self._last_share)

    def asleep(self, at: float) -> str:
        """The miner sleeps: it will wake at full power."""
        self.set(FULL, at)
        return FULL

    def hashing(self, figures: Figures, read_at: float) -> str | None:
        """The percentage after a read that began at `read_at` and showed a miner awake; None while nobody can tell."""
        if self._restarted(figures, read_at):
            self.set(FULL, read_at)
        by_watts = self._by_watts(figures, read_at)
        if self._name is None or (by_watts is not None and self._contradicts(by_watts)):
            self._name = self._nearest(by_watts)
            self._set_at = self._set_at if self._name is None else read_at
        return self._name

    def _restarted(self, figures: Figures, read_at: float) -> bool:
        """Whether the mining process is surely younger than what we set."""
        if self._set_at is None or figures.elapsed_s is None:
            return False
        return read_at - figures.elapsed_s - 1.0 > self._set_at

    def _by_watts(self, figures: Figures, read_at: float) -> float | None:
        """Share of full power that is drawn, None unless it has been steady, or is all there is."""
        power_w = figures.power_w
        if power_w is None or figures.mode.casefold() not in ("", "normal"):
            # In low and high mode full power is another one, which nobody tells: assume what is usual.
            return 1.0 if self._name is None else None
        low, high = (ratio * self._full_w for ratio in _LIMIT_RATIOS)
        limit_w = figures.limit_w
        share = power_w / (limit_w if limit_w is not None and low <= limit_w <= high else self._full_w)
        self._last_share = share
        if self._steady is None or abs(power_w - self._steady[0]) > _STEADY_RATIO * self._steady[0]:
            self._steady = (power_w, read_at)
        steady = read_at - self._steady[1] >= _STEADY_S
        return share if steady or (self._set_at is None and share >= _FULL_FROM) else None

    def _contradicts(self, share: float) -> bool:
        assert self._name is not None  # noqa: S101  # asked only beside a remembered one
        return abs(min(share, 1.0) - int(self._name) / 100.0) > _DOUBT_FROM

    def _nearest(self, share: float | None) -> str | None:
        if share is None:
            return None
        if share >= _FULL_FROM:
            return FULL
        return min(self._levels, key=lambda level: abs(int(level.name) / 100.0 - share)).name
