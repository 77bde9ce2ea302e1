"""Journal rows hold a cycle's inputs exactly, its decision compactly, and the same run gives the same bytes."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.domain.command import Command, CommandReport, Outcome, Verb
from controller.domain.dispatch import Answer, AnswerStatus, Dispatch, Malformed, Received
from controller.domain.fleet import Condition, MinerReading
from controller.domain.journalling import Row, RowKind
from controller.domain.metering import Point, Quality, Sample
from controller.domain.plan import Decision, FeederReport, OperatorOrder, Snapshot, VerdictReport
from controller.wire.canonical import canonical
from controller.wire.journal import CycleRecorder
from controller.wire.replay import recorded_cycles
from controller.wire.rows import outcomes_row, start_row, stop_row

finite = st.floats(allow_nan=False, allow_infinity=False)
short = st.text(max_size=4)
samples = st.builds(Sample, finite, finite, st.sampled_from([Quality.GOOD, Quality.UNCERTAIN]), short) | st.builds(
    Sample, st.none(), finite, st.just(Quality.BAD), short
)
snapshots = st.builds(
    Snapshot,
    wall=finite,
    readings=st.dictionaries(st.sampled_from(Point), samples, max_size=4),
    telemetry=st.lists(
        st.from_type(MinerReading).filter(
            lambda r: all(
                math.isfinite(v or 0) for v in (r.power_w, r.hashrate_th, r.started_at, r.finished_at, r.power_error_w)
            )
        ),
        max_size=3,
    ).map(tuple),
    reports=st.lists(
        st.from_type(CommandReport).filter(
            lambda r: all(math.isfinite(v or 0) for v in (r.answered_at, r.sent_at, r.again_at))
        ),
        max_size=2,
    ).map(tuple),
    received=st.lists(
        st.builds(
            Received,
            st.from_type(Malformed)
            | st.from_type(Dispatch).filter(
                lambda d: all(math.isfinite(at) for at in (d.issued_at, d.expires_at, d.not_before or 0.0))
            ),
            finite,
            st.booleans(),
        ),
        max_size=2,
    ).map(tuple),
    operator=st.lists(st.from_type(OperatorOrder).filter(lambda o: math.isfinite(o.expires_at or 0)), max_size=1).map(
        tuple
    ),
    dispatcher_heartbeat_at=st.none() | finite,
    journal_writable=st.booleans(),
    feeders=st.dictionaries(st.integers(0, 3), samples, max_size=2),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(snapshots, st.booleans()), min_size=1, max_size=5))
def test_every_input_comes_back_exactly_with_and_without_checkpoints_between(
    decision: Decision, run: list[tuple[Snapshot, bool]]
) -> None:
    recorder, rows, behind_checkpoint = CycleRecorder(), [start_row(0.0, {"version": "1"}, ("a", "b", "c"))], 0
    for number, (snapshot, checkpoint_before) in enumerate(run):
        if checkpoint_before:
            rows.append(recorder.checkpoint(0.0, {"cycle": number}))
            behind_checkpoint = number
        rows.extend(recorder.rows_of_cycle(snapshot, replace(decision, cycle=number, wall=snapshot.wall)))
    rows.append(stop_row(0.0, "signal"))
    cycles = list(recorded_cycles(rows))
    assert [cycle.snapshot for cycle in cycles] == [snapshot for snapshot, _ in run]
    assert [cycle.cycle for cycle in cycles] == list(range(len(run)))
    checkpoints = [index for index, row in enumerate(rows) if row.kind is RowKind.CHECKPOINT]
    if checkpoints:
        later = list(recorded_cycles(rows[checkpoints[-1] :]))
        assert [cycle.snapshot for cycle in later] == [snapshot for snapshot, _ in run[behind_checkpoint:]]


def good(value: float, at: float) -> Sample:
    return Sample(value, at, Quality.GOOD, "poi:3060")


def test_a_value_that_did_not_change_is_not_written_again(decision: Decision) -> None:
    recorder = CycleRecorder()
    both = {Point.POI_EXPORT_W: good(1.0, 1.0), Point.SITE_LOAD_W: good(2.0, 1.0)}
    first = recorder.rows_of_cycle(Snapshot(0.0, both), decision)
    assert [row.kind for row in first] == [RowKind.READINGS, RowKind.EVENT, RowKind.DECISION]
    one_new = both | {Point.SITE_LOAD_W: good(3.0, 2.0)}
    second = recorder.rows_of_cycle(Snapshot(1.0, one_new), replace(decision, events=()))
    assert json.loads(second[0].body) == {"samples": {"site_load_w": [3.0, 2.0, "good"]}}
    third = recorder.rows_of_cycle(Snapshot(2.0, one_new), replace(decision, events=()))
    assert [row.kind for row in third] == [RowKind.DECISION]
    assert not {"plan", "plan_changes", "inputs"} & set(json.loads(third[0].body))


def test_what_feeders_prove_is_written_when_it_changes(decision: Decision) -> None:
    recorder = CycleRecorder()
    report = FeederReport(1, 9_000.0, 8_900.0, 100.0, 0.0, "unproven", None, 2)
    both = Snapshot(0.0, {}, feeders={1: good(9_000.0, 1.0)})
    rows = recorder.rows_of_cycle(both, replace(decision, feeders=(report,)))
    assert json.loads(rows[0].body)["feeders"] == {"1": [9_000.0, 1.0, "good", "poi:3060"]}
    assert json.loads(rows[-1].body)["groups"] == [[1, "unproven", 0.0, 2]]
    quiet = recorder.rows_of_cycle(both, replace(decision, feeders=(replace(report, load_w=9_010.0),), events=()))
    assert "groups" not in json.loads(quiet[-1].body)
    gone = recorder.rows_of_cycle(Snapshot(1.0, {}), replace(decision, feeders=(), events=()))
    assert json.loads(gone[0].body) == {"gone_feeders": ["1"]}
    assert json.loads(gone[-1].body)["groups"] == []


def test_a_plan_is_written_whole_once_and_then_by_its_changes(decision: Decision) -> None:
    count, recorder = 40, CycleRecorder()
    quiet = Snapshot(0.0, {})
    hashing, level, why = np.arange(count) % 2 == 0, np.full(count, 3), np.zeros(count, dtype=np.int64)
    plan = replace(decision.allocation, hashing=hashing, level=level, why=why)
    whole = json.loads(recorder.rows_of_cycle(quiet, replace(decision, allocation=plan))[-1].body)["plan"]
    bits = np.unpackbits(np.frombuffer(bytes.fromhex(whole["hashing"]), dtype=np.uint8))[:count].astype(bool)
    assert (bits == hashing).all()
    assert list(bytes.fromhex(whole["level"])) == [3] * count
    lower = level.copy()
    lower[7] = 1
    body = json.loads(recorder.rows_of_cycle(quiet, replace(decision, allocation=replace(plan, level=lower)))[-1].body)
    assert body["plan_changes"] == [[7, 0, 1, 0]]
    assert "plan" not in body


def test_what_was_ordered_answered_and_proved_stands_before_the_decision(decision: Decision) -> None:
    busy = replace(
        decision,
        commands=(Command(5, 2, Verb.TRIM, 1, False, True, "shed"),),
        verdicts=(VerdictReport(4, 1, "sleep", "settled", 2.5),),
        answers=(Answer("a", "b", AnswerStatus.ACCEPTED, 1.0, False, 5),),
    )
    rows = CycleRecorder().rows_of_cycle(Snapshot(3.0, {}), busy)
    kinds = [row.kind for row in rows]
    assert kinds == [
        RowKind.READINGS,
        RowKind.COMMAND,
        RowKind.VERDICT,
        RowKind.ANSWER,
        RowKind.EVENT,
        RowKind.DECISION,
    ]
    assert json.loads(rows[1].body) == {"commands": [[5, 2, "trim", 1, False, True, "shed"]]}
    assert json.loads(rows[2].body) == {"verdicts": [[4, 1, "sleep", "settled", 2.5]]}
    assert all(row.wall == 3.0 for row in rows)


def test_what_few_commands_carry_is_written_only_for_them(decision: Decision) -> None:
    woken = Command(6, 1, Verb.WAKE, None, True, False, "surplus", prior="3")
    again = Command(7, 2, Verb.SLEEP, None, False, True, "trip, by another verb", escalated=True)
    held = CommandReport(5, 2, Outcome.WITHHELD, None, 3.0, "budget used", again_at=90.5)
    worn = CommandReport(4, 0, Outcome.ACKNOWLEDGED, 1.0, 2.0, wear=1)
    plain = CommandReport(3, 0, Outcome.ACKNOWLEDGED, 1.0, 2.0)
    snapshot = Snapshot(3.0, {}, reports=(held, worn, plain))
    rows = CycleRecorder().rows_of_cycle(snapshot, replace(decision, commands=(woken, again)))
    bodies = {row.kind: json.loads(row.body) for row in rows}
    assert bodies[RowKind.COMMAND]["commands"] == [
        [6, 1, "wake", None, True, False, "surplus", "3"],
        [7, 2, "sleep", None, False, True, "trip, by another verb", None, True],
    ]
    assert bodies[RowKind.OUTCOME]["reports"] == [
        [5, 2, "withheld", None, 3.0, "budget used", None, 90.5, 0],
        [4, 0, "acknowledged", 1.0, 2.0, "", None, None, 1],
        [3, 0, "acknowledged", 1.0, 2.0, "", None],
    ]


def test_an_estimate_is_written_with_its_error_and_a_told_power_alone(decision: Decision) -> None:
    told = MinerReading(0, Condition.HASHING, 3000.0, 100.0, 1, 1.0, 1.1)
    estimate = replace(told, miner=1, power_w=3250.0, power_error_w=390.0)
    nothing = replace(told, miner=2, power_w=None)
    rows = CycleRecorder().rows_of_cycle(Snapshot(3.0, {}, (told, estimate, nothing)), decision)
    miners = json.loads(rows[1].body)["miners"]
    assert [columns[2] for columns in miners] == [3000.0, [3250.0, 390.0], None]


def test_rows_of_the_version_before_are_still_read(decision: Decision) -> None:
    recorder = CycleRecorder()
    first = recorder.rows_of_cycle(Snapshot(0.0, {}), decision)[0]
    rows = (
        first,
        Row(0.0, RowKind.TELEMETRY, '{"miners":[[1,1,3000.0,100.0,2,5.0,5.1,"default",""]]}'),
        Row(0.0, RowKind.OUTCOME, '{"reports":[[7,1,"rounded",5.0,5.1,"",2]]}'),
        Row(0.0, RowKind.DECISION, '{"cycle":17,"now":100.25}'),
    )
    (cycle,) = recorded_cycles(rows)
    assert cycle.snapshot.telemetry == (
        MinerReading(1, Condition.HASHING, 3000.0, 100.0, 2, 5.0, 5.1, "default", "", None),
    )
    assert cycle.snapshot.reports == (CommandReport(7, 1, Outcome.ROUNDED, 5.0, 5.1, "", 2, None, 0),)


def test_rows_are_canonical_and_unknown_numbers_are_null(decision: Decision) -> None:
    rows = CycleRecorder().rows_of_cycle(Snapshot(0.0, {}), decision)
    for row in rows:
        assert row.body == canonical(json.loads(row.body))
        assert "NaN" not in row.body and "Infinity" not in row.body
    figures = json.loads(rows[-1].body)["figures"]
    assert figures[4] is None
    assert json.loads(rows[-1].body)["inputs"] == [["site_load_w", "fallback", "never seen", None]]


def test_numpy_numbers_are_written_as_numbers_and_strangers_are_refused() -> None:
    assert canonical({"b": np.int64(3), "a": np.float64(0.1), "c": [np.bool_(True), math.nan]}) == (
        '{"a":0.1,"b":3,"c":[true,null]}'
    )
    with pytest.raises(TypeError, match="object has no place"):
        canonical({"a": object()})


def test_rows_cut_off_in_the_middle_of_a_cycle_are_left_out(decision: Decision) -> None:
    recorder = CycleRecorder()
    whole = recorder.rows_of_cycle(Snapshot(0.0, {Point.SITE_LOAD_W: good(1.0, 1.0)}), decision)
    torn = recorder.rows_of_cycle(Snapshot(1.0, {Point.SITE_LOAD_W: good(2.0, 2.0)}), decision)[:-1]
    assert [cycle.snapshot.wall for cycle in recorded_cycles((*whole, *torn))] == [0.0]


@pytest.mark.parametrize("begins_at", [RowKind.START, RowKind.CHECKPOINT])
def test_outcomes_that_a_stop_waited_for_belong_to_no_cycle(decision: Decision, begins_at: RowKind) -> None:
    recorder, report = CycleRecorder(), CommandReport(7, 1, Outcome.APPLIED, 1.0, 2.0, wear=1)
    snapshot = Snapshot(0.0, {Point.SITE_LOAD_W: good(1.0, 1.0)})
    names = start_row(0.0, {"version": "1"}, ("a", "b", "c"))
    stopped = (recorder.checkpoint(1.0, {"cycle": 1}), outcomes_row(2.0, (report,)), stop_row(2.0, "signal"))
    rows = (names, *recorder.rows_of_cycle(snapshot, decision), *stopped)
    next_run = (names, *CycleRecorder().rows_of_cycle(replace(snapshot, wall=9.0), decision))
    begin = next(index for index, row in enumerate(rows) if row.kind is begins_at)
    cycles = list(recorded_cycles((*rows[begin:], *next_run)))
    assert [cycle.snapshot.wall for cycle in cycles] == ([0.0, 9.0] if begins_at is RowKind.START else [9.0])
    assert all(cycle.snapshot.reports == () for cycle in cycles)


def test_a_replay_that_begins_in_the_middle_of_a_run_is_refused(decision: Decision) -> None:
    recorder = CycleRecorder()
    recorder.rows_of_cycle(Snapshot(0.0, {Point.SITE_LOAD_W: good(1.0, 1.0)}), decision)
    later: tuple[Row, ...] = recorder.rows_of_cycle(Snapshot(1.0, {}), decision)
    with pytest.raises(ValueError, match="begin at a start or checkpoint row"):
        list(recorded_cycles(later))
