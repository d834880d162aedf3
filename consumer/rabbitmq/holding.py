"""What has come to each consumer of ours and is not settled: whether its slot is free is decided by that.

Counts only. What a lost connection had is never settled; who waits for that must wait no longer than its life.
"""

from __future__ import annotations

import asyncio
from collections import Counter


class Holding:
    """How many deliveries each of our consumers has that are not settled.

    Mutable state: `_counts`, by the consumer's tag; `_empty`, for those who wait until one has none.
    """

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()
        self._empty: dict[str, asyncio.Future[None]] = {}

    def __getitem__(self, consumer: str) -> int:
        return self._counts[consumer]

    def more(self, consumer: str) -> None:
        """One has come."""
        self._counts[consumer] += 1

    def less(self, consumer: str) -> None:
        """One has been settled."""
        self._counts[consumer] -= 1
        if not self._counts[consumer] and (empty := self._empty.pop(consumer, None)):
            empty.set_result(None)

    async def nothing(self, consumer: str) -> None:
        """Wait until it has none."""
        while self._counts[consumer]:
            empty = self._empty.setdefault(consumer, asyncio.get_running_loop().create_future())
            await asyncio.shield(empty)
