"""The whole state as a journal row, to the bit: where a replay begins. A checkpoint keeps what a restart needs; this
keeps everything."""

from __future__ import annotations

import json

from controller.core.state import State
from controller.domain.journalling import Row, RowKind
from controller.wire.canonical import canonical
from controller.wire.exact import Exact

_EXACT = Exact(State)


def state_row(wall: float, state: State) -> Row:
    """One STATE row."""
    return Row(wall, RowKind.STATE, canonical(_EXACT.written(state)))


def state_of(row: Row) -> State:
    """The state of such a row. Raises ValueError where another version of the program wrote it."""
    state = _EXACT.read(json.loads(row.body))
    if not isinstance(state, State):
        raise ValueError("a state row that holds no state")
    return state
