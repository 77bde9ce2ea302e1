"""Back into control after a stop or a crash: the newest checkpoint, and what was commanded after it."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from controller.core import checkpoint, clock, wear
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.fleet import Fleet
from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Event, EventLevel
from controller.runtime.journal_file import last_checkpoint, last_row, read_rows, rows_behind_checkpoint

ON_EXIT = "on_exit"  # the operator's name on the cap of a stop that ramps down first; it ends with the process
WEAR_ROWS = (RowKind.START, RowKind.OUTCOME)
# Rows of any age and any writer: numbers beyond all bounds and lists nested beyond all depth included.
UNREADABLE = (
    sqlite3.Error,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class Resumed:
    """The state to go on from, and what a person should know about it."""

    state: State
    event: Event


def resume(path: Path, facts: Fleet, now: float, wall: float) -> Resumed:
    """State from the journal at `path`; a fresh one when there is nothing to go on from. `now` in loop seconds.

    A checkpoint that cannot be read costs the memory of who was put to sleep by us, never the prior modes or the
    numbers of the commands.
    """
    try:
        row = last_checkpoint(path)
        state, away_s = (State.fresh(facts, now), 0.0) if row is None else _from(row, facts, now, wall)
        _enter_priors(path, facts, state)
        checkpoint.replay_commands(facts, state, _commands_behind(path))
        for at, spent in _wear_in(rows_behind_checkpoint(path, WEAR_ROWS), facts):
            # By today's clock, and never in the future: a row of a clock that was ahead would count for years.
            moment = min(at, wall) if row is None else wall - away_s + min(max(at - row.wall, 0.0), away_s)
            wear.count(state, spent, moment)
    except UNREADABLE as error:
        text = f"the journal holds no state to go on from ({error!r}); miners found asleep count as foreign"
        return Resumed(_salvaged(path, facts, now, wall), Event("resume_failed", EventLevel.ERROR, text))
    if row is None:
        return Resumed(state, Event("fresh_start", EventLevel.INFO, "no earlier run in the journal"))
    text = f"going on from the checkpoint of {away_s:.0f} s ago, cycle {state.cycle}"
    if abs(wall - row.wall - away_s) >= clock.STEP_S:
        text += f"; by the wall clock {wall - row.wall:.0f} s: the machine, or its clock, was set anew meanwhile"
    return Resumed(state, Event("resumed", EventLevel.INFO, text))


def _from(row: Row, facts: Fleet, now: float, wall: float) -> tuple[State, float]:
    """The state of a checkpoint, and for how many seconds we were away: dwell, quarantine and orders went on meanwhile.

    Two clocks say for how long. Loop time runs on while the machine does, whatever the wall clock is set to; after a
    start of the machine it begins anew and says anything. The shorter time counts: neither clock alone may end an order
    or a cap that holds the site down.
    """
    record = json.loads(row.body)
    possible = (wall - row.wall, now - float(record.get("taken_at", -math.inf)))
    away_s = min((seconds for seconds in possible if seconds >= 0.0), default=0.0)
    state = checkpoint.from_record(facts, record, now - away_s, row.wall)
    wear.shift(state, wall - row.wall - away_s)
    state.started_at = state.now = now
    state.operator_caps = tuple(cap for cap in state.operator_caps if cap.operator != ON_EXIT)
    return state, away_s


def _salvaged(path: Path, facts: Fleet, now: float, wall: float) -> State:
    """What a journal without a usable checkpoint still tells: prior modes, which command numbers are taken, and what
    miners that wear have spent of their day."""
    state = State.fresh(facts, now)
    with suppress(*UNREADABLE):
        _enter_priors(path, facts, state)
    with suppress(*UNREADABLE):
        row = last_row(path, RowKind.COMMAND)
        numbers = [] if row is None else [int(entry[0]) for entry in json.loads(row.body)["commands"]]
        state.next_command_id = max(numbers, default=0) + 1
    with suppress(*UNREADABLE):
        for at, spent in _wear_in(read_rows(path, WEAR_ROWS), facts):
            if at > wall - wear.DAY_S:
                wear.count(state, spent, min(at, wall))
    return state


def _enter_priors(path: Path, facts: Fleet, state: State) -> None:
    """The last prior mode on record counts: a second one is written only when a person had the miner adopted anew."""
    known = set(facts.miner_ids)
    for row in read_rows(path, (RowKind.PRIOR,)):
        body = json.loads(row.body)
        if body["miner"] in known:
            state.priors[facts.index_of(body["miner"])] = body["prior"]


def _commands_behind(path: Path) -> list[tuple[int, str, Verb]]:
    """Commands after the checkpoint; rows speak of miners by index into the start row of their run."""
    ids: list[str] = []
    commands: list[tuple[int, str, Verb]] = []
    for row in rows_behind_checkpoint(path, (RowKind.START, RowKind.COMMAND)):
        body = json.loads(row.body)
        if row.kind is RowKind.START:
            ids = body["miner_ids"]
        else:
            commands.extend((int(entry[0]), ids[int(entry[1])], Verb(entry[2])) for entry in body["commands"])
    return commands


def _wear_in(rows: Iterable[Row], facts: Fleet) -> Iterator[tuple[float, list[tuple[int, int]]]]:
    """What the commands of these rows cost: UTC seconds, and (miner, wear) by the fleet's own indices."""
    ids: list[str] = []
    row_of = {miner_id: row for row, miner_id in enumerate(facts.miner_ids)}
    for row in rows:
        body = json.loads(row.body)
        if row.kind is RowKind.START:
            ids = body["miner_ids"]
            continue
        named = ((ids[int(entry[1])], int(entry[8])) for entry in body["reports"] if len(entry) > 8)
        yield row.wall, [(row_of[name], wear) for name, wear in named if name in row_of]
