"""What a driver makes of each family's miners: one read, one command, without the wire between.

LuxOS tells everything. A WhatsMiner comes up at full power whatever it ran before it slept, and a wake restarts it.
A stock Antminer tells no watts: they are estimated from its hash rate. It is only put to sleep and woken, each a write
to its flash, and a wake gives back the mode it had.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import assert_never

import numpy as np

from controller.domain.command import Command, Outcome, Verb
from controller.domain.fleet import Condition, Fleet, MinerReading
from simulators.asic.bank import MinerBank
from simulators.asic.models import Family
from simulators.asic.response import Answer, Mode, Phase

DAY_S = 86_400.0
ERROR_RATIO = 0.12  # of an estimate
BOOT_SHARE = 0.25  # half of what a miner that should hash and shows no rate may draw, of its rung
NO_LIFE_S = 300.0  # a woken Antminer without a hash rate for so long sleeps on
MODE_OF_LEVEL = ("3", "0")  # an Antminer's work modes by rung
ASLEEP = int(Mode.SLEEP)  # one number of an array beside an enum member takes ten times as long as beside a plain one


@dataclass(frozen=True, slots=True)
class Done:
    """What became of one command at the miner."""

    outcome: Outcome
    detail: str = ""
    again_at: float | None = None
    wear: int = 0


class Devices:
    """Every miner of a bank behind its driver. `writes_per_day`: budget of flash writes and restarts of each.
    `refusals`: so many sleeps each says no to at first."""

    def __init__(self, bank: MinerBank, facts: Fleet, writes_per_day: int, refusals: dict[int, int]) -> None:
        self._bank = bank
        self._facts = facts
        self._writes_per_day = writes_per_day
        self._lowest_w = facts.level_power_w[:, 0].tolist()
        self._levels = tuple(unit.model.levels for unit in facts.units)
        self._sleep_w = facts.sleep_power_w.tolist()
        # A read is the commonest thing of a run: plain booleans, where looking an enum member up is a fifth of it.
        self._stock = tuple(model.family is Family.ANTMINER for model in bank.models)
        self._whatsminer = tuple(model.family is Family.WHATSMINER for model in bank.models)
        self._family = tuple(model.family for model in bank.models)
        self._rate_before_th = bank.reported_hashrate_th.copy()
        self._woken_at = np.full(bank.count, np.nan)
        self._slept_from: dict[int, int] = {}
        self._spent: dict[int, list[float]] = {}
        self._refusals = refusals

    def read(self, miner: int, began_at: float, at: float) -> MinerReading:
        """Telemetry of one miner that answers."""
        if self._stock[miner]:
            return self._estimate(miner, began_at, at)
        bank = self._bank
        whatsminer = self._whatsminer[miner]
        condition = self._off(miner) if whatsminer else self._condition(miner)
        comes_up = whatsminer and condition is Condition.ASLEEP  # at full power, whatever it was trimmed to
        level = int(bank.configured_profile[miner] if comes_up else bank.profile_index[miner])
        return MinerReading(
            miner=miner,
            condition=condition,
            power_w=float(round(float(bank.reported_power_w[miner]))),
            hashrate_th=float(bank.reported_hashrate_th[miner]),
            level=level,
            started_at=began_at,
            finished_at=at,
            prior=self._levels[miner][level].name,
        )

    def perform(self, command: Command, at: float) -> Done:
        """Carry out one command that arrived."""
        miner, wear = command.miner, self._wear_of(command)
        if wear:
            needed = 2 if command.verb is Verb.WAKE and self._family[miner] is Family.ANTMINER else 1
            again_at = self._withheld_until(miner, needed, at)
            if again_at is not None and not (command.urgent and command.verb is Verb.SLEEP):
                return Done(Outcome.WITHHELD, "its writes of the last 24 h are used up", again_at)
        lowered = command.escalated and self._lowers(command.miner)
        if self._refuses(command) or self._order(command, at) is Answer.REFUSED:
            return Done(Outcome.ROUNDED if lowered else Outcome.REFUSED)
        self._spent.setdefault(miner, []).extend([at] * wear)
        return Done(Outcome.ACKNOWLEDGED, wear=wear)

    def _lowers(self, miner: int) -> bool:
        """The other verb of an escalated sleep: to the lowest rung, where a miner trims, runs above it and listens."""
        reported_w = self._bank.reported_power_w[miner]
        if not self._facts.trims[miner] or reported_w <= 1.25 * self._lowest_w[miner]:
            return False
        return self._bank.command_profile(miner, 0) is Answer.ACKNOWLEDGED

    def _refuses(self, command: Command) -> bool:
        """Whether this sleep is one of those that its miner says no to."""
        left = self._refusals.get(command.miner, 0)
        if command.verb is not Verb.SLEEP or not left:
            return False
        self._refusals[command.miner] = left - 1
        return True

    def _condition(self, miner: int) -> Condition:
        """What the watts and the supply prove, whatever the miner claims."""
        draws = self._bank.reported_power_w[miner] > self._lowest_w[miner] / 2.0
        if not self._bank.boards_on[miner]:
            return Condition.UNKNOWN if draws else Condition.ASLEEP
        return Condition.HASHING

    def _off(self, miner: int) -> Condition:
        """A WhatsMiner: off when it says so and draws nothing, awake though no watt may have moved yet."""
        if self._bank.mode[miner] != ASLEEP:
            return Condition.HASHING
        if not self._bank.reported_power_w[miner] > self._lowest_w[miner] / 2.0:
            return Condition.ASLEEP
        return Condition.HASHING if self._bank.phase[miner] == Phase.STEADY else Condition.UNKNOWN

    def _estimate(self, miner: int, began_at: float, at: float) -> MinerReading:
        bank, levels = self._bank, self._levels[miner]
        rate_th, before_th = float(bank.reported_hashrate_th[miner]), float(self._rate_before_th[miner])
        self._rate_before_th[miner] = rate_th
        sleep_w = self._sleep_w[miner]
        runs = int(bank.profile_index[miner])
        level: int | None = runs
        rung = levels[runs]
        hashes = rate_th > 0.01 * levels[0].hashrate_th
        told_to_sleep = bool(bank.mode[miner] == ASLEEP)
        if hashes:
            self._woken_at[miner] = np.nan
            self._slept_from[miner] = runs
            power_w, before_w = (
                sleep_w + (rung.power_w - sleep_w) * th / rung.hashrate_th for th in (rate_th, before_th)
            )
            condition, error_w = Condition.HASHING, ERROR_RATIO * power_w + abs(power_w - before_w)
        elif told_to_sleep:
            condition, power_w, error_w = Condition.ASLEEP, sleep_w, sleep_w
            level = self._slept_from.get(miner)  # its configuration says sleep, not what it did before
        else:
            boot_w = BOOT_SHARE * (rung.power_w - sleep_w)
            lifeless = at - self._woken_at[miner] >= NO_LIFE_S
            condition = Condition.ASLEEP if lifeless else Condition.HASHING
            power_w, error_w = sleep_w + boot_w, boot_w
        return MinerReading(
            miner=miner,
            condition=condition,
            power_w=power_w,
            hashrate_th=rate_th,
            level=level,
            started_at=began_at,
            finished_at=at,
            prior=None if told_to_sleep or level is None else MODE_OF_LEVEL[level],
            power_error_w=error_w,
        )

    def _order(self, command: Command, at: float) -> Answer:
        bank, miner = self._bank, command.miner
        stock = self._stock[miner]
        match command.verb:
            case Verb.SLEEP if stock:
                return bank.command_restart(miner, asleep=True)
            case Verb.SLEEP:
                return bank.command_sleep(miner)
            case Verb.WAKE if stock:
                self._woken_at[miner] = at
                level = MODE_OF_LEVEL.index(command.prior) if command.prior is not None else None
                return bank.command_restart(miner, level, asleep=False)
            case Verb.WAKE:
                return bank.command_wake(miner)
            case Verb.TRIM:
                assert command.level is not None, "a trim names its level"
                assert not stock, "nobody trims a stock Antminer"
                return bank.command_profile(miner, command.level)
            case _:
                assert_never(command.verb)

    def _wear_of(self, command: Command) -> int:
        """Writes and restarts that this command costs."""
        match self._family[command.miner]:
            case Family.LUXOS:
                return 0
            case Family.WHATSMINER:
                return int(command.verb is Verb.WAKE)
            case Family.ANTMINER:
                return 1

    def _withheld_until(self, miner: int, needed: int, at: float) -> float | None:
        """When there will be room for `needed` writes, None when there is."""
        spent = [one for one in self._spent.get(miner, ()) if at - one < DAY_S]
        missing = len(spent) + needed - self._writes_per_day
        return spent[missing - 1] + DAY_S if missing > 0 else None
