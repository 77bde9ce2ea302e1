"""What outlives a crash: the checkpoint as the daemon writes it, and the commands journalled after it."""

from __future__ import annotations

import json

from controller.core import checkpoint, wear
from controller.core.state import State
from controller.domain.command import Command, Verb
from controller.domain.fleet import Fleet

CHECKPOINT_PERIOD_S = 10.0


class Survivor:
    """A journal without the file. Every row is taken for written: what a disk loses is tests/runtime's affair."""

    def __init__(self, facts: Fleet) -> None:
        self._facts = facts
        self._kept: State | None = None
        self._wall = 0.0
        self._due_s = 0.0
        self._behind: list[tuple[int, str, Verb]] = []
        self._priors: dict[int, str] = {}

    def note(self, before: State, after: State, commands: tuple[Command, ...], by_hand: bool, wall: float) -> None:
        """One cycle's rows: its commands, then a checkpoint every ten seconds and when one is due at once."""
        ids = self._facts.miner_ids
        self._behind.extend((one.command_id, ids[one.miner], one.verb) for one in commands)
        self._priors.update(after.priors)
        if after.now >= self._due_s or by_hand or checkpoint.due_at_once(before, after):
            self._due_s = after.now + CHECKPOINT_PERIOD_S
            self._kept = after
            self._wall = wall
            self._behind = []

    def state(self, now: float, wall: float) -> State:
        """The state to go on from. The machine was up all the while: loop time tells for how long nobody was there."""
        if self._kept is None:
            return State.fresh(self._facts, now)
        # No step changes the state it was given: what is read back now was written then.
        record = json.loads(json.dumps(checkpoint.to_record(self._facts, self._kept, self._kept.now)))
        away_s = min(seconds for seconds in (wall - self._wall, now - record["taken_at"]) if seconds >= 0.0)
        state = checkpoint.from_record(self._facts, record, now - away_s, self._wall)
        wear.shift(state, wall - self._wall - away_s)
        state.started_at = state.now = now
        state.priors.update(self._priors)
        checkpoint.replay_commands(self._facts, state, self._behind)
        return state
