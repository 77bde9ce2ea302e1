"""What the core makes of one miner: the real engine over a site of one miner, no ramps, and surplus for all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from controller.core import estimator
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.command import Command, CommandReport, Verb
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Received
from controller.domain.fleet import Condition, MinerModel, MinerReading, MinerUnit, Verdict, build_fleet
from controller.domain.metering import FOLLOW_POINTS, Point, Quality, Sample
from controller.domain.plan import OperatorOrder, OperatorVerb, Snapshot
from tests.rig.policy import Rules, site_policy

AUXILIARY_W = 1_000
RATED_W = 20_000
WALL = 1_800_000_000.0
SWEEP_S = 5
_QUICK_S = 20  # after an order every second counts, later every other sweep is soon enough
_LATER_S = 2 * SWEEP_S
_PATIENCE_S = 60
_CAP_FOR_S = 86_400.0
_SURPLUS_W = 15_000.0
_WORKING_POINTS = frozenset(FOLLOW_POINTS)
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
    """One miner and the core; the miner is first seen hashing. Times given are loop seconds.

    The core may live faster than the loop: what it has lived through in `asleep_at_last` is added to all later times.
    """

    def __init__(self, model: MinerModel, first: MinerReading, now: float) -> None:
        unit = MinerUnit("m-1", model, feeder=0, cap_level=model.nameplate_level % len(model.levels))
        self._facts = build_fleet((unit,), ("a",), (RATED_W,))
        policy = site_policy(
            rated_w=RATED_W, auxiliary_w=AUXILIARY_W, power_span_w=10 * RATED_W, fleet_size=1, rules=NO_RAMPS
        )
        self._engine = Engine(self._facts, replace(policy, required_points=_WORKING_POINTS))
        self._response = model.response
        self._fleet_policy = policy.fleet
        self._verb = Verb.SLEEP
        self._ahead_s = 0.0
        self._state: State = self._engine.fresh_state(now)
        self._step(now, telemetry=(first,))
        if self.belief().condition is not Condition.HASHING:
            raise AssertionError(f"the miner has to hash at first, it shows {first}")

    def order(self, now: float, verb: Verb, *, urgent: bool = False) -> Command:
        """The command that follows from an emergency dispatch (an urgent sleep), from an operator's cap (a plain one)
        or from the end of that cap (a wake)."""
        now += self._ahead_s
        if verb is Verb.WAKE:
            snapshot = Snapshot(WALL + now, {}, operator=(OperatorOrder(OperatorVerb.RELEASE, "test"),))
        elif urgent:
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
            cap = OperatorOrder(OperatorVerb.CAP, "test", AUXILIARY_W, expires_at=WALL + now + _CAP_FOR_S)
            snapshot = Snapshot(WALL + now, {}, operator=(cap,))
        self._verb = verb
        commands = self._step(now, snapshot)
        if [(each.verb, each.urgent) for each in commands] != [(verb, urgent)]:
            raise AssertionError(f"one {verb.value} was due, urgent={urgent}; the core sent {commands}")
        return commands[0]

    def asleep_at_last(self, now: float, report: CommandReport, reading: MinerReading) -> None:
        """Live on until the sleep from `order` is proved. Raises AssertionError when it never is."""
        began = self._state.now
        self._live_on(now + self._ahead_s, _later(report, self._ahead_s), reading, _PATIENCE_S)
        self._ahead_s += self._state.now - began
        if self.belief().verdict is not Verdict.SETTLED or self.belief().condition is not Condition.ASLEEP:
            raise AssertionError(f"the miner has to sleep at first: {report}, {reading}, {self.belief()}")

    def in_the_end(self, now: float, report: CommandReport, reading: MinerReading) -> Belief:
        """What the core believes once it has tried all it does, if every call from now on ends as these two did.

        report: of the command from `order`. reading: of a miner that has gone where it was going.
        """
        self._live_on(now + self._ahead_s, _later(report, self._ahead_s), reading, self._all_attempts_s())
        return self.belief()

    def belief(self) -> Belief:
        """As of the last step."""
        fleet = self._state.fleet
        counted = float(estimator.expected_power_w(fleet, self._state.now)[0])
        return Belief(Condition(int(fleet.condition[0])), Verdict(int(fleet.verdict[0])), counted)

    def _all_attempts_s(self) -> int:
        """As long as the core takes to give up the last order, and a while more."""
        response, policy = self._response, self._fleet_policy
        wakes = self._verb is Verb.WAKE
        move_s = response.wake_dead_s + response.wake_90_s if wakes else response.sleep_dead_s + response.sleep_90_s
        attempt_s = policy.deadline_factor * move_s + policy.deadline_extra_s
        attempt_s = max(attempt_s, response.wake_patience_s) if wakes else attempt_s
        return round(policy.attempts_max * attempt_s) + _PATIENCE_S

    def _live_on(self, now: float, report: CommandReport, reading: MinerReading, seconds: int) -> None:
        commands = self._step(now, reports=(report,))
        for second in (*range(1, _QUICK_S), *range(_QUICK_S, seconds + 1, _LATER_S)):
            at = now + second
            reports = tuple(_same(report, command, at) for command in commands)
            heard = second % SWEEP_S == 0
            telemetry = (replace(reading, started_at=at - 0.1, finished_at=at),) if heard else ()
            commands = self._step(at, telemetry=telemetry, reports=reports)
        at = self._state.now
        self._step(at, reports=tuple(_same(report, command, at) for command in commands))

    def _step(
        self,
        now: float,
        snapshot: Snapshot | None = None,
        *,
        telemetry: tuple[MinerReading, ...] = (),
        reports: tuple[CommandReport, ...] = (),
    ) -> tuple[Command, ...]:
        now = max(now, self._state.now)
        noise_w = self._state.cycle % 2  # a meter that never moves is a frozen one
        load_w = AUXILIARY_W + float(estimator.expected_power_w(self._state.fleet, now)[0]) + noise_w
        values = dict.fromkeys(FOLLOW_POINTS, 0.0 + noise_w) | {
            Point.SITE_LOAD_W: load_w,
            Point.POI_EXPORT_W: _SURPLUS_W - load_w,
        }
        site = {point: Sample(value, now, Quality.GOOD, "test") for point, value in values.items()}
        base = snapshot or Snapshot(WALL + now, site)
        full = replace(base, readings=site, telemetry=telemetry, reports=reports)
        self._state, decision = self._engine.step(self._state, full, now)
        return decision.commands


def _later(report: CommandReport, seconds: float) -> CommandReport:
    """The report as the core's clock has it."""
    return replace(
        report,
        sent_at=None if report.sent_at is None else report.sent_at + seconds,
        answered_at=report.answered_at + seconds,
        again_at=None if report.again_at is None else report.again_at + seconds,
    )


def _same(report: CommandReport, command: Command, now: float) -> CommandReport:
    """The report again, about a command sent now."""
    sent_at = None if report.sent_at is None else now
    again_at = None if report.again_at is None else now + (report.again_at - report.answered_at)
    return replace(report, command_id=command.command_id, sent_at=sent_at, answered_at=now, again_at=again_at)
