"""What a stock Antminer's answers prove: the rate decides, sleep needs named evidence, watts come with their error."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from controller.domain.command import Outcome
from controller.domain.fleet import Condition
from drivers.asic.antminer_memory import Known
from drivers.asic.antminer_reading import MUTE_ASLEEP_S, Judge, Seen, rate_in_summary
from tests.drivers.asic.antminer.script import FACTS, LOW, NORMAL

JUDGE = Judge(FACTS)
SLEEP_W = FACTS.envelope.response.sleep_power_w
BOOTED_S = FACTS.envelope.response.wake_patience_s
HASHING, ASLEEP, UNKNOWN = Condition.HASHING, Condition.ASLEEP, Condition.UNKNOWN


@pytest.mark.parametrize(
    ("rate_th", "mode", "mute_s", "woken_s", "condition"),
    [
        (110.0, "0", None, None, HASHING),
        (82.5, "3", None, None, HASHING),
        (110.0, None, None, None, HASHING),  # the web says nothing, the rate says enough
        (110.0, "1", None, None, HASHING),  # configured to sleep: a claim
        (2.0, "1", None, None, HASHING),  # on its way down
        (0.5, "1", None, None, ASLEEP),  # what is left of a mean
        (0.0, "1", None, None, ASLEEP),
        (0.0, None, None, None, UNKNOWN),
        (None, None, None, None, UNKNOWN),
        (None, "1", None, None, UNKNOWN),  # port 4028 answers, and tells no rate
        (None, "0", None, None, HASHING),  # it may hash, and a shed must reach it
        (None, "0", None, BOOTED_S, HASHING),  # woken by us, and a mining process that hangs: no sign of sleep
        (None, "1", 0.0, None, UNKNOWN),  # restarting, or mute for another reason
        (None, "1", MUTE_ASLEEP_S - 1, None, UNKNOWN),
        (None, "1", MUTE_ASLEEP_S, None, ASLEEP),
        (0.0, "0", None, None, HASHING),  # boots, lost its pools, broken: a shed must reach it
        (None, "0", 5 * MUTE_ASLEEP_S, None, HASHING),
        (0.0, "7", None, None, HASHING),
        (0.0, "0", None, BOOTED_S - 1, HASHING),
        (0.0, "0", None, BOOTED_S, ASLEEP),  # woken by us, and never showed a rate
        (None, "3", 90.0, BOOTED_S, ASLEEP),
        (110.0, "0", None, BOOTED_S, HASHING),
        (0.0, "1", None, BOOTED_S, ASLEEP),
    ],
)
def test_the_rate_decides_and_sleep_needs_evidence(
    rate_th: float | None, mode: str | None, mute_s: float | None, woken_s: float | None, condition: Condition
) -> None:
    judged = JUDGE.judge(Seen(rate_th=rate_th, mode=mode, mute_s=mute_s, woken_s=woken_s))
    assert judged.condition is condition
    assert judged.detail or condition is not UNKNOWN, "doubt must say why"
    nobody_tells = rate_th is None and mute_s is None
    assert (judged.power_w is None) is (condition is UNKNOWN or nobody_tells)
    assert (judged.power_error_w is None) is (judged.power_w is None)


@pytest.mark.parametrize("woken_s", [None, 0.0, BOOTED_S, 10 * BOOTED_S])
@pytest.mark.parametrize("mode", ["0", "3", "7"])
def test_a_moments_silence_of_a_miner_told_to_hash_is_no_sleep_and_no_small_draw(
    mode: str, woken_s: float | None
) -> None:
    for mute_s in (0.0, MUTE_ASLEEP_S - 1):
        judged = JUDGE.judge(Seen(rate_th=None, mode=mode, mute_s=mute_s, woken_s=woken_s))
        assert (judged.condition, judged.power_w, judged.power_error_w) == (HASHING, None, None)
        assert "no mining process" in judged.detail


@pytest.mark.parametrize(
    ("rate_th", "mode", "power_w"),
    [
        (110.0, "0", NORMAL.power_w),
        (82.5, "3", LOW.power_w),
        (110.0 * 2 / 3, "0", SLEEP_W + (NORMAL.power_w - SLEEP_W) * 2 / 3),  # one of three boards is gone
        (500.0, "0", SLEEP_W + (NORMAL.power_w - SLEEP_W) * 1.2),  # no Antminer hashes that fast
    ],
)
def test_watts_follow_mode_and_rate(rate_th: float, mode: str, power_w: float) -> None:
    judged = JUDGE.judge(Seen(rate_th=rate_th, mode=mode, rate_before_th=rate_th))
    assert judged.power_w == pytest.approx(power_w)
    assert judged.power_error_w == pytest.approx(FACTS.estimate_error_ratio * power_w)  # type: ignore[operator]


def test_the_error_is_wider_while_the_rate_moves_and_where_the_mode_is_not_known() -> None:
    steady = JUDGE.judge(Seen(rate_th=60.0, mode="0", rate_before_th=60.0))
    moving = JUDGE.judge(Seen(rate_th=60.0, mode="0", rate_before_th=20.0))
    unknown = JUDGE.judge(Seen(rate_th=60.0, mode=None, rate_before_th=60.0))
    assert steady.power_error_w is not None and moving.power_error_w is not None
    way_w = (NORMAL.power_w - SLEEP_W) * 40.0 / NORMAL.hashrate_th
    assert moving.power_error_w == pytest.approx(steady.power_error_w + way_w)
    assert unknown.power_error_w == pytest.approx(2 * steady.power_error_w)


def test_a_boot_may_draw_up_to_half_and_never_passes_for_its_rung() -> None:
    judged = JUDGE.judge(Seen(rate_th=0.0, mode="0", woken_s=1.0))
    assert judged.power_w is not None and judged.power_error_w is not None
    assert judged.power_w - judged.power_error_w == pytest.approx(SLEEP_W)
    assert judged.power_w + judged.power_error_w == pytest.approx((NORMAL.power_w + SLEEP_W) / 2)
    assert NORMAL.power_w - judged.power_w > judged.power_error_w


def test_a_sleeper_draws_its_sleep_watts_give_or_take_as_much() -> None:
    judged = JUDGE.judge(Seen(rate_th=0.0, mode="1"))
    assert (judged.power_w, judged.power_error_w) == (SLEEP_W, SLEEP_W)


@pytest.mark.parametrize(
    ("seen", "level"),
    [
        (Seen(rate_th=110.0, mode="0"), 1),
        (Seen(rate_th=82.5, mode="3"), 0),
        (Seen(rate_th=110.0, mode="2"), None),  # on no ladder of ours
        (Seen(rate_th=82.5, mode=None, awake_mode="3"), 0),
        (Seen(rate_th=82.5, mode="1", awake_mode="3"), 0),
        (Seen(rate_th=0.0, mode="1"), None),
        (Seen(rate_th=0.0, mode="1", awake_mode="3"), 0),  # what it comes back to
        (Seen(rate_th=0.0, mode="3"), 0),
    ],
)
def test_the_level_is_the_modes_and_a_sleepers_that_of_its_wake(seen: Seen, level: int | None) -> None:
    assert JUDGE.judge(seen).level == level


def test_a_liar_and_what_failed_are_named() -> None:
    judged = JUDGE.judge(Seen(rate_th=110.0, mode="1", words="get_miner_conf: late"))
    assert judged.detail == "configured to sleep, but it hashes; get_miner_conf: late"


@pytest.mark.parametrize(
    ("row", "rate_th"),
    [
        ({"GHS 5s": 110566.89}, 110.56689),
        ({"GHS 5s": "110566.89"}, 110.56689),
        ({"GHS 5s": 0}, 0.0),
        ({"rate_5s": 84_000.0}, 84.0),
        ({"GHS 5s": -1}, None),
        ({"GHS 5s": True}, None),
        ({"GHS 5s": None}, None),
        ({"GHS 5s": "nan"}, None),
        ({"GHS 5s": "fast"}, None),
        pytest.param({"GHS 5s": 10**400}, None, id="beyond any float"),
        ({"GHS av": 1.0}, None),
        ({}, None),
    ],
)
def test_a_rate_is_a_number_of_gigahashes(row: dict[str, Any], rate_th: float | None) -> None:
    found = rate_in_summary(row)
    assert found == (None if rate_th is None else pytest.approx(rate_th))


# --- what is remembered between reads --------------------------------------------------------------------------------

T0 = 1_000.0


def read_before(mode: str, at: float = T0) -> Known:
    known = Known()
    known.learn_mode(mode, at)
    return known


@pytest.mark.parametrize(
    ("mode", "later_s", "elapsed_s", "hashes", "mute", "due"),
    [
        ("0", 10, 5_000, True, False, False),
        ("0", 61, 5_000, True, False, True),
        ("0", 10, 5_000, False, False, True),  # the rate is gone: sleep?
        ("1", 10, 5_000, False, False, False),  # asleep as before
        ("1", 61, 5_000, False, False, True),
        ("1", 10, 3, False, False, True),  # restarted since: somebody may have woken it
        ("1", 10, 12, False, False, True),  # perhaps
        ("1", 10, None, False, False, True),
        ("1", 10, 5_000, True, False, False),
        ("1", 10, None, False, True, True),
    ],
)
def test_the_mode_is_asked_for_when_the_rate_is_gone_or_a_restart_may_have_changed_it(
    mode: str, later_s: float, elapsed_s: float | None, hashes: bool, mute: bool, due: bool
) -> None:
    assert read_before(mode).conf_is_due(T0 + later_s, elapsed_s, hashes=hashes, mute=mute) is due


def test_the_mode_is_asked_for_first_and_after_a_write_and_after_it_could_not_be_read() -> None:
    known = Known()
    assert known.conf_is_due(T0, 5_000, hashes=True, mute=False)
    known = read_before("0")
    known.forget_conf()
    assert known.conf_is_due(T0 + 1, 5_000, hashes=True, mute=False)
    known = read_before("0")
    known.learn_mode(None, T0 + 1)
    assert known.mode is None
    assert known.awake_mode == "0"


def test_a_wake_is_remembered_until_a_rate_is_seen_and_a_change_of_mode_is_none() -> None:
    known = Known()
    known.written(T0, "0", "1", Outcome.ACKNOWLEDGED)
    assert known.seen(T0 + 5, 0.0, "").woken_s == 5
    known.note(T0 + 9, hashes=True, mute=False)
    assert known.seen(T0 + 9, 1.0, "").woken_s is None
    known.written(T0 + 20, "3", "0", Outcome.ACKNOWLEDGED)
    assert known.seen(T0 + 25, 0.0, "").woken_s is None
    assert known.awake_mode == "3"


def test_a_sleeper_keeps_the_mode_it_had() -> None:
    known = Known()
    known.written(T0, "1", "3", Outcome.ACKNOWLEDGED)
    known.written(T0 + 9, "1", "1", Outcome.ACKNOWLEDGED)
    assert known.awake_mode == "3"


def test_a_wake_that_was_not_answered_may_come_for_a_minute_unless_a_sleep_was_written_since() -> None:
    known = Known()
    assert not known.wake_may_come(T0)
    known.written(T0, "0", "1", Outcome.ACKNOWLEDGED)
    assert not known.wake_may_come(T0)
    known.written(T0, "0", "1", Outcome.UNKNOWN)
    assert [known.wake_may_come(T0 + later_s) for later_s in (0.0, 59.0, 60.0)] == [True, True, False]
    known.written(T0 + 1, "1", "1", Outcome.REFUSED)
    assert known.wake_may_come(T0 + 1)
    known.written(T0 + 2, "1", "1", Outcome.UNKNOWN)
    assert not known.wake_may_come(T0 + 2)


def test_silence_is_counted_from_its_beginning_and_only_while_the_miner_answers_elsewhere() -> None:
    known = Known()
    known.note(T0, hashes=False, mute=True)
    known.note(T0 + 30, hashes=False, mute=True)
    assert known.seen(T0 + 30, None, "").mute_s == 30
    known.note(T0 + 31, hashes=False, mute=None)  # nothing of it answered
    known.note(T0 + 90, hashes=False, mute=True)
    assert known.seen(T0 + 91, None, "").mute_s == 1
    known.note(T0 + 92, hashes=False, mute=False)
    assert known.seen(T0 + 92, 0.0, "").mute_s is None


def test_a_model_without_an_estimate_in_its_file_has_one_without_error() -> None:
    judged = Judge(replace(FACTS, estimate_error_ratio=None)).judge(Seen(rate_th=110.0, mode="0", rate_before_th=110.0))
    assert judged.power_error_w == 0.0
