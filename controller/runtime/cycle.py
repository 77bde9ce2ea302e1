"""The beat: freeze, step, hand out. One cycle a second, earlier when something urgent came; never two at once."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

from controller.core import checkpoint, shadow
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.dispatch import Answer
from controller.domain.journalling import Row
from controller.domain.plan import Decision, Snapshot
from controller.domain.policy import Mode
from controller.ports import Durable, Inbox, Journal
from controller.runtime.actuator import Actuator
from controller.runtime.mailbox import Mailbox
from controller.runtime.whole_state import state_row
from controller.wire.journal import CycleRecorder
from controller.wire.rows import prior_row

URGENT_GAP_S = 0.05  # urgent input may start a cycle early, at most this often
CHECKPOINT_PERIOD_S = 10.0
STATE_PERIOD_S = 3600.0  # a replay begins at the start of a run, and at each of these where that was pruned
ANSWER_WITHIN_S = 0.5  # answers follow the journal, but a slow disk must not keep a dispatcher waiting


class Watcher(Protocol):
    """Who wants to see every cycle: metrics, logs, status, systemd. `took_s` covers all of it, watching included."""

    def cycle_done(self, state: State, decision: Decision) -> None: ...

    def cycle_timed(self, decision: Decision, took_s: float, overrun: bool) -> None: ...


class Cycle:
    """Owns the state. `run` returns after `stop`, with a last checkpoint written."""

    def __init__(
        self,
        engine: Engine,
        state: State,
        *,
        mailbox: Mailbox,
        inbox: Inbox | None,
        journal: Journal,
        actuator: Actuator,
        watcher: Watcher,
        heartbeat_at: Callable[[], float | None],
    ) -> None:
        self.engine = engine
        self.state = state
        self._snapshot: Snapshot | None = None
        self._mailbox = mailbox
        self._inbox = inbox
        self._journal = journal
        self._actuator = actuator
        self._watcher = watcher
        self._heartbeat_at = heartbeat_at
        self._recorder = CycleRecorder()
        self._checkpoint_due = 0.0
        self._state_due = state.now + STATE_PERIOD_S  # the run's start row has one behind it
        self._stopping = asyncio.Event()
        self._answering: set[asyncio.Task[None]] = set()

    def present(self) -> tuple[State, Snapshot] | None:
        """What the last cycle left behind, and what it had found; None before the first."""
        return None if self._snapshot is None else (self.state, self._snapshot)

    def stop(self) -> None:
        """End after the cycle under way."""
        self._stopping.set()
        self._mailbox.urgent.set()

    async def run(self) -> None:
        """Cycle until stopped. An exception out of the step is a bug and ends the process: systemd restarts it."""
        loop = asyncio.get_running_loop()
        period_s = self.engine.policy.cycle_s
        due = loop.time()
        while not self._stopping.is_set():
            started = loop.time()
            decision = self._once(started)
            took_s = loop.time() - started
            ends_by = started + period_s  # an early cycle may reach over the beat, which then comes right after it
            if started >= due:  # an early cycle does not shift the beat; a late one leaves out the beats it missed
                due += (int((started - due) / period_s) + 1) * period_s
                ends_by = due
            self._watcher.cycle_timed(decision, took_s, overrun=started + took_s > ends_by)
            await self._wait_until(due, started + URGENT_GAP_S)
        self._journal.append((self._checkpoint(loop.time(), time.time()),))
        if self._answering:
            await asyncio.wait(self._answering)

    async def _wait_until(self, due: float, not_before: float) -> None:
        """Sleep until the next beat, or until something urgent comes, but never less than the urgent gap."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(max(due - loop.time(), 0.0)):
                await self._mailbox.urgent.wait()
        except TimeoutError:
            return
        await asyncio.sleep(max(min(not_before, due) - loop.time(), 0.0))

    def _once(self, now: float) -> Decision:
        """One cycle, without a single await between what came in and what goes out."""
        wall = time.time()
        received = self._inbox.drain() if self._inbox is not None else ()
        snapshot = self._mailbox.freeze(wall, received, self._heartbeat_at(), self._journal.writable)
        before, self._snapshot = self.state, snapshot
        self.state, decision = self.engine.step(before, snapshot, now)
        rows = self._recorder.rows_of_cycle(snapshot, decision)
        ids = self.engine.facts.miner_ids
        rows = (*(prior_row(wall, ids[miner], prior) for miner, prior in decision.priors), *rows)
        if now >= self._checkpoint_due or snapshot.operator or checkpoint.due_at_once(before, self.state):
            self._checkpoint_due = now + CHECKPOINT_PERIOD_S
            rows = (*rows, self._checkpoint(now, wall))
            if now >= self._state_due:
                self._state_due = now + STATE_PERIOD_S
                rows = (*rows, state_row(wall, self.state))
        durable = self._journal.append(rows)
        if self.engine.policy.mode is Mode.CONTROL:
            self._actuator.submit(decision.commands, durable)
        self._actuator.read_soon(decision.ask)
        answers = decision.answers if decision.shadow is None else shadow.answers_told(decision.answers)
        if answers and self._inbox is not None:
            task = asyncio.create_task(self._answer(answers, durable, self._inbox))
            self._answering.add(task)
            task.add_done_callback(self._answering.discard)
        self._watcher.cycle_done(self.state, decision)
        return decision

    async def _answer(self, answers: tuple[Answer, ...], durable: Durable, inbox: Inbox) -> None:
        """Journal first, answer after; when the disk is slow or gone the answers go out all the same."""
        with suppress(TimeoutError):
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await durable.wait()
        inbox.answer(answers)

    def _checkpoint(self, now: float, wall: float) -> Row:
        return self._recorder.checkpoint(wall, checkpoint.to_record(self.engine.facts, self.state, now))
