"""Circuit breaker for reply addresses that make RabbitMQ close the connection.

Without it, RabbitMQ would redeliver a job with such an address for ever. There are two kinds. One is a direct
reply-to address that RabbitMQ never made, or that belongs to a node that is down: 3.10 answers a publish or a
check there by closing the connection with INTERNAL_ERROR. The other is a stream that has lost the majority of its
nodes, and remains so for minutes after they return: RabbitMQ closes the channel with RESOURCE_ERROR. The name of
an address does not reveal this. After the first fault, every address in flight is suspect. The publisher then
tries each suspect alone. A suspect that fails again counts as unreachable for `KNOWN_S`. This module holds no
connection.
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType

from consumer.rabbitmq.connection_scope import Lifetime
from consumer.wire.reply_address import DIRECT_REPLY_PREFIX

STRIKES = 2
#: Seconds until an unreachable address is tried again, alone, because its node may be up. A fault costs a
#: connection.
KNOWN_S = 60.0
#: The most addresses in memory. A dropped address may cost two more connections.
CAPACITY = 1000
DIRECT_FAULT, STREAM_FAULT = "INTERNAL_ERROR", "Stream not found"


class Unreachable:
    """The circuit breaker.

    Mutable state: `_strikes`, the number of faults and the time of the last, by address; `_alone`, the lock of the
    suspect in flight.
    """

    def __init__(self, *, known_s: float = KNOWN_S) -> None:
        self._known_s = known_s
        self._strikes: dict[str, tuple[int, float]] = {}
        self._alone = asyncio.Lock()

    def __contains__(self, address: str) -> bool:
        """Return whether RabbitMQ is known to fail at this address."""
        strikes, last = self._strikes.get(address, (0, 0.0))
        return strikes >= STRIKES and time.monotonic() - last < self._known_s

    def recorded(self, address: str, lifetime: Lifetime) -> _Recorded:
        """Return a context manager for a block that uses the address.

        It records whether RabbitMQ fails meanwhile.
        """
        return _Recorded(self, address, lifetime)

    async def begin(self, address: str) -> bool:
        """Return whether the address is a suspect. If so, first wait until no other suspect is in flight."""
        return address in self._strikes and await self._alone.acquire()

    def end(self, address: str, lifetime: Lifetime, error: BaseException | None, *, is_suspect: bool) -> None:
        if is_suspect:
            self._alone.release()
        if error is None:
            self._strikes.pop(address, None)
            return
        # The first task with the error ends the lifetime. This cancels the others, whose address may be the cause.
        ended = lifetime.ended.result() if lifetime.ended.done() else ""
        if _fault_over(address) in f"{error} {ended}":
            self._strike(address)

    def _strike(self, address: str) -> None:
        strikes, _ = self._strikes.pop(address, (0, 0.0))
        self._strikes[address] = strikes + 1, time.monotonic()
        if len(self._strikes) > CAPACITY:
            del self._strikes[next(iter(self._strikes))]


class _Recorded:
    """The context manager of `Unreachable.recorded`. A class is faster than a generator (connection_scope.py)."""

    def __init__(self, known: Unreachable, address: str, lifetime: Lifetime) -> None:
        self._known = known
        self._address = address
        self._lifetime = lifetime
        self._is_suspect = False

    async def __aenter__(self) -> None:
        self._is_suspect = await self._known.begin(self._address)

    async def __aexit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._known.end(self._address, self._lifetime, error, is_suspect=self._is_suspect)


def _fault_over(address: str) -> str:
    """Return the text that identifies RabbitMQ's error for an address of this kind, among all other errors."""
    return DIRECT_FAULT if address.startswith(DIRECT_REPLY_PREFIX) else STREAM_FAULT
