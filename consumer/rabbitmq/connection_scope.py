"""Ends all waits that depend on a connection when the connection is lost, and keeps the reason.

A `Lifetime` ends once, and all waits inside it end, too. The first task that sees a connection fail ends the
lifetime for all others. RabbitMQ redelivers unsettled messages only when the connections are closed, so a broken
connection must not stay open.

Each publish enters these context managers and those of `BrokerLimits`. They are classes, because generators of
`contextlib` took 3 of the 8 us of a publish.
"""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from consumer.errors import ConnectionLostError
from consumer.rabbitmq.connection import may_be_lost


class Lifetime:
    """The time in which a connection works.

    Mutable state: `ended`, done with the reason; `waiting`, the blocks that end with the lifetime.
    """

    def __init__(self) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.waiting: set[Waiting] = set()

    def end(self, reason: str) -> None:
        """End the lifetime and all waiting blocks. Only the first reason is kept."""
        if not self.ended.done():
            self.ended.set_result(reason)
        while self.waiting:
            self.waiting.pop().end()

    def raise_if_ended(self) -> None:
        if self.ended.done():
            raise ConnectionLostError(self.ended.result())

    def ends_if_lost(self) -> _EndsIfLost:
        """Return a context manager for a block that needs the connection. A loss in the block ends the lifetime.

        Raises:
            ConnectionLostError: the connection is lost, before or in the block.
        """
        return _EndsIfLost(self)


class _EndsIfLost:
    """The context manager that `Lifetime.ends_if_lost` returns."""

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime

    def __enter__(self) -> None:
        self._lifetime.raise_if_ended()

    def __exit__(
        self, _kind: type[BaseException] | None, error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if error is None:
            return
        try:
            with may_be_lost():
                raise error
        except ConnectionLostError as lost:
            self._lifetime.end(str(lost))
            raise


class Waiting:
    """A block that ends with a lifetime, as `asyncio.timeout` ends with a deadline.

    Mutable state: `_has_ended`, set when the lifetime has ended during the block.
    """

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._task: asyncio.Task[object] | None = None
        self._cancelling = 0
        self._has_ended = False

    def __enter__(self) -> Self:
        self._lifetime.raise_if_ended()
        self._task = asyncio.current_task()
        self._cancelling = self._task.cancelling() if self._task else 0
        self._lifetime.waiting.add(self)
        return self

    def over(self) -> None:
        """Detach the rest of the block from the lifetime, because the awaited event has happened."""
        self._lifetime.waiting.discard(self)

    def end(self) -> None:
        """Cancel the block, because the session that it depends on has ended."""
        self._has_ended = True
        if self._task:
            self._task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        """Turn the cancellation by this class into ConnectionLostError; pass on any other cancellation.

        Raises:
            ConnectionLostError: the lifetime has ended during the block.
        """
        self._lifetime.waiting.discard(self)
        if not (self._has_ended and self._task):
            return
        is_all_ours = self._task.uncancel() <= self._cancelling
        if is_all_ours and kind is asyncio.CancelledError:
            self._lifetime.raise_if_ended()
