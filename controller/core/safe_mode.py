"""Safe mode's few decisions, pure: down to the fallback by a ramp, worst miners first, nobody woken.

It stands in for the whole engine when that may be what kills the process, so it shares nothing with it: no meters, no
orders, no ledger. A miner counts as drawing until a read has shown that it sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.domain.fleet import BoolArray, Fleet, FloatArray, IntArray

BELIEVED_S = 30.0  # a sleep that was asked for counts as done for this long; by then a read has shown it or not
ASKED_PER_TICK_SHARE = 0.05  # of the fleet, at least one: a crowd is not needed to follow a ramp


@dataclass(slots=True)
class Belief:
    """What safe mode knows of each miner; all arrays (n,).

    draw_w: drawn while it hashes, from its last read, else from the checkpoint, else its cap level. asleep: a read has
    shown it. movable: its prior mode is on record and it is ours to move. told_at: seconds of the last sleep asked
    for, -inf never. attempts: how often.
    """

    draw_w: FloatArray
    asleep: BoolArray
    movable: BoolArray
    told_at: FloatArray
    attempts: IntArray

    def power_w(self, facts: Fleet, auxiliary_w: float, now: float) -> float:
        """The site's power as far as it is known, watts at the site meter."""
        sleeping = self.asleep | (now - self.told_at < BELIEVED_S)
        return auxiliary_w + float(np.where(sleeping, facts.sleep_power_w, self.draw_w).sum())


def target_w(from_w: float, fallback_w: float, ramp_w_per_min: float, since_s: float) -> float:
    """Where the ramp from `from_w` stands after `since_s` seconds (negative: before it begins)."""
    return max(min(from_w, fallback_w), from_w - ramp_w_per_min * max(since_s, 0.0) / 60.0)


def to_sleep(facts: Fleet, belief: Belief, excess_w: float, now: float) -> list[int]:
    """Who is told to sleep now, so that about `excess_w` goes; those asked least often first, then the worst J/TH."""
    due = belief.movable & ~belief.asleep & (now - belief.told_at >= BELIEVED_S)
    candidates = np.flatnonzero(due)
    order = candidates[np.lexsort((-facts.joule_per_th[candidates], belief.attempts[candidates]))]
    most = max(1, round(ASKED_PER_TICK_SHARE * len(facts)))
    chosen: list[int] = []
    for miner in order[:most].tolist():
        if excess_w <= 0.0:
            break
        chosen.append(miner)
        excess_w -= float(belief.draw_w[miner] - facts.sleep_power_w[miner])
    return chosen
