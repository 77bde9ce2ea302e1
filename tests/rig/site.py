"""One simulated site in virtual time: plant, miners, meters and the real core, without a socket or a sleep."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from controller.core import urgency
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.command import Command
from controller.domain.dispatch import Dispatch, Received
from controller.domain.fleet import BoolArray, Verdict
from controller.domain.metering import Point, Sample, good_value
from controller.domain.plan import Decision, OperatorOrder, Snapshot
from simulators.asic.bank import MinerBank
from simulators.asic.response import Behaviour
from simulators.feeder import feeder_sums_w
from simulators.plant import Plant, PlantFlags
from tests.rig.breaches import horizon_s
from tests.rig.grid import Grid
from tests.rig.instruments import Instruments
from tests.rig.limits import LimitWatch
from tests.rig.miners import MinerLink
from tests.rig.record import CycleRow, Record
from tests.rig.recount import committed_w, recount_gap_w
from tests.rig.setup import Setup
from tests.rig.survivor import Survivor

SEEN_WITHIN_S = 2.0  # beside a sweep: a read, a cycle, an order

Tamper = Callable[[Decision], Decision]
URGENT_GAP_S = 0.05
_UNSHEDDABLE = int(Behaviour.LIAR_SLEEP | Behaviour.REFUSES | Behaviour.IGNORES | Behaviour.SILENT_DRAW)


class Site:
    """A run in progress. `tamper` changes decisions before they are carried out: how a checker is checked."""

    def __init__(self, setup: Setup, tamper: Tamper | None = None) -> None:
        self.setup = setup
        self.bank = MinerBank(setup.fleet)
        self.plant = Plant(setup.plant, setup.surplus, setup.seed)
        faults = (*setup.input_faults, *setup.feeder_faults)
        self.instruments = Instruments(
            setup.seed + 1, setup.meter_period_s, setup.meter_noise, faults, setup.feeder_meters, setup.meter_step_w
        )
        self.grid = Grid(setup, self.plant, self.bank)
        self.link = MinerLink(self.bank, setup)
        self._limits = LimitWatch(setup, self.bank)
        self.engine = Engine(setup.facts, setup.policy)
        self.state: State = self.engine.fresh_state(0.0)
        self.record = Record()
        self.now_s = 0.0
        self._ticks = 0
        self._tamper = tamper
        self._feeder = np.array(setup.feeder_of_miner, dtype=np.int64)
        losses = np.array([feeder.loss_fraction for feeder in setup.plant.site.feeders])
        self._at_meter = 1.0 + losses[self._feeder]
        away = (*setup.outages, *setup.strangers)
        self._away = np.array([outage.miner for outage in away], dtype=np.int64)
        self._away_from_s = np.array([outage.begin_s for outage in away])
        self._away_until_s = np.array([outage.end_s for outage in away]) + 2.0 * setup.sweep_s
        self._misbehaves = (self.bank.behaviour & _UNSHEDDABLE) != 0
        self._falls_s = horizon_s(setup)
        self._messages = list(setup.messages)
        self._operations = list(setup.operations)
        self._reboots = sorted(setup.reboots)
        self._trips = sorted((trip.begin_s, trip.end_s, miner) for miner, trip in setup.tripped().items())
        self._powered = sorted((end_s, miner) for _, end_s, miner in self._trips)
        self._starting: set[int] = set()
        self._started_s = np.full(len(setup.facts), -np.inf)
        """When a miner that got its power back first answered."""
        self._plant_events = sorted(setup.plant_events, key=lambda event: event.at_s)
        self._emergency_until_s = -1.0
        self._received: list[Received] = []
        self._last_cycle_s = -1.0
        self._next_cycle_s = 0.0
        self._urgent = False
        self._watch = urgency.Watch()
        self._journal = Survivor(setup.facts) if setup.crashes else None
        self._crashes = sorted(setup.crashes, key=lambda crash: crash.at_s)
        self._up_s = 0.0
        """Since when the daemon runs, or will."""

    def run(self) -> Record:
        """From where it stands to the end of the setup."""
        while self._ticks < round(self.setup.duration_s / self.setup.tick_s):
            self.advance()
        self.record.final_quarantined = self.state.fleet.verdict == Verdict.QUARANTINED
        self.record.close()
        return self.record

    def advance(self) -> None:
        """One tick of virtual time."""
        self._ticks += 1
        self._tick(self._ticks * self.setup.tick_s)

    def _tick(self, t_s: float) -> None:
        self.now_s = t_s
        self.grid.disturb(t_s)
        truth = self.plant.step(self.setup.tick_s, self._feeder_w())
        if self.instruments.poll(t_s, self.grid.shown(truth, t_s)):
            self._urgent |= self._watch.notices(self.setup.policy, self._readings())
        self._disturb(t_s)
        self._crash_and_resume(t_s)
        self.link.advance(t_s)
        self.bank.step(self.setup.tick_s)
        self._take_messages(t_s)
        for miner in [one for one in self._starting if not self.bank.is_rebooting[one]]:
            self._starting.discard(miner)
            self._started_s[miner] = t_s
            if self.bank.boards_on[miner]:
                self.record.self_started_s[miner] = t_s
        self.record.tick(t_s, truth.site_load_w, truth.cap_follow_w, self._stubborn_w(t_s), self._self_started_w(t_s))
        due = t_s + 1e-9 >= self._next_cycle_s
        if t_s < self._up_s:
            return
        if due or (self._urgent and t_s - self._last_cycle_s + 1e-9 >= URGENT_GAP_S):
            self._cycle(t_s)
            self._urgent = False
            if due:
                self._next_cycle_s += self.setup.policy.cycle_s

    def _crash_and_resume(self, t_s: float) -> None:
        """A crash cuts what is on its way as a real one does; the next start knows what the journal kept, no more."""
        if self._crashes and self._crashes[0].at_s <= t_s:
            self._up_s = max(self._crashes.pop(0).up_s, t_s + self.setup.tick_s)
            self.link.crash(t_s, self._up_s)
        if self._journal is None or not self._last_cycle_s < self._up_s <= t_s + 1e-9:
            return
        self.state = self._journal.state(t_s, self.setup.wall_at(t_s))
        self._watch, self._urgent = urgency.Watch(), False
        self._last_cycle_s = self._next_cycle_s = t_s

    def _readings(self) -> dict[Point, Sample]:
        """What the meters told this process."""
        latest = self.instruments.latest
        if self._up_s == 0.0:
            return dict(latest)
        return {point: sample for point, sample in latest.items() if sample.taken_at >= self._up_s}

    def _feeder_w(self) -> tuple[float, ...]:
        return feeder_sums_w(self.grid.drawn_w(self.now_s), self._feeder, len(self.setup.plant.site.feeders))

    def _stubborn_w(self, t_s: float) -> float:
        """Site power no order could take off now: auxiliaries, sleep watts, liars, refusers, miners out of reach."""
        stubborn = self._misbehaves | self.bank.is_rebooting
        if self.setup.trips:
            stubborn |= self._just_started(t_s, 0.0)
        if len(self._away):
            stubborn[self._away[(self._away_from_s <= t_s) & (t_s < self._away_until_s)]] = True
        watts = np.where(stubborn, self.bank.true_power_w, self.bank.sleep_power_w)
        return float((watts * self._at_meter).sum()) + self.setup.plant.site.auxiliary_w

    def _just_started(self, t_s: float, falls_s: float) -> BoolArray:
        """(n,) who started by itself with its feeder's power and could not have been put to sleep yet."""
        recent: BoolArray = t_s - self._started_s <= self.setup.sweep_s + SEEN_WITHIN_S + falls_s
        return recent

    def _self_started_w(self, t_s: float) -> float:
        """What those draw, and those still starting, until the watts of a slow one had the time to fall."""
        if not self.setup.trips:
            return 0.0
        who = self._just_started(t_s, self._falls_s)
        who[list(self._starting)] = True
        return float((np.where(who, self.bank.true_power_w, 0.0) * self._at_meter).sum())

    def _disturb(self, t_s: float) -> None:
        while self._trips and self._trips[0][0] <= t_s:
            self.bank.lose_power(self._trips.pop(0)[2])
        while self._powered and self._powered[0][0] <= t_s:
            miner = self._powered.pop(0)[1]
            self.bank.get_power(miner)
            self._starting.add(miner)
        while self._reboots and self._reboots[0][0] <= t_s:
            self.bank.reboot(self._reboots.pop(0)[1])
        while self._plant_events and self._plant_events[0].at_s <= t_s:
            event = self._plant_events.pop(0)
            if event.emergency:
                self._emergency_until_s = t_s + event.held_s
            else:
                self.plant.lose_generation(0, event.lost_w, event.held_s)
        flagged = t_s < self._emergency_until_s
        if flagged != self.plant.flags.grid_emergency:
            self.plant.set_flags(PlantFlags(flagged, trip_underfrequency=False, trip_stop_button=False, permit=True))

    def _take_messages(self, t_s: float) -> None:
        while self._messages and self._messages[0].at_s <= t_s:
            received = replace(self._messages.pop(0).received, received_at=self.setup.wall_at(t_s))
            stepped_s, order = self.setup.stepped_s(t_s), received.message
            if stepped_s and isinstance(order, Dispatch):  # the dispatcher's clock is set by the same server
                ends_at, begins_at = order.expires_at + stepped_s, order.not_before
                begins_at = None if begins_at is None else begins_at + stepped_s
                issued_at = order.issued_at + stepped_s
                order = replace(order, issued_at=issued_at, expires_at=ends_at, not_before=begins_at)
                received = replace(received, message=order)
            self._received.append(received)
            self._urgent |= urgency.message_urgent(received)

    def _operator_orders(self, t_s: float) -> tuple[OperatorOrder, ...]:
        due = [operation.order for operation in self._operations if operation.at_s <= t_s]
        self._operations = [operation for operation in self._operations if operation.at_s > t_s]
        stepped_s = self.setup.stepped_s(t_s)
        return tuple(
            order if order.expires_at is None else replace(order, expires_at=order.expires_at + stepped_s)
            for order in due
        )

    def _cycle(self, t_s: float) -> None:
        telemetry, reports = self.link.drain()
        snapshot = Snapshot(
            wall=self.setup.wall_at(t_s),
            readings=self._readings(),
            telemetry=telemetry,
            reports=reports,
            received=tuple(self._received),
            operator=self._operator_orders(t_s),
            dispatcher_heartbeat_at=self.setup.heard_at(t_s),
            feeders={at: one for at, one in self.instruments.feeders.items() if one.taken_at >= self._up_s},
        )
        self._received = []
        self._last_cycle_s = t_s
        orders_w = committed_w(self.state)
        began = time.perf_counter()
        before = self.state
        self.state, decision = self.engine.step(before, snapshot, t_s)
        step_ms = (time.perf_counter() - began) * 1000.0
        if self._journal is not None:
            self._journal.note(before, self.state, decision.commands, bool(snapshot.operator), snapshot.wall)
        carried_out = decision if self._tamper is None else self._tamper(decision)
        for command in carried_out.commands:
            self.link.submit(command, t_s)
        self._limits.heard(reports)
        fullest = self._limits.fullest(carried_out.commands, t_s)
        self.link.read_soon(decision.ask, t_s)
        self._note(carried_out, decision.commands, orders_w, step_ms, fullest)

    def _note(
        self,
        decision: Decision,
        sent: tuple[Command, ...],
        orders_w: float,
        step_ms: float,
        fullest: tuple[float, str],
    ) -> None:
        plan = decision.allocation
        row = CycleRow(
            at_s=decision.now,
            setpoint_w=decision.setpoint.power_w,
            cap_w=decision.figures.cap_w,
            bound=decision.setpoint.bound.value,
            shed=decision.setpoint.shed,
            fail_safe=decision.fail_safe.value,
            expected_w=decision.figures.expected_w,
            committed_w=orders_w,
            plan_gap_w=plan.allocated_w + plan.unallocated_w - decision.setpoint.power_w,
            recount_gap_w=recount_gap_w(self.setup, self.state, decision, sent) if self.setup.recount else 0.0,
            commands=decision.commands,
            quarantined=decision.counts["quarantined"],
            step_ms=step_ms,
            fullest_ratio=fullest[0],
            fullest=fullest[1],
            shown_w=good_value(self.instruments.latest, Point.SITE_LOAD_W) or 0.0,
        )
        self.record.cycle(row, decision)
        for miner in np.flatnonzero(self.state.fleet.verdict == Verdict.QUARANTINED):
            self.record.quarantined_at.setdefault(int(miner), decision.now)
