"""What the core makes of one miner: the real engine over a site of one miner and no ramps."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.core import estimator
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import (
    Command,
    CommandReport,
    Condition,
    MinerModel,
    MinerReading,
    MinerUnit,
    Verb,
    Verdict,
    build_fleet,
)
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import OperatorOrder, OperatorVerb, Snapshot
from tests.rig.policy import Rules, site_policy

AUXILIARY_W = 1_000
RATED_W = 20_000
WALL = 1_800_000_000.0
FUTURE_S = 120  # two attempts of the slowest class and its patience
SWEEP_S = 5
NO_RAMPS = Rules(
    ramp_up_ratio_per_min=1e6, ramp_down_ratio_per_min=1e6, step_15s_ratio=1e6, dwell_on_s=0.0, dwell_off_s=0.0
)


@dataclass(frozen=True, slots=True)
class Belief:
    """How the core sees the miner: what it shows, how the command is judged, and the watts it counts for it."""

    condition: Condition
    verdict: Verdict
    counted_w: float


class Core:
    """One miner and the core. Times are loop seconds; the miner is first seen hashing, and `order` asks it to sleep."""

    def __init__(self, model: MinerModel, first: MinerReading, now: float) -> None:
        unit = MinerUnit("m-1", model, feeder=0, cap_level=model.nameplate_level % len(model.levels))
        self._facts = build_fleet((unit,), ("a",), (RATED_W,))
        policy = site_policy(
            rated_w=RATED_W, auxiliary_w=AUXILIARY_W, power_span_w=10 * RATED_W, fleet_size=1, rules=NO_RAMPS
        )
        self._engine = Engine(self._facts, replace(policy, required_points=frozenset({Point.SITE_LOAD_W})))
        self._state: State = self._engine.fresh_state(now)
        self._step(now, telemetry=(first,))
        if self.belief().condition is not Condition.HASHING:
            raise AssertionError(f"the miner has to hash at first, it shows {first}")

    def order(self, now: float, *, urgent: bool) -> Command:
        """The SLEEP command that follows from an emergency dispatch (urgent) or from an operator's cap."""
        if urgent:
            dispatch = Dispatch(
                "e-1",
                "grid",
                1,
                WALL + now,
                WALL + now + 3600.0,
                DispatchClass.EMERGENCY,
                DispatchKind.CAP,
                AUXILIARY_W,
            )
            snapshot = Snapshot(WALL + now, {}, received=(Received(dispatch, WALL + now),))
        else:
            cap = OperatorOrder(OperatorVerb.CAP, "test", AUXILIARY_W)
            snapshot = Snapshot(WALL + now, {}, operator=(cap,))
        commands = self._step(now, snapshot)
        if [(each.verb, each.urgent) for each in commands] != [(Verb.SLEEP, urgent)]:
            raise AssertionError(f"one sleep was due, urgent={urgent}; the core sent {commands}")
        return commands[0]

    def in_the_end(self, now: float, report: CommandReport, reading: MinerReading) -> Belief:
        """What the core believes once it has tried all it does, if every call from now on ends as these two did.

        report: of the command from `order`. reading: of a miner that has gone where it was going.
        """
        commands = self._step(now, reports=(report,))
        for second in range(1, FUTURE_S + 1):
            at = now + second
            reports = tuple(_same(report, command, at) for command in commands)
            heard = second % SWEEP_S == 0
            telemetry = (replace(reading, started_at=at - 0.1, finished_at=at),) if heard else ()
            commands = self._step(at, telemetry=telemetry, reports=reports)
        self._step(now + FUTURE_S, reports=tuple(_same(report, command, now + FUTURE_S) for command in commands))
        return self.belief()

    def belief(self) -> Belief:
        """As of the last step."""
        fleet = self._state.fleet
        counted = float(estimator.expected_power_w(fleet, self._state.now)[0])
        return Belief(Condition(int(fleet.condition[0])), Verdict(int(fleet.verdict[0])), counted)

    def _step(
        self,
        now: float,
        snapshot: Snapshot | None = None,
        *,
        telemetry: tuple[MinerReading, ...] = (),
        reports: tuple[CommandReport, ...] = (),
    ) -> tuple[Command, ...]:
        now = max(now, self._state.now)
        load_w = AUXILIARY_W + float(estimator.expected_power_w(self._state.fleet, now)[0])
        site = {Point.SITE_LOAD_W: Sample(load_w, now, Quality.GOOD, "test")}
        base = snapshot or Snapshot(WALL + now, site)
        full = replace(base, readings=site, telemetry=telemetry, reports=reports)
        self._state, decision = self._engine.step(self._state, full, now)
        return decision.commands


def _same(report: CommandReport, command: Command, now: float) -> CommandReport:
    """The report again, about a command sent now."""
    sent_at = None if report.sent_at is None else now
    again_at = None if report.again_at is None else now + (report.again_at - report.answered_at)
    return replace(report, command_id=command.command_id, sent_at=sent_at, answered_at=now, again_at=again_at)
