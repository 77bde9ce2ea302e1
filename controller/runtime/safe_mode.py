"""Safe mode at work: the smallest way from wherever the load is down to the fallback, after too many crashes in a row.

No broker, no meters, no engine: one of them may be what kills the process. Miners are read, and those that hash are put
to sleep along the fallback ramp until a person has looked; nobody is woken. What is done stands in the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import numpy as np

from controller.core.safe_mode import URGENT_ATTEMPTS, Belief, Ramp, to_sleep
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.fleet import Condition, Fleet, MinerReading
from controller.domain.journalling import Row
from controller.domain.plan import Event, EventLevel
from controller.domain.policy import Policy
from controller.ports import Durable, Journal, Load
from controller.wire.rows import commands_row, outcomes_row, prior_row

TICK_S = 1.0
SWEEP_S = 10.0
FIRST_READS_WITHIN_S = 5.0  # after that the ramp begins, whoever has not been heard
READS_AT_ONCE, COMMANDS_AT_ONCE = 32, 64  # apart: miners that hang must not keep the others from being told
WRITTEN_WITHIN_S = 1.0
CLOSE_WITHIN_S = 5.0


class SafeMode:
    """Runs until cancelled. `state` is read once, for what a checkpoint knows of the miners; nothing is written to it.

    watch: called every tick with the power believed and the power aimed at, watts at the site meter. tell: takes what a
    person should know.
    """

    def __init__(
        self,
        facts: Fleet,
        policy: Policy,
        state: State,
        *,
        loads: Sequence[Load],
        journal: Journal,
        watch: Callable[[float, float], None],
        tell: Callable[[Event], None],
    ) -> None:
        self._facts = facts
        self._policy = policy
        self._loads = loads
        self._journal = journal
        self._watch = watch
        self._tell = tell
        self._belief = _belief_of(facts, state)
        self._priors = set(state.priors)
        self._next_command_id = state.next_command_id
        self._unread = set(range(len(facts)))
        self._told = [asyncio.Event() for _ in loads]
        self._waiting: list[Command | None] = [None] * len(loads)
        self._read_slots = asyncio.Semaphore(READS_AT_ONCE)
        self._command_slots = asyncio.Semaphore(COMMANDS_AT_ONCE)

    async def run(self) -> None:
        """One task a miner, and the ramp. A bug that one miner's answer wakes ends that miner's task and no other."""
        loop = asyncio.get_running_loop()
        tasks = [loop.create_task(self._tend(miner), name=f"miner {miner}") for miner in range(len(self._loads))]
        for miner, task in enumerate(tasks):
            task.add_done_callback(partial(self._lost, miner))
        try:
            await self._descend()
        finally:
            for task in tasks:
                task.cancel()
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_WITHIN_S):
                    await asyncio.gather(*tasks, return_exceptions=True)
                    await asyncio.gather(*(load.close() for load in self._loads), return_exceptions=True)

    async def _descend(self) -> None:
        """The ramp, from what the miners draw at first down to the fallback, after this site's own offset."""
        loop, policy = asyncio.get_running_loop(), self._policy
        began = loop.time()
        while self._unread and loop.time() - began < FIRST_READS_WITHIN_S:
            self._watch(self._power_w(), self._power_w())
            await asyncio.sleep(TICK_S / 4)
        way = Ramp(
            from_w=self._power_w(),
            began=loop.time() + policy.inputs.fallback_offset_s,
            fallback_w=policy.fallback_w,
            w_per_min=policy.ramp.fallback_w_per_min,
        )
        while True:
            now = loop.time()
            aim_w = way.follow(self._power_w(), float(self._belief.draw_w.max()), now)
            self._put_to_sleep(self._power_w() - aim_w, now)
            self._watch(self._power_w(), aim_w)
            await asyncio.sleep(TICK_S)

    def _power_w(self) -> float:
        return self._belief.power_w(self._facts, self._policy.auxiliary_w, asyncio.get_running_loop().time())

    def _put_to_sleep(self, excess_w: float, now: float) -> None:
        commands = []
        for miner in to_sleep(self._facts, self._belief, excess_w, now):
            urgent = int(self._belief.attempts[miner]) in URGENT_ATTEMPTS
            command = Command(
                self._next_command_id, miner, Verb.SLEEP, None, raises=False, urgent=urgent, reason="safe mode"
            )
            self._next_command_id += 1
            self._belief.told_at[miner] = now
            self._belief.attempts[miner] += 1
            self._waiting[miner] = command
            commands.append(command)
        if commands:
            self._record(commands_row(time.time(), commands))
            for command in commands:
                self._told[command.miner].set()

    async def _tend(self, miner: int) -> None:
        """All traffic to one miner, in turn: a command as soon as there is one, else a read every sweep."""
        load, loop = self._loads[miner], asyncio.get_running_loop()
        while True:
            command, self._waiting[miner] = self._waiting[miner], None
            self._told[miner].clear()
            if command is not None:
                async with self._command_slots:
                    self._belief.told_at[miner] = loop.time()
                    report = await load.perform(command)
                self._record(outcomes_row(time.time(), (report,)))
                await asyncio.sleep(float(self._facts.sleep_dead_s[miner] + self._facts.sleep_90_s[miner]))
            async with self._read_slots:
                reading = await load.read()
            await self._take(miner, reading)
            with suppress(TimeoutError):
                async with asyncio.timeout(SWEEP_S):
                    await self._told[miner].wait()

    async def _take(self, miner: int, reading: MinerReading) -> None:
        """What a read proved. A miner is moved only once its prior mode is on record, or the journal had its chance."""
        belief = self._belief
        self._unread.discard(miner)
        belief.heard[miner] = reading.condition not in (Condition.UNKNOWN, Condition.UNREACHABLE)
        if belief.heard[miner]:
            belief.stranger[miner] = reading.condition is Condition.CONTRADICTS
        if reading.condition is Condition.HASHING:
            belief.asleep[miner] = False
            belief.take_power(self._facts, miner, reading.power_w)
        elif reading.condition is Condition.ASLEEP and reading.started_at > belief.told_at[miner]:
            belief.asleep[miner] = True
        if reading.prior is not None and miner not in self._priors:
            self._priors.add(miner)
            durable = self._record(prior_row(time.time(), self._facts.miner_ids[miner], reading.prior))
            if durable is not None:
                with suppress(TimeoutError):
                    async with asyncio.timeout(WRITTEN_WITHIN_S):
                        await durable.wait()
            belief.movable[miner] = True

    def _record(self, row: Row) -> Durable | None:
        """Journal a row; None from a journal whose writer is gone, which must not keep the load up."""
        try:
            return self._journal.append((row,))
        except RuntimeError:
            return None

    def _lost(self, miner: int, ended: asyncio.Task[None]) -> None:
        """One miner's task ended by a bug: named, counted as drawing from here on."""
        if ended.cancelled() or (error := ended.exception()) is None:
            return
        self._belief.movable[miner] = False
        name = self._facts.miner_ids[miner]
        self._tell(Event("safe_mode_miner_lost", EventLevel.ERROR, f"not driven any more: {error!r}", name))


def _belief_of(facts: Fleet, state: State) -> Belief:
    """Before the first read everybody draws: what the checkpoint knows where that is no sleep, else the cap level."""
    rows = np.arange(len(facts))
    cap_w = facts.level_power_w[rows, facts.cap_level]
    known_w = state.fleet.from_w
    nobody = np.zeros(len(facts), dtype=np.bool_)
    return Belief(
        draw_w=np.where(known_w > facts.sleep_power_w, known_w, cap_w),
        asleep=nobody.copy(),
        heard=nobody.copy(),
        movable=np.array([row in state.priors for row in rows.tolist()]) & ~state.fleet.parked,
        stranger=nobody.copy(),
        told_at=np.full(len(facts), -np.inf),
        attempts=np.zeros(len(facts), dtype=np.int64),
    )
