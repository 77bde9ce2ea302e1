"""Back into control after a stop or a crash: the newest checkpoint, and what was commanded after it."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from controller.core import checkpoint
from controller.core.state import State
from controller.domain.fleet import Fleet, Verb
from controller.domain.journalling import RowKind
from controller.domain.plan import Event, EventLevel
from controller.runtime.journal_file import last_checkpoint, read_rows

ON_EXIT = "on_exit"  # the operator's name on the cap of a stop that ramps down first; it ends with the process


@dataclass(frozen=True, slots=True)
class Resumed:
    """The state to go on from, and what a person should know about it."""

    state: State
    event: Event


def resume(path: Path, facts: Fleet, now: float, wall: float) -> Resumed:
    """State from the journal at `path`; a fresh one when there is nothing to go on from. `now` in loop seconds."""
    try:
        row = last_checkpoint(path)
        state = State.fresh(facts, now) if row is None else _from(row.wall, row.body, facts, now, wall)
        since = 0.0 if row is None else row.wall
        _replay(path, facts, state, since)
    except (sqlite3.Error, ValueError, LookupError, TypeError, AttributeError) as error:
        text = f"the journal holds no state to go on from ({error}); miners found asleep count as foreign"
        return Resumed(State.fresh(facts, now), Event("resume_failed", EventLevel.ERROR, text))
    if row is None:
        return Resumed(state, Event("fresh_start", EventLevel.INFO, "no earlier run in the journal"))
    text = f"going on from the checkpoint of {wall - row.wall:.0f} s ago, cycle {state.cycle}"
    return Resumed(state, Event("resumed", EventLevel.INFO, text))


def _from(taken_wall: float, body: str, facts: Fleet, now: float, wall: float) -> State:
    """Ages count from when the checkpoint was taken: dwell and quarantine went on while we were away."""
    away_s = max(wall - taken_wall, 0.0)
    state = checkpoint.from_record(facts, json.loads(body), now - away_s)
    state.started_at = state.now = now
    state.operator_caps = tuple(cap for cap in state.operator_caps if cap.operator != ON_EXIT)
    return state


def _replay(path: Path, facts: Fleet, state: State, since_wall: float) -> None:
    """Commands after the checkpoint and every prior mode; rows speak of miners by index into their run's start row."""
    ids: list[str] = []
    commands: list[tuple[int, str, Verb]] = []
    for row in read_rows(path, (RowKind.START, RowKind.COMMAND, RowKind.PRIOR)):
        body = json.loads(row.body)
        if row.kind is RowKind.START:
            ids = body["miner_ids"]
        elif row.kind is RowKind.PRIOR and body["miner"] in facts.miner_ids:
            state.priors.setdefault(facts.index_of(body["miner"]), body["prior"])
        elif row.kind is RowKind.COMMAND and row.wall >= since_wall:
            commands.extend((int(entry[0]), ids[int(entry[1])], Verb(entry[2])) for entry in body["commands"])
    checkpoint.replay_commands(facts, state, commands)
