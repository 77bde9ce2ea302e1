"""What becomes of miners that boot in a crowd: a supply carries so many starts at once, and of more only a share.

The field has two figures, both of old machines on one container's supply: of 171 started at once 57 % came up, and
waves of 80 came up. The law here, `carries` over the number that start together, is the simplest that says both. The
rest of it is an assumption: that it holds beyond 171, that it is the same for every model, and that nothing but
starting together plays a part.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

FIELD_TOGETHER: Final = 171
FIELD_SHARE: Final = 0.57


@dataclass(frozen=True, slots=True)
class BootCrowd:
    """How many miners of one feeder may be starting at once so that all of them come up."""

    carries: int = round(FIELD_SHARE * FIELD_TOGETHER)

    def __post_init__(self) -> None:
        if self.carries < 1:
            raise ValueError(f"a supply carries at least one start, got {self.carries}")

    def share(self, together: NDArray[np.int64]) -> NDArray[np.float64]:
        """Share of them that comes up, where `together` start at once (themselves included)."""
        return np.minimum(self.carries / np.maximum(together, 1), 1.0)
