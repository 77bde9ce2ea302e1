"""Cycles as journal rows: what came in as deltas, what was decided, what came of it. docs/status.md lists the rows.

The rows of one cycle stand together and end with its DECISION row; they hold the inputs of `step` exactly, so that
controller.wire.replay can give back every Snapshot and `now`. Values that repeat (a meter's source text, a miner's
profile name, a plan that did not change) are written once and again after every checkpoint, where a replay may begin.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from controller.domain.fleet import MinerReading
from controller.domain.journalling import Row, RowKind
from controller.domain.metering import Sample
from controller.domain.plan import Allocation, Decision, Snapshot
from controller.wire import rows
from controller.wire.canonical import canonical
from controller.wire.rows import Json

# A plan of which more than this share changed is written whole; below it only the miners that changed are.
WHOLE_PLAN_SHARE = 0.25


class CycleRecorder:
    """Turns cycles into rows. Holds only what it wrote last; `checkpoint` makes the next cycle stand on its own."""

    def __init__(self) -> None:
        self._samples: dict[str, Sample] = {}
        self._feeders: dict[str, Sample] = {}
        self._texts: dict[int, tuple[str | None, str]] = {}
        self._context: tuple[float | None, bool] | None = None
        self._inputs: dict[str, tuple[str, str]] = {}
        self._groups: list[list[object]] = []
        self._allocation: Allocation | None = None
        self._whole = True

    def rows_of_cycle(self, snapshot: Snapshot, decision: Decision) -> tuple[Row, ...]:
        """All rows of one cycle in the order they are replayed; the decision comes last."""
        wall = snapshot.wall
        found: list[Row] = []

        def add(kind: RowKind, body: object) -> None:
            found.append(Row(wall, kind, canonical(body)))

        readings = self._readings(snapshot)
        if readings:
            add(RowKind.READINGS, readings)
        if snapshot.telemetry:
            add(RowKind.TELEMETRY, {"miners": [self._telemetry(reading) for reading in snapshot.telemetry]})
        if snapshot.reports:
            found.append(rows.outcomes_row(wall, snapshot.reports))
        for received in snapshot.received:
            add(RowKind.RECEIVED, rows.received_body(received))
        for order in snapshot.operator:
            add(RowKind.OPERATOR, rows.operator_body(order))
        if decision.commands:
            found.append(rows.commands_row(wall, decision.commands))
        if decision.verdicts:
            verdicts = [[v.command_id, v.miner, v.verb, v.verdict, v.after_s] for v in decision.verdicts]
            add(RowKind.VERDICT, {"verdicts": verdicts})
        for answer in decision.answers:
            add(RowKind.ANSWER, rows.answer_body(answer))
        for event in decision.events:
            add(RowKind.EVENT, rows.event_body(event))
        add(RowKind.DECISION, self._decision(decision))
        self._whole = False
        return tuple(found)

    def copy(self) -> CycleRecorder:
        """One that has written the same so far."""
        twin = CycleRecorder()
        twin._samples, twin._feeders, twin._texts = dict(self._samples), dict(self._feeders), dict(self._texts)
        twin._context, twin._inputs, twin._groups = self._context, self._inputs, self._groups
        twin._allocation, twin._whole = self._allocation, self._whole
        return twin

    def checkpoint(self, wall: float, state: Mapping[str, object]) -> Row:
        """One CHECKPOINT row of an already JSON-able state; the next cycle repeats every value it builds on."""
        self._samples.clear()
        self._feeders.clear()
        self._texts.clear()
        self._context = None
        self._inputs.clear()
        self._groups = []
        self._allocation = None
        self._whole = True
        return Row(wall, RowKind.CHECKPOINT, canonical(dict(state)))

    def _readings(self, snapshot: Snapshot) -> Json:
        body: Json = {}
        points = {point.value: sample for point, sample in snapshot.readings.items()}
        feeders = {str(feeder): sample for feeder, sample in snapshot.feeders.items()}
        for name, left, known, samples in (
            ("samples", "gone", self._samples, points),
            ("feeders", "gone_feeders", self._feeders, feeders),
        ):
            changed, gone = _news(known, samples)
            if changed:
                body[name] = changed
            if gone:
                body[left] = gone
        context = (snapshot.dispatcher_heartbeat_at, snapshot.journal_writable)
        if context != self._context:
            body["heartbeat_at"], body["journal_writable"] = context
            self._context = context
        if self._whole:
            body["whole"] = True
        return body

    def _telemetry(self, reading: MinerReading) -> list[object]:
        estimated = reading.power_error_w is not None
        columns: list[object] = [
            reading.miner,
            int(reading.condition),
            [reading.power_w, reading.power_error_w] if estimated else reading.power_w,
            reading.hashrate_th,
            reading.level,
            reading.started_at,
            reading.finished_at,
        ]
        texts = (reading.prior, reading.detail)
        if self._texts.get(reading.miner) != texts:
            columns.extend(texts)
            self._texts[reading.miner] = texts
        return columns

    def _decision(self, decision: Decision) -> Json:
        setpoint, figures, progress = decision.setpoint, decision.figures, decision.progress
        body: Json = {
            "cycle": decision.cycle,
            "now": decision.now,
            "setpoint": [setpoint.power_w, setpoint.bound.value, setpoint.source, setpoint.expires_at, setpoint.shed],
            "figures": [
                figures.surplus_w,
                figures.cap_w,
                figures.target_w,
                figures.expected_w,
                figures.measured_w,
                figures.residual_w,
                figures.available_up_w,
                figures.available_down_w,
                figures.floor_w,
                figures.expected_error_w,
            ],
            "fail_safe": decision.fail_safe.value,
            "counts": decision.counts,
        }
        inputs = {health.name: (health.state.value, health.condition) for health in decision.inputs}
        if inputs != self._inputs:
            body["inputs"] = [[i.name, i.state.value, i.condition, i.age_s] for i in decision.inputs]
            self._inputs = inputs
        groups = [[f.feeder, f.verdict, f.excess_w, f.unproved] for f in decision.feeders]
        if groups != self._groups:
            body["groups"] = self._groups = groups
        if decision.shadow is not None:
            body["shadow"] = decision.shadow.load_w
        if decision.active_orders:
            body["orders"] = list(decision.active_orders)
        if decision.scheduled_orders:
            body["scheduled"] = [list(entry) for entry in decision.scheduled_orders]
        if progress is not None:
            body["progress"] = [progress.label, progress.to_50_s, progress.to_90_s, progress.to_100_s]
        body.update(self._plan(decision.allocation))
        return body

    def _plan(self, allocation: Allocation) -> Json:
        """Watts placed and not placed always; who runs at which level only where it changed."""
        body: Json = {"placed": [allocation.allocated_w, allocation.unallocated_w, allocation.unallocated_reason.value]}
        before, self._allocation = self._allocation, allocation
        if before is not None and len(before.hashing) == len(allocation.hashing):
            differs = (
                (before.hashing != allocation.hashing)
                | (before.level != allocation.level)
                | (before.why != allocation.why)
            )
            changed = np.flatnonzero(differs)
            if len(changed) == 0:
                return body
            if len(changed) <= len(differs) * WHOLE_PLAN_SHARE:
                columns = (changed, allocation.hashing[changed], allocation.level[changed], allocation.why[changed])
                body["plan_changes"] = [
                    list(row) for row in zip(*(c.astype(int).tolist() for c in columns), strict=True)
                ]
                return body
        body["plan"] = {
            "hashing": np.packbits(allocation.hashing).tobytes().hex(),
            "level": _hex_of_bytes(allocation.level),
            "why": _hex_of_bytes(allocation.why),
        }
        return body


def _news(known: dict[str, Sample], samples: Mapping[str, Sample]) -> tuple[dict[str, list[object]], list[str]]:
    """Samples that `known` does not hold yet, as columns, and what is gone; `known` follows."""
    changed: dict[str, list[object]] = {}
    for name, sample in samples.items():
        before = known.get(name)
        if sample is before or sample == before:
            continue
        columns: list[object] = [sample.value, sample.taken_at, sample.quality.value]
        if before is None or before.source != sample.source:
            columns.append(sample.source)
        changed[name] = columns
        known[name] = sample
    gone = sorted(name for name in known if name not in samples)
    for name in gone:
        del known[name]
    return changed, gone


def _hex_of_bytes(values: np.ndarray[tuple[int, ...], np.dtype[np.int64]]) -> str:
    """Small whole numbers 0..255, two hex digits each; a level or a reason beyond that is a bug."""
    if len(values) and not (values.min() >= 0 and values.max() <= 255):
        raise ValueError("a level or reason code does not fit a byte")
    return values.astype(np.uint8).tobytes().hex()
