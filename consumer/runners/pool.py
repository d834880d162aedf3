"""A fixed number of slots, each with at most one holder. Knows nothing of jobs.

The pool never grows, shrinks or replaces: what is wrong with a slot after use is the slot's own business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Generic, TypeVar

S = TypeVar("S")


class Pool(Generic[S]):
    """Hands out slots, the one free for longest first.

    Mutable state: the queue of free slots. Taken by `slot`, put back when its block ends, by nobody else.
    """

    def __init__(self, slots: Sequence[S]) -> None:
        self.size = len(slots)
        self._numbers = {id(slot): number for number, slot in enumerate(slots)}
        self._free: asyncio.Queue[S] = asyncio.Queue()
        for slot in slots:
            self._free.put_nowait(slot)

    @property
    def busy(self) -> int:
        """How many slots are held."""
        return self.size - self._free.qsize()

    def number(self, slot: S) -> int:
        """Say which of the slots it is, from 0."""
        return self._numbers[id(slot)]

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[S]:
        """Hold a slot for the block; wait for a free one if need be."""
        slot = await self._free.get()
        try:
            yield slot
        finally:
            self._free.put_nowait(slot)

    def __repr__(self) -> str:
        return f"<Pool {self.busy} busy, {self.size - self.busy} free>"
