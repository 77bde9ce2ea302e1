"""From what is wanted to the setpoint of a cycle, by doubt, ramps and limits, and what the allocator is asked for."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from controller.core import doubts, estimator, failsafe, next_moves, ramp, regulation
from controller.core.drawn import Moves
from controller.core.failsafe import Trust
from controller.core.lookahead import Ahead
from controller.core.roster import Goal
from controller.core.state import State
from controller.domain.fleet import Condition, Fleet
from controller.domain.plan import InputState, Setpoint
from controller.domain.policy import Policy, RampPolicy
from controller.domain.reasons import Bound


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the arbiter and the look-ahead make of orders, surplus and doubt, before ramps, watts.

    ahead: what is wanted, with the scheduled orders in mind. ordered: in the fallback what orders, in force or to come,
    ask for all the same. urgent: what must be shed at once. cap_w: what the load may not pass; None when not known.
    floor_w: what nothing can take off.
    """

    ahead: Ahead
    ordered: Setpoint | None
    urgent: Setpoint | None
    cap_w: float | None
    floor_w: float


@dataclass(slots=True)
class Governor:
    """One cycle's. `state` is the cycle's own copy; now: loop seconds; elapsed_s: since the last cycle.

    pace: the ramps as they may be used now. forbidden: why nothing may be raised, "" when it may.
    """

    facts: Fleet
    state: State
    policy: Policy
    pace: RampPolicy
    trust: Trust
    wanted: Wanted
    now: float
    elapsed_s: float
    forbidden: str

    def govern(self) -> tuple[Setpoint, Goal | None]:
        """The setpoint of this cycle, and the goal; None while nothing can be asked for, for no meter was read yet."""
        state, now = self.state, self.now
        wanted = self.wanted.ahead.setpoint
        self._assume_offset(wanted)
        if state.offset_w is None:
            return replace(wanted, bound=Bound.HOLD, source="site meter not read yet"), None
        soon_w = float(estimator.expected_soon_w(state.fleet, now, estimator.trim_horizon_s(self.facts)).sum())
        present_w = max(state.offset_w + soon_w, 0.0)  # a blackout shows in the offset before it does in the miners
        wanted, held_w = self._held(wanted, present_w)
        regulation.notice(state, wanted, now)
        aim = ramp.meet(state, self.pace, wanted, self.elapsed_s)
        moves = next_moves.NextMoves(self.facts, state, self.policy.fleet.trim, self.pace, aim.power_w, now)
        setpoint = self._limited(self._ramped(wanted, aim, held_w, present_w, moves))
        state.setpoint_w = setpoint.power_w
        blind = self.trust.worst is InputState.FALLBACK
        state.falls_freely = self._waived(wanted) or blind or setpoint.shed or setpoint.bound is Bound.SURPLUS
        self._remember(state.offset_w, setpoint)
        return setpoint, self._goal(wanted, aim, setpoint, moves)

    def _assume_offset(self, wanted: Setpoint) -> None:
        """A site meter that has never been read must not keep the site from shedding, nor from its fallback, nor others
        from giving way for the boots that were under way at the start.

        Until the first sample the configured auxiliaries stand in for what the meter would show beside the miners.
        """
        blind = any(entry.name == "site" and entry.state in doubts.DOUBTED for entry in self.trust.health)
        if self.state.offset_at == -math.inf and (wanted.shed or self.wanted.urgent is not None or blind):
            self.state.offset_w = float(self.policy.auxiliary_w)

    def _held(self, wanted: Setpoint, present_w: float) -> tuple[Setpoint, float]:
        """What is wanted where doubt lets nothing rise, and the setpoint that is held then, watts."""
        state = self.state
        doubtful = self.forbidden != "" or state.surplus_cap_w is None
        held_w = present_w if state.setpoint_w is None else state.setpoint_w
        if not state.doubtful:
            held_w = min(held_w, present_w)  # once, as doubt begins: again would follow every dip of the meter down
        if doubtful and wanted.power_w > held_w:
            source = self.forbidden or "doubtful inputs"
            wanted = replace(wanted, power_w=max(held_w, self.wanted.floor_w), bound=Bound.HOLD, source=source)
        state.doubtful = doubtful
        return wanted, held_w

    @staticmethod
    def _waived(wanted: Setpoint) -> bool:
        return wanted.shed or wanted.bound is Bound.SURPLUS

    def _ramped(self, wanted: Setpoint, aim: Setpoint, held_w: float, present_w: float, moves: Moves) -> Setpoint:
        """The setpoint on its ramp to `aim`, which is `wanted` or the line to it that it fell behind."""
        state, rates, waived = self.state, self.pace, self._waived(wanted)
        ramped = ramp.limit(state, rates, aim, present_w, waived, self.now, self.elapsed_s, moves)
        binding, ordered = wanted, self.wanted.ordered
        if ordered is not None and ordered.power_w < held_w:
            quicker = ramp.limit(state, rates, ordered, present_w, False, self.now, self.elapsed_s, moves)
            if quicker.power_w < ramped.power_w:
                ramped, binding = quicker, ordered
        # No ramp leads below what nothing can take off.
        lowest_w = max(ramped.power_w, min(self.wanted.floor_w, wanted.power_w))
        bound = ramped.bound or binding.bound if aim is wanted else Bound.RAMP_UP  # its ramp has not come to it yet
        return replace(binding, power_w=lowest_w, bound=bound)

    def _limited(self, setpoint: Setpoint) -> Setpoint:
        """However gently an order lowers the site, the surplus is a limit at once: shed to it, not below it."""
        surplus_cap_w, urgent = self.state.surplus_cap_w, self.wanted.urgent
        surplus_w = math.inf if surplus_cap_w is None else max(surplus_cap_w, self.wanted.floor_w)
        if setpoint.power_w > surplus_w:
            setpoint = replace(setpoint, power_w=surplus_w, bound=Bound.SURPLUS, source="poi")
        # And so is what must be shed, while a lower cap or the fallback is on its way by a ramp.
        return urgent if urgent is not None and setpoint.power_w > urgent.power_w else setpoint

    def _remember(self, offset_w: float, setpoint: Setpoint) -> None:
        """Trims and sleeps on their way count whole, for they are there in seconds; boots as far as they have come."""
        state, now = self.state, self.now
        committed_w = max(offset_w + float(estimator.expected_soon_w(state.fleet, now, 0.0).sum()), 0.0)
        there = abs(committed_w - setpoint.power_w) <= self.policy.fleet.deadband_up_w
        ramp.remember(state, setpoint.power_w if there else committed_w, self._drawn_w(offset_w), now)

    def _drawn_w(self, offset_w: float) -> float:
        """What the site is believed to draw now, watts."""
        return offset_w + float(estimator.expected_power_w(self.state.fleet, self.now).sum())

    def _blind_limit_w(self, blind: bool) -> float:
        """What was drawn as an input went into doubt, watts: boots that come for a wish of before may not pass that."""
        state = self.state
        if not blind:
            state.blind_from_w = math.inf
        elif state.blind_from_w == math.inf and state.offset_w is not None:
            state.blind_from_w = self._drawn_w(state.offset_w)
        return state.blind_from_w

    def _goal(self, wanted: Setpoint, aim: Setpoint, setpoint: Setpoint, moves: Moves) -> Goal:
        """What the allocator is asked for."""
        trim, ahead = self.policy.fleet.trim, self.wanted.ahead
        # A wish can wait for a dwell, a limit cannot. Our own pace upward is no limit: wanted_w keeps it from putting a
        # unit back to sleep half booted, for ever, where one unit is more than the ramp allows.
        waived = wanted.bound is not Bound.DISPATCH_TARGET or setpoint.bound is Bound.SURPLUS
        at_line = ahead.fall is not None and setpoint.power_w >= ahead.fall.line_w  # on the way down, which ends there
        in_the_end_w = min(wanted.power_w, ahead.fall.power_w) if ahead.fall and at_line else wanted.power_w
        cap_w = math.inf if self.wanted.cap_w is None else self.wanted.cap_w
        blind = self.trust.worst in doubts.DOUBTED
        # A set-point at the floor stands for a limit below it: what the floor believes too much is no room for anybody.
        at_floor = max(setpoint.power_w, in_the_end_w) <= self.wanted.floor_w
        room = not at_floor or ahead.rise is not None
        may_raise, ahead_w = room and not self.state.doubtful, 0.0
        if may_raise and not waived and not setpoint.shed and trim:
            ahead_w = ramp.ahead_w(
                self.state, self.pace, setpoint.power_w, aim.power_w, cap_w, self.now, self.elapsed_s, moves
            )
        self.state.asked_w = None if waived or setpoint.shed else setpoint.power_w + ahead_w
        return Goal(
            power_w=setpoint.power_w,
            wanted_w=in_the_end_w,
            up_w_per_s=self.pace.up_w_per_min / ramp.MINUTE_S,
            shed=setpoint.shed,
            waived=waived,
            may_raise=may_raise,
            exact=Bound.SURPLUS not in (wanted.bound, setpoint.bound),
            fall=ahead.fall,
            rise=ahead.rise,
            ahead_w=ahead_w,
            blind=blind,
            limit_w=max(min(cap_w, self._blind_limit_w(blind)), setpoint.power_w),
            empty=at_floor and setpoint.bound is Bound.SURPLUS,
        )


def why_not_raised(state: State, policy: Policy, trust: Trust, journal_writable: bool, now: float) -> str:
    """What forbids raising, "" when nothing does."""
    return failsafe.why_not_raised(trust, state, journal_writable, now) or _unread(state, policy, now)


def _unread(state: State, policy: Policy, now: float) -> str:
    """What forbids raising after a start: who was not read yet may hash, and whoever woke in its place came on top.

    Who cannot be reached is known to be so by the first sweep; the time is for one that says nothing of use.
    """
    if now - state.started_at > policy.fleet.telemetry_stale_s:
        return ""
    waiting = int(np.count_nonzero((state.fleet.condition == Condition.UNKNOWN) & ~np.isfinite(state.fleet.read_at)))
    return f"{waiting} miners not read yet" if waiting else ""
