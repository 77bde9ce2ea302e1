"""The write session of LuxOS: one at a time, gone after a minute without use.

Vendor documentation: sessions coordinate well-behaved writers, they are no security. `logon` fails while one exists;
every use of the session starts its minute again; `session` shows the id to anybody.
"""

import random
import string
from collections.abc import Callable
from typing import Final

SESSION_TTL_S: Final = 60.0
_ALPHABET: Final = string.ascii_letters + string.digits


class Session:
    """The one session of one miner. `now_s` is any clock that only runs forward."""

    def __init__(self, *, seed: int, ttl_s: float, now_s: Callable[[], float]) -> None:
        self._ids = random.Random(seed)
        self._ttl_s = ttl_s
        self._now_s = now_s
        self._id = ""
        self._expires_at_s = 0.0
        self._held = False

    @property
    def active_id(self) -> str:
        """The id of the live session, "" when there is none."""
        return self._id if self._id and (self._held or self._now_s() < self._expires_at_s) else ""

    def open(self) -> str:
        """A new session's id, "" when another is active."""
        if self.active_id:
            return ""
        self._begin()
        return self._id

    def _begin(self) -> None:
        self._id = "".join(self._ids.choices(_ALPHABET, k=8))
        self._expires_at_s = self._now_s() + self._ttl_s

    def use(self, session_id: str) -> bool:
        """Whether `session_id` is the live session; if so its minute starts again."""
        if not session_id or session_id != self.active_id:
            return False
        self._expires_at_s = self._now_s() + self._ttl_s
        return True

    def drop(self) -> None:
        """End the session, whosever it is. A tool that holds on to its own logs on again at once."""
        self._id = ""
        if self._held:
            self._begin()

    def hold(self, *, foreign: bool) -> None:
        """Another tool takes the session and keeps it alive, or lets go of it."""
        self._held = foreign
        self.drop()
