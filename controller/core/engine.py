"""The one pure step: state + snapshot + now -> state + decision. No clock, no socket, no log, no chance."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace

from controller.core import (
    allocator,
    arbiter,
    class_truth,
    classes,
    clock,
    consequences,
    estimator,
    failsafe,
    figures,
    governor,
    groups,
    limits,
    lookahead,
    mass,
    mass_meters,
    next_moves,
    offset,
    open_loop,
    operator,
    progress,
    ramp_watch,
    reception,
    reconcile,
    shadow,
    shed_left,
    surplus,
    telemetry,
    verify,
    waves,
    wear,
    work,
)
from controller.core.drawn import STEP_WINDOW_S
from controller.core.failsafe import Trust
from controller.core.fleet_state import Wants
from controller.core.roster import Goal
from controller.core.state import State
from controller.domain.command import Command
from controller.domain.dispatch import Answer
from controller.domain.fleet import Fleet, FloatArray
from controller.domain.metering import Point, good_value
from controller.domain.plan import Allocation, Decision, Figures, InputState, Setpoint, Snapshot
from controller.domain.policy import Feedback, Mode, Policy, RampPolicy
from controller.domain.reasons import Bound


@dataclass(frozen=True, slots=True)
class Engine:
    """The core with its fixed facts. `step` is the only thing that decides anything in this program."""

    facts: Fleet
    policy: Policy
    learned: classes.LastLearned = field(default_factory=classes.LastLearned, init=False, repr=False, compare=False)

    def fresh_state(self, now: float) -> State:
        """A state that knows nothing yet; `now` in loop seconds."""
        return State.fresh(self.facts, now)

    def step(self, state: State, snapshot: Snapshot, now: float) -> tuple[State, Decision]:
        """One cycle. `state` is left untouched; `now` is loop seconds and never earlier than the last cycle's.

        Raises ValueError when time runs backwards: that is a bug of the caller, not a fault of the plant.
        """
        if now < state.now:
            raise ValueError(f"cycle at {now} s after one at {state.now} s: loop time runs backwards")
        working = state.copy()
        facts = self.learned.of(self.facts, state, self.policy.fleet)
        if self.policy.mode is not Mode.SHADOW:
            working.shadow = None
            return _Cycle(facts, self.facts, self.policy, working, snapshot, now, state).run()
        would_be = shadow.enter(self.facts, self.policy, working, snapshot, now)
        after, decision = _Cycle(facts, self.facts, self.policy, working, would_be, now, state).run()
        return after, shadow.leave(self.facts, self.policy, after, decision, snapshot.readings, now)


@dataclass(slots=True)
class _Cycle:
    """One step's working room: its private copy of the state and what it learned so far.

    facts: with what was learned of response classes in the place of the `configured` figures. ask: who is to be read
    out of turn.
    """

    facts: Fleet
    configured: Fleet
    policy: Policy
    state: State
    snapshot: Snapshot
    now: float
    before: State
    ask: tuple[int, ...] = ()

    def run(self) -> tuple[State, Decision]:
        state, now = self.state, self.now
        state.cycle += 1
        findings = consequences.Findings()
        findings.events.extend(clock.watch(state, self.policy, self.snapshot.wall, now))
        spent = ((report.miner, report.wear) for report in self.snapshot.reports)
        wear.count(state, spent, self.snapshot.wall)
        findings.events.extend(operator.take_orders(self.facts, state, self.snapshot.operator, self.snapshot.wall, now))
        self._observe(findings)
        trust = failsafe.assess(state, self.policy, self.snapshot.readings, self.snapshot.dispatcher_heartbeat_at, now)
        findings.events.extend(failsafe.events(self.before, state, trust))
        offset.follow_meter(self.facts, state, self.policy, trust.samples.get(Point.SITE_LOAD_W), now)
        mass_meters.weigh(self.facts, state, self.policy, now, findings)
        measured = good_value(trust.samples, Point.SITE_LOAD_W)
        shown = trust.samples.get(Point.SITE_LOAD_W) if measured is not None else None
        if self.policy.mode is Mode.CONTROL:
            lied = Point.SITE_LOAD_W in trust.impossible
            findings.events.extend(ramp_watch.watch(self.facts, state, self.policy, shown, now, lied))
        if self.policy.mode is not Mode.SHADOW:  # there the meter shows an imagined load
            class_truth.learn(self.configured, state, self.policy, shown)
        floor, paced = figures.floor_w(self.facts, state, self.policy), self._paced()
        answers = reception.receive(
            self.facts,
            state,
            policy=self.policy,
            paced=paced,
            snapshot=self.snapshot,
            trust=trust,
            measured_w=measured,
            floor_w=floor,
            now=now,
        )
        surplus_w = surplus.cap_w(surplus.at_one_instant(state, trust.samples))
        good, moved_at = trust.worst is InputState.GOOD, now + self._falls_in_s()
        surplus.remember(state, self.policy, surplus_w, trust.samples, good, moved_at)
        wanted = self._wanted(trust, floor, paced)
        setpoint, goal = self._govern(trust, wanted, paced.ramp)
        wanted_before = state.fleet.wants()
        waves.hold_back(self.facts, state, self.policy.fleet, now)
        allocation = allocator.allocate(self.facts, state, self.policy, goal, now)
        if goal is None:  # nothing can be asked for yet: the plan is what is known to be there
            setpoint = replace(setpoint, power_w=allocation.allocated_w)
        findings.events.extend(arbiter.shed_events(state, setpoint))
        findings.events.extend(shed_left.events(self.facts, self.before, state, self.policy, now))
        findings.events.extend(limits.events(self.facts, self.before, state, now))
        commands = self._commands(wanted_before, setpoint, goal, trust.worst is InputState.FALLBACK)
        waves.note_batch(state, commands, now)
        progress.follow(state, measured, arbiter.REACHED_TOLERANCE_RATIO * self.policy.rated_w, now)
        state.now = now
        expected_w = estimator.expected_power_w(state.fleet, now)
        powers = figures.figures_of(
            self.facts,
            state,
            self.policy,
            miners_w=expected_w,
            surplus_w=surplus_w,
            cap_w=wanted.cap_w,
            setpoint_w=setpoint.power_w,
            measured_w=measured,
            floor_w=floor,
            now=now,
        )
        return state, self._decision(
            trust, setpoint, allocation, powers, expected_w, commands, tuple(answers), findings
        )

    def _observe(self, findings: consequences.Findings) -> None:
        """Telemetry and outcomes in, verdicts out."""
        policy = self.policy.fleet
        said_no = verify.take_reports(self.facts, self.state, self.snapshot.reports, self.now, findings)
        readings = self.snapshot.telemetry
        if policy.feedback is Feedback.OPEN_LOOP:
            readings = open_loop.nameplates(self.facts, readings)
        fresh = telemetry.take_readings(self.facts, self.state, policy, readings, self.now, findings)
        classes.watch(self.facts, self.state, fresh)
        stopped = work.take_rates(self.facts, self.state.fleet, fresh, self.snapshot.telemetry)
        self.ask = mass.notice(self.facts, self.state, policy, fresh, stopped, self.now, findings)
        self.ask += work.notice(self.facts, self.state, policy, fresh, stopped, self.now, findings)
        verify.judge(self.facts, self.state, policy, fresh, said_no, self.now, findings)
        if self.policy.mode is not Mode.SHADOW:  # there every miner does as its file says
            classes.learn(self.configured, self.state, fresh, findings.verdicts)
        waves.judge(self.facts, self.before, self.state, policy, findings, self.now)
        groups.judge(self.facts, self.state, policy, self.snapshot.feeders, self.now, findings)

    def _wanted(self, trust: Trust, floor: float, paced: Policy) -> governor.Wanted:
        """What the arbiter allows, before ramps. paced: the policy with the ramps as they may be used now."""
        state, policy = self.state, self.policy
        if trust.worst is not InputState.FALLBACK:
            state.fallback_since = None
        elif state.fallback_since is None:
            state.fallback_since = self.now
        worst = trust.worst
        waiting = policy.inputs.fallback_offset_s
        if state.fallback_since is not None and self.now - state.fallback_since < waiting:
            worst = InputState.FROZEN_UP
        bounds = arbiter.proposals(state, policy, trust.samples, state.surplus_cap_w, floor)
        limit = arbiter.tightest(bounds, worst, float(policy.fallback_w), floor)
        followed = state.surplus_cap_w is not None or not policy.required_points
        cap_w = limit.power_w if followed or limit.bound is not Bound.SITE_RATING else None
        wanted = arbiter.decide(state, bounds, worst, float(policy.fallback_w), floor)
        may_rise = trust.worst is not InputState.FALLBACK
        falls = worst is InputState.FALLBACK
        by_orders = wanted
        if not may_rise:
            by_orders = arbiter.decide(state, bounds, InputState.FROZEN_UP, math.inf, floor, wishes=not falls)
        ahead = lookahead.prepare(self.facts, state, paced, by_orders, bounds, floor, self.now, may_rise)
        ordered = None
        if falls:
            # No limit needs a meter. The fallback lies below most, but its ramp may be the slower one. A wish is in no
            # such hurry: a dwell that the fallback waives would end for it.
            limits = (one for one in (ahead.setpoint, by_orders) if one.bound in arbiter.SOMEBODYS)
            ordered = next(limits, None)
            ahead = ahead if ahead.setpoint.power_w < wanted.power_w else lookahead.Ahead(wanted)
        return governor.Wanted(ahead, ordered, arbiter.urgent_limit(bounds, floor), cap_w, floor)

    def _falls_in_s(self) -> float:
        """Seconds until what is ordered now for a surplus that falls will have moved; 0 while it does not."""
        track = self.state.surplus_track
        drop_w = 0.0 if track is None else -track.falls_w_per_s * STEP_WINDOW_S
        return next_moves.falls_in_s(self.facts, self.state, self.policy.fleet.trim, drop_w) if drop_w > 0.0 else 0.0

    def _paced(self) -> Policy:
        """The policy with the ramps as they may be used now."""
        pace = ramp_watch.slowed(self.facts, self.state, self.policy)
        return self.policy if pace is self.policy.ramp else replace(self.policy, ramp=pace)

    def _govern(self, trust: Trust, wanted: governor.Wanted, pace: RampPolicy) -> tuple[Setpoint, Goal | None]:
        """The setpoint after ramps and doubt, and what the allocator is asked for."""
        state, policy = self.state, self.policy
        return governor.Governor(
            self.facts,
            state,
            policy,
            pace,
            trust,
            wanted,
            self.now,
            self.now - self.before.now if self.before.cycle else 0.0,
            governor.why_not_raised(state, policy, trust, self.snapshot.journal_writable, self.now),
        ).govern()

    def _commands(
        self, wanted_before: Wants, setpoint: Setpoint, goal: Goal | None, blind: bool
    ) -> tuple[Command, ...]:
        """What is due now. In observe mode nothing is, and nothing is believed to have been sent."""
        state = self.state
        if self.policy.mode is Mode.OBSERVE:
            state.fleet.want_hashing, state.fleet.want_level = wanted_before.hashing, wanted_before.level
            return ()
        reason = f"{setpoint.bound.value} {setpoint.power_w / 1000:.1f} kW"
        may_raise, unchosen = goal is not None and goal.may_raise, setpoint.shed or blind
        return reconcile.commands_due(
            self.facts, wanted_before, state, self.policy.fleet, setpoint.shed, reason, self.now, may_raise, unchosen
        )

    def _decision(
        self,
        trust: Trust,
        setpoint: Setpoint,
        allocation: Allocation,
        powers: Figures,
        expected_w: FloatArray,
        commands: tuple[Command, ...],
        answers: tuple[Answer, ...],
        findings: consequences.Findings,
    ) -> Decision:
        state = self.state
        return Decision(
            cycle=state.cycle,
            now=self.now,
            wall=self.snapshot.wall,
            setpoint=setpoint,
            allocation=allocation,
            figures=powers,
            inputs=trust.health,
            fail_safe=trust.worst,
            commands=commands,
            answers=answers,
            verdicts=tuple(findings.verdicts),
            events=tuple(findings.events),
            priors=tuple(findings.priors),
            counts=figures.counts(state),
            active_orders=tuple(entry.dispatch.dispatch_id for entry in state.orders.active),
            scheduled_orders=tuple(
                (entry.dispatch.dispatch_id, entry.dispatch.not_before or 0.0) for entry in state.orders.scheduled
            ),
            progress=state.progress,
            expected_power_w=expected_w,
            limit_power_w=figures.limits_w(self.facts, state, expected_w),
            feeders=figures.feeders(self.facts, state, self.snapshot.feeders, expected_w, self.now),
            unreachable_at_once=int(mass.missing(state, self.policy.fleet).sum()),
            without_work=work.missing(state),
            ramps_exceeded=(state.rises_exceeded, state.falls_exceeded),
            rise_share=state.rise_share,
            shed_left_w=float(shed_left.left_w(self.facts, state, self.policy, self.now).sum()),
            ask=self.ask,
            classes=classes.reports(self.configured, state),
            waves=waves.reports(self.facts, state, self.policy.fleet, self.now),
        )
