"""What each feeder, transformer, container or phase may carry, as trees, and which miners hang below each."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

FEEDER = "feeder"


@dataclass(frozen=True, slots=True)
class Limit:
    """One thing that may carry so much and no more. parent: index of the limit it hangs on, None at a root.

    kind: what it is in the site's own words; nothing is decided by it.
    """

    name: str
    kind: str
    rating_w: int
    parent: int | None = None


@dataclass(frozen=True, slots=True)
class LimitTree:
    """All k limits as arrays, the feeders first and under their own index.

    rating_w: (k + 1,); the last one stands for no limit at all and has endless room: it fills the shorter rows.
    above_feeders: what was laid out here, and feeder_limit: of each feeder its place there, None for none.
    of_miner: (n, d) every limit on a miner's ways to the roots, each once. of_feeder: (f, e) the same of a feeder.
    """

    names: tuple[str, ...]
    kinds: tuple[str, ...]
    rating_w: NDArray[np.float64]
    above_feeders: tuple[Limit, ...]
    feeder_limit: tuple[int | None, ...]
    of_miner: NDArray[np.int64]
    of_feeder: NDArray[np.int64]

    def miners_w(self, watts: NDArray[np.float64]) -> NDArray[np.float64]:
        """What the miners below each limit draw, (k + 1,), of what each draws, (n,)."""
        return self._sums(self.of_miner, watts)

    def feeders_w(self, watts: NDArray[np.float64]) -> NDArray[np.float64]:
        """The same of something on the feeders, (f,)."""
        return self._sums(self.of_feeder, watts)

    def below(self, limit: int) -> NDArray[np.bool_]:
        """(n,) who hangs below it."""
        found: NDArray[np.bool_] = (self.of_miner == limit).any(axis=1)
        return found

    def _sums(self, of: NDArray[np.int64], watts: NDArray[np.float64]) -> NDArray[np.float64]:
        sums = np.bincount(of.ravel(), weights=np.repeat(watts, of.shape[1]), minlength=len(self.rating_w))
        return sums.astype(np.float64, copy=False)  # of nobody at all they would be counts


def build_tree(
    feeder_names: Sequence[str],
    feeder_rating_w: Sequence[int],
    limits: Sequence[Limit],
    feeder_limit: Sequence[int | None],
    miners: Iterable[tuple[int, tuple[int, ...]]],
) -> LimitTree:
    """miners: of each its feeder and the limits it hangs on beside it; feeder_limit: the limit each feeder hangs on.

    Indices into `limits`. Trusted here: configuration has refused cycles and names nobody knows.
    """
    feeders = len(feeder_names)

    def way(limit: int | None) -> list[int]:
        found: list[int] = []
        while limit is not None:
            found.append(feeders + limit)
            limit = limits[limit].parent
        return found

    ways_up = [way(limit) for limit in range(len(limits))]
    of_feeder = [[feeder, *(() if limit is None else ways_up[limit])] for feeder, limit in enumerate(feeder_limit)]
    of_miner = [
        of_feeder[feeder]
        if not beside
        else list(dict.fromkeys([*of_feeder[feeder], *(step for limit in beside for step in ways_up[limit])]))
        for feeder, beside in miners
    ]
    ratings = [*feeder_rating_w, *(limit.rating_w for limit in limits), np.inf]
    nothing = len(ratings) - 1
    return LimitTree(
        names=(*feeder_names, *(limit.name for limit in limits)),
        kinds=(*(FEEDER for _ in feeder_names), *(limit.kind for limit in limits)),
        rating_w=np.array(ratings, dtype=np.float64),
        above_feeders=tuple(limits),
        feeder_limit=tuple(feeder_limit),
        of_miner=_padded(of_miner, nothing),
        of_feeder=_padded(of_feeder, nothing),
    )


def _padded(rows: list[list[int]], filler: int) -> NDArray[np.int64]:
    width = max(map(len, rows), default=1)
    return np.array([row + [filler] * (width - len(row)) for row in rows], dtype=np.int64).reshape(len(rows), width)
