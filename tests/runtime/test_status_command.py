"""`curtaild status` and `curtaild explain`: the pages people read, and the JSON scripts read."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest_asyncio

from controller.commands.status import (
    EXIT_DONE,
    EXIT_NO_ANSWER,
    EXIT_REFUSED,
    explain_page,
    run_explain,
    run_status,
    status_page,
)
from controller.runtime.console import Console, ConsoleRefusedError, Peer

STATUS: dict[str, Any] = {
    "site": "dasu-1",
    "mode": "control",
    "wall": "2026-11-22T04:15:00.120Z",
    "cycle": 17,
    "fail_safe": "good",
    "setpoint": {"kw": 412.0, "bound": "surplus", "source": "poi", "expires_at": None, "shed": True},
    "figures": {
        "surplus_kw": 430.0,
        "expected_kw": 411.0,
        "expected_error_kw": 3.2,
        "measured_kw": None,
        "allocated_kw": 400.0,
        "unallocated_kw": 12.0,
        "unallocated_reason": "step_size",
    },
    "balance": {
        "measured_kw": None,
        "other_kw": 5.0,
        "hashing_kw": 395.0,
        "waking_kw": 0.0,
        "asleep_kw": 0.5,
        "quarantined_kw": 3.0,
        "unreachable_kw": 0.0,
        "unknown_kw": 0.0,
        "unexplained_kw": None,
    },
    "inputs": [
        {"name": "poi", "meters": ["m1"], "state": "good", "condition": "fresh", "age_s": 0.42},
        {"name": "site", "meters": ["m2"], "state": "fallback", "condition": "never seen", "age_s": None},
    ],
    "operator_caps": [{"operator": "ann, uid 1000", "kw": 300.0, "expires_at": "2026-11-22T05:00Z"}],
    "feeders": [
        {
            "name": "north",
            "load_kw": 101.0,
            "believed_kw": 95.0,
            "beside_kw": 2.5,
            "excess_kw": 3.4,
            "verdict": "contradicted",
            "proved_ago_s": 75.0,
            "unproved": 2,
        },
        {
            "name": "south",
            "load_kw": None,
            "believed_kw": 90.0,
            "beside_kw": None,
            "excess_kw": 0.0,
            "verdict": "unproven",
            "proved_ago_s": None,
            "unproved": 0,
        },
    ],
    "miners": {"hashing": 80, "asleep": 39, "quarantined": 1, "unknown": 0},
    "families": {
        "LuxOS": {
            "miners": 80,
            "commands": {"sleep": 5, "trim": 7},
            "outcomes": {},
            "verdicts": {"settled": 11, "stuck": 1},
        },
        "Antminer stock": {"miners": 40, "commands": {}, "outcomes": {}, "verdicts": {}},
    },
    "quarantined": ["r1-07"],
    "contradicting": ["r2-01"],
    "orders": [
        {
            "id": "order-1",
            "issuer": "desk",
            "kind": "cap",
            "kw": 400.0,
            "expires_at": "2026-11-22T04:30Z",
            "reached": True,
        }
    ],
    "scheduled": [
        {
            "id": "order-2",
            "issuer": "desk",
            "kind": "cap",
            "kw": 300.0,
            "not_before": "2026-11-22T05:00Z",
            "expires_at": "2026-11-22T05:30Z",
            "starts_in_s": 2700.0,
        },
        {
            "id": "order-3",
            "issuer": "other",
            "kind": "target",
            "kw": 310.0,
            "not_before": "2026-11-22T04:16Z",
            "expires_at": "2026-11-22T05:30Z",
            "starts_in_s": 59.6,
        },
    ],
    "progress": {"order": "order-1", "to_50_s": 2.1, "to_90_s": 4.0, "to_100_s": None},
    "events": [{"at": "04:14:00Z", "name": "miner_stuck", "level": "warning", "text": "r1-07: sleep"}],
    "versions": {"curtaild": "0.1.0", "python": "3.11.7"},
}
EXPLAIN: dict[str, Any] = {
    "miner": "r1-07",
    "model": "Antminer S19k Pro (LuxOS)",
    "setpoint": {"kw": 412.0, "bound": "surplus", "source": "poi"},
    "joule_per_th": 23.0,
    "merit": 7,
    "miners": 120,
    "feeder": "a",
    "feeder_kw": 90.0,
    "feeder_rating_kw": 100.0,
    "feeder_room_kw": 10.0,
    "condition": "hashing",
    "power_kw": None,
    "expected_kw": 0.025,
    "level": "305MHz",
    "prior": "default",
    "planned": "asleep",
    "why": "surplus_short",
    "verdict": "quarantined",
    "in_flight": True,
    "since_s": 61.0,
    "telemetry_age_s": None,
    "commands": [
        {
            "id": 5,
            "verb": "trim",
            "level": "205MHz",
            "ago_s": 61.0,
            "reason": "surplus 412 kW",
            "outcome": "rounded",
            "detail": "to 210MHz",
            "verdict": "stuck",
        },
        {
            "id": 9,
            "verb": "sleep",
            "level": None,
            "ago_s": 2.0,
            "reason": "surplus 390 kW",
            "outcome": None,
            "detail": "",
            "verdict": None,
        },
    ],
    "quarantine": {"for_s": 3570.0, "times": 1},
}


@pytest_asyncio.fixture
async def console_path(tmp_path: Path) -> AsyncIterator[Path]:
    async def status(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
        return STATUS

    async def explain(request: Mapping[str, object], peer: Peer) -> Mapping[str, object]:
        if request["miner"] != "r1-07":
            raise ConsoleRefusedError(f"no miner {request['miner']!r} in the inventory")
        return EXPLAIN

    console = Console(tmp_path / "control.sock", {"status": status, "explain": explain})
    await console.start()
    yield tmp_path / "control.sock"
    await console.close()


async def test_the_page_says_what_binds_what_is_trusted_and_what_is_unknown(console_path: Path) -> None:
    out, errors = io.StringIO(), io.StringIO()
    assert await asyncio.to_thread(run_status, console_path, as_json=False, out=out, errors=errors) == EXIT_DONE
    page = out.getvalue()
    for words in (
        "dasu-1  control  cycle 17",
        "setpoint   412.0 kW = 400.0 kW allocated + 12.0 kW unallocated (step_size)",
        "bound by   surplus (poi), shedding",
        "surplus   430.0 kW",
        "expected  411.0 kW +- 3.2 kW, where power is estimated",
        "measured  unknown",
        "measured   unknown, of which",
        "auxiliaries and losses  5.0 kW",
        "quarantined             3.0 kW",
        "last order order-1: 50 % 2.1 s, 90 % 4.0 s, 100 % not yet",
        "poi   m1  good      fresh       0.4 s",
        "site  m2  fallback  never seen  unknown",
        "ann, uid 1000  300.0 kW  until 2026-11-22T05:00Z",
        "north  101.0 kW of which miners 95.0 kW  contradicted  agreed 75.0 s ago  3.4 kW too much, 2 asleep by their",
        "south  unknown of which miners 90.0 kW   unproven      never agreed",
        "80 hashing, 39 asleep, 1 quarantined",
        "LuxOS           80 miners  12 commands  11 settled, 1 stuck",
        "Antminer stock  40 miners  0 commands   no verdict yet",
        "quarantined  r1-07",
        "contradicting the inventory  r2-01",
        "order-1  desk  cap  400.0 kW  until 2026-11-22T04:30Z  reached",
        "order-2  desk   cap     300.0 kW  starts in 45.0 min, at 2026-11-22T05:00Z  until 2026-11-22T05:30Z",
        "order-3  other  target  310.0 kW  starts in 60 s, at 2026-11-22T04:16Z      until 2026-11-22T05:30Z",
        "miner_stuck  r1-07: sleep",
        "curtaild 0.1.0, python 3.11.7",
    ):
        assert words in page
    assert "0 unknown" not in page
    assert "booting" not in page


async def test_one_miner_is_explained(console_path: Path) -> None:
    out = io.StringIO()
    code = await asyncio.to_thread(run_explain, console_path, "r1-07", as_json=False, out=out, errors=io.StringIO())
    assert code == EXIT_DONE
    for words in (
        "is         hashing, unknown, 305MHz",
        "should be  asleep, because: surplus_short",
        "site       412.0 kW, bound by surplus (poi)",
        "feeder     a: 90.0 kW of 100.0 kW, room for 10.0 kW",
        "merit      7 of 120, 23 J/TH",
        "expected   0.0 kW, a command is on its way",
        "verdict    quarantined; last told to sleep or wake 61.0 s ago",
        "last read  never",
        "before us  default",
        "quarantine 59.5 min left, time 1",
        "61.0 s ago  #5  trim 205MHz  for surplus 412 kW  rounded (to 210MHz)  stuck",
        "2.0 s ago   #9  sleep        for surplus 390 kW  no outcome yet       no verdict yet",
    ):
        assert words in out.getvalue()


async def test_json_is_what_the_daemon_said(console_path: Path) -> None:
    out = io.StringIO()
    await asyncio.to_thread(run_status, console_path, as_json=True, out=out, errors=io.StringIO())
    assert json.loads(out.getvalue()) == STATUS


async def test_an_unknown_miner_and_an_absent_daemon_have_exit_codes_of_their_own(
    console_path: Path, tmp_path: Path
) -> None:
    out, errors = io.StringIO(), io.StringIO()
    code = await asyncio.to_thread(run_explain, console_path, "r9", as_json=True, out=out, errors=errors)
    assert (code, out.getvalue()) == (EXIT_REFUSED, "")
    assert "no miner 'r9'" in errors.getvalue()
    assert run_status(tmp_path / "none.sock", as_json=True, out=out, errors=errors) == EXIT_NO_ANSWER
    assert "no daemon answers" in errors.getvalue()


def test_an_estimate_and_a_contradiction_are_called_so() -> None:
    estimated = {**EXPLAIN, "power_kw": 3.25, "estimate_error_kw": 0.39}
    assert "is         hashing, estimated 3250 W +- 390 W, 305MHz" in explain_page(estimated)
    unknown = explain_page({**EXPLAIN, "estimate_error_kw": 0.0})
    assert "is         hashing, unknown, 305MHz" in unknown
    grouped = {"feeder_verdict": "proved", "feeder_metered_kw": 91.0, "sleep_proved": True, "caught": False}
    line = "feeder     a: 90.0 kW of 100.0 kW, room for 10.0 kW; its meter shows 91.0 kW, group proved"
    assert f"{line}, this one among them" in explain_page({**EXPLAIN, **grouped})
    caught = explain_page({**EXPLAIN, **grouped, "sleep_proved": False, "caught": True})
    assert f"{line}, and that this one draws though it says that it sleeps" in caught
    stranger = explain_page({**EXPLAIN, "contradiction": "the inventory has S21, what answers says S9"})
    assert "contradicts the inventory: the inventory has S21, what answers says S9" in stranger


def test_what_is_allocated_ahead_of_a_ramp_is_said_as_such() -> None:
    ahead = {**STATUS, "figures": {**STATUS["figures"], "allocated_kw": 420.0, "unallocated_kw": -8.0}}
    page = status_page(ahead)
    assert "setpoint   412.0 kW = 420.0 kW allocated - 8.0 kW ahead of the ramp (step_size)" in page
    unknown = status_page({**STATUS, "setpoint": {**STATUS["setpoint"], "kw": None}})
    assert "setpoint   unknown" in unknown
