"""How the judgement of one miner moves, as a table: every state, every signal, no gaps.

docs/overview.md draws its picture from this table, and a test walks every cell.
"""

from __future__ import annotations

import numpy as np

from controller.domain.fleet import ByteArray, Code, IntArray, Verdict


class Signal(Code):
    """What one cycle learned about one miner."""

    NOTHING = 0  # no telemetry that could prove anything
    COMMANDED = 1  # a command is on its way
    AGREES = 2  # telemetry begun after the command shows what was asked for
    DISAGREES = 3  # telemetry shows something else, and there is still time (or nothing was asked)
    OVERDUE = 4  # the deadline passed and telemetry still disagrees, or the miner said no
    EXHAUSTED = 5  # overdue, and every attempt is used up
    RELEASED = 6  # its quarantine ended


_U, _S, _A, _K, _D, _Q = (
    Verdict.UNSEEN,
    Verdict.SETTLED,
    Verdict.APPROACHING,
    Verdict.STUCK,
    Verdict.DRIFTED,
    Verdict.QUARANTINED,
)

# rows: Verdict now; columns: Signal. DRIFTED means "was settled, and moved without an order of ours".
TRANSITIONS: dict[Verdict, dict[Signal, Verdict]] = {
    Verdict.UNSEEN: dict(zip(Signal, (_U, _A, _S, _S, _U, _U, _U), strict=True)),
    Verdict.SETTLED: dict(zip(Signal, (_S, _A, _S, _D, _D, _Q, _S), strict=True)),
    Verdict.APPROACHING: dict(zip(Signal, (_A, _A, _S, _A, _K, _Q, _A), strict=True)),
    Verdict.STUCK: dict(zip(Signal, (_K, _A, _S, _K, _K, _Q, _K), strict=True)),
    Verdict.DRIFTED: dict(zip(Signal, (_D, _A, _S, _D, _D, _Q, _D), strict=True)),
    Verdict.QUARANTINED: dict(zip(Signal, (_Q, _Q, _Q, _Q, _Q, _Q, _U), strict=True)),
}

_TABLE = np.array([[TRANSITIONS[verdict][signal] for signal in Signal] for verdict in Verdict], dtype=np.int8)


def advance(verdict: ByteArray, signal: IntArray) -> ByteArray:
    """Next verdict of every miner; both arrays (n,)."""
    return _TABLE[verdict, signal]
