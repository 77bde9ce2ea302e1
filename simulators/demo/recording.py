"""What one run left behind: true powers, what the daemon said, what reached the miners. The report is computed from it.

Times are seconds from the start of the run; powers are W.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from simulators.demo.metrics import FamilyCounts

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Truth:
    """The simulators' own record, arrays of shape (n,): time, site load, surplus and the cap that follows from it."""

    t_s: FloatArray
    load_w: FloatArray
    surplus_w: FloatArray
    cap_w: FloatArray

    def load_at_w(self, t_s: float) -> float:
        """The site load that held at a time."""
        return float(self.load_w[max(0, int(np.searchsorted(self.t_s, t_s, side="right")) - 1)])


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One dispatch: what was asked, when it was sent, and its answers as status -> seconds of the run.

    `answered_w` is what the site held itself to: the power asked for, or the achievable one when it was clamped.
    """

    kind: str
    power_w: float
    answered_w: float
    sent_at_s: float
    for_s: float
    answers: Mapping[str, float]

    @property
    def accepted_at_s(self) -> float | None:
        """When the site took it; None when it did not."""
        times = [self.answers[status] for status in ("ACCEPTED", "CLAMPED") if status in self.answers]
        return min(times, default=None)

    @property
    def reached_at_s(self) -> float | None:
        """When the site said it was there; None when it never did."""
        return self.answers.get("REACHED")

    @property
    def ends_at_s(self) -> float:
        """When it expired or was superseded, at the latest when its time was over."""
        over_s = self.sent_at_s + self.for_s
        return min([over_s, *(self.answers[s] for s in ("EXPIRED", "SUPERSEDED") if s in self.answers)])


@dataclass(frozen=True, slots=True)
class Change:
    """The registers showed another surplus at `at_s`: from, to, W."""

    at_s: float
    from_w: float
    to_w: float


@dataclass(frozen=True, slots=True)
class CommandRecord:
    """A command's first byte reached a miner at `at_s`; `raises` says which way it points."""

    at_s: float
    raises: bool


@dataclass(frozen=True, slots=True)
class Marker:
    """Something to mark in the chart."""

    at_s: float
    level: str
    text: str


@dataclass(frozen=True, slots=True)
class SaidSeries:
    """What the daemon said of itself, arrays of shape (m,), NaN where it knew nothing."""

    t_s: FloatArray
    cap_w: FloatArray
    target_w: FloatArray
    expected_w: FloatArray
    measured_w: FloatArray


@dataclass(frozen=True, slots=True)
class DaemonRecord:
    """The daemon as a process: what it used during the run, and its own last word. None where it gave none.

    `commands` and `verdicts` are counts by name from /metrics, `families` the same for each family; `status` is
    `curtaild status --json`.
    """

    cpu_s: float | None
    rss_mb: float | None
    exit_code: int | None
    status: Mapping[str, object]
    commands: Mapping[str, int]
    verdicts: Mapping[str, int]
    families: Mapping[str, FamilyCounts]


@dataclass(frozen=True, slots=True)
class FamilySeries:
    """True power at the miners of each family: times of shape (n,), W of shape (n,) by the family's name."""

    t_s: FloatArray
    power_w: Mapping[str, FloatArray]


@dataclass(frozen=True, slots=True)
class Recording:
    """One run, whole. `interrupted` when somebody ended it before its time."""

    duration_s: float
    interrupted: bool
    truth: Truth
    families: FamilySeries
    said: SaidSeries
    orders: tuple[OrderRecord, ...]
    changes: tuple[Change, ...]
    commands: tuple[CommandRecord, ...]
    markers: tuple[Marker, ...]
    daemon: DaemonRecord
