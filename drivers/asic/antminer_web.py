"""The web interface of a stock Antminer: what is asked of it, and what its answers mean.

Outcomes speak about the one request that changes the miner, the POST of its configuration. Whatever goes wrong before
it leaves nothing written.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, Final, NamedTuple

from controller.domain.command import Outcome
from drivers.asic.digest import Digest
from drivers.asic.http import HttpClient
from drivers.asic.http_answer import HttpAnswer
from drivers.asic.rpc import words_of
from drivers.asic.transport import NotConnectedError, TransportError

CONF: Final = "get_miner_conf"
SUMMARY: Final = "summary"
SYSTEM_INFO: Final = "get_system_info"
_SET_CONF: Final = "set_miner_conf"
_REBOOT: Final = "reboot"

_LONGEST_SAYING: Final = 4096
_SUCCESS: Final = "M000"
_AT_THE_DOOR: Final = {
    401: (Outcome.REFUSED, "401: user or password not accepted; give this miner's in the configuration"),
    403: (Outcome.REFUSED, "403: forbidden"),
    404: (Outcome.UNSUPPORTED, "404: no such page on this miner"),
    405: (Outcome.UNSUPPORTED, "405: no such request on this miner"),
}
"""Turned away by the web server: no script of the miner has run."""


class Page(NamedTuple):
    """What a GET brought. document: its JSON object, None without one. outcome: what its failure means for a command
    that needed it. answered: whether anything came back at all."""

    document: Mapping[str, Any] | None
    outcome: Outcome = Outcome.ACKNOWLEDGED
    words: str = ""
    answered: bool = True


class Done(NamedTuple):
    """What came of a command so far. reached: its write may have come as far as the miner's own script."""

    outcome: Outcome
    detail: str
    sent_at: float | None = None
    again_at: float | None = None
    reached: bool = False

    def with_notes(self, *notes: str) -> Done:
        """The same with more to say; empty notes say nothing."""
        if not any(notes):
            return self
        return self._replace(detail="; ".join(text for text in (self.detail, *notes) if text))


class AntminerWeb:
    """One miner's web interface. Raises ValueError for a user name no header can carry."""

    def __init__(self, host: str, port: int, username: str, password: str) -> None:
        self._http = HttpClient(host, port, Digest(username, password))
        self._conf: tuple[bytes, Page] | None = None

    async def page(self, name: str, give_up_at: float) -> Page:
        """GET a script's answer by loop second `give_up_at`; never raises except on cancellation.

        The same configuration in the same bytes is the same `Page`: a shed is no time to take it apart once more.
        """
        try:
            answer = await self._http.get(f"/cgi-bin/{name}.cgi", give_up_at=give_up_at)
        except TransportError as error:
            return Page(None, Outcome.UNREACHABLE, f"{name}: {error}", answered=False)
        if answer.status != 200:
            outcome, words = _AT_THE_DOOR.get(answer.status, (Outcome.REFUSED, f"status {answer.status}"))
            return Page(None, outcome, f"{name}: {words}")
        if name == CONF and self._conf is not None and self._conf[0] == answer.body:
            return self._conf[1]
        document = _json_object(answer.body)
        if document is None:
            return Page(None, Outcome.REFUSED, f"{name}: {len(answer.body)} bytes that are no JSON object")
        page = Page(document)
        if name == CONF:
            self._conf = answer.body, page
        return page

    async def set_conf(self, body: bytes, give_up_at: float) -> Done:
        """POST a configuration by loop second `give_up_at`, once; never raises except on cancellation."""
        sent_at = asyncio.get_running_loop().time()
        try:
            answer = await self._http.post_json(f"/cgi-bin/{_SET_CONF}.cgi", body, give_up_at=give_up_at)
        except NotConnectedError as error:
            return Done(Outcome.UNREACHABLE, f"{_SET_CONF}: {error}")
        except TransportError as error:
            return Done(Outcome.UNKNOWN, f"{_SET_CONF}: {error}", sent_at, reached=True)
        return _judge(answer, sent_at)

    async def reboot(self, give_up_at: float) -> Done:
        """Restart the whole miner by loop second `give_up_at`, once; never raises except on cancellation."""
        sent_at = asyncio.get_running_loop().time()
        try:
            answer = await self._http.get(f"/cgi-bin/{_REBOOT}.cgi", give_up_at=give_up_at, once=True)
        except NotConnectedError as error:
            return Done(Outcome.UNREACHABLE, f"{_REBOOT}: {error}")
        except TransportError as error:  # most likely it went down under us
            return Done(Outcome.UNKNOWN, f"{_REBOOT}: {error}", sent_at, reached=True)
        if answer.status in _AT_THE_DOOR:
            outcome, words = _AT_THE_DOOR[answer.status]
            return Done(outcome, f"{_REBOOT}: {words}", sent_at)
        outcome = Outcome.ACKNOWLEDGED if answer.status == 200 else Outcome.UNKNOWN
        return Done(outcome, f"{_REBOOT}: status {answer.status}", sent_at, reached=True)

    def close(self) -> None:
        """Close the connections that no call is using."""
        self._http.close()


def _judge(answer: HttpAnswer, sent_at: float) -> Done:
    """The answer to a write."""
    if answer.status in _AT_THE_DOOR:
        outcome, words = _AT_THE_DOOR[answer.status]
        return Done(outcome, f"{_SET_CONF}: {words}", sent_at)
    if answer.status != 200:  # the script may have come any distance
        return Done(Outcome.UNKNOWN, f"{_SET_CONF}: status {answer.status}", sent_at, reached=True)
    outcome, words = _what_it_says(answer.body)
    return Done(outcome, words, sent_at, reached=True)


@lru_cache(maxsize=64)
def _what_it_says(body: bytes) -> tuple[Outcome, str]:
    """The few things a set script says, to a whole fleet at once."""
    document = _json_object(body) if len(body) <= _LONGEST_SAYING else None
    code = document.get("code") if document else None
    if document is None or not isinstance(code, str):
        return Outcome.UNKNOWN, f"{_SET_CONF}: {len(body)} bytes without a code"
    outcome = Outcome.ACKNOWLEDGED if code == _SUCCESS else Outcome.REFUSED
    return outcome, words_of(f"{code}: {document.get('msg', '')}")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):  # brackets without end are no document either
        return None
    return found if isinstance(found, dict) else None
