"""Tokens of a WhatsMiner: how long they are good, when the next is due, and how many may be asked for."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from drivers.asic.whatsminer_token import LIFE_S, For, Tokens, TokenUnreadableError
from simulators.asic.whatsminer_crypto import Envelope, md5_crypt
from simulators.asic.whatsminer_tokens import TOKENS_PER_CLIENT

T0 = 50_000.0  # loop seconds count from the machine's own start
SALT = "BQ5hoXV9"


def grant(salt: object = SALT, time: object = "5626", newsalt: object = "KrTFM3PY") -> dict[str, Any]:
    """An answer to `get_token`."""
    return {"STATUS": "S", "Code": 134, "Msg": {"time": time, "salt": salt, "newsalt": newsalt}}


def tokens(index: int = 0) -> Tokens:
    """Of a miner with the maker's password."""
    return Tokens("admin", index)


def test_a_token_is_what_the_firmware_makes_of_the_same_password() -> None:
    taken = tokens().take(grant(), T0)
    key = md5_crypt("admin", SALT)
    assert (taken.data.host_passwd_md5, taken.data.host_sign) == (key, md5_crypt(key + "5626", "KrTFM3PY"))


def test_a_request_can_be_read_by_the_firmware_and_its_answer_by_us() -> None:
    ours = tokens()
    taken = ours.take(grant(), T0)
    envelope = Envelope(md5_crypt("admin", SALT))
    sealed = ours.crypto.sealed(taken.data, {"cmd": "set_power_pct", "percent": "60"})
    data = sealed.decode().split('"data": "')[1].rstrip('"}')
    assert envelope.open(data) == {"cmd": "set_power_pct", "percent": "60", "token": taken.data.host_sign}
    answer = {"STATUS": "S", "Code": 131, "Msg": "API command OK"}
    assert ours.crypto.opened(taken.data, {"enc": envelope.seal(answer)}) == answer


def test_the_same_order_is_encrypted_once_per_token() -> None:
    ours = tokens()
    taken = ours.take(grant(), T0)
    off, trim = {"cmd": "power_off", "respbefore": "true"}, {"cmd": "set_power_pct", "percent": "60"}
    assert ours.request(taken, off) is ours.request(taken, dict(off))
    assert ours.request(taken, off) == ours.crypto.sealed(taken.data, off)
    assert ours.request(taken, trim) == ours.crypto.sealed(taken.data, trim)
    assert ours.request(ours.take(grant(time="9999"), T0), off) != ours.request(taken, off)


@pytest.mark.parametrize("enc", [None, 5, "", "AAAA", "no base64!", ["x"], Envelope("another").seal({"STATUS": "S"})])
def test_what_cannot_be_decrypted_says_so(enc: object) -> None:
    ours = tokens()
    with pytest.raises(TokenUnreadableError, match="cannot be decrypted"):
        ours.crypto.opened(ours.take(grant(), T0).data, {"enc": enc})


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"Msg": "over max connect"},
        {"Msg": {}},
        grant(salt=5),
        grant(time=None),
        grant(salt="$1$"),
        grant(salt="x" * 9),
    ],
)
def test_a_token_of_unknown_shape_says_so_and_is_none(answer: dict[str, Any]) -> None:
    ours = tokens()
    with pytest.raises(TokenUnreadableError):
        ours.take(answer, T0)
    assert ours.usable(T0) is None


def test_another_password_salt_makes_another_key() -> None:
    ours = tokens()
    first = ours.take(grant(), T0).data.host_passwd_md5
    assert ours.take(grant(newsalt="another1"), T0).data.host_passwd_md5 == first
    assert ours.take(grant(salt="another2"), T0).data.host_passwd_md5 == md5_crypt("admin", "another2")


def test_a_token_is_good_for_all_but_the_last_minute_of_its_life() -> None:
    ours = tokens()
    taken = ours.take(grant(), T0)
    assert ours.usable(T0 + LIFE_S - 61.0) is taken
    assert ours.usable(T0 + LIFE_S - 60.0) is None


def test_a_dropped_token_is_gone_and_another_is_due() -> None:
    ours = tokens()
    ours.take(grant(), T0)
    assert not ours.renewal_due(T0)
    ours.drop()
    assert ours.usable(T0) is None
    assert ours.renewal_due(T0)


def test_a_thousand_miners_that_began_together_renew_over_five_minutes() -> None:
    due = []
    for index in range(1_000):
        ours = tokens(index)
        ours.take(grant(), T0)
        assert not ours.renewal_due(T0 + 1_199.0)
        assert ours.renewal_due(T0 + 1_500.0)
        due.append(next(second for second in range(1_200, 1_501) if ours.renewal_due(T0 + second)))
    assert max(due.count(second) for second in range(1_200, 1_501)) <= 6, "3.3 a second on average"


def test_a_good_token_is_kept_while_its_renewal_fails() -> None:
    ours = tokens()
    taken = ours.take(grant(), T0)
    ours.failed(T0 + 1_500.0)
    assert ours.usable(T0 + 1_700.0) is taken


def test_failed_renewals_wait_longer_each_time_until_one_succeeds() -> None:
    ours, now, pauses = tokens(), T0, []
    for _ in range(7):
        assert ours.renewal_due(now)
        ours.failed(now)
        pauses.append(next(s for s in range(2_000) if ours.renewal_due(now + s)))
        now += pauses[-1]
    assert pauses == [30, 60, 120, 240, 480, 600, 600]
    ours.take(grant(), now)
    ours.drop()
    ours.failed(now)
    assert ours.renewal_due(now + 30.0)


def test_a_full_table_is_left_alone_for_200_seconds() -> None:
    ours = tokens()
    ours.failed(T0, table_full=True)
    assert not ours.renewal_due(T0 + 199.0)
    assert ours.renewal_due(T0 + 200.0)


def test_a_pause_of_renewals_does_not_bind_commands() -> None:
    ours = tokens()
    ours.failed(T0, table_full=True)
    assert ours.again_at(T0, For.COMMAND) is None


@pytest.mark.parametrize("purpose", For)
def test_each_purpose_has_its_share_of_the_table_within_a_tokens_life(purpose: For) -> None:
    ours = tokens()
    for turn in range(purpose):
        assert ours.again_at(T0 + turn, purpose) is None
        ours.asked(T0 + turn)
    assert ours.again_at(T0 + 60.0, purpose) == T0 + (LIFE_S if purpose is not For.SHED else For.SHED - 1 + 200.0)
    assert ours.again_at(T0 + LIFE_S, purpose) is None


def test_a_shed_beyond_its_share_asks_once_in_200_seconds_and_is_not_put_off_for_half_an_hour() -> None:
    ours = tokens()
    for turn in range(For.SHED):
        ours.asked(T0 + turn)
    last = T0 + For.SHED - 1
    assert ours.again_at(last + 199.0, For.SHED) == last + 200.0
    assert ours.again_at(last + 200.0, For.SHED) is None
    ours.asked(last + 200.0)
    assert ours.again_at(last + 201.0, For.SHED) == last + 400.0
    assert ours.again_at(last + 201.0, For.COMMAND) is not None


def test_what_never_left_does_not_count() -> None:
    ours = tokens()
    ours.asked(T0)
    for turn in range(2 * For.SHED):
        ours.asked(T0 + turn)
        ours.not_asked()
    assert ours.again_at(T0 + 60.0, For.RENEWAL) is None
    for _ in range(For.RENEWAL - 1):
        ours.asked(T0 + 60.0)
    assert ours.again_at(T0 + 60.0, For.RENEWAL) == T0 + LIFE_S, "the one that did leave still does"


def test_neither_a_token_nor_what_was_encrypted_with_it_shows_in_a_log() -> None:
    ours = tokens()
    taken = ours.take(grant(), T0)
    ours.request(taken, {"cmd": "power_off"})
    assert repr(taken) == f"Token(taken_at={T0})"


def test_what_one_purpose_asked_for_counts_for_all_and_a_shed_comes_last() -> None:
    ours = tokens()
    for turn in range(For.COMMAND):
        ours.asked(T0 + turn)
    assert not ours.renewal_due(T0 + 10.0)
    assert ours.again_at(T0 + 10.0, For.RENEWAL) == T0 + For.COMMAND - For.RENEWAL + LIFE_S
    assert ours.again_at(T0 + 10.0, For.COMMAND) == T0 + LIFE_S
    assert ours.again_at(T0 + 10.0, For.SHED) is None
    assert [smaller < larger for smaller, larger in pairwise((*For, TOKENS_PER_CLIENT))] == [True] * 3
