"""What an order would do: a copy of the state, stepped ahead in virtual time with the order put in.

The plant stays as it is and gives what it gives now, the inputs that are good stay good, and miners obey as their
response classes say (core/imagined). Everything else is the engine itself. Nothing of it ever leaves this room.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from controller.core.engine import Engine
from controller.core.imagined import ImaginedFleet
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, Received
from controller.domain.fleet import Fleet, FloatArray, IntArray, MinerReading
from controller.domain.metering import Point, Quality, Readings, Sample
from controller.domain.plan import WHYS, Decision, Snapshot
from controller.domain.policy import Mode
from controller.domain.reasons import Bound, Why

MARKS_S = (0.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
STRIDE_S = 1.0  # between two cycles; a daemon that decides more often sees nothing else of a plant that stays as it is
CALM_AFTER_S, CALM_STRIDE_S = 30.0, 5.0  # once nobody is told anything any more
# Why a miner that gets no command is left out, rather than where its merit puts it.
HELD = frozenset(WHYS) - {Why.BASE, Why.TRIMMED, Why.WAKING, Why.SURPLUS_SHORT}
MOVED_BY_LOAD = {Point.SITE_LOAD_W: 1.0, Point.POI_EXPORT_W: -1.0, Point.DCS_POI_EXPORT_W: -1.0}


@dataclass(frozen=True, slots=True)
class Mark:
    """What the site is predicted to draw some seconds after the order, and what it should draw then."""

    after_s: float
    power_w: float
    setpoint_w: float
    bound: Bound


@dataclass(frozen=True, slots=True)
class Move:
    """One miner's first move of a kind: from and to are watts."""

    miner: int
    verb: Verb
    level: int | None
    after_s: float
    from_w: float
    to_w: float


@dataclass(slots=True)
class Preview:
    """An order looked ahead at, one cycle by `advance` until `done`. Loop seconds throughout."""

    engine: Engine
    state: State
    snapshot: Snapshot
    order: Dispatch
    began_at: float
    sweep_s: float
    marks: list[Mark] = field(default_factory=list)
    moves: dict[tuple[int, Verb], Move] = field(default_factory=dict)
    skipped: dict[int, Why] = field(default_factory=dict)
    answers: list[Answer] = field(default_factory=list)
    reached_after_s: float | None = None
    last: Decision | None = None
    fleet: ImaginedFleet = field(init=False)
    _next_read: FloatArray = field(init=False)
    _sent: tuple[tuple[Command, ...], float] = ((), 0.0)
    _cycles: int = 0
    _at: float = field(init=False)
    _moved_at: float = field(init=False)
    _present_w: float = 0.0
    _load_then_w: dict[Point, float] = field(default_factory=dict)
    """The load at the moment at which each good point was read."""

    def __post_init__(self) -> None:
        self.engine = Engine(self.engine.facts, replace(self.engine.policy, mode=Mode.CONTROL))
        self.state = self.state.copy()
        self._at = self._moved_at = max(self.began_at, self.state.now)
        self.fleet = ImaginedFleet.as_believed(self.state.fleet)
        self._next_read = np.maximum(self.state.fleet.read_at, self.began_at - self.sweep_s) + self.sweep_s
        self._present_w = self._load_now_w()
        self._load_then_w = {
            point: self.load_w(sample.taken_at)
            for point, sample in self.snapshot.readings.items()
            if self._lives(sample)
        }

    @property
    def facts(self) -> Fleet:
        return self.engine.facts

    @property
    def done(self) -> bool:
        return len(self.marks) == len(MARKS_S)

    @property
    def refused(self) -> bool:
        return any(answer.status is AnswerStatus.REJECTED for answer in self.answers)

    @property
    def over(self) -> bool:
        """Nothing more to look at."""
        return self.done or self.refused

    def load_w(self, at: float) -> float:
        """The site's predicted load at a moment."""
        return self._present_w + float(self.fleet.power_w(at).sum())

    def advance(self) -> None:
        """One cycle more."""
        before, first = self.last, self._cycles == 0
        if not first:
            calm = self._at - self._moved_at > CALM_AFTER_S
            self._at += CALM_STRIDE_S if calm else max(self.engine.policy.cycle_s, STRIDE_S)
        at = self._at
        while before is not None and not self.done and self.began_at + MARKS_S[len(self.marks)] <= at:
            self._mark(before)
        self.state, decision = self.engine.step(self.state, self._snapshot(at, first), at)
        self._note(decision, at, first)
        self.fleet.obey(self.facts, decision.commands, self.fleet.known, self.state.fleet.want_level, at)
        rows: IntArray = np.array([command.miner for command in decision.commands], dtype=np.int64)
        self._next_read[rows] = np.minimum(self._next_read[rows], self.fleet.settled_at(rows))
        self._sent, self.last, self._cycles = (decision.commands, at), decision, self._cycles + 1
        if decision.commands:
            self._moved_at = at

    def _load_now_w(self) -> float:
        """What the site draws beside the imagined watts, by its meter where that is believed."""
        sample = self.snapshot.readings.get(Point.SITE_LOAD_W)
        if sample is not None and sample.value is not None and self._lives(sample):
            return sample.value - float(self.fleet.power_w(sample.taken_at).sum())
        return self.state.offset_w if self.state.offset_w is not None else float(self.engine.policy.auxiliary_w)

    def _lives(self, sample: Sample) -> bool:
        young = self.began_at - sample.taken_at <= self.engine.policy.inputs.hold_after_s
        return young and sample.quality is Quality.GOOD

    def _snapshot(self, at: float, first: bool) -> Snapshot:
        heard_at = self.snapshot.dispatcher_heartbeat_at
        if heard_at is not None and self.began_at - heard_at <= self.engine.policy.dispatch.heartbeat_lost_after_s:
            heard_at = at  # and goes on
        commands, sent_at = self._sent
        wall = self.snapshot.wall + at - self.began_at
        return Snapshot(
            wall=wall,
            readings=self._readings(at),
            telemetry=self._telemetry(at),
            reports=self.fleet.reports(commands, self.fleet.known, sent_at, at),
            received=(Received(self.order, wall),) if first else (),
            dispatcher_heartbeat_at=heard_at,
            journal_writable=self.snapshot.journal_writable,
        )

    def _readings(self, at: float) -> Readings:
        """What good meters show while the plant stays as it is and only our load moves."""
        found: dict[Point, Sample] = {}
        for point, sample in self.snapshot.readings.items():
            if sample.value is None or point not in self._load_then_w:
                found[point] = sample
                continue
            moved_w = self.load_w(at) - self._load_then_w[point]
            value = sample.value + MOVED_BY_LOAD.get(point, 0.0) * moved_w
            beat = float(self._cycles) if point is Point.DCS_HEARTBEAT else 0.0
            found[point] = replace(sample, value=value + beat, taken_at=at)
        return found

    def _telemetry(self, at: float) -> tuple[MinerReading, ...]:
        due: IntArray = (self.fleet.known & (self._next_read <= at)).nonzero()[0]
        power_w = self.fleet.power_w(at)
        self._next_read[due] = at + self.sweep_s
        return tuple(self.fleet.read(self.facts, int(miner), float(power_w[miner]), at, at) for miner in due)

    def _mark(self, decision: Decision) -> None:
        after_s, setpoint = MARKS_S[len(self.marks)], decision.setpoint
        self.marks.append(Mark(after_s, self.load_w(self.began_at + after_s), setpoint.power_w, setpoint.bound))

    def _note(self, decision: Decision, at: float, first: bool) -> None:
        draw_w = self.fleet.power_w(at)
        for command in decision.commands:
            key, to_w = (command.miner, command.verb), float(self.state.fleet.to_w[command.miner])
            move = Move(*key, command.level, at - self.began_at, float(draw_w[command.miner]), to_w)
            known = self.moves.get(key)
            self.moves[key] = move if known is None else replace(known, level=move.level, to_w=move.to_w)
            self.skipped.pop(command.miner, None)
        if first:
            codes = decision.allocation.why.tolist()
            moved = {command.miner for command in decision.commands}
            self.skipped = {
                miner: WHYS[code] for miner, code in enumerate(codes) if WHYS[code] in HELD and miner not in moved
            }
        for answer in decision.answers:
            if answer.dispatch_id == self.order.dispatch_id:
                self.answers.append(answer)
                if answer.status is AnswerStatus.REACHED and self.reached_after_s is None:
                    self.reached_after_s = at - self.began_at
