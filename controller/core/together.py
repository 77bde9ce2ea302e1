"""How many may boot at once: quick ones and slow ones end far apart, and rise together all the same.

Who boots cannot be trimmed. So what rises within any 15 s must fit under that ramp and what others can be trimmed by.
Among many boots the quick and the slow even out; of a few nobody knows which 15 s will see them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

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
    `ends_at`, (m,) loop seconds, with the variance `spread_w2`, (m,). room_w: so much they may. shares: what of one
    woken now, (m,), by the dead and 90 % times of its class."""

    roster: Roster
    room_w: float
    ends_at: FloatArray
    brings_w: FloatArray
    spread_w2: FloatArray
    shares: dict[tuple[float, float], FloatArray] = field(default_factory=dict)

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
        # Of thousands most were told in the same cycle and are of one class: each kind is worked out once.
        kinds, kind = np.unique(
            fleet.sent_at[booting] + fleet.dead_s[booting] + 1j * fleet.to_90_s[booting], return_inverse=True
        )
        way_w = (fleet.to_w - fleet.from_w)[booting]
        ends_at = np.unique(np.round(np.concatenate((kinds.real + kinds.imag, now + boot_s))))
        share = _share(ends_at[:, None], kinds.real, kinds.imag)
        brings_w = share @ np.bincount(kind, way_w, len(kinds))
        return cls(roster, room_w, ends_at, brings_w, (share * (1.0 - share)) @ np.bincount(kind, way_w**2, len(kinds)))

    def fits(self, miner: int, boots_w: float, crowded: bool) -> bool:
        """Whether this one may be woken as well; one alone always may, however large. crowded: others will be half up
        within 15 s of it, and all of them are more than the ramp."""
        if math.isinf(self.room_w):
            return True
        share = self._share(miner)
        most_w = self.brings_w + boots_w * share
        if crowded:
            most_w += SPREAD * np.sqrt(self.spread_w2 + boots_w**2 * share * (1.0 - share))
        return not bool(((share > 0.0) & (self.brings_w > 0.0) & (most_w > self.room_w)).any())

    def take(self, miner: int, boots_w: float) -> None:
        """It is woken. Any 15 s may see its share of the way, or all of it, or nothing: that is the variance."""
        if not math.isinf(self.room_w):
            share = self._share(miner)
            self.brings_w += boots_w * share
            self.spread_w2 += boots_w**2 * share * (1.0 - share)

    def _share(self, miner: int) -> FloatArray:
        response = float(self.roster.facts.wake_dead_s[miner]), float(self.roster.facts.wake_90_s[miner])
        if response not in self.shares:
            self.shares[response] = _share(self.ends_at, self.roster.now + response[0], response[1])
        return self.shares[response]


def _share(ends_at: FloatArray, rises_at: FloatArray | float, to_90_s: FloatArray | float) -> FloatArray:
    """What share of its way a boot makes in the 15 s before each of `ends_at`, straight up as core/estimator has it."""
    until, since = (np.clip(0.9 * (at - rises_at) / to_90_s, 0.0, 1.0) for at in (ends_at, ends_at - STEP_WINDOW_S))
    share: FloatArray = until - since
    return share
