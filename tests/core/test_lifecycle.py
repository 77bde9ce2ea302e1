"""The judgement of one miner: every cell of the table, written down a second time."""

from __future__ import annotations

import numpy as np
import pytest

from controller.core import lifecycle
from controller.core.lifecycle import Signal
from controller.domain.fleet import Verdict

UNSEEN, SETTLED, APPROACHING, STUCK, DRIFTED, QUARANTINED = Verdict

LAW = {
    # verdict now: after NOTHING, COMMANDED, AGREES, DISAGREES, OVERDUE, EXHAUSTED, RELEASED
    UNSEEN: (UNSEEN, APPROACHING, SETTLED, SETTLED, UNSEEN, UNSEEN, UNSEEN),
    SETTLED: (SETTLED, APPROACHING, SETTLED, DRIFTED, DRIFTED, QUARANTINED, SETTLED),
    APPROACHING: (APPROACHING, APPROACHING, SETTLED, APPROACHING, STUCK, QUARANTINED, APPROACHING),
    STUCK: (STUCK, APPROACHING, SETTLED, STUCK, STUCK, QUARANTINED, STUCK),
    DRIFTED: (DRIFTED, APPROACHING, SETTLED, DRIFTED, DRIFTED, QUARANTINED, DRIFTED),
    QUARANTINED: (QUARANTINED,) * 6 + (UNSEEN,),
}
CELLS = [(before, signal, after) for before, row in LAW.items() for signal, after in zip(Signal, row, strict=True)]


@pytest.mark.parametrize(("before", "signal", "after"), CELLS, ids=[f"{b.name}-{s.name}" for b, s, _ in CELLS])
def test_a_verdict_moves_by_the_table(before, signal, after):
    moved = lifecycle.advance(np.array([before], dtype=np.int8), np.array([signal], dtype=np.int64))
    assert Verdict(int(moved[0])) is after
    assert lifecycle.TRANSITIONS[before][signal] is after


def test_a_fleet_moves_at_once_and_each_miner_for_itself():
    before = np.array([cell[0] for cell in CELLS], dtype=np.int8)
    signals = np.array([cell[1] for cell in CELLS], dtype=np.int64)
    assert list(lifecycle.advance(before, signals)) == [cell[2] for cell in CELLS]


def test_nothing_but_a_release_leaves_quarantine():
    for signal in Signal:
        after = lifecycle.TRANSITIONS[QUARANTINED][signal]
        assert (after is not QUARANTINED) is (signal is Signal.RELEASED)


def test_silence_never_changes_a_verdict():
    assert all(row[Signal.NOTHING] is verdict for verdict, row in lifecycle.TRANSITIONS.items())
