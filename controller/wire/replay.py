"""Journal rows back into the inputs of `step`: the inverse of controller.wire.journal for everything that came in."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from controller.domain.command import CommandReport, Outcome
from controller.domain.dispatch import Dispatch, DispatchClass, DispatchKind, Malformed, Received, RejectCode
from controller.domain.fleet import Condition, MinerReading
from controller.domain.journalling import Row, RowKind
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import OperatorOrder, OperatorVerb, Snapshot

_REPLAYED = frozenset(
    {
        RowKind.READINGS,
        RowKind.TELEMETRY,
        RowKind.OUTCOME,
        RowKind.RECEIVED,
        RowKind.OPERATOR,
        RowKind.DECISION,
    }
)
# What a cycle put out; rows of these kinds with another moment than its decision's were written beside it.
PUT_OUT = frozenset({RowKind.PRIOR, RowKind.COMMAND, RowKind.VERDICT, RowKind.ANSWER, RowKind.EVENT, RowKind.DECISION})


@dataclass(frozen=True, slots=True)
class RecordedCycle:
    """One cycle as it was: its inputs, its time, and its DECISION row to compare a new decision with.

    put_out: all its rows that are no inputs, the decision last. whole: a start or a checkpoint stands before it, so
    that its rows repeat every value they build on.
    """

    snapshot: Snapshot
    now: float
    cycle: int
    decision: Row
    put_out: tuple[Row, ...] = ()
    whole: bool = False


@dataclass(frozen=True, slots=True)
class RecordedStart:
    """A run began; `body` is its start row's."""

    wall: float
    body: dict[str, Any]


@dataclass(frozen=True, slots=True)
class RecordedState:
    """The whole state behind the cycle before it, or the one a run began with."""

    row: Row


@dataclass(slots=True)
class _Inputs:
    """What the rows said so far; the mappings carry over from cycle to cycle, the lists are one cycle's."""

    readings: dict[Point, Sample] = field(default_factory=dict)
    feeders: dict[int, Sample] = field(default_factory=dict)
    texts: dict[int, tuple[str | None, str]] = field(default_factory=dict)
    heartbeat_at: float | None = None
    journal_writable: bool = True
    telemetry: list[MinerReading] = field(default_factory=list)
    reports: list[CommandReport] = field(default_factory=list)
    received: list[Received] = field(default_factory=list)
    operator: list[OperatorOrder] = field(default_factory=list)
    put_out: list[Row] = field(default_factory=list)
    whole: bool = False


def recorded_cycles(rows: Iterable[Row]) -> Iterator[RecordedCycle]:
    """Every complete cycle of rows in journal order, beginning at a START or behind a CHECKPOINT.

    Raises ValueError when the rows begin in the middle of a run, where deltas have nothing to stand on.
    """
    return (found for found in recorded(rows, strict=True) if isinstance(found, RecordedCycle))


def recorded(rows: Iterable[Row], *, strict: bool = False) -> Iterator[RecordedStart | RecordedState | RecordedCycle]:
    """Runs, states and complete cycles of rows in journal order.

    Rows behind the last decision (a run cut off in the middle of a commit, outcomes that a stop waited for) are left
    out, and so are runs in safe mode, which have no cycles. Where the rows begin in the middle of a run, its cycles are
    left out up to the next checkpoint; `strict` raises ValueError instead.
    """
    inputs, begun, safe_mode = _Inputs(), False, False
    for row in rows:
        if row.kind is RowKind.START:
            body = json.loads(row.body)
            inputs, begun, safe_mode = _Inputs(), False, bool(body.get("safe_mode"))
            if not safe_mode:
                yield RecordedStart(row.wall, body)
            continue
        if safe_mode:
            continue
        if row.kind is RowKind.STATE:
            yield RecordedState(row)
        if row.kind in PUT_OUT:
            inputs.put_out.append(row)
        body = json.loads(row.body) if row.kind in _REPLAYED else {}
        begun = begun or bool(body.get("whole"))
        if row.kind not in _REPLAYED:
            continue
        if begun:
            yield from _take(inputs, row, body)
        elif row.kind is RowKind.OUTCOME:
            continue  # behind the last checkpoint of a run: no cycle took it in
        elif strict:
            raise ValueError("these rows begin in the middle of a run: begin at a start or checkpoint row")
        else:
            inputs.put_out.clear()


def _take(inputs: _Inputs, row: Row, body: dict[str, Any]) -> Iterator[RecordedCycle]:
    """Enter one row; a cycle once its decision is there."""
    match row.kind:
        case RowKind.READINGS:
            _read(inputs, body)
        case RowKind.TELEMETRY:
            inputs.telemetry += [_reading(inputs, columns) for columns in body["miners"]]
        case RowKind.OUTCOME:
            inputs.reports += [_report(columns) for columns in body["reports"]]
        case RowKind.RECEIVED:
            inputs.received.append(_received(body))
        case RowKind.OPERATOR:
            inputs.operator.append(_operator(body))
        case RowKind.DECISION:
            yield _cycle(inputs, row)


def _cycle(inputs: _Inputs, row: Row) -> RecordedCycle:
    body = json.loads(row.body)
    snapshot = Snapshot(
        wall=row.wall,
        readings=dict(inputs.readings),
        telemetry=tuple(inputs.telemetry),
        reports=tuple(inputs.reports),
        received=tuple(inputs.received),
        operator=tuple(inputs.operator),
        dispatcher_heartbeat_at=inputs.heartbeat_at,
        journal_writable=inputs.journal_writable,
        feeders=dict(inputs.feeders),
    )
    put_out = tuple(written for written in inputs.put_out if written.wall == row.wall)
    whole, inputs.whole = inputs.whole, False
    for one_cycle in (inputs.telemetry, inputs.reports, inputs.received, inputs.operator, inputs.put_out):
        one_cycle.clear()
    return RecordedCycle(snapshot, body["now"], body["cycle"], row, put_out, whole)


def _read(inputs: _Inputs, body: dict[str, Any]) -> None:
    if body.get("whole"):
        inputs.whole = True
        inputs.readings.clear()
        inputs.feeders.clear()
        inputs.texts.clear()
    if "heartbeat_at" in body:
        inputs.heartbeat_at, inputs.journal_writable = body["heartbeat_at"], body["journal_writable"]
    for name, columns in body.get("samples", {}).items():
        inputs.readings[Point(name)] = _sample(columns, inputs.readings.get(Point(name)))
    for name, columns in body.get("feeders", {}).items():
        inputs.feeders[int(name)] = _sample(columns, inputs.feeders.get(int(name)))
    for name in body.get("gone", ()):
        del inputs.readings[Point(name)]
    for name in body.get("gone_feeders", ()):
        del inputs.feeders[int(name)]


def _sample(columns: list[Any], before: Sample | None) -> Sample:
    """One sample of its columns; the source stands there only when it is another than `before`'s."""
    if len(columns) > 3:
        source = columns[3]
    elif before is not None:
        source = before.source
    else:
        raise ValueError("a sample without its source: these rows do not begin at a start or checkpoint row")
    return Sample(columns[0], columns[1], Quality(columns[2]), source)


def _reading(inputs: _Inputs, columns: list[Any]) -> MinerReading:
    miner, condition, power, hashrate_th, level, started_at, finished_at, *texts = columns
    if texts:
        inputs.texts[miner] = (texts[0], texts[1])
    prior, detail = inputs.texts[miner]
    power_w, power_error_w = power if isinstance(power, list) else (power, None)
    return MinerReading(
        miner,
        Condition(condition),
        power_w,
        hashrate_th,
        level,
        started_at,
        finished_at,
        prior,
        detail,
        power_error_w,
    )


def _report(columns: list[Any]) -> CommandReport:
    command_id, miner, outcome, sent_at, answered_at, detail, rounded_to_level, *rare = columns
    again_at, wear = rare or (None, 0)
    return CommandReport(
        command_id, miner, Outcome(outcome), sent_at, answered_at, detail, rounded_to_level, again_at, wear
    )


def _received(body: dict[str, Any]) -> Received:
    message: Dispatch | Malformed
    if "order" in body:
        order = body["order"]
        message = Dispatch(
            dispatch_id=order["id"],
            issuer=order["issuer"],
            seq=order["seq"],
            issued_at=order["issued_at"],
            expires_at=order["expires_at"],
            dispatch_class=DispatchClass(order["class"]),
            kind=DispatchKind(order["kind"]),
            power_w=order["power_w"],
            priority=order["priority"],
            reason=order["reason"],
            not_before=order.get("not_before"),
        )
    else:
        bad = body["malformed"]
        message = Malformed(bad["id"], bad["issuer"], RejectCode(bad["code"]), bad["reason"])
    return Received(message, body["received_at"], body["retained"])


def _operator(body: dict[str, Any]) -> OperatorOrder:
    verb = OperatorVerb(body["verb"])
    return OperatorOrder(verb, body["operator"], body["power_w"], body["expires_at"], tuple(body["miners"]))
