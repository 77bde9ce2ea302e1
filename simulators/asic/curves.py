"""The shapes power follows from one level to another, as fractions of the way.

`progress` is the time since the curve began over its time to 90 % of the way, so every curve passes 0.9 at 1.0.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

EXPONENTIAL_ENDS: Final = 3.0
"""Progress at which an exponential approach is at 99.9 %: the rest is one last step."""
BOOT_ENDS: Final = 2.0
"""Progress at which a boot has arrived and its overshoot has decayed to nothing."""

_LN_10: Final = float(np.log(10.0))
_SMOOTHSTEP_AT_90: Final = 0.8041998943  # u where 3u^2 - 2u^3 = 0.9
_OVERSHOOT_CENTRE: Final = 1.05
_OVERSHOOT_WIDTH: Final = 0.15


def exponential_fraction(progress: NDArray[np.float64]) -> NDArray[np.float64]:
    """First-order approach: quick at first, never quite there."""
    return 1.0 - np.exp(-_LN_10 * progress)


def boot_fraction(progress: NDArray[np.float64], overshoot: NDArray[np.float64]) -> NDArray[np.float64]:
    """A boot: slow start, steep middle, level end, and a bump of height `overshoot` as the last boards come up."""
    u = _SMOOTHSTEP_AT_90 * progress
    ramp = np.clip(u, 0.0, 1.0)
    bump = overshoot * np.exp(-(((u - _OVERSHOOT_CENTRE) / _OVERSHOOT_WIDTH) ** 2))
    return ramp * ramp * (3.0 - 2.0 * ramp) + bump
