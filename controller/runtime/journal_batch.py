"""Rows on their way to the journal, and what they take."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from controller.domain.journalling import Row


class Batch:
    """One append on its way; implements controller.ports.Durable."""

    def __init__(self, loop: asyncio.AbstractEventLoop, rows: tuple[Row, ...]) -> None:
        self.rows = rows
        self._settled = loop.create_future()

    async def wait(self) -> bool:
        return bool(await asyncio.shield(self._settled))

    def settle(self, durable: bool) -> None:
        """On the loop only."""
        if not self._settled.done():
            self._settled.set_result(durable)


def bytes_of(rows: Iterable[Row]) -> int:
    return sum(len(row.body) for row in rows)
