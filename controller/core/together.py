"""How many may boot at once: quick ones and slow ones end far apart, and rise together all the same.

Who boots cannot be trimmed. So what rises within any 15 s must fit under that ramp and what others can be trimmed by.
Among many boots the quick and the slow even out; of a few nobody knows which 15 s will see them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from controller.core import estimator
from controller.core.drawn import STEP_WINDOW_S
from controller.core.roster import Roster
from controller.domain.fleet import FloatArray
from controller.domain.policy import RampPolicy

SPREAD = 2.0
"""So many standard deviations of what boots bring must fit as well where they are crowded."""


@dataclass(slots=True)
class Together:
    """What boots will bring within each of a few 15 s, those that end when a boot does, watts: `brings_w`, (m,), until
    `ends_at`, (m,) loop seconds, with the variance `spread_w2`, (m,). room_w: so much they may."""

    roster: Roster
    room_w: float
    ends_at: FloatArray
    brings_w: FloatArray
    spread_w2: FloatArray

    @classmethod
    def of(cls, roster: Roster, pace: RampPolicy, boot_s: FloatArray) -> Together:
        """Beside those that boot already, for candidates of these boot times, (k,) seconds."""
        facts, fleet, now = roster.facts, roster.state.fleet, roster.now
        gives_way_w = (
            (roster.soon_w - roster.floor_w)[roster.trimmable].clip(min=0.0).sum() if roster.policy.trim else 0.0
        )
        room_w = pace.up_w_per_15s + float(gives_way_w)
        booting = ((fleet.verb == estimator.WAKE) & fleet.want_hashing).nonzero()[0]
        most_w = facts.level_power_w.max(initial=0.0) * roster.policy.wakes_per_cycle_max
        if -estimator.way_left_w(fleet, booting, now) + most_w <= room_w:  # all of them at once would
            return cls(roster, math.inf, np.empty(0), np.empty(0), np.empty(0))
        sent_at, dead_s, to_90_s = fleet.sent_at[booting], fleet.dead_s[booting], fleet.to_90_s[booting]
        ends_at = np.unique(np.round(np.concatenate((sent_at + dead_s + to_90_s, now + boot_s))))
        way_w = (fleet.to_w - fleet.from_w)[booting]
        share = _share(ends_at[:, None], sent_at + dead_s, to_90_s)
        return cls(roster, room_w, ends_at, (way_w * share).sum(axis=1), _spread_w2(way_w, share).sum(axis=1))

    def fits(self, miner: int, boots_w: float, crowded: bool) -> bool:
        """Whether this one may be woken as well; one alone always may, however large. crowded: others will be half up
        within 15 s of it, and all of them are more than the ramp."""
        share = self._share(miner)
        most_w = self.brings_w + boots_w * share
        if crowded:
            most_w += SPREAD * np.sqrt(self.spread_w2 + _spread_w2(boots_w, share))
        return not bool(((share > 0.0) & (self.brings_w > 0.0) & (most_w > self.room_w)).any())

    def take(self, miner: int, boots_w: float) -> None:
        """It is woken."""
        share = self._share(miner)
        self.brings_w += boots_w * share
        self.spread_w2 += _spread_w2(boots_w, share)

    def _share(self, miner: int) -> FloatArray:
        dead_s, to_90_s = float(self.roster.facts.wake_dead_s[miner]), float(self.roster.facts.wake_90_s[miner])
        return _share(self.ends_at, self.roster.now + dead_s, to_90_s)


def _spread_w2(way_w: FloatArray | float, share: FloatArray) -> FloatArray:
    """The variance of what one brings whose way is `way_w` if any 15 s may see `share` of it, or all, or nothing."""
    spread: FloatArray = way_w * way_w * share * (1.0 - share)
    return spread


def _share(ends_at: FloatArray, rises_at: FloatArray | float, to_90_s: FloatArray | float) -> FloatArray:
    """What share of its way a boot makes in the 15 s before each of `ends_at`, straight up as core/estimator has it."""
    until, since = (np.clip(0.9 * (at - rises_at) / to_90_s, 0.0, 1.0) for at in (ends_at, ends_at - STEP_WINDOW_S))
    share: FloatArray = until - since
    return share
