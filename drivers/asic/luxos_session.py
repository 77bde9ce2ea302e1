"""The write session of one LuxOS miner: exactly one exists per miner, and it dies after 60 s without use.

It is a lock between well-behaved writers, no credential: anybody may ask for its id and use it. Our rules:

- a session is opened for every write and dropped after it, so that we block nobody. `logon` comes first: it answers
  with a session that is surely ours, and one round trip is saved against asking who is there;
- when somebody else holds it, a command that lowers the load borrows theirs (their browser tab must not hold up a
  shed, and sleeping on top of a half-made change is safe); a command that may raise the load waits;
- a borrowed session is never logged off;
- a session found after a log-on of ours went unanswered is taken for ours: the miner heard us, we did not hear it;
- after an urgent command ours is kept, and the next urgent one uses it without asking.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Final

from controller.domain.command import Outcome
from drivers.asic.rpc import Reply, ReplyKind, RpcWire

_LIFE_S: Final = 60.0  # of a session nobody uses (vendor documentation)
_REUSE_S: Final = 45.0
"""How old a kept session may be and still be used unasked. LuxOS ends it after 60 s without use (vendor documentation);
the rest is for the network and the miner's clock."""


@dataclass(frozen=True, slots=True)
class Opened:
    """A session to write with. `ours` is False for one that somebody else opened."""

    token: str
    ours: bool


@dataclass(frozen=True, slots=True)
class NotOpened:
    """Why there is no session; nothing that could change the load was sent."""

    outcome: Outcome
    detail: str


class LuxosSession:
    """Opens, remembers and drops the session of one miner."""

    def __init__(self, wire: RpcWire) -> None:
        self._wire = wire
        self._own_token = ""
        self._used_at = 0.0
        self._unheard_at = -_LIFE_S

    async def open(self, *, may_borrow: bool, reuse: bool, give_up_at: float) -> Opened | NotOpened:
        """Get a session by loop second `give_up_at`.

        may_borrow: use another writer's session rather than be turned away. reuse: trust a kept session of ours.
        """
        if reuse and self._own_token and self._now() - self._used_at < _REUSE_S:
            return Opened(self._own_token, ours=True)
        for _ in range(2):  # once more when the session that was in the way ended meanwhile
            before, self._unheard_at = self._unheard_at, self._now()  # stands when this call is given up as well
            logon = await self._call("logon", give_up_at)
            token = _token(logon)
            if token or logon.kind in (ReplyKind.REJECTED, ReplyKind.NOT_SENT):
                self._unheard_at = before
            if token:
                self._own_token = token
                self._used_at = self._now()
                return Opened(token, ours=True)
            if logon.kind is not ReplyKind.REJECTED:
                return NotOpened(Outcome.UNREACHABLE, f"logon: {logon.detail or 'no session id in the answer'}")
            holder = await self._call("session", give_up_at)
            if holder.kind is ReplyKind.REJECTED:
                return NotOpened(Outcome.REFUSED, f"logon: {said(logon)}; session: {said(holder)}")
            if not holder.ok:
                return NotOpened(Outcome.UNREACHABLE, f"session: {holder.detail}")
            token = _token(holder)
            if token and (token == self._own_token or self._now() - self._unheard_at < _LIFE_S):
                self._own_token = token
                return Opened(token, ours=True)
            if token:
                if may_borrow:
                    return Opened(token, ours=False)
                return NotOpened(Outcome.WITHHELD, "another session holds the miner")
        return NotOpened(Outcome.REFUSED, f"logon: {said(logon)}, and nobody holds the session")

    def used(self, opened: Opened) -> None:
        """Note that the session was used just now."""
        if opened.ours:
            self._used_at = self._now()

    def forget(self) -> None:
        """The miner does not know our session any more."""
        self._own_token = ""

    async def drop(self, opened: Opened, give_up_at: float) -> None:
        """Log off our session; one that cannot be logged off ends by itself within a minute."""
        if not opened.ours:
            return
        reply = await self._wire.send("logoff", session=opened.token, deadline_s=give_up_at - self._now())
        if reply.ok or reply.kind is ReplyKind.REJECTED:
            self.forget()  # otherwise it may still be there, and we want to know it for ours

    async def _call(self, command: str, give_up_at: float) -> Reply:
        return await self._wire.send(command, deadline_s=give_up_at - self._now())

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def said(reply: Reply) -> str:
    """A refusal in the firmware's own words, its code in front."""
    return f"{reply.code}: {reply.detail}" if reply.code is not None else reply.detail


def _token(reply: Reply) -> str:
    token = reply.first("SESSION").get("SessionID") if reply.ok else None
    return token if isinstance(token, str) else ""
