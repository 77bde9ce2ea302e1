"""What the oracle is asked: classes of miners, and the site around them."""

import itertools
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class OracleClass:
    """Miners that behave alike. Powers in W per miner, at the miner.

    Attributes:
        name: for the report.
        count: miners that obey. Never-wakers, liars and refusers are not among them: their power is in `fixed_w` of
            the site.
        hashing_at_start: how many of them hash at t = 0; the others sleep.
        full_w, floor_w, sleep_w: power untrimmed, fully trimmed, asleep.
        trim_s: seconds from full to floor by trim.
        wake_curve: seconds after the wake command against fraction of the way from `sleep_w` to `full_w`; seconds
            rise, the last fraction is 1.
        sleep_curve: the same for the way down, fraction of the fall.
        min_hashing_s, min_asleep_s: dwell. Miners are free of it at the start. Give 0 for `min_hashing_s` where the
            policy waives it on a falling surplus; a boot is finished before a miner sleeps again in any case.
    """

    name: str
    count: int
    hashing_at_start: int
    full_w: float
    floor_w: float
    sleep_w: float
    trim_s: float
    wake_curve: tuple[tuple[float, float], ...]
    sleep_curve: tuple[tuple[float, float], ...]
    min_hashing_s: float
    min_asleep_s: float

    def __post_init__(self) -> None:
        if not 0 <= self.hashing_at_start <= self.count:
            raise ValueError(f"class {self.name}: hashing_at_start must be within 0..{self.count}")
        if not 0 <= self.sleep_w <= self.floor_w <= self.full_w:
            raise ValueError(f"class {self.name}: need 0 <= sleep_w <= floor_w <= full_w")
        if self.trim_s < 0 or self.min_hashing_s < 0 or self.min_asleep_s < 0:
            raise ValueError(f"class {self.name}: times must not be negative")
        for curve in (self.wake_curve, self.sleep_curve):
            if not curve or curve[-1][1] != 1.0 or any(b[0] <= a[0] for a, b in itertools.pairwise(curve)):
                raise ValueError(f"class {self.name}: a curve needs rising seconds and must end at fraction 1")


@dataclass(frozen=True, slots=True)
class RampWindow:
    """The load may rise by at most `rise_w` and fall by at most `fall_w` from t to t + `window_s`; None is no limit."""

    window_s: float
    rise_w: float | None
    fall_w: float | None


@dataclass(frozen=True, slots=True)
class OracleSite:
    """The site around the miners: losses as a fraction of miner power, and what it draws anyway in W at the meter.

    `fixed_w` holds auxiliaries, sleepers that never wake and miners that never sleep (with their losses).
    """

    loss_fraction: float
    fixed_w: float
    ramps: tuple[RampWindow, ...]
