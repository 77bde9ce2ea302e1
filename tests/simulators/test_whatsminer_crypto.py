"""What the simulated WhatsMiner encrypts is what published clients decrypt, and the other way round."""

import importlib
import json
import logging
import random
import warnings
from typing import Any

import pytest

from simulators.asic.whatsminer_crypto import SALT_ALPHABET, Envelope, NotBase64Error, NotJSONError, md5_crypt
from simulators.asic.whatsminer_tokens import (
    CLIENTS,
    FACTORY_PASSWORD,
    FACTORY_SALT,
    TOKEN_LIFE_S,
    TOKENS_PER_CLIENT,
    TokenTable,
)
from tests.simulators.whatsminer_client import Clock


def published(name: str) -> Any:
    """A module of another's; its import warns, and sets the level of the root logger, which is put back."""
    level = logging.getLogger().level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module = importlib.import_module(name)
    logging.getLogger().setLevel(level)
    return module


def table(clock: Clock) -> TokenTable:
    return TokenTable(password=FACTORY_PASSWORD, seed=3, now_s=clock)


@pytest.mark.parametrize(
    ("word", "salt", "letters"),
    [
        # openssl passwd -1 -salt ... ...; the first one is also found in the vendor's firmware
        ("admin", FACTORY_SALT, "RxmaDUO33TS7O26yeMHZ81"),
        ("a longer word than sixteen letters", "L7mYce6.", "JbLgvhmU1rsmGA.y1y84D/"),
    ],
)
def test_md5_crypt_is_that_of_openssl(word: str, salt: str, letters: str) -> None:
    assert md5_crypt(word, salt) == letters


@pytest.mark.parametrize("length", [0, 1, 5, 8, 15, 16, 17, 31, 40])
def test_md5_crypt_is_that_of_passlib(length: int) -> None:
    theirs = published("passlib.handlers.md5_crypt").md5_crypt
    chance = random.Random(length)
    for _ in range(10):
        word = "".join(chance.choices(SALT_ALPHABET + "ä §", k=length))
        salt = "".join(chance.choices(SALT_ALPHABET, k=chance.randrange(1, 9)))
        assert md5_crypt(word, salt) == theirs.using(salt=salt).hash(word).split("$")[3]


def test_pyasic_opens_what_is_sealed_and_seals_what_is_opened() -> None:
    rpc = published("pyasic.rpc.btminer")
    theirs = rpc.TokenData(host_sign="sign", host_passwd_md5="key")
    ours = Envelope("key")
    reply = {"STATUS": "S", "Code": 131, "Msg": "API command OK"}
    assert rpc.parse_btminer_priviledge_data(theirs, {"enc": ours.seal(reply)}) == reply
    request = json.loads(rpc.create_privileged_cmd(theirs, {"cmd": "power_off", "respbefore": "true"}))
    assert request["enc"] == 1
    assert ours.open(request["data"]) == {"cmd": "power_off", "respbefore": "true", "token": "sign"}


@pytest.mark.parametrize("length", range(14, 50))
def test_an_envelope_holds_any_length(length: int) -> None:
    content = {"pad": "x" * length}
    assert Envelope("key").open(Envelope("key").seal(content)) == content


def test_an_envelope_of_another_key_is_no_json() -> None:
    with pytest.raises(NotJSONError):
        Envelope("one").open(Envelope("another").seal({"cmd": "power_off"}))


@pytest.mark.parametrize("sealed", ["", "QUJD", Envelope("key").seal({"a": 1})[:-8]])
def test_what_is_no_whole_number_of_blocks_is_no_json(sealed: str) -> None:
    with pytest.raises(NotJSONError):
        Envelope("key").open(sealed)


@pytest.mark.parametrize("sealed", ["!!!!", "QUJ", "ä"])
def test_what_is_not_base64_is_said_to_be_that(sealed: str) -> None:
    with pytest.raises(NotBase64Error):
        Envelope("key").open(sealed)


def test_a_client_gets_32_tokens_and_a_device_serves_16_clients() -> None:
    tokens = table(Clock())
    assert all(tokens.grant("10.0.0.1") for _ in range(TOKENS_PER_CLIENT))
    assert tokens.grant("10.0.0.1") is None
    assert all(tokens.grant(f"10.0.1.{n}") for n in range(CLIENTS - 1))
    assert tokens.grant("10.0.2.1") is None
    assert tokens.grant("10.0.1.0") is not None
    assert len(tokens) == TOKENS_PER_CLIENT + CLIENTS


def token_of(tokens: TokenTable, client: str = "10.0.0.1") -> str:
    grant = tokens.grant(client)
    assert grant is not None
    return md5_crypt(md5_crypt("admin", grant.salt) + grant.time, grant.newsalt)


def test_a_token_lives_half_an_hour_however_often_it_is_used() -> None:
    clock = Clock()
    tokens = table(clock)
    token = token_of(tokens)
    for clock.seconds in (0.0, TOKEN_LIFE_S / 2, TOKEN_LIFE_S - 0.01):
        assert tokens.holds(token)
    clock.seconds = TOKEN_LIFE_S
    assert not tokens.holds(token)
    assert len(tokens) == 0


def test_an_expired_token_makes_room() -> None:
    clock = Clock()
    tokens = table(clock)
    for _ in range(TOKENS_PER_CLIENT):
        tokens.grant("10.0.0.1")
    clock.seconds = TOKEN_LIFE_S
    assert tokens.grant("10.0.0.1") is not None


def test_a_grant_looks_as_the_vendors_does() -> None:
    tokens = table(Clock())
    first, second = tokens.grant("a"), tokens.grant("a")
    assert first is not None
    assert second is not None
    assert len(first.time) == 4
    assert first.time.isdigit()
    assert first.salt == second.salt  # it goes with the password
    assert first.newsalt != second.newsalt
    assert len(first.newsalt) == 8


def test_another_password_voids_every_token_and_changes_the_key() -> None:
    tokens = table(Clock())
    token, before = token_of(tokens), tokens.envelope
    tokens.set_password("other")
    assert not tokens.holds(token)
    with pytest.raises(NotJSONError):
        tokens.envelope.open(before.seal({"cmd": "power_on"}))


@pytest.mark.parametrize("token", ["", "nonsense", None, 7, ["a"]])
def test_what_was_never_granted_is_no_token(token: object) -> None:
    tokens = table(Clock())
    token_of(tokens)
    assert not tokens.holds(token)
