"""When an answer on a connection that stays open is whole, and what half an answer is."""

from __future__ import annotations

import asyncio
import time

import pytest

from drivers.asic.transport import BadAnswerError, NoAnswerError, exchange

REQUEST = b'{"command": "config"}'


@pytest.mark.parametrize(
    ("pieces", "document"),
    [
        ([b'{"a":', b'{"b":1}', b"}"], {"a": {"b": 1}}),
        ([b'{"a":1}\r\n'], {"a": 1}),
        ([b'{"a":1}', b"\n"], {"a": 1}),
        ([b'{"a":1}\0 and more that is no answer'], {"a": 1}),
        ([b"[1]\0"], [1]),
        ([b'{"a":"}', b'{"}'], {"a": "}{"}),
        ([b'{"Msg":"line\nbreak"}'], {"Msg": "line\nbreak"}),
        ([b'{"user":"caf\xe9"}'], {"user": "caf\ufffd"}),
        ([b'{"a":[{"b":1,},{"c":2}{"d":3}]}'], {"a": [{"b": 1}, {"c": 2}, {"d": 3}]}),
    ],
    ids=[
        "pieces",
        "line-end",
        "late-line-end",
        "zero",
        "zero-list",
        "brackets-in-text",
        "raw-break",
        "latin",
        "commas",
    ],
)
async def test_a_whole_answer_counts_on_a_connection_that_stays_open(pieces: list[bytes], document: object) -> None:
    async with piecewise(pieces) as port:
        assert await exchange("127.0.0.1", port, REQUEST, deadline_s=30.0) == document


async def test_an_answer_whose_end_is_hidden_by_a_lone_bracket_counts_at_the_deadline() -> None:
    async with piecewise([b'{"Msg":"use { to begin"}']) as port:
        assert await exchange("127.0.0.1", port, REQUEST, deadline_s=0.3) == {"Msg": "use { to begin"}


@pytest.mark.parametrize(
    ("pieces", "closes", "error", "words"),
    [
        ([b'{"a":1'], False, NoAnswerError, "no answer within 0.3 s"),
        ([b'{"a":1'], True, BadAnswerError, "reply of 6 bytes is not a whole JSON document"),
        ([b'{"a":1}{"b":2}'], True, BadAnswerError, "reply of 14 bytes is not"),
        ([b"null\0"], False, BadAnswerError, "reply of 4 bytes is not"),
        ([b"\0"], False, BadAnswerError, "reply of 0 bytes is not"),
        ([], True, NoAnswerError, "connection closed without an answer"),
    ],
)
async def test_half_an_answer_is_an_error_by_name(
    pieces: list[bytes], closes: bool, error: type[Exception], words: str
) -> None:
    async with piecewise(pieces, closes=closes) as port:
        with pytest.raises(error, match=words):
            await exchange("127.0.0.1", port, REQUEST, deadline_s=0.3)


async def test_an_answer_that_looks_complete_after_every_piece_does_not_hold_the_loop_up() -> None:
    pieces = [b'{"a":[', *[b'{"b":[[],[],[]]},' * 119 + b'{"b":[[],[],[]]}'] * 120]
    started_at = time.process_time()
    async with piecewise(pieces, closes=True) as port:
        with pytest.raises(BadAnswerError, match="not a whole"):
            await exchange("127.0.0.1", port, REQUEST, deadline_s=30.0)
    assert time.process_time() - started_at < 0.5, "decoding anew after every piece takes 1.5 s of CPU"


class piecewise:  # noqa: N801  # a context manager, used like a function
    """A miner that answers in these pieces, each a packet of its own, and closes only when told to."""

    def __init__(self, pieces: list[bytes], *, closes: bool = False) -> None:
        self._pieces = pieces
        self._closes = closes

    async def __aenter__(self) -> int:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return int(self._server.sockets[0].getsockname()[1])

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        serving = {task for task in asyncio.all_tasks() if "piecewise._serve" in repr(task.get_coro())}
        if serving:
            await asyncio.wait(serving, timeout=5.0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.read(1_000)
            for piece in self._pieces:
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0.005)  # so that it is read as a piece
            if not self._closes:
                await reader.read()
        except ConnectionError:
            pass  # the client gave up
        finally:
            writer.close()
