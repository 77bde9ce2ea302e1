"""What the answer to a write means, what the read-back adds, and no answer at all."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from typing import Any

import pytest

from controller.domain.command import Outcome
from tests.drivers.asic.antminer.answers import BUSY, CONF, RESET, conf, http
from tests.drivers.asic.antminer.script import SHED, SLEEP, WAKE, Script


@pytest.mark.parametrize(
    ("answer", "urgent", "plain"),
    [
        (BUSY, Outcome.REFUSED, Outcome.REFUSED),
        ({"stats": "error", "code": "M003", "msg": "load conf err"}, Outcome.REFUSED, Outcome.REFUSED),
        (403, Outcome.REFUSED, Outcome.REFUSED),
        (404, Outcome.UNSUPPORTED, Outcome.UNSUPPORTED),
        (500, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (RESET, Outcome.UNKNOWN, Outcome.UNKNOWN),
        (b"garbage\r\n\r\n", Outcome.UNKNOWN, Outcome.UNKNOWN),
        (http(200, b""), Outcome.UNKNOWN, Outcome.UNKNOWN),
        (http(200, b"{"), Outcome.UNKNOWN, Outcome.UNKNOWN),
        ({"stats": "success"}, Outcome.UNKNOWN, Outcome.UNKNOWN),
        ({"code": 0}, Outcome.UNKNOWN, Outcome.UNKNOWN),
    ],
)
async def test_an_answer_that_is_no_yes_where_the_configuration_stays_as_it_was(
    script: Script, answer: Any, urgent: Outcome, plain: Outcome
) -> None:
    script.web["set_miner_conf"] = answer
    ours = script.ours()
    for command, outcome in ((SHED, urgent), (SLEEP, plain)):
        report = await ours.perform(command)
        assert report.outcome is outcome
        assert report.sent_at is not None
    await ours.close()


@pytest.mark.parametrize("answer", [BUSY, 500, RESET, http(200, b"")])
async def test_an_answer_that_is_no_yes_where_the_configuration_agrees_is_applied_and_quoted(
    script: Script, ours: Any, answer: Any
) -> None:
    script.web["set_miner_conf"] = answer
    script.web["get_miner_conf"] = deque([CONF, conf("1")])
    report = await ours.perform(SLEEP)
    assert report.outcome is Outcome.APPLIED
    assert report.detail not in ("", "M000: OK!")


async def test_a_write_without_an_answer_is_unknown(script: Script) -> None:
    script.web["set_miner_conf"] = None
    ours = script.ours(deadline_s=0.4)
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.wear) == (Outcome.UNKNOWN, 1)
    assert "not read back" in report.detail
    await ours.close()


async def test_an_urgent_write_without_an_answer_does_not_hold_the_others_up(script: Script) -> None:
    """Some firmware takes 21 s to answer; the write goes on without us."""
    script.web["set_miner_conf"] = None
    ours = script.ours(deadline_s=30.0)
    began = asyncio.get_running_loop().time()
    report = await ours.perform(SHED)
    assert report.outcome is Outcome.UNKNOWN
    assert asyncio.get_running_loop().time() - began < 3.0
    assert script.open_now == 1, "closing the connection could kill the script that writes"
    await ours.close()


async def test_a_write_to_a_port_that_has_closed_meanwhile_never_left(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = http(200, json.dumps(CONF).encode(), "Connection: close\r\n")
    script.close_web_after = 2  # the challenge, and the configuration
    report = await ours.perform(SHED)
    assert (report.outcome, report.sent_at, report.wear) == (Outcome.UNREACHABLE, None, 0)
    assert script.written == []


async def test_an_acknowledgement_that_changed_nothing_stays_one_and_says_so(script: Script, ours: Any) -> None:
    script.obeys = False
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (Outcome.ACKNOWLEDGED, "M000: OK!; read back in mode 0")


@pytest.mark.parametrize("key", ["pools", "bitmain-fan-pwm", "bitmain-user-ip-cat"])
async def test_whatever_changed_beside_the_mode_is_named_and_not_applied(script: Script, ours: Any, key: str) -> None:
    """Somebody else wrote after us, or the firmware lost a key."""
    before = conf("0", bitmain_user_ip_cat="1")
    script.web["get_miner_conf"] = deque([before, before | {"bitmain-work-mode": "1", key: []}])
    report = await ours.perform(SLEEP)
    assert report.outcome is Outcome.ACKNOWLEDGED
    assert report.detail == f"M000: OK!; changed beside the mode: {key}; carried as told: bitmain-user-ip-cat"
    again = await ours.perform(WAKE)
    assert "carried as told" not in again.detail, "once for each miner is enough"


async def test_a_read_back_that_fails_leaves_the_acknowledgement(script: Script, ours: Any) -> None:
    script.web["get_miner_conf"] = deque([CONF, 500])
    report = await ours.perform(SLEEP)
    assert (report.outcome, report.detail) == (
        Outcome.ACKNOWLEDGED,
        "M000: OK!; not read back: get_miner_conf: status 500",
    )
