"""What one answer proves: every combination of claim and evidence."""

from __future__ import annotations

import math
from typing import Any

import pytest

from controller.domain.fleet import Condition, Level
from drivers.asic.luxos_reading import observe
from drivers.asic.rpc import Reply, ReplyKind

LEVELS = (Level("low", 1_000, 40.0), Level("high", 3_000, 120.0))
ABSENT = "absent"

ASLEEP, HASHING, UNKNOWN = Condition.ASLEEP, Condition.HASHING, Condition.UNKNOWN


def answer(mode: object, supply: object, watts: object, ghs: object) -> Reply:
    """A `power+summary+config` answer; ABSENT leaves a field out."""

    def part(section: str, **fields: object) -> list[dict[str, Any]]:
        present = {key.replace("_", " "): value for key, value in fields.items() if value is not ABSENT}
        return [{section: [present], "STATUS": [{"STATUS": "S", "Code": 1, "Msg": ""}]}]

    config = part("CONFIG", CurtailMode=mode, IsPowerSupplyOn=supply, Profile="high", IsAtmEnabled=True)
    body = {"power": part("POWER", Watts=watts), "summary": part("SUMMARY", GHS_5s=ghs), "config": config, "id": 1}
    return Reply(ReplyKind.ACCEPTED, body=body)


@pytest.mark.parametrize(
    ("mode", "supply", "watts", "ghs", "condition"),
    [
        ("None", True, 2_800, 118_000.0, HASHING),
        ("None", True, 2_800, 0, HASHING),
        ("None", True, 300, 20_000, HASHING),  # ramping up
        ("None", True, 60, 0, HASHING),  # booting: awake, its watts are judged elsewhere
        ("None", True, ABSENT, 118_000, HASHING),
        ("None", True, ABSENT, 0, UNKNOWN),
        ("None", True, ABSENT, ABSENT, UNKNOWN),
        ("None", False, 25, 0, ASLEEP),  # never woke
        ("None", False, 2_800, 118_000, UNKNOWN),
        ("Sleep", False, 25, 0, ASLEEP),
        ("sleep", False, 25, ABSENT, ASLEEP),
        ("Sleep", False, 25, 118_000, ASLEEP),  # hash rates are means over time; watts are not
        ("Sleep", False, 0, 118_000, UNKNOWN),  # a supply that tells nothing, and a rate
        ("Sleep", False, 0, 0, ASLEEP),
        ("Sleep", False, ABSENT, 0, UNKNOWN),
        ("Sleep", False, 1_900, 0, UNKNOWN),  # going down
        ("Sleep", True, 2_800, 118_000, HASHING),  # the liar
        ("Sleep", True, ABSENT, 118_000, HASHING),
        ("Sleep", True, 25, 0, UNKNOWN),
        ("Sleep", ABSENT, 25, 0, UNKNOWN),
        ("Sleep", 0, 25, 0, UNKNOWN),
        (ABSENT, False, 25, 0, UNKNOWN),
        ("Dozing", False, 25, 0, UNKNOWN),
        (None, False, 25, 0, UNKNOWN),
        ("Sleep", False, "25", 0, UNKNOWN),
        ("Sleep", False, -1, 0, UNKNOWN),
        ("Sleep", False, math.nan, 0, UNKNOWN),
        pytest.param("Sleep", False, 10**400, 0, UNKNOWN, id="watts beyond any float"),
        pytest.param("Sleep", False, 25, 10**400, ASLEEP, id="hash rate beyond any float"),
        ("Sleep", False, True, 0, UNKNOWN),
    ],
)
def test_asleep_needs_supply_off_and_low_watts(
    mode: object, supply: object, watts: object, ghs: object, condition: Condition
) -> None:
    seen = observe(answer(mode, supply, watts, ghs), LEVELS)
    assert seen.condition is condition
    assert seen.detail or condition is not UNKNOWN, "doubt must say why"


@pytest.mark.parametrize("kind", [ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER])
def test_no_answer_is_unreachable_never_asleep(kind: ReplyKind) -> None:
    seen = observe(Reply(kind, detail="why"), LEVELS)
    assert (seen.condition, seen.power_w, seen.detail) == (Condition.UNREACHABLE, None, "why")


@pytest.mark.parametrize("kind", [ReplyKind.REJECTED, ReplyKind.MALFORMED])
def test_an_answer_that_proves_nothing_is_unknown(kind: ReplyKind) -> None:
    assert observe(Reply(kind, detail="why"), LEVELS).condition is UNKNOWN


@pytest.mark.parametrize("missing", ["power", "summary", "config"])
def test_a_failed_part_is_named_and_the_others_are_kept(missing: str) -> None:
    reply = answer("None", True, 2_800, 118_000)
    failed = {missing: [{"STATUS": [{"STATUS": "E", "Code": 14, "Msg": "no telemetry"}]}]}
    seen = observe(Reply(ReplyKind.ACCEPTED, body={**reply.body, **failed}), LEVELS)
    assert f"{missing}: no telemetry" in seen.detail
    assert (seen.power_w is None) is (missing == "power")
    assert (seen.hashrate_th is None) is (missing == "summary")
    assert (seen.profile is None) is (missing == "config")
    assert seen.condition is (UNKNOWN if missing == "config" else HASHING)
