"""Response spans of a whole fleet, as arrays: every miner has those of its own model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from simulators.asic.response import ResponseTimes, Span


@dataclass(frozen=True, slots=True)
class Spans:
    """One span of seconds for every miner."""

    low_s: NDArray[np.float64]
    width_s: NDArray[np.float64]

    @classmethod
    def of(cls, times: Sequence[ResponseTimes], pick: Callable[[ResponseTimes], Span]) -> Self:
        """The span that `pick` takes from each miner's response times."""
        spans = [pick(each) for each in times]
        low_s = np.array([span.low_s for span in spans], dtype=np.float64)
        return cls(low_s, np.array([span.high_s for span in spans], dtype=np.float64) - low_s)

    def at(self, indices: NDArray[np.int64], place: NDArray[np.float64]) -> NDArray[np.float64]:
        """Seconds at a place within the span of each of `indices`: 0 its low end, 1 its high one."""
        seconds: NDArray[np.float64] = self.low_s[indices] + self.width_s[indices] * place
        return seconds
