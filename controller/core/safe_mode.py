"""Safe mode's few decisions, pure: down to the fallback by a ramp, worst miners first, nobody woken.

It stands in for the whole engine when that may be what kills the process, so it shares nothing with it: no meters, no
orders, no ledger. A miner counts as drawing until a read has shown that it sleeps.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from controller.domain.fleet import BoolArray, Fleet, FloatArray, IntArray

BELIEVED_S = 30.0  # a sleep that was asked for counts as done for this long; by then a read has shown it or not
ASK_AGAIN_MAX_S = 3600.0  # safe mode may last a night, and a sleep writes to the flash of some firmware
URGENT_ATTEMPTS = (1, 2)  # the second and the third time no budget of restarts withholds it
ASKED_PER_TICK_SHARE = 0.05  # of the fleet, at least one: a crowd is not needed to follow a ramp
PLAUSIBLE = 2.0  # times a miner's highest level: whoever tells more tells nothing


@dataclass(slots=True)
class Belief:
    """What safe mode knows of each miner; all arrays (n,).

    draw_w: drawn while it hashes, from its last read, else from the checkpoint, else its cap level. asleep: a read has
    shown it. heard: its last read told something. movable: its prior mode is on record and it is ours to move.
    stranger: it is not what the inventory says. told_at: seconds of the last sleep asked for, -inf never. attempts: how
    often.
    """

    draw_w: FloatArray
    asleep: BoolArray
    heard: BoolArray
    movable: BoolArray
    stranger: BoolArray
    told_at: FloatArray
    attempts: IntArray

    def take_power(self, facts: Fleet, miner: int, power_w: float | None) -> None:
        """Watts a hashing miner tells of itself; what cannot be true leaves what was known."""
        most_w = PLAUSIBLE * float(facts.level_power_w[miner].max())
        if power_w is not None and 0.0 <= power_w <= most_w:
            self.draw_w[miner] = max(power_w, float(facts.sleep_power_w[miner]))

    def power_w(self, facts: Fleet, auxiliary_w: float, now: float) -> float:
        """The site's power as far as it is known, watts at the site meter."""
        sleeping = self.asleep | (now - self.told_at < BELIEVED_S)
        return auxiliary_w + float(np.where(sleeping, facts.sleep_power_w, self.draw_w).sum())


@dataclass(slots=True)
class Ramp:
    """The way down: from `from_w`, which stands until `began`, at so many watts a minute to the fallback."""

    from_w: float
    began: float
    fallback_w: float
    w_per_min: float

    def aim_w(self, now: float) -> float:
        return max(min(self.from_w, self.fallback_w), self.from_w - self.w_per_min * max(now - self.began, 0.0) / 60.0)

    def follow(self, power_w: float, largest_w: float, now: float) -> float:
        """Where it stands now. When the site turns out to draw less than that by more than one miner's worth, the way
        goes on from there: a first reading that was wrong must not hold the load up."""
        if power_w < self.aim_w(now) - largest_w:
            self.from_w, self.began = power_w, max(self.began, now)
        return self.aim_w(now)


def to_sleep(facts: Fleet, belief: Belief, excess_w: float, now: float) -> list[int]:
    """Who is told to sleep now, so that about `excess_w` goes: who answers before who does not, those asked least often
    first, then the worst J/TH."""
    again_s = np.minimum(BELIEVED_S * 2.0 ** np.maximum(belief.attempts - 1, 0), ASK_AGAIN_MAX_S)
    due = belief.movable & ~belief.stranger & ~belief.asleep & (now - belief.told_at >= again_s)
    candidates = due.nonzero()[0]
    keys = (-facts.joule_per_th[candidates], belief.attempts[candidates], ~belief.heard[candidates])
    most = max(1, round(ASKED_PER_TICK_SHARE * len(facts)))
    chosen: list[int] = []
    for miner in candidates[np.lexsort(keys)][:most].tolist():
        if excess_w <= 0.0:
            break
        chosen.append(miner)
        excess_w -= float(belief.draw_w[miner] - facts.sleep_power_w[miner])
    return chosen
