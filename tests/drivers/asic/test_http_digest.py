"""Digest authentication against RFC 7616, worked out here a second time."""

from __future__ import annotations

import hashlib
import re
import time

import pytest

from drivers.asic.digest import Digest
from drivers.asic.http_answer import MAX_HEAD_BYTES

CHALLENGE = (
    'Digest realm="http-auth@example.org", qop="auth, auth-int", algorithm=MD5, nonce="7ypf/xlj9XXw", opaque="FQhe"'
)


def fields(header: str) -> dict[str, str]:
    assert header.startswith("Digest ")
    return {name: quoted or bare for name, quoted, bare in re.findall(r'(\w+)=(?:"([^"]*)"|([^\s,]+))', header)}


def proof(password: str, method: str, given: dict[str, str]) -> str:
    def md5(*parts: str) -> str:
        return hashlib.md5(":".join(parts).encode(), usedforsecurity=False).hexdigest()

    secret = md5(given["username"], given["realm"], password)
    return md5(secret, given["nonce"], given["nc"], given["cnonce"], given["qop"], md5(method, given["uri"]))


def test_the_check_used_here_agrees_with_the_example_of_the_rfc() -> None:
    given = {
        "username": "Mufasa",
        "realm": "http-auth@example.org",
        "uri": "/dir/index.html",
        "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
        "nc": "00000001",
        "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        "qop": "auth",
    }
    assert proof("Circle of Life", "GET", given) == "8ca523f5e9506fed4657c9700eebdbec"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_answer_proves_the_password_for_this_request(method: str) -> None:
    digest = Digest("root", "pässword")
    assert digest.take((CHALLENGE,))
    given = fields(digest.authorization(method, "/cgi-bin/a.cgi"))
    assert given["response"] == proof("pässword", method, given)
    assert given == given | {
        "username": "root",
        "realm": "http-auth@example.org",
        "nonce": "7ypf/xlj9XXw",
        "uri": "/cgi-bin/a.cgi",
        "algorithm": "MD5",
        "opaque": "FQhe",
        "qop": "auth",
        "nc": "00000001",
    }


def test_the_nonce_is_used_again_with_a_rising_count_and_another_proof() -> None:
    digest = Digest("root", "root")
    digest.take((CHALLENGE,))
    given = [fields(digest.authorization("GET", "/a")) for _ in range(17)]
    assert [one["nc"] for one in given] == [f"{count:08x}" for count in range(1, 18)]
    assert len({one["response"] for one in given}) == 17
    assert {one["nonce"] for one in given} == {"7ypf/xlj9XXw"}


def test_a_new_challenge_starts_the_count_anew() -> None:
    digest = Digest("root", "root")
    digest.take((CHALLENGE,))
    digest.authorization("GET", "/a")
    digest.take((CHALLENGE.replace("7ypf", "8ypf"),))
    given = fields(digest.authorization("GET", "/a"))
    assert (given["nonce"], given["nc"], given["response"]) == ("8ypf/xlj9XXw", "00000001", proof("root", "GET", given))


def test_before_a_challenge_there_is_nothing_to_say() -> None:
    assert Digest("root", "root").authorization("GET", "/a") == ""


def test_the_challenge_of_a_miner_has_neither_algorithm_nor_opaque() -> None:
    digest = Digest("root", "root")
    assert digest.take(('Digest realm="antMiner Configuration", nonce="7d9c85", qop="auth"',))
    given = fields(digest.authorization("GET", "/a"))
    assert "opaque" not in given
    assert given["response"] == proof("root", "GET", given)


def test_the_first_challenge_that_can_be_answered_is_taken() -> None:
    digest = Digest("root", "root")
    assert digest.take(('Basic realm="x"', CHALLENGE.replace("MD5", "SHA-256").replace("7ypf", "other"), CHALLENGE))
    assert fields(digest.authorization("GET", "/a"))["nonce"] == "7ypf/xlj9XXw"


@pytest.mark.parametrize(
    "challenge",
    [
        'Basic realm="antMiner Configuration"',
        'Digest realm="r", qop="auth"',
        'Digest nonce="n", qop="auth"',
        'Digest realm="r", nonce="n"',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", qop="auth", algorithm=SHA-256',
        'Digest realm="r", nonce="n", qop="auth", algorithm=MD5-sess',
        "Digest",
        "",
    ],
)
def test_what_cannot_be_answered_is_left_and_says_nothing(challenge: str) -> None:
    digest = Digest("root", "root")
    assert not digest.take((challenge,))
    assert digest.authorization("GET", "/a") == ""


@pytest.mark.parametrize("username", ['a"b', "a\\b", "a:b", "a\r\nX: y", "a\x00"])
def test_a_user_name_that_no_header_can_carry_is_refused(username: str) -> None:
    with pytest.raises(ValueError, match="user name"):
        Digest(username, "root")


def test_a_challenge_as_long_as_a_head_may_be_does_not_stop_the_loop() -> None:
    began_s = time.process_time()
    assert not Digest("root", "root").take(("Digest " + "x" * MAX_HEAD_BYTES,))
    assert time.process_time() - began_s < 0.5, "looked at from every letter on it takes three seconds"
