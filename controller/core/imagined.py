"""A fleet that obeys as its response classes say: what commands would do, without a miner that is told anything.

`curtaild preview` runs it ahead of time, shadow mode beside the real one. It knows no fault: a miner that would have
refused, lied or never booted obeys here like the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from controller.core.fleet_state import NO_COMMAND, VERB_CODES, FleetState
from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.fleet import BoolArray, ByteArray, Condition, Fleet, FloatArray, IntArray, MinerReading

ANSWERED_S = 0.1
SETTLED_FACTOR = 1.5  # of the 90 % time: when a miner is looked at after a command, as its worker does


@dataclass(slots=True)
class ImaginedFleet:
    """(n,) arrays; times are loop seconds.

    known: it has begun to be imagined. hashing, level: what it was last told. ratio: its own watts to the nameplate of
    its rung. error_w: how far off its estimate is, where it tells no watts. The move under way: verb (0 none), sent_at,
    from_w, to_w, dead_s, to_90_s.
    """

    known: BoolArray
    hashing: BoolArray
    level: IntArray
    ratio: FloatArray
    error_w: FloatArray
    verb: ByteArray
    sent_at: FloatArray
    from_w: FloatArray
    to_w: FloatArray
    dead_s: FloatArray
    to_90_s: FloatArray

    @classmethod
    def nobody(cls, facts: Fleet) -> ImaginedFleet:
        """None of them known yet."""
        n = len(facts)
        return cls(
            known=np.zeros(n, dtype=np.bool_),
            hashing=np.zeros(n, dtype=np.bool_),
            level=facts.cap_level.copy(),
            ratio=np.ones(n),
            error_w=np.zeros(n),
            verb=np.zeros(n, dtype=np.int8),
            sent_at=np.zeros(n),
            from_w=np.zeros(n),
            to_w=np.zeros(n),
            dead_s=np.zeros(n),
            to_90_s=np.ones(n),
        )

    @classmethod
    def as_believed(cls, fleet: FleetState) -> ImaginedFleet:
        """The fleet as the core believes it to be, moves under way included; who fails to fall draws as before."""
        moving = (fleet.verb != NO_COMMAND) & ~fleet.unheard
        answers = (fleet.condition == Condition.HASHING) | (fleet.condition == Condition.ASLEEP)
        seen = np.where(fleet.level >= 0, fleet.level, fleet.want_level)
        return cls(
            known=answers & ~fleet.caught,
            hashing=np.where(moving, fleet.want_hashing, fleet.condition == Condition.HASHING),
            level=np.where(moving & (fleet.verb != VERB_CODES[Verb.SLEEP]), fleet.want_level, seen),
            ratio=fleet.ratio.copy(),
            error_w=fleet.power_error_w.copy(),
            verb=np.where(moving, fleet.verb, NO_COMMAND).astype(np.int8),
            sent_at=fleet.sent_at.copy(),
            from_w=fleet.from_w.copy(),
            to_w=np.where(fleet.unheard, fleet.from_w, fleet.to_w),
            dead_s=fleet.dead_s.copy(),
            to_90_s=fleet.to_90_s.copy(),
        )

    def copy(self) -> ImaginedFleet:
        return ImaginedFleet(**{entry.name: getattr(self, entry.name).copy() for entry in fields(self)})

    def power_w(self, at: float) -> FloatArray:
        """What each draws at a moment, (n,) watts."""
        in_90s = np.maximum(at - self.sent_at - self.dead_s, 0.0) / self.to_90_s
        share = np.where(
            self.verb == VERB_CODES[Verb.WAKE],
            np.maximum(1.0 - 0.9 * in_90s, 0.0),
            np.power(10.0, -np.minimum(in_90s, 12.0)),
        )
        left: FloatArray = np.where(self.verb == NO_COMMAND, 0.0, share)
        return self.to_w + (self.from_w - self.to_w) * left

    def see(self, facts: Fleet, reading: MinerReading) -> None:
        """Take one miner as it is: from here on it is imagined."""
        miner = reading.miner
        self.known[miner] = True
        self.hashing[miner] = reading.condition is Condition.HASHING
        if reading.level is not None:
            self.level[miner] = reading.level
        rung_w = float(facts.level_power_w[miner, self.level[miner]])
        asleep_w = float(facts.sleep_power_w[miner])
        otherwise_w = rung_w if self.hashing[miner] else asleep_w
        draw_w = otherwise_w if reading.power_w is None else reading.power_w
        self.from_w[miner] = self.to_w[miner] = draw_w
        self.verb[miner] = NO_COMMAND

    def obey(
        self, facts: Fleet, commands: Sequence[Command], answers: BoolArray, want_level: IntArray, now: float
    ) -> None:
        """Commands on their way to those who answer; `want_level` (n,) says what a woken one comes up to."""
        if not commands:
            return
        draw_w = self.power_w(now)
        for command in commands:
            miner, verb = command.miner, command.verb
            if not answers[miner]:
                continue
            if verb is not Verb.SLEEP:
                self.level[miner] = want_level[miner] if command.level is None else command.level
            self.hashing[miner] = verb is not Verb.SLEEP
            rung_w = float(facts.level_power_w[miner, self.level[miner]] * self.ratio[miner])
            self.from_w[miner] = draw_w[miner]
            self.to_w[miner] = facts.sleep_power_w[miner] if verb is Verb.SLEEP else rung_w
            self.verb[miner] = VERB_CODES[verb]
            self.sent_at[miner] = now
            self.dead_s[miner] = getattr(facts, f"{verb.value}_dead_s")[miner]
            self.to_90_s[miner] = getattr(facts, f"{verb.value}_90_s")[miner]

    def settled_at(self, miners: IntArray) -> FloatArray:
        """When the moves of these should show."""
        return self.sent_at[miners] + self.dead_s[miners] + SETTLED_FACTOR * self.to_90_s[miners]

    def read(self, facts: Fleet, miner: int, power_w: float, started_at: float, finished_at: float) -> MinerReading:
        """What a read that begins then finds of one of them; `power_w` is what it draws."""
        switched = started_at >= self.sent_at[miner] + self.dead_s[miner]
        was_hashing = self.verb[miner] == VERB_CODES[Verb.SLEEP] or (
            self.hashing[miner] and self.verb[miner] != VERB_CODES[Verb.WAKE]
        )
        hashing = bool(self.hashing[miner]) if switched or self.verb[miner] == NO_COMMAND else bool(was_hashing)
        level = int(self.level[miner])
        rung = facts.units[miner].model.levels[level]
        return MinerReading(
            miner=miner,
            condition=Condition.HASHING if hashing else Condition.ASLEEP,
            power_w=power_w,
            hashrate_th=rung.hashrate_th if hashing else 0.0,
            level=level if hashing else None,
            started_at=started_at,
            finished_at=finished_at,
            power_error_w=None if facts.reports_power[miner] else max(float(self.error_w[miner]), 0.05 * power_w),
        )

    def reports(
        self, commands: Sequence[Command], answers: BoolArray, sent_at: float, now: float
    ) -> tuple[CommandReport, ...]:
        """What their drivers would have said: a yes of everybody who answers."""
        answered_at = min(sent_at + ANSWERED_S, now)
        return tuple(
            CommandReport(
                command.command_id,
                command.miner,
                Outcome.ACKNOWLEDGED if answers[command.miner] else Outcome.UNREACHABLE,
                sent_at if answers[command.miner] else None,
                answered_at,
            )
            for command in commands
        )
