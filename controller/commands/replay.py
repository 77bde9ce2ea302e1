"""`curtaild replay`: the recorded inputs of a journal through this core again, every decision compared.

By the settings the journal itself holds, each run from the state it began with: then every byte must come out as it
was written. With other settings (`--config`) it answers what they would have decided in each of the recorded
situations, one cycle at a time: what would have followed from that, no recording can tell.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TextIO

from controller.commands.replay_report import Compared, page, view
from controller.config import ConfigError, load_site
from controller.core.engine import Engine
from controller.core.state import State
from controller.domain.journalling import Row, RowKind
from controller.domain.plan import Snapshot
from controller.runtime.journal_file import read_rows
from controller.runtime.whole_state import state_of, state_row
from controller.wire.canonical import canonical, utc_text
from controller.wire.journal import CycleRecorder
from controller.wire.replay import PUT_OUT, RecordedCycle, RecordedStart, RecordedState, recorded
from controller.wire.rows import prior_row
from controller.wire.setup import setup_from_record
from drivers.catalog import known_models

EXIT_SAME = 0
EXIT_DIFFERS = 1
EXIT_IMPOSSIBLE = 2


class ReplayRefusedError(Exception):
    """Why a journal cannot be replayed, and what to do."""


def run_replay(
    journal: Path, config: Path | None, env: Mapping[str, str], *, as_json: bool, out: TextIO, errors: TextIO
) -> int:
    """0: all came out as recorded, or differences were asked for with other settings. 1: it did not. 2: it cannot be
    replayed."""
    try:
        other = None if config is None else _settings_of(config, env)
        if not journal.is_file():
            raise ReplayRefusedError(
                f"{journal} does not exist, or is no file: name the journal, as state/SITE/journal.sqlite"
            )
        found, asked = replay(read_rows(journal), other)
    except (ReplayRefusedError, ConfigError, sqlite3.Error) as error:
        print(f"{journal}: {error}" if isinstance(error, sqlite3.Error) else error, file=errors)
        return EXIT_IMPOSSIBLE
    print(canonical(view(found, asked)) if as_json else "\n".join(page(found, asked)), file=out)
    return EXIT_SAME if asked is not None or not found.differing else EXIT_DIFFERS


def _settings_of(config: Path, env: Mapping[str, str]) -> Engine:
    site = load_site(config, known_models(), env)
    return Engine(site.fleet(), site.policy())


def replay(rows: Iterator[Row], other: Engine | None = None) -> tuple[Compared, Compared | None]:
    """Replay by the recorded settings; and, where `other` has other ones, what it decides in the same situations.

    Raises ReplayRefusedError.
    """
    found, asked = Compared(), None
    run: _Run | None = None
    for item in recorded(rows):
        match item:
            case RecordedStart():
                run = _Run(_engine_of(item), found)
                if other is not None and not _same(other, run.engine):
                    asked = asked or Compared()
                    run.ask(_fitting(other, run.engine), asked)
                found.runs += 1
                found.versions.add(str(item.body.get("versions", {}).get("curtaild", "unknown")))
            case RecordedState() if run is not None:
                run.begin_at(item.row)
            case RecordedCycle() if run is not None and run.state is not None:
                run.cycle(run.state, item)
            case RecordedCycle():
                found.left_out += 1
    if not found.cycles:
        raise ReplayRefusedError(
            "this journal holds no state to begin from: it was written before replays were possible (0.1.0), or its "
            "start was pruned. Replay one that was begun by this version"
        )
    return found, asked


class _Run:
    """One run of the daemon, stepped through again."""

    def __init__(self, engine: Engine, found: Compared) -> None:
        self.engine = engine
        self.state: State | None = None
        self._found = found
        self._recorder = CycleRecorder()
        self._other: Engine | None = None
        self._asked = Compared()
        self._last_cycle: int | None = None

    def ask(self, other: Engine, asked: Compared) -> None:
        """Also have other settings decide in every situation."""
        self._other, self._asked = other, asked

    def begin_at(self, row: Row) -> None:
        """Go on from a recorded state; where the replay has come to one, both must be the same to the bit."""
        try:
            recorded_state = state_of(row)
        except ValueError as error:
            raise ReplayRefusedError(f"{error}. Replay this journal with the version that wrote it") from None
        if self.state is not None:
            self._found.states += 1
            again, before = state_row(row.wall, self.state), state_row(row.wall, recorded_state)
            if again.body != before.body:
                self._found.kinds[RowKind.STATE.value] += 1
        self.state, self._last_cycle = recorded_state, recorded_state.cycle

    def cycle(self, before: State, recorded_cycle: RecordedCycle) -> None:
        """One cycle through the core again, from the state the replay has come to."""
        if self._last_cycle is not None and recorded_cycle.cycle != self._last_cycle + 1:
            self._found.missing += recorded_cycle.cycle - self._last_cycle - 1
            before.cycle = recorded_cycle.cycle - 1
        self._last_cycle = recorded_cycle.cycle
        if recorded_cycle.whole:
            self._recorder.checkpoint(0.0, {})
        # What a plan is written against is what the run before this cycle wrote, for both.
        others = self._recorder.copy() if self._other is not None else self._recorder
        self.state, rows = _stepped(self.engine, self._recorder, before, recorded_cycle.snapshot, recorded_cycle.now)
        self._compare(self._found, recorded_cycle, rows)
        if self._other is not None:
            _, rows = _stepped(self._other, others, before, recorded_cycle.snapshot, recorded_cycle.now)
            self._compare(self._asked, recorded_cycle, rows)

    @staticmethod
    def _compare(found: Compared, recorded_cycle: RecordedCycle, rows: tuple[Row, ...]) -> None:
        found.cycles += 1
        found.rows += len(recorded_cycle.put_out)
        if recorded_cycle.put_out != rows:
            found.differ(recorded_cycle, recorded_cycle.put_out, rows)


def _stepped(
    engine: Engine, recorder: CycleRecorder, state: State, snapshot: Snapshot, now: float
) -> tuple[State, tuple[Row, ...]]:
    """The state after one cycle, and the rows it puts out."""
    after, decision = engine.step(state, snapshot, now)
    ids = engine.facts.miner_ids
    priors = (prior_row(snapshot.wall, ids[miner], prior) for miner, prior in decision.priors)
    rows = (*priors, *recorder.rows_of_cycle(snapshot, decision))
    return after, tuple(row for row in rows if row.kind in PUT_OUT)


def _engine_of(start: RecordedStart) -> Engine:
    if "setup" not in start.body:
        raise ReplayRefusedError(
            f"the run of {utc_text(start.wall)} holds neither its settings nor a state to begin from: it was written "
            "before replays were possible (0.1.0)"
        )
    try:
        facts, policy = setup_from_record(start.body["setup"], start.body["miner_ids"])
    except (ValueError, LookupError, TypeError) as error:
        text = f"the settings of the run of {utc_text(start.wall)} cannot be read by this version ({error})"
        raise ReplayRefusedError(f"{text}. Replay this journal with the version that wrote it") from None
    return Engine(facts, policy)


def _same(one: Engine, another: Engine) -> bool:
    return one.policy == another.policy and one.facts.units == another.facts.units


def _fitting(other: Engine, engine: Engine) -> Engine:
    """Rows speak of miners and feeders by index: other settings are comparable, another inventory is not."""
    if other.facts.miner_ids != engine.facts.miner_ids or other.facts.feeder_names != engine.facts.feeder_names:
        raise ReplayRefusedError(
            "the inventory under --config has other miners or feeders, or another order, than the one recorded: keep "
            "the inventory of that run, and change settings only"
        )
    return other
