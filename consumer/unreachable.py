"""Direct reply-to addresses that RabbitMQ fails over, so that a job with such a one does not come again for ever.

An address that RabbitMQ never made, or that a node made which is away now: 3.10 answers a publish there by closing
the connection with INTERNAL_ERROR, and so it does a question. Nobody can tell by looking at one. The first time
each address that was in flight is suspect, the second time a suspect is alone, and known. Knows no connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from aiormq.exceptions import ConnectionInternalError

from consumer.lifetime import Lifetime

STRIKES = 2
#: Who is forgotten costs two connections more.
CAPACITY = 1000


class Unreachable:
    """Mutable state: `_strikes` by address, the oldest first; `_alone`, held by the suspect that is in flight."""

    def __init__(self) -> None:
        self._strikes: dict[str, int] = {}
        self._alone = asyncio.Lock()

    def __contains__(self, address: str) -> bool:
        """Whether RabbitMQ is known to fail over this address."""
        return self._strikes.get(address, 0) >= STRIKES

    @asynccontextmanager
    async def noted(self, address: str, lifetime: Lifetime) -> AsyncIterator[None]:
        """Do in the block what RabbitMQ may fail over, and take note of whether it does."""
        async with self._alone if address in self._strikes else nullcontext():
            try:
                yield
            except BaseException as error:
                # Who hears of it first ends the lifetime, and that cancels the others, whose fault it may be.
                if isinstance(error, ConnectionInternalError) or _has_failed(lifetime):
                    self._strike(address)
                raise
            self._strikes.pop(address, None)

    def _strike(self, address: str) -> None:
        self._strikes[address] = self._strikes.pop(address, 0) + 1
        if len(self._strikes) > CAPACITY:
            del self._strikes[next(iter(self._strikes))]


def _has_failed(lifetime: Lifetime) -> bool:
    return lifetime.ended.done() and "INTERNAL_ERROR" in lifetime.ended.result()
