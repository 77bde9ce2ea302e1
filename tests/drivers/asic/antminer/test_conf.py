"""Read-modify-write of a stock Antminer's configuration: what goes back, under which name, and what is refused."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest

from drivers.asic.antminer_conf import UnfitConfError, differences, mode_of, with_mode
from tests.drivers.asic.antminer.answers import CONF, conf


def body(document: object, mode: str = "1") -> dict[str, Any]:
    sent = json.loads(with_mode(document, mode).body)
    assert isinstance(sent, dict)
    return sent


def test_the_body_carries_what_the_script_reads_and_only_the_mode_changes() -> None:
    assert body(CONF) == {
        "bitmain-fan-ctrl": False,
        "bitmain-fan-pwm": "80",
        "freq-level": "95",
        "miner-mode": 1,
        "bitmain-work-mode": "1",
        "pools": CONF["pools"],
    }


def test_what_is_carried_and_what_is_dropped_is_listed() -> None:
    write = with_mode(conf(bitmain_user_ip_cat=None, next_years_key="7"), "1")
    assert write.carried == (
        "bitmain-fan-ctrl",
        "bitmain-fan-pwm",
        "bitmain-freq-level",
        "next-years-key",
        "bitmain-work-mode",
        "pools",
    )
    assert set(write.dropped) == {
        "api-listen",
        "api-network",
        "api-groups",
        "api-allow",
        "bitmain-use-vil",
        "bitmain-freq",
        "bitmain-voltage",
        "bitmain-ccdelay",
        "bitmain-pwth",
        "bitmain-user-ip-cat",
    }
    told = set(CONF) | {"bitmain-user-ip-cat", "next-years-key"}
    assert {*write.carried, *write.dropped} == told, "no key goes unmentioned"


@pytest.mark.parametrize("key", ["bitmain-hashrate-percent", "bitmain-user-ip-cat", "algo", "next-years-key"])
@pytest.mark.parametrize("value", ["80", 80, True, False, "", 0.5, {"a": ["b"]}])
def test_a_key_that_is_not_known_goes_back_as_it_came(key: str, value: object) -> None:
    assert body(CONF | {key: value})[key] == value


@pytest.mark.parametrize("mode", ["0", "1", "2", "3"])
def test_the_mode_is_a_number_under_the_name_that_is_written(mode: str) -> None:
    sent = body(CONF, mode)
    assert (sent["miner-mode"], sent["bitmain-work-mode"]) == (int(mode), mode)


def test_pools_go_back_whole_also_what_is_not_known_of_them() -> None:
    pools = [{"url": "a", "user": "b", "pass": "c", "weight": 3}]
    assert body(conf(pools=pools))["pools"] == pools


def test_three_empty_pools_are_carried_as_they_are() -> None:
    empty = [{"url": "", "user": "", "pass": ""}] * 3
    assert body(conf(pools=empty))["pools"] == empty


def test_the_body_is_compact_utf8_without_escapes() -> None:
    pools = [{"url": "stratum+tcp://pool.invalid:1", "user": "müller.矿机", "pass": "x"}]
    sent = with_mode(conf(pools=pools), "1").body
    assert "müller.矿机".encode() in sent
    assert b" " not in sent
    assert b"\\" not in sent


@pytest.mark.parametrize(
    ("document", "why"),
    [
        ([], "no JSON object"),
        (None, "no JSON object"),
        ({}, "no work mode"),
        (conf(mode=None), "no work mode"),
        (conf(mode=""), "no work mode"),
        (conf(mode="10"), "no work mode"),
        (conf(mode="sleep"), "no work mode"),
        (conf(mode=True), "no work mode"),
        (conf(mode=-1), "no work mode"),
        ({key: value for key, value in CONF.items() if key != "pools"}, "no pools"),
        (conf(pools=[]), "no pools"),
        (conf(pools=None), "no pools"),
        (conf(pools={"url": "a", "user": "b", "pass": "c"}), "no pools"),
        (conf(pools=["a"]), "pool 0"),
        (conf(pools=[CONF["pools"][0], {"url": "a", "user": "b"}]), "pool 1"),
        (conf(pools=[{"url": "a", "user": None, "pass": "c"}]), "pool 0"),
    ],
)
def test_nothing_is_written_back_that_was_not_read_whole(document: object, why: str) -> None:
    with pytest.raises(UnfitConfError, match=why):
        with_mode(document, "1")


@pytest.mark.parametrize("text", ["two words", 'a"quote', "back\\slash", "line\nbreak", "tab\tulator"])
def test_what_the_shell_script_would_garble_is_refused_by_its_key(text: str) -> None:
    with pytest.raises(UnfitConfError, match="'pools' holds"):
        with_mode(conf(pools=[{"url": "a", "user": "b", "pass": text}]), "1")
    with pytest.raises(UnfitConfError, match="next"):
        with_mode(CONF | {"next": text}, "1")
    with pytest.raises(UnfitConfError):
        with_mode(CONF | {text: "1"}, "1")


def test_what_is_not_sent_may_hold_anything() -> None:
    assert "api-groups" not in body(CONF | {"api-groups": "A : stats"})


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "\ud800"])
def test_what_no_json_can_hold_is_refused(value: object) -> None:
    with pytest.raises(UnfitConfError, match="written as JSON"):
        with_mode(CONF | {"odd": value}, "1")


def test_brackets_without_end_are_refused_like_any_other_document() -> None:
    """What could be read with few frames on the stack need not be written with more of them."""
    nested: list[Any] = []
    for _ in range(2 * sys.getrecursionlimit()):
        nested = [nested]
    with pytest.raises(UnfitConfError, match="cannot be written"):
        with_mode(conf("0", odd=nested), "1")


@pytest.mark.parametrize(("told", "mode"), [("0", "0"), ("3", "3"), (1, "1"), (2, "2")])
def test_a_mode_is_text_whether_told_as_text_or_number(told: object, mode: str) -> None:
    assert mode_of(conf(mode=told)) == mode


def test_a_mode_told_under_the_other_name_is_known_and_answered_under_it() -> None:
    document = {key: value for key, value in CONF.items() if key != "bitmain-work-mode"} | {"miner-mode": 3}
    assert mode_of(document) == "3"
    assert "miner-mode" in with_mode(document, "1").carried


def test_differences_name_every_key_but_the_mode() -> None:
    after = {key: value for key, value in conf(mode="1", bitmain_fan_pwm="100").items() if key != "bitmain-pwth"}
    assert differences(CONF, after | {"new": 1}) == ("bitmain-fan-pwm", "bitmain-pwth", "new")
    assert differences(CONF, conf(mode="1") | {"bitmain-user-ip-cat": None}) == ()
