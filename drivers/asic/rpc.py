"""The cgminer protocol on TCP 4028: requests encoded, answers judged. What travels in between is `transport`.

The bytes of every request are those of stock pyasic 0.79; a test compares them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import ip_address
from typing import Any, Final

from drivers.asic.transport import BadAnswerError, TransportError, exchange

LONGEST_WORDS: Final = 200
"""Of what a miner says, so much gets into reports, and so into the journal; the firmwares we know need a line."""


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
    """One round trip. `body` is the decoded document (empty without one), `code` the firmware's status code.

    nobody_serves: the port is closed, or the connection was let go of without a word; never said of mere silence.
    """

    kind: ReplyKind
    body: Mapping[str, Any] = field(default_factory=dict)
    code: int | None = None
    detail: str = ""
    nobody_serves: bool = False

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
        return judge(part) if part else Reply(ReplyKind.MALFORMED, detail=f"no answer to {command!r}")


class RpcWire:
    """One miner's port. Holds no connection between calls; calls may overlap."""

    def __init__(self, *, host: str, port: int) -> None:
        """`host` is an IP address. Raises ValueError for anything else: a name would block the loop to be resolved."""
        self._host = str(ip_address(host))
        self._port = port

    async def send(self, command: str, *parameters: str, deadline_s: float, session: str | None = None) -> Reply:
        """One round trip; never raises except on cancellation.

        session: token that goes in front of the parameters; None for commands that need none. deadline_s: for connect,
        write and answer together.
        """
        if deadline_s <= 0:
            return Reply(ReplyKind.NOT_SENT, detail="no time left")
        request: dict[str, str] = {"command": command}
        if session is not None:
            parameters = (session, *parameters)
        if parameters:
            request["parameter"] = ",".join(parameters)
        try:
            body = await exchange(self._host, self._port, json.dumps(request).encode(), deadline_s=deadline_s)
        except TransportError as error:
            return failed(error)
        return judge(body)


def failed(error: TransportError) -> Reply:
    """An exchange that got no trustworthy answer, as a Reply."""
    if not error.sent:
        return Reply(ReplyKind.NOT_SENT, detail=str(error), nobody_serves=error.nobody_serves)
    kind = ReplyKind.MALFORMED if isinstance(error, BadAnswerError) else ReplyKind.NO_ANSWER
    return Reply(kind, detail=str(error), nobody_serves=error.nobody_serves)


def judge(body: object) -> Reply:
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
    elif isinstance(status, str):  # btminer keeps code and message beside it
        status = body
    if not isinstance(status, dict):
        return Reply(ReplyKind.MALFORMED, body=body, detail="reply with a status of unknown shape")
    code, message = status.get("Code"), status.get("Msg", "")
    # S: success, I: information; E: error, F: fatal, W: warning that the command was not carried out in full.
    return Reply(
        ReplyKind.ACCEPTED if status.get("STATUS") in ("S", "I") else ReplyKind.REJECTED,
        body=body,
        code=code if isinstance(code, int) else None,
        detail=words_of(message) if isinstance(message, str) else "",
    )


def words_of(text: str) -> str:
    """A miner's own words as they may stand in a report: one line of characters that can be printed, and no page."""
    if len(text) > LONGEST_WORDS:
        text = f"{text[: LONGEST_WORDS - 3]}..."
    return text if text.isprintable() else "".join(each if each.isprintable() else " " for each in text)
