"""Shared by every test: virtual time, and the refusal to leave tasks behind."""

from __future__ import annotations

import asyncio
import heapq
import selectors
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import hypothesis
import pytest
import pytest_asyncio

# How long an example takes says more about the machine than about the code; pytest's own timeout catches a hang.
hypothesis.settings.register_profile("curtaild", deadline=None)
hypothesis.settings.load_profile("curtaild")


class _VirtualSelector(selectors.DefaultSelector):  # type: ignore[misc,valid-type]  # DefaultSelector is chosen at run time
    """Instead of sleeping until the next timer, moves the loop's clock there; real sockets get a short grace first."""

    def __init__(self, advance: Callable[[float], None]) -> None:
        super().__init__()
        self._advance = advance

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is not None and timeout <= 0:
            return super().select(0)
        ready = super().select(0.0003)
        if ready or timeout is None:
            return ready or super().select(1.0)
        self._advance(timeout)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop whose time jumps to the next timer when nothing is ready: an hour takes a fraction of a second."""

    def __init__(self) -> None:
        self._virtual_s = 0.0
        super().__init__(_VirtualSelector(self._advance))

    def time(self) -> float:
        return self._virtual_s

    def _advance(self, seconds: float) -> None:
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # private: the next timer
        due = heapq.nsmallest(1, scheduled)
        self._virtual_s = max(self._virtual_s, due[0].when()) if due else self._virtual_s + seconds


def pytest_asyncio_loop_factories(config: pytest.Config, item: pytest.Item) -> Mapping[str, Callable[[], Any]]:
    """Real time by default; `@pytest.mark.virtual_time` on a test gives it the virtual loop."""
    if item.get_closest_marker("virtual_time"):
        return {"virtual": VirtualLoop}
    return {"real": asyncio.SelectorEventLoop}


@pytest_asyncio.fixture(autouse=True)
async def no_task_left_behind(request: pytest.FixtureRequest) -> AsyncIterator[None]:
    """A test that leaves a task running has left a socket, a timer or a worker running."""
    before = asyncio.all_tasks()
    yield
    await asyncio.sleep(0)
    left = {task for task in asyncio.all_tasks() - before if not task.done() and task is not asyncio.current_task()}
    assert not left, f"tasks left running: {left}"
