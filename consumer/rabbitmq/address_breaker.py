"""Addresses that RabbitMQ fails over, so that a job that needs such a one does not come again for ever.

A direct reply-to address that RabbitMQ never made, or that a node made which is away now: 3.10 answers a publish
there by closing the connection with INTERNAL_ERROR, and so it does a question. A stream that has lost a majority
of its nodes, for minutes after they are back: it closes the channel with RESOURCE_ERROR. Nobody can tell by
looking at a name. The first time each address that was in flight is suspect, the second time a suspect is alone,
and known for a while. Knows no connection.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from consumer.rabbitmq.connection_scope import Lifetime
from consumer.wire.reply_address import DIRECT_REPLY_PREFIX

STRIKES = 2
#: What is known is tried again after this, alone, at the cost of a connection: a node may be back.
KNOWN_S = 60.0
#: Who is forgotten costs two connections more.
CAPACITY = 1000
DIRECT_FAULT, STREAM_FAULT = "INTERNAL_ERROR", "Stream not found"


class Unreachable:
    """Mutable state: `_strikes` by address, how many and when the last; `_alone`, held by a suspect in flight."""

    def __init__(self, *, known_s: float = KNOWN_S) -> None:
        self._known_s = known_s
        self._strikes: dict[str, tuple[int, float]] = {}
        self._alone = asyncio.Lock()

    def __contains__(self, address: str) -> bool:
        """Whether RabbitMQ is known to fail over this address."""
        strikes, last = self._strikes.get(address, (0, 0.0))
        return strikes >= STRIKES and time.monotonic() - last < self._known_s

    @asynccontextmanager
    async def noted(self, address: str, lifetime: Lifetime) -> AsyncIterator[None]:
        """Do in the block what RabbitMQ may fail over, and take note of whether it does."""
        async with self._alone if address in self._strikes else nullcontext():
            try:
                yield
            except BaseException as error:
                # Who hears of it first ends the lifetime, and that cancels the others, whose fault it may be.
                ended = lifetime.ended.result() if lifetime.ended.done() else ""
                if _fault_over(address) in f"{error} {ended}":
                    self._strike(address)
                raise
            self._strikes.pop(address, None)

    def _strike(self, address: str) -> None:
        strikes, _ = self._strikes.pop(address, (0, 0.0))
        self._strikes[address] = strikes + 1, time.monotonic()
        if len(self._strikes) > CAPACITY:
            del self._strikes[next(iter(self._strikes))]


def _fault_over(address: str) -> str:
    """What RabbitMQ says when it fails over an address of this kind; INTERNAL_ERROR alone may have any reason."""
    return DIRECT_FAULT if address.startswith(DIRECT_REPLY_PREFIX) else STREAM_FAULT
