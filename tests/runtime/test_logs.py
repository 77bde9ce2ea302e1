"""Log lines: one shape for ours and the libraries', no flood from a dead device, no stall from a stalled reader."""

from __future__ import annotations

import io
import json
import logging
import os
import threading

import pytest

from controller.domain.plan import Event, EventLevel
from controller.runtime.logs import QUEUE_LINES, LineWriter, Log, RepeatLimit


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
