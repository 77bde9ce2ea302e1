"""What a run left behind: true powers at every tick, and what each cycle decided."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from controller.domain.command import Command
from controller.domain.dispatch import Answer
from controller.domain.fleet import BoolArray, FloatArray
from controller.domain.plan import Decision


@dataclass(frozen=True, slots=True)
class CycleRow:
    """One cycle in short.

    committed_w: what the site would draw with every earlier order obeyed, but those that lower the deaf. shown_w: what
    the site meter shows, 0 when nothing. plan_gap_w: plan + unallocated - set-point.
    recount_gap_w: plan against its own arrays. cap_w, expected_w: None while unknown. fullest, fullest_ratio: of the
    limits above those raised now the one that will be fullest, and how full by physics; "" and 0 when nobody is.
    """

    at_s: float
    setpoint_w: float
    cap_w: float | None
    bound: str
    shed: bool
    fail_safe: str
    expected_w: float | None
    committed_w: float
    plan_gap_w: float
    recount_gap_w: float
    commands: tuple[Command, ...]
    quarantined: int
    step_ms: float
    fullest: str = ""
    fullest_ratio: float = 0.0
    shown_w: float = 0.0


@dataclass(slots=True)
class Record:
    """Ticks as lists (shape (ticks,) each once `freeze` was called), cycles as rows."""

    t_s: list[float] = field(default_factory=list)
    load_w: list[float] = field(default_factory=list)
    cap_follow_w: list[float] = field(default_factory=list)
    stubborn_w: list[float] = field(default_factory=list)
    self_started_w: list[float] = field(default_factory=list)
    cycles: list[CycleRow] = field(default_factory=list)
    answers: list[tuple[float, Answer]] = field(default_factory=list)
    events: list[tuple[float, str, str | None, str]] = field(default_factory=list)
    self_started_s: dict[int, float] = field(default_factory=dict)
    """Who came up hashing with its feeder's power, and when it first answered."""
    quarantined_at: dict[int, float] = field(default_factory=dict)
    final_quarantined: BoolArray = field(default_factory=lambda: np.zeros(0, dtype=np.bool_))
    digest: str = ""
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    def tick(
        self, t_s: float, load_w: float, cap_follow_w: float, stubborn_w: float, self_started_w: float = 0.0
    ) -> None:
        """stubborn_w: what no order of ours could have taken off at this moment, at the site meter. self_started_w: of
        that, and a little longer, what started by itself with its feeder's power and nobody could have idled yet."""
        self.self_started_w.append(self_started_w)
        self.t_s.append(t_s)
        self.load_w.append(load_w)
        self.cap_follow_w.append(cap_follow_w)
        self.stubborn_w.append(stubborn_w)

    def cycle(self, row: CycleRow, decision: Decision) -> None:
        """Keep one decision, and its bytes for the digest."""
        self.cycles.append(row)
        self.answers.extend((row.at_s, answer) for answer in decision.answers)
        self.events.extend((row.at_s, event.name, event.miner, event.text) for event in decision.events)
        said = (
            decision.setpoint,
            decision.commands,
            decision.answers,
            decision.verdicts,
            decision.events,
            decision.figures,
        )
        self._hash.update(repr(said).encode())

    def close(self) -> None:
        """The run is over: fix the digest of all decisions."""
        self.digest = self._hash.hexdigest()

    def arrays(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """(t_s, load_w, cap_follow_w, stubborn_w), each (ticks,)."""
        return _array(self.t_s), _array(self.load_w), _array(self.cap_follow_w), _array(self.stubborn_w)


def _array(values: list[float]) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)
