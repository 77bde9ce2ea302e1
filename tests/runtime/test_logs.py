"""Log lines: one shape for ours and the libraries', no flood from a dead device, no stall from a stalled reader."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import threading

import pytest

from controller.domain.plan import Event, EventLevel
from controller.runtime.log_limits import (
    BURST_BYTES,
    DAY_BYTES,
    NAME_BURST,
    NAME_EVERY_S,
    TELL_EVERY_S,
    RepeatLimit,
)
from controller.runtime.logs import QUEUE_LINES, LineWriter, Log


def lines_of(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_events_and_libraries_come_out_as_json_lines_of_one_shape() -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream, {})
    log.event(Event("miner_quarantined", EventLevel.ERROR, "3 attempts", "r1-07"))
    log.info("ready", miners=120)
    logging.getLogger("pymodbus.client").warning("connection %s lost", "poi")
    logging.getLogger("pymodbus.client").info("chatter")
    try:
        raise RuntimeError("a bug")
    except RuntimeError:
        logging.getLogger("asyncio").exception("Task failed")
    log.close()
    quarantined, ready, library, failed = lines_of(stream)
    assert list(quarantined)[:3] == ["at", "level", "event"]
    assert {**quarantined, "at": 0} == {
        "at": 0,
        "level": "error",
        "event": "miner_quarantined",
        "text": "3 attempts",
        "miner": "r1-07",
    }
    assert ready["miners"] == 120
    assert (library["event"], library["level"], library["logger"]) == (
        "connection poi lost",
        "warning",
        "pymodbus.client",
    )
    assert "RuntimeError: a bug" in str(failed["exception"])


def test_the_level_counts_for_ours_and_the_libraries() -> None:
    stream = io.StringIO()
    log = Log("error", "json", stream, {})
    log.warning("unheard")
    log.event(Event("unheard", EventLevel.INFO, ""))
    logging.getLogger("mqtt").warning("unheard")
    log.error("heard")
    log.close()
    assert [line["event"] for line in lines_of(stream)] == ["heard"]


def test_journald_gets_its_priority_in_front() -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream, {"JOURNAL_STREAM": "8:1"})
    log.info("a")
    log.warning("b")
    log.error("c")
    log.close()
    assert [line[:4] for line in stream.getvalue().splitlines()] == ["<6>{", "<4>{", "<3>{"]


def test_on_request_lines_are_for_people() -> None:
    stream = io.StringIO()
    log = Log("info", "pretty", stream, {"JOURNAL_STREAM": "8:1"})
    log.info("ready", miners=120)
    log.close()
    assert "ready" in stream.getvalue() and "miners=120" in stream.getvalue()
    with pytest.raises(ValueError, match=r"Expecting value|Extra data"):
        json.loads(stream.getvalue())


def test_a_failure_that_repeats_is_said_once_a_minute_with_its_count() -> None:
    now, stream = [0.0], io.StringIO()
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    for second in range(121):
        now[0] = float(second)
        log.failure("meter_failed", key="poi timeout", meter="poi")
        if second == 30:
            log.failure("meter_failed", key="dcs timeout", meter="dcs")
    log.close()
    assert [(line["meter"], line.get("repeats", 0)) for line in lines_of(stream)] == [
        ("poi", 0),
        ("dcs", 0),
        ("poi", 59),
        ("poi", 59),
    ]


def test_the_memory_for_repeats_is_bounded() -> None:
    limit = RepeatLimit(60.0, lambda: 0.0)
    for number in range(10_000):
        assert limit.pass_on(f"device {number}") == 0
    assert limit.pass_on("device 9999") is None
    assert limit.pass_on("device 0") == 0  # forgotten: said again rather than never


def test_a_reader_that_stalls_costs_lines_and_no_time() -> None:
    read_end, write_end = os.pipe()
    stream = os.fdopen(write_end, "w")
    writer = LineWriter(stream)
    for _ in range(QUEUE_LINES + 1000):
        writer.msg("x" * 1000)
    assert writer.dropped > 0
    drained = threading.Thread(target=lambda: _drain(read_end))
    drained.start()
    writer.close(within_s=10.0)
    stream.close()
    drained.join(10)
    os.close(read_end)


def _drain(fd: int) -> None:
    while os.read(fd, 1 << 20):
        pass


def test_a_flood_of_one_name_is_cut_counted_and_told_and_takes_no_place_of_another() -> None:
    now, stream = [0.0], io.StringIO()
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    passed = [log.event(Event("miner_stuck", EventLevel.WARNING, "timeout", f"m{n}")) for n in range(5000)]
    assert (passed.count(True), log.lines_held_back) == (NAME_BURST, 5000 - NAME_BURST)
    assert log.event(Event("miner_stuck", EventLevel.ERROR, "worse", "m7")), "a level of its own"
    assert log.event(Event("input_state", EventLevel.ERROR, "poi gone")), "a name of its own"
    assert log.held_back() == []
    now[0] = TELL_EVERY_S
    (told,) = log.held_back()
    assert (told.name, told.level, told.miner) == ("log_held_back", EventLevel.WARNING, None)
    assert told.text == "4950 more lines of miner_stuck (warning) in the last 60 s"
    assert log.event(told)
    assert log.held_back() == []
    assert log.event(Event("miner_stuck", EventLevel.WARNING, "again", "m0")), "a line every ten seconds"
    log.close()
    assert [line["text"] for line in lines_of(stream)[NAME_BURST:]] == ["worse", "poi gone", told.text, "again"]


def test_what_a_library_repeats_is_cut_as_well() -> None:
    now, stream = [0.0], io.StringIO()
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    for number in range(1000):
        logging.getLogger("pymodbus.client").warning("connection %d lost", number)
    log.close()
    *lines, told = lines_of(stream)
    assert [line["event"] for line in lines] == [f"connection {number} lost" for number in range(NAME_BURST)]
    assert told["text"] == "950 more lines of pymodbus.client (warning) in the last 0 s"


def test_five_thousand_failing_miners_fill_no_disk_in_an_hour_and_hide_no_alarm() -> None:
    """Each is lost and found every five minutes, stuck and in quarantine once an hour, a library says something about
    each, meters fail; half way the site loses its POI meter."""
    now, stream, said = [0.0], io.StringIO(), 0
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    alarm = Event("input_state", EventLevel.ERROR, "poi: good to fallback, gone")
    for second in range(3600):
        now[0] = float(second)
        for miner in range(second % 300, 5000, 300):
            name = f"container-03-rack-{miner // 100:02d}-{miner % 100:02d}"
            log.event(
                Event("miner_unreachable", EventLevel.WARNING, f"10.0.{miner // 250}.{miner % 250}: timeout", name)
            )
            log.event(Event("miner_back", EventLevel.INFO, "answers again", name))
            logging.getLogger("pyasic").warning("%s: no answer", name)
            if miner // 300 == second // 300:
                log.event(Event("miner_stuck", EventLevel.WARNING, "sleep: still hashing after 40 s", name))
                log.event(Event("miner_quarantined", EventLevel.ERROR, "sleep failed 3 times", name))
                said += 2
            said += 3
        for meter in range(4):
            log.failure("meter_failed", f"meter {meter}", meter=meter, fault="timeout", detail="no answer in 0.5 s")
        if second == 1800:
            assert log.event(alarm)
        for event in log.held_back():
            assert log.event(event)
    held = log.lines_held_back
    log.close()
    lines = lines_of(stream)
    events = [line for line in lines if line["event"] not in ("log_held_back", "meter_failed", "input_state")]
    assert len(events) + held == said
    told = [int(str(line["text"]).split()[0]) for line in lines if line["event"] == "log_held_back"]
    assert sum(told) == held, "every line that is missing is accounted for"
    assert [line["text"] for line in lines if line["event"] == "input_state"] == [alarm.text]
    size = len(stream.getvalue().encode())
    assert 0.1e6 < size < 0.6e6, "what docs/status.md says of a day"


def test_all_lines_together_have_so_many_bytes_and_the_last_of_them_are_for_errors() -> None:
    now, stream = [0.0], io.StringIO()
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    text = "x" * 10_000
    for number in range(400):  # every line under a name of its own: no other limit holds them
        log.info(f"name_{number}", text=text)
    assert 0 < log.lines_held_back < 400
    log.error("alarm", text="heard")
    day = 86_400
    for hour in range(1, 25):
        now[0] = hour * 3600.0
        for number in range(400):
            log.info(f"name_{hour}_{number}", text=text)
    now[0] = float(day)
    held = log.lines_held_back
    assert any(str(held) in event.text and event.level is EventLevel.ERROR for event in log.held_back())
    log.close()
    written = stream.getvalue()
    assert '"event": "alarm"' in written
    assert len(written.encode()) < DAY_BYTES + 2 * BURST_BYTES


def test_a_line_without_end_is_cut_and_stays_json() -> None:
    stream = io.StringIO()
    log = Log("info", "json", stream, {})
    log.warning("odd_answer", detail="x" * 10_000_000, miner="m1")
    log.close()
    (line,) = lines_of(stream)
    assert (len(str(line["detail"])), line["miner"]) == (2000, "m1")


def test_a_reader_that_comes_back_is_told_what_it_missed() -> None:
    read_end, write_end = os.pipe()
    stream = os.fdopen(write_end, "w")
    now = [0.0]
    log = Log("info", "json", stream, {}, clock=lambda: now[0])
    for number in range(QUEUE_LINES + 2000):
        now[0] += NAME_EVERY_S
        log.info("beat", number=number)
    missing = log.lines_dropped
    assert missing > 0
    found: list[bytes] = []
    reading = threading.Thread(target=lambda: found.extend(iter(lambda: os.read(read_end, 1 << 16), b"")))
    reading.start()
    log.close(within_s=10.0)
    stream.close()
    reading.join(10)
    os.close(read_end)
    *lines, last = [json.loads(line) for line in b"".join(found).splitlines()]
    assert (last["event"], last["level"], last["lines"]) == ("log_lines_dropped", "warning", missing)
    numbers = [line["number"] for line in lines]
    assert len(numbers) == QUEUE_LINES + 2000 - missing
    assert numbers == sorted(set(numbers)), "in order; where the gap is depends on when the pipe was full"


def test_a_reader_that_is_gone_costs_nothing_but_the_lines() -> None:
    read_end, write_end = os.pipe()
    os.close(read_end)
    stream = os.fdopen(write_end, "w")
    log = Log("info", "json", stream, {})
    for _ in range(20):
        log.info("beat")
    log.close()
    assert log.lines_dropped == 20
    with contextlib.suppress(BrokenPipeError):
        stream.close()
