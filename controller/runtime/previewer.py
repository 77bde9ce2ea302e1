"""`curtaild preview` on the daemon's side: an order is looked ahead at, a cycle at a time, between everything else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from controller.core.engine import Engine
from controller.core.preview import Move, Preview
from controller.core.state import State
from controller.domain.command import Verb
from controller.domain.dispatch import AnswerStatus, Dispatch, DispatchClass, DispatchKind
from controller.domain.plan import Snapshot
from controller.runtime.console import ConsoleRefusedError, Peer
from controller.wire.canonical import kw_of

CLASSES = tuple(entry.value for entry in DispatchClass if entry is not DispatchClass.TEST)
WITHIN_S = 60.0  # more than the largest fleet needs
SLICE_S = 0.008  # of work at a time, or one cycle of a large fleet
ORDER_ID = "preview"

View = Mapping[str, Any]


class Previewer:
    """One preview at a time, on a copy of the state the last cycle left behind."""

    def __init__(self, engine: Engine, present: Callable[[], tuple[State, Snapshot] | None], sweep_s: float) -> None:
        """present: state and snapshot of the last cycle, None before the first."""
        self._engine = engine
        self._present = present
        self._sweep_s = sweep_s
        self._busy = False

    async def answer(self, request: Mapping[str, object], peer: Peer) -> View:
        """The console's handler."""
        present = self._present()
        if present is None:
            raise ConsoleRefusedError("no cycle has run yet; try again in a second")
        if self._busy:
            raise ConsoleRefusedError("another preview is being worked out; try again when it is done")
        state, snapshot = present
        if state.offset_w is None:
            raise ConsoleRefusedError("the site meter was not read yet: what the site draws is not known")
        order = _order_of(request, state, self._engine.policy.dispatch.lifetime_max_s)
        now = asyncio.get_running_loop().time()
        preview = Preview(self._engine, state, replace(snapshot, wall=order.issued_at), order, now, self._sweep_s)
        self._busy = True
        try:
            while not preview.over:
                worked_s = _work(preview)
                # As long again for everybody else: the cycle, the pollers and the workers come first.
                await asyncio.sleep(worked_s)
        finally:
            self._busy = False
        return _view(preview)


def _work(preview: Preview) -> float:
    """One slice of it; returns the seconds that took."""
    began = time.thread_time()
    while True:
        preview.advance()
        worked_s = time.thread_time() - began
        if preview.over or worked_s >= SLICE_S:
            return worked_s


def _order_of(request: Mapping[str, object], state: State, longest_s: float) -> Dispatch:
    """The order as a dispatcher would send it now. Raises ConsoleRefusedError."""
    kind, dispatch_class, issuer = request.get("kind"), request.get("class", "normal"), request.get("issuer")
    power_w, for_s, wall = request.get("power_w"), request.get("for_s"), time.time()
    if kind not in tuple(DispatchKind):
        raise ConsoleRefusedError(f"kind must be one of {', '.join(DispatchKind)}")
    if dispatch_class not in CLASSES:
        raise ConsoleRefusedError(f"class must be one of {', '.join(CLASSES)}")
    if not isinstance(issuer, str) or not 0 < len(issuer) <= 64:
        raise ConsoleRefusedError("issuer must say who would order it, in 1 to 64 characters")
    if kind == DispatchKind.RELEASE:
        power_w = None
    elif not isinstance(power_w, int) or isinstance(power_w, bool) or power_w < 0:
        raise ConsoleRefusedError("power_w must be a whole number of watts, 0 or more")
    if not isinstance(for_s, int | float) or isinstance(for_s, bool) or not 0 < for_s <= longest_s:
        raise ConsoleRefusedError(f"for_s must say for how many seconds, at most {longest_s:g}")
    seq = max(state.orders.last_seq.get(issuer, -1) + 1, int(wall * 1000))
    return Dispatch(
        dispatch_id=ORDER_ID,
        issuer=issuer,
        seq=seq,
        issued_at=wall,
        expires_at=wall + for_s,
        dispatch_class=DispatchClass(str(dispatch_class)),
        kind=DispatchKind(str(kind)),
        power_w=power_w,
        reason="preview",
    )


def _view(preview: Preview) -> View:
    order, ids = preview.order, preview.facts.miner_ids
    judged = next(answer for answer in preview.answers if answer.status is not AnswerStatus.RECEIVED)
    last = preview.last
    by_verb = {verb: [move for move in preview.moves.values() if move.verb is verb] for verb in Verb}
    return {
        "order": {
            "kind": order.kind.value,
            "kw": kw_of(order.power_w),
            "class": order.dispatch_class.value,
            "issuer": order.issuer,
        },
        "answer": {
            "status": judged.status.value,
            "kw": kw_of(judged.power_w),
            "code": None if judged.code is None else judged.code.value,
            "reason": judged.reason,
        },
        "floor_kw": None if last is None else kw_of(last.figures.floor_w),
        "reached_after_s": None if preview.reached_after_s is None else round(preview.reached_after_s, 1),
        "power": [
            {
                "after_s": mark.after_s,
                "kw": kw_of(mark.power_w),
                "setpoint_kw": kw_of(mark.setpoint_w),
                "bound": mark.bound.value,
            }
            for mark in preview.marks
        ],
        "sleeps": [_move(preview, move) for move in by_verb[Verb.SLEEP]],
        "trims": [_move(preview, move) for move in by_verb[Verb.TRIM]],
        "wakes": [_move(preview, move) for move in by_verb[Verb.WAKE]],
        "skipped": [{"miner": ids[miner], "why": why.value} for miner, why in preview.skipped.items()],
        "unallocated_kw": None if last is None else kw_of(last.allocation.unallocated_w),
        "unallocated_reason": None if last is None else last.allocation.unallocated_reason.value,
    }


def _move(preview: Preview, move: Move) -> View:
    levels = preview.facts.units[move.miner].model.levels
    return {
        "miner": preview.facts.miner_ids[move.miner],
        "level": None if move.level is None else levels[move.level].name,
        "after_s": round(move.after_s, 1),
        "from_kw": kw_of(move.from_w),
        "to_kw": kw_of(move.to_w),
    }
