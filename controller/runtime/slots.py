"""Slots of a limiter that are given back in time, though the call they were taken for hangs."""

from __future__ import annotations

import asyncio


class Slot:
    """One of the limiter's slots, given back once: by its holder, or after `at_most_s` though the call goes on.

    The limiter is there for our own processor, which has nothing to do while a miner keeps us waiting.
    """

    def __init__(self, slots: asyncio.Semaphore, at_most_s: float | None) -> None:
        self._slots: asyncio.Semaphore | None = slots
        self._timer: asyncio.TimerHandle | None = None
        if at_most_s is not None:
            self.give_back_within(at_most_s)

    def give_back_within(self, seconds: float) -> None:
        """At the latest."""
        if self._timer is None and self._slots is not None:
            self._timer = asyncio.get_running_loop().call_later(seconds, self.give_back)

    def give_back(self) -> None:
        """No effect the second time."""
        if self._timer is not None:
            self._timer.cancel()
        if self._slots is not None:
            self._slots.release()
            self._slots = None
