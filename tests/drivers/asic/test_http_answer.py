"""One HTTP answer out of bytes that come in pieces, and what is no answer."""

from __future__ import annotations

import time

import pytest

from drivers.asic.http_answer import MAX_BODY_BYTES, MAX_HEAD_BYTES, AnswerParser, HttpAnswer
from drivers.asic.transport import BadAnswerError

PLAIN = b'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 7\r\n\r\n{"a":1}'
CHUNKED = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n{"a\r\n4;x=y\r\n":1}\r\n0\r\n\r\n'
TRAILER = b'HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n07\r\n{"a":1}\r\n0\r\nX-Sum: 9\r\n\r\n'


def whole(data: bytes) -> HttpAnswer | None:
    return AnswerParser().feed(data)


def in_pieces(data: bytes, size: int) -> HttpAnswer | None:
    parser, answer = AnswerParser(), None
    for at in range(0, len(data), size):
        assert answer is None, "no answer before its last piece"
        answer = parser.feed(data[at : at + size])
    return answer


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, TRAILER])
@pytest.mark.parametrize("size", [1, 2, 3, 7, 50, 1_000])
def test_an_answer_is_known_by_its_last_byte_however_it_comes(data: bytes, size: int) -> None:
    assert in_pieces(data, size) == HttpAnswer(200, b'{"a":1}')


def test_without_length_the_end_of_the_connection_ends_the_body() -> None:
    parser = AnswerParser()
    assert parser.feed(b"HTTP/1.0 200 OK\r\n\r\n{") is None
    assert parser.feed(b"}") is None
    assert parser.end() == HttpAnswer(200, b"{}", keeps_open=False)


@pytest.mark.parametrize("cut", [0, 1, 20, len(PLAIN) - 1])
def test_an_end_in_the_middle_is_no_answer(cut: int) -> None:
    parser = AnswerParser()
    if cut:
        assert parser.feed(PLAIN[:cut]) is None
    assert parser.end() is None


def test_an_end_in_the_middle_of_chunks_is_no_answer() -> None:
    parser = AnswerParser()
    assert parser.feed(CHUNKED[:-2]) is None
    assert parser.end() is None


@pytest.mark.parametrize(
    ("headers", "version", "keeps_open"),
    [
        ("", "1.1", True),
        ("Connection: keep-alive\r\n", "1.1", True),
        ("Connection: close\r\n", "1.1", False),
        ("connection: Close\r\n", "1.1", False),
        ("", "1.0", False),
        ("Connection: keep-alive\r\n", "1.0", True),
    ],
)
def test_whether_the_connection_stays_is_the_servers_word(headers: str, version: str, keeps_open: bool) -> None:
    answer = whole(f"HTTP/{version} 200 OK\r\n{headers}Content-Length: 2\r\n\r\n{{}}".encode())
    assert answer is not None
    assert answer.keeps_open is keeps_open


@pytest.mark.parametrize("data", [PLAIN, CHUNKED, TRAILER])
def test_a_connection_with_bytes_behind_the_answer_is_not_used_again(data: bytes) -> None:
    answer = whole(data + b"HTTP/1.1 200 OK")
    assert answer is not None
    assert (answer.body, answer.keeps_open) == (b'{"a":1}', False)


def test_every_challenge_is_handed_up() -> None:
    challenges = b"WWW-Authenticate: Basic\r\nWww-Authenticate: Digest a\r\n"
    answer = whole(b"HTTP/1.1 401 Unauthorized\r\n" + challenges + b"Content-Length: 0\r\n\r\n")
    assert answer is not None
    assert (answer.status, answer.challenges) == (401, ("Basic", "Digest a"))


def test_an_interim_answer_is_passed_over() -> None:
    assert whole(b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN) == HttpAnswer(200, b'{"a":1}')


@pytest.mark.parametrize("status", [204, 304])
def test_some_answers_have_no_body_whatever_they_say(status: int) -> None:
    answer = whole(f"HTTP/1.1 {status} Nothing\r\nContent-Length: 5\r\n\r\n".encode())
    assert answer == HttpAnswer(status, b"")


def test_a_status_without_a_reason_will_do() -> None:
    assert whole(b"HTTP/1.1 500\r\nContent-Length: 0\r\n\r\n") == HttpAnswer(500, b"")


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x00\xfe",
        b'{"a":1}',
        b"SSH-2.0-dropbear\r\n",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20x OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200OK\r\n\r\n",
        b"HTTP/1.1 200 OK\rX\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nabc",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{MAX_BODY_BYTES + 1:x}\r\n".encode(),
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * MAX_HEAD_BYTES + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * MAX_HEAD_BYTES,
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (MAX_BODY_BYTES + 1),
    ],
)
def test_what_is_no_answer_or_beyond_the_limits_is_named(data: bytes) -> None:
    with pytest.raises(BadAnswerError):
        whole(data)


def test_a_body_of_tiny_chunks_takes_no_longer_than_its_bytes() -> None:
    """It was summed up anew for every chunk: 240 kB of them held the loop for eleven seconds."""
    few, many = _seconds_for(4_000), _seconds_for(40_000)
    assert many < 40 * few + 0.05, "ten times the chunks, about ten times the time; it was a hundred times"


def _seconds_for(chunks: int) -> float:
    data = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * chunks + b"0\r\n\r\n"
    began = time.process_time()
    answer = AnswerParser().feed(data)
    assert answer is not None and len(answer.body) == chunks
    return time.process_time() - began


def test_chunks_together_have_the_limit_of_a_body() -> None:
    parser = AnswerParser()
    assert parser.feed(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n") is None
    chunk = b"10000\r\n" + b"x" * 0x10000 + b"\r\n"
    with pytest.raises(BadAnswerError):
        for _ in range(MAX_BODY_BYTES // 0x10000 + 1):
            parser.feed(chunk)
