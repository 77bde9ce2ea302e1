"""The site's own grid: miners on feeders, the losses on the way, and what the site uses for itself."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class FeederSpec:
    """One feeder. `loss_fraction` of the miners' power is lost in its transformer and cable, on top of that power."""

    name: str
    loss_fraction: float

    def __post_init__(self) -> None:
        if not 0.0 <= self.loss_fraction < 0.5:
            raise ValueError(f"feeder {self.name}: loss fraction {self.loss_fraction} is outside [0, 0.5)")


@dataclass(frozen=True, slots=True)
class SiteSpec:
    """The feeders of a site and its own consumption (cooling, control) in W, which runs whatever the miners do."""

    feeders: tuple[FeederSpec, ...]
    auxiliary_w: float

    def __post_init__(self) -> None:
        if not self.feeders:
            raise ValueError("a site needs at least one feeder")
        if self.auxiliary_w < 0:
            raise ValueError(f"site auxiliaries {self.auxiliary_w} W must not be negative")

    def mean_loss_fraction(self) -> float:
        """Return the loss fraction of miners spread evenly over the feeders."""
        return sum(feeder.loss_fraction for feeder in self.feeders) / len(self.feeders)


@dataclass(frozen=True, slots=True)
class SiteLoad:
    """What the site draws from the plant bus, in W; `feeders_w` is what flows into each feeder, its losses included."""

    miners_w: float
    losses_w: float
    auxiliary_w: float
    feeders_w: tuple[float, ...] = ()

    @property
    def total_w(self) -> float:
        """Power at the site meter."""
        return self.miners_w + self.losses_w + self.auxiliary_w


def feeder_sums_w(
    miner_w: npt.NDArray[np.float64], feeder_of_miner: npt.NDArray[np.int64], feeders: int
) -> tuple[float, ...]:
    """Sum true miner power per feeder.

    Args:
        miner_w: true power of each miner in W, shape (n,).
        feeder_of_miner: index of each miner's feeder, shape (n,), within [0, feeders).
        feeders: number of feeders.

    Raises:
        ValueError: when a miner hangs on a feeder that does not exist.
    """
    sums_w = np.bincount(feeder_of_miner, weights=miner_w, minlength=feeders)  # refuses what is below 0
    if len(sums_w) > feeders:
        raise ValueError(f"a miner is on a feeder outside 0..{feeders - 1}")
    return tuple(sums_w.tolist())


def site_load(spec: SiteSpec, miner_w_by_feeder: Sequence[float]) -> SiteLoad:
    """Return the site's draw for the true miner power on each feeder (W, one number per feeder, each >= 0).

    Raises:
        ValueError: wrong number of feeders or negative power.
    """
    if len(miner_w_by_feeder) != len(spec.feeders):
        raise ValueError(f"{len(miner_w_by_feeder)} powers for {len(spec.feeders)} feeders")
    if min(miner_w_by_feeder) < 0:
        raise ValueError("miners do not generate: power per feeder must be >= 0")
    losses = [power * feeder.loss_fraction for power, feeder in zip(miner_w_by_feeder, spec.feeders, strict=True)]
    return SiteLoad(
        miners_w=sum(miner_w_by_feeder),
        losses_w=sum(losses),
        auxiliary_w=spec.auxiliary_w,
        feeders_w=tuple(power + loss for power, loss in zip(miner_w_by_feeder, losses, strict=True)),
    )


def spread_evenly(spec: SiteSpec, miners_w: float) -> tuple[float, ...]:
    """Split one total over the feeders, for callers that know only the total."""
    return tuple(miners_w / len(spec.feeders) for _ in spec.feeders)
