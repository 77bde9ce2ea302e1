"""What the answers of a WhatsMiner prove: every combination of claim and evidence, and the percentage behind it."""

from __future__ import annotations

import math
from typing import Any

import pytest

from controller.domain.fleet import Condition, Level
from drivers.asic.rpc import Reply, ReplyKind, judge
from drivers.asic.whatsminer_percent import Percent
from drivers.asic.whatsminer_reading import Figures, condition_of, figures_of, off_claim, version_told
from tests.drivers.asic.whatsminer.script import error, status, summary, version

LEVELS = tuple(Level(str(percent), 30 * percent, 1.2 * percent) for percent in range(40, 101, 5))
ABSENT = object()
ASLEEP, HASHING, UNKNOWN, UNREACHABLE = Condition.ASLEEP, Condition.HASHING, Condition.UNKNOWN, Condition.UNREACHABLE
NOT_ASKED = Reply(ReplyKind.NOT_SENT)


def of(power_w: object, mhs: object, **more: object) -> Reply:
    """A `summary`; ABSENT leaves a field out."""
    document = summary(power_w, mhs, **more)
    document["SUMMARY"][0] = {key: value for key, value in document["SUMMARY"][0].items() if value is not ABSENT}
    return judge(document)


def condition(told: Reply, claim: object = "false", *, off_lately: bool = False) -> tuple[Condition, str]:
    """`claim` None: status was not asked."""
    asked = NOT_ASKED if claim is None else judge(status(claim))
    return condition_of(told, figures_of(told), asked, LEVELS[0], off_lately=off_lately)


@pytest.mark.parametrize(
    ("watts", "mhs", "claim", "expected"),
    [
        (3_200, 124e6, None, HASHING),
        (3_200, 124e6, "false", HASHING),
        (3_200, 124e6, False, HASHING),
        (3_200, 0, "false", HASHING),
        (300, 30e6, "false", HASHING),  # ramping up
        (20, 0, "false", HASHING),  # booting: awake, its watts are judged elsewhere
        (-1, 124e6, "false", HASHING),
        (-1, 0, "false", UNKNOWN),
        (ABSENT, ABSENT, "false", UNKNOWN),
        (20, 0, "true", ASLEEP),
        (20, 0, True, ASLEEP),
        (20, ABSENT, "true", ASLEEP),
        (-1, 0, "true", ASLEEP),  # watts not reported, and no hash rate
        (600, 0, "true", ASLEEP),  # half of the lowest rung
        (601, 0, "true", HASHING),
        (-1, ABSENT, "true", UNKNOWN),  # the claim alone
        (3_200, 124e6, "true", HASHING),  # the liar
        (3_200, 0, "true", HASHING),
        (-1, 124e6, "true", HASHING),
        (20, 124e6, "true", UNKNOWN),
        (20, 0, "dozing", UNKNOWN),
        (20, 0, None, UNKNOWN),
        (3_200, 0, None, UNKNOWN),
        ("20", 0, "true", ASLEEP),  # a text is no measurement; the hash rate is
        (math.nan, 0, "true", ASLEEP),
        (math.nan, math.nan, "true", UNKNOWN),
        (True, True, "true", UNKNOWN),
        pytest.param(10**400, 10**400, "true", UNKNOWN, id="beyond any float"),
    ],
)
def test_asleep_needs_the_boards_word_and_figures_that_agree(
    watts: object, mhs: object, claim: object, expected: Condition
) -> None:
    found, why = condition(of(watts, mhs), claim)
    assert found is expected
    assert why or expected is not UNKNOWN, "doubt must say why"


@pytest.mark.parametrize(("watts", "mhs"), [(3_200, 124e6), (3_200, 0), (-1, 124e6)])
def test_shortly_after_a_power_off_what_contradicts_it_may_be_old(watts: int, mhs: float) -> None:
    assert condition(of(watts, mhs), "true", off_lately=True)[0] is UNKNOWN
    assert condition(of(20, 0), "true", off_lately=True)[0] is ASLEEP
    assert condition(of(3_200, 124e6), None, off_lately=True)[0] is UNKNOWN
    assert condition(of(3_200, 124e6), "false", off_lately=True)[0] is HASHING, "the board has not taken it up either"


@pytest.mark.parametrize("kind", [ReplyKind.NOT_SENT, ReplyKind.NO_ANSWER])
def test_no_answer_is_unreachable_never_asleep(kind: ReplyKind) -> None:
    assert condition(Reply(kind, detail="why"), "true") == (UNREACHABLE, "why")


@pytest.mark.parametrize(
    ("told", "claim", "expected"),
    [
        (judge(error(132, "btminer process is down")), "true", ASLEEP),
        (judge(error(45, "permission denied")), "true", UNKNOWN),  # the caller was refused, not the process asked
        (judge(error(136, "over max connect")), "true", UNKNOWN),
        (judge(error(132, "btminer process is down")), "false", UNKNOWN),
        (judge(error(132, "btminer process is down")), None, UNKNOWN),
        (judge(error(14, "invalid cmd")), "true", UNKNOWN),  # firmware without `summary` is none we know
        (Reply(ReplyKind.MALFORMED, detail="garbage"), "true", UNKNOWN),
    ],
)
def test_a_mining_process_that_does_not_answer_is_evidence_only_beside_the_boards_word(
    told: Reply, claim: object, expected: Condition
) -> None:
    found, why = condition(told, claim)
    assert found is expected
    assert told.detail in why
    assert condition(told, claim, off_lately=True)[0] is UNKNOWN, "the process may be stopping only now"


@pytest.mark.parametrize(
    ("told", "claim"),
    [
        ({"mineroff": "true"}, True),
        ({"mineroff": "False"}, False),
        ({"btmineroff": "true"}, True),
        ({"mineroff": "false", "btmineroff": "true"}, False),
        ({"mineroff": True}, True),
        ({"mineroff": None}, None),
        ({"mineroff": 1}, None),
        ({}, None),
        ("API command OK", None),
    ],
)
def test_off_is_read_in_every_known_spelling_and_in_no_other(told: object, claim: bool | None) -> None:
    assert off_claim(judge({"STATUS": "S", "Code": 131, "Msg": told})) is claim
    assert off_claim(judge({"STATUS": "E", "Code": 132, "Msg": told})) is None


def test_the_quickest_hash_rate_counts_and_the_lifelong_mean_never() -> None:
    def rate(**told: float) -> float | None:
        return figures_of(of(3_200, ABSENT, **told)).hashrate_th

    assert rate(MHS_5s=2e6, MHS_1m=3e6, MHS_av=4e6) == 2.0
    assert rate(MHS_1m=3e6, MHS_av=4e6) == 3.0
    assert rate(MHS_av=4e6) is None
    assert figures_of(of(3_200, 1e6, MHS_5s=2e6)).hashrate_th == 1.0


@pytest.mark.parametrize(
    "told", [error(14, "invalid cmd"), {"STATUS": "S", "SUMMARY": []}, {"STATUS": "S", "SUMMARY": 5}]
)
def test_a_summary_without_figures_tells_none(told: Any) -> None:
    assert figures_of(judge(told)) == Figures()


@pytest.mark.parametrize(
    ("firmware", "api", "expected"),
    [
        ("20230803.11.REL", "2.0.5", "WhatsMiner V2"),
        ("20241100.00.REL", "2.0.5", "WhatsMiner V2"),
        ("20241101.00.REL", "2.0.5", "WhatsMiner V3"),
        ("'20250409.15.REL'", "2.0.5", "WhatsMiner V3"),
        ("20210322.22.REL", "whatsminer v1.4.0", "WhatsMiner V1"),
        ("of our own", "2.0.5", "WhatsMiner V2"),
    ],
)
def test_firmware_for_the_next_api_counts_as_that(firmware: str, api: str, expected: str) -> None:
    assert version_told(judge(version(firmware, api))).firmware == expected


# --- the percentage ----------------------------------------------------------------------------------------------

T0 = 50_000.0


def showing(power_w: float | None, **more: Any) -> Figures:
    """Figures of a miner that hashes, of 3,000 W at 100 percent."""
    return Figures(power_w=power_w, hashrate_th=100.0, **more)


def watched(percent: Percent, figures: Figures, at: float, for_s: float = 31.0) -> list[str | None]:
    """The percentage at two reads, `for_s` seconds apart."""
    return [percent.hashing(figures, at), percent.hashing(figures, at + for_s)]


@pytest.mark.parametrize("watts", [2_640, 2_850, 3_000, 3_300])
def test_at_first_sight_nearly_full_power_is_full(watts: float) -> None:
    assert Percent(LEVELS).hashing(showing(watts), T0) == "100"


def test_at_first_sight_less_is_nothing_until_it_has_been_steady() -> None:
    assert watched(Percent(LEVELS), showing(1_820), T0) == [None, "60"]
    booting = Percent(LEVELS)
    assert [booting.hashing(showing(watts), T0 + 10 * turn) for turn, watts in enumerate(range(300, 2_500, 200))] == (
        [None] * 11
    )
    assert booting.hashing(showing(2_900), T0 + 200) == "100"


@pytest.mark.parametrize(("limit_w", "expected"), [(2_400, "75"), (0, "60"), (200, "60"), (60_000, "60"), (None, "60")])
def test_a_lowered_power_limit_is_what_a_percentage_is_of(limit_w: float | None, expected: str) -> None:
    assert watched(Percent(LEVELS), showing(1_800, limit_w=limit_w), T0)[1] == expected


@pytest.mark.parametrize("mode", ["Low", "High", "low"])
def test_in_another_power_mode_full_power_is_unknown_and_the_usual_is_assumed(mode: str) -> None:
    percent = Percent(LEVELS)
    assert percent.hashing(showing(2_000, mode=mode), T0) == "100"
    percent.set("60", T0 + 1)
    assert watched(percent, showing(2_000, mode=mode), T0 + 2) == ["60", "60"]


def test_without_watts_the_usual_is_assumed() -> None:
    assert Percent(LEVELS).hashing(showing(None), T0) == "100"


def test_what_was_set_holds_while_the_watts_do_not_say_otherwise_for_long() -> None:
    percent = Percent(LEVELS)
    assert watched(percent, showing(3_000, elapsed_s=9_000), T0 - 40) == ["100", "100"]
    percent.set("60", T0)
    assert percent.hashing(showing(3_000, elapsed_s=9_000), T0 + 1) == "60", "watts follow later"
    assert watched(percent, showing(2_200, elapsed_s=9_000), T0 + 10) == ["60", "60"]
    assert watched(percent, showing(3_000, elapsed_s=9_000), T0 + 60) == ["60", "100"], "it was not obeyed"


def test_a_miner_that_draws_more_than_it_should_keeps_the_percentage_it_was_set_to() -> None:
    percent = Percent(LEVELS)
    percent.set("90", T0)
    assert watched(percent, showing(3_200), T0 + 10) == ["90", "90"]


def test_what_somebody_else_set_is_found_by_its_watts() -> None:
    percent = Percent(LEVELS)
    assert percent.hashing(showing(3_000), T0) == "100"
    assert watched(percent, showing(1_500), T0 + 10) == ["100", "50"]


def test_a_mining_process_younger_than_what_was_set_runs_at_full() -> None:
    percent = Percent(LEVELS)
    percent.set("60", T0)
    assert percent.hashing(showing(1_800, elapsed_s=99), T0 + 100) == "60", "as old, for all anybody knows"
    assert percent.hashing(showing(1_800, elapsed_s=98), T0 + 100) == "100"
    assert percent.hashing(showing(1_800, elapsed_s=105), T0 + 107) == "100"


def test_a_percentage_found_by_watts_is_not_taken_for_older_than_the_process() -> None:
    percent = Percent(LEVELS)
    assert watched(percent, showing(1_800, elapsed_s=900), T0) == [None, "60"]
    assert percent.hashing(showing(1_800, elapsed_s=960), T0 + 60) == "60"
    assert percent.hashing(showing(1_800, elapsed_s=20), T0 + 90) == "100", "but for younger than a later one"


def test_after_doubt_nothing_is_assumed_before_the_watts_are_steady() -> None:
    percent = Percent(LEVELS)
    percent.hashing(showing(3_000), T0)
    percent.set(None, T0 + 1)
    assert watched(percent, showing(2_950), T0 + 2) == [None, "100"]


def test_asleep_is_full_power_to_come() -> None:
    percent = Percent(LEVELS)
    percent.set("60", T0)
    assert percent.asleep(T0 + 5) == "100"
    assert percent.hashing(showing(900), T0 + 40) == "100"
