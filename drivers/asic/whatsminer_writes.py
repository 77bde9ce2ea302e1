"""An encrypted write to a WhatsMiner: the token it needs, the one retry it gets, and what its answer means.

With a token in hand a write is one round trip. A miner that no longer knows the token, or cannot read what we wrote,
gets the write once more with a fresh one. A yes counts only when it is encrypted with the key we used: whoever answers
in clear has not read the request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from weakref import WeakKeyDictionary

from controller.domain.command import Outcome
from drivers.asic.rpc import Reply, ReplyKind, RpcWire, failed, judge
from drivers.asic.transport import TransportError, exchange
from drivers.asic.whatsminer_token import For, Token, Tokens, TokenUnreadableError

CODE_INVALID_COMMAND: Final = 14
_CODE_BAD_JSON: Final = 23
"""What an encrypted request gets when the miner's key is another one: decrypted, it is no JSON."""
_CODE_NO_PERMISSION: Final = 45
_CODE_TOKEN_ERROR: Final = 135
_CODE_TOKENS_FULL: Final = 136
_CODE_BAD_BASE64: Final = 137
_TOKEN_CODES: Final = frozenset({_CODE_BAD_JSON, _CODE_TOKEN_ERROR, _CODE_TOKENS_FULL, _CODE_BAD_BASE64})
"""Refusals that another token may not get."""
_NO_WRITES: Final = "can't access write cmd"

_turns: Final[WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Lock]] = WeakKeyDictionary()

_CLOSED: Final = (
    "the miner takes no writes from anybody: with the vendor's tool, change its password from the maker's "
    "(the same one may be set again) and switch its API on"
)
_PASSWORD: Final = "with a fresh token as well: is the configured password the miner's?"  # noqa: S105  # a sentence
_FULL: Final = (
    "all tokens are lent out, to other programs or to earlier starts of this one; each returns after 30 minutes"
)


@dataclass(frozen=True, slots=True)
class Done:
    """What came of a write. `sent_at`: loop seconds when the deciding request left, None when none did."""

    outcome: Outcome
    detail: str
    sent_at: float | None = None
    again_at: float | None = None


class Writer:
    """The encrypted writes of one miner, and its token."""

    def __init__(self, *, host: str, port: int, wire: RpcWire, tokens: Tokens) -> None:
        self._host = host
        self._port = port
        self._wire = wire
        self._tokens = tokens

    async def send(self, command: Mapping[str, str], *, urgent: bool, give_up_at: float) -> Done:
        """Write `command` by loop second `give_up_at`; never raises except on cancellation."""
        purpose = For.SHED if urgent else For.COMMAND
        token = self._tokens.usable(_now()) or await self._fetch(purpose, give_up_at)
        if isinstance(token, Done):
            return token
        sent_at = _now()
        reply, readable = await self._exchange(token, command, give_up_at)
        first = _judged(reply, sent_at)
        if readable and reply.code not in _TOKEN_CODES:
            return first
        fresh = await self._fetch(purpose, give_up_at)
        if isinstance(fresh, Done):
            return Done(first.outcome, f"{first.detail}; no other token: {fresh.detail}", sent_at)
        sent_at = _now()
        reply, _ = await self._exchange(fresh, command, give_up_at)
        second = _judged(reply, sent_at)
        if reply.code in _TOKEN_CODES:
            hint = _FULL if reply.code == _CODE_TOKENS_FULL else _PASSWORD
            second = Done(second.outcome, f"{second.detail}, {hint}", sent_at)
        if first.outcome is Outcome.UNKNOWN and second.outcome is not Outcome.ACKNOWLEDGED:
            # The first one may have been obeyed, whatever became of the second.
            return Done(Outcome.UNKNOWN, f"{first.detail}; then {second.detail}", first.sent_at)
        return second

    async def renew(self, give_up_at: float) -> None:
        """Get a new token if it is time for one; a failure shows when a command needs it."""
        if self._tokens.renewal_due(_now()):
            await self._fetch(For.RENEWAL, give_up_at)

    def running_since(self, since: float) -> None:
        """The miner's system started at loop second `since` or later: it knows no older token."""
        token = self._tokens.usable(_now())
        if token is not None and since > token.taken_at:
            self._tokens.drop()

    async def _fetch(self, purpose: For, give_up_at: float) -> Token | Done:
        """A new token; the old one is kept until it is there, for it may still be good."""
        asked_at = _now()
        again_at = self._tokens.again_at(asked_at, purpose)
        if again_at is not None:
            detail = f"get_token: {purpose.value} asked for within 30 minutes are enough for a {purpose.name.lower()}"
            return Done(Outcome.WITHHELD, detail, again_at=again_at)
        if asked_at >= give_up_at:
            return Done(Outcome.UNREACHABLE, "get_token: no time left")
        self._tokens.asked(asked_at)
        reply = await self._wire.send("get_token", deadline_s=give_up_at - asked_at)
        if reply.ok:
            try:
                async with _one_at_a_time():
                    token = self._tokens.take(reply.body, asked_at)
                    await asyncio.sleep(0)
            except TokenUnreadableError as error:
                self._tokens.failed(_now())
                return Done(Outcome.UNREACHABLE, f"get_token: {error}")
            return token
        if reply.kind is ReplyKind.NOT_SENT:  # an outage lends no token, and must leave none to be waited for
            self._tokens.not_asked()
            return Done(Outcome.UNREACHABLE, f"get_token: {reply.detail}")
        full = reply.code == _CODE_TOKENS_FULL
        self._tokens.failed(_now(), table_full=full)
        if reply.kind is not ReplyKind.REJECTED:
            return Done(Outcome.UNREACHABLE, f"get_token: {reply.detail}")
        detail = f"get_token: {_said(reply)}" + (f", {_FULL}" if full else "")
        missing = reply.code == CODE_INVALID_COMMAND
        return Done(Outcome.UNSUPPORTED if missing else Outcome.REFUSED, detail)

    async def _exchange(self, token: Token, command: Mapping[str, str], give_up_at: float) -> tuple[Reply, bool]:
        """One encrypted round trip, and whether its answer could be read (no answer at all leaves nothing to read)."""
        deadline_s = give_up_at - _now()
        if deadline_s <= 0:
            return Reply(ReplyKind.NOT_SENT, detail="no time left"), True
        request = self._tokens.request(token, command)
        try:
            answer = await exchange(self._host, self._port, request, deadline_s=deadline_s)
        except TransportError as error:
            return failed(error), True
        if not isinstance(answer, dict) or "enc" not in answer:
            reply = judge(answer)
            if reply.ok:
                return Reply(ReplyKind.MALFORMED, detail="a yes in clear, which proves nothing"), True
            return reply, True
        try:
            return judge(self._tokens.crypto.opened(token.data, answer)), True
        except TokenUnreadableError as error:
            return Reply(ReplyKind.MALFORMED, detail=str(error)), False


def _judged(reply: Reply, sent_at: float) -> Done:
    """What the answer to a write means."""
    match reply.kind:
        case ReplyKind.ACCEPTED:
            return Done(Outcome.ACKNOWLEDGED, _said(reply), sent_at)
        case ReplyKind.REJECTED if reply.code == CODE_INVALID_COMMAND:
            return Done(Outcome.UNSUPPORTED, _said(reply), sent_at)
        case ReplyKind.REJECTED:
            closed = reply.code == _CODE_NO_PERMISSION or _NO_WRITES in reply.detail.casefold()
            return Done(Outcome.REFUSED, f"{_said(reply)}, {_CLOSED}" if closed else _said(reply), sent_at)
        case ReplyKind.NOT_SENT:
            return Done(Outcome.UNREACHABLE, reply.detail)
        case ReplyKind.NO_ANSWER | ReplyKind.MALFORMED:
            return Done(Outcome.UNKNOWN, reply.detail, sent_at)


def _said(reply: Reply) -> str:
    """The miner's own words, its code in front."""
    return f"{reply.code}: {reply.detail}" if reply.code is not None else reply.detail


def _one_at_a_time() -> asyncio.Lock:
    """Held over a token's arithmetic: sixty answers that came together must not stop everything else for 40 ms."""
    return _turns.setdefault(asyncio.get_running_loop(), asyncio.Lock())


def _now() -> float:
    return asyncio.get_running_loop().time()
