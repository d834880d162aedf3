"""Publishes a job's progress to its producer, at most four times a second.

Each message reports the latest progress. It may be lost: it is published at most once, and not after a lost
connection. The job neither waits for it nor fails because of it. No progress arrives after the reply, because the
reporter is closed before the reply is published on the same channel.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

from consumer.errors import ConnectionLostError
from consumer.job import Progress

log = logging.getLogger(__name__)

#: People notice no faster updates, and the load on RabbitMQ stays low with a hundred jobs at once.
PAUSE_S = 0.25


class Reporter:
    """Publishes the progress of one job.

    Mutable state: `_latest`, progress not published yet; `_sending`, the task that publishes. After a lost
    connection the finished task stays there, so that no other is started.
    """

    def __init__(self, publish: Callable[[Progress], Awaitable[None]], pause_s: float = PAUSE_S) -> None:
        self._publish = publish
        self._pause_s = pause_s
        self._latest: Progress | None = None
        self._sending: asyncio.Task[None] | None = None

    def __call__(self, progress: Progress) -> None:
        """Take the latest progress; it replaces earlier progress that has not been published."""
        self._latest = progress
        if self._sending is None:
            self._sending = asyncio.create_task(self._send(), name="progress")

    async def close(self) -> None:
        """Stop publishing. Nothing is published after this returns."""
        if self._sending:
            self._sending.cancel()
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        while (latest := self._latest) is not None:
            self._latest = None
            try:
                await self._publish(latest)
            except ConnectionLostError as error:
                log.debug("no more progress: %s", error)
                return
            await asyncio.sleep(self._pause_s)
        self._sending = None
