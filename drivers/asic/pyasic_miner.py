"""The pyasic door: the one module that imports pyasic, and the only place where its exceptions may appear.

pyasic stays as published. Three things are put right on each miner object we build, never on its classes:

- its socket: `rpc._send_bytes` answers `{}` when the port is closed and waits 100 s when the miner is silent; ours
  (`drivers.asic.transport`) has a deadline, closes its socket in every case and raises errors by name. A test compares
  the bytes of both on the wire and names the version it was written for.
- its port, so that miners behind port forwarding and simulators on one address can be reached;
- its errors: every call runs as a task of its own and comes back as a `Reply`, whatever pyasic raises or swallows.

Importing pyasic takes about 0.7 s and turns the root logger to WARNING; it happens when the first miner is built, with
the logging set-up put back as it was.
"""

from __future__ import annotations

import asyncio
import logging
import warnings
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Any, Final

from drivers.asic.transport import BadAnswerError, TransportError, exchange

WRITTEN_FOR: Final = "0.79"
"""The pyasic minor version whose send path was read and compared; a test fails when another one is installed."""

_deadline_s: ContextVar[float] = ContextVar("deadline_s")
"""Carries a call's deadline through pyasic to our socket; each call has a context of its own, so they cannot mix."""

_CANCEL_GRACE_S: Final = 0.1
"""A cancelled call gets this long to fold up: our socket code needs one turn of the loop, a library may swallow it."""


class ReplyKind(Enum):
    """How one round trip ended."""

    ACCEPTED = "accepted"
    """The miner answered and none of it says error."""
    REJECTED = "rejected"
    """The miner answered with an error status; it did not do what was asked."""
    NOT_SENT = "not sent"
    """No byte of the request reached the miner."""
    NO_ANSWER = "no answer"
    """The request left, nothing came back: it may or may not have been carried out."""
    MALFORMED = "malformed"
    """Something came back that cannot be trusted: the request may or may not have been carried out."""


@dataclass(frozen=True, slots=True)
class Reply:
    """One round trip. `body` is the decoded document (empty without one), `code` the firmware's status code."""

    kind: ReplyKind
    body: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """True when the miner said yes."""
        return self.kind is ReplyKind.ACCEPTED

    @property
    def may_have_acted(self) -> bool:
        """True when the request left but nobody can say whether it was carried out."""
        return self.kind in (ReplyKind.NO_ANSWER, ReplyKind.MALFORMED)

    def first(self, section: str) -> Mapping[str, Any]:
        """First record of a section such as `CONFIG`; empty when it is missing or has another shape."""
        records = self.body.get(section)
        if isinstance(records, list) and records and isinstance(records[0], dict):
            return records[0]
        return {}

    def part(self, command: str) -> Reply:
        """The reply to one command of a joined `a+b+c` request, judged by its own status."""
        part = self.first(command)
        return _judge(part) if part else Reply(ReplyKind.MALFORMED, detail=f"no answer to {command!r}")


class PyasicMiner:
    """One miner as pyasic knows it, with a bounded wire. Holds no connection between calls."""

    def __init__(
        self, *, family: str, model: str, host: str, port: int, username: str | None, password: str | None
    ) -> None:
        """Build the pyasic object from inventory facts; nothing is sent.

        family: name of a pyasic `MinerTypes` member; model: key of `MINER_CLASSES[family]`, the family's generic
        class is used for a model pyasic does not list. host: an IP address; pyasic takes no names. Credentials are set
        on this object only. Raises ValueError for a host that is no address and for an unknown family.
        """
        address = ip_address(host)
        self._miner = _build(family, model, str(address), version=None)
        self._host = str(address)
        rpc = self._miner.rpc
        rpc.port = port
        rpc._send_bytes = self._send_bytes  # the seam: pyasic's one function that owns a socket
        if password is not None:
            rpc.pwd = password
        if self._miner.web is not None:
            if username is not None:
                self._miner.web.username = username
            if password is not None:
                self._miner.web.pwd = password
        self._rpc = rpc

    async def send(self, command: str, *parameters: str, session: str | None, deadline_s: float) -> Reply:
        """One round trip through pyasic's own encoding; never raises except on cancellation.

        session: token that pyasic puts in front of the parameters; None for commands that need none.
        deadline_s: for connect, write and answer together.
        """
        if deadline_s <= 0:
            return Reply(ReplyKind.NOT_SENT, detail="no time left")
        # Errors are judged here, from the document: pyasic's exception would lose the firmware's code.
        if session is None:
            call = self._rpc.send_command(command, *parameters, ignore_errors=True, allow_warning=False)
        else:
            self._rpc.session_token = session
            call = self._rpc.send_privileged_command(command, *parameters, ignore_errors=True, allow_warning=False)
        return await _bounded(call, deadline_s)

    async def _send_bytes(self, data: bytes, *, port: int | None = None, **_timeout: object) -> bytes:
        """Stands in for `rpc._send_bytes`; the caller's own time-out is ignored, the call's deadline holds."""
        return await exchange(self._host, self._rpc.port if port is None else port, data, deadline_s=_deadline_s.get())


async def _bounded(call: Coroutine[Any, Any, Any], deadline_s: float) -> Reply:
    """Run one library call as a task of its own; its exceptions end here.

    `asyncio.timeout` would be no bound: some pyasic calls swallow the cancellation it relies on.
    """
    context = copy_context()
    context.run(_deadline_s.set, deadline_s)
    task = asyncio.create_task(call, context=context)
    try:
        # The socket's own deadline comes first; this one holds for a library that waits elsewhere.
        await asyncio.wait({task}, timeout=deadline_s + _CANCEL_GRACE_S)
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=_CANCEL_GRACE_S)
        task.add_done_callback(_forget)  # also for one that failed in the very moment in which we are cancelled
    if not task.done() or task.cancelled():
        return Reply(ReplyKind.NO_ANSWER, detail=f"no answer within {deadline_s:g} s")
    try:
        body = task.result()
    except TransportError as error:
        if not error.sent:
            return Reply(ReplyKind.NOT_SENT, detail=str(error))
        kind = ReplyKind.MALFORMED if isinstance(error, BadAnswerError) else ReplyKind.NO_ANSWER
        return Reply(kind, detail=str(error))
    except Exception as error:  # noqa: BLE001  # the door: pyasic raises anything, and anything means "no answer we trust"
        return Reply(ReplyKind.MALFORMED, detail=f"{type(error).__name__}: {error}")
    return _judge(body)


def _forget(task: asyncio.Task[Any]) -> None:
    """Take the result of an abandoned call, so that nothing is reported about it later."""
    if not task.cancelled():
        task.exception()


def _judge(body: object) -> Reply:
    """A document as a Reply. Success is claimed only for a status that says so, or for a joined request's envelope."""
    if not isinstance(body, dict) or not body:
        return Reply(ReplyKind.MALFORMED, detail="empty reply")
    if "STATUS" not in body:
        joined = [name for name, value in body.items() if isinstance(value, list) and name != "id"]
        if joined and all(isinstance(body[name][0], dict) for name in joined if body[name]):
            return Reply(ReplyKind.ACCEPTED, body=body)
        return Reply(ReplyKind.MALFORMED, body=body, detail="reply without a status")
    status = body["STATUS"]
    if isinstance(status, list):
        status = status[0] if status else None
    if not isinstance(status, dict):
        return Reply(ReplyKind.MALFORMED, body=body, detail="reply with a status of unknown shape")
    code = status.get("Code")
    detail = str(status.get("Msg", ""))
    # S: success, I: information; E: error, F: fatal, W: warning that the command was not carried out in full.
    kind = ReplyKind.ACCEPTED if status.get("STATUS") in ("S", "I") else ReplyKind.REJECTED
    return Reply(kind, body=body, code=code if isinstance(code, int) else None, detail=detail)


def _build(family: str, model: str, address: str, version: str | None) -> Any:  # pyasic's classes carry no types
    factory = import_factory()
    try:
        classes = factory.MINER_CLASSES[factory.MinerTypes[family]]
    except KeyError:
        raise ValueError(f"pyasic knows no miner family {family!r}") from None
    return classes.get(model.upper(), classes[None])(address, version)


def import_factory() -> Any:
    """pyasic's classes by family and model; the first call imports it, about 0.7 s."""
    with _logging_as_it_was():
        from pyasic.miners import factory
    return factory


def import_btminer() -> Any:
    """pyasic's module about WhatsMiner tokens and encrypted writes."""
    with _logging_as_it_was():
        from pyasic.rpc import btminer
    return btminer


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Importing pyasic sets the root logger's level and handlers; the application's set-up is put back."""
    root = logging.getLogger()
    kept = [(logger, logger.level) for logger in (root, logging.getLogger("asyncssh"))]
    handlers = list(root.handlers)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its own deprecations; nothing an operator of ours can act on
            yield
    finally:
        for logger, level in kept:
            logger.setLevel(level)
        root.handlers[:] = handlers
